//! Commands before they run, and the clients that send them.

use std::ffi::c_int;
use std::ptr;

use redis_module::raw;

use super::{OK, Str, api};

/// A command that is about to run, as a command filter sees it.
#[derive(Clone, Copy)]
pub(crate) struct Filtered(*mut raw::RedisModuleCommandFilterCtx);

impl Filtered {
    /// # Safety
    /// It must be what the server gives a command filter, and not outlive its call.
    pub(crate) unsafe fn new(filter: *mut raw::RedisModuleCommandFilterCtx) -> Self {
        Self(filter)
    }

    /// How many words it has, its name included.
    pub(crate) fn len(self) -> usize {
        // SAFETY: a live command, as promised to `new`.
        usize::try_from(unsafe { api!(RedisModule_CommandFilterArgsCount(self.0)) }).unwrap_or(0)
    }

    /// The word at a position.
    pub(crate) fn get<'a>(self, at: usize) -> Option<Str<'a>> {
        // SAFETY: as above; its words live as long. What is not there is null.
        unsafe {
            let word = api!(RedisModule_CommandFilterArgGet(self.0, at as c_int));
            (!word.is_null()).then(|| Str::new(word))
        }
    }

    /// The word at a position, empty where there is none. Called a dozen times for a command: in each of these places it would
    /// take as much of the processor's cache of instructions as the work between them.
    #[inline(never)]
    pub(crate) fn word<'a>(self, at: usize) -> &'a [u8] {
        self.get(at).map_or(&[], Str::bytes)
    }

    /// All its words.
    pub(crate) fn words<'a>(self) -> Vec<Str<'a>> {
        (0..self.len()).filter_map(|at| self.get(at)).collect()
    }

    /// Who sends it.
    pub(crate) fn client(self) -> Client {
        // SAFETY: a live command.
        Client(unsafe { { raw::RedisModule_CommandFilterGetClientId }.map_or(0, |id| id(self.0)) })
    }
}

/// The id of a client. What runs in a script, or for a module, has one that no client has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client(pub(crate) u64);

impl Client {
    /// Whether there is such a client.
    pub(crate) fn is_there(self) -> bool {
        // SAFETY: without a place for it nothing is told but whether there is.
        let found = unsafe { api!(RedisModule_GetClientInfoById(ptr::null_mut(), self.0)) };
        found == OK
    }

    fn flags(self) -> u32 {
        let mut info = raw::RedisModuleClientInfoV1 {
            version: u64::from(raw::REDISMODULE_CLIENTINFO_VERSION),
            flags: 0,
            id: 0,
            addr: [0; 46],
            port: 0,
            db: 0,
        };
        // SAFETY: a place for what this version tells.
        let found = unsafe {
            api!(RedisModule_GetClientInfoById(
                (&raw mut info).cast(),
                self.0
            ))
        };
        if found == OK { info.flags as u32 } else { 0 }
    }

    /// Whether there is a command of its that has yet to be run: it is blocked, or in a transaction.
    pub(crate) fn waits(self) -> bool {
        let waits =
            raw::REDISMODULE_CLIENTINFO_FLAG_BLOCKED | raw::REDISMODULE_CLIENTINFO_FLAG_MULTI;
        self.flags() & waits != 0
    }

    /// Whether its commands are put in a transaction.
    pub(crate) fn is_in_transaction(self) -> bool {
        self.flags() & raw::REDISMODULE_CLIENTINFO_FLAG_MULTI != 0
    }
}
