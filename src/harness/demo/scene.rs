//! The ten racks: their rules, their readings, and what goes wrong with them.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use redis::{Connection, Value};

use crate::alert::bytes;
use crate::inject::{Injection, Kind, Plan, Span};
use crate::private::PrivateServer;
use crate::sender::{Reading, Sender, Sensor};
use crate::server::plain;
use crate::signal::{Shape, Signal};
use crate::tally::Tally;
use crate::terminal::thousands;

/// Readings per second of each rack: lively, and far below what the server takes, so that the latency is the server's and
/// not that of a queue.
pub(crate) const TICKS_PER_SECOND: u64 = 200;
/// Between two readings of a rack, by its own clock: a minute of the demonstration shows eight days.
const STEP_MS: u64 = 60_000;
const RACKS: u64 = 10;
/// Readings between anomalies of a rack: the time for a baseline to form, and for an episode to end.
const CALM: u64 = 150;

const SHAPE: Shape = Shape {
    base: 21.5,
    amplitude: 2.5,
    period_ms: 86_400_000.0,
    noise: 0.25,
    drift: 0.02,
};

/// Twelve times the noise is 3 °C: less than the daily cycle's 5, so no fixed limit would see it at night.
const PLANS: [(Kind, u64, f64); 5] = [
    (Kind::Spike, 2, 12.0),
    (Kind::Drop, 2, 12.0),
    (Kind::Shift, 45, 12.0),
    (Kind::Noise, 45, 8.0),
    (Kind::Stuck, 45, 1.0),
];
/// That one of the kinds begins at a given reading: about one per second over all racks.
const PROBABILITY: f64 = 0.0001;

/// Rules, least specific first: one for all racks, and one for the rack beside the door.
const RULES: [(&str, &[(&str, &str)]); 2] = [
    (
        "rack:*:temperature",
        &[
            ("unit", "°C"),
            ("min", "15"),
            ("max", "28"),
            ("critical-max", "30"),
            ("zscore", "6"),
            ("window", "60"),
            ("learn", "no"),
            ("for", "1"),
            ("clear", "5"),
        ],
    ),
    ("rack:07:temperature", &[("max", "27")]),
];
/// The stream the racks write to, and the template that names their sensors as the rules do.
pub(crate) const STREAM: &str = "raw_sensor_data";
const KEY: &str = "$device:$metric";
/// For the kind `stuck`, if the module has a detector for it.
const STUCK_RULE: (&str, &str) = ("stuck", "900000");

/// The demonstration while it runs.
pub(crate) struct Scene {
    sensors: Vec<Sensor>,
    signals: Vec<Signal>,
    seed: u64,
    /// Reading time of the first tick: the last one is now.
    start: i64,
    pub(crate) ticks: u64,
    /// When each tick was sent.
    pub(crate) sent: Vec<Instant>,
    pub(crate) elapsed: Duration,
    pub(crate) tally: Tally,
    pub(crate) injections: Vec<Injection>,
    pub(crate) stuck_detector: bool,
}

impl Scene {
    pub(crate) fn new(seconds: u64, seed: u64, now: i64) -> Self {
        let ticks = seconds * TICKS_PER_SECOND;
        let name = |number| {
            let device = format!("rack:{number:02}");
            Sensor {
                key: format!("{device}:temperature"),
                device,
                metric: String::from("temperature"),
            }
        };
        Self {
            sensors: (1..=RACKS).map(name).collect(),
            signals: Vec::new(),
            seed,
            // On whole minutes, which are easier to read.
            start: now - now.rem_euclid(STEP_MS as i64) - ((ticks - 1) * STEP_MS) as i64,
            ticks,
            sent: Vec::new(),
            elapsed: Duration::ZERO,
            tally: Tally::default(),
            injections: Vec::new(),
            stuck_detector: false,
        }
    }

    pub(crate) fn racks(&self) -> usize {
        self.sensors.len()
    }

    /// Sets the rules and finds out what the module can detect; what it cannot is not injected.
    pub(crate) fn set_rules(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        for (pattern, settings) in RULES {
            let mut command = redis::cmd("ANOMALY.CONFIG");
            command.arg("SET").arg(pattern).arg(settings);
            command
                .exec(connection)
                .map_err(|error| anyhow!("cannot set the rule {pattern}: {}", plain(&error)))?;
        }
        redis::cmd("ANOMALY.WATCH")
            .arg(&["SET", STREAM, "KEY", KEY])
            .exec(connection)
            .map_err(|error| anyhow!("cannot watch {STREAM}: {}", plain(&error)))?;
        let mut command = redis::cmd("ANOMALY.CONFIG");
        command
            .arg("SET")
            .arg(RULES[0].0)
            .arg(STUCK_RULE.0)
            .arg(STUCK_RULE.1);
        self.stuck_detector = command.exec(connection).is_ok();
        let plan = |(kind, readings, size)| Plan {
            kind,
            probability: PROBABILITY,
            readings,
            size,
        };
        let plans: Vec<Plan> = PLANS
            .into_iter()
            .map(plan)
            .filter(|plan| self.stuck_detector || plan.kind != Kind::Stuck)
            .collect();
        let signal = |number: u64| {
            let shape = Shape {
                base: SHAPE.base + 0.1 * number as f64,
                ..SHAPE
            };
            Signal::new(shape, STEP_MS, self.seed, number, plans.clone(), CALM)
        };
        self.signals = (0..RACKS).map(signal).collect();
        Ok(())
    }

    /// What a person should know before the first alert.
    pub(crate) fn opening(&self, private: &PrivateServer, series: bool) -> String {
        let mut text = format!(
            "{RACKS} simulated racks, {} readings per second, a day every {:.0} seconds; redis-cli -p {} is open meanwhile\n\n",
            RACKS * TICKS_PER_SECOND,
            86_400_000.0 / (STEP_MS * TICKS_PER_SECOND) as f64,
            private.port
        );
        let _ = writeln!(
            text,
            "The racks know nothing of the module: each does XADD {STREAM} * device_id rack:01 temperature 21.5 timestamp …\n"
        );
        let _ = writeln!(text, "  ANOMALY.WATCH SET {STREAM} KEY {KEY}");
        for (pattern, settings) in RULES {
            let _ = write!(text, "  ANOMALY.CONFIG SET {pattern}");
            for (name, value) in settings {
                let _ = write!(text, " {name} {value}");
            }
            if self.stuck_detector && pattern == RULES[0].0 {
                let _ = write!(text, " {} {}", STUCK_RULE.0, STUCK_RULE.1);
            }
            text.push('\n');
        }
        if !self.stuck_detector {
            text += "\nStuck sensors are left out: this version of the module has no detector for them.\n";
        }
        if !series {
            text += "\nSeries are off: there is no TimeSeries module (--timeseries; for make demo REDIS_TIMESERIES=FILE).\n";
        }
        text + "\n"
    }

    /// One reading of every rack.
    pub(crate) fn tick(&mut self, tick: u64, sender: &mut Sender) -> anyhow::Result<()> {
        self.sent.push(Instant::now());
        let at = self.at(tick);
        let mut ended = Vec::new();
        let mut answered = |_, reply| self.tally.count(reply);
        for (sensor, signal) in self.signals.iter_mut().enumerate() {
            let sample = signal.sample();
            sender.push(
                &self.sensors,
                Reading {
                    sensor,
                    at,
                    value: sample.value,
                },
                &mut answered,
            )?;
            ended.extend(sample.ended.map(|span| (sensor, span)));
        }
        sender.flush(&self.sensors, &mut answered)?;
        for (sensor, span) in ended {
            self.note(sensor, span);
        }
        Ok(())
    }

    /// The anomalies that the end cut short count too.
    pub(crate) fn cut(&mut self) {
        let cut: Vec<_> = self
            .signals
            .iter_mut()
            .map(Signal::cut)
            .enumerate()
            .collect();
        for (sensor, span) in cut {
            if let Some(span) = span {
                self.note(sensor, span);
            }
        }
    }

    fn note(&mut self, sensor: usize, span: Span) {
        let Some(name) = self.sensors.get(sensor) else {
            return;
        };
        self.injections.push(Injection {
            sensor: name.key.clone(),
            kind: span.kind,
            start: self.at(span.first),
            end: self.at(span.last),
            readings: span.last - span.first + 1,
            size: span.size,
        });
    }

    fn at(&self, tick: u64) -> i64 {
        self.start + (tick * STEP_MS) as i64
    }

    /// When the readings with this timestamp were sent.
    pub(crate) fn sent_at(&self, at: i64) -> Option<Instant> {
        let since = u64::try_from(at - self.start).ok()?;
        if !since.is_multiple_of(STEP_MS) {
            return None;
        }
        self.sent
            .get(usize::try_from(since / STEP_MS).ok()?)
            .copied()
    }

    /// Simulated days that were shown.
    pub(crate) fn days(&self) -> f64 {
        (self.sent.len() as u64 * STEP_MS) as f64 / 86_400_000.0
    }

    /// What the module made of the readings: an XADD's reply does not tell.
    pub(crate) fn verdicts(&self, connection: &mut Connection) -> anyhow::Result<String> {
        let info: String = redis::cmd("INFO")
            .arg("anomaly")
            .query(connection)
            .map_err(|error| anyhow!("cannot read INFO: {}", plain(&error)))?;
        let count = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(':'))
                .and_then(|n| n.trim().parse::<u64>().ok())
                .unwrap_or_default()
        };
        let (readings, warnings) = (count("anomaly_readings"), count("anomaly_warnings"));
        let (criticals, dead) = (count("anomaly_criticals"), count("anomaly_dead_letters"));
        let normal = readings.saturating_sub(warnings + criticals);
        Ok(format!(
            "normal {}, warning {}, critical {}, dead letters {}",
            thousands(normal),
            thousands(warnings),
            thousands(criticals),
            thousands(dead)
        ))
    }

    /// Samples in all the racks' series.
    pub(crate) fn samples(&self, connection: &mut Connection) -> anyhow::Result<u64> {
        let mut samples = 0;
        for sensor in &self.sensors {
            let series = format!("ts:{{{}}}", sensor.key);
            let info: Vec<Value> = redis::cmd("TS.INFO")
                .arg(&series)
                .query(connection)
                .map_err(|error| anyhow!("cannot read the series {series}: {}", plain(&error)))?;
            let total = info.chunks(2).find_map(|pair| match pair {
                [name, Value::Int(total)] if bytes(name) == Some(b"totalSamples") => {
                    u64::try_from(*total).ok()
                }
                _ => None,
            });
            samples += total.unwrap_or_default();
        }
        Ok(samples)
    }
}
