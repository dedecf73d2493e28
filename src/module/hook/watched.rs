//! Watched streams: which watch reads each, and how far its ids can have come.
//!
//! The time of an entry that tells none is that of its id. To read the id of an `XADD key *` back takes a fifth of what the XADD
//! takes, and it can be known without: the server's rule is the later of the command's clock and the stream's last id. So
//! all that is to be known is an id that no id of the stream is above, and everything that could raise its last id must be heard
//! of. In the servers that were looked at these are: XADD and XSETID, RESTORE, RENAME, COPY and MOVE, each with its event at
//! the stream's key; SWAPDB, files and masters, each with an event of the server's; and `RM_StreamAdd`, of which nobody
//! hears. So the rule is only gone by where all other modules are known not to call that, outside clusters, and on servers
//! that were looked at. Everywhere else, after every such event, and where the clock is behind, the id is read as before.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;

use anomaly_core::key;
use anomaly_core::shape::Shape;
use anomaly_core::stream_id::StreamId;
use anomaly_core::units::Timestamp;
use anomaly_core::watch::Watch;
use redis_module::raw;

use super::entry::{Entry, Words, halves};
use crate::server::{self, Ctx, Fields};
use crate::state::State;

/// Modules that do not call `RM_StreamAdd`: this one, RedisTimeSeries, RedisBloom, RediSearch, RedisJSON, the one that Redis 8.0
/// has in itself, and the one of `anomaly bench`.
const WITHOUT_STREAM_ADD: [&[u8]; 7] = [
    b"anomaly",
    b"timeseries",
    b"bf",
    b"search",
    b"ReJSON",
    b"vectorset",
    b"benchfloor",
];

/// Streams that are remembered, so that an XADD costs one look-up whatever the number of watches.
const REMEMBERED: usize = 100_000;
/// Longest name that is remembered: names are the producers', and a megabyte of each would be a hundred gigabytes.
const LONGEST: usize = 1024;

/// A watched stream that has been added to.
pub(crate) struct Stream {
    pub(super) name: Rc<[u8]>,
    pub(crate) watch: Arc<Watch>,
    /// That of its newest entry, as the watch reads it.
    shape: RefCell<Rc<Shape>>,
    /// The stream's last id is not above this one, in that database.
    last: Cell<Option<(c_int, StreamId)>>,
}

impl Stream {
    /// What its watch makes of an entry with so many fields of these names.
    #[inline]
    pub(super) fn shape<'a>(&self, fields: usize, name: impl Fn(usize) -> &'a [u8]) -> Rc<Shape> {
        let kept = self.shape.borrow();
        if kept.is_of(fields, &name) {
            return Rc::clone(&kept);
        }
        drop(kept);
        self.other_shape(fields, name)
    }

    #[cold]
    fn other_shape<'a>(&self, fields: usize, name: impl Fn(usize) -> &'a [u8]) -> Rc<Shape> {
        let names: Vec<_> = (0..fields).map(name).collect();
        let other = Rc::new(Shape::new(&self.watch, &self.name, &names));
        if other.is_kept() {
            *self.shape.borrow_mut() = Rc::clone(&other);
        }
        other
    }

    /// An entry that was read from it.
    pub(crate) fn entry(&self, id: StreamId, fields: Fields) -> Entry {
        let (names, values) = halves(fields);
        let name = |at: usize| names.get(at).map_or(&b""[..], |name| name.borrow().bytes());
        Entry {
            id: Some(id),
            ms: None,
            words: Words {
                shape: self.shape(names.len(), name),
                values,
            },
        }
    }

    /// The milliseconds of the id that the `*` of the XADD that is under way has become, where that can be known. Whatever
    /// was known of the last id is not known any more.
    pub(super) fn chosen(&self, db: c_int, now: Timestamp) -> Option<u64> {
        let now = u64::try_from(now.millis()).ok()?;
        let last = self.last.take().filter(|(of, _)| *of == db);
        let next = last.and_then(|(_, last)| last.chosen_at(now))?;
        self.last.set(Some((db, next)));
        Some(next.ms)
    }

    /// The last id was read.
    pub(super) fn is_at(&self, db: c_int, last: StreamId) {
        self.last.set(Some((db, last)));
    }

    /// The last id may be any.
    pub(super) fn forget(&self) {
        self.last.set(None);
    }
}

/// Whether the rule can be gone by on this server, as it is now.
pub(super) fn is_known(ctx: Ctx, cluster: bool) -> bool {
    // SAFETY: reads a function pointer that the server set.
    let clock = unsafe { raw::RedisModule_CachedMicroseconds }.is_some();
    let others = |name: &Vec<u8>| WITHOUT_STREAM_ADD.contains(&&name[..]);
    clock
        && !cluster
        && server::is_looked_at()
        && ctx.modules().is_some_and(|names| names.iter().all(others))
}

/// Streams that have been added to, and those of them that a watch reads.
#[derive(Default)]
pub(crate) struct Streams {
    known: HashMap<Rc<[u8]>, Option<Rc<Stream>>, foldhash::fast::RandomState>,
    /// The watches' then.
    epoch: u32,
    /// The known one that was asked for last. Mostly it is the next as well.
    last: Option<Rc<Stream>>,
}

impl Streams {
    /// Which are read is to be found out again.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
        self.last = None;
    }

    /// How many of them a watch reads.
    pub(crate) fn watched(&self) -> usize {
        self.known.values().flatten().count()
    }
}

impl State {
    /// The stream of that name, if a watch reads it; never one of those that the module writes.
    #[inline]
    pub(crate) fn watched(&mut self, stream: &[u8]) -> Option<Rc<Stream>> {
        match &self.streams.last {
            Some(last)
                if last.name[..] == *stream && self.streams.epoch == self.watches.epoch() =>
            {
                Some(Rc::clone(last))
            }
            _ => self.watched_other(stream),
        }
    }

    #[inline(never)]
    fn watched_other(&mut self, stream: &[u8]) -> Option<Rc<Stream>> {
        if self.watches.is_empty() {
            return None;
        }
        let epoch = self.watches.epoch();
        if self.streams.epoch != epoch || self.streams.known.len() >= REMEMBERED {
            self.streams.clear();
            self.streams.epoch = epoch;
        }
        let found = match self.streams.known.get(stream) {
            Some(known) => known.clone(),
            None => {
                let name = Rc::from(stream);
                let found = self.found(&name);
                if stream.len() > LONGEST {
                    return found;
                }
                self.streams.known.insert(name, found.clone());
                found
            }
        };
        if found.is_some() {
            self.streams.last.clone_from(&found);
        }
        found
    }

    /// The same for one of very many, each of which is asked for once: they are not remembered for that.
    pub(crate) fn watched_once(&self, stream: &[u8]) -> Option<Rc<Stream>> {
        let known = self.streams.known.get(stream);
        let known = known.filter(|_| self.streams.epoch == self.watches.epoch());
        known
            .cloned()
            .unwrap_or_else(|| self.found(&Rc::from(stream)))
    }

    fn found(&self, stream: &Rc<[u8]>) -> Option<Rc<Stream>> {
        let watch = self.watches.of_stream(stream);
        let watch = watch.filter(|_| !self.writes(stream)).cloned();
        watch.map(|watch| {
            Rc::new(Stream {
                name: Rc::clone(stream),
                watch,
                shape: RefCell::default(),
                last: Cell::default(),
            })
        })
    }

    /// The last id of that stream may be any, whatever the database.
    #[inline(never)]
    pub(crate) fn forget_last_id(&mut self, stream: &[u8]) {
        if let Some(Some(stream)) = self.streams.known.get(stream) {
            stream.forget();
        }
    }

    /// The last id of every stream may be any.
    pub(crate) fn forget_last_ids(&mut self) {
        self.streams
            .known
            .values()
            .flatten()
            .for_each(|stream| stream.forget());
    }

    /// Whether a stream is one of alerts or dead letters.
    pub(crate) fn writes(&self, stream: &[u8]) -> bool {
        [&self.settings.alerts_key, &self.settings.dead_key]
            .into_iter()
            .any(|base| {
                if self.cluster {
                    key::is_alerts_of(base, stream)
                } else {
                    stream == base.as_slice()
                }
            })
    }
}
