//! Stuck: the time for which a sensor has not changed its value at all, by the times of its readings.
//!
//! The ratio is (time of the reading − time of the last change) / `stuck`: it is judged with each reading, and a sensor that
//! sends nothing is `nodata`'s business. Any other value is a change, however small. `direction`, `mindev` and `warmup` do
//! not concern it: there is no deviation, and nothing to learn.

use super::{Baseline, Detail, Finding, HIGHEST_RATIO, Judgement, Kind, severity};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::Side;

/// Judges how long the value has been what it is.
#[must_use]
pub fn judge(baseline: &Baseline, reading: Reading, profile: &Profile) -> Judgement {
    let limit = profile.stuck.map_or(f64::INFINITY, |ms| ms as f64);
    let unchanged = baseline
        .previous
        .filter(|previous| previous.value == reading.value)
        .map(|_| reading.at.since(baseline.changed).max(0));
    let ratio = (unchanged.unwrap_or(0) as f64 / limit).min(HIGHEST_RATIO);
    Judgement::Scored(Finding {
        kind: Kind::Stuck,
        ratio,
        severity: severity(ratio, profile),
        side: Side::None,
        threshold: limit,
        expected: None,
        lower: None,
        upper: None,
        detail: Detail::Unchanged { ms: unchanged },
    })
}
