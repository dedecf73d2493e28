//! One server process, on a leash.
//!
//! The server's parent is a shell, which holds the reading end of a pipe; the test process holds the writing end and never
//! writes. However the test process ends (even by SIGKILL), the kernel closes its end, the shell's `read` returns and it
//! kills the server. Asking the kernel for a signal at the parent's death instead would take a raw system call, and
//! would come at the death of the *thread* that started the server.

use crate::wait::holds_within;
use std::env;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Arguments: the server's program and its arguments. Standard output: the server's process id, and then its log on
/// standard error's file. Exit status: the server's.
///
/// Signal 25 is SIGXFSZ: a file that may not grow is then what a full disk is, an error, and not the end.
const LEASH: &str = r#"
trap '' 25
exec 3<&0 </dev/null
"$@" 3<&- >&2 &
server=$!
(read -r _ <&3; kill -9 "$server") >/dev/null 2>&1 &
leash=$!
exec 3<&-
echo "$server"
exec >&-
wait "$server"
status=$?
kill -9 "$leash"
exit "$status"
"#;

#[derive(Debug)]
pub(crate) struct Process {
    shell: Child,
    leash: Option<ChildStdin>,
    pub(crate) pid: u32,
}

impl Process {
    /// Starts `program config` in `dir`; what it prints is appended to `log`.
    pub(crate) fn spawn(program: &Path, config: &Path, dir: &Path, log: &Path) -> Self {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log can be written");
        let mut shell = Command::new("/bin/sh")
            .args(["-c", LEASH, "leash"])
            .arg(program)
            .arg(config)
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("/bin/sh starts");
        let leash = shell.stdin.take();
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("stdout is a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the shell tells the server's id");
        let pid = line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("not a process id: {line:?}"));
        Self { shell, leash, pid }
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.pid);
        let done = Command::new("/bin/sh")
            .args(["-c", &command])
            .status()
            .expect("/bin/sh starts");
        assert!(done.success(), "{command}: {done}");
    }

    /// The server's exit status, once it has ended (128 + n after signal n).
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.shell
            .try_wait()
            .expect("the shell is ours to wait for")
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.leash.take());
        let _ = self.shell.wait();
    }
}

impl Drop for Process {
    /// At once, unless `ANOMALY_END_GENTLY` is set, as `make test-valgrind` does: a leak can be told only at an orderly end.
    fn drop(&mut self) {
        if env::var_os("ANOMALY_END_GENTLY").is_some() && self.exited().is_none() {
            self.signal("CONT");
            self.signal("TERM");
            holds_within(Duration::from_secs(60), || self.exited().is_some());
        }
        self.kill();
    }
}
