//! WATCH: the streams that are read, and the internal `_backlog`.

use anomaly_core::Error;
use anomaly_core::command::{Reply, watch};

use super::{changed, internal};
use crate::server::{Args, Ctx};
use crate::state::with;
use crate::{backlog as slices, reply};

pub(crate) fn watch_set(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let pattern = args.bytes(2);
    let (watch, from) = watch::parse_set(pattern, &args.rest(3), with(|state| state.cluster))?;
    with(|state| state.watches.set(watch));
    changed(ctx)?;
    // Replicas and files are told of each step by the server that takes it.
    if let Some(from) = from.filter(|_| ctx.decides()) {
        slices::begin(ctx, pattern, from);
    }
    Ok(())
}

pub(crate) fn watch_get(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let pattern = args.bytes(2);
    let found = with(|state| {
        let watch = state.watches.get(pattern)?;
        let mut reply = watch::watch(watch);
        let backlog = state.backlog_of(pattern);
        if let (Reply::Map(pairs), false) = (&mut reply, backlog.is_empty()) {
            pairs.push((b"backlog".to_vec(), Reply::Array(backlog)));
        }
        Some(reply)
    });
    reply::send(ctx, &found.unwrap_or(Reply::Null));
    Ok(())
}

pub(crate) fn watch_list(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    reply::send(ctx, &with(|state| watch::list(&state.watches)));
    Ok(())
}

pub(crate) fn watch_del(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    let deleted = with(|state| {
        let deleted = state.watches.delete(args.bytes(2));
        state.keep_watched_backlogs();
        deleted
    });
    if deleted {
        ctx.replicate_verbatim();
    }
    ctx.reply_int(i64::from(deleted));
    Ok(())
}

pub(crate) fn watch_help(ctx: Ctx, _: Args<'_>) -> Result<(), Error> {
    reply::send(ctx, &watch::help());
    Ok(())
}

/// `_backlog SEARCH pattern from | FOUND pattern | AT stream next read | DONE stream`: what a master has yet to read, for
/// replicas and files.
pub(crate) fn backlog(ctx: Ctx, args: Args<'_>) -> Result<(), Error> {
    internal(ctx)?;
    let db = ctx.db();
    if !with(|state| state.take_backlog(db, &args.rest(1))) {
        return Err(Error::Version {
            given: args.bytes(1).to_vec(),
        });
    }
    ctx.replicate_verbatim();
    ctx.reply_simple(c"OK");
    Ok(())
}
