//! Reads the alerts back on a connection of its own, as any consumer would, and shows them as they come.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context as _, anyhow};
use redis::{Connection, Value};

use crate::alert::Alert;
use crate::server::{Server, plain};
use crate::stop::Stop;

const STREAM: &str = "anomaly:alerts";
/// How long a read waits for the next alert; the end of the demonstration waits for one such silence.
const SILENCE_MS: u64 = 300;

/// An alert, and when it was here.
pub(crate) struct Heard {
    pub(crate) alert: Alert,
    pub(crate) at: Instant,
}

/// The reading thread.
pub(crate) struct Watcher {
    thread: JoinHandle<anyhow::Result<Vec<Heard>>>,
    done: Arc<AtomicBool>,
}

impl Watcher {
    pub(crate) fn start(server: &Server, colour: bool, stop: &Stop) -> anyhow::Result<Self> {
        let connection = server.connect()?;
        let done = Arc::new(AtomicBool::new(false));
        let (told, stop) = (Arc::clone(&done), stop.clone());
        let thread = thread::spawn(move || {
            let heard = listen(connection, colour, &told);
            if heard.is_err() {
                stop.request(); // nobody sees the alerts any more
            }
            heard
        });
        Ok(Self { thread, done })
    }

    /// Waits for the alerts that are still under way.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<Heard>> {
        self.done.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the thread that reads the alerts broke off"))?
    }
}

fn listen(
    mut connection: Connection,
    colour: bool,
    done: &AtomicBool,
) -> anyhow::Result<Vec<Heard>> {
    let mut heard = Vec::new();
    let mut last = String::from("0");
    loop {
        // Asked before reading: what came before the end must be seen by the read after it.
        let ending = done.load(Ordering::Relaxed);
        let reply: Value = redis::cmd("XREAD")
            .arg("COUNT")
            .arg(1000)
            .arg("BLOCK")
            .arg(SILENCE_MS)
            .arg("STREAMS")
            .arg(STREAM)
            .arg(&last)
            .query(&mut connection)
            .map_err(|error| anyhow!("cannot read the alerts: {}", plain(&error)))?;
        let at = Instant::now();
        let alerts = alerts_in(&reply);
        if alerts.is_empty() && ending {
            return Ok(heard);
        }
        let mut out = io::stdout().lock();
        for alert in alerts {
            writeln!(out, "{}", alert.line(colour))?;
            last.clone_from(&alert.entry);
            heard.push(Heard { alert, at });
        }
        out.flush().context("cannot write")?;
    }
}

/// `[[stream, [entry, …]]]`; nothing when the wait was in vain.
fn alerts_in(reply: &Value) -> Vec<Alert> {
    let Value::Array(streams) = reply else {
        return Vec::new();
    };
    let Some(Value::Array(stream)) = streams.first() else {
        return Vec::new();
    };
    let Some(Value::Array(entries)) = stream.get(1) else {
        return Vec::new();
    };
    entries
        .iter()
        .filter_map(|entry| Alert::from_entry(entry)?.ok())
        .collect()
}
