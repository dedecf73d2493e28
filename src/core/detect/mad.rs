//! Robust z-score: how far a reading lies from the median of the window before it, by the median of the deviations.
//!
//! M = 0.6745·|x − median| / MAD over the last `window` readings, x itself excluded, MAD the median of |xᵢ − median|
//! (Iglewicz & Hoaglin 1993, *How to Detect and Handle Outliers*, 3.2); medians of an even number are means of the middle
//! two. The ratio is M / k. Up to half of the window may be outliers without moving it far.
//!
//! Where more than half of the window is one value, MAD is 0 and says nothing of the rest: the standard deviation of the
//! window stands in for MAD/0.6745. Where that is 0 too, any other value is as far out as a ratio goes.

use super::{Centre, Judgement, Kind, deviating, missing, zscore};
use crate::profile::Profile;
use crate::window::Window;

/// MAD of the normal law, in its standard deviations.
const NORMAL_MAD: f64 = 0.6745;

/// Judges a value against the window.
#[inline(always)]
#[must_use]
pub fn judge(window: Option<&Window>, value: f64, profile: &Profile) -> Judgement {
    let seen = window.map_or(0, Window::seen);
    let missing = missing(profile, zscore::warmup(profile), 2, seen);
    let (Some(window), 0) = (window, missing) else {
        return Judgement::Warming(missing.max(1));
    };
    let robust = window.median_deviation() / NORMAL_MAD;
    // Readings of one value may differ by the rounding of their distances.
    let alike = robust <= window.grain();
    let unit = if alike { window.deviation() } else { robust };
    let readings = window.len();
    deviating(
        Kind::Mad,
        Centre::Median { readings, alike },
        window.median(),
        unit,
        window.distance_from_median(value),
        profile,
    )
}

#[cfg(test)]
mod tests {
    use crate::detect::{Detail, HIGHEST_RATIO};
    use crate::model::Verdict;
    use crate::testing::{Sensor, cases};
    use crate::units::Severity;
    use proptest::prelude::*;

    fn median(values: &mut [f64]) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        (values[(n - 1) / 2] + values[n / 2]) / 2.0
    }

    /// Median and unit by sorting; where more than half are one value, the unit is the standard deviation.
    fn naive(window: &[f64]) -> (f64, f64, bool) {
        let middle = median(&mut window.to_vec());
        let mad = median(
            &mut window
                .iter()
                .map(|x| (x - middle).abs())
                .collect::<Vec<_>>(),
        );
        let n = window.len() as f64;
        let mean = window.iter().sum::<f64>() / n;
        let sd = (window.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        (
            middle,
            if mad > 0.0 { mad / 0.6745 } else { sd },
            mad == 0.0,
        )
    }

    proptest! {
        #![proptest_config(cases(200))]

        #[test]
        fn agrees_with_medians_by_sorting(
            values in prop_oneof![
                prop::collection::vec(-100.0..100.0f64, 10..400),
                // Quarters: sensors that round, and repeat themselves.
                prop::collection::vec((-8..8i32).prop_map(|x| f64::from(x) / 4.0), 10..400),
                prop::collection::vec(prop_oneof![5 => Just(21.5), 1 => 20.0..23.0f64], 10..400),
            ],
            window in prop::sample::select(vec![2, 3, 9, 30, 200]),
        ) {
            let mut sensor = Sensor::new(&format!("mad 3 warmup 2 window {window}"));
            let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
            // What distances held as f32 can tell apart.
            let step = 2e-6 * (high - low);
            for (i, value) in values.iter().enumerate() {
                let outcome = sensor.add(i as i64 * 1000, *value);
                if i < 2 {
                    prop_assert_eq!(outcome.verdict, Verdict::Warmup);
                    continue;
                }
                let (middle, unit, alike) = naive(&values[i.saturating_sub(window)..i]);
                if !alike && unit < 2.0 * step {
                    continue;
                }
                let found = outcome.finding.unwrap();
                prop_assert!((found.expected.unwrap() - middle).abs() <= step);
                let Detail::Deviation { unit: found_unit, .. } = found.detail else { unreachable!() };
                prop_assert!((found_unit - unit).abs() <= step, "at {}: {} is not {}", i, found_unit, unit);
                if unit > 100.0 * step {
                    let ratio = (value - middle).abs() / unit / 3.0;
                    prop_assert!((found.ratio - ratio).abs() <= 0.03 * (1.0 + ratio), "at {}: {} is not {}", i, found.ratio, ratio);
                }
            }
        }
    }

    #[test]
    fn outliers_in_the_window_do_not_hide_the_next_one() {
        let noise = |i: i32| f64::from(i * 7 % 11) / 10.0;
        let values = (0..60).map(|i| if i % 4 == 0 { 1e3 } else { noise(i) });
        let mut robust = Sensor::after("mad 5", values.clone());
        assert_eq!(
            robust.ask(99_000, 50.0).finding.unwrap().severity,
            Some(Severity::Critical)
        );
        let mut plain = Sensor::after("zscore 3", values);
        assert_eq!(plain.ask(99_000, 50.0).finding.unwrap().severity, None);
    }

    #[test]
    fn a_sensor_that_mostly_repeats_one_value_is_judged_by_its_standard_deviation() {
        let mut sensor = Sensor::after(
            "mad 4",
            (0..60).map(|i| if i % 5 == 0 { 21.5 } else { 21.4 }),
        );
        assert_eq!(sensor.ask(99_000, 21.5).verdict, Verdict::Normal);
        assert_eq!(sensor.ask(99_000, 22.0).verdict, Verdict::Critical);
    }

    #[test]
    fn any_change_of_a_sensor_that_never_changed_is_as_far_out_as_it_gets() {
        let mut sensor = Sensor::after("mad 3", [20.0; 40]);
        assert_eq!(sensor.ask(99_000, 20.0).score(), 0.0);
        let changed = sensor.ask(99_000, 20.001).finding.unwrap();
        assert_eq!(
            (changed.ratio, changed.severity),
            (HIGHEST_RATIO, Some(Severity::Critical))
        );
        sensor.set("mindev 0.5");
        assert_eq!(sensor.ask(99_000, 20.4).verdict, Verdict::Normal);
    }

    #[test]
    fn switched_on_late_it_knows_the_window_that_zscore_has_kept() {
        let values = (0..45).map(|i| f64::from(i % 9));
        let mut late = Sensor::after("zscore 1000", values.clone());
        late.set("mad 3 zscore off");
        let mut early = Sensor::after("mad 3", values);
        assert_eq!(late.ask(99_000, 30.0), early.ask(99_000, 30.0));
        late.set("window 10");
        early.set("window 10");
        assert_eq!(late.add(99_000, 30.0), early.add(99_000, 30.0));
        assert_eq!(late.stored(), early.stored());
    }
}
