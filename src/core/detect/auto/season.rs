//! What is usual at each point of the cycle: a value and a noise for each bin.

use super::constants::{BIN_NOISE_CLIP, BIN_READINGS, BIN_TIME, BIN_VALUE_CLIP, BINS, QUIETEST};
use super::{flushed, larger, smaller};
use crate::units::Timestamp;

/// One bin of the season.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bin {
    /// Usual value.
    pub(crate) value: f32,
    /// Mean error.
    pub(crate) noise: f32,
    /// Readings it stands for; 0 for none yet.
    pub(crate) readings: u16,
}

/// The bins of a season, apart, so that they take no more than their bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Season {
    pub(crate) values: [f32; BINS],
    pub(crate) noises: [f32; BINS],
    pub(crate) readings: [u16; BINS],
}

impl Default for Season {
    fn default() -> Self {
        Self {
            values: [0.0; BINS],
            noises: [0.0; BINS],
            readings: [0; BINS],
        }
    }
}

/// Which bin of a cycle of `season` milliseconds an instant falls into.
#[cold]
pub(crate) fn bin_at(at: Timestamp, season: u64) -> usize {
    let season = season.max(1);
    let into = at.millis().cast_unsigned() % season;
    match into.checked_mul(BINS as u64) {
        Some(bins) => (bins / season) as usize,
        // Both factors are far below what 128 bits hold.
        None => (u128::from(into) * BINS as u128 / u128::from(season)) as usize,
    }
}

/// A cycle, and by what to multiply to divide by its length: every reading asks for its bin, and nothing can begin before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cycle {
    season: u64,
    factor: u64,
    shift: u32,
}

impl Cycle {
    /// Numbers below this are divided to the last digit.
    const MOST: u64 = 1 << 62;

    /// Of so many milliseconds.
    pub(crate) fn of(season: u64) -> Self {
        let season = season.max(2);
        // Granlund and Montgomery 1994: the inverse, rounded up, with as many digits as there is room for.
        let shift = (season - 1).ilog2();
        let factor = (1_u128 << (64 + shift)).div_ceil(u128::from(season));
        Self {
            season,
            factor: u64::try_from(factor).unwrap_or(u64::MAX),
            shift,
        }
    }

    /// As [`bin_at`], which it leaves a cycle of another length to, and what is too far off.
    #[inline(always)]
    pub(crate) fn bin_at(self, at: Timestamp, season: u64) -> usize {
        let at_ms = at.millis().cast_unsigned();
        if at_ms >= Self::MOST / BINS as u64 || season != self.season {
            return bin_at(at, season);
        }
        // Bins since 1970, of which each cycle has as many.
        let scaled = u128::from(at_ms * BINS as u64) * u128::from(self.factor);
        let bins = (scaled >> 64) as u64 >> self.shift;
        (bins % BINS as u64) as usize
    }
}

impl Season {
    pub(crate) fn get(&self, index: usize) -> Bin {
        let of = |all: &[f32; BINS]| all.get(index).copied().unwrap_or_default();
        Bin {
            value: of(&self.values),
            noise: of(&self.noises),
            readings: self.readings.get(index).copied().unwrap_or_default(),
        }
    }

    pub(crate) fn set(&mut self, index: usize, bin: Bin) {
        if let (Some(value), Some(noise), Some(readings)) = (
            self.values.get_mut(index),
            self.noises.get_mut(index),
            self.readings.get_mut(index),
        ) {
            (*value, *noise, *readings) = (bin.value, bin.noise, bin.readings);
        }
    }
}

impl Bin {
    /// Whether it has seen any reading.
    pub(crate) fn known(self) -> bool {
        self.readings > 0
    }

    /// The noise to expect here, where the sensor's is `noise`.
    pub(crate) fn own(self, noise: f32) -> f32 {
        if self.readings >= 2 {
            larger(self.noise, QUIETEST * noise)
        } else {
            noise
        }
    }

    /// The bin after the reading `y`, whose error was `error`, at one reading every `interval` milliseconds. It forgets by
    /// time where readings are dense, so that a fast sensor's profile is no more nervous than a slow one's.
    pub(crate) fn next(self, y: f64, error: f32, noise: f32, interval: f32) -> Self {
        if !self.known() {
            return Self {
                value: y as f32,
                noise,
                readings: 1,
            };
        }
        let most = (BIN_TIME / interval.max(1.0)).clamp(BIN_READINGS, 60_000.0) as u16;
        let readings = self.readings.saturating_add(1).min(most);
        let share = 1.0 / f32::from(readings);
        let off = (y - f64::from(self.value)) as f32;
        let clip = BIN_VALUE_CLIP * noise;
        let off = if readings > 2 {
            smaller(larger(off, -clip), clip)
        } else {
            off
        };
        Self {
            value: flushed(self.value + off * share),
            noise: flushed(
                self.noise + (smaller(error, BIN_NOISE_CLIP * noise) - self.noise) * share,
            ),
            readings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn bins_divide_any_season_evenly() {
        for season in [1000, 86_400_000, 3_155_760_000_000] {
            let bins = |into: u64| bin_at(at(into as i64), season);
            assert_eq!((bins(0), bins(season - 1)), (0, BINS - 1));
            assert_eq!(bins(season), 0);
            assert_eq!(bins(season / 2), BINS / 2);
        }
        assert!(bin_at(at(i64::MAX), 3_155_760_000_000) < BINS);
    }

    #[test]
    fn a_cycle_divides_to_the_last_digit() {
        let mut noise = crate::testing::Noise(1);
        let mut draw = |most: f64| ((noise.next().abs() / 4.0).fract() * most) as u64;
        let lengths = (1..43).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for season in lengths.chain([1000, 60_000, 3_600_000, 86_400_000, 3_155_760_000_000]) {
            let cycle = Cycle::of(season);
            let most = Cycle::MOST / BINS as u64;
            let turns = [
                0,
                1,
                20_000,
                most / season.max(1),
                draw(most as f64) / season,
            ];
            let ends = turns.iter().flat_map(|turn| {
                (0..=BINS as u64)
                    .map(move |bin| turn * season + (bin * season).div_ceil(BINS as u64))
            });
            let drawn: Vec<u64> = (0..100).map(|_| draw(most as f64)).collect();
            for near in ends.chain(drawn) {
                for ms in [near.saturating_sub(1), near, near + 1, near + season / 2] {
                    let at = at(ms.min(i64::MAX as u64) as i64);
                    let plainly = bin_at(at, season);
                    assert_eq!(cycle.bin_at(at, season), plainly, "{ms} of {season}");
                }
            }
        }
    }

    #[test]
    fn a_bin_follows_slowly_once_it_knows_its_value() {
        let mut bin = Bin::default();
        for _ in 0..100 {
            bin = bin.next(10.0, 1.0, 1.0, 300_000.0);
        }
        assert_eq!((bin.value, bin.readings), (10.0, 20));
        let after = bin.next(1e6, 1e6, 1.0, 300_000.0);
        assert!((after.value - 10.175).abs() < 1e-5, "clipped: {after:?}");
    }
}
