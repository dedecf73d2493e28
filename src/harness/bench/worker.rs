//! What users do today: a consumer group that is read by a worker outside of the server. The one in Rust is as good as its kind
//! gets: hundreds of entries at a time, and what follows from them in one pipeline.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, anyhow};
use redis::Value;

use crate::alert::bytes;
use crate::bench::host::Host;
use crate::bench::wire::MOST;
use crate::server::{Server, plain};

const PYTHON: &str = include_str!("../../../benches/worker.py");
/// As in the rule of what it is compared with.
const THRESHOLD: f64 = 6.0;
const WINDOW: usize = 30;

/// A worker that runs until it is dropped.
pub(crate) enum Running {
    Process(Child),
    Thread(Arc<AtomicBool>, Option<JoinHandle<anyhow::Result<()>>>),
}

impl Running {
    /// Starts an interpreter with the worker, and waits until it has its consumer group.
    pub(crate) fn python(
        interpreter: &Path,
        host: &Host,
        stream: &str,
        alerts: &str,
    ) -> anyhow::Result<Self> {
        let (port, threshold) = (host.private.port.to_string(), THRESHOLD.to_string());
        let mut child = Command::new(interpreter)
            .args(["-c", PYTHON, &port, stream, alerts, &threshold])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", interpreter.display()))?;
        let said = child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let running = Self::Process(child);
        match line.trim() {
            "ready" => Ok(running),
            _ => Err(anyhow!(
                "the worker in Python did not start (its message is above)"
            )),
        }
    }

    pub(crate) fn rust(host: &Host, stream: &str, alerts: &str) -> anyhow::Result<Self> {
        let mut worker = Consumer::new(&host.private.server, stream, alerts)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                worker.step()?;
            }
            Ok(())
        });
        Ok(Self::Thread(stop, Some(thread)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match self {
            Self::Process(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Self::Thread(stop, thread) => {
                stop.store(true, Ordering::Relaxed);
                if let Some(Ok(Err(error))) = thread.take().map(JoinHandle::join) {
                    crate::terminal::note(format_args!("anomaly: the worker in Rust: {error:#}"));
                }
            }
        }
    }
}

/// The last readings of a device.
#[derive(Default)]
struct Window {
    last: VecDeque<f64>,
    sum: f64,
    squares: f64,
}

impl Window {
    /// The z-score of a reading among the last, it excluded; it is learnt unless it is abnormal.
    fn judge(&mut self, value: f64) -> Option<f64> {
        if self.last.len() == WINDOW {
            let mean = self.sum / WINDOW as f64;
            let variance = (self.squares - self.sum * mean).max(0.0) / (WINDOW - 1) as f64;
            let score = (value - mean).abs() / variance.sqrt();
            if variance > 0.0 && score > THRESHOLD {
                return Some(score);
            }
            if let Some(old) = self.last.pop_front() {
                self.sum -= old;
                self.squares -= old * old;
            }
        }
        self.last.push_back(value);
        self.sum += value;
        self.squares += value * value;
        None
    }
}

struct Consumer {
    connection: redis::Connection,
    read: redis::Cmd,
    stream: String,
    alerts: String,
    windows: HashMap<Vec<u8>, Window>,
}

impl Consumer {
    fn new(server: &Server, stream: &str, alerts: &str) -> anyhow::Result<Self> {
        let mut connection = server.connect()?;
        connection.set_read_timeout(Some(MOST))?;
        let mut create = redis::cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(stream)
            .arg("worker")
            .arg("0")
            .arg("MKSTREAM");
        create.exec(&mut connection)?;
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP")
            .arg("worker")
            .arg("one")
            .arg("COUNT")
            .arg(500);
        read.arg("BLOCK")
            .arg(200)
            .arg("STREAMS")
            .arg(stream)
            .arg(">");
        Ok(Self {
            connection,
            read,
            stream: stream.to_owned(),
            alerts: alerts.to_owned(),
            windows: HashMap::new(),
        })
    }

    /// Up to 500 entries: one reply read, one pipeline written.
    fn step(&mut self) -> anyhow::Result<()> {
        let failed = |error: redis::RedisError| anyhow!("{}", plain(&error));
        let reply: Value = self.read.query(&mut self.connection).map_err(failed)?;
        let Some(entries) = entries(&reply) else {
            return Ok(());
        };
        let mut after = redis::pipe();
        let (mut madd, mut ack) = (redis::cmd("TS.MADD"), redis::cmd("XACK"));
        ack.arg(&self.stream).arg("worker");
        let mut alerts = Vec::new();
        for entry in entries {
            let (id, device, at, value) =
                reading(entry).context("an entry of the benchmark's own")?;
            let series = [b"ts:", device].concat();
            if !self.windows.contains_key(device) {
                let create = after
                    .cmd("TS.CREATE")
                    .arg(&series)
                    .arg("CHUNK_SIZE")
                    .arg(1024);
                create.arg("DUPLICATE_POLICY").arg("LAST");
                create.arg("LABELS").arg("sensor").arg(device);
                self.windows.insert(device.to_vec(), Window::default());
            }
            madd.arg(&series).arg(at).arg(value);
            ack.arg(id);
            let number: f64 = std::str::from_utf8(value)?.parse()?;
            let window = self.windows.get_mut(device).context("it has one now")?;
            if let Some(score) = window.judge(number) {
                let mut add = redis::cmd("XADD");
                add.arg(&self.alerts)
                    .arg("MAXLEN")
                    .arg("~")
                    .arg(100_000)
                    .arg("*");
                add.arg("sensor")
                    .arg(device)
                    .arg("ts")
                    .arg(at)
                    .arg("value")
                    .arg(value);
                add.arg("score").arg(score);
                alerts.push(add);
            }
        }
        after.add_command(madd);
        for alert in alerts {
            after.add_command(alert);
        }
        after.add_command(ack);
        after.exec(&mut self.connection).map_err(failed)
    }
}

/// The entries of XREADGROUP’s or XREAD’s reply; `None` where it waited in vain.
pub(crate) fn entries(reply: &Value) -> Option<&[Value]> {
    let Value::Array(streams) = reply else {
        return None;
    };
    let Value::Array(stream) = streams.first()? else {
        return None;
    };
    match stream.get(1)? {
        Value::Array(entries) => Some(entries),
        _ => None,
    }
}

/// Id, device, time, value.
type Entry<'a> = (&'a [u8], &'a [u8], &'a [u8], &'a [u8]);

/// An entry of the form `device_id d temperature v timestamp t`.
fn reading(entry: &Value) -> Option<Entry<'_>> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let (id, Value::Array(fields)) = (bytes(entry.first()?)?, entry.get(1)?) else {
        return None;
    };
    let field = |place: usize| bytes(fields.get(place)?);
    Some((id, field(1)?, field(5)?, field(3)?))
}

#[cfg(test)]
mod tests {
    use super::{THRESHOLD, WINDOW, Window};

    #[test]
    fn the_window_scores_as_the_formula_says_and_does_not_learn_what_is_abnormal() {
        let mut window = Window::default();
        let values: Vec<f64> = (0..WINDOW)
            .map(|i| 20.0 + (i * 7 % 11) as f64 / 10.0)
            .collect();
        for value in &values {
            assert_eq!(window.judge(*value), None);
        }
        let mean = values.iter().sum::<f64>() / WINDOW as f64;
        let squares = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let deviation = (squares / (WINDOW - 1) as f64).sqrt();
        for _ in 0..2 {
            let score = window.judge(30.0).unwrap();
            assert!((score - (30.0 - mean) / deviation).abs() < 1e-6, "{score}");
        }
        assert_eq!(window.judge(mean + 0.9 * THRESHOLD * deviation), None);
        assert!(window.judge(30.0).unwrap() < (30.0 - mean) / deviation);
    }
}
