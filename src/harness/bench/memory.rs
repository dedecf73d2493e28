//! Bytes per sensor, all in: what the server's memory grows by, its hash table included, divided by the sensors.

use serde::Serialize;

use crate::bench::host::{Host, Parts};
use crate::bench::load::{Fleet, Kind, Size};
use crate::bench::wire::drive;
use crate::moment::now_ms;
use crate::stop::Stop;

/// Sensors of each kind.
const SENSORS: usize = 10_000;
/// Readings of each: every window is full, `auto` has long been warm.
const READINGS: usize = 150;
const RULES: [(&str, &str); 6] = [
    ("limits", "min 0 max 100 archive no"),
    ("zscore, window 30", "zscore 3 window 30 archive no"),
    ("mad, window 30", "mad 6 window 30 archive no"),
    ("auto", "auto on archive no"),
    (
        "zscore, window 30, recent 60",
        "zscore 3 window 30 recent 60 archive no",
    ),
    (
        "zscore, window 30, series of 150",
        "zscore 3 window 30 archive yes",
    ),
];

/// What a sensor takes under a rule.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Footprint {
    pub(crate) rule: &'static str,
    /// Growth of `used_memory`, per sensor.
    pub(crate) all_in: f64,
    /// What the module counts as its own, per sensor.
    pub(crate) own: f64,
}

pub(crate) fn measure(parts: &Parts, stop: &Stop) -> anyhow::Result<Vec<Footprint>> {
    let mut all = Vec::new();
    for (name, rule) in RULES {
        if parts.timeseries.is_none() && rule.ends_with("archive yes") {
            continue;
        }
        let mut host = Host::start(parts, true, &[], stop)?;
        host.ask::<()>(&format!("ANOMALY.CONFIG SET b00:* {rule}"))?;
        let each = 50;
        let size = Size {
            connections: 1,
            pipeline: 10,
            batches: SENSORS / 10,
        };
        let start = now_ms() - 24 * 3600 * 1000;
        let kind = Kind::Madd { keys: 1, each };
        let mut fleet = Fleet::new(kind, "b00", SENSORS, start);
        // What the first commands have the server make, its buffers for the connection above all, is no sensor's.
        drive(
            host.lines(1)?,
            &Fleet::new(kind, "b00:first", 10, start).works(Size { batches: 1, ..size }),
        )?;
        let before: i64 = host.info("memory", "used_memory")?;
        for _ in 0..READINGS / each {
            drive(host.lines(1)?, &fleet.works(size))?;
        }
        let after: i64 = host.info("memory", "used_memory")?;
        let own: u64 = host.info("anomaly", "anomaly_bytes")?;
        all.push(Footprint {
            rule: name,
            all_in: (after - before) as f64 / SENSORS as f64,
            own: own as f64 / SENSORS as f64,
        });
    }
    Ok(all)
}
