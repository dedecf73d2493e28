//! The fields of the entry that an XADD is about to add: they need not be read back from the stream.
//!
//! A command filter sees every command before it runs, and keeps the fields of an XADD to a watched stream until the next
//! command. The notification that follows names the stream by the very string object that was the argument; as it is held
//! here, no other command can have an object at its place, so the same address is the same command. Commands that no filter
//! sees (those of a transaction) and those that run long after they were seen are therefore never mistaken: their entries
//! are read from the stream.

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;

use anomaly_core::watch::Watch;
use anomaly_core::xadd;
use redis_module::raw;

use crate::fence::guard;
use crate::server::{Ctx, Fields, OK, OwnedStr, Str, api};
use crate::state::with;

/// The newest command that was seen, if it was an XADD to a watched stream.
#[derive(Default)]
pub(crate) struct Arguments {
    seen: Option<Seen>,
    listening: bool,
}

/// An XADD to a watched stream.
pub(super) struct Seen {
    pub(super) stream: OwnedStr,
    pub(super) watch: Arc<Watch>,
    /// Names and values, if they were seen.
    pub(super) fields: Option<Fields>,
    /// No reading needs it for its time, and when the command is over it is the stream's newest: it is a client's own
    /// command, and does not trim its entry away.
    pub(super) id_can_wait: bool,
}

impl Seen {
    /// An XADD that was not seen before it ran.
    pub(super) fn unread(stream: Str<'_>, watch: Arc<Watch>) -> Self {
        Self {
            stream: stream.hold(),
            watch,
            fields: None,
            id_can_wait: false,
        }
    }
}

impl Arguments {
    /// The command that tells of an entry in this stream, if it was seen.
    pub(super) fn of_command(&mut self, stream: Str<'_>) -> Option<Seen> {
        self.seen
            .take_if(|seen| ptr::eq(seen.stream.raw(), stream.raw()))
    }
}

/// Sees to it that commands are seen from now on. Nobody pays for that before a watched stream is first added to, and a
/// filter that comes late comes after those of other modules.
pub(super) fn listen(ctx: Ctx) {
    if with(|state| std::mem::replace(&mut state.arguments.listening, true)) {
        return;
    }
    let not_ours = raw::REDISMODULE_CMDFILTER_NOSELF as c_int;
    // SAFETY: a live context and a callback of the type the server expects.
    unsafe {
        api!(RedisModule_RegisterCommandFilter(
            ctx.raw(),
            Some(on_command),
            not_ours
        ))
    };
}

unsafe extern "C" fn on_command(filter: *mut raw::RedisModuleCommandFilterCtx) {
    guard((), || {
        // SAFETY: the server gives a live command, whose words live as long.
        let words = unsafe { api!(RedisModule_CommandFilterArgsCount(filter)) };
        // SAFETY: as above.
        let word = |at: usize| unsafe {
            Str::new(api!(RedisModule_CommandFilterArgGet(filter, at as c_int)))
        };
        let seen = see(filter, usize::try_from(words).unwrap_or(0), word);
        with(|state| state.arguments.seen = seen);
    });
}

fn see<'a>(
    filter: *mut raw::RedisModuleCommandFilterCtx,
    words: usize,
    word: impl Fn(usize) -> Str<'a>,
) -> Option<Seen> {
    if words < 5 || !word(0).bytes().eq_ignore_ascii_case(b"XADD") {
        return None;
    }
    let stream = word(1);
    let watch = with(|state| state.watch_of(stream.bytes()))?;
    let layout = xadd::layout(|at| word(at).bytes(), words)?;
    let mut names = (layout.fields..words).step_by(2).map(|at| word(at).bytes());
    Some(Seen {
        stream: stream.hold(),
        id_can_wait: layout.keeps && watch.finds_time(&mut names) && is_of_client(filter),
        watch,
        fields: Some((layout.fields..words).map(|at| word(at).hold()).collect()),
    })
}

/// Whether a command comes from a client itself, not from a script or a module, which could run more in its stead.
fn is_of_client(filter: *mut raw::RedisModuleCommandFilterCtx) -> bool {
    // SAFETY: a live command; without a place for it nothing is told but whether there is such a client.
    unsafe {
        let client = { raw::RedisModule_CommandFilterGetClientId }.map_or(0, |id| id(filter));
        api!(RedisModule_GetClientInfoById(ptr::null_mut(), client)) == OK
    }
}
