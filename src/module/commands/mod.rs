//! The commands: each parses, calls the one thing that does it, and replies.

mod readings;
mod rules;
mod sensors;
mod streams;

use anomaly_core::Error;

use crate::server::{Args, Ctx, Str};

pub(crate) use readings::{TIMED, add, apply, madd, silent};
pub(crate) use rules::{
    config_del, config_export, config_get, config_help, config_import, config_list, config_resolve,
    config_set,
};
pub(crate) use sensors::{ack, alerts, backtest, info, load, reset};
pub(crate) use streams::{backlog, watch_del, watch_get, watch_help, watch_list, watch_set};

fn sensor(args: Args<'_>, index: usize) -> Result<Str<'_>, Error> {
    // Not `ok_or`, which makes an error, and drops it, for each argument that is there.
    match args.get(index) {
        Some(sensor) => Ok(sensor),
        None => Err(Error::WrongType),
    }
}

/// Refuses clients what only replication and loading may do.
fn internal(ctx: Ctx) -> Result<(), Error> {
    if ctx.is_replaying() {
        Ok(())
    } else {
        Err(Error::Internal)
    }
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
    crate::state::with(|state| state.panic_in = Some(key.bytes().to_vec()));
    ctx.reply_simple(c"OK");
    Ok(())
}
