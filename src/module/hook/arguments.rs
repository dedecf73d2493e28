//! The fields of the entry that an XADD is about to add: they need not be read back from the stream.
//!
//! A command filter sees every command before it runs, and keeps the fields of an XADD to a watched stream until the next
//! command. The notification that follows names the stream by the very string object that was the argument; as it is held
//! here, no other command can have an object at its place, so the same address is the same command. Commands that no filter
//! sees (those of a transaction) and those that run long after they were seen are therefore never mistaken: their entries
//! are read from the stream.

use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use anomaly_core::xadd;
use redis_module::raw;

use super::watched::{self, Stream};
use crate::fence::guard;
use crate::server::{Ctx, Fields, OK, OwnedStr, Str, api};
use crate::state::with;

/// So many clients are kept in mind, so that the server need not be asked for them at each command.
const CLIENTS: usize = 64;

/// The newest command that was seen, if it was an XADD to a watched stream.
pub(crate) struct Arguments {
    seen: Option<Seen>,
    listening: bool,
    /// Ids of clients that are there; they are never given twice.
    clients: [u64; CLIENTS],
    /// The id that the server chooses for an entry can be known without reading it.
    knows_ids: bool,
}

/// An XADD to a watched stream.
pub(super) struct Seen {
    pub(super) stream: OwnedStr,
    pub(super) watched: Rc<Stream>,
    /// Names and values, if they were seen.
    pub(super) fields: Option<Fields>,
    /// When the command is over it is the stream's newest: it is a client's own command, and does not trim its entry away.
    pub(super) id_can_wait: bool,
    /// The server chooses it as the clock and what is known of the stream say.
    pub(super) is_chosen: bool,
}

impl Seen {
    /// An XADD that was not seen before it ran.
    pub(super) fn unread(stream: Str<'_>, watched: Rc<Stream>) -> Self {
        Self {
            stream: stream.hold(),
            watched,
            fields: None,
            id_can_wait: false,
            is_chosen: false,
        }
    }

    /// Whether one of its fields tells the time.
    pub(super) fn finds_time(&self) -> bool {
        let names = self.fields.iter().flatten().step_by(2);
        let names = names.map(|name| name.borrow().bytes());
        self.watched.watch.finds_time(names)
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seen: None,
            listening: false,
            clients: [0; CLIENTS],
            knows_ids: false,
        }
    }
}

impl Arguments {
    /// The command that tells of an entry in this stream, if it was seen.
    pub(super) fn of_command(&mut self, stream: Str<'_>) -> Option<Seen> {
        self.seen
            .take_if(|seen| ptr::eq(seen.stream.raw(), stream.raw()))
    }

    /// Other modules may have come, and may do what nobody hears of. For good: what is rare need not be fast.
    pub(crate) fn doubt_ids(&mut self) {
        self.knows_ids = false;
    }
}

/// Sees to it that commands are seen from now on. Nobody pays for that before a watched stream is first added to, and a
/// filter that comes late comes after those of other modules.
pub(super) fn listen(ctx: Ctx) {
    if with(|state| std::mem::replace(&mut state.arguments.listening, true)) {
        return;
    }
    let knows_ids = watched::is_known(ctx, with(|state| state.cluster));
    with(|state| state.arguments.knows_ids = knows_ids);
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
        let name = word(0).bytes();
        let seen = if xadd::is(name, b"XADD") {
            see(filter, usize::try_from(words).unwrap_or(0), word)
        } else {
            if xadd::is(name, b"MODULE") {
                with(|state| state.arguments.doubt_ids());
            }
            None
        };
        with(|state| state.arguments.seen = seen);
    });
}

fn see<'a>(
    filter: *mut raw::RedisModuleCommandFilterCtx,
    words: usize,
    word: impl Fn(usize) -> Str<'a>,
) -> Option<Seen> {
    if words < 5 {
        return None;
    }
    let stream = word(1);
    let (watched, knows_ids) = with(|state| {
        let watched = state.watched(stream.bytes())?;
        Some((watched, state.arguments.knows_ids))
    })?;
    let layout = xadd::layout(|at| word(at).bytes(), words)?;
    let id_can_wait = layout.keeps && is_of_client(filter);
    Some(Seen {
        stream: stream.hold(),
        watched,
        id_can_wait,
        is_chosen: id_can_wait && layout.chosen && knows_ids,
        fields: Some((layout.fields..words).map(|at| word(at).hold()).collect()),
    })
}

/// Whether a command comes from a client itself, not from a script or a module, which could run more in its stead: those
/// have ids of their own, which the server does not know as a client's.
fn is_of_client(filter: *mut raw::RedisModuleCommandFilterCtx) -> bool {
    // SAFETY: a live command.
    let client =
        unsafe { { raw::RedisModule_CommandFilterGetClientId }.map_or(0, |id| id(filter)) };
    let place = client as usize % CLIENTS;
    let known = with(|state| state.arguments.clients.get(place) == Some(&client));
    if known && client != 0 {
        return true;
    }
    // SAFETY: without a place for it nothing is told but whether there is such a client.
    let is = unsafe { api!(RedisModule_GetClientInfoById(ptr::null_mut(), client)) } == OK;
    if is {
        with(|state| {
            if let Some(known) = state.arguments.clients.get_mut(place) {
                *known = client;
            }
        });
    }
    is
}
