//! Rate of change: the difference to the reading before, per second between the two.
//!
//! Two readings of one instant have no rate and are skipped.

use super::{Detail, Finding, HIGHEST_RATIO, Judgement, Kind, grade};
use crate::model::Model;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::Side;

/// Judges the change from the reading before.
#[inline(always)]
#[must_use]
pub fn judge(model: &Model, reading: Reading, profile: &Profile) -> Judgement {
    let limit = profile.rate.unwrap_or(f64::INFINITY);
    let seen = u32::try_from(model.readings()).unwrap_or(u32::MAX);
    let missing = profile.warmup.unwrap_or(1).max(1).saturating_sub(seen);
    let Some(previous) = model.newest().filter(|_| missing == 0) else {
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
    let watched = |side, bound| profile.direction.watches(side).then_some(bound);
    Judgement::Scored(Finding {
        kind: Kind::Rate,
        ratio,
        severity,
        side: Side::of(change),
        threshold: limit,
        expected: Some(previous.value),
        lower: watched(Side::Low, (previous.value - reach).max(f64::MIN)),
        upper: watched(Side::High, (previous.value + reach).min(f64::MAX)),
        detail: Detail::Change { per_second },
    })
}

#[cfg(test)]
mod tests {
    use crate::detect::Detail;
    use crate::model::Verdict;
    use crate::testing::Sensor;

    #[test]
    fn a_change_is_measured_per_second_between_the_two_readings() {
        let mut sensor = Sensor::new("rate 2");
        sensor.add(10_000, 5.0);
        for (ms, value, per_second, verdict) in [
            (10_500, 6.0, 2.0, Verdict::Normal),
            (10_500, 6.5, 3.0, Verdict::Critical),
            (10_400, 6.0, 2.5, Verdict::Warning),
            (70_000, 105.0, 100.0 / 60.0, Verdict::Normal),
            (10_001, 5.0, 0.0, Verdict::Normal),
            (10_001, 4.0, -1000.0, Verdict::Critical),
        ] {
            let outcome = sensor.ask(ms, value);
            assert_eq!(outcome.verdict, verdict, "{ms} {value}");
            let found = outcome.finding.unwrap();
            assert_eq!(found.detail, Detail::Change { per_second });
            assert_eq!((found.expected, found.threshold), (Some(5.0), 2.0));
        }
    }

    #[test]
    fn the_band_is_what_may_be_reached_by_then() {
        let mut sensor = Sensor::new("rate 2");
        sensor.add(0, 5.0);
        let found = sensor.ask(3000, 5.0).finding.unwrap();
        assert_eq!((found.lower, found.upper), (Some(-1.0), Some(11.0)));
    }

    #[test]
    fn it_goes_by_the_reading_before_also_where_that_was_abnormal() {
        for learn in ["yes", "no"] {
            let mut sensor = Sensor::new(&format!("rate 2 learn {learn}"));
            sensor.add(0, 5.0);
            assert_eq!(sensor.add(1000, 50.0).verdict, Verdict::Critical);
            assert_eq!(
                sensor.add(2000, 51.0).verdict,
                Verdict::Normal,
                "learn {learn}"
            );
        }
    }
}
