//! `auto`: the detector without parameters. It learns a sensor's season, noise, cadence and level, and fires about once in
//! a `budget` on data in which nothing happens. docs/detection.md has the method, its figures and what was tried.
//!
//! Four experts each make an error of a reading, and [`Odds`] tells how odd the recent level of that error is:
//!
//! * **season**: how far the reading is from what is usual at this point of the cycle (or from the recent level, where that
//!   tells more), in the noise of that point;
//! * **level**: how far a fast mean has moved from a slow one;
//! * **shape**: how far the signal's course and liveliness are from the usual; it sees a sensor that is stuck;
//! * **novelty**: how far value, course and liveliness together are from the nearest of the states that it was in before.
//!
//! The ratio is that of the oddest expert: its standard deviations over its threshold, which [`Control`] sets. What an
//! event may teach is clipped throughout (Huber 1964), so that the second one is seen as well as the first.
//!
//! Values are kept as distances from the first reading in a unit that is the power of two below the first change: the
//! state is mostly `f32`, and neither the unit nor the level of a sensor matters. Numbers below 1e-30 of that unit are
//! zero, which keeps denormals, and their slowness, away.

mod climb;
mod constants;
mod control;
mod lanes;
mod novelty;
mod odds;
mod season;
mod shape;

use std::hint::select_unpredictable;
use std::num::NonZero;

use wide::f32x4;

pub use self::climb::Climb;
pub(crate) use self::constants::PROTOTYPES;
use self::constants::{
    BELIEF_RATE, BEYOND, FAST_RATE, LIVELY_QUICK, LIVELY_SLOW, LONG_RATE, LONG_TIME, NOISE_RATE,
    NOVELTY_WARMUP, PEAK_RATE, RECENT_RATE, SETTLED, SHAPE_WARMUP, SHARES, USUAL_RATE, USUAL_TIME,
    WARMUP,
};
pub use self::control::Control;
use self::control::EXPERTS;
pub(crate) use self::control::{MOST_LIFTED, Pace};
use self::lanes::{flushed as flushed_each, larger as larger_each, of_the_lesser, positive};
use self::novelty::Meeting;
pub use self::novelty::{Novelty, Range};
pub(crate) use self::odds::LARGEST_ROOT;
pub use self::odds::Odds;
use self::season::Bin;
pub(crate) use self::season::Cycle;
pub use self::season::Season;
use self::shape::Deviations;
pub use self::shape::Shape;
use super::{
    Detail, Finding, Grade, HIGHEST_RATIO, Judgement, Kind, Oddity, missing, needed, severity,
};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::{Direction, Side};
/// Distances end here, in units, so that their squares stay within an `f32`.
const FARTHEST: f64 = 1e30;
/// The bits of a number beside sign and exponent: none, it is a power of two.
const MANTISSA: u64 = (1 << 52) - 1;
/// The bits of a power of two and of its inverse together.
const INVERSE: u64 = 2 * 1.0_f64.to_bits();
/// The largest power of two whose inverse is a normal number.
const MOST_INVERTED: f64 = 1.0 / f64::MIN_POSITIVE;
/// The ratio of what alarm control keeps from firing ends here, below the boundary.
const GATED: f64 = 0.9;
/// Positions of the experts.
const SEASON: usize = 0;
const LEVEL: usize = 1;
/// The least rate that tells in an `f32`.
const SLOWEST: f32 = 1e-6;

/// No number of the state is beyond this, in units, nor the square of one that is squared: [`FARTHEST`] with room for sums
/// and differences.
pub(crate) const STATE_FARTHEST: f32 = 1e32;

/// Numbers below this are zero.
const SMALLEST: f32 = 1e-30;

/// A number for the state. So small that it only slows the arithmetic down, it is zero.
fn flushed(x: f32) -> f32 {
    if x.abs() < SMALLEST {
        0.0
    } else if x.abs() <= STATE_FARTHEST {
        x
    } else {
        farthest(x)
    }
}

#[cold]
fn farthest(x: f32) -> f32 {
    x.clamp(-STATE_FARTHEST, STATE_FARTHEST)
}

/// The larger of two numbers. `max` takes more steps, since it minds what is no number: here nothing is.
fn larger<T: PartialOrd>(x: T, y: T) -> T {
    if y > x { y } else { x }
}

/// The smaller of two numbers, as above.
fn smaller<T: PartialOrd>(x: T, y: T) -> T {
    if y < x { y } else { x }
}

/// The threshold for the mean time between readings as it is, so long as that stays: a logarithm less. It follows from the
/// state and the rules, and is neither stored nor compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bar(Option<NonZero<u32>>);

impl PartialEq for Bar {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Bar {
    fn new(bar: f32) -> Self {
        Self(NonZero::new(bar.to_bits()))
    }

    fn get(self) -> Option<f32> {
        self.0.map(|bits| f32::from_bits(bits.get()))
    }
}

/// What changes with every reading, apart from the season.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tracks {
    /// The last reading.
    pub(crate) last: f64,
    /// The recent level.
    pub(crate) recent: f64,
    /// A fast mean.
    pub(crate) fast: f64,
    /// A slow mean.
    pub(crate) long: f64,
    /// How long it has gone one way.
    pub(crate) climb: Climb,
    /// Mean errors of the profile and of the recent level: the better one is believed.
    pub(crate) errors: [f32; 2],
    /// Mean error of what is believed.
    pub(crate) noise: f32,
    /// The largest error there was, in noises, and slowly forgotten.
    pub(crate) peak: f32,
    /// Course and liveliness.
    pub(crate) shape: Shape,
    /// The range of values and livelinesses.
    pub(crate) range: Range,
    /// The odds of each expert's error.
    pub(crate) odds: Odds,
}

impl Tracks {
    /// The mean changes and the mean errors after a reading: four means of one form.
    #[inline(always)]
    fn means(&self, change: f32, offs: [f32; 2], share: f32) -> f32x4 {
        let ([one, two], [three, four]) = (self.shape.lively, self.errors);
        let old = f32x4::from([one, two, three, four]);
        let seen = f32x4::from([change, change, offs[0], offs[1]]);
        let rates = f32x4::from([LIVELY_QUICK, LIVELY_SLOW, BELIEF_RATE, BELIEF_RATE]);
        let rates = larger_each(f32x4::from([share, share, 0.0, 0.0]), rates);
        flushed_each(old + rates * (seen - old))
    }
}

/// What `auto` knows of a sensor. Values are distances from `anchor` in `unit`s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Auto {
    /// The first reading, in the sensor's unit.
    pub(crate) anchor: f64,
    /// A power of two near the first change, in the sensor's unit; 0 as long as there was none.
    pub(crate) unit: f64,
    /// Length in milliseconds of the cycle that the profile is of.
    pub(crate) season: u64,
    /// Readings taken in; saturating.
    pub(crate) readings: u32,
    /// Of these, since the first change; saturating.
    pub(crate) varied: u32,
    /// Mean time between readings in milliseconds.
    pub(crate) interval: f32,
    /// The threshold for it.
    pub(crate) bar: Bar,
    /// What changes with every reading.
    pub(crate) tracks: Tracks,
    /// The profile of the cycle.
    pub(crate) profile: Season,
    /// The states it was in.
    pub(crate) novelty: Novelty,
    /// Alarm control.
    pub(crate) control: Control,
}

/// What was seen when a reading was judged, for [`Auto::learn`] to take in.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    anchor: f64,
    unit: f64,
    interval: f32,
    bar: Bar,
    varied: u32,
    index: usize,
    bin: Bin,
    meeting: Meeting,
    tracks: Tracks,
    control: Control,
    ratios: [f64; EXPERTS],
    fires: bool,
    quiet: u16,
    missing: u32,
    ratio: f64,
}

/// What a finding is made of, beside a [`Look`].
#[derive(Clone, Copy, Debug)]
struct Sight {
    ratios: [f64; EXPERTS],
    bars: [f32; EXPERTS],
    /// How far the reading is off, and how far the level has moved.
    off: f64,
    moved: f64,
    /// The noise to expect of the reading, and what errors are multiplied by for it.
    own: f32,
    scaled: f32,
    /// The noises at which a single reading is odd.
    farthest: f32,
    /// The profile of the cycle is believed.
    seasonal: bool,
    deviations: Deviations,
}

impl Look {
    /// What was seen, in short: an answer that makes no finding of it.
    pub(crate) fn grade(&self, profile: &Profile) -> Grade {
        match severity(self.ratio, profile).filter(|_| self.fires) {
            _ if self.missing > 0 => Grade::Warming(self.missing),
            Some(_) => Grade::Abnormal,
            None if self.fires => Grade::Normal(self.ratio),
            None => Grade::Normal(self.ratio.min(GATED)),
        }
    }
}

impl Auto {
    /// Judges a reading that came after `previous`. Most are never asked about: what a finding needs beside what was seen at
    /// first is worked out again.
    #[inline(never)]
    #[must_use]
    pub fn judge(
        &self,
        reading: Reading,
        previous: Option<Reading>,
        profile: &Profile,
    ) -> Judgement {
        let (look, sight) = self.look_closely(reading, previous, profile);
        if look.missing > 0 {
            return Judgement::Warming(look.missing);
        }
        let unit = look.unit;
        let [season, level, shape, novelty] = sight.ratios;
        let others = shape.max(novelty);
        let [by_season, by_level, by_shape, by_novelty] = sight.bars;
        let (side, threshold, odd) = if season >= level && season >= others {
            // Before it has seen a whole cycle it knows no time of day.
            let cycle = self.season as f32;
            let seasonal = sight.seasonal && self.readings as f32 * self.interval >= cycle;
            (sight.off, by_season, Oddity::Value { seasonal })
        } else if level >= others {
            let (from, to) = (self.tracks.long, look.tracks.fast);
            let level_moved = Oddity::Level {
                from: value(from, look.anchor, unit),
                to: value(to, look.anchor, unit),
            };
            (sight.moved, by_level, level_moved)
        } else if shape >= novelty {
            (sight.off, by_shape, shape::oddity(&sight.deviations))
        } else {
            (sight.off, by_novelty, Oddity::Novel)
        };
        let usual = look.tracks.last - sight.off;
        let expected = value(usual, look.anchor, unit);
        let room = self.room(&sight, look.varied.max(1), usual);
        let own = f64::from(sight.own) * unit;
        let reach = |room: f64| (room * unit).max(profile.mindev).max(own);
        let watched = |side, bound: f64| {
            let bound = bound.clamp(f64::MIN, f64::MAX);
            profile.direction.watches(side).then_some(bound)
        };
        let (ratio, fires) = (look.ratio, look.fires);
        let abnormal = severity(ratio, profile);
        Judgement::Scored(Finding {
            kind: Kind::Auto,
            ratio: if fires { ratio } else { ratio.min(GATED) },
            severity: abnormal.filter(|_| fires),
            side: Side::of(side),
            threshold: f64::from(threshold),
            expected: Some(expected),
            lower: watched(Side::Low, expected - reach(room.0)),
            upper: watched(Side::High, expected + reach(room.1)),
            detail: Detail::Learnt {
                odd,
                noise: own.min(f64::MAX),
                ratio,
                held: abnormal.filter(|_| !fires),
            },
        })
    }
}

impl Auto {
    /// Makes the state fit the rules: the profile of another cycle is of no use.
    pub fn fit(&mut self, season: u64) {
        self.bar = Bar::default();
        if self.season != season {
            self.season = season;
            self.profile = Season::default();
        }
    }

    /// Looks at a reading that came after `previous`.
    #[inline(never)]
    #[must_use]
    pub fn look(&self, reading: Reading, previous: Option<Reading>, profile: &Profile) -> Look {
        self.look_closely(reading, previous, profile).0
    }

    /// Takes in a reading that came after `previous`, unless it is abnormal: then nothing changes. What was seen is not put
    /// together first: it goes from where it was worked out to where it is kept.
    #[inline(never)]
    pub(crate) fn pass(
        &mut self,
        reading: Reading,
        previous: Option<Reading>,
        profile: &Profile,
    ) -> Grade {
        let (look, _) = self.look_closely(reading, previous, profile);
        let grade = look.grade(profile);
        if grade != Grade::Abnormal {
            self.learn(&look, profile);
        }
        grade
    }

    /// Inlined, so that what nobody asks for is not worked out.
    #[inline(always)]
    fn look_closely(
        &self,
        reading: Reading,
        previous: Option<Reading>,
        profile: &Profile,
    ) -> (Look, Sight) {
        let old = &self.tracks;
        let (anchor, unit) = self.scale(reading.value);
        let y = distance(reading.value, anchor, unit);
        let (climb, y, anchor) = old.climb.next(y, old, anchor, unit);
        let varied = if unit == 0.0 {
            0
        } else {
            self.varied.saturating_add(1)
        };
        let n = varied.max(1);
        let share = 1.0 / n as f32;
        let elapsed = previous.map_or(0.0, |previous| reading.at.since(previous.at).max(0) as f32);
        let interval = self.cadence(elapsed);

        let index = profile.cycle.bin_at(reading.at, self.season);
        let bin = self.profile.get(index);
        let (from_profile, from_recent) = (y - f64::from(bin.value), y - old.recent);
        let seasonal = bin.known() & (old.errors[0] < old.errors[1]);
        let off = either(seasonal, from_profile, from_recent);
        let offs = [from_profile, from_recent].map(|off| off.abs() as f32);
        let error = if bin.known() {
            of_the_lesser(old.errors, offs)
        } else {
            offs[1]
        };
        let own = bin.own(old.noise);
        // Errors count in the noise of their bin, half-way: it is not known as well as the sensor's.
        let scaled = if old.noise > 0.0 && own > 0.0 {
            (old.noise / own).sqrt()
        } else {
            1.0
        };
        let change = (y - old.last).abs() as f32;
        let means = old.means(change, offs, share);
        let errors = if bin.known() {
            let [.., by_profile, by_recent] = means.to_array();
            [by_profile, by_recent]
        } else {
            old.errors
        };
        let noise = flushed(old.noise + share.max(NOISE_RATE) * (error - old.noise));
        let recent = old.recent + RECENT_RATE.max(f64::from(share)) * from_recent;

        let fast = old.fast + FAST_RATE.max(f64::from(share)) * (y - old.fast);
        let moved = fast - old.long;
        let long_rate = smaller(LONG_RATE, f64::from(interval / LONG_TIME));
        let long = old.long + larger(long_rate, f64::from(share)) * (y - old.long);

        let (shape, unlike, deviations) = old.shape.next(y, means, noise, varied);
        let range = old.range.with(y, &shape);
        let known = shape::count(varied);
        let (novel, meeting) = if known > 0 {
            self.novelty.judge(y, &shape, &range)
        } else {
            (0.0, Meeting::NONE)
        };

        // The error of each expert, and which of its errors it is; 0 for none.
        let seen = f32x4::from([error * scaled, moved.abs() as f32, unlike, novel]);
        let (early, late) = (n as f32, known as f32);
        let counts = f32x4::from([early, early, late, late]);
        // A slow mean has errors that last: what is usual for them must not follow within the event.
        let slow = smaller(USUAL_RATE, larger(interval / USUAL_TIME, SLOWEST));
        let rates = f32x4::from([USUAL_RATE, slow, USUAL_RATE, USUAL_RATE]);
        let pace = profile.pace;
        let control = self.control.after(elapsed, pace.budget);
        let lifted = control.lifted();
        let bar = match self.bar.get() {
            Some(bar) if interval == self.interval => bar,
            _ => pace.bar(interval),
        };
        let least = f32x4::splat(bar) * f32x4::from(SHARES);
        let bars = lifted * old.odds.bar(least, counts, rates);
        let (odds, z) = old.odds.next(seen, counts, rates);
        // A sensor that stood still for long and now moves is as new as any.
        let young = needed(profile, WARMUP, 2);
        let ages = [young, young, SHAPE_WARMUP, NOVELTY_WARMUP].map(|age| age as f32);
        let ripe = counts.simd_ge(f32x4::from(ages));
        let highest = f32x4::splat(HIGHEST_RATIO as f32);
        let [season, level, of_shape, novelty] =
            (ripe & positive(z / bars)).fast_min(highest).to_array();
        // A single reading far beyond any before it is odd at once.
        let noises = if old.noise > 0.0 {
            error * scaled / old.noise
        } else {
            0.0
        };
        let beyond = BEYOND * old.peak;
        let farthest = beyond * lifted.to_array()[SEASON];
        let alone = if self.varied == 0 && unit > 0.0 {
            // So is the first change of a sensor that never changed.
            HIGHEST_RATIO as f32
        } else if n >= young && farthest > 0.0 {
            smaller(noises / farthest, HIGHEST_RATIO as f32)
        } else {
            0.0
        };
        let taught = if n > SETTLED {
            smaller(noises, beyond)
        } else {
            noises
        };
        let peak = flushed(larger(old.peak * (1.0 - PEAK_RATE), taught));
        let mut ratios = [larger(season, alone), level, of_shape, novelty].map(f64::from);
        if profile.direction != Direction::Both || profile.mindev > 0.0 {
            let expected = value(y - off, anchor, unit);
            let deviation = (reading.value - expected).clamp(f64::MIN, f64::MAX);
            for (ratio, side) in ratios.iter_mut().zip([off, moved, off, off]) {
                *ratio = graded(*ratio, side, deviation, profile);
            }
        }
        let [season, level, of_shape, novelty] = ratios;
        let ratio = larger(larger(season, level), larger(of_shape, novelty));

        let quiet = pace.quiet(interval);
        let fires = control.open(profile.for_readings, ratio, quiet);
        // A sensor that stood still and has begun to move is new: until it is warm again nothing can be said of it.
        let moving = if self.varied > 0 {
            young.saturating_sub(n)
        } else {
            0
        };
        let missing = missing(profile, WARMUP, 2, self.readings).max(moving);
        let look = Look {
            anchor,
            unit,
            interval,
            bar: Bar::new(bar),
            varied,
            index,
            bin: bin.next(y, error, noise, interval),
            meeting,
            tracks: Tracks {
                last: y,
                recent,
                fast,
                long,
                climb,
                errors,
                noise,
                peak,
                shape,
                range,
                odds,
            },
            control,
            ratios,
            fires,
            quiet,
            missing,
            ratio,
        };
        let sight = Sight {
            ratios,
            bars: bars.to_array(),
            off,
            moved,
            own,
            scaled,
            farthest,
            seasonal,
            deviations,
        };
        (look, sight)
    }

    /// Takes in a reading that was looked at. With `learn` no, an abnormal one tells of time and alarms only.
    #[inline(always)]
    pub fn learn(&mut self, look: &Look, profile: &Profile) {
        self.readings = self.readings.saturating_add(1);
        (self.interval, self.bar) = (look.interval, look.bar);
        if look.missing == 0 && look.ratio > 1.0 {
            let crossed = look.ratios.map(|ratio| ratio > 1.0);
            self.control = look.control.next(crossed, look.fires, look.quiet);
            if !profile.learn {
                return;
            }
        } else {
            self.control = look.control.calm();
        }
        (self.anchor, self.unit, self.varied) = (look.anchor, look.unit, look.varied);
        self.tracks = look.tracks;
        self.profile.set(look.index, look.bin);
        self.novelty.learn(look.meeting);
    }

    /// The anchor and the unit, which the first reading and the first change set.
    fn scale(&self, value: f64) -> (f64, f64) {
        if self.readings == 0 {
            return (value, 0.0);
        }
        if self.unit > 0.0 || value == self.anchor {
            return (self.anchor, self.unit);
        }
        let change = (value - self.anchor).abs().min(f64::MAX);
        // The exponent alone: what is multiplied by a power of two is not rounded.
        let unit = f64::from_bits(change.to_bits() & 0x7ff0_0000_0000_0000);
        (self.anchor, if unit > 0.0 { unit } else { change })
    }

    /// The mean time between readings. A gap counts for no more than ten of them and a second.
    fn cadence(&self, elapsed: f32) -> f32 {
        match self.readings {
            0 => 0.0,
            1 => elapsed,
            seen => {
                let gap = smaller(elapsed, 10.0 * self.interval + 1000.0);
                let rate = (1.0 / (seen as f32 + 1.0)).max(constants::CADENCE_RATE);
                self.interval + rate * (gap - self.interval)
            }
        }
    }

    /// How far below and above the usual, in units, the `n`th reading may lie before the season or the level expert finds it
    /// odd.
    fn room(&self, sight: &Sight, n: u32, usual: f64) -> (f64, f64) {
        let old = &self.tracks;
        let season = old.odds.room(SEASON, sight.bars[SEASON], n);
        let season = f64::from(season.min(sight.farthest * old.noise) / sight.scaled);
        let level = f64::from(old.odds.room(LEVEL, sight.bars[LEVEL], n));
        let rate = FAST_RATE.max(1.0 / f64::from(n));
        // Where the fast mean would go too far.
        let turns = |to: f64| (to - (1.0 - rate) * old.fast) / rate - usual;
        let (low, high) = (-turns(old.long - level), turns(old.long + level));
        (
            season.min(low).clamp(0.0, FARTHEST),
            season.min(high).clamp(0.0, FARTHEST),
        )
    }
}

/// One or the other of two numbers, without a branch, for what a processor cannot guess. (Of numbers the compiler makes a branch, of
/// their bits none.)
#[inline(always)]
fn either(one: bool, x: f64, other: f64) -> f64 {
    f64::from_bits(select_unpredictable(one, x.to_bits(), other.to_bits()))
}

/// What is `y` units from the anchor, in the sensor's unit.
fn value(y: f64, anchor: f64, unit: f64) -> f64 {
    (anchor + y * unit).clamp(f64::MIN, f64::MAX)
}

/// A value as a distance from the anchor, in units.
#[inline(always)]
fn distance(value: f64, anchor: f64, unit: f64) -> f64 {
    if unit == 0.0 {
        return 0.0;
    }
    let off = value - anchor;
    // To divide by a power of two is to multiply by its inverse, to the bit, and sooner done. Almost every unit is one that has an
    // inverse without a loss.
    let bits = unit.to_bits();
    let off = if bits & MANTISSA == 0 && (f64::MIN_POSITIVE..=MOST_INVERTED).contains(&unit) {
        off * f64::from_bits(INVERSE.wrapping_sub(bits))
    } else {
        off / unit
    };
    if off.abs() <= FARTHEST {
        off
    } else {
        beyond(off)
    }
}

#[cold]
fn beyond(off: f64) -> f64 {
    off.clamp(-FARTHEST, FARTHEST)
}

/// A ratio with `direction` applied to the side that the expert means, and `mindev` to the reading's deviation.
fn graded(ratio: f64, side: f64, deviation: f64, profile: &Profile) -> f64 {
    if !profile.direction.watches(Side::of(side)) {
        return 0.0;
    }
    if deviation.abs() < profile.mindev {
        return ratio.min(deviation.abs() / profile.mindev);
    }
    ratio
}

#[cfg(test)]
#[allow(clippy::wildcard_imports, reason = "of constants")]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
