//! The stored form of a model: what RDB files, DUMP, AOF rewrites and digests hold.
//!
//! One version byte, then fields of fixed width, little-endian, in the order of [`save`]. Version 1 ends there. Version 2
//! appends the two times that version 1 did not know, and then a block for each detector that has state of its own: the
//! byte of its [`Block`], in ascending order, and its fields; a zero ends them. Version 3 has the standard deviation for the
//! sum of squares, the score in single precision, shorter counts, and only knows when a value changed where `stuck` is on. Version 4
//! has another block for `auto`. A later version may append; it gets a new version byte, and
//! every version ever released stays readable. Reading trusts nothing: every length is checked against the bytes that are
//! there, every number against what the model could have written.

#[path = "codec_auto.rs"]
mod auto;

use crate::detect::cusum::Level;
use crate::detect::{Crossed, Cusum, Ewma, Kind};
use crate::episode::{Alarm, Episode, Phase};
use crate::error::Error;
use crate::late::LateStreak;
use crate::model::{Last, Model, Verdict};
use crate::more::More;
use crate::ranks::Ranks;
use crate::reading::Reading;
use crate::recent::Recent;
use crate::units::{Severity, Side, Timestamp};
use crate::window::Window;

/// Version of the stored form that [`save`] writes.
pub const VERSION: u8 = 4;
/// The first one, which knew no blocks.
const WITHOUT_BLOCKS: u8 = 1;
/// The last one with sums of squares, scores in double precision, and the time of the last change of every sensor.
const WIDE: u8 = 2;
/// The last one whose `auto` had three experts.
const THREE_EXPERTS: u8 = 3;

/// Largest window and most recent readings that a rule can ask for.
const LONGEST: usize = 10_000;

/// The stored form of a model. Two models with the same stored form behave alike.
#[must_use]
pub fn save(model: &Model) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(256));
    out.u8(VERSION);
    out.u64(model.readings());
    out.u32(model.late);
    out.u32(model.duplicates);
    out.option(model.first.as_ref(), |out, at| out.time(*at));
    out.f64(model.mean);
    out.f32(model.deviation);
    out.u8(Verdict::ALL
        .iter()
        .position(|v| *v == model.verdict())
        .unwrap_or(0) as u8);
    out.f32(model.score() as f32);
    out.u8(model.scores().len() as u8);
    model.scores().iter().for_each(|score| out.f32(*score));
    out.u8(model.streak.length);
    out.u64(model.streak.newest.cast_unsigned());
    save_past(&mut out, model);
    save_alarm(&mut out, &model.alarm);
    out.option(model.recent.as_deref(), |out, recent| {
        out.u32(recent.capacity as u32);
        out.u64(recent.seen);
        out.u32(recent.readings.len() as u32);
        recent
            .readings
            .iter()
            .for_each(|reading| out.reading(*reading));
    });
    out.option(model.changed.as_ref(), |out, at| out.time(*at));
    out.time(model.arrived);
    save_blocks(&mut out, model);
    out.0
}

/// Reads the stored form.
///
/// # Errors
/// [`Error::Payload`] for anything that [`save`] cannot have written.
pub fn load(bytes: &[u8]) -> Result<Model, Error> {
    let mut from = Reader(bytes);
    let version = from.u8()?;
    if !(WITHOUT_BLOCKS..=VERSION).contains(&version) {
        return damaged("it was written by a later version of the module");
    }
    let wide = version <= WIDE;
    let (mut model, mut more) = (Model::default(), More::NONE);
    let readings = from.u64()?;
    (more.turns, model.readings) = ((readings >> 32) as u32, readings as u32);
    let count = |from: &mut Reader<'_>| match wide {
        true => Ok(u32::try_from(from.u64()?).unwrap_or(u32::MAX)),
        false => from.u32(),
    };
    (more.late, more.duplicates) = (count(&mut from)?, count(&mut from)?);
    (model.first, model.mean) = (from.option(Reader::time)?, from.f64()?);
    model.deviation = if wide {
        let mean_square = from.size()? / (readings.max(1) as f64);
        mean_square.sqrt().min(f64::from(f32::MAX)) as f32
    } else {
        from.f32()?
    };
    let verdict = from.choice(&Verdict::ALL)?;
    let score = if wide {
        from.f64()?
    } else {
        from.f32()?.into()
    };
    model.last = Last::new(verdict, score);
    let scores = from.u8()? as usize;
    more.scores = Some(from.many(scores, Reader::f32)?.into()).filter(|_| scores > 0);
    more.streak = LateStreak {
        length: from.u8()?,
        newest: from.u64()?.cast_signed(),
    };
    model.newest = from.option(Reader::reading)?;
    if wide {
        from.u32()?; // the readings, once more
    }
    model.window = from.option(load_window)?.into();
    more.alarm = load_alarm(&mut from)?;
    more.recent = from.option(|from| {
        let capacity = from.length(LONGEST)?;
        let seen = from.u64()?;
        let held = from.length(capacity)?;
        Ok(Box::new(Recent {
            capacity,
            seen,
            readings: from.many(held, Reader::reading)?.into(),
        }))
    })?;
    if version == WITHOUT_BLOCKS {
        // It may have changed, and arrived, later than it says, but not earlier.
        more.changed = model.newest.map(|newest| newest.at);
        more.arrived = more.changed.unwrap_or(Timestamp::ZERO);
    } else {
        more.changed = if wide {
            Some(from.time()?)
        } else {
            from.option(Reader::time)?
        };
        more.arrived = from.time()?;
        load_blocks(&mut from, &mut model, &mut more, version)?;
    }
    let sane = scores <= Kind::ALL.len()
        && model
            .newest
            .is_none_or(|newest| more.changed.is_none_or(|changed| changed <= newest.at))
        && model.deviation >= 0.0
        && verdict != Verdict::Late
        && verdict != Verdict::Duplicate
        && (0.0..=1.0).contains(&score)
        && (wide || score < 1.0 && score.is_sign_positive())
        && more
            .scores()
            .iter()
            .all(|score| (0.0..=1.0).contains(score))
        && more.streak.length <= LateStreak::LONGEST
        && model.first.is_some() == (readings > 0)
        && model.newest.is_some() == (readings > 0);
    if !sane || !from.0.is_empty() {
        return damaged("its fields contradict each other");
    }
    model.more = more.into();
    model.tidy();
    Ok(model)
}

fn save_past(out: &mut Writer, model: &Model) {
    out.option(model.newest.as_ref(), |out, reading| out.reading(*reading));
    out.option(model.window.as_ref(), |out, window| {
        out.u32(window.capacity.into());
        out.u32(window.next.into());
        out.u32(window.seen);
        [window.anchor, window.sum, window.squares, window.peak]
            .iter()
            .for_each(|x| out.f64(*x));
        out.u32(window.distances.len() as u32);
        window
            .distances
            .iter()
            .for_each(|distance| out.f32(*distance));
    });
}

fn load_window(from: &mut Reader<'_>) -> Result<Window, Error> {
    let (capacity, next, seen) = (from.length(LONGEST)?, from.length(LONGEST)?, from.u32()?);
    let (anchor, sum, squares, peak) = (from.f64()?, from.f64()?, from.f64()?, from.size()?);
    let held = from.length(capacity)?;
    let full = held == capacity;
    if capacity < 2 || next >= capacity || !full && next != held || (seen as usize) < held {
        return damaged("its window contradicts itself");
    }
    let mut window = Window::new(capacity);
    (window.next, window.seen) = (next as u16, seen);
    (window.anchor, window.sum) = (anchor, sum);
    (window.squares, window.peak) = (squares, peak);
    window.distances.reserve_exact(held);
    for _ in 0..held {
        window.distances.push(from.f32()?);
    }
    Ok(window)
}

/// What a detector keeps beside the window. The number is the block's first byte.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    /// The window is kept by size too. The order follows from the window.
    Ranks = 1,
    /// An [`Ewma`].
    Ewma = 2,
    /// A [`Cusum`].
    Cusum = 3,
    /// An [`Auto`](crate::detect::Auto).
    Auto = 4,
}

/// Where a block could begin: there is none.
const NO_MORE: u8 = 0;

impl Block {
    const ALL: [Self; 4] = [Self::Ranks, Self::Ewma, Self::Cusum, Self::Auto];
}

fn save_blocks(out: &mut Writer, model: &Model) {
    if let Some(ranks) = model.window.as_ref().and_then(|w| w.ranks.as_ref()) {
        out.u8(Block::Ranks as u8);
        out.f64(ranks.older_peak);
    }
    if let Some(Ewma {
        mean,
        variance,
        seen,
    }) = model.ewma.as_deref()
    {
        out.u8(Block::Ewma as u8);
        out.f64(*mean);
        out.f64(*variance);
        out.u32(*seen);
    }
    if let Some(Cusum {
        level,
        above,
        below,
        next,
    }) = model.cusum.as_deref()
    {
        out.u8(Block::Cusum as u8);
        out.level(level);
        out.f64(*above);
        out.f64(*below);
        out.level(next);
    }
    if let Some(known) = model.auto.as_ref() {
        out.u8(Block::Auto as u8);
        auto::save(out, known);
    }
    out.u8(NO_MORE);
}

fn load_blocks(
    from: &mut Reader<'_>,
    model: &mut Model,
    more: &mut More,
    version: u8,
) -> Result<(), Error> {
    let mut before = None;
    loop {
        let tag = from.u8()?;
        if tag == NO_MORE {
            return Ok(());
        }
        let Some(block) = Block::ALL.into_iter().find(|block| *block as u8 == tag) else {
            return damaged("it holds a block of a later version of the module");
        };
        if before.replace(block).is_some_and(|before| before >= block) {
            return damaged("its blocks are out of order");
        }
        match (block, model.window.as_mut()) {
            (Block::Ranks, Some(window)) => {
                let ranks = Ranks::of(&window.distances, from.size()?);
                window.ranks = Some(Box::new(ranks));
            }
            (Block::Ranks, None) => return damaged("it orders a window that is not there"),
            (Block::Ewma, _) => {
                let (mean, variance, seen) = (from.f64()?, from.size()?, from.u32()?);
                more.ewma = Some(Box::new(Ewma {
                    mean,
                    variance,
                    seen,
                }));
            }
            (Block::Cusum, _) => {
                more.cusum = Some(Box::new(Cusum {
                    level: from.level()?,
                    above: from.size()?,
                    below: from.size()?,
                    next: from.level()?,
                }));
            }
            (Block::Auto, _) if version <= THREE_EXPERTS => {
                more.auto = auto::anew(from)?.into();
            }
            (Block::Auto, _) => more.auto = auto::load(from)?.into(),
        }
    }
}

fn save_alarm(out: &mut Writer, alarm: &Alarm) {
    out.u32(alarm.abnormal_run);
    out.time(alarm.run_start);
    out.f64(alarm.run_peak);
    out.u32(alarm.episodes);
    out.option(alarm.episode.as_deref(), |out, episode| {
        out.u64(episode.sensor);
        out.time(episode.start);
        out.u32(episode.ordinal);
        let (phase, until) = match episode.phase {
            Phase::Firing => (0, Timestamp::ZERO),
            Phase::Silent(until) => (1, until),
            Phase::Cooling(until) => (2, until),
        };
        out.u8(phase);
        out.time(until);
        out.u8(u8::from(episode.severity == Severity::Critical));
        out.u8(Kind::ALL
            .iter()
            .position(|kind| *kind == episode.kind)
            .unwrap_or(0) as u8);
        out.u8(SIDES
            .iter()
            .position(|side| *side == episode.side)
            .unwrap_or(0) as u8);
        out.f64(episode.threshold);
        out.f64(episode.peak);
        out.u32(episode.readings);
        out.u32(episode.normal_run);
        out.u32(episode.alerts);
        out.time(episode.last_alert);
        out.option(episode.acked_by.as_deref(), |out, by| {
            out.u32(by.len() as u32);
            out.0.extend_from_slice(by);
        });
        out.u8(u8::from(episode.crossed.high) | u8::from(episode.crossed.low) << 1);
    });
}

fn load_alarm(from: &mut Reader<'_>) -> Result<Alarm, Error> {
    Ok(Alarm {
        abnormal_run: from.u32()?,
        run_start: from.time()?,
        run_peak: from.f64()?,
        episodes: from.u32()?,
        episode: from.option(|from| {
            let (sensor, start, ordinal) = (from.u64()?, from.time()?, from.u32()?);
            let (phase, until) = (from.u8()?, from.time()?);
            Ok(Box::new(Episode {
                sensor,
                start,
                ordinal,
                phase: match phase {
                    0 if until == Timestamp::ZERO => Phase::Firing,
                    1 => Phase::Silent(until),
                    2 => Phase::Cooling(until),
                    _ => return damaged("its episode is in no known phase"),
                },
                severity: from.choice(&[Severity::Warning, Severity::Critical])?,
                kind: from.choice(&Kind::ALL)?,
                side: from.choice(&SIDES)?,
                threshold: from.f64()?,
                peak: from.f64()?,
                readings: from.u32()?,
                normal_run: from.u32()?,
                alerts: from.u32()?,
                last_alert: from.time()?,
                acked_by: from.option(|from| {
                    let length = from.u32()? as usize;
                    from.take(length).map(Into::into)
                })?,
                crossed: {
                    let bits = from.u8()?;
                    if bits > 3 {
                        return damaged("it holds an unknown choice");
                    }
                    Crossed {
                        high: bits & 1 != 0,
                        low: bits & 2 != 0,
                    }
                },
            }))
        })?,
    })
}

const SIDES: [Side; 3] = [Side::High, Side::Low, Side::None];

fn damaged<T>(why: &'static str) -> Result<T, Error> {
    Err(Error::Payload { why })
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, x: u8) {
        self.0.push(x);
    }
    fn u16(&mut self, x: u16) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }
    fn u32(&mut self, x: u32) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }
    fn u64(&mut self, x: u64) {
        self.0.extend_from_slice(&x.to_le_bytes());
    }
    fn f32(&mut self, x: f32) {
        self.u32(x.to_bits());
    }
    fn f64(&mut self, x: f64) {
        self.u64(x.to_bits());
    }
    fn time(&mut self, at: Timestamp) {
        self.u64(at.millis().cast_unsigned());
    }
    fn reading(&mut self, reading: Reading) {
        self.time(reading.at);
        self.f64(reading.value);
    }
    fn level(&mut self, level: &Level) {
        self.f64(level.mean);
        self.f64(level.squares);
        self.u32(level.readings);
    }
    fn option<T: ?Sized>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.0.split_at_checked(n) else {
            return damaged("it ends too early");
        };
        self.0 = rest;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let Some((head, rest)) = self.0.split_first_chunk() else {
            return damaged("it ends too early");
        };
        self.0 = rest;
        Ok(*head)
    }
    fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_le_bytes)
    }
    fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_le_bytes)
    }
    fn f32(&mut self) -> Result<f32, Error> {
        Some(f32::from_bits(self.u32()?))
            .filter(|x| x.is_finite())
            .ok_or(Error::Payload {
                why: "it holds a number that is not finite",
            })
    }
    fn f64(&mut self) -> Result<f64, Error> {
        Some(f64::from_bits(self.u64()?))
            .filter(|x| x.is_finite())
            .ok_or(Error::Payload {
                why: "it holds a number that is not finite",
            })
    }
    /// A number that is not below zero.
    fn size(&mut self) -> Result<f64, Error> {
        Some(self.f64()?)
            .filter(|x| *x >= 0.0)
            .ok_or(Error::Payload {
                why: "it holds a negative number where none can be",
            })
    }
    fn level(&mut self) -> Result<Level, Error> {
        Ok(Level {
            mean: self.f64()?,
            squares: self.size()?,
            readings: self.u32()?,
        })
    }
    fn time(&mut self) -> Result<Timestamp, Error> {
        Timestamp::from_millis(self.u64()?.cast_signed()).ok_or(Error::Payload {
            why: "it holds a time before 1970",
        })
    }
    fn reading(&mut self) -> Result<Reading, Error> {
        Ok(Reading {
            at: self.time()?,
            value: self.f64()?,
        })
    }
    fn length(&mut self, most: usize) -> Result<usize, Error> {
        let n = self.u32()? as usize;
        if n <= most {
            Ok(n)
        } else {
            damaged("it holds a length that no rule allows")
        }
    }
    /// `n` of a kind, in exactly the memory they need: a loaded model is no larger than the one that was saved.
    fn many<T>(
        &mut self,
        n: usize,
        read: impl Fn(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::with_capacity(n);
        for _ in 0..n {
            all.push(read(self)?);
        }
        Ok(all)
    }
    fn choice<T: Copy>(&mut self, all: &[T]) -> Result<T, Error> {
        let index = self.u8()? as usize;
        all.get(index).copied().ok_or(Error::Payload {
            why: "it holds an unknown choice",
        })
    }
    fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => damaged("it holds an unknown choice"),
        }
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
