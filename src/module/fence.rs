//! The fence: no panic leaves a callback, since one that reached the server's C code would end the process.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{self, AssertUnwindSafe};

use anomaly_core::Error;
use redis_module::raw;

use crate::server::{self, Args, Ctx};

/// What a client reads after a panic that was caught.
pub(crate) const INTERNAL: &str = "ERR internal error in the anomaly module: see the server's log";

/// From now on a panic is one line in the server's log, not text on its standard error.
pub(crate) fn install() {
    panic::set_hook(Box::new(|info| {
        let place = info
            .location()
            .map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
        server::log(
            None,
            "warning",
            &format!(
                "anomaly: caught a panic{place}: {}",
                message(info.payload())
            ),
        );
    }));
}

fn message(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    anomaly_core::text::shown(text.unwrap_or("no message").as_bytes())
}

/// Runs the body of a callback; `instead` is what the server gets after a panic.
pub(crate) fn guard<T>(instead: T, body: impl FnOnce() -> T) -> T {
    caught(body).unwrap_or(instead)
}

/// Runs something that may panic; `None` if it did.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    // What was being changed is reset or dropped by whoever called, not looked at again.
    panic::catch_unwind(AssertUnwindSafe(body)).ok()
}

/// Runs a command: its error, or a panic, is the reply.
#[inline(always)]
pub(crate) fn command(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
    body: impl Fn(Ctx, Args<'_>) -> Result<(), Error>,
) -> c_int {
    // SAFETY: the server calls commands with a live context and argc live strings.
    let (ctx, args) = unsafe { (Ctx::new(ctx), Args::new(argv, argc)) };
    let done = caught(|| {
        if let Err(error) = body(ctx, args) {
            refuse(ctx, &error);
        }
    });
    if done.is_none() {
        ctx.reply_error(INTERNAL);
    }
    server::OK
}

#[cold]
fn refuse(ctx: Ctx, error: &Error) {
    ctx.reply_error(&error.to_string());
}
