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
mod novelty;
mod odds;
mod season;
mod shape;

pub use self::climb::Climb;
use self::constants::{
    BELIEF_RATE, BEYOND, FAST_RATE, LONG_RATE, LONG_TIME, NOISE_RATE, NOVELTY_WARMUP, PEAK_RATE,
    RECENT_RATE, SETTLED, SHAPE_WARMUP, SHARES, USUAL_RATE, USUAL_TIME, WARMUP,
};
pub use self::control::Control;
pub(crate) use self::control::MOST_LIFTED;
use self::control::{EXPERTS, bar, quiet};
use self::novelty::Meeting;
pub use self::novelty::{Novelty, Range};
pub(crate) use self::odds::LARGEST_ROOT;
pub use self::odds::Odds;
pub use self::season::Season;
use self::season::{Bin, bin_at};
pub use self::shape::Shape;
use super::{Detail, Finding, HIGHEST_RATIO, Judgement, Kind, Oddity, missing, needed, severity};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::units::Side;

/// Distances end here, in units, so that their squares stay within an `f32`.
const FARTHEST: f64 = 1e30;
/// The ratio of what alarm control keeps from firing ends here, below the boundary.
const GATED: f64 = 0.9;
/// Positions of the experts.
const SEASON: usize = 0;
const LEVEL: usize = 1;
const SHAPE: usize = 2;
const NOVELTY: usize = 3;
/// The least rate that tells in an `f32`.
const SLOWEST: f32 = 1e-6;

/// No number of the state is beyond this, in units, nor the square of one that is squared: [`FARTHEST`] with room for sums
/// and differences.
pub(crate) const STATE_FARTHEST: f32 = 1e32;

/// A number for the state. So small that it only slows the arithmetic down, it is zero.
fn flushed(x: f32) -> f32 {
    if x.abs() < 1e-30 {
        0.0
    } else {
        x.clamp(-STATE_FARTHEST, STATE_FARTHEST)
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
    pub(crate) odds: [Odds; EXPERTS],
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
    /// What changes with every reading.
    pub(crate) tracks: Tracks,
    /// The profile of the cycle.
    pub(crate) profile: Season,
    /// The states it was in.
    pub(crate) novelty: Novelty,
    /// Alarm control.
    pub(crate) control: Control,
}

/// What an expert makes of a reading.
struct Seen {
    error: f32,
    /// To which side, by its sign.
    side: f64,
    /// Which of the expert's errors it is; 0 for none.
    count: u32,
    /// Which it must be to fire.
    ripe: u32,
}

impl Seen {
    fn new(error: f32, side: f64, count: u32, ripe: u32) -> Self {
        Self {
            error,
            side,
            count,
            ripe,
        }
    }
}

/// What was seen when a reading was judged, for [`Auto::learn`] to take in.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    anchor: f64,
    unit: f64,
    interval: f32,
    varied: u32,
    index: usize,
    bin: Bin,
    meeting: Meeting,
    tracks: Tracks,
    control: Control,
    crossed: [bool; EXPERTS],
    fires: bool,
    quiet: u16,
    judgement: Judgement,
}

impl Look {
    /// The judgement of the reading.
    #[must_use]
    pub fn judgement(&self) -> Judgement {
        self.judgement
    }
}

impl Auto {
    /// Makes the state fit the season: the profile of another cycle is of no use.
    pub fn fit(&mut self, season: u64) {
        if self.season != season {
            self.season = season;
            self.profile = Season::default();
        }
    }

    /// Judges a reading that came after `previous`.
    #[must_use]
    pub fn look(&self, reading: Reading, previous: Option<Reading>, profile: &Profile) -> Look {
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
        let mut tracks = Tracks {
            last: y,
            climb,
            ..*old
        };

        let index = bin_at(reading.at, self.season);
        let bin = self.profile.get(index);
        let (from_profile, from_recent) = (y - f64::from(bin.value), y - old.recent);
        let seasonal = bin.known() && old.errors[0] < old.errors[1];
        let off = if seasonal { from_profile } else { from_recent };
        let error = off.abs() as f32;
        let own = bin.own(old.noise);
        // Errors count in the noise of their bin, half-way: it is not known as well as the sensor's.
        let scaled = if old.noise > 0.0 && own > 0.0 {
            (old.noise / own).sqrt()
        } else {
            1.0
        };
        if bin.known() {
            for (mean, off) in tracks.errors.iter_mut().zip([from_profile, from_recent]) {
                *mean = flushed(*mean + BELIEF_RATE * (off.abs() as f32 - *mean));
            }
        }
        tracks.noise = flushed(old.noise + share.max(NOISE_RATE) * (error - old.noise));
        tracks.recent += RECENT_RATE.max(f64::from(share)) * from_recent;

        tracks.fast += FAST_RATE.max(f64::from(share)) * (y - old.fast);
        let moved = tracks.fast - old.long;
        let long_rate = LONG_RATE.min(f64::from(interval / LONG_TIME));
        tracks.long += long_rate.max(f64::from(share)) * (y - old.long);

        let change = (y - old.last).abs() as f32;
        let (shape, unlike, odd) = old.shape.next(y, change, tracks.noise, varied);
        tracks.shape = shape;
        tracks.range = old.range.with(&tracks);
        let errors = shape::count(varied);
        let (novel, meeting) = if errors > 0 {
            self.novelty.judge(&tracks)
        } else {
            (0.0, Meeting::None)
        };

        // A sensor that stood still for long and now moves is as new as any.
        let young = needed(profile, WARMUP, 2);
        let seen = [
            Seen::new(error * scaled, off, n, young),
            Seen::new(moved.abs() as f32, moved, n, young),
            Seen::new(unlike, off, errors, SHAPE_WARMUP),
            Seen::new(novel, off, errors, NOVELTY_WARMUP),
        ];
        // A slow mean has errors that last: what is usual for them must not follow within the event.
        let mut rates = [USUAL_RATE; EXPERTS];
        if let Some(rate) = rates.get_mut(LEVEL) {
            *rate = rate.min((interval / USUAL_TIME).max(SLOWEST));
        }
        let budget = profile.budget as f32;
        let control = self.control.after(elapsed, budget);
        let (least, lifted) = (bar(interval, budget), control.lifted());
        let mut bars = lifted;
        let mut ratios = [0.0_f64; EXPERTS];
        for (((((seen, odds), bar), ratio), share), rate) in seen
            .iter()
            .zip(&mut tracks.odds)
            .zip(&mut bars)
            .zip(&mut ratios)
            .zip(SHARES)
            .zip(rates)
        {
            *bar *= odds.bar(least * share, seen.count, rate);
            if seen.count > 0 {
                let (next, z) = odds.next(seen.error, seen.count, rate);
                *odds = next;
                if seen.count >= seen.ripe {
                    *ratio = f64::from((z / *bar).max(0.0));
                }
            }
        }
        // A single reading far beyond any before it is odd at once.
        let noises = if old.noise > 0.0 {
            error * scaled / old.noise
        } else {
            0.0
        };
        let beyond = BEYOND * old.peak;
        let farthest = beyond * lifted[SEASON];
        if n >= young && farthest > 0.0 {
            ratios[SEASON] = ratios[SEASON].max(f64::from(noises / farthest));
        }
        let taught = if n > SETTLED {
            noises.min(beyond)
        } else {
            noises
        };
        tracks.peak = flushed((old.peak * (1.0 - PEAK_RATE)).max(taught));
        // So is the first change of a sensor that never changed.
        if self.varied == 0 && unit > 0.0 {
            ratios[SEASON] = HIGHEST_RATIO;
        }

        let expected = value(y - off, anchor, unit);
        let deviation = (reading.value - expected).clamp(f64::MIN, f64::MAX);
        for (ratio, seen) in ratios.iter_mut().zip(&seen) {
            *ratio = graded(ratio.min(HIGHEST_RATIO), seen.side, deviation, profile);
        }
        let [season, level, shape, novelty] = ratios;
        let others = shape.max(novelty);
        let (ratio, side, threshold, oddity) = if season >= level && season >= others {
            // Before it has seen a whole cycle it knows no time of day.
            let cycle = self.season as f32;
            let seasonal = seasonal && self.readings as f32 * self.interval >= cycle;
            (season, off, bars[SEASON], Oddity::Value { seasonal })
        } else if level >= others {
            let (from, to) = (old.long, tracks.fast);
            let level_moved = Oddity::Level {
                from: value(from, anchor, unit),
                to: value(to, anchor, unit),
            };
            (level, moved, bars[LEVEL], level_moved)
        } else if shape >= novelty {
            (shape, off, bars[SHAPE], odd)
        } else {
            (novelty, off, bars[NOVELTY], Oddity::Novel)
        };

        let quiet = quiet(interval, budget);
        let fires = control.open(profile.for_readings, ratio, quiet);
        // A sensor that stood still and has begun to move is new: until it is warm again nothing can be said of it.
        let moving = if self.varied > 0 {
            young.saturating_sub(n)
        } else {
            0
        };
        let missing = missing(profile, WARMUP, 2, self.readings).max(moving);
        let judgement = if missing > 0 {
            Judgement::Warming(missing)
        } else {
            let room = self.room(&bars, n, scaled, farthest, y - off);
            let own = f64::from(own) * unit;
            let reach = |room: f64| (room * unit).max(profile.mindev).max(own);
            let watched = |side, bound: f64| {
                let bound = bound.clamp(f64::MIN, f64::MAX);
                profile.direction.watches(side).then_some(bound)
            };
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
                    odd: oddity,
                    noise: own.min(f64::MAX),
                    ratio,
                    held: abnormal.filter(|_| !fires),
                },
            })
        };
        Look {
            anchor,
            unit,
            interval,
            varied,
            index,
            bin: bin.next(y, error, tracks.noise, interval),
            meeting,
            tracks,
            control,
            crossed: ratios.map(|ratio| missing == 0 && ratio > 1.0),
            fires,
            quiet,
            judgement,
        }
    }

    /// Takes in a reading that was looked at. With `learn` no, an abnormal one tells of time and alarms only.
    pub fn learn(&mut self, look: &Look, profile: &Profile) {
        self.readings = self.readings.saturating_add(1);
        self.interval = look.interval;
        self.control = look.control.next(look.crossed, look.fires, look.quiet);
        if !profile.learn && look.crossed.contains(&true) {
            return;
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
                let gap = elapsed.min(10.0 * self.interval + 1000.0);
                let rate = (1.0 / (seen as f32 + 1.0)).max(constants::CADENCE_RATE);
                self.interval + rate * (gap - self.interval)
            }
        }
    }

    /// How far below and above the usual a reading may lie before the season or the level expert finds it odd, in units.
    fn room(
        &self,
        bars: &[f32; EXPERTS],
        n: u32,
        scaled: f32,
        farthest: f32,
        usual: f64,
    ) -> (f64, f64) {
        let old = &self.tracks;
        let season = old.odds[SEASON].room(bars[SEASON], n);
        let season = f64::from(season.min(farthest * old.noise) / scaled);
        let level = f64::from(old.odds[LEVEL].room(bars[LEVEL], n));
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

/// What is `y` units from the anchor, in the sensor's unit.
fn value(y: f64, anchor: f64, unit: f64) -> f64 {
    (anchor + y * unit).clamp(f64::MIN, f64::MAX)
}

/// A value as a distance from the anchor, in units.
fn distance(value: f64, anchor: f64, unit: f64) -> f64 {
    if unit == 0.0 {
        return 0.0;
    }
    ((value - anchor) / unit).clamp(-FARTHEST, FARTHEST)
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
