//! CONFIG: the rules.

use anomaly_core::command::{Reply, config};
use anomaly_core::setting::Setting;
use anomaly_core::{Error, document};

use super::changed;
use crate::server::{Args, Ctx, Str};
use crate::state::with;
use crate::{reply, silence};

pub(crate) fn config_set(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let changes = config::changes(&args.rest(3))?;
    with(|state| state.rules.set(args.bytes(2), &changes))?;
    let timers = [Setting::Nodata, Setting::Expire, Setting::Enabled];
    if changes.iter().any(|(setting, _)| timers.contains(setting)) {
        silence::sweep(ctx);
    }
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
        silence::sweep(ctx);
        ctx.replicate_verbatim();
    }
    ctx.reply_int(i64::from(deleted));
    Ok(())
}

pub(crate) fn config_export(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    ctx.reply_bytes(with(|state| document::export(&state.rules, &state.watches)).as_bytes());
    Ok(())
}

pub(crate) fn config_import(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    if args.len() > 4 {
        ctx.reply_wrong_arity();
        return Ok(());
    }
    let replace = config::replaces(args.get(3).map(Str::bytes))?;
    let document = document::import(args.bytes(2))?;
    with(|state| {
        document
            .watches
            .iter()
            .try_for_each(|watch| watch.check_slot(state.cluster))?;
        state.rules.import(document.rules, replace);
        state.watches.import(document.watches, replace);
        state.keep_watched_backlogs();
        Ok(())
    })?;
    silence::sweep(ctx);
    changed(ctx)
}

pub(crate) fn config_help(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    reply::send(ctx, &config::help());
    Ok(())
}
