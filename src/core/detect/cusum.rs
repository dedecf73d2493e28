//! Cumulative sums: a small shift that lasts adds up, where no single reading stands out.
//!
//! With z = (x − mean) / sd, drift k and threshold h, two sums run (Page 1954; NIST/SEMATECH e-Handbook of Statistical
//! Methods, 6.3.2.3):
//!
//! ```text
//! above ← max(0, above + z − k)        below ← max(0, below − z − k)        ratio = larger sum / h
//! ```
//!
//! **Baseline.** Mean and sd are learnt from the sensor itself (self-starting: Hawkins 1987): they are those of all readings
//! before this one, where no reading weighs less than a thousandth, so that a slow change of the sensor is followed. The
//! sums begin at 0 when the warm-up is over.
//!
//! **After an alarm.** While a sum is above h nothing is learnt, and it grows no further than to `critical`·h: a sensor that
//! comes back is normal again after a few readings. One that does not come back is taken at its word: its readings since
//! the alarm make a second baseline, and when there are as many of them as the warm-up has, they become the baseline and the
//! sums begin anew. With `learn no` they never do: the alarm lasts as long as the shift.

use super::ewma::flushed;
use super::{Detail, Finding, HIGHEST_RATIO, Judgement, Kind, grade, missing, needed};
use crate::profile::Profile;
use crate::units::Side;

/// Readings before it judges, unless the rule says otherwise: an sd of 50 readings is right to a tenth.
const WARMUP: u32 = 50;

/// No reading weighs less than one in so many.
const MEMORY: u32 = 1000;

/// Mean and spread of the readings learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Level {
    pub(crate) mean: f64,
    /// Sum of squared deviations from it (Welford 1962).
    pub(crate) squares: f64,
    /// Readings they are of.
    pub(crate) readings: u32,
}

/// The baseline, the sums, and during an alarm the next baseline: 64 bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cusum {
    pub(crate) level: Level,
    pub(crate) above: f64,
    pub(crate) below: f64,
    pub(crate) next: Level,
}

/// Judges the sums as they are with this value.
#[inline(always)]
#[must_use]
pub fn judge(past: Option<&Cusum>, value: f64, profile: &Profile) -> Judgement {
    let readings = past.map_or(0, |past| past.level.readings);
    let missing = missing(profile, WARMUP, 2, readings);
    let (Some(past), 0) = (past, missing) else {
        return Judgement::Warming(missing.max(1));
    };
    let (h, mean, sd) = (
        profile.cusum.unwrap_or(f64::INFINITY),
        past.level.mean,
        past.level.deviation(),
    );
    let (above, below) = past.after(value, profile);
    let watches = |side| profile.direction.watches(side);
    let above = if watches(Side::High) { above } else { 0.0 };
    let below = if watches(Side::Low) { below } else { 0.0 };
    let (sum, side) = if above >= below {
        (above, Side::of(above))
    } else {
        (below, Side::Low)
    };
    // The deviation of this reading, to the side of the sum: one that is back within `mindev` ends the alarm.
    let deviation = (value - mean).abs().min(f64::MAX);
    let signed = if side == Side::Low {
        -deviation
    } else {
        deviation
    };
    let (ratio, severity) = grade((sum / h).min(HIGHEST_RATIO), signed, profile);
    // The next value that would bring a sum to h.
    let reach = |sum: f64| {
        ((h + profile.drift - sum) * sd)
            .max(profile.mindev)
            .clamp(f64::MIN, f64::MAX)
    };
    Judgement::Scored(Finding {
        kind: Kind::Cusum,
        ratio,
        severity,
        side,
        threshold: h,
        expected: Some(mean),
        lower: watches(Side::Low).then_some((mean - reach(past.below)).clamp(f64::MIN, f64::MAX)),
        upper: watches(Side::High).then_some((mean + reach(past.above)).clamp(f64::MIN, f64::MAX)),
        detail: Detail::Sum { sum, unit: sd },
    })
}

impl Cusum {
    /// Takes in a reading; one that is `anomalous` does not enter the baseline where `learn` is no.
    pub fn learn(&mut self, value: f64, anomalous: bool, profile: &Profile) {
        let warmup = needed(profile, WARMUP, 2);
        let memory = warmup.max(MEMORY);
        let learns = profile.learn || !anomalous;
        if self.level.readings < warmup {
            if learns {
                self.level.learn(value, memory);
            }
            return;
        }
        let h = profile.cusum.unwrap_or(f64::MAX);
        let most = (h * profile.critical).min(f64::MAX);
        let (above, below) = self.after(value, profile);
        (self.above, self.below) = (above.min(most), below.min(most));
        if self.above <= h && self.below <= h {
            self.next = Level::default();
            if learns {
                self.level.learn(value, memory);
            }
        } else if profile.learn {
            self.next.learn(value, memory);
            if self.next.readings >= warmup {
                *self = Self {
                    level: self.next,
                    ..Self::default()
                };
            }
        }
    }

    /// The sums with one value more.
    fn after(&self, value: f64, profile: &Profile) -> (f64, f64) {
        let distance = value - self.level.mean;
        let z = match (distance == 0.0, self.level.deviation()) {
            (true, _) => 0.0,
            (false, 0.0) => f64::INFINITY.copysign(distance),
            (false, sd) => distance / sd,
        };
        (
            (self.above + z - profile.drift).max(0.0),
            (self.below - z - profile.drift).max(0.0),
        )
    }
}

impl Level {
    /// Root mean square deviation.
    fn deviation(&self) -> f64 {
        (self.squares / f64::from(self.readings.max(1))).sqrt()
    }

    /// Takes in a value, whose weight is at least one in `memory`.
    fn learn(&mut self, value: f64, memory: u32) {
        if self.readings >= memory {
            self.squares =
                flushed(self.squares * (f64::from(memory - 1) / f64::from(self.readings)));
            self.readings = memory - 1;
        }
        self.readings += 1;
        let distance = (value - self.mean).clamp(f64::MIN, f64::MAX);
        let mean = self.mean + distance / f64::from(self.readings);
        // As in `Ewma::learn`: not for ever a hair away from a sensor that stands still.
        self.mean = if mean == self.mean || self.readings == 1 {
            value
        } else {
            mean
        };
        let rest = (value - self.mean).clamp(f64::MIN, f64::MAX);
        self.squares = (self.squares + distance * rest).clamp(0.0, f64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::HIGHEST_RATIO;
    use crate::episode::Event;
    use crate::model::Verdict;
    use crate::testing::{Noise, Sensor, cases};
    use crate::units::{Severity, Side};
    use proptest::prelude::*;

    /// Noise of standard deviation 1 around 20.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let mut noise = Noise(seed);
        std::iter::from_fn(move || Some(20.0 + 3f64.sqrt() * noise.next()))
    }

    /// The sensor after these readings, and the seconds at which it fired and was resolved.
    fn told(settings: &str, values: impl IntoIterator<Item = f64>) -> (Sensor, Vec<(i64, Event)>) {
        let (mut sensor, mut events) = (Sensor::new(settings), vec![]);
        for (second, value) in (0..).zip(values) {
            let outcome = sensor.add(second * 1000, value);
            events.extend(outcome.transition.map(|(event, _)| (second, event)));
        }
        (sensor, events)
    }

    proptest! {
        #![proptest_config(cases(100))]

        /// The two sums over the whole past, for as long as nothing is in alarm.
        #[test]
        fn agrees_with_sums_and_baseline_made_anew_for_each_reading(
            seed in any::<u64>(),
            drift in prop::sample::select(vec![0.0, 0.25, 0.5, 1.0]),
            scale in prop::sample::select(vec![1e-6, 1.0, 1e6]),
        ) {
            let values: Vec<f64> = noise(seed).take(300).map(|x| x * scale).collect();
            let mut sensor = Sensor::new(&format!("cusum 1000 drift {drift} warmup 20"));
            let (mut above, mut below) = (0.0, 0.0);
            for (n, x) in values.iter().enumerate() {
                let outcome = sensor.add(n as i64 * 1000, *x);
                if n < 20 {
                    continue;
                }
                let past = &values[..n];
                let mean = past.iter().sum::<f64>() / n as f64;
                let sd = (past.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
                above = f64::max(0.0, above + (x - mean) / sd - drift);
                below = f64::max(0.0, below - (x - mean) / sd - drift);
                let ratio = f64::max(above, below) / 1000.0;
                let found = outcome.finding.unwrap();
                prop_assert!((found.ratio - ratio).abs() < 1e-9, "at {}: {} is not {}", n, found.ratio, ratio);
                prop_assert!((found.expected.unwrap() - mean).abs() < 1e-9 * scale);
            }
        }
    }

    #[test]
    fn a_shift_of_one_deviation_that_no_reading_shows_is_found_and_on_its_side() {
        for (shift, side) in [(1.0, Side::High), (-1.0, Side::Low)] {
            let found = |seed| {
                let shifted = noise(seed)
                    .zip(0..)
                    .map(|(x, i)| if i < 200 { x } else { x + shift });
                let mut sensor = Sensor::new("cusum 6");
                let fired = (0..260).zip(shifted).find_map(|(second, value)| {
                    let (event, episode) = sensor.add(second * 1000, value).transition?;
                    (second >= 200 && event == Event::Firing).then_some(episode.side)
                });
                fired == Some(side)
            };
            let caught = (0..100).filter(|seed| found(*seed)).count();
            assert!(caught > 90, "{caught} of 100");
        }
    }

    #[test]
    fn without_a_shift_it_is_quiet() {
        let fired = |seed| {
            let (_, events) = told("cusum 6", noise(seed).take(1000));
            events
                .iter()
                .filter(|(_, event)| *event == Event::Firing)
                .count()
        };
        let all: usize = (0..50).map(fired).sum();
        assert!(all < 50, "{all} alarms in 50,000 readings");
    }

    #[test]
    fn a_new_level_is_taken_for_normal_after_as_many_readings_as_the_warmup_has() {
        let shifted = || {
            noise(3)
                .zip(0..1000)
                .map(|(x, i)| if i < 200 { x } else { x + 4.0 })
        };
        let (mut sensor, events) = told("cusum 6", shifted());
        let [(fired, Event::Firing), .., (resolved, Event::Resolved)] = events[..] else {
            panic!("{events:?}");
        };
        assert!((200..205).contains(&fired), "{events:?}");
        assert!((fired + 50..fired + 55).contains(&resolved), "{events:?}");
        let found = sensor.ask(2_000_000, 24.0).finding.unwrap();
        assert!((found.expected.unwrap() - 24.0).abs() < 0.3);
        assert_eq!(sensor.ask(2_000_000, 12.0).verdict, Verdict::Critical);

        let (mut sensor, events) = told("cusum 6 learn no", shifted());
        assert!(
            events.iter().all(|(_, event)| *event != Event::Resolved),
            "{events:?}"
        );
        let found = sensor.ask(2_000_000, 24.0).finding.unwrap();
        assert!(
            (found.expected.unwrap() - 20.0).abs() < 0.3,
            "the baseline is what it was"
        );
    }

    #[test]
    fn a_sensor_that_comes_back_is_normal_after_a_few_readings_however_far_it_was() {
        let spiked = noise(5)
            .zip(0..400)
            .map(|(x, i)| if (200..210).contains(&i) { 1e6 } else { x });
        let (mut sensor, events) = told("cusum 6", spiked);
        let [(200, Event::Firing), .., (resolved, Event::Resolved)] = events[..] else {
            panic!("{events:?}");
        };
        assert!(resolved < 230, "{events:?}");
        let expected = sensor.ask(999_000, 20.0).finding.unwrap().expected.unwrap();
        assert!(
            (expected - 20.0).abs() < 0.3,
            "nothing was learnt of it: {expected}"
        );
    }

    #[test]
    fn the_band_is_what_the_next_reading_may_be_and_shrinks_as_the_sum_grows() {
        let (mut sensor, _) = told(
            "cusum 16 drift 0 learn no",
            [-5.0, 5.0].into_iter().chain([0.0; 48]),
        );
        let band = |sensor: &mut Sensor| {
            let found = sensor.ask(999_000, 0.0).finding.unwrap();
            (found.lower, found.upper)
        };
        assert_eq!(band(&mut sensor), (Some(-16.0), Some(16.0)));
        sensor.model.cusum.as_mut().unwrap().above = 6.0;
        assert_eq!(band(&mut sensor), (Some(-16.0), Some(10.0)));
        sensor.set("mindev 12 direction high");
        assert_eq!(band(&mut sensor), (None, Some(12.0)));
    }

    #[test]
    fn any_change_of_a_sensor_that_never_changed_is_as_far_out_as_it_gets() {
        let (mut sensor, _) = told("cusum 6", [20.0; 60]);
        assert_eq!(sensor.ask(99_000, 20.0).score(), 0.0);
        let changed = sensor.ask(99_000, 20.001).finding.unwrap();
        assert_eq!(
            (changed.ratio, changed.severity),
            (HIGHEST_RATIO, Some(Severity::Critical))
        );
    }

    #[test]
    fn a_sensor_that_stands_still_after_it_moved_raises_no_sum() {
        let moved = noise(7)
            .take(60)
            .chain(std::iter::repeat_n(20.1 + 0.2, 60_000));
        let (mut sensor, events) = told("cusum 6 warmup 20", moved);
        assert!(events.is_empty(), "{events:?}");
        assert_eq!(sensor.ask(99_000_000, 20.1 + 0.2).score(), 0.0);
    }

    #[test]
    fn a_drift_slower_than_its_memory_is_followed() {
        // A tenth of a deviation in a thousand readings.
        let slow = noise(11).zip(0..).map(|(x, i)| x + f64::from(i) / 10_000.0);
        let (mut sensor, events) = told("cusum 8", slow.take(30_000));
        assert!(events.len() < 20, "{events:?}");
        let expected = sensor
            .ask(99_000_000, 23.0)
            .finding
            .unwrap()
            .expected
            .unwrap();
        assert!((22.7..23.1).contains(&expected), "{expected}");
    }
}
