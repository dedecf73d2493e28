//! Exponentially weighted mean: how many of its own standard deviations a reading lies from it.
//!
//! With weight α, the mean m and the variance v before the reading x (Finch 2009, *Incremental calculation of weighted mean
//! and variance*, section 9; the chart is Roberts 1959):
//!
//! ```text
//! z = (x − m) / √v        then        m ← m + α(x − m),   v ← (1 − α)(v + α(x − m)²)
//! ```
//!
//! The ratio is |z| / k. The weight of the n-th reading is at least 1/n, so that the first one weighs no more than those
//! after it and a young mean is the plain one.

use super::{Centre, Judgement, Kind, deviating, missing};
use crate::profile::Profile;

/// Readings before it judges, unless the rule says otherwise: what the default weight of 0.05 remembers, and half as much
/// again.
const WARMUP: u32 = 30;

/// Mean and variance of the past, weighted by its age: 24 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ewma {
    /// In the sensor's unit.
    pub(crate) mean: f64,
    /// In the square of that unit.
    pub(crate) variance: f64,
    /// Readings it has learnt; saturating.
    pub(crate) seen: u32,
}

/// Judges a value against what was learnt before.
#[inline(always)]
#[must_use]
pub fn judge(past: Option<&Ewma>, value: f64, profile: &Profile) -> Judgement {
    let seen = past.map_or(0, |past| past.seen);
    let (Some(past), 0) = (past, missing(profile, WARMUP, 1, seen)) else {
        return Judgement::Warming(missing(profile, WARMUP, 1, seen));
    };
    deviating(
        Kind::Ewma,
        Centre::WeightedMean,
        past.mean,
        past.variance.sqrt(),
        value - past.mean,
        profile,
    )
}

impl Ewma {
    /// Takes in a reading with weight `alpha`.
    pub fn learn(&mut self, value: f64, alpha: f64) {
        self.seen = self.seen.saturating_add(1);
        let alpha = alpha.max(1.0 / f64::from(self.seen));
        let distance = (value - self.mean).clamp(f64::MIN, f64::MAX);
        let step = alpha * distance;
        let mean = self.mean + step;
        // Close before the value, rounding would stop the mean for good, a hair away from a sensor that stands still.
        self.mean = if mean == self.mean || alpha >= 1.0 {
            value
        } else {
            mean
        };
        let squares = (self.variance + distance * step).min(f64::MAX);
        self.variance = flushed((1.0 - alpha) * squares);
    }
}

/// Without the numbers below 2e-308, which are slow, and of which the smallest do not shrink any more.
pub(super) fn flushed(x: f64) -> f64 {
    if x < f64::MIN_POSITIVE { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::HIGHEST_RATIO;
    use crate::model::Verdict;
    use crate::testing::{Sensor, cases};
    use crate::units::Severity;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases(200))]

        /// The mean and the variance as weighted sums over the whole past, by definition.
        #[test]
        fn agrees_with_the_weighted_sums_over_all_readings(
            values in prop::collection::vec(-100.0..100.0f64, 1..200),
            alpha in prop::sample::select(vec![0.01, 0.05, 0.3, 0.9]),
            level in prop::sample::select(vec![0.0, 1e6]),
        ) {
            let values: Vec<f64> = values.iter().map(|x| x + level).collect();
            let mut past = Ewma::default();
            values.iter().for_each(|x| past.learn(*x, alpha));
            let mut weights: Vec<f64> = Vec::new();
            for n in 1..=values.len() {
                let own = f64::max(alpha, 1.0 / n as f64);
                weights.iter_mut().for_each(|w| *w *= 1.0 - own);
                weights.push(own);
            }
            let weighted = |f: &dyn Fn(f64) -> f64| weights.iter().zip(&values).map(|(w, x)| w * f(*x)).sum::<f64>();
            let mean = weighted(&|x| x);
            let variance = weighted(&|x| (x - mean).powi(2));
            prop_assert!((past.mean - mean).abs() < 1e-7, "{} {mean}", past.mean);
            prop_assert!((past.variance - variance).abs() < 1e-5 * (1.0 + variance), "{} {variance}", past.variance);
        }
    }

    #[test]
    fn it_needs_thirty_readings_unless_the_rule_says_otherwise() {
        for (settings, needed) in [
            ("ewma 3", 30),
            ("ewma 3 alpha 0.001", 30),
            ("ewma 3 warmup 5", 5),
            ("ewma 3 warmup 0", 1),
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
    fn the_mean_follows_a_new_level_the_faster_the_greater_the_weight() {
        let shifted = || (0..60).map(|i| if i < 40 { f64::from(i % 2) } else { 100.0 });
        for (settings, gone) in [("ewma 3 alpha 0.01", 0.4), ("ewma 3 alpha 0.5", 0.999)] {
            let found = Sensor::after(settings, shifted())
                .ask(99_000, 100.0)
                .finding;
            let expected = found.unwrap().expected.unwrap();
            if gone > 0.5 {
                assert!(expected > 100.0 * gone, "{settings}: {expected}");
            } else {
                assert!(expected < 100.0 * gone, "{settings}: {expected}");
            }
        }
    }

    #[test]
    fn a_sensor_that_stands_still_after_it_moved_has_exactly_no_deviation() {
        let moved = (0..30).map(|i| f64::from(i).sin()).chain([1e6]);
        for alpha in ["0.05", "0.3", "1"] {
            let still = std::iter::repeat_n(0.1 + 0.2, 40_000);
            let mut sensor =
                Sensor::after(&format!("ewma 3 alpha {alpha}"), moved.clone().chain(still));
            assert_eq!(sensor.ask(99_000_000, 0.1 + 0.2).score(), 0.0, "{alpha}");
            let change = sensor.ask(99_000_000, 0.300_001).finding.unwrap();
            assert_eq!(
                (change.ratio, change.severity),
                (HIGHEST_RATIO, Some(Severity::Critical))
            );
        }
    }
}
