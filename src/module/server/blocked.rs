//! A client that waits for its reply while others go on.

use std::ptr;

use redis_module::raw;

use super::{Ctx, api};

/// A callback of the server's with the arguments of the command.
pub(crate) type OnTimeout = unsafe extern "C" fn(
    *mut raw::RedisModuleCtx,
    *mut *mut raw::RedisModuleString,
    std::ffi::c_int,
) -> std::ffi::c_int;
/// A callback of the server's for a client that is gone.
pub(crate) type OnDisconnect =
    unsafe extern "C" fn(*mut raw::RedisModuleCtx, *mut raw::RedisModuleBlockedClient);

/// A client that waits. Whoever holds it must let it go, also when the client has disconnected.
pub(crate) struct Blocked {
    client: *mut raw::RedisModuleBlockedClient,
    ctx: *mut raw::RedisModuleCtx,
}

/// Where the reply to a client that waits is gathered. Nothing but replying may be done with it.
pub(crate) struct Replier(*mut raw::RedisModuleCtx);

// SAFETY: the server's replies to a blocked client may be made on any thread without its lock: they gather in a buffer that
// nothing else touches until the client is let go, for which the thread that replies is waited for.
unsafe impl Send for Replier {}

impl Blocked {
    /// Has the client of a command wait. `on_timeout` is what CLIENT UNBLOCK calls, and replies; there is no timeout else.
    pub(crate) fn new(ctx: Ctx, on_timeout: OnTimeout, on_disconnect: OnDisconnect) -> Self {
        // SAFETY: a live context of a command that may block, callbacks of the types the server expects; the context for
        // replies is freed in `let_go`.
        unsafe {
            let client = api!(RedisModule_BlockClient(
                ctx.raw(),
                None,
                Some(on_timeout),
                None,
                0
            ));
            api!(RedisModule_SetDisconnectCallback(
                client,
                Some(on_disconnect)
            ));
            let ctx = api!(RedisModule_GetThreadSafeContext(client));
            Self { client, ctx }
        }
    }

    /// Whether it is that client.
    pub(crate) fn is(&self, client: *mut raw::RedisModuleBlockedClient) -> bool {
        ptr::eq(self.client, client)
    }

    /// The client whose waiting a callback is about.
    pub(crate) fn of_callback(ctx: Ctx) -> *mut raw::RedisModuleBlockedClient {
        // SAFETY: a live context; outside such a callback it gives null.
        unsafe { api!(RedisModule_GetBlockedClientHandle(ctx.raw())) }
    }

    pub(crate) fn replier(&self) -> Replier {
        Replier(self.ctx)
    }

    /// Sends what was replied; the client waits no more.
    pub(crate) fn let_go(self) {
        // SAFETY: both were made by `new`, and are used no more.
        unsafe {
            api!(RedisModule_FreeThreadSafeContext(self.ctx));
            api!(RedisModule_UnblockClient(self.client, ptr::null_mut()));
        }
    }
}

impl Replier {
    pub(crate) fn ctx(&self) -> Ctx {
        // SAFETY: it lives until the client is let go, for which the holder of this is waited for.
        unsafe { Ctx::new(self.0) }
    }
}
