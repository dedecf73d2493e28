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
