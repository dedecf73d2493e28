//! Rate of change: the difference to the reading before, per second between the two.
//!
//! Two readings of one instant have no rate and are skipped.

use super::{Baseline, Detail, Finding, HIGHEST_RATIO, Judgement, Kind, grade};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::Side;

/// Judges the change from the reading before.
#[must_use]
pub fn judge(baseline: &Baseline, reading: Reading, profile: &Profile) -> Judgement {
    let limit = profile.rate.unwrap_or(f64::INFINITY);
    let missing = profile
        .warmup
        .unwrap_or(1)
        .max(1)
        .saturating_sub(baseline.readings);
    let Some(previous) = baseline.previous.filter(|_| missing == 0) else {
        return Judgement::Warming(missing.max(1));
    };
    let seconds = reading.at.since(previous.at) as f64 / 1e3;
    if seconds <= 0.0 {
        return Judgement::Skipped;
    }
    let change = (reading.value - previous.value).clamp(f64::MIN, f64::MAX);
    let per_second = (change / seconds).clamp(f64::MIN, f64::MAX);
    let (ratio, severity) = grade(
        (per_second.abs() / limit).min(HIGHEST_RATIO),
        change,
        profile,
    );
    let reach = (limit * seconds).max(profile.mindev);
    Judgement::Scored(Finding {
        kind: Kind::Rate,
        ratio,
        severity,
        side: Side::of(change),
        threshold: limit,
        expected: Some(previous.value),
        lower: Some((previous.value - reach).max(f64::MIN)),
        upper: Some((previous.value + reach).min(f64::MAX)),
        detail: Detail::Change { per_second },
    })
}
