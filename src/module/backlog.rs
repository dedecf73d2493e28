//! What watched streams held before they were watched (`FROM`), read in slices.
//!
//! A search walks the keyspace for streams that match a pattern; each found stream has a cursor that moves to its end. While
//! a search or a cursor covers a stream, the hook leaves its new entries alone: the cursor will come to them, so that none
//! overtakes an older one. A cursor at the end is gone, and the hook takes over in the same moment.
//!
//! Cursors move in the same transaction as the readings they pass, and are saved with the rules: a restarted server or a
//! promoted replica goes on where the last slice ended. Searches begin again; nothing is read before all are over, so
//! nothing is read twice.
//!
//! On a cluster nothing is read from a stream whose slot moves: what it needs may be on the other node. What is added
//! meanwhile and cannot be taken in gets a cursor too. A cursor is this node's, but the stream may go: the first id that is
//! yet to be read is therefore noted in the stream itself, as the position of a consumer group of our own, which goes where
//! the stream goes and is taken back where it is read on. (Dead letters would not do: they need a stream that may be on the
//! other node, or is on none and can be created on neither.)
//! A note is made right after the SETSLOT that has the slot leave, or with the cursor, and never put later than one that came
//! along: a stream may go on before it could be read. A stream that a search has not come to yet gets both before the MIGRATE
//! that sends it. While the cluster is down nothing is read: nothing could be written.
//!
//! It is longer than other files, as reading, noting and storing work on the same few cursors.

use std::ffi::{c_int, c_void};
use std::ops::Bound;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anomaly_core::Error;
use anomaly_core::command::Reply;
use anomaly_core::stream_id::StreamId;
use anomaly_core::watch::{Watch, Watches};
use redis_module::raw;

use crate::fence::guard;
use crate::hook::{self, Captured};
use crate::moving::{self, OnTheMove, Slot};
use crate::search::{self, Search};
use crate::server::{self, Called, Ctx, Entries, Fields, Key, Mode, Served, Str, borrowed};
use crate::slices::Start;
use crate::state::{Place, State, with};

/// Longest slice: short beside a request's own time, so that other clients hardly notice.
const SLICE: Duration = Duration::from_micros(200);
/// Time between slices, in ms.
const PAUSE: i64 = 1;
/// Entries that are fetched at a time.
const BATCH: usize = 16;
/// Streams that are looked through at a time for such as leave.
const SOME: usize = 50;
/// Fields of the entries that are fetched at a time, about.
const FIELDS: usize = 64;
/// The consumer group whose position is the first id that is yet to be read of a stream that moves.
const UNREAD: &[u8] = b"anomaly:unread";

/// Where the reading of a stream stands.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// The first id that is yet to be read.
    pub(crate) next: StreamId,
    /// Entries read so far.
    pub(crate) read: u64,
    /// `next` is noted in the stream. A matter of this server.
    noted: bool,
}

impl Cursor {
    pub(crate) fn at(next: StreamId, read: u64) -> Self {
        Self {
            next,
            read,
            noted: false,
        }
    }
}

/// Whether a cursor will come to the new entries of a stream, which is read by that watch.
#[inline]
pub(crate) fn will_read(db: c_int, stream: Str<'_>, watch: &Watch) -> bool {
    let reads = with(|state| !state.searches.is_empty() || !state.cursors.is_empty());
    reads && may_read(db, stream, watch)
}

#[cold]
fn may_read(db: c_int, stream: Str<'_>, watch: &Watch) -> bool {
    with(|state| {
        let stream = stream.bytes();
        if state.cursors.contains_key(&(db, stream.to_vec())) {
            return true;
        }
        let mut searches = state.searches.iter_mut();
        let search = searches.find(|search| search.db == db && search.pattern == watch.pattern());
        search.is_some_and(|search| {
            search.meet(stream);
            true
        })
    })
}

/// Begins to read what the streams of a pattern hold, in the selected database.
pub(crate) fn begin(ctx: Ctx, pattern: &[u8], from: StreamId) {
    let db = ctx.db();
    with(|state| state.begin_search(db, pattern, from));
    pass_on(ctx, &["SEARCH", &from.to_string()], pattern);
    wake(ctx);
}

/// Sees to it that slices are made, where there is something to read and this server is the one to do it.
pub(crate) fn wake(ctx: Ctx) {
    let asleep = with(|state| {
        let idle = state.searches.is_empty() && state.cursors.is_empty();
        !idle && !std::mem::replace(&mut state.backlog_awake, true)
    });
    if asleep {
        ctx.after(PAUSE, on_timer);
    }
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        with(|state| state.backlog_awake = false);
        // A replica is told of its master's slices; promoted, it is woken.
        if ctx.decides() && ctx.may_write() {
            let start = Start::now();
            let end = start.plus(SLICE);
            if search::go_on(ctx, end) {
                while read(ctx, end) && Instant::now() < end {}
            }
            with(|state| state.counts.backlog.add(&start));
        }
        // What could not be noted at once.
        let mut after = with(|state| state.noted_up_to.take());
        note_some(ctx, &moving::on_the_move(ctx), &mut after);
        with(|state| state.noted_up_to = after);
        if ctx.decides() {
            wake(ctx);
        }
    });
}

/// An entry of a stream that cannot be taken in now is read later, and with it what is added until then.
pub(crate) fn put_off(ctx: Ctx, place: Place, id: StreamId) {
    if is_put_off(&place) {
        return;
    }
    let leaves = moving::slot(ctx, &place.1) == Slot::Leaving;
    move_to(ctx, place.clone(), Some(Cursor::at(id, 0)));
    if leaves {
        note(ctx, &place);
    }
    wake(ctx);
}

/// Whether a cursor will come to what is added to a stream.
pub(crate) fn is_put_off(place: &Place) -> bool {
    with(|state| state.cursors.contains_key(place))
}

/// A stream has come from another node, whose slot is yet to come: when it is here, what was not read there is read, and what
/// is added until then.
pub(crate) fn came(ctx: Ctx, stream: Str<'_>) {
    let cluster = with(|state| state.cluster && state.watched(stream.bytes()).is_some());
    if !cluster || !ctx.decides() || moving::slot(ctx, stream.bytes()) != Slot::Coming {
        return;
    }
    let key = Key::open(ctx, stream, Mode::Look);
    if key.is_stream() {
        let newest = Entries::backwards(&key).and_then(|mut all| all.step());
        let next = newest.map_or(Some(StreamId::default()), |(id, _)| id.next());
        drop(key);
        if let Some(next) = next {
            // Instead of one that was left when the stream went from here.
            let place = (ctx.db(), stream.bytes().to_vec());
            move_to(ctx, place, Some(Cursor::at(next, 0)));
            wake(ctx);
        }
    }
}

/// A command that is about to run may have a slot leave. The job runs right after it, so before any MIGRATE that follows.
pub(crate) fn note_after_this(ctx: Ctx) {
    if with(|state| !state.cursors.is_empty()) {
        ctx.after_this(on_note);
    }
}

unsafe extern "C" fn on_note(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    // SAFETY: the server gives a live context.
    guard((), || note_all(unsafe { Ctx::new(ctx) }));
}

/// Notes in all streams that leave how far they were read: also while there are others to read, which may take long.
pub(crate) fn note_all(ctx: Ctx) {
    let (moves, mut after) = (moving::on_the_move(ctx), None);
    while note_some(ctx, &moves, &mut after) {}
}

/// The same for some of the streams after that one, which becomes the last of them; whether there are more.
fn note_some(ctx: Ctx, moves: &OnTheMove, after: &mut Option<Place>) -> bool {
    if moves.is_empty() || !ctx.decides() || server::is_paused() {
        *after = None;
        return false;
    }
    let (leave, last) = with(|state| {
        let from = after.take().map_or(Bound::Unbounded, Bound::Excluded);
        let some = state.cursors.range((from, Bound::Unbounded)).take(SOME);
        let (mut leave, mut last) = (Vec::new(), None);
        for (place, cursor) in some {
            if !cursor.noted && moves.slot(&place.1) == Slot::Leaving {
                leave.push(place.clone());
            }
            last = Some(place);
        }
        (leave, last.cloned())
    });
    leave.iter().for_each(|place| note(ctx, place));
    *after = last;
    after.is_some()
}

/// Notes in a stream that leaves how far it was read.
fn note(ctx: Ctx, place: &Place) {
    let Some(cursor) = with(|state| state.cursors.get(place).copied()) else {
        return;
    };
    let (db, stream) = place;
    if cursor.noted || !ctx.select(*db) {
        return;
    }
    let name = ctx.string(stream);
    // There may be one from where the stream came from. Nothing after it was read.
    let known = ctx.group(name.borrow(), UNREAD);
    let next = known.map_or(cursor.next, |known| known.min(cursor.next));
    let how: &[u8] = known.map_or(b"CREATE", |_| b"SETID");
    let words = [how, stream, UNREAD, next.to_string().as_bytes()].map(|word| ctx.string(word));
    // What is refused now (the cluster is down, or the stream has gone ahead) is tried again.
    let called = ctx.call_and_replicate(c"XGROUP", &borrowed(&words));
    let noted = !matches!(called, Called::Refused(_));
    with(|state| {
        if let Some(cursor) = state.cursors.get_mut(place) {
            cursor.noted = noted;
        }
    });
}

/// A MIGRATE is about to run: what is searched for and leaves is to be read where it arrives, from where it would be here.
pub(crate) fn send(ctx: Ctx, keys: &[Vec<u8>]) {
    if with(|state| state.searches.is_empty()) || !ctx.decides() || server::is_paused() {
        return;
    }
    let (db, moves) = (ctx.db(), moving::on_the_move(ctx));
    for key in keys {
        let place = (db, key.clone());
        if moves.slot(key) == Slot::Leaving && search::end_for(ctx, &place) {
            note(ctx, &place);
        }
    }
}

/// Takes back what was noted in a stream, here or where it came from.
fn take_note(ctx: Ctx, stream: &[u8], cursor: &mut Cursor) {
    if !with(|state| state.cluster) {
        return;
    }
    cursor.noted = false;
    let name = ctx.string(stream);
    if let Some(noted) = ctx.group(name.borrow(), UNREAD) {
        cursor.next = cursor.next.min(noted);
        let words = [b"DESTROY", stream, UNREAD].map(|word| ctx.string(word));
        ctx.call_and_replicate(c"XGROUP", &borrowed(&words));
    }
}

/// The first stream that can be read: not one whose slot moves, nor any while the cluster is down. Where it takes long to
/// find, the next slice goes on with that.
fn next_cursor(ctx: Ctx, end: Instant) -> Option<(Place, Cursor)> {
    let moves = moving::on_the_move(ctx);
    let mut after = with(|state| state.passed_over.take());
    loop {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (place, cursor) = with(|state| {
            let mut rest = state.cursors.range((from, Bound::Unbounded));
            rest.next().map(|(place, cursor)| (place.clone(), *cursor))
        })?;
        if moves.slot(&place.1) == Slot::Settled
            && ctx.select(place.0)
            && !is_held_up(ctx, &place.1)
        {
            return Some((place, cursor));
        }
        if Instant::now() >= end {
            with(|state| state.passed_over = Some(place));
            return None;
        }
        after = Some(place);
    }
}

/// Whether nothing can be written in the slot of a stream: the cluster is down. One that has gone is not waited for.
fn is_held_up(ctx: Ctx, stream: &[u8]) -> bool {
    let name = ctx.string(stream);
    with(|state| state.cluster)
        && Key::exists(ctx, name.borrow())
        && ctx.serves(name.borrow()) != Served::Here
}

/// Reads on in the first stream; whether there is one.
fn read(ctx: Ctx, end: Instant) -> bool {
    let Some((place, cursor)) = next_cursor(ctx, end) else {
        return false;
    };
    let cursor = read_from(ctx, &place, cursor, end);
    move_to(ctx, place, cursor);
    true
}

/// Reads on in a stream; where it stands then, unless it is at its end.
fn read_from(ctx: Ctx, place: &Place, mut cursor: Cursor, end: Instant) -> Option<Cursor> {
    let (db, stream) = place;
    let watched = with(|state| state.watched_once(stream));
    let name = ctx.string(stream);
    let watched = watched.filter(|_| ctx.select(*db))?;
    take_note(ctx, stream, &mut cursor);
    loop {
        // The walk is over before anything is written: writing may move what it stands on.
        let (entries, all) = {
            let key = Key::open(ctx, name.borrow(), Mode::Look);
            Entries::from(&key, cursor.next).map_or((Vec::new(), true), some)
        };
        for (id, fields) in entries {
            let after = id.next();
            let captured = Captured {
                early: None,
                db: *db,
                stream: name.borrow().hold(),
                watched: Rc::clone(&watched),
                entry: watched.entry(id, fields),
            };
            hook::take_in(ctx, &captured);
            cursor.read += 1;
            cursor.next = after?;
            if Instant::now() >= end {
                return Some(cursor);
            }
        }
        if all {
            return None;
        }
    }
}

/// Some of what is left of a stream, and whether that is all.
fn some(mut left: Entries<'_>) -> (Vec<(StreamId, Fields)>, bool) {
    let (mut entries, mut all) = (Vec::new(), 0);
    while entries.len() < BATCH && all < FIELDS {
        let Some((id, fields)) = left.next() else {
            return (entries, true);
        };
        all += fields.len() / 2;
        entries.push((id, fields));
    }
    (entries, false)
}

/// Notes where the reading of a stream stands, here and in the transaction.
pub(crate) fn move_to(ctx: Ctx, place: Place, cursor: Option<Cursor>) {
    let (_, stream) = &place;
    match cursor {
        Some(Cursor { next, read, .. }) => {
            pass_on(ctx, &["AT", &next.to_string(), &read.to_string()], stream)
        }
        None => pass_on(ctx, &["DONE"], stream),
    }
    with(|state| state.set_cursor(place, cursor));
}

pub(crate) fn pass_on(ctx: Ctx, words: &[&str], name: &[u8]) {
    let mut args: Vec<_> = words
        .iter()
        .take(1)
        .map(|word| ctx.string(word.as_bytes()))
        .collect();
    args.push(ctx.string(name));
    args.extend(words.iter().skip(1).map(|word| ctx.string(word.as_bytes())));
    ctx.replicate(c"ANOMALY._BACKLOG", &crate::server::borrowed(&args));
}

/// Whether the watch that reads a stream is that of a pattern.
fn is_read_by(watches: &Watches, stream: &[u8], pattern: &[u8]) -> bool {
    watches
        .of_stream(stream)
        .is_some_and(|watch| watch.pattern() == pattern)
}

impl State {
    pub(crate) fn set_cursor(&mut self, place: Place, cursor: Option<Cursor>) {
        match cursor {
            Some(cursor) => self.cursors.insert(place, cursor),
            None => self.cursors.remove(&place),
        };
    }

    /// Instead of whatever was left to read for the watch of that pattern. Other watches read their own streams, also such
    /// as match.
    fn begin_search(&mut self, db: c_int, pattern: &[u8], from: StreamId) {
        self.searches
            .retain(|search| (search.db, &search.pattern[..]) != (db, pattern));
        let watches = &self.watches;
        self.cursors
            .retain(|(at, stream), _| *at != db || !is_read_by(watches, stream, pattern));
        self.searches.push(Search::new(db, pattern, from));
    }

    /// Gives up reading what no watch covers any more.
    pub(crate) fn keep_watched_backlogs(&mut self) {
        let watches = &self.watches;
        self.searches
            .retain(|search| watches.get(&search.pattern).is_some());
        self.cursors
            .retain(|(_, stream), _| watches.of_stream(stream).is_some());
    }

    /// What is left to read for the watch of a pattern: a map for each search and each stream.
    pub(crate) fn backlog_of(&self, pattern: &[u8]) -> Vec<Reply> {
        let text = |bytes: &[u8]| Reply::Text(bytes.to_vec());
        let row = |db: c_int, pairs: [(&str, Reply); 3]| {
            let pairs = pairs
                .into_iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value));
            Reply::Map(
                pairs
                    .chain([(b"db".to_vec(), Reply::Int(db.into()))])
                    .collect(),
            )
        };
        let searches = self
            .searches
            .iter()
            .filter(|search| search.pattern == pattern)
            .map(|search| {
                let from = text(search.from.to_string().as_bytes());
                row(
                    search.db,
                    [
                        ("searching", text(pattern)),
                        ("next", from),
                        ("read", Reply::Int(0)),
                    ],
                )
            });
        let of_this = |stream: &[u8]| is_read_by(&self.watches, stream, pattern);
        let cursors = self
            .cursors
            .iter()
            .filter(|((_, stream), _)| of_this(stream))
            .map(|((db, stream), cursor)| {
                let (next, read) = (
                    text(cursor.next.to_string().as_bytes()),
                    cursor.read.cast_signed(),
                );
                row(
                    *db,
                    [
                        ("stream", text(stream)),
                        ("next", next),
                        ("read", Reply::Int(read)),
                    ],
                )
            });
        searches.chain(cursors).collect()
    }

    /// All that is left to read, as the words of the internal command that set it up, with the database before them.
    pub(crate) fn backlog_words(&self) -> Vec<(c_int, Vec<Vec<u8>>)> {
        let searches = self.searches.iter().map(|search| {
            let words = vec![
                b"SEARCH".to_vec(),
                search.pattern.clone(),
                search.from.to_string().into_bytes(),
            ];
            (search.db, words)
        });
        let cursors = self.cursors.iter().map(|((db, stream), cursor)| {
            let (next, read) = (cursor.next.to_string(), cursor.read.to_string());
            (
                *db,
                vec![
                    b"AT".to_vec(),
                    stream.clone(),
                    next.into_bytes(),
                    read.into_bytes(),
                ],
            )
        });
        searches.chain(cursors).collect()
    }

    /// The stored form: for each, database, number of words, and each word behind its length; little-endian.
    pub(crate) fn save_backlog(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (db, words) in self.backlog_words() {
            out.extend_from_slice(&db.to_le_bytes());
            out.push(words.len() as u8);
            for word in words {
                out.extend_from_slice(&(word.len() as u32).to_le_bytes());
                out.extend_from_slice(&word);
            }
        }
        out
    }

    /// Takes in the stored form.
    pub(crate) fn load_backlog(&mut self, mut stored: &[u8]) -> Result<(), Error> {
        while !stored.is_empty() {
            let understood =
                stored_item(&mut stored).is_some_and(|(db, words)| self.take_backlog(db, &words));
            if !understood {
                return Err(Error::Payload {
                    why: "what watches have yet to read cannot be understood",
                });
            }
        }
        Ok(())
    }

    /// Takes in what [`State::backlog_words`] gave, or a master passes on; whether it was understood.
    pub(crate) fn take_backlog(&mut self, db: c_int, words: &[&[u8]]) -> bool {
        match words {
            [b"SEARCH", pattern, from] => {
                let Some(from) = StreamId::parse(from) else {
                    return false;
                };
                self.begin_search(db, pattern, from);
            }
            [b"FOUND", pattern] => self
                .searches
                .retain(|search| (search.db, &search.pattern[..]) != (db, *pattern)),
            [b"AT", stream, next, read] => {
                let read = std::str::from_utf8(read)
                    .ok()
                    .and_then(|read| read.parse().ok());
                let (Some(next), Some(read)) = (StreamId::parse(next), read) else {
                    return false;
                };
                self.set_cursor((db, stream.to_vec()), Some(Cursor::at(next, read)));
            }
            [b"DONE", stream] => self.set_cursor((db, stream.to_vec()), None),
            _ => return false,
        }
        true
    }
}

/// Splits one item off the stored form.
fn stored_item<'a>(stored: &mut &'a [u8]) -> Option<(c_int, Vec<&'a [u8]>)> {
    let (db, rest) = stored.split_first_chunk()?;
    let (count, mut rest) = rest.split_first()?;
    let mut words = Vec::new();
    for _ in 0..*count {
        let (len, after) = rest.split_first_chunk()?;
        let (word, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        words.push(word);
        rest = after;
    }
    *stored = rest;
    Some((c_int::from_le_bytes(*db), words))
}
