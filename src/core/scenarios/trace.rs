//! One sensor's readings with the band that each detector expects them in: a picture, not a figure.

use std::fmt::Write as _;

use anomaly_core::Error;
use anomaly_core::episode::Event;

use crate::sensor::Sensor;
use crate::signal::{DAY, HOUR, Noise, START, Shape, Signal};

/// Milliseconds between readings.
const STEP: i64 = HOUR / 6;
/// What is learnt before the picture begins.
const BEFORE: i64 = 12 * DAY;
/// What is seen: 0 to 10 h as always, a spike of 8 sd at 10 h, a shift of 4 sd from 20 h to 26 h, stuck from 36 h to 42 h.
const SEEN: i64 = 48 * HOUR;

/// `detector,hour,value,lower,upper,score,fired` lines. A daily cycle of 5 sd with white noise.
///
/// # Errors
/// What a detector's settings are refused for.
pub(crate) fn csv(detectors: &[&str]) -> Result<String, Error> {
    let mut csv = String::from("detector,hour,value,lower,upper,score,fired\n");
    for detector in detectors {
        let mut sensor = Sensor::new(detector)?;
        let mut signal = Signal::new(Shape::Daily, Noise::White, 3);
        let mut stuck = None;
        for index in 0..(BEFORE + SEEN) / STEP {
            let at = START + index * STEP;
            let seen = at - START - BEFORE;
            let hour = seen as f64 / HOUR as f64;
            let change = match seen {
                s if s == 10 * HOUR => 8.0,
                s if (20 * HOUR..26 * HOUR).contains(&s) => 4.0,
                _ => 0.0,
            };
            let mut value = signal.at(at) + change;
            if (36 * HOUR..42 * HOUR).contains(&seen) {
                value = *stuck.get_or_insert(value);
            }
            let Some(outcome) = sensor.reads(at, value) else {
                continue;
            };
            if seen < 0 {
                continue;
            }
            let bound = |bound: Option<f64>| bound.map_or(String::new(), |x| format!("{x:.3}"));
            let finding = outcome.finding.as_ref();
            let _ = writeln!(
                csv,
                "{detector},{hour:.3},{value:.3},{},{},{:.4},{}",
                bound(finding.and_then(|finding| finding.lower)),
                bound(finding.and_then(|finding| finding.upper)),
                outcome.score(),
                u8::from(matches!(outcome.transition, Some((Event::Firing, _)))),
            );
        }
    }
    Ok(csv)
}
