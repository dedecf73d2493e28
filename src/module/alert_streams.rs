//! The alert streams of a node of a cluster: one for each hash tag that ever had an alert.
//!
//! Only the keyspace knows them, and a walk over a million keys takes a second: nobody may be held up by one, least of all
//! each second, as `anomaly alerts` asks. So the streams are kept in mind: one that is added to, made, restored or renamed is
//! told of by its event, on replicas and while an AOF is loaded too. Only an RDB file tells nothing. Whoever asks first after
//! one was loaded waits for a walk in slices, during which events go on to be listened to. What is gone is seen when the
//! streams are listed.

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};
use std::time::{Duration, Instant};

use anomaly_core::command::Reply;
use anomaly_core::{Error, key};
use redis_module::raw;

use crate::fence::{caught, guard};
use crate::server::{Blocked, Ctx, Key, Mode, OK, User};
use crate::state::{State, with};
use crate::{reply, scan};

/// Longest slice of a walk.
const SLICE: Duration = Duration::from_micros(500);
/// Time between slices, in ms.
const PAUSE: i64 = 1;

#[derive(Default)]
pub(crate) struct AlertStreams {
    known: BTreeSet<Vec<u8>>,
    /// There are no others.
    complete: bool,
    walk: Option<scan::Walk>,
    waiting: Vec<Waiting>,
    /// A timer for the walk is running.
    awake: bool,
}

/// Somebody who waits for the end of the walk.
struct Waiting {
    client: Blocked,
    user: Option<User>,
    /// The client is gone, or was told something else.
    stopped: bool,
}

impl AlertStreams {
    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whatever there is from now on may be unknown. Who waits goes on to wait, for a walk that begins again.
    pub(crate) fn forget(&mut self) {
        (self.complete, self.walk) = (false, None);
        self.known.clear();
    }

    /// There is none any more.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

impl State {
    /// Takes note of a key that may be an alert stream.
    #[inline(never)]
    pub(crate) fn meet_alert_stream(&mut self, name: &[u8]) {
        if self.cluster
            && key::is_alerts_of(&self.settings.alerts_key, name)
            && !self.alert_streams.known.contains(name)
        {
            self.alert_streams.known.insert(name.to_vec());
        }
    }
}

/// `ANOMALY.ALERTS STREAMS`: those that the user may read.
pub(crate) fn list(ctx: Ctx) -> Result<(), Error> {
    let user = User::of(ctx);
    let cluster = with(|state| state.cluster);
    if !cluster {
        let base = with(|state| state.settings.alerts_key.clone());
        reply::send(ctx, &told(ctx, [base].into(), user.as_ref()));
        return Ok(());
    }
    if !with(|state| state.alert_streams.complete) && ctx.may_wait() {
        let client = Blocked::new(ctx, on_timeout, on_disconnect);
        let asleep = with(|state| {
            state.alert_streams.waiting.push(Waiting {
                client,
                user,
                stopped: false,
            });
            !std::mem::replace(&mut state.alert_streams.awake, true)
        });
        if asleep {
            ctx.after(0, on_timer);
        }
        return Ok(());
    }
    // In a transaction or a script nobody can wait.
    while !go_on(ctx, Instant::now() + SLICE) {}
    let known = with(|state| state.alert_streams.known.clone());
    reply::send(ctx, &told(ctx, known, user.as_ref()));
    Ok(())
}

/// Walks on; whether all are known.
fn go_on(ctx: Ctx, end: Instant) -> bool {
    let walk = with(|state| {
        let streams = &mut state.alert_streams;
        (!streams.complete).then(|| streams.walk.take().unwrap_or_else(scan::Walk::new))
    });
    let Some(mut walk) = walk else {
        return true;
    };
    let base = with(|state| state.settings.alerts_key.clone());
    let over = walk.go_on(ctx, end, |name| key::is_alerts_of(&base, name));
    with(|state| {
        let streams = &mut state.alert_streams;
        if over {
            streams.known.append(&mut walk.found());
            streams.complete = true;
        } else {
            streams.walk = Some(walk);
        }
    });
    over
}

/// Those that are there and that the user may read.
fn told(ctx: Ctx, known: BTreeSet<Vec<u8>>, user: Option<&User>) -> Reply {
    let mut there = Vec::with_capacity(known.len());
    for stream in known {
        let name = ctx.string(&stream);
        if !Key::open(ctx, name.borrow(), Mode::Look).is_stream() {
            with(|state| state.alert_streams.known.remove(&stream));
        } else if user.is_none_or(|user| user.may_read(name.borrow())) {
            there.push(Reply::Text(stream));
        }
    }
    Reply::Array(there)
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        with(|state| state.alert_streams.awake = false);
        if !go_on(ctx, Instant::now() + SLICE) {
            with(|state| state.alert_streams.awake = true);
            return ctx.after(PAUSE, on_timer);
        }
        let known = with(|state| state.alert_streams.known.clone());
        for waiting in with(|state| std::mem::take(&mut state.alert_streams.waiting)) {
            if !waiting.stopped {
                let told = caught(|| told(ctx, known.clone(), waiting.user.as_ref()));
                reply::send(
                    waiting.client.replier().ctx(),
                    &told.unwrap_or(Reply::Array(Vec::new())),
                );
            }
            waiting.client.let_go();
        }
    });
}

fn stop(client: *mut raw::RedisModuleBlockedClient) {
    with(|state| {
        let mut waiting = state.alert_streams.waiting.iter_mut();
        if let Some(waiting) = waiting.find(|waiting| waiting.client.is(client)) {
            waiting.stopped = true;
        }
    });
}

/// CLIENT UNBLOCK.
unsafe extern "C" fn on_timeout(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    guard(OK, || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        stop(Blocked::of_callback(ctx));
        let command = "ANOMALY.ALERTS";
        ctx.reply_error(&Error::Stopped { command }.to_string());
        OK
    })
}

/// The client is gone, or was told something else.
unsafe extern "C" fn on_disconnect(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || stop(client));
}
