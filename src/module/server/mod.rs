//! The server's module API in safe Rust: contexts, strings, keys, calls. Most of the project's `unsafe` is here.

mod blocked;
mod called;
mod ctx;
mod entries;
mod filter;
mod key;
mod range;
mod release;
mod strings;
mod user;

use std::ffi::{CString, c_int};
use std::ptr;

use anomaly_core::release::Version;
use redis_module::raw;

pub(crate) use blocked::{Blocked, Replier};
#[cfg(debug_assertions)]
pub(crate) use called::SHORTENED;
pub(crate) use called::{Called, Kept};
pub(crate) use ctx::{Ctx, Flags, OwnCtx, Served};
pub(crate) use entries::{Entries, Fields};
pub(crate) use filter::{Client, Filtered};
pub(crate) use key::{Key, Mode};
pub(crate) use range::{Sample, Samples};
pub(crate) use release::{find_out_release, is_looked_at, is_one_of, say_if_not_looked_at};
pub(crate) use strings::{Args, Argv, Constant, Event, OwnedStr, Str, borrowed};
pub(crate) use user::User;

/// What a callback returns when all is well.
pub(crate) const OK: c_int = raw::REDISMODULE_OK as c_int;
/// What a callback returns otherwise.
pub(crate) const ERR: c_int = raw::REDISMODULE_ERR as c_int;

/// Calls a function of the module API. [`check_version`] has seen to it that the server has it.
macro_rules! api {
    ($name:ident($($arg:expr),* $(,)?)) => {
        match raw::$name {
            Some(function) => function($($arg),*),
            None => unreachable!(concat!(stringify!($name), " is missing although the version was checked")),
        }
    };
}
pub(crate) use api;

/// The oldest server that has all we need.
const OLDEST: Version = (7, 2);

/// The version that the server gives modules: its own, also where INFO calls it one of Redis that it is compatible with.
fn version() -> Version {
    // SAFETY: reads a function pointer that the server set, and calls it if there is one.
    let version =
        unsafe { { raw::RedisModule_GetServerVersion }.map_or(0, |function| function()) } as u32;
    (version >> 16, version >> 8 & 0xff)
}

/// Whether clients are paused, and nothing may be passed on, since a failover is being prepared: the server would take that for a bug
/// and end.
pub(crate) fn is_paused() -> bool {
    // SAFETY: takes no arguments and has no effect.
    unsafe { { raw::RedisModule_AvoidReplicaTraffic }.is_none_or(|asked| asked() != 0) }
}

/// Refuses servers that are too old, before anything they lack is called.
pub(crate) fn check_version() -> Result<(), String> {
    let (major, minor) = version();
    // SAFETY: reads a function pointer that the server set.
    let jobs = unsafe { raw::RedisModule_AddPostNotificationJob };
    if (major, minor) < OLDEST || jobs.is_none() {
        return Err(format!(
            "this server is version {major}.{minor}, the anomaly module needs Redis {}.{} or later, or Valkey 8.0 or later",
            OLDEST.0, OLDEST.1
        ));
    }
    Ok(())
}

/// One line in the server's log; without a context it cannot tell whose it is.
pub(crate) fn log(ctx: Option<Ctx>, level: &str, text: &str) {
    let (Ok(level), Ok(text)) = (
        CString::new(level),
        CString::new(text.replace('\0', "\\x00")),
    ) else {
        return;
    };
    let ctx = ctx.map_or(ptr::null_mut(), Ctx::raw);
    // SAFETY: a live context or null; the format has one %s, for which one C string is given.
    unsafe {
        api!(RedisModule_Log(
            ctx,
            level.as_ptr(),
            c"%s".as_ptr(),
            text.as_ptr()
        ))
    }
}
