//! What sensors report when nothing is wrong: seeded, the same on every host. Values are in the sensor's unit, in which
//! the noise has a standard deviation of 1 (`sd`) around a level of 20; times are milliseconds.

use crate::dice::Dice;

/// 2024-01-01 00:00 UTC, a Monday.
pub(crate) const START: i64 = 1_704_067_200_000;
/// Milliseconds.
pub(crate) const HOUR: i64 = 3_600_000;
/// Milliseconds.
pub(crate) const DAY: i64 = 24 * HOUR;
/// Around which all signals lie, but walks and counters.
pub(crate) const LEVEL: f64 = 20.0;

/// The law of the noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noise {
    /// Independent normal readings, sd 1.
    White,
    /// First-order autoregression with coefficient .95, sd 1: each reading is .95 of the one before, and news.
    Ar,
    /// Independent readings of Student's t with 3 degrees of freedom, scaled to sd 1: one in 600 is beyond 5 sd.
    Student,
    /// The sum of independent normal steps, sd 1 each.
    Walk,
}

/// What lies under the noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Nothing.
    Flat,
    /// A sine of a day, 5 sd to either side, its phase by seed.
    Daily,
    /// The same, a third as high on Saturdays and Sundays.
    Weekly,
    /// A rise of so many sd per millisecond, from [`START`] on.
    Drift(f64),
    /// A count of events, 10 ± 3 per reading, which noise does not apply to; with resets it begins at 0 again after a
    /// time that is exponential with a mean of three days.
    Counter {
        /// Whether it is reset.
        resets: bool,
    },
}

/// A sensor's world: asked for the value at one time after the other.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    shape: Shape,
    noise: Noise,
    dice: Dice,
    phase: f64,
    state: f64,
    reset: i64,
    /// The rate of a counter, as a multiple of the usual one.
    pub(crate) rate: f64,
}

impl Signal {
    /// The signal of a seed.
    pub(crate) fn new(shape: Shape, noise: Noise, seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let phase = dice.uniform();
        let state = match (shape, noise) {
            (Shape::Counter { .. }, _) | (_, Noise::Walk) => 0.0,
            _ => dice.normal(),
        };
        let mut signal = Self {
            shape,
            noise,
            dice,
            phase,
            state,
            reset: START,
            rate: 1.0,
        };
        signal.reset = signal.next_reset(START);
        signal
    }

    fn next_reset(&mut self, from: i64) -> i64 {
        from + (self.dice.exponential() * 3.0 * DAY as f64) as i64
    }

    /// The value at `at`; times must not fall.
    pub(crate) fn at(&mut self, at: i64) -> f64 {
        let Shape::Counter { resets } = self.shape else {
            return LEVEL + self.base(at) + self.noise();
        };
        let events = self.rate * 10.0 + self.rate.sqrt() * 3.0 * self.dice.normal();
        self.state += events.round().max(0.0);
        if resets && at >= self.reset {
            self.state = 0.0;
            self.reset = self.next_reset(at);
        }
        self.state
    }

    fn base(&self, at: i64) -> f64 {
        let days = (at - START) as f64 / DAY as f64;
        let cycle = || 5.0 * libm::sin(std::f64::consts::TAU * (days + self.phase));
        match self.shape {
            Shape::Daily => cycle(),
            Shape::Weekly if is_weekend(at) => cycle() / 3.0,
            Shape::Weekly => cycle(),
            Shape::Drift(slope) => (at - START) as f64 * slope,
            Shape::Flat | Shape::Counter { .. } => 0.0,
        }
    }

    fn noise(&mut self) -> f64 {
        match self.noise {
            Noise::White => self.dice.normal(),
            Noise::Student => self.dice.student3() / 3.0f64.sqrt(),
            Noise::Ar => {
                const A: f64 = 0.95;
                self.state = A * self.state + (1.0 - A * A).sqrt() * self.dice.normal();
                self.state
            }
            Noise::Walk => {
                self.state += self.dice.normal();
                self.state
            }
        }
    }
}

/// Saturday or Sunday, in UTC.
fn is_weekend(at: i64) -> bool {
    (at - START).div_euclid(DAY).rem_euclid(7) >= 5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(shape: Shape, noise: Noise, step: i64, n: i64) -> Vec<f64> {
        let mut signal = Signal::new(shape, noise, 1);
        (0..n).map(|i| signal.at(START + i * step)).collect()
    }

    fn deviation(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / values.len() as f64).sqrt()
    }

    #[test]
    fn noise_has_the_deviation_it_is_measured_in() {
        for noise in [Noise::White, Noise::Ar, Noise::Student] {
            let sd = deviation(&values(Shape::Flat, noise, 1000, 200_000));
            assert!((0.9..1.1).contains(&sd), "{noise:?} {sd}");
        }
        let walk = values(Shape::Flat, Noise::Walk, 1000, 50_000);
        let steps: Vec<f64> = walk.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((0.98..1.02).contains(&deviation(&steps)));
    }

    #[test]
    fn each_reading_of_ar_is_mostly_the_one_before() {
        let ar = values(Shape::Flat, Noise::Ar, 1000, 200_000);
        let product: f64 = ar.windows(2).map(|p| (p[0] - LEVEL) * (p[1] - LEVEL)).sum();
        let correlation = product / ar.len() as f64;
        assert!((0.93..0.97).contains(&correlation), "{correlation}");
    }

    #[test]
    fn weekends_are_flatter_than_weekdays() {
        let week = values(Shape::Weekly, Noise::White, HOUR / 10, 7 * 240);
        let (weekdays, weekend) = week.split_at(5 * 240);
        assert!(deviation(weekdays) > 1.5 * deviation(weekend));
    }

    #[test]
    fn a_counter_rises_and_begins_at_nought_about_every_three_days() {
        let minute = 60_000;
        let free = values(
            Shape::Counter { resets: false },
            Noise::White,
            minute,
            60 * 1440,
        );
        assert!(free.windows(2).all(|pair| pair[0] <= pair[1]));
        let reset = values(
            Shape::Counter { resets: true },
            Noise::White,
            minute,
            60 * 1440,
        );
        let resets = reset.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!((10..=32).contains(&resets), "{resets}");
    }
}
