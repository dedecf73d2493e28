//! What the server tells of its keyspace: sensors that are deleted, renamed and moved, databases that are emptied and
//! swapped, files that are loaded.
//!
//! A sensor that leaves the keyspace with an open episode gets its `resolved`. The type's `unlink` callback sees it go,
//! but also sees a RENAME's source go, whose value lives on under another name; so it only puts the model aside, the
//! events that follow say what it was, and a job at the end of the command (where writing is allowed, and lands in the
//! command's own transaction) writes what is left.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

use anomaly_core::Model;
use anomaly_core::alert::{Alert, End};
use anomaly_core::units::Timestamp;
use redis_module::raw;

use crate::fence::guard;
use crate::server::{self, Ctx, ERR, Key, Mode, OK, Str, api, borrowed};
use crate::state::with;
use crate::{backlog, datatype, effects, known, moving, samples, silence, torn};

/// A sensor that was taken out of the keyspace with an open episode.
pub(crate) struct Unlinked {
    db: c_int,
    key: Vec<u8>,
    model: Model,
    end: End,
}

pub(crate) fn subscribe(ctx: Ctx) -> Result<(), String> {
    let kinds = raw::REDISMODULE_NOTIFY_GENERIC
        | raw::REDISMODULE_NOTIFY_EXPIRED
        | raw::REDISMODULE_NOTIFY_EVICTED;
    // SAFETY: a live context and callbacks of the types the server expects.
    let status = unsafe {
        api!(RedisModule_SubscribeToKeyspaceEvents(
            ctx.raw(),
            kinds as c_int,
            Some(on_key_event)
        )) | subscribe_to(ctx, raw::REDISMODULE_EVENT_LOADING, on_loading)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_FLUSHDB, on_flush)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_SWAPDB, on_swap)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_MODULE_CHANGE, on_module_change)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_FORK_CHILD, on_fork)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_PERSISTENCE, on_save)
            | subscribe_to(ctx, raw::REDISMODULE_EVENT_CONFIG, on_config)
            | subscribe_to(
                ctx,
                raw::REDISMODULE_EVENT_REPL_ASYNC_LOAD,
                on_data_replaced,
            )
            | subscribe_to(
                ctx,
                raw::REDISMODULE_EVENT_REPLICA_CHANGE,
                on_replica_change,
            )
            | subscribe_to(
                ctx,
                raw::REDISMODULE_EVENT_REPLICATION_ROLE_CHANGED,
                on_role_change,
            )
    };
    if status == OK {
        Ok(())
    } else {
        Err("the server refused a subscription to its events".into())
    }
}

type OnServerEvent =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, raw::RedisModuleEvent, u64, *mut c_void);

/// # Safety
/// The callback must take the data of that event.
unsafe fn subscribe_to(ctx: Ctx, id: u64, callback: OnServerEvent) -> c_int {
    // SAFETY: promised by the caller.
    unsafe {
        let event = raw::RedisModuleEvent { id, dataver: 1 };
        api!(RedisModule_SubscribeToServerEvent(
            ctx.raw(),
            event,
            Some(callback)
        ))
    }
}

/// A sensor is leaving the keyspace, or its name is.
pub(crate) fn unlinked(db: c_int, key: &[u8], model: &Model) {
    // SAFETY: a null context stands for the server in general, which is all that is asked about.
    let decides = unsafe { Ctx::new(ptr::null_mut()) }.decides();
    let first = with(|state| {
        state.open.remove(&(db, key.to_vec()));
        state.stop_timing(db, key, model);
        state.known.forget(db, key);
        if !decides || model.alarm.open().is_none() || state.moves.sends(key) {
            return false;
        }
        state.unlinked.push(Unlinked {
            db,
            key: key.to_vec(),
            model: model.clone(),
            end: End::Deleted,
        });
        state.unlinked.len() == 1
    });
    known::is_gone(model);
    if first {
        // The server runs the job when the command, or whatever else removed the key, is done.
        // SAFETY: a context without a client, used for this and freed.
        let accepted = unsafe {
            let ctx = api!(RedisModule_GetThreadSafeContext(ptr::null_mut()));
            let accepted = Ctx::new(ctx).after_this(resolve_unlinked);
            api!(RedisModule_FreeThreadSafeContext(ctx));
            accepted
        };
        if !accepted {
            with(|state| state.unlinked.clear());
        }
    }
}

unsafe extern "C" fn resolve_unlinked(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        let before = ctx.db();
        for Unlinked {
            db,
            key,
            mut model,
            end,
        } in with(|state| std::mem::take(&mut state.unlinked))
        {
            let alert = with(|state| {
                let profile = model.profile(&key, &mut state.rules);
                Alert::of_end(&key, &mut model, &profile, end)
            });
            if let Some(alert) = alert.filter(|_| ctx.select(db)) {
                effects::tell(ctx, ctx.string(&key).borrow(), &alert);
            }
        }
        ctx.select(before);
    });
}

unsafe extern "C" fn on_key_event(
    ctx: *mut raw::RedisModuleCtx,
    _: c_int,
    event: *const c_char,
    key: *mut raw::RedisModuleString,
) -> c_int {
    guard(ERR, || {
        // SAFETY: the server gives a live context, a C string and a live name.
        let (ctx, event, key) = unsafe { (Ctx::new(ctx), CStr::from_ptr(event), Str::new(key)) };
        let db = ctx.db();
        // A stream that has come to lie at this name has the last id that it brings; whatever else happened, it is no harm to
        // read one.
        if !matches!(
            event.to_bytes(),
            b"del" | b"expire" | b"persist" | b"expired" | b"evicted"
        ) {
            with(|state| state.forget_last_id(key.bytes()));
        }
        match event.to_bytes() {
            b"expire" => with(|state| state.known.forget(db, key.bytes())),
            b"rename_to" | b"move_to" => {
                arrived(ctx, key, false);
                with(|state| state.meet_alert_stream(key.bytes()));
            }
            // What it was before it came here, is nobody's silence.
            b"restore" | b"copy_to" => {
                arrived(ctx, key, true);
                backlog::came(ctx, key);
                with(|state| state.meet_alert_stream(key.bytes()));
            }
            b"expired" => left(db, key, End::Expired),
            b"evicted" => left(db, key, End::Evicted),
            _ => {}
        }
        OK
    })
}

/// A key has left the keyspace without a command.
fn left(db: c_int, key: Str<'_>, end: End) {
    set_end(db, key, end);
    with(|state| state.samples.lose(db, key.bytes()));
}

/// A value has come to lie under another name: it goes by other rules, and an episode that came with it goes on. It may have a
/// time to live, which it got last: another module may have had it known before.
fn arrived(ctx: Ctx, name: Str<'_>, is_new: bool) {
    with(|state| state.known.forget(ctx.db(), name.bytes()));
    let mut key = Key::open(ctx, name, Mode::Look);
    // In a transaction Valkey 9 gives the database of its client, also where the key has come to another one.
    let db = key.db().unwrap_or_else(|| ctx.db());
    if let Ok(Some(model)) = datatype::model(&mut key) {
        model.renamed();
        if is_new {
            model.set_arrived(Timestamp::ZERO);
        }
        let now = ctx.now();
        let unknown = model.arrived == Timestamp::ZERO;
        let since = if unknown { now } else { Timestamp::ZERO };
        with(|state| {
            state.track(db, name.bytes(), model);
            state.time(db, name.bytes(), model, since, now);
            // By the episode, not by the old name: in one transaction that may have been given and deleted before.
            let gone = state
                .unlinked
                .iter()
                .rposition(|gone| model.alarm.open().is_some() && gone.model.alarm == model.alarm);
            gone.map(|at| state.unlinked.remove(at));
        });
        silence::wake(ctx);
    }
}

/// A sensor that was deleted just now was deleted because of `expire`.
pub(crate) fn forgotten(db: c_int, key: Str<'_>) {
    set_end(db, key, End::Forgotten);
}

fn set_end(db: c_int, key: Str<'_>, end: End) {
    with(|state| {
        if let Some(gone) = state
            .unlinked
            .iter_mut()
            .rfind(|gone| (gone.db, &gone.key[..]) == (db, key.bytes()))
        {
            gone.end = end;
        }
    });
}

/// A full load replaces all data, and with it the rules: none of before may stay.
unsafe extern "C" fn on_loading(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    let starts = [
        raw::REDISMODULE_SUBEVENT_LOADING_RDB_START,
        raw::REDISMODULE_SUBEVENT_LOADING_AOF_START,
        raw::REDISMODULE_SUBEVENT_LOADING_REPL_START,
    ];
    guard((), || {
        with(|state| {
            state.forget_audience();
            state.forget_last_ids();
            state.known.clear();
        });
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        if what == raw::REDISMODULE_SUBEVENT_LOADING_AOF_START {
            torn::remember(ctx);
        } else if what == raw::REDISMODULE_SUBEVENT_LOADING_ENDED {
            torn::mend(ctx);
        }
        if starts.contains(&what) {
            with(|state| state.forget_data());
        } else if what == raw::REDISMODULE_SUBEVENT_LOADING_ENDED
            || what == raw::REDISMODULE_SUBEVENT_LOADING_FAILED
        {
            backlog::wake(ctx);
            silence::listen(ctx);
            silence::sweep(ctx);
        }
    });
}

/// Models of an emptied database are gone without a word of their own; rules stay.
unsafe extern "C" fn on_flush(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    data: *mut c_void,
) {
    guard((), || {
        let begins = what != raw::REDISMODULE_SUBEVENT_FLUSHDB_END;
        with(|state| state.known.emptying(begins));
        if !begins {
            return;
        }
        // SAFETY: with this event the server gives this struct.
        let db = unsafe { data.cast::<raw::RedisModuleFlushInfoV1>().as_ref() }
            .map_or(-1, |info| info.dbnum);
        let gone = with(|state| {
            state.alert_streams.clear();
            if db == -1 {
                return Some((
                    std::mem::take(&mut state.open),
                    std::mem::take(&mut state.timers),
                ));
            }
            state.open.retain(|(at, _)| *at != db);
            state.timers.retain(|timed| timed.place.0 != db);
            None
        });
        if let Some(gone) = gone {
            // FLUSHALL ASYNC is not to wait for it.
            std::thread::spawn(move || drop(gone));
        }
    });
}

unsafe extern "C" fn on_swap(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    data: *mut c_void,
) {
    guard((), || {
        // SAFETY: with this event the server gives this struct.
        let Some(swap) = (unsafe { data.cast::<raw::RedisModuleSwapDbInfoV1>().as_ref() }) else {
            return;
        };
        let (a, b) = (swap.dbnum_first, swap.dbnum_second);
        let swapped = |db: c_int| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        with(|state| {
            state.forget_last_ids();
            state.known.clear();
            let open = std::mem::take(&mut state.open);
            state.open = open
                .into_iter()
                .map(|(db, key)| (swapped(db), key))
                .collect();
            let cursors = std::mem::take(&mut state.cursors);
            state.cursors = cursors
                .into_iter()
                .map(|((db, key), at)| ((swapped(db), key), at))
                .collect();
            state
                .searches
                .iter_mut()
                .for_each(|search| search.db = swapped(search.db));
            state
                .timers
                .things_mut()
                .for_each(|timed| timed.place.0 = swapped(timed.place.0));
            if let Some(job) = &mut state.backtest {
                job.db = swapped(job.db);
            }
        });
        if with(|state| state.sweep.is_some()) {
            // SAFETY: the server gives a live context.
            silence::sweep(unsafe { Ctx::new(ctx) });
        }
    });
}

unsafe extern "C" fn on_module_change(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let missing = !effects::series_available(unsafe { Ctx::new(ctx) });
        with(|state| {
            state.series_missing = missing;
            state.arguments.doubt_ids();
        });
    });
}

unsafe extern "C" fn on_config(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        with(|state| state.forget_audience());
        // SAFETY: the server gives a live context.
        known::reconfigured(unsafe { Ctx::new(ctx) });
    });
}

/// A replica takes what it has loaded beside its data instead of that, or throws it away.
unsafe extern "C" fn on_data_replaced(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || with(|state| state.known.clear()));
}

/// The server saves without a fork, as at its end. In a child nothing waits.
unsafe extern "C" fn on_save(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    if what == raw::REDISMODULE_SUBEVENT_PERSISTENCE_SYNC_RDB_START {
        guard((), samples::settle);
    }
}

/// The file that a rewrite of the AOF writes has a place for rules in its RDB preamble, or else with the first sensor.
/// Where there is neither, they must follow in the file of new commands, which the server has begun before it forks. Not
/// from here: what is passed on in the midst of BGREWRITEAOF makes the server take that for a change, and replicas and
/// whoever loads the file would run it again.
unsafe extern "C" fn on_fork(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    what: u64,
    _: *mut c_void,
) {
    guard((), || {
        // It may be one for a replica's first synchronisation.
        with(|state| state.forget_audience());
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        if what != raw::REDISMODULE_SUBEVENT_FORK_CHILD_BORN || !ctx.rewrites_aof() {
            return;
        }
        with(|state| state.rules_due = true);
        ctx.after(0, on_rules_due);
    });
}

unsafe extern "C" fn on_rules_due(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    // SAFETY: the server gives a live context.
    guard((), || pass_on_rules_due(unsafe { Ctx::new(ctx) }));
}

/// Passes the rules on if a rewrite of the AOF wants that: before whatever goes by them.
pub(crate) fn pass_on_rules_due(ctx: Ctx) {
    if !with(|state| state.rules_due) {
        return;
    }
    if server::is_paused() {
        return ctx.after(0, on_rules_due);
    }
    with(|state| state.rules_due = false);
    let Some((document, _)) = with(|state| state.settings_to_save()) else {
        return;
    };
    let words: [&[u8]; 3] = [b"IMPORT", document.as_bytes(), b"REPLACE"];
    ctx.replicate(
        c"ANOMALY.CONFIG",
        &borrowed(&words.map(|word| ctx.string(word))),
    );
    let before = ctx.db();
    for (db, words) in with(|state| state.backlog_words()) {
        if ctx.select(db) {
            let words: Vec<_> = words.iter().map(|word| ctx.string(word)).collect();
            ctx.replicate(c"ANOMALY._BACKLOG", &borrowed(&words));
        }
    }
    ctx.select(before);
}

/// A promoted replica goes on where its master was.
unsafe extern "C" fn on_role_change(
    ctx: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || {
        with(|state| {
            state.forget_audience();
            state.forget_last_ids();
        });
        moving::suspect();
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        backlog::wake(ctx);
        silence::listen(ctx);
    });
}

unsafe extern "C" fn on_replica_change(
    _: *mut raw::RedisModuleCtx,
    _: raw::RedisModuleEvent,
    _: u64,
    _: *mut c_void,
) {
    guard((), || with(|state| state.forget_audience()));
}
