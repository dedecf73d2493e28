//! How odd the recent level of an error is: in standard deviations of what is usual for it, with what the sample it was
//! learnt from is worth.

use super::constants::{ERROR_RATE, SETTLED, SMALL_SAMPLE, USUAL_CLIP};
use super::flushed;

/// The largest square root of a level, since levels end at [`STATE_FARTHEST`](super::STATE_FARTHEST).
pub(crate) const LARGEST_ROOT: f32 = 1e16;

/// The recent level of an error, and what is usual for its square root, which is nearly normal where the level itself is
/// skewed (the error of white noise has a half-normal law).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// Recent level of the error.
    pub(crate) level: f32,
    /// Usual square root of it.
    pub(crate) mean: f32,
    /// Variance of that.
    pub(crate) variance: f32,
    /// Mean square of its change from reading to reading: how fast it forgets.
    pub(crate) change: f32,
}

impl Odds {
    /// The state after one more error, the `n`th, and how many standard deviations above the usual it lies, which it
    /// follows at `rate`.
    pub(crate) fn next(mut self, error: f32, n: u32, rate: f32) -> (Self, f32) {
        let share = 1.0 / n as f32;
        let before = self.level.sqrt();
        self.level = flushed(self.level + share.max(ERROR_RATE) * (error - self.level));
        let root = self.level.sqrt();
        let (mut off, mut moved) = (root - self.mean, root - before);
        let sd = self.variance.sqrt();
        let z = match (off > 0.0, sd > 0.0) {
            (_, true) => off / sd,
            (true, false) => f32::INFINITY,
            (false, false) => 0.0,
        };
        if n > SETTLED && sd > 0.0 {
            let most = USUAL_CLIP * sd;
            (off, moved) = (off.clamp(-most, most), moved.clamp(-most, most));
        }
        let rate = share.max(rate);
        self.mean = flushed(self.mean + rate * off).clamp(0.0, LARGEST_ROOT);
        self.variance = flushed((1.0 - rate) * (self.variance + rate * off * off));
        self.change = flushed((1.0 - rate) * self.change + rate * moved * moved);
        (self, z)
    }

    /// The standard deviations at which the `n`th error is as rare as a normal variable beyond `bar`. The usual level and
    /// spread were learnt from n (1 − r) / (1 + r) independent readings, r being the correlation from one to the next
    /// (Bayley and Hammersley 1946); the quantile of Student's t with so many degrees of freedom is, to the first order,
    /// bar (1 + (bar² + 1) / 4 df) (Fisher and Cornish 1960).
    pub(crate) fn bar(&self, bar: f32, n: u32, rate: f32) -> f32 {
        let forgets = if self.variance > 0.0 {
            (self.change / (2.0 * self.variance)).clamp(1e-4, 1.0)
        } else {
            1.0
        };
        let readings = (n as f32).clamp(1.0, 1.0 / rate);
        let independent = readings * forgets / (2.0 - forgets);
        bar * (1.0 + SMALL_SAMPLE * (bar * bar + 1.0) / (4.0 * independent))
    }

    /// The largest error that stays within `bar` standard deviations; below zero where even none would not.
    pub(crate) fn room(&self, bar: f32, n: u32) -> f32 {
        let rate = (1.0 / n as f32).max(ERROR_RATE);
        let root = self.mean + bar * self.variance.sqrt();
        (root * root - (1.0 - rate) * self.level) / rate
    }
}

#[cfg(test)]
mod tests {
    use super::super::constants::USUAL_RATE;
    use super::*;
    use crate::testing::Noise;

    /// After readings of noise: the state, and how many.
    fn usual(n: u32, mut error: impl FnMut() -> f32) -> Odds {
        (1..=n).fold(Odds::default(), |odds, i| {
            odds.next(error(), i, USUAL_RATE).0
        })
    }

    #[test]
    fn an_error_is_at_the_bar_exactly_where_the_room_ends() {
        let mut noise = Noise(1);
        let odds = usual(500, || noise.next().abs() as f32);
        for bar in [2.0, 4.0, 8.0] {
            let (_, z) = odds.next(odds.room(bar, 501), 501, USUAL_RATE);
            assert!((z - bar).abs() < 1e-3, "{z} is not {bar}");
        }
    }

    #[test]
    fn what_was_learnt_from_a_slow_signal_is_worth_less() {
        let mut noise = Noise(2);
        let quick = usual(300, || noise.next().abs() as f32);
        let mut level = 0.0;
        let slow = usual(300, || {
            level = 0.98 * level + 0.02 * noise.next().abs() as f32;
            level
        });
        let bars = [quick, slow].map(|odds| odds.bar(4.0, 300, USUAL_RATE));
        assert!(bars[0] > 4.0 && bars[1] > 1.5 * bars[0], "{bars:?}");
        let later = quick.bar(4.0, 100_000, USUAL_RATE);
        assert!(later < bars[0]);
    }

    #[test]
    fn an_event_teaches_no_more_than_its_clip() {
        let mut noise = Noise(3);
        let odds = usual(500, || noise.next().abs() as f32);
        let far = odds.next(1e6, 501, USUAL_RATE).0;
        let farther = odds.next(1e30, 501, USUAL_RATE).0;
        assert_eq!((far.mean, far.variance), (farther.mean, farther.variance));
    }
}
