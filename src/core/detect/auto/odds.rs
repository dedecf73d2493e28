//! How odd the recent level of an error is: in standard deviations of what is usual for it, with what the sample it was
//! learnt from is worth.

use wide::f32x4;

use super::constants::{ERROR_RATE, SETTLED, SMALL_SAMPLE, USUAL_CLIP};
use super::control::EXPERTS;
use super::lanes::{flushed, larger, mostly_flushed, within};

/// The largest square root of a level, since levels end at [`STATE_FARTHEST`](super::STATE_FARTHEST).
pub(crate) const LARGEST_ROOT: f32 = 1e16;

/// The recent level of each expert's error, and what is usual for its square root, which is nearly normal where the level
/// itself is skewed (the error of white noise has a half-normal law).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Odds {
    /// Recent level of the error.
    pub(crate) level: [f32; EXPERTS],
    /// Usual square root of it.
    pub(crate) mean: [f32; EXPERTS],
    /// Variance of that.
    pub(crate) variance: [f32; EXPERTS],
    /// Mean square of its change from reading to reading: how fast it forgets.
    pub(crate) change: [f32; EXPERTS],
}

impl Odds {
    /// The state after one more error of each, which is its `n`th, and how many standard deviations above the usual it
    /// lies, which it follows at `rate`. Where `n` is 0 there is no error yet, and nothing changes.
    #[inline(always)]
    pub(crate) fn next(&self, error: f32x4, n: f32x4, rate: f32x4) -> (Self, f32x4) {
        let (zero, one) = (f32x4::splat(0.0), f32x4::splat(1.0));
        let (old_level, old_mean) = (f32x4::from(self.level), f32x4::from(self.mean));
        let (old_variance, old_change) = (f32x4::from(self.variance), f32x4::from(self.change));
        let share = one / n;
        let rate_of_level = larger(share, f32x4::splat(ERROR_RATE));
        let level = mostly_flushed(old_level + rate_of_level * (error - old_level));
        let root = level.sqrt();
        let (off, moved) = (root - old_mean, root - old_level.sqrt());
        let sd = old_variance.sqrt();
        let spread = sd.simd_gt(zero);
        let infinite = off.simd_gt(zero).select(f32x4::splat(f32::INFINITY), zero);
        let z = spread.select(off / sd, infinite);
        let settled = n.simd_gt(f32x4::splat(SETTLED as f32)) & spread;
        let most = f32x4::splat(USUAL_CLIP) * sd;
        let clipped = |x| settled.select(within(x, most), x);
        let (off, moved) = (clipped(off), clipped(moved));
        let rate = larger(share, rate);
        let mean = flushed(old_mean + rate * off);
        let mean = f32x4::splat(LARGEST_ROOT).fast_min(zero.fast_max(mean));
        let variance = flushed((one - rate) * (old_variance + rate * off * off));
        let change = flushed((one - rate) * old_change + rate * moved * moved);
        let counted = n.simd_gt(zero);
        let kept = |new: f32x4, old| counted.select(new, old).to_array();
        let next = Self {
            level: kept(level, old_level),
            mean: kept(mean, old_mean),
            variance: kept(variance, old_variance),
            change: kept(change, old_change),
        };
        (next, z)
    }

    /// The standard deviations at which the `n`th error is as rare as a normal variable beyond `bar`. The usual level and
    /// spread were learnt from n (1 − r) / (1 + r) independent readings, r being the correlation from one to the next
    /// (Bayley and Hammersley 1946); the quantile of Student's t with so many degrees of freedom is, to the first order,
    /// bar (1 + (bar² + 1) / 4 df) (Fisher and Cornish 1960).
    #[inline(always)]
    pub(crate) fn bar(&self, bar: f32x4, n: f32x4, rate: f32x4) -> f32x4 {
        let of = f32x4::splat;
        let (variance, change) = (f32x4::from(self.variance), f32x4::from(self.change));
        let forgets = change / (of(2.0) * variance);
        let forgets = of(1.0).fast_min(of(1e-4).fast_max(forgets));
        let forgets = variance.simd_gt(of(0.0)).select(forgets, of(1.0));
        let readings = (of(1.0) / rate).fast_min(of(1.0).fast_max(n));
        let independent = readings * forgets / (of(2.0) - forgets);
        bar * (of(1.0) + of(SMALL_SAMPLE) * (bar * bar + of(1.0)) / (of(4.0) * independent))
    }

    /// The largest error of one expert that stays within `bar` standard deviations; below zero where even none would not.
    pub(crate) fn room(&self, expert: usize, bar: f32, n: u32) -> f32 {
        let of = |all: &[f32; EXPERTS]| all.get(expert).copied().unwrap_or_default();
        let rate = (1.0 / n as f32).max(ERROR_RATE);
        let root = of(&self.mean) + bar * of(&self.variance).sqrt();
        (root * root - (1.0 - rate) * of(&self.level)) / rate
    }
}

#[cfg(test)]
mod tests {
    use super::super::constants::USUAL_RATE;
    use super::*;
    use crate::testing::Noise;

    /// One more error, the same for every expert: the state, and the standard deviations of the first.
    fn next(odds: &Odds, error: f32, n: u32) -> (Odds, f32) {
        let of = f32x4::splat;
        let (odds, z) = odds.next(of(error), of(n as f32), of(USUAL_RATE));
        (odds, z.to_array()[0])
    }

    fn bar(odds: &Odds, bar: f32, n: u32) -> f32 {
        let of = f32x4::splat;
        odds.bar(of(bar), of(n as f32), of(USUAL_RATE)).to_array()[0]
    }

    /// After readings of noise: the state, and how many.
    fn usual(n: u32, mut error: impl FnMut() -> f32) -> Odds {
        (1..=n).fold(Odds::default(), |odds, i| next(&odds, error(), i).0)
    }

    #[test]
    fn an_error_is_at_the_bar_exactly_where_the_room_ends() {
        let mut noise = Noise(1);
        let odds = usual(500, || noise.next().abs() as f32);
        for bar in [2.0, 4.0, 8.0] {
            let (_, z) = next(&odds, odds.room(0, bar, 501), 501);
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
        let bars = [quick, slow].map(|odds| bar(&odds, 4.0, 300));
        assert!(bars[0] > 4.0 && bars[1] > 1.5 * bars[0], "{bars:?}");
        let later = bar(&quick, 4.0, 100_000);
        assert!(later < bars[0]);
    }

    #[test]
    fn an_event_teaches_no_more_than_its_clip() {
        let mut noise = Noise(3);
        let odds = usual(500, || noise.next().abs() as f32);
        let far = next(&odds, 1e6, 501).0;
        let farther = next(&odds, 1e30, 501).0;
        assert_eq!((far.mean, far.variance), (farther.mean, farther.variance));
    }

    #[test]
    fn an_expert_without_an_error_yet_stays_as_it_is() {
        let mut noise = Noise(4);
        let odds = usual(500, || noise.next().abs() as f32);
        let n = f32x4::from([501.0, 0.0, 501.0, 0.0]);
        let (next, _) = odds.next(f32x4::splat(3.0), n, f32x4::splat(USUAL_RATE));
        for (new, old) in [
            (next.level, odds.level),
            (next.mean, odds.mean),
            (next.variance, odds.variance),
            (next.change, odds.change),
        ] {
            assert!(new[0] != old[0] && new[2] != old[2]);
            assert_eq!((new[1], new[3]), (old[1], old[3]));
        }
    }
}
