//! Slots that move from one node of a cluster to another, key by key.
//!
//! While a slot moves, the server looks after the keys that a command declares. A sensor's series and alerts are not
//! declared: one that has gone ahead, or is yet to come, would be created a second time, and its MIGRATE would fail with
//! BUSYKEY. So what would create one is refused with TRYAGAIN before anything changes; cluster clients send it again. For an
//! entry of a watched stream it is too late for that: it stays in the stream, and is read when the slot has moved
//! ([`crate::backlog`]).
//!
//! A reading pays for this with one look at a flag: a command filter sees CLUSTER SETSLOT before it runs, and only from then
//! until no slot of this node moves any more is the server asked. Valkey does what SETSLOT says only when the replicas have
//! heard of it, without calling the filter again: for as long as that may take, no answer is the last. The filter sees MIGRATE
//! too: a sensor that is sent away is not deleted, its episode goes on elsewhere.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use anomaly_core::{Error, Reading, key};
use redis_module::raw;

use crate::fence::guard;
use crate::server::{Ctx, Key, Mode, Str, api};
use crate::state::with;
use crate::{backlog, datatype, effects};

/// What a node of a cluster knows of moves.
#[derive(Default)]
pub(crate) struct Moves {
    /// A slot of this node may be on the move.
    suspected: bool,
    /// Until then a SETSLOT may be yet to take effect.
    awaited: Option<Instant>,
    /// The words of a MIGRATE that is about to run, or has just run.
    sent: Vec<Vec<u8>>,
    /// A filter is given none.
    ctx: Option<OwnCtx>,
}

/// A context that lives as long as the server.
#[derive(Clone, Copy)]
struct OwnCtx(*mut raw::RedisModuleCtx);

impl Moves {
    /// Whether a sensor leaves the keyspace because it is sent to another node.
    pub(crate) fn sends(&self, key: &[u8]) -> bool {
        self.sent.iter().any(|sent| sent == key)
    }
}

/// How long Valkey's SETSLOT waits for replicas unless it is told otherwise, in ms.
const SETSLOT_TIMEOUT: u64 = 2000;
/// Longest that is reckoned with, in ms.
const LONGEST_TIMEOUT: u64 = 60_000;
/// What is added to it: a timeout is noticed late.
const SLACK: Duration = Duration::from_millis(500);

/// Where the slot of a key stands, as this node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Settled,
    /// Its keys are sent to another node.
    Leaving,
    /// Its keys come from another node, which is still the one to be asked.
    Coming,
}

/// Sees to it that moves are noticed.
pub(crate) fn listen(ctx: Ctx) {
    if !with(|state| state.cluster) {
        return;
    }
    suspect();
    let not_ours = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
    // SAFETY: a live context and a callback of the type the server expects. The context that is made is never freed.
    unsafe {
        let own = api!(RedisModule_GetDetachedThreadSafeContext(ctx.raw()));
        with(|state| state.moves.ctx = Some(OwnCtx(own)));
        api!(RedisModule_RegisterCommandFilter(
            ctx.raw(),
            Some(on_command),
            not_ours
        ))
    };
}

/// The server is to be asked again.
pub(crate) fn suspect() {
    with(|state| state.moves.suspected = true);
}

unsafe extern "C" fn on_command(filter: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        // SAFETY: the server gives a live command, whose words live as long.
        let word =
            |at: c_int| unsafe { Str::new(api!(RedisModule_CommandFilterArgGet(filter, at))) };
        let name = word(0).bytes();
        let (moves, migrates) = (
            name.eq_ignore_ascii_case(b"CLUSTER"),
            name.eq_ignore_ascii_case(b"MIGRATE"),
        );
        // SAFETY: a live command.
        let words = || unsafe { api!(RedisModule_CommandFilterArgsCount(filter)) };
        let awaited = (moves && words() > 2 && word(1).bytes().eq_ignore_ascii_case(b"SETSLOT"))
            .then(|| {
                let timeout = (3..words() - 1)
                    .find(|at| word(*at).bytes().eq_ignore_ascii_case(b"TIMEOUT"))
                    .and_then(|at| std::str::from_utf8(word(at + 1).bytes()).ok()?.parse().ok())
                    .unwrap_or(SETSLOT_TIMEOUT)
                    .min(LONGEST_TIMEOUT);
                Instant::now() + Duration::from_millis(timeout) + SLACK
            });
        with(|state| {
            state.moves.suspected |= moves;
            state.moves.awaited = state.moves.awaited.max(awaited);
            if !state.moves.sent.is_empty() {
                state.moves.sent.clear();
            }
        });
        if moves && let Some(own) = with(|state| state.moves.ctx) {
            // SAFETY: it lives as long as the server.
            backlog::note_after_this(unsafe { Ctx::new(own.0) });
        }
        if migrates {
            let sent = (3..words()).map(|at| word(at).bytes().to_vec()).collect();
            with(|state| state.moves.sent = sent);
        }
    });
}

/// The slots of this node that are on the move, as CLUSTER NODES tells of them: `15->-node` or `15-<-node`.
pub(crate) struct OnTheMove(Vec<String>);

impl OnTheMove {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the slot of a key stands.
    pub(crate) fn slot(&self, key: &[u8]) -> Slot {
        if self.is_empty() {
            return Slot::Settled;
        }
        let number = key::slot(key).to_string();
        let slot = self.0.iter().find_map(|word| {
            let way = word.strip_prefix(&number[..])?;
            if way.starts_with("->-") {
                return Some(Slot::Leaving);
            }
            way.starts_with("-<-").then_some(Slot::Coming)
        });
        slot.unwrap_or(Slot::Settled)
    }
}

/// What is on the move now. Costs nothing while no slot of this node is.
pub(crate) fn on_the_move(ctx: Ctx) -> OnTheMove {
    let none = OnTheMove(Vec::new());
    if !with(|state| state.moves.suspected) {
        return none;
    }
    let Some(nodes) = ctx.cluster_nodes() else {
        return none;
    };
    let own = nodes.lines().find(|line| {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        flags.split(',').any(|flag| flag == "myself")
    });
    let moves: Vec<String> = own
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.strip_prefix('['))
        .map(str::to_owned)
        .collect();
    if moves.is_empty() {
        with(|state| {
            if state
                .moves
                .awaited
                .is_none_or(|until| until < Instant::now())
            {
                (state.moves.suspected, state.moves.awaited) = (false, None);
            }
        });
    }
    OnTheMove(moves)
}

/// Where the slot of a key stands.
#[inline]
pub(crate) fn slot(ctx: Ctx, key: &[u8]) -> Slot {
    if with(|state| state.moves.suspected) {
        on_the_move(ctx).slot(key)
    } else {
        Slot::Settled
    }
}

/// Whether a reading can be taken in where its slot is: it must not create a key that may be on the other node.
#[inline]
pub(crate) fn check_reading(ctx: Ctx, sensor: Str<'_>, reading: Reading) -> Result<(), Error> {
    if !with(|state| state.moves.suspected) {
        return Ok(());
    }
    match slot(ctx, sensor.bytes()) {
        Slot::Settled => Ok(()),
        place => check_moving(ctx, sensor, reading, place),
    }
}

fn check_moving(ctx: Ctx, sensor: Str<'_>, reading: Reading, place: Slot) -> Result<(), Error> {
    let again = || Error::TryAgain {
        key: sensor.bytes().to_vec(),
    };
    let mut model = {
        let mut key = Key::open(ctx, sensor, Mode::Look);
        match datatype::model(&mut key)? {
            Some(model) => model.clone(),
            // A command would have been sent there by the server; an entry of a stream names a sensor that has gone ahead.
            None if place == Slot::Leaving => return Err(again()),
            None => anomaly_core::Model::default(),
        }
    };
    // On a copy: what the reading will do decides which keys it needs.
    let outcome = with(|state| model.ingest(sensor.bytes(), reading, &mut state.rules));
    let series = outcome.archive && effects::archives();
    if series && !exists(ctx, &key::series(sensor.bytes())) {
        return Err(again());
    }
    if outcome.transition.is_some() && !has_alerts(ctx, sensor.bytes()) {
        return Err(again());
    }
    Ok(())
}

/// Whether a dead letter of a stream can be written where its slot is.
pub(crate) fn has_dead(ctx: Ctx, stream: &[u8]) -> bool {
    let dead = with(|state| key::dead(&state.settings.dead_key, stream, state.cluster));
    exists(ctx, &dead)
}

/// Whether an alert of a sensor can be written where its slot is.
pub(crate) fn check_alert(ctx: Ctx, sensor: &[u8]) -> Result<(), Error> {
    if slot(ctx, sensor) == Slot::Settled || has_alerts(ctx, sensor) {
        return Ok(());
    }
    Err(Error::TryAgain {
        key: sensor.to_vec(),
    })
}

fn has_alerts(ctx: Ctx, sensor: &[u8]) -> bool {
    let stream = with(|state| key::alerts(&state.settings.alerts_key, sensor, state.cluster));
    exists(ctx, &stream)
}

fn exists(ctx: Ctx, name: &[u8]) -> bool {
    Key::exists(ctx, ctx.string(name).borrow())
}
