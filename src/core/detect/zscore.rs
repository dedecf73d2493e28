//! Rolling z-score: how many standard deviations a reading lies from the mean of the window before it.
//!
//! z = (x − mean) / s over the last `window` readings, x itself excluded, s the sample standard deviation
//! (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.5.17). The ratio is |z| / k. Where the window has no deviation
//! at all, any other value is as far out as a ratio goes.

use super::{Centre, Judgement, Kind, deviating, missing};
use crate::profile::Profile;
use crate::window::Window;

/// Readings before it judges, unless the rule says otherwise: the window, but no more than this.
const WARMUP: usize = 30;

/// The readings that a detector of the window needs by itself.
pub(super) fn warmup(profile: &Profile) -> u32 {
    profile.window.min(WARMUP) as u32
}

/// Judges a value against the window.
#[inline(always)]
#[must_use]
pub fn judge(window: Option<&Window>, value: f64, profile: &Profile) -> Judgement {
    let seen = window.map_or(0, Window::seen);
    let missing = missing(profile, warmup(profile), 2, seen);
    let (Some(window), 0) = (window, missing) else {
        return Judgement::Warming(missing.max(1));
    };
    let readings = window.len();
    deviating(
        Kind::Zscore,
        Centre::Mean { readings },
        window.mean(),
        window.deviation(),
        window.distance_from_mean(value),
        profile,
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::HIGHEST_RATIO;
    use crate::model::Verdict;
    use crate::testing::Sensor;
    use crate::units::Severity;

    #[test]
    fn it_needs_the_window_but_at_most_thirty_readings() {
        for (settings, needed) in [
            ("zscore 3", 30),
            ("zscore 3 window 2", 2),
            ("zscore 3 window 12", 12),
            ("zscore 3 window 1000", 30),
            ("zscore 3 warmup 0", 2),
            ("zscore 3 window 5 warmup 50", 50),
        ] {
            let outcome = Sensor::new(settings).add(0, 1.0);
            assert_eq!(
                (outcome.verdict, outcome.needed),
                (Verdict::Warmup, needed),
                "{settings}"
            );
        }
    }

    #[test]
    fn any_change_of_a_sensor_that_never_changed_is_as_far_out_as_it_gets() {
        let mut sensor = Sensor::after("zscore 3", [20.0; 40]);
        assert_eq!(sensor.ask(99_000, 20.0).score(), 0.0);
        let changed = sensor.ask(99_000, 20.001).finding.unwrap();
        assert_eq!(
            (changed.ratio, changed.severity),
            (HIGHEST_RATIO, Some(Severity::Critical))
        );
        assert!(changed.score() < 1.0);
        sensor.set("mindev 0.5");
        assert_eq!(
            sensor.ask(99_000, 20.4).verdict,
            Verdict::Normal,
            "but not below mindev"
        );
        assert_eq!(sensor.ask(99_000, 20.5).verdict, Verdict::Critical);
    }

    #[test]
    fn the_reading_itself_is_not_in_the_window() {
        // With itself in it, no reading of 5 can be beyond 1.8 standard deviations.
        let mut sensor = Sensor::after("zscore 3 window 5", [1.0, -1.0, 1.0, -1.0, 0.0]);
        let found = sensor.ask(99_000, 100.0).finding.unwrap();
        assert_eq!((found.expected, found.ratio), (Some(0.0), 100.0 / 3.0));
    }

    #[test]
    fn only_the_last_readings_count() {
        let shifted = (0..60).map(|i| if i < 30 { 1e3 } else { f64::from(i % 2) });
        let mut sensor = Sensor::after("zscore 3", shifted);
        let found = sensor.ask(99_000, 0.5).finding.unwrap();
        assert_eq!((found.expected, found.severity), (Some(0.5), None));
    }

    #[test]
    fn the_band_is_k_deviations_wide_and_at_least_mindev() {
        let mut sensor = Sensor::after("zscore 3 window 5", [1.0, -1.0, 1.0, -1.0, 0.0]);
        let band = |sensor: &mut Sensor| {
            let found = sensor.ask(99_000, 0.0).finding.unwrap();
            (found.lower, found.upper)
        };
        assert_eq!(band(&mut sensor), (Some(-3.0), Some(3.0)));
        sensor.set("mindev 7");
        assert_eq!(band(&mut sensor), (Some(-7.0), Some(7.0)));
    }
}
