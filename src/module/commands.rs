//! The commands: each parses, calls the one thing that does it, and replies.

use std::ffi::CStr;
use std::time::Instant;

use anomaly_core::alert::Alert;
use anomaly_core::command::ack::Ack;
use anomaly_core::command::add::{self, Add};
use anomaly_core::command::alerts::{self, Query};
use anomaly_core::command::{Reply, config, info};
use anomaly_core::model::{Model, Verdict};
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, codec, document, key};

use crate::ingest::Given;
use crate::server::{Args, Called, Ctx, Key, Mode, Str};
use crate::state::{Place, with};
use crate::{datatype, effects, ingest, reply, scan};

/// One in so many commands of readings is timed: reading a clock costs more than a tenth of scoring.
pub(crate) const TIMED: u64 = 64;

fn timed<T>(readings: u64, work: impl FnOnce() -> T) -> T {
    if with(|state| state.counts.readings) % TIMED >= readings {
        return work();
    }
    let start = Instant::now();
    let done = work();
    let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    with(|state| {
        state.counts.timed_readings += readings;
        state.counts.timed_nanoseconds += took;
    });
    done
}

fn word(verdict: Verdict) -> &'static CStr {
    match verdict {
        Verdict::Normal => c"normal",
        Verdict::Warning => c"warning",
        Verdict::Critical => c"critical",
        Verdict::Warmup => c"warmup",
        Verdict::Late => c"late",
        Verdict::Duplicate => c"duplicate",
    }
}

fn sensor(args: Args<'_>, index: usize) -> Result<Str<'_>, Error> {
    args.get(index).ok_or(Error::WrongType)
}

/// The reading whose key is the argument at `key`, its time and value the two after it.
fn given(args: Args<'_>, key: usize, item: Add) -> Result<Given<'_>, Error> {
    Ok(Given {
        sensor: sensor(args, key)?,
        when: item.when,
        value: item.value,
        when_word: sensor(args, key + 1)?,
        value_word: sensor(args, key + 2)?,
    })
}

pub(crate) fn add(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if !(4..=5).contains(&args.len()) {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    let add = Add::parse(args.bytes(2), args.bytes(3), args.get(4).map(Str::bytes))
        .inspect_err(|_| refused())?;
    let taken =
        timed(1, || ingest::decide(ctx, given(args, 1, add)?)).inspect_err(|_| refused())?;
    if add.explain {
        reply::send(
            ctx,
            &add::explained(taken.reading, &taken.outcome, &taken.profile),
        );
    } else {
        ctx.reply_simple(word(taken.outcome.verdict));
    }
    Ok(())
}

pub(crate) fn madd(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let items = (args.len() - 1) / 3;
    if items == 0 || !(args.len() - 1).is_multiple_of(3) {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    ctx.reply_array(items);
    timed(items as u64, || {
        for first in (1..args.len()).step_by(3) {
            let item = Add::item(args.bytes(first + 1), args.bytes(first + 2));
            match item.and_then(|item| ingest::decide(ctx, given(args, first, item)?)) {
                Ok(taken) => ctx.reply_simple(word(taken.outcome.verdict)),
                Err(error) => {
                    refused();
                    ctx.reply_error(&error.to_string());
                }
            }
        }
    });
    Ok(())
}

fn refused() {
    with(|state| state.counts.refused += 1);
}

/// `_apply version key timestamp value archived`: what a master decided, for replicas and the AOF.
pub(crate) fn apply(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    if args.bytes(1) != effects::APPLY_VERSION.as_bytes() {
        return Err(Error::Version {
            given: args.bytes(1).to_vec(),
        });
    }
    let at = Timestamp::parse(args.bytes(3))?;
    let reading = given(args, 2, Add::item(args.bytes(3), args.bytes(4))?)?;
    ingest::apply(
        ctx,
        reading,
        at,
        args.bytes(5) == effects::ARCHIVED.as_bytes(),
    )?;
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}

/// `_load key model`: a whole model, from an AOF without RDB preamble.
pub(crate) fn load(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    let model = codec::load(args.bytes(2))?;
    let (name, db) = (sensor(args, 1)?, ctx.db());
    let mut key = Key::open(ctx, name, Mode::Change);
    let slot = datatype::model_or_new(&mut key)?;
    *slot = model;
    ctx.modified(name);
    with(|state| state.track(db, name.bytes(), slot));
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}

fn internal(ctx: Ctx) -> Result<(), Error> {
    if ctx.is_replaying() {
        Ok(())
    } else {
        Err(Error::Internal)
    }
}

pub(crate) fn info(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let name = sensor(args, 1)?;
    let mut key = Key::open(ctx, name, Mode::Look);
    let Some(model) = datatype::model(&mut key)? else {
        ctx.reply_null();
        return Ok(());
    };
    let used = ctx.call(c"MEMORY", false, &[ctx.string(b"USAGE").borrow(), name]);
    let bytes = if let Called::Integer(bytes) = used {
        bytes.unsigned_abs() as usize
    } else {
        model.bytes()
    };
    let profile = with(|state| model.profile(name.bytes(), &mut state.rules));
    reply::send(ctx, &info::reply(name.bytes(), model, &profile, bytes));
    Ok(())
}

pub(crate) fn ack(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let (name, ack) = (sensor(args, 1)?, Ack::parse(&args.rest(2))?);
    let mut key = Key::open(ctx, name, Mode::Change);
    let alert = datatype::model(&mut key)?.and_then(|model| {
        let profile = with(|state| model.profile(name.bytes(), &mut state.rules));
        Alert::of_ack(
            name.bytes(),
            model,
            &profile,
            ctx.now(),
            &ack.by,
            &ack.comment,
        )
    });
    if let Some(alert) = &alert {
        ctx.modified(name);
        ctx.replicate_verbatim();
        effects::tell(ctx, name, alert);
    }
    ctx.reply_int(i64::from(alert.is_some()));
    Ok(())
}

pub(crate) fn reset(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let known = ingest::reset(ctx, sensor(args, 1)?)?;
    ctx.reply_int(i64::from(known));
    Ok(())
}

pub(crate) fn alerts(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let rows = match Query::parse(&args.rest(1))? {
        Query::Streams => alert_streams(ctx),
        Query::Open(filter) => {
            let most = filter.count.unwrap_or(usize::MAX);
            let wanted = |place: Place| {
                let (db, name) = place;
                with_model(ctx, db, &name, |model| {
                    let episode = model.alarm.open()?;
                    filter
                        .wants(&name, episode)
                        .then(|| alerts::row(&name, i64::from(db), model, episode))
                })
            };
            // The set is copied since opening a key may expire it, which changes the set.
            let places: Vec<Place> = with(|state| state.open.iter().cloned().collect());
            places.into_iter().filter_map(wanted).take(most).collect()
        }
    };
    reply::send(ctx, &Reply::Array(rows));
    Ok(())
}

/// Looks at the model of a place, if there still is one.
fn with_model<T>(
    ctx: Ctx,
    db: i32,
    name: &[u8],
    look: impl FnOnce(&Model) -> Option<T>,
) -> Option<T> {
    let before = ctx.db();
    if !ctx.select(db) {
        return None;
    }
    let name = ctx.string(name);
    let mut key = Key::open(ctx, name.borrow(), Mode::Look);
    let seen = datatype::model(&mut key)
        .ok()
        .flatten()
        .and_then(|model| look(model));
    drop(key);
    ctx.select(before);
    seen
}

/// The alert streams on this server. On a cluster each hash tag has one of its own, and only the keyspace knows them.
fn alert_streams(ctx: Ctx) -> Vec<Reply> {
    let (base, cluster) = with(|state| (state.settings.alerts_key.clone(), state.cluster));
    let mut streams = if cluster {
        scan::keys(ctx, |name| key::is_alerts_of(&base, name))
    } else {
        vec![base]
    };
    streams.retain(|name| Key::exists(ctx, ctx.string(name).borrow()));
    streams.sort();
    streams.into_iter().map(Reply::Text).collect()
}

pub(crate) fn config_set(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let changes = config::changes(&args.rest(3))?;
    with(|state| state.rules.set(args.bytes(2), &changes))?;
    changed(ctx)
}

pub(crate) fn config_get(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    reply::send(
        ctx,
        &with(|state| {
            state
                .rules
                .get(args.bytes(2))
                .map_or(Reply::Null, config::rule)
        }),
    );
    Ok(())
}

pub(crate) fn config_resolve(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    reply::send(
        ctx,
        &with(|state| config::resolved(args.bytes(2), &state.rules)),
    );
    Ok(())
}

pub(crate) fn config_list(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    reply::send(ctx, &with(|state| config::list(&state.rules)));
    Ok(())
}

pub(crate) fn config_del(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let deleted = with(|state| state.rules.delete(args.bytes(2)));
    if deleted {
        ctx.replicate_verbatim();
    }
    ctx.reply_int(i64::from(deleted));
    Ok(())
}

pub(crate) fn config_export(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    ctx.reply_bytes(with(|state| document::export(&state.rules)).as_bytes());
    Ok(())
}

pub(crate) fn config_import(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if args.len() > 4 {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    let replace = config::replaces(args.get(3).map(Str::bytes))?;
    let rules = document::import(args.bytes(2))?;
    with(|state| state.rules.import(rules, replace));
    changed(ctx)
}

pub(crate) fn config_help(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    reply::send(ctx, &config::help());
    Ok(())
}

fn changed(ctx: Ctx) -> Result<(), Error> {
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}

/// `_panic [key]`: provokes a panic, with a key in its next reading. Only in builds with debug assertions.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "it is what the command is for")]
pub(crate) fn panic(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let Some(key) = args.get(1) else {
        panic!("provoked by ANOMALY._PANIC")
    };
    with(|state| state.panic_in = Some(key.bytes().to_vec()));
    ctx.reply_simple(c"OK");
    Ok(())
}
