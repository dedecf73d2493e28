//! Stuck: the time for which a sensor has not changed its value at all, by the times of its readings.
//!
//! The ratio is (time of the reading − time of the last change) / `stuck`: it is judged with each reading, and a sensor that
//! sends nothing is `nodata`'s business. Any other value is a change, however small. `direction`, `mindev` and `warmup` do
//! not concern it: there is no deviation, and nothing to learn.

use super::{Detail, Finding, HIGHEST_RATIO, Judgement, Kind, severity};
use crate::model::Model;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::Side;

/// Judges how long the value has been what it is.
#[inline(always)]
#[must_use]
pub fn judge(model: &Model, reading: Reading, profile: &Profile) -> Judgement {
    let limit = profile.stuck.map_or(f64::INFINITY, |ms| ms as f64);
    let unchanged = model
        .newest()
        .filter(|newest| newest.value == reading.value)
        .map(|newest| reading.at.since(model.changed.unwrap_or(newest.at)).max(0));
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

#[cfg(test)]
mod tests {
    use crate::detect::{Detail, Kind};
    use crate::episode::Event;
    use crate::model::Verdict;
    use crate::testing::{Sensor, cases, reading};
    use proptest::prelude::*;

    const ON: &str = "stuck 60000 auto off";

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn agrees_with_a_look_back_over_all_readings(steps in prop::collection::vec((0..40_000i64, 0..3i8), 1..100)) {
            let mut sensor = Sensor::new(ON);
            let (mut now, mut past): (i64, Vec<(i64, f64)>) = (0, vec![]);
            for (step, value) in steps {
                (now, past) = (now + step, past);
                let value = f64::from(value);
                let outcome = sensor.add(now, value);
                if outcome.verdict == Verdict::Duplicate {
                    continue;
                }
                past.push((now, value));
                let same = past.iter().rev().take_while(|(_, v)| *v == value).last().unwrap();
                prop_assert_eq!(outcome.finding.unwrap().ratio, (now - same.0) as f64 / 60_000.0);
            }
        }
    }

    #[test]
    fn it_fires_on_the_reading_that_shows_it_and_any_change_ends_it() {
        let mut sensor = Sensor::new(&format!("{ON} clear 1 mindev 5 warmup 100 direction high"));
        for (ms, value, verdict, event) in [
            (0, 21.4, Verdict::Normal, None),
            (60_000, 21.4, Verdict::Normal, None),
            (60_001, 21.4, Verdict::Warning, Some(Event::Firing)),
            (90_000, 21.4, Verdict::Critical, Some(Event::Escalated)),
            (95_000, 21.400_000_1, Verdict::Normal, Some(Event::Resolved)),
            (155_000, 21.400_000_1, Verdict::Normal, None),
            (155_001, 21.400_000_1, Verdict::Warning, Some(Event::Firing)),
        ] {
            let outcome = sensor.add(ms, value);
            let told = outcome.transition.map(|(event, _)| event);
            assert_eq!((outcome.verdict, told), (verdict, event), "{ms}");
            assert_eq!(outcome.finding.unwrap().kind, Kind::Stuck);
        }
    }

    #[test]
    fn switched_on_it_counts_from_the_newest_reading_on() {
        let mut sensor = Sensor::new("max 99");
        sensor.add(0, 1.0);
        sensor.add(10_000, 2.0);
        sensor.add(50_000, 2.0);
        sensor.set("stuck 60000");
        assert_eq!(sensor.ask(110_000, 2.0).verdict, Verdict::Normal);
        sensor.add(60_000, 2.0);
        let found = sensor.ask(110_001, 2.0).finding.unwrap();
        assert_eq!(found.kind, Kind::Stuck);
        assert_eq!(found.detail, Detail::Unchanged { ms: Some(60_001) });
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut sensor = Sensor::new(ON);
        sensor.add(10_000_000, 5.0);
        sensor.add(10_001_000, 5.0);
        for late in 0..40 {
            sensor.add(1000 * late, 5.0);
        }
        let newest = sensor.model.newest().unwrap();
        assert_eq!(newest, reading(39_000, 5.0));
        let since = sensor.model.changed.unwrap().millis();
        assert!((29_000..39_000).contains(&since), "{since}");
        assert_eq!(sensor.ask(80_000, 5.0).verdict, Verdict::Normal);
    }

    #[test]
    fn limits_and_the_parameter_free_detector_go_on_beside_it() {
        let profile = Sensor::new("stuck 60000").profile();
        assert!(profile.has(Kind::Stuck) && profile.has(Kind::Auto));
    }
}
