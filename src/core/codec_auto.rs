//! The block of `auto`: its fields stand once, in the order in which they are stored.
//!
//! Versions 2 and 3 knew three experts and forgot at other rates. What they had learnt says nothing of the fourth, which would take
//! its first error for an anomaly, so that such a sensor's `auto` begins anew, and everything else of it is kept.

use super::{Reader, Writer, damaged};
use crate::detect::Auto;
use crate::detect::auto::{LARGEST_ROOT, MOST_LIFTED, PROTOTYPES, STATE_FARTHEST};
use crate::error::Error;

/// A field of the state, to be written or read.
enum Field<'a> {
    Bool(&'a mut bool),
    U16(&'a mut u16),
    U32(&'a mut u32),
    I32(&'a mut i32),
    U64(&'a mut u64),
    F32(&'a mut f32),
    F64(&'a mut f64),
}

/// Visits every field.
fn each(
    auto: &mut Auto,
    mut visit: impl FnMut(Field<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    visit(Field::F64(&mut auto.anchor))?;
    visit(Field::F64(&mut auto.unit))?;
    visit(Field::U64(&mut auto.season))?;
    visit(Field::U32(&mut auto.readings))?;
    visit(Field::U32(&mut auto.varied))?;
    visit(Field::F32(&mut auto.interval))?;
    let tracks = &mut auto.tracks;
    let shape = &mut tracks.shape;
    for level in [
        &mut tracks.last,
        &mut tracks.recent,
        &mut tracks.fast,
        &mut tracks.long,
        &mut shape.centre,
        &mut tracks.climb.start,
    ] {
        visit(Field::F64(level))?;
    }
    for mean in &mut shape.means {
        visit(Field::F64(mean))?;
    }
    visit(Field::I32(&mut tracks.climb.steps))?;
    visit(Field::F32(&mut tracks.noise))?;
    visit(Field::F32(&mut tracks.peak))?;
    let shapes = shape.lively.iter_mut().chain(&mut shape.usual);
    for x in tracks
        .errors
        .iter_mut()
        .chain(shapes)
        .chain(&mut shape.spread)
    {
        visit(Field::F32(x))?;
    }
    for x in tracks
        .range
        .values
        .iter_mut()
        .chain(&mut tracks.range.lively)
    {
        visit(Field::F32(x))?;
    }
    let odds = &mut tracks.odds;
    let usual = odds.level.iter_mut().zip(&mut odds.mean);
    let spread = odds.variance.iter_mut().zip(&mut odds.change);
    for ((level, mean), (variance, change)) in usual.zip(spread) {
        for x in [level, mean, variance, change] {
            visit(Field::F32(x))?;
        }
    }
    let control = &mut auto.control;
    for lift in &mut control.lifts {
        visit(Field::F32(lift))?;
    }
    visit(Field::F32(&mut control.common))?;
    for since in &mut control.since {
        visit(Field::U16(since))?;
    }
    visit(Field::U16(&mut control.quiet))?;
    visit(Field::U16(&mut control.run))?;
    visit(Field::Bool(&mut control.waits))?;
    let profile = &mut auto.profile;
    for x in profile.values.iter_mut().chain(&mut profile.noises) {
        visit(Field::F32(x))?;
    }
    for readings in &mut profile.readings {
        visit(Field::U16(readings))?;
    }
    for place in 0..PROTOTYPES {
        for row in &mut auto.novelty.met {
            let mut number = row.get(place);
            visit(Field::U16(&mut number))?;
            row.set(place, number);
        }
    }
    Ok(())
}

pub(super) fn save(out: &mut Writer, auto: &Auto) {
    let mut auto = auto.clone();
    let written = each(&mut auto, |field| {
        match field {
            Field::Bool(x) => out.u8(u8::from(*x)),
            Field::U16(x) => out.u16(*x),
            Field::U32(x) => out.u32(*x),
            Field::I32(x) => out.u32(x.cast_unsigned()),
            Field::U64(x) => out.u64(*x),
            Field::F32(x) => out.f32(*x),
            Field::F64(x) => out.f64(*x),
        }
        Ok(())
    });
    debug_assert!(written.is_ok(), "writing cannot fail");
}

/// Bytes of the block as versions 2 and 3 wrote it.
const BYTES_3: usize = 655;

/// Passes over a block of versions 2 and 3.
pub(super) fn anew(from: &mut Reader<'_>) -> Result<Auto, Error> {
    from.many(BYTES_3, Reader::u8)?;
    Ok(Auto::default())
}

pub(super) fn load(from: &mut Reader<'_>) -> Result<Auto, Error> {
    let mut auto = Auto::default();
    each(&mut auto, |field| {
        match field {
            Field::Bool(x) => *x = from.choice(&[false, true])?,
            Field::U16(x) => *x = from.u16()?,
            Field::U32(x) => *x = from.u32()?,
            Field::I32(x) => *x = from.u32()?.cast_signed(),
            Field::U64(x) => *x = from.u64()?,
            Field::F32(x) => *x = from.f32()?,
            Field::F64(x) => *x = from.f64()?,
        }
        Ok(())
    })?;
    let mut far = false;
    let (anchor, unit) = (auto.anchor, auto.unit);
    (auto.anchor, auto.unit) = (0.0, 0.0);
    each(&mut auto, |field| {
        far |= match field {
            Field::F32(x) => x.abs() > STATE_FARTHEST,
            Field::F64(x) => x.abs() > f64::from(STATE_FARTHEST),
            _ => false,
        };
        Ok(())
    })?;
    (auto.anchor, auto.unit) = (anchor, unit);
    let tracks = &auto.tracks;
    let positive = [
        unit >= 0.0,
        auto.interval >= 0.0,
        auto.control.common >= 0.0,
    ];
    let sizes = [tracks.noise, tracks.peak]
        .into_iter()
        .chain(tracks.errors)
        .chain(tracks.shape.lively)
        .chain(tracks.shape.spread)
        .chain(tracks.range.lively)
        .chain(tracks.odds.level)
        .chain(tracks.odds.mean)
        .chain(tracks.odds.variance)
        .chain(tracks.odds.change)
        .chain(auto.control.lifts)
        .chain(auto.profile.noises);
    // What is squared or multiplied must not come out beyond what may be stored.
    let mut lifts = auto.control.lifts.into_iter().chain([auto.control.common]);
    let [lowest, highest] = tracks.range.values;
    if far
        || lowest > 0.0
        || highest < 0.0
        || tracks.odds.mean.iter().any(|mean| *mean > LARGEST_ROOT)
        || lifts.any(|lift| lift > MOST_LIFTED)
        || positive.contains(&false)
        || sizes.into_iter().any(|x| x < 0.0)
        || auto.varied > auto.readings
    {
        return damaged("what auto has learnt contradicts itself");
    }
    Ok(auto)
}
