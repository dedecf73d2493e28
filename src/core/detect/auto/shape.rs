//! The course and the liveliness of a signal: six features, and how far they are from what is usual for them.

use wide::f32x4;

use super::super::Oddity;
use super::STATE_FARTHEST;
use super::constants::{
    COURSE_MIDDLE, COURSE_QUICK, COURSE_SLOW, FEATURE_CLIP, FEATURE_RATE, LIFELESS, SETTLED,
};
use super::lanes::{all_within, flushed as flushed_each, mostly_within, within};

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

/// How far each feature of a reading is from its usual value, in standard deviations; two lanes are nobody's.
pub(crate) type Deviations = [[f32; 4]; 2];

/// In what a reading of such deviations is odd: in the feature that is farthest off.
pub(crate) fn oddity(deviations: &Deviations) -> Oddity {
    let (mut farthest, mut odd) = (0.0_f32, Oddity::Course);
    for (i, deviation) in deviations.as_flattened().iter().enumerate() {
        let square = deviation * deviation;
        if square > farthest {
            farthest = square;
            odd = match (i >= LIVELY, *deviation > 0.0) {
                (false, _) => Oddity::Course,
                (true, true) => Oddity::Lively,
                (true, false) => Oddity::Calm,
            };
        }
    }
    odd
}

/// Which of the errors of the shape is the `varied`th reading's; 0 for none yet.
pub(crate) fn count(varied: u32) -> u32 {
    varied.saturating_sub(BEGIN + KNOWN)
}

impl Shape {
    /// The state after the reading `y`, with the mean changes after it in the first two lanes; its distance from the usual, and in what.
    #[inline(always)]
    pub(crate) fn next(
        mut self,
        y: f64,
        lively: f32x4,
        noise: f32,
        varied: u32,
    ) -> (Self, f32, Deviations) {
        const NONE: Deviations = [[0.0; 4]; 2];
        for (mean, rate) in self
            .means
            .iter_mut()
            .zip([COURSE_QUICK, COURSE_MIDDLE, COURSE_SLOW])
        {
            *mean += rate * (y - *mean);
        }
        let [quick, slow, ..] = lively.to_array();
        self.lively = [quick, slow];
        if varied <= BEGIN {
            return (self, 0.0, NONE);
        }
        let [quick, middle, slow] = self.means;
        let alive = lively + f32x4::splat(LIFELESS * noise) + f32x4::splat(f32::MIN_POSITIVE);
        let [lively, livelier, ..] = alive.to_array();
        let [lively, livelier] = [lively, livelier].map(libm::logf);
        let farthest = f32x4::splat(STATE_FARTHEST);
        let courses = [
            (y - quick) as f32,
            (quick - middle) as f32,
            (middle - slow) as f32,
            (slow - self.centre) as f32,
        ];
        let livelinesses = [lively, livelier, 0.0, 0.0];
        let features = mostly_within([courses, livelinesses].map(f32x4::from), farthest);
        let n = varied - BEGIN;
        if n == 1 {
            self.usual = joined(features);
            (self.usual[LEVEL], self.centre) = (0.0, slow);
            return (self, 0.0, NONE);
        }
        let (usual, spread) = (parted(&self.usual, 0.0), parted(&self.spread, 1.0));
        let [courses, livelinesses] = features;
        let off = [courses - usual[0], livelinesses - usual[1]];
        let deviations = deviations(off, spread);
        let squares = deviations.map(|each| (each * each).to_array());
        let [one, two, three, four] = squares[0];
        let [five, six, ..] = squares[1];
        let distance = (one + two + three + four + five + six).sqrt();
        let taught = if n > SETTLED && distance > FEATURE_CLIP {
            clip(distance)
        } else {
            1.0
        };
        let rate = f32x4::splat((1.0 / n as f32).max(FEATURE_RATE));
        let off = off.map(|off| off * f32x4::splat(taught));
        let learnt = |usual: f32x4, off: f32x4| flushed_each(usual + rate * off);
        let spread_of =
            |spread: f32x4, off: f32x4| flushed_each(spread + rate * (off.abs() - spread));
        self.usual = joined([learnt(usual[0], off[0]), learnt(usual[1], off[1])]);
        self.spread = joined([spread_of(spread[0], off[0]), spread_of(spread[1], off[1])]);
        let centre = self.centre + f64::from(std::mem::take(&mut self.usual[LEVEL]));
        self.centre = centre.clamp(-f64::from(STATE_FARTHEST), f64::from(STATE_FARTHEST));
        let distance = if n > KNOWN { distance.min(FAR) } else { 0.0 };
        (self, distance, deviations.map(f32x4::to_array))
    }
}

/// What counts of so large a distance. Apart, so that what is seldom asked is not divided all the same.
#[cold]
#[inline(never)]
fn clip(distance: f32) -> f32 {
    FEATURE_CLIP / distance
}

/// Features in lanes, and what stands in those that are nobody's.
#[inline(always)]
fn parted(features: &[f32; FEATURES], rest: f32) -> [f32x4; 2] {
    let [one, two, three, four, five, six] = *features;
    [
        f32x4::from([one, two, three, four]),
        f32x4::from([five, six, rest, rest]),
    ]
}

/// Features out of lanes.
#[inline(always)]
fn joined(lanes: [f32x4; 2]) -> [f32; FEATURES] {
    let [[one, two, three, four], [five, six, ..]] = lanes.map(f32x4::to_array);
    [one, two, three, four, five, six]
}

/// How many standard deviations features are off, whose mean deviations are `spread`.
#[inline(always)]
fn deviations(off: [f32x4; 2], spread: [f32x4; 2]) -> [f32x4; 2] {
    let ([off1, off2], [spread1, spread2]) = (off, spread);
    let normal = f32x4::splat(NORMAL);
    let known = [off1 / (normal * spread1), off2 / (normal * spread2)];
    if all_within(known, f32x4::splat(FAR)) {
        known
    } else {
        far_deviations([(off1, spread1), (off2, spread2)])
    }
}

/// As above, where a feature is far off, or has had no deviation.
#[cold]
#[inline(never)]
fn far_deviations(features: [(f32x4, f32x4); 2]) -> [f32x4; 2] {
    let (zero, far) = (f32x4::splat(0.0), f32x4::splat(FAR));
    features.map(|(off, spread)| {
        let unknown = off.simd_eq(zero).select(zero, far);
        let known = within(off / (f32x4::splat(NORMAL) * spread), far);
        spread.simd_gt(zero).select(known, unknown)
    })
}
