//! Processor time of a server, as the kernel counts it: nanoseconds, not ticks.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

/// The kernel adds up when a thread leaves the processor. A server that has answered everything does so at once.
const ASLEEP: Duration = Duration::from_millis(2);

/// Nanoseconds on a processor since the start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spent {
    /// Of the thread that runs commands.
    pub(crate) main: u64,
    /// Of all threads.
    pub(crate) all: u64,
}

/// Where the kernel tells of a process.
pub(crate) struct Process {
    tasks: PathBuf,
    pid: u32,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        Self { tasks, pid }
    }

    /// What it has spent once it sleeps.
    pub(crate) fn spent(&self) -> anyhow::Result<Spent> {
        thread::sleep(ASLEEP);
        let of = |thread: PathBuf| -> anyhow::Result<u64> {
            let text = fs::read_to_string(thread.join("schedstat"))?;
            let first = text.split_ascii_whitespace().next().unwrap_or_default();
            Ok(first.parse()?)
        };
        let unknown = "the kernel does not tell how much processor time the server took (/proc/PID/schedstat)";
        let main = of(self.tasks.join(self.pid.to_string())).context(unknown)?;
        let mut all = 0;
        for thread in fs::read_dir(&self.tasks).context(unknown)? {
            // A background thread may end while we look.
            all += of(thread.context(unknown)?.path()).unwrap_or(0);
        }
        Ok(Spent { main, all })
    }
}
