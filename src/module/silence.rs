//! The timers of sensors: `nodata` and `expire`.
//!
//! Each sensor whose rules ask for it has one deadline. A reading does not touch it: it notes its arrival in the model, and
//! when the deadline has passed, the model is looked at and the deadline put off to what it has become. So a reading costs
//! nothing, a sensor one look in each `nodata`, and what is not due is never visited: 100,000 sensors that are silent for as
//! long as they may be cost nothing at all.
//!
//! The master decides. What it has decided goes through the same alarm as a reading and is passed on as
//! `ANOMALY._SILENT 1 key instant ms`, with the alert that follows, in one transaction; a sensor that is forgotten, as UNLINK.
//! Replicas know all deadlines and do nothing at them, so that a promoted one can go on at once. A silence is never counted
//! from before the server began to listen (it was started or promoted, or could take no readings in): every sensor has its
//! full time from then. The same holds on a cluster while it is down, and of a sensor whose slot is nobody's.

use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use anomaly_core::alert::Alert;
use anomaly_core::model::Outcome;
use anomaly_core::silence::{Due, Silence};
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model, Reading};
use redis_module::raw;

use crate::fence::{caught, guard};
use crate::moving::{self, Slot};
use crate::server::{Args, Called, Ctx, Key, Mode, Served, Str};
use crate::slices::Start;
use crate::state::{Place, State, with};
use crate::{datatype, effects, ingest, keyspace, scan};

/// Longest slice of work.
const SLICE: Duration = Duration::from_micros(500);
/// Time to the next slice, in ms, where there is more to do.
const PAUSE: i64 = 1;
/// Longest time to the next look at what is due, in ms: an alert comes no later than that.
const TICK: i64 = 50;
/// The timer is late by more than that, in ms, where the server was held up: what was sent meanwhile is yet to be read.
const LATE: i64 = 100;
/// Sensors forgotten in a slice with an open episode: each writes an alert when the slice is over.
const MOST_RESOLVED: usize = 50;
/// Time until a sensor that could not be forgotten is looked at again, in ms.
const RETRY: u64 = 1000;
/// Version of `_SILENT`.
const VERSION: &[u8] = b"1";

/// A sensor with a deadline.
#[derive(Clone)]
pub(crate) struct Timed {
    pub(crate) place: Place,
    /// Silence before that does not count.
    since: Timestamp,
}

/// A walk over all databases for sensors whose deadlines are not known, or may have become earlier.
pub(crate) struct Sweep {
    db: c_int,
    walk: scan::Walk,
}

impl State {
    /// Sees to it that a sensor has the deadline that its rules ask for. Silence before `since` does not count.
    pub(crate) fn time(
        &mut self,
        db: c_int,
        key: &[u8],
        model: &mut Model,
        since: Timestamp,
        now: Timestamp,
    ) {
        let profile = model.profile(key, &mut self.rules);
        let known = self.timers.get(model.timer);
        let known = known.filter(|timed| timed.place.0 == db && timed.place.1 == key);
        let since = known.map_or(since, |timed| timed.since);
        let next = model.next_look(&profile, self.heard_since(model, since), now);
        match (known.is_some(), next) {
            (true, Some(due)) => self.timers.put_off(model.timer, due),
            (true, None) => {
                self.timers.remove(model.timer);
                model.set_timer(0);
            }
            (false, Some(due)) => {
                let place = (db, key.to_vec());
                model.set_timer(self.timers.add(due, Timed { place, since }));
            }
            (false, None) => model.set_timer(0),
        }
    }

    /// What a sensor's silence counts from: its newest arrival or, if that is later, `since` or when this server began to
    /// listen; and as much later as the server was held up meanwhile.
    fn heard_since(&self, model: &Model, since: Timestamp) -> Timestamp {
        self.stalls
            .after(model.arrived.max(since).max(self.listening_since))
    }

    /// A sensor leaves the keyspace, or its name does.
    pub(crate) fn stop_timing(&mut self, db: c_int, key: &[u8], model: &Model) {
        let timed = self.timers.get(model.timer);
        if timed.is_some_and(|timed| timed.place.0 == db && timed.place.1 == key) {
            self.timers.remove(model.timer);
        }
    }
}

/// All sensors are to be looked for, where any rule asks for timers.
pub(crate) fn sweep(ctx: Ctx) {
    with(|state| {
        let asked = state.rules.listen();
        state.sweep = asked.then(|| Sweep {
            db: 0,
            walk: scan::Walk::new(),
        });
    });
    wake(ctx);
}

/// This server begins to listen: no silence from before counts.
pub(crate) fn listen(ctx: Ctx) {
    with(|state| state.listening_since = ctx.now());
    wake(ctx);
}

/// Sees to it that what is due is looked at.
pub(crate) fn wake(ctx: Ctx) {
    let asleep = with(|state| {
        let idle = state.timers.is_empty() && state.sweep.is_none();
        !idle && !std::mem::replace(&mut state.timers_awake, true)
    });
    if asleep {
        tick_after(ctx, PAUSE);
    }
}

fn tick_after(ctx: Ctx, ms: i64) {
    with(|state| state.tick_due = ctx.now().plus(ms.unsigned_abs()));
    ctx.after(ms, on_timer);
}

/// Whether the timer is late: the server was stopped, or busy with something else, or its clock was put forward. Readings
/// that were sent meanwhile wait to be read.
fn was_held_up(ctx: Ctx) -> bool {
    let now = ctx.now();
    with(|state| {
        let late = now.since(state.tick_due);
        if late > LATE {
            state.stalls.add(now, late.unsigned_abs());
        }
        late > LATE
    })
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        with(|state| state.timers_awake = false);
        let start = Start::now();
        let end = start.plus(SLICE);
        let held_up = was_held_up(ctx);
        let swept = caught(|| go_on_sweeping(ctx, end)).unwrap_or(true);
        if swept && ctx.decides() && !held_up {
            if ctx.may_write() && ctx.takes_writes() && !is_down(ctx) {
                caught(|| look_at_what_is_due(ctx, end));
            } else {
                // Readings cannot come in either: their absence means nothing.
                with(|state| state.listening_since = ctx.now());
            }
        }
        go_to_sleep(ctx);
        with(|state| state.counts.timers.add(&start));
    });
}

/// Whether this is a node of a cluster that is down. Asked for the first sensor: where that one's slot is no longer this
/// node's, it is put off when it is looked at, and the next is asked for.
fn is_down(ctx: Ctx) -> bool {
    let first = with(|state| {
        let (_, number) = state.timers.first().filter(|_| state.cluster)?;
        state.timers.get(number).map(|timed| timed.place.1.clone())
    });
    first.is_some_and(|name| ctx.serves(ctx.string(&name).borrow()) == Served::Down)
}

/// Until the next deadline, but no longer than a tick. A replica that has swept sleeps until it is promoted.
fn go_to_sleep(ctx: Ctx) {
    let now = ctx.now();
    let pause = with(|state| {
        let sweeps = state.sweep.is_some();
        let first = state.timers.first().filter(|_| ctx.decides());
        let pause = match first {
            _ if sweeps => PAUSE,
            Some((due, _)) => due.since(now).clamp(PAUSE, TICK),
            None => return None,
        };
        state.timers_awake = true;
        Some(pause)
    });
    if let Some(pause) = pause {
        tick_after(ctx, pause);
    }
}

/// Walks on over the keyspace; whether there is nothing left to walk over.
fn go_on_sweeping(ctx: Ctx, end: Instant) -> bool {
    let Some(mut sweep) = with(|state| state.sweep.take()) else {
        return true;
    };
    while ctx.select(sweep.db) {
        let mut names = Vec::new();
        let over = sweep.walk.step(ctx, |name| names.push(name.to_vec()));
        let now = ctx.now();
        for name in names {
            let mut key = Key::open(ctx, ctx.string(&name).borrow(), Mode::Look);
            if let Ok(Some(model)) = datatype::model(&mut key) {
                // Where no arrival is known, the time begins now.
                let unknown = model.arrived == Timestamp::ZERO;
                let since = if unknown { now } else { Timestamp::ZERO };
                with(|state| state.time(sweep.db, &name, model, since, now));
            }
        }
        if over {
            sweep = Sweep {
                db: sweep.db + 1,
                walk: scan::Walk::new(),
            };
        }
        if Instant::now() >= end {
            with(|state| state.sweep = Some(sweep));
            return false;
        }
    }
    true
}

fn look_at_what_is_due(ctx: Ctx, end: Instant) {
    let now = ctx.now();
    while let Some((due, number)) = with(|state| state.timers.first())
        && due <= now
    {
        look(ctx, number, now);
        let resolved = with(|state| state.unlinked.len());
        if Instant::now() >= end || resolved >= MOST_RESOLVED {
            return;
        }
    }
}

/// Looks at a sensor whose deadline has passed, and gives it the next one.
fn look(ctx: Ctx, number: u32, now: Timestamp) {
    let timed = with(|state| {
        state.counts.looks += 1;
        // Whatever happens, it is not the first in the queue for ever.
        state.timers.put_off(number, now.plus(RETRY));
        state.timers.get(number).cloned()
    });
    let Some(Timed {
        place: (db, name),
        since,
    }) = timed
    else {
        return;
    };
    if moving::slot(ctx, &name) != Slot::Settled {
        return; // what it would write may be on the other node: it is looked at again
    }
    let sensor = ctx.string(&name);
    match with(|state| state.cluster).then(|| ctx.serves(sensor.borrow())) {
        None | Some(Served::Here) => {}
        // Its readings cannot come in either, nor those of any other.
        Some(Served::Down) => return with(|state| state.listening_since = now),
        Some(Served::Elsewhere) => {
            return with(|state| {
                if let Some(timed) = state.timers.get_mut(number) {
                    timed.since = now.plus(RETRY);
                }
            });
        }
    }
    let due = ctx.select(db).then(|| {
        let mut key = Key::open(ctx, sensor.borrow(), Mode::Look);
        let model = datatype::model(&mut key).ok().flatten();
        let model = model.filter(|model| model.timer == number)?;
        with(|state| {
            let profile = model.profile(&name, &mut state.rules);
            Some(model.due(&profile, state.heard_since(model, since), now))
        })
    });
    match due.flatten() {
        Some(Due::Forget) => return forget(ctx, sensor.borrow()),
        Some(Due::Judge(silence)) => decide(ctx, sensor.borrow(), silence),
        Some(Due::Nothing) => {}
        None => {
            with(|state| state.timers.remove(number));
            return;
        }
    }
    let mut key = Key::open(ctx, sensor.borrow(), Mode::Look);
    if let Ok(Some(model)) = datatype::model(&mut key) {
        with(|state| state.time(db, &name, model, since, now));
    }
}

/// Takes in a silence by this server's decision, and does what follows.
fn decide(ctx: Ctx, sensor: Str<'_>, silence: Silence) {
    match take(ctx, sensor, silence) {
        Ok(Some((_, _, alert))) => {
            let version = ctx.string(VERSION);
            let (at, ms) = (ctx.integer(silence.at.millis()), ctx.integer(silence.ms));
            let words = [version.borrow(), sensor, at.borrow(), ms.borrow()];
            ctx.replicate(c"ANOMALY._SILENT", &words);
            if let Some(alert) = alert {
                effects::tell(ctx, sensor, &alert);
            }
        }
        Ok(None) => {}
        Err(error) => {
            effects::failed(ctx, "a silence could not be judged", &error.to_string());
            let _ = ingest::reset(ctx, sensor);
        }
    }
}

/// `_silent version key instant ms`: what a master decided, for replicas and the AOF.
pub(crate) fn apply(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if args.bytes(1) != VERSION {
        return Err(Error::Version {
            given: args.bytes(1).to_vec(),
        });
    }
    let sensor = args.get(2).ok_or(Error::WrongType)?;
    let (at, ms) = (
        Timestamp::parse(args.bytes(3))?,
        Timestamp::parse(args.bytes(4))?.millis(),
    );
    if let Some((_, outcome, _)) = take(ctx, sensor, Silence { at, ms })?
        && let Some((event, _)) = &outcome.transition
    {
        effects::notify(ctx, sensor, *event);
    }
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}

type Taken = Option<(Reading, Outcome, Option<Alert>)>;

/// The change of the model, and the alert it asks for.
fn take(ctx: Ctx, sensor: Str<'_>, silence: Silence) -> Result<Taken, Error> {
    let (name, db) = (sensor.bytes(), ctx.db());
    let mut key = Key::open(ctx, sensor, Mode::Change);
    let Some(model) = datatype::model(&mut key)? else {
        return Ok(None);
    };
    let taken = caught(|| {
        with(|state| {
            let (reading, outcome) = model.silent(name, silence, &mut state.rules)?;
            state.counts.suppressed += u64::from(outcome.suppressed);
            state.track(db, name, model);
            let profile = model.profile(name, &mut state.rules);
            let alert = Alert::of_outcome(name, reading, &outcome, &profile, None);
            Some((reading, outcome, alert))
        })
    });
    ctx.modified(sensor);
    taken.ok_or(Error::Broken)
}

/// Deletes a sensor that has sent nothing for as long as `expire` says. Its series stays.
fn forget(ctx: Ctx, sensor: Str<'_>) {
    match ctx.call_and_replicate(c"UNLINK", &[sensor]) {
        Called::Refused(why) => effects::failed(ctx, "a sensor could not be forgotten", &why),
        _ => {
            keyspace::forgotten(ctx.db(), sensor);
            with(|state| state.counts.forgotten += 1);
        }
    }
}
