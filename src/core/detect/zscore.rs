//! Rolling z-score: how many standard deviations a reading lies from the mean of the window before it.
//!
//! z = (x − mean) / s over the last `window` readings, x itself excluded, s the sample standard deviation
//! (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17). The ratio is |z| / k. Where the window has no deviation
//! at all, any other value is as far out as a ratio goes.

use super::{Detail, Finding, HIGHEST_RATIO, Judgement, Kind, grade};
use crate::profile::Profile;
use crate::units::Side;
use crate::window::Window;

/// Readings before it judges, unless the rule says otherwise.
const WARMUP: usize = 30;

/// Judges a value against the window.
#[must_use]
pub fn judge(window: Option<&Window>, value: f64, profile: &Profile) -> Judgement {
    let k = profile.zscore.unwrap_or(f64::INFINITY);
    let needed = profile
        .warmup
        .unwrap_or(profile.window.min(WARMUP) as u32)
        .max(2);
    let Some(window) = window else {
        return Judgement::Warming(needed);
    };
    let missing = needed.saturating_sub(window.seen());
    if missing > 0 {
        return Judgement::Warming(missing);
    }
    let (mean, sd, deviation) = (
        window.mean(),
        window.deviation(),
        window.distance_from_mean(value),
    );
    let z = match (deviation == 0.0, sd == 0.0) {
        (true, _) => 0.0,
        (false, true) => f64::INFINITY,
        (false, false) => deviation.abs() / sd,
    };
    let (ratio, severity) = grade((z / k).min(HIGHEST_RATIO), deviation, profile);
    let reach = (k * sd).max(profile.mindev);
    Judgement::Scored(Finding {
        kind: Kind::Zscore,
        ratio,
        severity,
        side: Side::of(deviation),
        threshold: k,
        expected: Some(mean),
        lower: Some((mean - reach).max(f64::MIN)),
        upper: Some((mean + reach).min(f64::MAX)),
        detail: Detail::Deviation {
            deviations: z,
            unit: sd,
            readings: window.len(),
        },
    })
}
