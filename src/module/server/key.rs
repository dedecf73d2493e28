//! Open keys.

use std::ffi::c_int;

use redis_module::raw;

use super::{Ctx, Str, api};

/// How a key is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To look, without counting as use of the key.
    Look,
    /// To change.
    Change,
}

/// An open key; closed when dropped.
pub(crate) struct Key(*mut raw::RedisModuleKey);

impl Key {
    pub(crate) fn open(ctx: Ctx, name: Str<'_>, mode: Mode) -> Self {
        let flags = match mode {
            Mode::Look => raw::REDISMODULE_READ | raw::REDISMODULE_OPEN_KEY_NOTOUCH,
            Mode::Change => raw::REDISMODULE_READ | raw::REDISMODULE_WRITE,
        };
        // SAFETY: a live context and string. A null key stands for one that does not exist.
        Self(unsafe { api!(RedisModule_OpenKey(ctx.raw(), name.raw(), flags as c_int)) })
    }

    pub(crate) fn exists(ctx: Ctx, name: Str<'_>) -> bool {
        // SAFETY: a live context and string.
        unsafe { api!(RedisModule_KeyExists(ctx.raw(), name.raw())) == 1 }
    }

    /// Whether it has a time at which it expires.
    pub(crate) fn expires(&self) -> bool {
        // Redis 8.2 ends if it is asked that of a key that is yet to be written.
        // SAFETY: a key we hold open, which there is.
        !self.is_empty()
            && unsafe { api!(RedisModule_GetExpire(self.0)) }
                != raw::mstime_t::from(raw::REDISMODULE_NO_EXPIRE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        // SAFETY: a key we hold open, or null, which counts as empty.
        self.0.is_null()
            || unsafe {
                api!(RedisModule_KeyType(self.0)) == raw::REDISMODULE_KEYTYPE_EMPTY as c_int
            }
    }

    /// The database it is in; `None`: it does not exist.
    pub(crate) fn db(&self) -> Option<c_int> {
        // SAFETY: a key we hold open, which there is.
        (!self.0.is_null()).then(|| unsafe { api!(RedisModule_GetDbIdFromModuleKey(self.0)) })
    }

    /// Deletes what is there, without an event of a deletion.
    pub(crate) fn delete(self) {
        if !self.0.is_null() {
            // SAFETY: a key we hold open for writing; nothing else refers to its value.
            unsafe { api!(RedisModule_DeleteKey(self.0)) };
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        // SAFETY: a key we hold open, or null, which counts as empty.
        unsafe { api!(RedisModule_KeyType(self.0)) == raw::REDISMODULE_KEYTYPE_STREAM as c_int }
    }

    pub(crate) fn raw(&self) -> *mut raw::RedisModuleKey {
        self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: a key we hold open, closed only here.
            unsafe { api!(RedisModule_CloseKey(self.0)) }
        }
    }
}
