//! Samples that wait for others: TimeSeries takes many at once for a third of what it takes for each alone.
//!
//! A reading that follows others has its sample written together with theirs: by the next command that is no reading, before
//! it runs, and in any case a few milliseconds later. No client can tell, since whatever looks at a series is a command, and
//! a command filter sees each before it runs. What is not a command and might: a fork, of which the C library tells first;
//! a save without a fork, of which the server does.
//!
//! A reading is passed on to replicas and the AOF at once, sample and all: nothing that is acknowledged is lost. Nothing waits
//! in a transaction, a script or while a file is loaded, whose commands no filter need see; nor when clients were paused, until
//! what they sent meanwhile has run, for it is not seen again.

use std::ffi::{c_int, c_void};
use std::time::Instant;

use anomaly_core::alert::Source;
use anomaly_core::{Reading, key, xadd};
use redis_module::raw;
use smallvec::SmallVec;

use crate::effects::{self, Policy, Words};
use crate::fence::guard;
use crate::server::{self, Argv, Ctx, Key, OwnCtx, OwnedStr, Str, api};
use crate::state::with;

/// So many are written together: what one has to wait for then is 0.1 ms of work.
const MOST: usize = 64;
/// The longest that one waits for others, in ms.
const WAIT: i64 = 5;

/// A sample that waits.
pub(crate) struct Due {
    db: c_int,
    sensor: OwnedStr,
    reading: Reading,
    series: OwnedStr,
    /// The series is known to have been there when the reading came.
    exists: bool,
    at: OwnedStr,
    value: OwnedStr,
    /// What the series' labels would say, should it have to be created.
    from: Option<From>,
}

/// Stream, device and metric of a reading.
struct From {
    stream: OwnedStr,
    /// Device and metric in one.
    names: SmallVec<[u8; 32]>,
    device: usize,
}

impl From {
    /// `stream`: one that may be the same.
    fn new(ctx: Ctx, source: &Source<'_>, stream: Option<Str<'_>>) -> Self {
        let stream = stream.filter(|stream| stream.bytes() == source.stream);
        let mut names = SmallVec::from_slice(source.device);
        names.extend_from_slice(source.metric);
        Self {
            stream: stream.map_or_else(|| ctx.string(source.stream), Str::hold),
            names,
            device: source.device.len(),
        }
    }
}

/// All that wait, in the order in which their readings came.
#[derive(Default)]
pub(crate) struct Waiting {
    due: Vec<Due>,
    /// What to write them with; from then on commands are seen.
    ctx: Option<OwnCtx>,
    /// A timer is running.
    awake: bool,
    /// They are being written.
    writing: bool,
    /// Commands may run that were seen long before.
    postponed: Option<Postponed>,
    /// Series that have left the keyspace since that began.
    gone: Vec<(c_int, Vec<u8>)>,
}

/// Clients were paused: what they sent meanwhile is not seen again when it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Postponed {
    /// They may be still.
    Now,
    /// No longer, and by now it is running.
    Over,
}

impl Waiting {
    /// All data is about to be replaced.
    pub(crate) fn forget(&mut self) {
        self.due.clear();
    }

    /// A key has expired, or was evicted. If it was a series, it was there when the samples that wait for it came.
    pub(crate) fn lose(&mut self, db: c_int, key: &[u8]) {
        if !key::may_be_series(key) {
            return;
        }
        if self.writing {
            self.gone.push((db, key.to_vec()));
        }
        let of_series = |due: &&mut Due| (due.db, due.series.borrow().bytes()) == (db, key);
        self.due
            .iter_mut()
            .filter(of_series)
            .for_each(|due| due.exists = true);
    }
}

/// A sample waits for others.
pub(crate) enum Waits {
    Yes,
    /// It is time to write them.
    Full,
}

impl Waits {
    /// Writes all if it is time to.
    pub(crate) fn settle(self) {
        if let Self::Full = self {
            settle();
        }
    }
}

/// Whether samples may wait: whatever runs from now on is seen before it does.
pub(crate) fn may(ctx: Ctx) -> bool {
    if with(|state| state.samples.ctx.is_none()) {
        listen(ctx);
        // What runs next may have come before that.
        postpone();
    }
    with(|state| state.samples.postponed.is_none())
}

/// Has the sample of a reading wait, which is the newest of its sensor. `exists`: the series is there.
pub(crate) fn wait(ctx: Ctx, words: Words<'_>, series: OwnedStr, exists: bool) -> Waits {
    let (sensor, reading) = (words.sensor.hold(), words.reading());
    // What is made of entries of one stream mostly has the time and the stream of the one before.
    let (at, from) = with(|state| {
        let before = state.samples.due.last();
        let at = before.filter(|before| before.reading.at == reading.at);
        let from = words.source().map(|source| {
            let before = before.and_then(|before| before.from.as_ref());
            From::new(ctx, source, before.map(|from| from.stream.borrow()))
        });
        (at.map(|before| before.at.borrow().hold()), from)
    });
    let [at, value] = words.into_owned(at);
    let due = Due {
        db: ctx.db(),
        sensor,
        reading,
        series,
        exists,
        at,
        value,
        from,
    };
    let (waiting, asleep) = with(|state| {
        let samples = &mut state.samples;
        samples.due.push(due);
        (
            samples.due.len(),
            !std::mem::replace(&mut samples.awake, true),
        )
    });
    if asleep {
        ctx.after(WAIT, on_timer);
    }
    if waiting >= MOST {
        Waits::Full
    } else {
        Waits::Yes
    }
}

/// A job for when a command is over.
pub(crate) unsafe extern "C" fn on_full(_: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), settle);
}

/// Writes all samples that wait.
pub(crate) fn settle() {
    let Some((mut all, own)) = with(|state| {
        let samples = &mut state.samples;
        let own = samples.ctx.filter(|_| !samples.due.is_empty())?;
        samples.writing = true;
        Some((std::mem::take(&mut samples.due), own))
    }) else {
        return;
    };
    let start = Instant::now();
    let ctx = own.ctx();
    for of_db in all.chunk_by(|a, b| a.db == b.db) {
        if of_db.first().is_some_and(|due| ctx.select(due.db)) {
            write(ctx, of_db);
        }
    }
    all.clear();
    let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    with(|state| {
        state.counts.settled_nanoseconds += took;
        state.samples.writing = false;
        state.samples.gone.clear();
        if state.samples.due.is_empty() {
            state.samples.due = all;
        }
    });
}

fn write(ctx: Ctx, all: &[Due]) {
    let mut samples = Argv::with_room(3 * all.len(), 0);
    for due in all {
        for word in [&due.series, &due.at, &due.value] {
            samples.lend(word.borrow());
        }
    }
    let written = effects::archive_all(ctx, samples.all());
    let alone = all.iter().enumerate().filter(|(at, _)| !written.has(*at));
    alone.for_each(|(_, due)| due.write_alone(ctx));
}

impl Due {
    /// Whether the series was there when the reading came, as far as is known.
    fn was_there(&self) -> bool {
        let series = self.series.borrow().bytes();
        let of_series = |(db, key): &(c_int, Vec<u8>)| (*db, &key[..]) == (self.db, series);
        self.exists || with(|state| state.samples.gone.iter().any(of_series))
    }

    /// The series is not there, or refuses the sample. A series that has left the keyspace meanwhile (it can only have
    /// expired, or been evicted) would have taken the sample with it; of one of which it is not known that it was there, the same
    /// goes if the sensor has left too.
    fn write_alone(&self, ctx: Ctx) {
        let sensor = self.sensor.borrow();
        let gone = !Key::exists(ctx, self.series.borrow());
        if gone && (self.was_there() || !Key::exists(ctx, sensor)) {
            return;
        }
        let source = self.from.as_ref().map(|from| {
            let (device, metric) = from.names.split_at(from.device);
            Source {
                device,
                metric,
                stream: from.stream.borrow().bytes(),
                id: None,
            }
        });
        let (at, value) = (self.at.borrow(), self.value.borrow());
        let words = Words::new(
            ctx,
            sensor,
            self.reading,
            Some(at),
            Some(value),
            source.as_ref(),
        );
        effects::archive(ctx, &words, Policy::OfSeries, None);
    }
}

/// How long work takes, in nanoseconds, without the writing of samples that have waited: that is of many readings, and counted
/// on its own.
pub(crate) fn timed_apart<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let settled = || with(|state| state.counts.settled_nanoseconds);
    let (start, before) = (Instant::now(), settled());
    let done = work();
    let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    (done, took.saturating_sub(settled().saturating_sub(before)))
}

/// Writes what waits if a sensor's name is that of a series: it may be one that is about to be created.
pub(crate) fn settle_before(sensor: &[u8]) {
    if key::may_be_series(sensor) {
        settle();
    }
}

/// Sees to it that nothing looks before samples that wait are written. Nobody pays for that before the first of them.
fn listen(ctx: Ctx) {
    let own = OwnCtx::of(ctx);
    MAIN.with(|main| main.set(true));
    // SAFETY: a live context and a callback of the type the server expects; a callback for the C library that touches nothing
    // but what this thread owns. It forgets it when the module is unloaded.
    unsafe {
        api!(RedisModule_RegisterCommandFilter(
            ctx.raw(),
            Some(on_command),
            0
        ));
        libc::pthread_atfork(Some(before_fork), None, None);
    }
    with(|state| state.samples.ctx = Some(own));
}

unsafe extern "C" fn on_command(filter: *mut raw::RedisModuleCommandFilterCtx) {
    let paused = server::is_paused();
    if !paused && with(|state| state.samples.due.is_empty()) {
        return;
    }
    guard((), || {
        if paused {
            postpone();
        }
        // SAFETY: the server gives a live command, whose words live as long.
        let word = |at: c_int| unsafe {
            let word = api!(RedisModule_CommandFilterArgGet(filter, at));
            (!word.is_null()).then(|| Str::new(word).bytes())
        };
        if !is_reading(word(0).unwrap_or_default(), || word(1).unwrap_or_default()) {
            settle();
        }
    });
}

/// Lets no sample wait until what clients send while they are paused has run.
fn postpone() {
    let begins = with(|state| {
        let samples = &mut state.samples;
        let before = samples.postponed.replace(Postponed::Now);
        samples.ctx.filter(|_| before.is_none())
    });
    if let Some(own) = begins {
        own.ctx().after(WAIT, on_pause);
    }
}

/// When they are no longer paused, the server has what they sent run before the next timer.
unsafe extern "C" fn on_pause(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        let paused = server::is_paused();
        let goes_on = with(|state| {
            let postponed = &mut state.samples.postponed;
            *postponed = match *postponed {
                _ if paused => Some(Postponed::Now),
                Some(Postponed::Now) => Some(Postponed::Over),
                _ => None,
            };
            postponed.is_some()
        });
        if goes_on {
            // SAFETY: the server gives a live context.
            unsafe { Ctx::new(ctx) }.after(WAIT, on_pause);
        }
    });
}

/// Whether a command does nothing but add readings, so that it looks at no series but by way of [`crate::ingest`].
fn is_reading<'a>(name: &[u8], key: impl FnOnce() -> &'a [u8]) -> bool {
    let own: [&[u8]; 3] = [b"ANOMALY.ADD", b"ANOMALY.MADD", b"ANOMALY._APPLY"];
    own.iter().any(|command| xadd::is(name, command))
        || xadd::is(name, b"XADD") && !key::may_be_series(key())
}

unsafe extern "C" fn on_timer(_: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        with(|state| state.samples.awake = false);
        settle();
    });
}

thread_local! {
    /// This is the server's main thread.
    static MAIN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The child has everything that was acknowledged.
unsafe extern "C" fn before_fork() {
    if MAIN.with(std::cell::Cell::get) {
        guard((), settle);
    }
}
