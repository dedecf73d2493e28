//! From XADD to alert: readings at a steady rate, some of them anomalies, and a client that waits for the alerts.
//!
//! The clock of an anomaly starts when it was due to be sent, not when it was sent: a server that holds its clients up must not
//! look faster for it (coordinated omission).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use redis::Value;
use serde::Serialize;

use crate::alert::Alert;
use crate::bench::host::Host;
use crate::bench::load::Size;
use crate::bench::measure::Entrant;
use crate::bench::spread::percentile;
use crate::dice::Dice;
use crate::server::Server;
use crate::stop::Stop;

/// Readings a second, and one in how many is an anomaly: hundreds of alerts, rare among the readings. Prime, so that all
/// sensors have their turn; and none that comes out, but for a reading, where a sensor has its next turn: an alert that tells of the end
/// of one anomaly, which ours write, would each time wake whoever waits just before the next is told of.
const RATES: [(usize, usize); 3] = [(1_000, 13), (10_000, 101), (50_000, 499)];
const SECONDS: usize = 8;
/// Batches a second.
const TICKS: usize = 1000;
/// What has not been told of so long after the last reading is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What one contestant did at one rate.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    pub(crate) contestant: String,
    /// Readings per second.
    pub(crate) rate: usize,
    pub(crate) anomalies: usize,
    /// Anomalies whose alert was read before it was given up.
    pub(crate) alerts: usize,
    /// Microseconds; `None` where that share was not told of at all.
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
}

/// All rates for one contestant, the lowest first; a worker that fell behind is spared the higher ones.
pub(crate) fn measure(
    entrant: &mut Entrant,
    host: &mut Host,
    alerts: &str,
    stop: &Stop,
) -> anyhow::Result<Vec<Told>> {
    let mut all = Vec::new();
    for (rate, every) in RATES {
        entrant.fleet.spikes = Some(every);
        let told = at_rate(entrant, host, alerts, rate, stop)?;
        let behind = told.alerts < told.anomalies;
        all.push(told);
        if behind {
            break;
        }
    }
    Ok(all)
}

fn at_rate(
    entrant: &mut Entrant,
    host: &mut Host,
    alerts: &str,
    rate: usize,
    stop: &Stop,
) -> anyhow::Result<Told> {
    let size = Size {
        connections: 1,
        pipeline: rate / TICKS,
        batches: TICKS * SECONDS,
    };
    let works = entrant.fleet.works(size);
    let watcher = Watcher::new(&host.private.server, alerts)?;
    let (Some(work), Some(line)) = (works.first(), host.lines(1)?.first_mut()) else {
        bail!("one connection was asked for");
    };
    let over = AtomicBool::new(false);
    let (due, heard) = std::thread::scope(|scope| {
        let listening = scope.spawn(|| watcher.listen(work.spikes.len(), &over));
        let (mut due, mut dice) = (Vec::with_capacity(size.batches), Dice::new(1, 1));
        let began = Instant::now() + Duration::from_millis(20);
        let mut sent = Ok(());
        for batch in 0..size.batches {
            // Anywhere within its turn: in step with a timer of the server's, each would meet it, or none.
            let turns = batch as f64 + dice.uniform();
            let at = began + Duration::from_secs_f64(turns / TICKS as f64);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            due.push(at);
            sent = line.exchange(work.batch(batch).unwrap_or_default(), work.commands);
            if sent.is_err() || stop.requested() {
                break;
            }
        }
        let patience = Instant::now() + PATIENCE;
        while !listening.is_finished() && Instant::now() < patience && sent.is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
        over.store(true, Ordering::Relaxed);
        let heard = listening.join();
        sent.map(|()| (due, heard))
    })?;
    if stop.requested() {
        bail!("stopped");
    }
    let Ok(heard) = heard else {
        bail!("the thread that waits for alerts panicked");
    };
    let heard = heard?;
    let mut took = Vec::new();
    for (batch, sensor, at) in &work.spikes {
        if let (Some(due), Some(heard)) = (due.get(*batch), heard.get(&(sensor.clone(), *at))) {
            let ns = heard.saturating_duration_since(*due).as_nanos();
            took.push(u32::try_from(ns).unwrap_or(u32::MAX));
        }
    }
    let alerts = took.len();
    // What was never told of took longer than all that was.
    took.resize(work.spikes.len(), u32::MAX);
    took.sort_unstable();
    let micros = |share| {
        let at: Option<Duration> = percentile(&took, share);
        let known = at.filter(|at| at.as_nanos() < u128::from(u32::MAX));
        known.map(|at| at.as_micros() as u64)
    };
    Ok(Told {
        contestant: entrant.name(),
        rate,
        anomalies: work.spikes.len(),
        alerts,
        p50: micros(0.5),
        p99: micros(0.99),
    })
}

/// Sensor and time of an anomaly.
type Anomaly = (String, i64);

struct Watcher {
    connection: redis::Connection,
    stream: String,
    last: String,
}

impl Watcher {
    fn new(server: &Server, stream: &str) -> anyhow::Result<Self> {
        let mut connection = server.connect()?;
        let newest: Value = redis::cmd("XREVRANGE")
            .arg(&[stream, "+", "-", "COUNT", "1"])
            .query(&mut connection)?;
        let last = match newest {
            Value::Array(entries) => entries.first().and_then(Alert::from_entry),
            _ => None,
        };
        let last = match last {
            Some(Ok(alert)) => alert.entry,
            _ => String::from("0-0"),
        };
        let stream = stream.to_owned();
        Ok(Self {
            connection,
            stream,
            last,
        })
    }

    /// When the alert of each anomaly was read, until there are so many or it is over.
    fn listen(
        mut self,
        wanted: usize,
        over: &AtomicBool,
    ) -> anyhow::Result<HashMap<Anomaly, Instant>> {
        let mut heard = HashMap::new();
        while heard.len() < wanted && !over.load(Ordering::Relaxed) {
            let reply: Value = redis::cmd("XREAD")
                .arg(&[
                    "COUNT",
                    "1000",
                    "BLOCK",
                    "100",
                    "STREAMS",
                    &self.stream,
                    &self.last,
                ])
                .query(&mut self.connection)?;
            let now = Instant::now();
            for entry in crate::bench::worker::entries(&reply).unwrap_or_default() {
                let Some(Ok(alert)) = Alert::from_entry(entry) else {
                    bail!("an entry of {} is no alert", self.stream);
                };
                self.last.clone_from(&alert.entry);
                // The worker's alerts have no event; the module's tell the end of an anomaly too.
                if matches!(alert.bytes("event"), b"" | b"firing") {
                    let sensor = alert.text("sensor");
                    let device = sensor
                        .trim_start_matches("sensor:")
                        .trim_end_matches(":temperature");
                    let at = alert.number("ts").context("an alert has a time")?;
                    heard.insert((device.to_owned(), at), now);
                }
            }
        }
        Ok(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::{RATES, TICKS};

    /// Sensors, unless told otherwise.
    const FLEET: usize = 3200;

    #[test]
    fn the_end_of_an_anomaly_is_not_told_right_before_the_next_one() {
        for (rate, every) in RATES {
            let (batch, until_next) = (rate / TICKS, every - FLEET % every);
            assert!(until_next > batch, "{rate}: {until_next} readings before");
            assert_eq!((2..every).find(|n| every % n == 0), None, "{every}");
        }
    }
}
