//! INFO, ALERTS, BACKTEST, ACK, RESET and the internal `_load`.

use anomaly_core::alert::Alert;
use anomaly_core::command::ack::Ack;
use anomaly_core::command::alerts;
use anomaly_core::command::backtest::{Query, is_key};
use anomaly_core::command::{Reply, info};
use anomaly_core::model::Model;
use anomaly_core::{Error, codec};

use super::{internal, sensor};
use crate::server::{Args, Called, Ctx, Key, Mode, User};
use crate::state::{Place, with};
use crate::{alert_streams, datatype, effects, ingest, moving, reply};

pub(crate) fn info(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let name = sensor(args, 1)?;
    let mut key = Key::open(ctx, name, Mode::Look);
    let Some(model) = datatype::model(&mut key)? else {
        ctx.reply_null();
        return Ok(());
    };
    let used = ctx.call(c"MEMORY", &[ctx.string(b"USAGE").borrow(), name]);
    let bytes = if let Called::Integer(bytes) = used {
        bytes.unsigned_abs() as usize
    } else {
        model.bytes()
    };
    let profile = with(|state| model.profile(name.bytes(), &mut state.rules));
    reply::send(
        ctx,
        &info::reply(name.bytes(), model, &profile, ctx.now(), bytes),
    );
    Ok(())
}

pub(crate) fn ack(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let (name, ack) = (sensor(args, 1)?, Ack::parse(&args.rest(2))?);
    moving::check_alert(ctx, name.bytes())?;
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
    let name = sensor(args, 1)?;
    moving::check_alert(ctx, name.bytes())?;
    let known = ingest::reset(ctx, name)?;
    ctx.reply_int(i64::from(known));
    Ok(())
}

pub(crate) fn alerts(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let filter = match alerts::Query::parse(&args.rest(1))? {
        alerts::Query::Streams => return alert_streams::list(ctx),
        alerts::Query::Open(filter) => filter,
    };
    let most = filter.count.unwrap_or(usize::MAX);
    let user = User::of(ctx);
    let wanted = |place: Place| {
        let (db, name) = place;
        with_model(ctx, db, &name, |model| {
            let episode = model.alarm.open()?;
            // What the user may not read is not told of.
            let may = filter.wants(&name, episode)
                && user
                    .as_ref()
                    .is_none_or(|user| user.may_read(ctx.string(&name).borrow()));
            may.then(|| alerts::row(&name, i64::from(db), model, episode))
        })
    };
    // The set is copied since opening a key may expire it, which changes the set.
    let places: Vec<Place> = with(|state| state.open.iter().cloned().collect());
    let rows = places.into_iter().filter_map(wanted).take(most).collect();
    reply::send(ctx, &Reply::Array(rows));
    Ok(())
}

pub(crate) fn backtest(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if ctx.asks_for_keys() {
        if is_key(args.bytes(1)) {
            ctx.reads_key_at(1);
        }
        return Ok(());
    }
    crate::backtest::begin(ctx, Query::parse(&args.rest(1))?)
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

/// `_load key model`: a whole model, from an AOF without RDB preamble.
pub(crate) fn load(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    let model = codec::load(args.bytes(2))?;
    let (name, db) = (sensor(args, 1)?, ctx.db());
    let mut key = Key::open(ctx, name, Mode::Change);
    let slot = datatype::model_or_new(&mut key, name.bytes())?;
    slot.become_other(model);
    ctx.modified(name);
    with(|state| state.track(db, name.bytes(), slot));
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}
