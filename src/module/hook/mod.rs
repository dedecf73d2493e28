//! The stream hook: every entry added to a watched stream is read, in the server and in the producer's own transaction.
//!
//! The notification of an XADD comes before the entry can be trimmed, so it is captured there, also with MAXLEN 0; but what
//! is written there would reach the AOF before its cause, and on a cluster the wrong slot. So a job at the end of the
//! command takes its readings in, through the same ingest as ADD. Where nobody hears and all sensors of the entry are known, they
//! are taken in at once, and the job has only to do what follows, if anything does (docs/adr/0014). On replicas and while
//! loading nothing is captured: their readings come from the master or the file.

mod arguments;
mod watched;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::rc::Rc;

use anomaly_core::Error;
use anomaly_core::alert::Source;
use anomaly_core::entry::{self, BadEntry, EntryReading, Items};
use anomaly_core::model::Outcome;
use anomaly_core::reading::When;
use anomaly_core::stream_id::StreamId;
use anomaly_core::text::escaped;
use redis_module::raw;
use smallvec::SmallVec;

pub(crate) use arguments::Arguments;
use arguments::Seen;
pub(crate) use watched::Stream;

use crate::commands::TIMED;
use crate::fence::{caught, guard};
use crate::ingest::{self, Due, Early, Given, Taken};
use crate::moving::{self, Slot};
use crate::server::{Ctx, ERR, Entries, Entry, Fields, Key, Mode, OK, OwnedStr, Str, api};
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
    /// What is due for each of its readings, where they were taken in early.
    pub(crate) early: Option<Dues>,
}

type Dues = SmallVec<[Option<Due>; 2]>;

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
        let (ctx, event, stream) = unsafe { (Ctx::new(ctx), CStr::from_ptr(event), Str::new(key)) };
        // Whatever the event: groups may be made with the stream.
        with(|state| {
            if state.cluster {
                state.meet_alert_stream(stream.bytes());
            }
        });
        if event != c"xadd" {
            // These two leave the last id as it is.
            if event != c"xtrim" && event != c"xdel" {
                with(|state| state.forget_last_id(stream.bytes()));
            }
            return OK;
        }
        let seen = with(|state| match state.arguments.of_command(stream) {
            None => state
                .watched(stream.bytes())
                .map(|watched| Seen::unread(stream, watched)),
            seen => seen,
        });
        let Some(seen) = seen else {
            return OK;
        };
        let db = ctx.db();
        // Whatever becomes of the entry: the stream's last id is another from here on.
        let ms = if seen.is_chosen {
            seen.watched.chosen(db, ctx.now())
        } else {
            seen.watched.forget();
            None
        };
        if seen.fields.is_none() {
            arguments::listen(ctx);
        }
        let decides = if seen.id_can_wait {
            audience::leads(ctx)
        } else {
            ctx.decides()
        };
        if decides && !backlog::will_read(db, stream, &seen.watched.watch) {
            timed(|| capture(ctx, db, seen, ms));
        }
        OK
    })
}

/// Keeps the newest entry, and sees to it that it is taken in.
fn capture(ctx: Ctx, db: c_int, seen: Seen, ms: Option<u64>) {
    let can_wait = seen.id_can_wait && (ms.is_some() || seen.finds_time());
    let Seen {
        stream,
        watched,
        fields,
        ..
    } = seen;
    let entry = match fields {
        Some(fields) if can_wait => Entry {
            id: None,
            ms,
            fields,
        },
        fields => {
            let Some((id, entry)) = newest(ctx, stream.borrow(), fields) else {
                return;
            };
            watched.is_at(db, id);
            entry
        }
    };
    let mut captured = Captured {
        db,
        stream,
        watched,
        entry,
        early: None,
    };
    if can_wait {
        captured.early = take_in_early(ctx, &captured);
        let is_done = |dues: &Dues| dues.iter().all(Option::is_none);
        if captured.early.as_ref().is_some_and(is_done) {
            return;
        }
    }
    let first = with(|state| {
        state.captured.push(captured);
        state.captured.len() == 1
    });
    if first && !ctx.after_this(take_in_captured) {
        with(|state| state.captured.clear());
    }
}

/// Takes in the readings of an entry before its command is over, where nothing need be written for that: nobody hears, all
/// sensors are known, and no entry waits. What follows from them may have to wait.
fn take_in_early(ctx: Ctx, captured: &Captured) -> Option<Dues> {
    if with(|state| state.cluster || !state.captured.is_empty()) {
        return None;
    }
    let early = Early::may(ctx)?;
    let Captured {
        db, stream, entry, ..
    } = captured;
    let stream = stream.borrow().bytes();
    let fields = entry.pairs();
    let readings = read(captured, stream, &fields, false);
    let sought: Option<SmallVec<[_; 2]>> = readings
        .iter()
        .map(|reading| {
            let found = reading.as_ref().ok()?;
            early.seek(*db, &found.key, found.reading)
        })
        .collect();
    let taken = readings.iter().flatten().zip(sought?);
    let taken = taken.map(|(found, sought)| {
        let sensor = ctx.string(&found.key);
        let source = source(stream, entry, found);
        let given = given(sensor.borrow(), entry, found, &source);
        early.take(ctx, &given, found.reading, sought)
    });
    Some(taken.collect())
}

/// The readings of an entry.
fn read<'a>(
    captured: &Captured,
    stream: &[u8],
    fields: &[(&'a [u8], &'a [u8])],
    cluster: bool,
) -> Items<'a> {
    let Captured { watched, entry, .. } = captured;
    let shape = &mut watched.shape.borrow_mut();
    entry::read(&watched.watch, stream, entry.ms(), fields, cluster, shape)
}

/// The newest entry of a stream. Where its fields are known they are not read: the server makes a string of each.
fn newest(ctx: Ctx, stream: Str<'_>, fields: Option<Fields>) -> Option<(StreamId, Entry)> {
    let key = Key::open(ctx, stream, Mode::Look);
    if let Some(fields) = fields {
        let (id, count) = Entries::backwards(&key)?.step()?;
        if fields.len() == 2 * count {
            let entry = Entry {
                id: Some(id),
                ms: None,
                fields,
            };
            return Some((id, entry));
        }
    }
    Entries::backwards(&key)?.next()
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
    let Captured { stream, entry, .. } = captured;
    let (stream, fields) = (stream.borrow().bytes(), entry.pairs());
    let cluster = with(|state| state.cluster);
    let readings = read(captured, stream, &fields, cluster);
    let mut early = captured.early.iter().flatten();
    let slot = moving::slot(ctx, stream);
    if slot != Slot::Settled && waits(ctx, captured, slot, &readings) {
        return put_off(ctx, captured);
    }
    for reading in &readings {
        let due = match early.next() {
            Some(None) => continue,
            Some(Some(due)) => Some(due),
            None => None,
        };
        let failed = match reading {
            Err(bad) => Some(why(bad)),
            Ok(reading) => match caught(|| decide(ctx, stream, entry, reading, due)) {
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
            let payload = entry::dead_payload(&fields);
            effects::bury(ctx, stream, id.unwrap_or_default(), &reason, &payload);
        }
    }
}

/// Whether an entry of a stream whose slot moves must wait: nothing can be written where the slot comes to, what it needs has
/// gone ahead where it leaves, or one before it waits.
fn waits(
    ctx: Ctx,
    captured: &Captured,
    slot: Slot,
    readings: &[Result<EntryReading<'_>, BadEntry>],
) -> bool {
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
    found: &EntryReading<'_>,
    due: Option<&Due>,
) -> Result<(), Error> {
    let sensor = ctx.string(&found.key);
    let source = source(stream, entry, found);
    let given = given(sensor.borrow(), entry, found, &source);
    let decided = match due {
        Some(due) => due.follow(ctx, &given),
        None => ingest::decide(ctx, &given, &mut Outcome::default(), &mut Taken::default()),
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

/// Where a reading was read.
fn source<'a>(stream: &'a [u8], entry: &Entry, found: &'a EntryReading<'_>) -> Source<'a> {
    Source {
        device: &found.device,
        metric: &found.metric,
        stream,
        id: entry.id,
    }
}

fn given<'a>(
    sensor: Str<'a>,
    entry: &'a Entry,
    found: &EntryReading<'_>,
    source: &'a Source<'a>,
) -> Given<'a> {
    Given {
        sensor,
        when: When::At(found.reading.at),
        value: found.reading.value,
        at_word: None,
        value_word: found.field.and_then(|field| entry.value(field)),
        source: Some(source),
        explain: false,
    }
}

fn why(bad: &BadEntry) -> String {
    match &bad.metric {
        Some(metric) => format!("{}: {}", escaped(metric), bad.reason),
        None => bad.reason.clone(),
    }
}

/// Times one in so many entries.
fn timed(work: impl FnOnce()) {
    let sampled = with(|state| {
        state.counts.hook_steps += 1;
        state.counts.hook_steps % TIMED == 1
    });
    if !sampled {
        return work();
    }
    let ((), took) = samples::timed_apart(work);
    with(|state| {
        state.counts.hook_timed_steps += 1;
        state.counts.hook_nanoseconds += took;
    });
}
