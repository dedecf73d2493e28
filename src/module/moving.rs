//! Slots that move from one node of a cluster to another, key by key.
//!
//! While a slot moves, the server looks after the keys that a command declares. A sensor's series and alerts are not
//! declared: one that has gone ahead, or is yet to come, would be created a second time, and its MIGRATE would fail with
//! BUSYKEY. So what would create one is refused with TRYAGAIN before anything changes; cluster clients send it again. For an
//! entry of a watched stream it is too late for that: it stays in the stream, and is read when the slot has moved
//! ([`crate::backlog`]).
//!
//! A reading pays for this with one look at a flag: a command filter sees CLUSTER SETSLOT before it runs, and only from then
//! until no slot of this node moves any more is the server asked. The filter sees MIGRATE too: a sensor that is sent away is
//! not deleted, its episode goes on elsewhere.
//!
//! What SETSLOT says may come true later, without the filter being called again: in a transaction, while clients are paused,
//! and on Valkey, which has the replicas hear of it first. Its client tells: as long as it waits, or is in a transaction, a
//! slot that is to leave is taken for one that leaves, so that whoever moves its keys at once does no harm.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use anomaly_core::{Error, Reading, key};
use redis_module::raw;

use crate::fence::guard;
use crate::server::{Client, Ctx, Filtered, Key, Mode, OwnCtx, Str, User, api};
use crate::state::with;
use crate::{backlog, datatype, effects};

/// What a node of a cluster knows of moves.
#[derive(Default)]
pub(crate) struct Moves {
    /// A slot of this node may be on the move.
    suspected: bool,
    /// Each SETSLOT that may be yet to take effect.
    announced: Vec<Announced>,
    /// The words of a MIGRATE that is about to run, or has just run.
    sent: Vec<Vec<u8>>,
    /// A filter is given none.
    ctx: Option<OwnCtx>,
}

/// A SETSLOT that was seen before it ran.
struct Announced {
    client: u64,
    /// The slot that is to leave, if that is what it says.
    leaves: Option<u16>,
    /// Its client was seen to wait.
    waited: bool,
    /// Since when it is not seen to wait.
    over: Option<Instant>,
}

impl Moves {
    /// Whether a sensor leaves the keyspace because it is sent to another node.
    pub(crate) fn sends(&self, key: &[u8]) -> bool {
        self.sent.iter().any(|sent| sent == key)
    }
}

/// A client whose wait is over is no longer seen to wait a little before its command runs, and others may run between.
const BETWEEN: Duration = Duration::from_millis(100);

impl Announced {
    /// Whether it may be yet to take effect, as far as its client tells.
    fn is_pending(&mut self) -> bool {
        if Client(self.client).waits() {
            (self.waited, self.over) = (true, None);
            return true;
        }
        self.over.get_or_insert_with(Instant::now).elapsed() < BETWEEN
    }

    /// The slot that is taken for one that leaves.
    fn leaving(&self) -> Option<u16> {
        self.leaves.filter(|_| self.waited)
    }
}

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
    with(|state| state.moves.ctx = Some(OwnCtx::of(ctx)));
    let not_ours = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
    // SAFETY: a live context and a callback of the type the server expects.
    unsafe {
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
        // SAFETY: the server gives a live command.
        let command = unsafe { Filtered::new(filter) };
        let name = command.word(0);
        let (moves, migrates) = (
            name.eq_ignore_ascii_case(b"CLUSTER"),
            name.eq_ignore_ascii_case(b"MIGRATE"),
        );
        let announced = with(|state| {
            state.moves.suspected |= moves;
            if !state.moves.sent.is_empty() {
                state.moves.sent.clear();
            }
            !state.moves.announced.is_empty()
        });
        if announced {
            go_on(command.client());
        }
        if moves && command.word(1).eq_ignore_ascii_case(b"SETSLOT") {
            announce(command);
        }
        if migrates {
            let sent = (3..command.len()).map(|at| command.word(at).to_vec());
            let sent: Vec<_> = sent.collect();
            if let Some(ctx) = own_ctx() {
                backlog::send(ctx, &sent);
            }
            with(|state| state.moves.sent = sent);
        }
    });
}

fn own_ctx() -> Option<Ctx> {
    with(|state| state.moves.ctx).map(OwnCtx::ctx)
}

/// A client goes on to its next command: those before have taken effect or failed, unless they are in a transaction.
fn go_on(client: Client) {
    let is_its = |before: &Announced| before.client == client.0;
    if with(|state| state.moves.announced.iter().any(is_its)) && !client.is_in_transaction() {
        with(|state| state.moves.announced.retain(|before| !is_its(before)));
    }
}

/// A SETSLOT is about to run, or to be put in a transaction.
fn announce(command: Filtered) {
    let Some(ctx) = own_ctx() else {
        return;
    };
    let client = command.client();
    let queued = client.is_in_transaction();
    // Outside a transaction, who may not does not wait for it.
    let may = || User::of_client(ctx, client).is_some_and(|user| user.may_run(&command.words()));
    if queued && !may() {
        return;
    }
    let slot = std::str::from_utf8(command.word(2))
        .ok()
        .and_then(|slot| slot.parse().ok());
    let leaves = slot.filter(|_| command.word(3).eq_ignore_ascii_case(b"MIGRATING"));
    with(|state| {
        let announced = &mut state.moves.announced;
        // Its last word on a slot counts, and what took effect or failed a moment ago counts no more.
        announced.retain(|before| {
            let same = slot.is_some() && before.leaves == slot;
            !(same && (before.client == client.0 || before.over.is_some()))
        });
        announced.push(Announced {
            client: client.0,
            leaves,
            waited: false,
            over: None,
        });
    });
    if queued {
        // What follows in the transaction may send the keys.
        backlog::note_all(ctx);
    } else {
        backlog::note_after_this(ctx);
    }
}

/// The slots of this node that are on the move.
#[derive(Default)]
pub(crate) struct OnTheMove {
    /// As CLUSTER NODES tells of them: `15->-node` or `15-<-node`.
    told: Vec<String>,
    /// Those that are to leave.
    announced: Vec<u16>,
}

impl OnTheMove {
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.announced.is_empty()
    }

    /// Where the slot of a key stands.
    pub(crate) fn slot(&self, key: &[u8]) -> Slot {
        if self.is_empty() {
            return Slot::Settled;
        }
        let slot = key::slot(key);
        let number = slot.to_string();
        let told = self.told.iter().find_map(|word| {
            let way = word.strip_prefix(&number[..])?;
            if way.starts_with("->-") {
                return Some(Slot::Leaving);
            }
            way.starts_with("-<-").then_some(Slot::Coming)
        });
        told.unwrap_or(if self.announced.contains(&slot) {
            Slot::Leaving
        } else {
            Slot::Settled
        })
    }
}

/// What is on the move now. Costs nothing while no slot of this node is.
pub(crate) fn on_the_move(ctx: Ctx) -> OnTheMove {
    if !with(|state| state.moves.suspected) {
        return OnTheMove::default();
    }
    let Some(nodes) = ctx.cluster_nodes() else {
        return OnTheMove::default();
    };
    let own = nodes.lines().find(|line| {
        let flags = line.split(' ').nth(2).unwrap_or_default();
        flags.split(',').any(|flag| flag == "myself")
    });
    let told: Vec<String> = own
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.strip_prefix('['))
        .map(str::to_owned)
        .collect();
    let announced = with(|state| {
        let moves = &mut state.moves;
        moves.announced.retain_mut(Announced::is_pending);
        moves.suspected = !told.is_empty() || !moves.announced.is_empty();
        let leaving = moves.announced.iter().filter_map(Announced::leaving);
        leaving.collect()
    });
    OnTheMove { told, announced }
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
