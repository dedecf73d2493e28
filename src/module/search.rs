//! The search for streams that `FROM` is to read: a walk over the keyspace of a database, then a cursor for each stream that
//! was found, both in slices. Nothing is read before all searches are over, so that a search that begins again finds all as it
//! was.

use std::collections::{BTreeSet, btree_set};
use std::ffi::c_int;
use std::time::Instant;

use anomaly_core::glob;
use anomaly_core::stream_id::StreamId;

use crate::backlog::{self, Cursor};
use crate::scan;
use crate::server::{Ctx, Key, Mode};
use crate::state::{Place, with};

/// Streams to read that are being searched for.
pub(crate) struct Search {
    pub(crate) db: c_int,
    pub(crate) pattern: Vec<u8>,
    pub(crate) from: StreamId,
    stage: Stage,
    /// Streams that were added to meanwhile: a walk need not visit what was not there when it began.
    met: BTreeSet<Vec<u8>>,
}

enum Stage {
    Walk(Option<scan::Walk>),
    /// Each of these is to have a cursor.
    Found(btree_set::IntoIter<Vec<u8>>),
}

impl Search {
    pub(crate) fn new(db: c_int, pattern: &[u8], from: StreamId) -> Self {
        Self {
            db,
            pattern: pattern.to_vec(),
            from,
            stage: Stage::Walk(None),
            met: BTreeSet::new(),
        }
    }

    /// A stream was added to.
    pub(crate) fn meet(&mut self, stream: &[u8]) {
        if !self.met.contains(stream) {
            self.met.insert(stream.to_vec());
        }
    }

    /// Goes on in the selected database; whether it is over.
    fn go_on(&mut self, ctx: Ctx, end: Instant) -> bool {
        loop {
            match &mut self.stage {
                Stage::Walk(walk) => {
                    let mut going = walk.take().unwrap_or_else(scan::Walk::new);
                    if going.go_on(ctx, end, |name| glob::matches(&self.pattern, name)) {
                        self.stage = Stage::Found(going.found().into_iter());
                    } else {
                        *walk = Some(going);
                    }
                }
                Stage::Found(found) => match found.next() {
                    Some(stream) => _ = self.end_for(ctx, &(self.db, stream)),
                    None if self.met.is_empty() => return true,
                    None => *found = std::mem::take(&mut self.met).into_iter(),
                },
            }
            if Instant::now() >= end {
                return false;
            }
        }
    }

    /// Whether a stream is found: it has a cursor then. One that has come from another node has its own, which goes by what
    /// was read there.
    fn end_for(&self, ctx: Ctx, place: &Place) -> bool {
        if backlog::is_put_off(place) {
            return false;
        }
        let name = ctx.string(&place.1);
        let is_stream = Key::open(ctx, name.borrow(), Mode::Look).is_stream();
        let is_ours = is_stream
            && with(|state| {
                let watched = state.watched_once(&place.1);
                watched.is_some_and(|it| it.watch.pattern() == self.pattern)
            });
        if is_ours {
            backlog::move_to(ctx, place.clone(), Some(Cursor::at(self.from, 0)));
        }
        is_ours
    }
}

/// Goes on with the first search; whether there is none left.
pub(crate) fn go_on(ctx: Ctx, end: Instant) -> bool {
    let first = with(|state| (!state.searches.is_empty()).then(|| state.searches.remove(0)));
    let Some(mut search) = first else {
        return true;
    };
    if ctx.select(search.db) {
        if search.go_on(ctx, end) {
            backlog::pass_on(ctx, &["FOUND"], &search.pattern);
        } else {
            with(|state| state.searches.insert(0, search));
        }
    }
    false
}

/// Ends all searches for one stream; whether one of them would have found it.
pub(crate) fn end_for(ctx: Ctx, place: &Place) -> bool {
    let searches = with(|state| std::mem::take(&mut state.searches));
    let mut of_this = searches.iter().filter(|search| search.db == place.0);
    let found = of_this.any(|search| search.end_for(ctx, place));
    with(|state| state.searches = searches);
    found
}
