//! The user of a client, and what that user may read.

use std::ffi::c_int;

use redis_module::raw;

use super::{Client, Ctx, OK, OwnedStr, Str, api};

/// The name of a user.
pub(crate) struct User(OwnedStr);

impl User {
    /// The user of the client that sent a command, itself or by a script; `None` for another module's or the server's own,
    /// who may do anything.
    pub(crate) fn of(ctx: Ctx) -> Option<Self> {
        // SAFETY: a live context; the string is ours to free.
        let name = unsafe {
            let client = api!(RedisModule_GetClientId(ctx.raw()));
            let name = api!(RedisModule_GetClientUserNameById(ctx.raw(), client));
            if name.is_null() && ctx.runs_script() && ctx.has_user() {
                api!(RedisModule_GetCurrentUserName(ctx.raw()))
            } else {
                name
            }
        };
        (!name.is_null()).then(|| Self(OwnedStr::of(name)))
    }

    /// The user of a client, if there is such a client.
    pub(crate) fn of_client(ctx: Ctx, client: Client) -> Option<Self> {
        // SAFETY: a live context; the string is ours to free.
        let name = unsafe { api!(RedisModule_GetClientUserNameById(ctx.raw(), client.0)) };
        (!name.is_null()).then(|| Self(OwnedStr::of(name)))
    }

    /// Whether the user may run a command, given by its words, now.
    pub(crate) fn may_run(&self, words: &[Str<'_>]) -> bool {
        // SAFETY: live strings, to which a `Str` is nothing but a pointer, and their number; the user is freed here.
        unsafe {
            let user = api!(RedisModule_GetModuleUserFromUserName(self.0.raw()));
            if user.is_null() {
                return false;
            }
            let argv = words
                .as_ptr()
                .cast_mut()
                .cast::<*mut raw::RedisModuleString>();
            let may = api!(RedisModule_ACLCheckCommandPermissions(
                user,
                argv,
                words.len() as c_int
            )) == OK;
            api!(RedisModule_FreeModuleUser(user));
            may
        }
    }

    /// Whether the user may read a key now. One who was deleted may not.
    pub(crate) fn may_read(&self, key: Str<'_>) -> bool {
        // SAFETY: live strings; the user is freed here.
        unsafe {
            let user = api!(RedisModule_GetModuleUserFromUserName(self.0.raw()));
            if user.is_null() {
                return false;
            }
            let access = raw::REDISMODULE_CMD_KEY_ACCESS as c_int;
            let may = api!(RedisModule_ACLCheckKeyPermissions(user, key.raw(), access)) == OK;
            api!(RedisModule_FreeModuleUser(user));
            may
        }
    }
}
