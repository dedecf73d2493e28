//! The stream hook: every entry added to a watched stream is read, in the server and in the producer's own transaction.
//!
//! The notification of an XADD comes before the entry can be trimmed, so it is captured there, also with MAXLEN 0; but what
//! is written there would reach the AOF before its cause, and on a cluster the wrong slot. So a job at the end of the
//! command takes its readings in, through the same ingest as ADD. Where nobody hears and all sensors of the entry are known, they
//! are taken in at once, and the job has only to do what follows, if anything does (docs/adr/0014). On replicas and while
//! loading nothing is captured: their readings come from the master or the file.

mod arguments;
mod early;
mod entry;
mod watched;

use std::ffi::{c_char, c_int, c_void};
use std::rc::Rc;

use anomaly_core::Error;
use anomaly_core::entry::{self as entries, BadEntry, Item, Items};
use anomaly_core::model::Outcome;
use anomaly_core::stream_id::StreamId;
use anomaly_core::text::escaped;
use anomaly_core::units::Timestamp;
use redis_module::raw;

pub(crate) use arguments::Arguments;
use arguments::Seen;
use early::{Dues, Taken};
use entry::{Entry, Found, Words};
use watched::Stream;
pub(crate) use watched::Streams;

use crate::commands::TIMED;
use crate::fence::{caught, guard};
use crate::ingest::{self, Due};
use crate::moving::{self, Slot};
use crate::server::{Ctx, ERR, Entries, Event, Key, Mode, OK, OwnedStr, Str, api};
use crate::state::with;
use crate::{audience, backlog, effects, samples};

/// Room for so many captured entries is kept from one command to the next.
const KEPT: usize = 64;

/// An entry of a watched stream that is to be taken in.
pub(crate) struct Captured {
    pub(crate) db: c_int,
    pub(crate) stream: OwnedStr,
    pub(crate) watched: Rc<Stream>,
    pub(crate) entry: Entry,
    /// What is due for its readings, where they were taken in early.
    pub(crate) early: Option<Dues>,
}

pub(crate) fn subscribe(ctx: Ctx) -> Result<(), String> {
    let kinds = raw::REDISMODULE_NOTIFY_STREAM as c_int;
    // SAFETY: a live context and a callback of the type the server expects.
    let status = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents(
            ctx.raw(),
            kinds,
            Some(on_stream_event)
        ))
    };
    if status == OK {
        Ok(())
    } else {
        Err("the server refused a subscription to streams".into())
    }
}

unsafe extern "C" fn on_stream_event(
    ctx: *mut raw::RedisModuleCtx,
    _: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard(ERR, || {
        // SAFETY: the server gives a live context, a C string and a live name.
        let (ctx, event, stream) = unsafe { (Ctx::new(ctx), Event::new(event), Str::new(key)) };
        let adds = event.is(c"xadd");
        let mut seen = with(|state| {
            // Whatever the event: groups may be made with the stream.
            if state.cluster {
                state.meet_alert_stream(stream.bytes());
            }
            if !adds {
                // These two leave the last id as it is.
                if !event.is(c"xtrim") && !event.is(c"xdel") {
                    state.forget_last_id(stream.bytes());
                }
                return None;
            }
            let seen = state.arguments.of_command(stream);
            seen.or_else(|| Seen::unread(state, stream))
        });
        if seen.is_some() {
            on_entry(ctx, stream, &mut seen);
        }
        OK
    })
}

/// An entry was added to a watched stream.
fn on_entry(ctx: Ctx, stream: Str<'_>, place: &mut Option<Seen>) {
    let Some(seen) = place else {
        return;
    };
    let (db, now) = (ctx.db(), ctx.now());
    // Whatever becomes of the entry: the stream's last id is another from here on.
    let ms = if seen.is_chosen {
        seen.watched.chosen(db, now)
    } else {
        seen.watched.forget();
        None
    };
    // The id need not be known, now.
    let can_wait = match &seen.words {
        Some(words) => seen.id_can_wait && (ms.is_some() || words.shape.finds_time()),
        None => {
            arguments::listen(ctx);
            false
        }
    };
    let decides = if seen.id_can_wait {
        audience::leads(ctx)
    } else {
        ctx.decides()
    };
    if decides && !backlog::will_read(db, stream, &seen.watched.watch) {
        timed(|| capture(ctx, db, now, ms, can_wait, place));
    }
}

/// Sees to it that the entry is taken in.
fn capture(
    ctx: Ctx,
    db: c_int,
    now: Timestamp,
    ms: Option<u64>,
    can_wait: bool,
    place: &mut Option<Seen>,
) {
    let taken = match place {
        Some(Seen {
            watched,
            words: Some(words),
            ..
        }) if can_wait => early::take_in(ctx, db, now, watched, ms, words),
        _ => Taken::Not,
    };
    let early = match taken {
        Taken::AndDone => return,
        Taken::AndDue(dues) => Some(dues),
        Taken::Not => None,
    };
    if let Some(seen) = place.take() {
        keep(ctx, db, seen, ms, can_wait, early);
    }
}

/// Keeps the newest entry for the job at the end of the command.
#[inline(never)]
fn keep(ctx: Ctx, db: c_int, seen: Seen, ms: Option<u64>, can_wait: bool, early: Option<Dues>) {
    let Seen {
        stream,
        watched,
        words,
        ..
    } = seen;
    let entry = match words {
        Some(words) if can_wait => Entry {
            id: None,
            ms,
            words,
        },
        words => {
            let Some((id, entry)) = newest(ctx, stream.borrow(), &watched, words) else {
                return;
            };
            watched.is_at(db, id);
            entry
        }
    };
    let captured = Captured {
        db,
        stream,
        watched,
        entry,
        early,
    };
    let first = with(|state| {
        state.captured.push(captured);
        state.captured.len() == 1
    });
    if first && !ctx.after_this(take_in_captured) {
        with(|state| state.captured.clear());
    }
}

/// The readings of an entry, which has these values.
fn read<'a>(
    watched: &Stream,
    ms: Option<u64>,
    words: &'a Words,
    values: &[&'a [u8]],
    cluster: bool,
) -> Items<'a> {
    let (watch, name, shape) = (&watched.watch, &watched.name, &words.shape);
    entries::read(watch, name, ms, shape, values, cluster)
}

/// The newest entry of a stream. Where its words were seen they are not read: the server makes a string of each.
fn newest(
    ctx: Ctx,
    stream: Str<'_>,
    watched: &Stream,
    seen: Option<Words>,
) -> Option<(StreamId, Entry)> {
    let key = Key::open(ctx, stream, Mode::Look);
    if let Some(words) = seen {
        let (id, count) = Entries::backwards(&key)?.step()?;
        if words.values.len() == count {
            let entry = Entry {
                id: Some(id),
                ms: None,
                words,
            };
            return Some((id, entry));
        }
    }
    let (id, fields) = Entries::backwards(&key)?.next()?;
    Some((id, watched.entry(id, fields)))
}

/// The id of a stream's newest entry.
pub(crate) fn newest_id(ctx: Ctx, stream: &[u8]) -> Option<StreamId> {
    let name = ctx.string(stream);
    let key = Key::open(ctx, name.borrow(), Mode::Look);
    let (id, _) = Entries::backwards(&key)?.step()?;
    Some(id)
}

unsafe extern "C" fn take_in_captured(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        let before = ctx.db();
        let mut all = with(|state| std::mem::take(&mut state.captured));
        for captured in all.drain(..) {
            if ctx.db() == captured.db || ctx.select(captured.db) {
                timed(|| take_in(ctx, &captured));
            }
        }
        ctx.select(before);
        with(|state| {
            // What was done here may itself have had another module add to a watched stream, which a job of its own takes in.
            if state.captured.is_empty() && all.capacity() <= KEPT {
                state.captured = all;
            }
        });
    });
}

/// Takes in the readings of an entry. What cannot be is a dead letter: the producer's XADD has succeeded.
pub(crate) fn take_in(ctx: Ctx, captured: &Captured) {
    let Captured {
        stream,
        watched,
        entry,
        early,
        ..
    } = captured;
    let (stream, values) = (stream.borrow().bytes(), entry.words.values());
    let cluster = with(|state| state.cluster);
    let readings = read(watched, entry.ms(), &entry.words, &values, cluster);
    let slot = moving::slot(ctx, stream);
    if slot != Slot::Settled && waits(ctx, captured, slot, &readings) {
        return put_off(ctx, captured);
    }
    for (at, reading) in readings.iter().enumerate() {
        let due = match early {
            Some(dues) => match dues.iter().find(|(of, _)| *of == at) {
                Some((_, due)) => Some(due),
                None => continue,
            },
            None => None,
        };
        let failed = match reading {
            Err(bad) => Some(why(bad)),
            Ok(reading) => match caught(|| decide(ctx, stream, entry, Found::any(reading), due)) {
                Some(Ok(())) => None,
                Some(Err(error)) => Some(error.to_string().trim_start_matches("ERR ").to_owned()),
                None => Some(Error::Broken.to_string()),
            },
        };
        if let Some(reason) = failed {
            if slot != Slot::Settled && !moving::has_dead(ctx, stream) {
                return put_off(ctx, captured);
            }
            let id = entry.id.or_else(|| newest_id(ctx, stream));
            let payload = entries::dead_payload(&entry.words.pairs());
            effects::bury(ctx, stream, id.unwrap_or_default(), &reason, &payload);
        }
    }
}

/// Whether an entry of a stream whose slot moves must wait: nothing can be written where the slot comes to, what it needs has
/// gone ahead where it leaves, or one before it waits.
fn waits(ctx: Ctx, captured: &Captured, slot: Slot, readings: &[Item<'_>]) -> bool {
    let stream = captured.stream.borrow().bytes();
    slot == Slot::Coming
        || backlog::is_put_off(&(captured.db, stream.to_vec()))
        || readings.iter().any(|reading| match reading {
            Err(_) => !moving::has_dead(ctx, stream),
            Ok(found) => {
                let sensor = ctx.string(&found.key);
                let checked = moving::check_reading(ctx, sensor.borrow(), found.reading);
                matches!(checked, Err(Error::TryAgain { .. }))
            }
        })
}

/// The stream keeps the entry until then.
fn put_off(ctx: Ctx, captured: &Captured) {
    let stream = captured.stream.borrow().bytes();
    if let Some(id) = captured.entry.id.or_else(|| newest_id(ctx, stream)) {
        backlog::put_off(ctx, (captured.db, stream.to_vec()), id);
    }
}

/// Takes in a reading, or does what is due for one that was taken in early.
fn decide(
    ctx: Ctx,
    stream: &[u8],
    entry: &Entry,
    found: Found<'_>,
    due: Option<&Due>,
) -> Result<(), Error> {
    let sensor = ctx.string(found.key);
    let source = found.source(stream, entry.id);
    let given = found.given(sensor.borrow(), &entry.words, &source);
    let decided = match due {
        Some(due) => due.follow(ctx, &given),
        None => ingest::decide(
            ctx,
            &given,
            &mut Outcome::default(),
            &mut ingest::Taken::default(),
        ),
    };
    decided.inspect_err(|error| {
        if matches!(error, Error::TooManySensors { .. }) {
            effects::failed(
                ctx,
                "a watched stream may create no more sensors",
                &error.to_string(),
            );
        }
    })
}

fn why(bad: &BadEntry) -> String {
    match &bad.metric {
        Some(metric) => format!("{}: {}", escaped(metric), bad.reason),
        None => bad.reason.clone(),
    }
}

/// Times one in so many entries.
#[inline]
fn timed(work: impl FnOnce()) {
    let sampled = with(|state| {
        state.counts.hook_steps += 1;
        state.counts.hook_steps % TIMED == 1
    });
    if sampled {
        time(work);
    } else {
        work();
    }
}

#[cold]
fn time(work: impl FnOnce()) {
    let ((), took) = samples::timed_apart(work);
    with(|state| {
        state.counts.hook_timed_steps += 1;
        state.counts.hook_nanoseconds += took;
    });
}
