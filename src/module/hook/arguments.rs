//! The fields of the entry that an XADD is about to add: they need not be read back from the stream.
//!
//! A command filter sees every command before it runs, and keeps the values of an XADD to a watched stream until the next
//! command, with what their names say by themselves. The notification that follows names the stream by the very string object that was the argument; as it is held
//! here, no other command can have an object at its place, so the same address is the same command. Commands that no filter
//! sees (those of a transaction) and those that run long after they were seen are therefore never mistaken: their entries
//! are read from the stream.

use std::ffi::c_int;
use std::ptr;
use std::rc::Rc;

use anomaly_core::xadd;
use redis_module::raw;

use super::entry::{Values, Words};
use super::watched::{self, Stream};
use crate::fence::guard;
use crate::server::{Client, Ctx, Filtered, OwnedStr, Str, api};
use crate::state::{State, with};

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
    /// What it adds, if that was seen.
    pub(super) words: Option<Words>,
    /// When the command is over it is the stream's newest: it is a client's own command, and does not trim its entry away.
    pub(super) id_can_wait: bool,
    /// The server chooses it as the clock and what is known of the stream say.
    pub(super) is_chosen: bool,
}

impl Seen {
    /// An XADD that was not seen before it ran, if a watch reads its stream.
    #[inline(never)]
    pub(super) fn unread(state: &mut State, stream: Str<'_>) -> Option<Self> {
        Some(Self {
            watched: state.watched(stream.bytes())?,
            stream: stream.hold(),
            words: None,
            id_can_wait: false,
            is_chosen: false,
        })
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

    /// Whether that is one of the clients that are kept in mind.
    fn knows(&self, client: Client) -> bool {
        let known = self.clients.get(client.0 as usize % CLIENTS);
        client.0 != 0 && known == Some(&client.0)
    }

    fn note(&mut self, client: Client) {
        if let Some(place) = self.clients.get_mut(client.0 as usize % CLIENTS) {
            *place = client.0;
        }
    }

    /// Other modules may have come, and may do what nobody hears of. For good: what is rare need not be fast.
    pub(crate) fn doubt_ids(&mut self) {
        self.knows_ids = false;
    }
}

/// Sees to it that commands are seen from now on. Nobody pays for that before a watched stream is first added to, and a
/// filter that comes late comes after those of other modules.
#[cold]
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
        // SAFETY: the server gives a live command, and it is not kept.
        let filter = unsafe { Filtered::new(filter) };
        let name = filter.word(0);
        let seen = if xadd::is(name, b"XADD") {
            see(filter)
        } else {
            if xadd::is(name, b"MODULE") {
                on_module(filter);
            }
            None
        };
        with(|state| state.arguments.seen = seen);
    });
}

#[cold]
fn on_module(filter: Filtered) {
    // Monitors ask for the list.
    if !xadd::is(filter.word(1), b"LIST") {
        with(|state| state.arguments.doubt_ids());
    }
}

fn see(filter: Filtered) -> Option<Seen> {
    let words = filter.len();
    if words < 5 {
        return None;
    }
    let stream = filter.get(1)?;
    let client = filter.client();
    let (watched, knows_ids, is_known) = with(|state| {
        let watched = state.watched(stream.bytes())?;
        let arguments = &state.arguments;
        Some((watched, arguments.knows_ids, arguments.knows(client)))
    })?;
    let layout = xadd::layout(|at| filter.word(at), words)?;
    let id_can_wait = layout.keeps && (is_known || is_client(client));
    let fields = (words - layout.fields) / 2;
    let shape = watched.shape(fields, |field| filter.word(layout.fields + 2 * field));
    let mut values = Values::new();
    for field in 0..fields {
        values.push(filter.get(layout.fields + 2 * field + 1)?.hold());
    }
    Some(Seen {
        stream: stream.hold(),
        watched,
        words: Some(Words { shape, values }),
        id_can_wait,
        is_chosen: id_can_wait && layout.chosen && knows_ids,
    })
}

/// Whether a command comes from a client itself, not from a script or a module, which could run more in its stead: those
/// have ids of their own, which the server does not know as a client's.
#[cold]
fn is_client(client: Client) -> bool {
    let is = client.is_there();
    if is {
        with(|state| state.arguments.note(client));
    }
    is
}
