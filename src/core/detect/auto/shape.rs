//! The course and the liveliness of a signal: six features, and how far they are from what is usual for them.

use super::super::Oddity;
use super::constants::{
    COURSE_MIDDLE, COURSE_QUICK, COURSE_SLOW, FEATURE_CLIP, FEATURE_RATE, LIFELESS, LIVELY_QUICK,
    LIVELY_SLOW, SETTLED,
};
use super::{STATE_FARTHEST, flushed};

/// Features of a signal.
const FEATURES: usize = 6;
/// The one that is a level, and is kept apart in double precision.
const LEVEL: usize = 3;
/// The first of those that tell how lively the signal is.
const LIVELY: usize = 4;
/// Readings before a feature is worth learning.
const BEGIN: u32 = 10;

/// Readings of features before a distance from them is.
const KNOWN: u32 = 30;
/// The standard deviation of a normal variable for one unit of its mean absolute value, √(π/2).
const NORMAL: f32 = 1.253_314_1;
/// A distance that needs no telling apart from a larger one.
const FAR: f32 = 1000.0;

/// What the shape expert remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    /// Means of the signal, quick to slow.
    pub(crate) means: [f64; 3],
    /// Usual value of the slowest.
    pub(crate) centre: f64,
    /// Mean changes from reading to reading, quick and slow.
    pub(crate) lively: [f32; 2],
    /// Usual value of each feature; of the level, its distance from `centre`, which is none.
    pub(crate) usual: [f32; FEATURES],
    /// Mean deviation of each feature from that.
    pub(crate) spread: [f32; FEATURES],
}

/// Which of the errors of the shape is the `varied`th reading's; 0 for none yet.
pub(crate) fn count(varied: u32) -> u32 {
    varied.saturating_sub(BEGIN + KNOWN)
}

impl Shape {
    /// The state after the reading `y`, `change` away from the one before; its distance from the usual, and in what.
    pub(crate) fn next(
        mut self,
        y: f64,
        change: f32,
        noise: f32,
        varied: u32,
    ) -> (Self, f32, Oddity) {
        let share = 1.0 / varied.max(1) as f32;
        for (mean, rate) in self
            .means
            .iter_mut()
            .zip([COURSE_QUICK, COURSE_MIDDLE, COURSE_SLOW])
        {
            *mean += rate * (y - *mean);
        }
        for (lively, rate) in self.lively.iter_mut().zip([LIVELY_QUICK, LIVELY_SLOW]) {
            *lively = flushed(*lively + rate.max(share) * (change - *lively));
        }
        if varied <= BEGIN {
            return (self, 0.0, Oddity::Course);
        }
        let [quick, middle, slow] = self.means;
        let log = |lively: f32| libm::logf(lively + LIFELESS * noise + f32::MIN_POSITIVE);
        let features = [
            (y - quick) as f32,
            (quick - middle) as f32,
            (middle - slow) as f32,
            (slow - self.centre) as f32,
            log(self.lively[0]),
            log(self.lively[1]),
        ]
        .map(|feature: f32| feature.clamp(-STATE_FARTHEST, STATE_FARTHEST));
        let n = varied - BEGIN;
        if n == 1 {
            self.usual = features;
            (self.usual[LEVEL], self.centre) = (0.0, slow);
            return (self, 0.0, Oddity::Course);
        }
        let (mut squares, mut farthest, mut odd) = (0.0_f32, 0.0_f32, Oddity::Course);
        let mut off = features;
        for (i, ((off, usual), spread)) in
            off.iter_mut().zip(self.usual).zip(self.spread).enumerate()
        {
            *off -= usual;
            let deviations = if spread > 0.0 {
                (*off / (NORMAL * spread)).clamp(-FAR, FAR)
            } else if *off == 0.0 {
                0.0
            } else {
                FAR
            };
            let square = deviations * deviations;
            squares += square;
            if square > farthest {
                farthest = square;
                odd = match (i >= LIVELY, deviations > 0.0) {
                    (false, _) => Oddity::Course,
                    (true, true) => Oddity::Lively,
                    (true, false) => Oddity::Calm,
                };
            }
        }
        let distance = squares.sqrt();
        let taught = if n > SETTLED && distance > FEATURE_CLIP {
            FEATURE_CLIP / distance
        } else {
            1.0
        };
        let rate = (1.0 / n as f32).max(FEATURE_RATE);
        for ((off, usual), spread) in off.iter().zip(&mut self.usual).zip(&mut self.spread) {
            let off = off * taught;
            *usual = flushed(*usual + rate * off);
            *spread = flushed(*spread + rate * (off.abs() - *spread));
        }
        let centre = self.centre + f64::from(std::mem::take(&mut self.usual[LEVEL]));
        self.centre = centre.clamp(-f64::from(STATE_FARTHEST), f64::from(STATE_FARTHEST));
        let distance = if n > KNOWN { distance.min(FAR) } else { 0.0 };
        (self, distance, odd)
    }
}
