//! Whether anybody hears what is passed on: the AOF, replicas, or the backlog that is kept for them.
//!
//! To pass a command on costs more than to score a reading, also where the server then drops it. It can be left out where it
//! would be dropped, and only there. The AOF can be seen at any time. A backlog and replicas begin with a replica's full
//! synchronisation, which forks; or with a file or a master that was followed, which is loaded. Each of these makes the
//! answer unknown, and the server is asked again. Clusters and servers of a kind that was not looked at are always heard.
//! That nobody hears any more is not told: a backlog without replicas is freed after `repl-backlog-ttl`. So where somebody does, the
//! server is asked again now and then.
//!
//! Most servers of which nobody hears are masters without AOF and eviction, too, and stay so until somebody sets that: then not even that
//! is asked with each reading. To set it makes it unknown, and so does all of the above: an AOF that begins of itself, once a
//! replica has become a master or a module has loaded a file, forks.

use std::ptr;

use anomaly_core::release::{LOOKED_AT, Releases};
use anomaly_core::units::Timestamp;
use redis_module::raw;

use crate::server::{Ctx, Flags, OK, api, is_one_of};
use crate::state::{State, with};

/// These begin replication as described: besides those that all of the module goes by, one more of Redis.
const ALIKE: Releases = Releases {
    redis: (7, 2)..=(8, 2),
    ..LOOKED_AT
};

/// Milliseconds for which somebody hears who once did.
const STAYS: i64 = 1000;

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The server is to be asked.
    #[default]
    Unknown,
    Nobody,
    /// As of then.
    Somebody(Timestamp),
}

/// What a reading has to know of the server.
#[derive(Clone, Copy)]
pub(crate) enum Situation {
    /// A master without AOF, of which nobody hears, and which evicts nothing; no cluster, and nothing is being loaded.
    Quiet,
    /// Any; what the server says of itself.
    Any(Flags),
}

impl Situation {
    /// As it is now.
    #[inline]
    pub(crate) fn of(ctx: Ctx) -> Self {
        if with(|state| state.quiet) {
            #[cfg(debug_assertions)]
            ctx.check_that_it_is_quiet();
            Self::Quiet
        } else {
            Self::look(ctx)
        }
    }

    #[inline(never)]
    fn look(ctx: Ctx) -> Self {
        let flags = ctx.asked();
        if flags.is_plain() && !Audience::hears(ctx, flags) {
            with(|state| state.quiet = true);
        }
        Self::Any(flags)
    }

    /// Whether what a command's job passes on now reaches anybody.
    #[inline]
    pub(crate) fn hears(self, ctx: Ctx) -> bool {
        match self {
            Self::Quiet => false,
            Self::Any(flags) => Audience::hears(ctx, flags),
        }
    }

    /// As [`Flags::can_lose_keys`].
    #[inline]
    pub(crate) fn can_lose_keys(self) -> bool {
        match self {
            Self::Quiet => false,
            Self::Any(flags) => flags.can_lose_keys(),
        }
    }

    /// As [`Flags::is_pressed`].
    pub(crate) fn is_pressed(self, ctx: Ctx) -> bool {
        match self {
            Self::Quiet => ctx.asked().is_pressed(),
            Self::Any(flags) => flags.is_pressed(),
        }
    }
}

impl Audience {
    /// Whether what a command's job passes on now reaches anybody.
    fn hears(ctx: Ctx, flags: Flags) -> bool {
        if flags.writes_aof() {
            return true;
        }
        match with(|state| state.audience) {
            Self::Nobody => false,
            // A clock that was set back is no clock.
            Self::Somebody(then) if (0..STAYS).contains(&ctx.now().since(then)) => true,
            _ => Self::find_out(ctx),
        }
    }

    #[cold]
    fn find_out(ctx: Ctx) -> bool {
        let unlike = with(|state| state.cluster) || !is_one_of(&ALIKE);
        let hears = unlike || hears(ctx);
        let audience = if hears {
            Self::Somebody(ctx.now())
        } else {
            Self::Nobody
        };
        with(|state| state.audience = audience);
        hears
    }
}

impl State {
    /// Replication or an AOF may be about to begin, or settings are other ones.
    pub(crate) fn forget_audience(&mut self) {
        self.audience = Audience::Unknown;
        (self.leads, self.quiet) = (None, false);
    }
}

/// Whether this server takes the decisions on what a client's own command does. It does until it follows a master or loads a
/// file, of which it tells.
#[inline]
pub(crate) fn leads(ctx: Ctx) -> bool {
    with(|state| state.leads).unwrap_or_else(|| find_out_leads(ctx))
}

#[cold]
fn find_out_leads(ctx: Ctx) -> bool {
    let leads = ctx.decides();
    with(|state| state.leads = Some(leads));
    leads
}

/// Whether the server has replicas or a backlog.
fn hears(ctx: Ctx) -> bool {
    // SAFETY: a live context and C strings; what is asked for is freed.
    let counts = unsafe {
        let info = api!(RedisModule_GetServerInfo(
            ctx.raw(),
            c"replication".as_ptr()
        ));
        let count = |field: &std::ffi::CStr| {
            let mut failed = 0;
            let count = api!(RedisModule_ServerInfoGetFieldUnsigned(
                info,
                field.as_ptr(),
                &raw mut failed
            ));
            (failed == OK).then_some(count)
        };
        let counts = [c"repl_backlog_active", c"connected_slaves"].map(count);
        api!(RedisModule_FreeServerInfo(ptr::null_mut(), info));
        counts
    };
    counts != [Some(0), Some(0)]
}
