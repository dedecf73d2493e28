//! Readings that are taken in before the command that brings them is over (docs/adr/0014).

use std::ffi::c_int;

use anomaly_core::plain::Usually;
use anomaly_core::units::Timestamp;
use smallvec::SmallVec;

use super::entry::{Found, Words};
use super::read;
use super::watched::Stream;
use crate::ingest::{Due, Early};
use crate::known::Sought;
use crate::server::Ctx;

/// What is due for some readings of an entry, by their positions.
pub(super) type Dues = Vec<(usize, Due)>;

/// What became of an entry before its command was over.
pub(super) enum Taken {
    /// It is yet to be taken in.
    Not,
    /// It was, and nothing follows.
    AndDone,
    /// It was, and that follows.
    AndDue(Dues),
}

impl From<Dues> for Taken {
    fn from(dues: Dues) -> Self {
        if dues.is_empty() {
            Self::AndDone
        } else {
            Self::AndDue(dues)
        }
    }
}

/// Takes in the readings of an entry before its command is over, where nothing need be written for that: nobody hears, all
/// sensors are known, and no entry waits. What follows from them may have to wait.
pub(super) fn take_in(
    ctx: Ctx,
    db: c_int,
    now: Timestamp,
    watched: &Stream,
    ms: Option<u64>,
    words: &Words,
) -> Taken {
    let Some(early) = Early::may(ctx, db, now) else {
        return Taken::Not;
    };
    let (watch, name, value) = (&watched.watch, &watched.name, |at| words.bytes(at));
    let usually = Usually::new(watch, name, ms, &words.shape, value);
    if let Some(usually) = &usually
        && usually.most() == 1
        && let Some(Some(found)) = usually.nth(0)
    {
        let found = Found::plain(&usually.common, &found);
        return match early.seek(found.key, found.reading) {
            None => Taken::Not,
            Some(sought) => match take_one(ctx, watched, words, &early, &found, sought) {
                None => Taken::AndDone,
                Some(due) => Taken::AndDue(vec![(0, due)]),
            },
        };
    }
    if let Some(usually) = &usually
        && let Some(all) = usually.all()
    {
        let found = all.iter().map(|found| Found::plain(&usually.common, found));
        return take_all(ctx, watched, words, &early, found);
    }
    take_any(ctx, watched, ms, words, &early)
}

/// The same for an entry that is read in another way than the usual.
#[inline(never)]
fn take_any(ctx: Ctx, watched: &Stream, ms: Option<u64>, words: &Words, early: &Early) -> Taken {
    let values = words.values();
    let readings = read(watched, ms, words, &values, false);
    if readings.iter().any(Result::is_err) {
        return Taken::Not;
    }
    let found = readings.iter().flatten().map(Found::any);
    take_all(ctx, watched, words, early, found)
}

#[inline(never)]
fn take_all<'a>(
    ctx: Ctx,
    watched: &Stream,
    words: &Words,
    early: &Early,
    readings: impl Iterator<Item = Found<'a>> + Clone,
) -> Taken {
    let mut all: SmallVec<[_; 4]> = SmallVec::new();
    for found in readings.clone() {
        let Some(sought) = early.seek(found.key, found.reading) else {
            return Taken::Not;
        };
        all.push(sought);
    }
    let mut dues = Dues::new();
    for (at, (found, sought)) in readings.zip(all).enumerate() {
        if let Some(due) = take_one(ctx, watched, words, early, &found, sought) {
            dues.push((at, due));
        }
    }
    dues.into()
}

#[inline(always)]
fn take_one(
    ctx: Ctx,
    watched: &Stream,
    words: &Words,
    early: &Early,
    found: &Found<'_>,
    sought: Sought<'_>,
) -> Option<Due> {
    let sensor = ctx.string(found.key);
    let source = found.source(&watched.name, None);
    let given = found.given(sensor.borrow(), words, &source);
    early.take(ctx, &given, found.reading, sought)
}
