//! BACKTEST: a client waits while a thread of its own replays archived readings through a candidate rule.
//!
//! The thread knows nothing of the server. The main thread reads the series in slices from a timer, between which others
//! go on, and hands the readings over; the thread replays them with the pure code of the core and writes the reply into the
//! buffer of the client that waits. So the state stays with the main thread alone, no lock is fought for, and a busy server
//! is held for one slice in each turn of its loop and no more.
//!
//! The queue between them is bounded: when the thread is behind, nothing is read. There is one backtest at a time. Nothing is
//! written, so it goes on replicas as well, and whatever ends the server ends it without a trace.

mod work;

use std::collections::{BTreeSet, btree_set};
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anomaly_core::backtest::{Sides, candidate};
use anomaly_core::command::backtest::{Query, Target};
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Rules, glob, key};
use redis_module::raw;

use crate::fence::{self, guard};
use crate::server::{Blocked, Called, Ctx, Key, Mode, OK, OwnedStr, Str, User};
use crate::slices::Start;
use crate::state::with;
use crate::{datatype, effects, scan};
use work::{Step, Work};

/// Longest slice: short beside a request's own time, so that other clients hardly notice.
const SLICE: Duration = Duration::from_micros(200);
/// What one reading of the series should take at most: a part of a slice, since the last one begins before its end.
const CHUNK_TIME: Duration = Duration::from_micros(100);
/// Samples that are read at a time: the first time, at least, at most; between as it turns out how long that takes.
const FIRST: usize = 128;
const LEAST: usize = 16;
const MOST: usize = 2048;
/// TimeSeries decodes a whole chunk to give any of it, which takes 9 ns a sample: this many, a chunk of 16 KiB of readings
/// that do not change, take 0.6 ms.
const MOST_PER_CHUNK: u64 = 65_536;
/// From large chunks no less than this is read, or the decoding would take all the time; it takes 200 µs itself.
const LEAST_OF_LARGE: usize = 1000;
/// Time between slices, in ms.
const PAUSE: i64 = 1;
/// Steps that may wait for the thread: 5 MB of samples at most.
const QUEUE: usize = 64;
/// Sensors one MATCH may cover: their names are kept.
const MOST_SENSORS: usize = 100_000;
/// Names that are freed at a time, where they are not needed any more: in 0.1 ms.
const FREED: usize = 2000;

/// A series that is being read.
struct Series {
    name: OwnedStr,
    next: Timestamp,
    /// Samples to be read at a time at least.
    least: usize,
}

/// The backtest that is going on.
pub(crate) struct Job {
    client: Blocked,
    pub(crate) db: c_int,
    user: Option<User>,
    query: Query,
    /// The search for sensors, until it is over.
    walk: Option<scan::Walk>,
    /// Sensors that are yet to be read.
    sensors: btree_set::IntoIter<Vec<u8>>,
    series: Option<Series>,
    /// Samples to be read next time.
    count: usize,
    /// What is yet to be handed over.
    waiting: Option<Step>,
    /// `None` when everything was handed over.
    queue: Option<SyncSender<Step>>,
    thread: JoinHandle<()>,
    /// Nobody waits for the outcome, or there will be none.
    stopped: Arc<AtomicBool>,
    /// The error it ends with.
    failure: Option<String>,
}

/// Begins a backtest; the client waits for its reply, unless there is one at once.
pub(crate) fn begin(ctx: Ctx, query: Query) -> Result<(), Error> {
    if !ctx.may_wait() {
        return Err(Error::CannotWait);
    }
    if with(|state| state.backtest.is_some()) {
        return Err(Error::Busy);
    }
    if !effects::series_available(ctx) {
        return Err(Error::NoTimeSeries);
    }
    let user = User::of(ctx);
    let (walk, first) = match &query.target {
        Target::Match(_) => {
            // What contradicts itself is refused at once.
            candidate(&Rules::default(), b"", &query.changes)?;
            (Some(scan::Walk::new()), None)
        }
        Target::Key(name) => {
            let Some(first) = series_of(ctx, name, user.as_ref())? else {
                ctx.reply_null();
                return Ok(());
            };
            let step = Step::Sensor(name.clone(), Box::new(rules_of(name, &query)?));
            (None, Some((first, step)))
        }
    };
    let (queue, steps) = sync_channel(QUEUE);
    let stopped = Arc::new(AtomicBool::new(false));
    let client = Blocked::new(ctx, on_timeout, on_disconnect);
    let (work, replier) = (Work::new(&query, Arc::clone(&stopped)), client.replier());
    let thread = thread::Builder::new()
        .name("anomaly-backtest".into())
        .spawn(move || work.run(&steps, &replier));
    let thread = match thread {
        Ok(thread) => thread,
        Err(why) => {
            let error = Error::NoThread {
                why: why.to_string(),
            };
            client.replier().ctx().reply_error(&error.to_string());
            client.let_go();
            return Ok(());
        }
    };
    let (series, waiting) = first.unzip();
    let job = Job {
        client,
        db: ctx.db(),
        user,
        walk,
        sensors: BTreeSet::new().into_iter(),
        series,
        count: FIRST,
        waiting,
        queue: Some(queue),
        thread,
        stopped,
        failure: None,
        query,
    };
    with(|state| {
        state.counts.backtests += 1;
        state.backtest = Some(job);
    });
    ctx.after(PAUSE, on_timer);
    Ok(())
}

/// The series of a sensor; `None` where there is neither it nor the sensor.
fn series_of(ctx: Ctx, name: &[u8], user: Option<&User>) -> Result<Option<Series>, Error> {
    let sensor = ctx.string(name);
    let known = datatype::model(&mut Key::open(ctx, sensor.borrow(), Mode::Look))?.is_some();
    let series = key::series(name).into_vec();
    let name = ctx.string(&series);
    if user.is_some_and(|user| !user.may_read(name.borrow())) {
        return Err(Error::SeriesPermission { series });
    }
    match (Key::exists(ctx, name.borrow()), known) {
        (true, _) => {}
        (false, true) => return Err(Error::NoSeries { series }),
        (false, false) => return Ok(None),
    }
    let chunks = ctx
        .chunks(name.borrow())
        .map_err(|called| unreadable(name.borrow(), called))?;
    // Older chunks may be from before the series was altered.
    let samples = chunks.most.max(chunks.average);
    if samples > MOST_PER_CHUNK {
        return Err(Error::LargeChunks {
            series,
            samples,
            most: MOST_PER_CHUNK,
        });
    }
    let eighth = usize::try_from(chunks.average / 8).unwrap_or(MOST);
    Ok(Some(Series {
        name,
        next: Timestamp::ZERO,
        least: eighth.clamp(LEAST, LEAST_OF_LARGE),
    }))
}

/// The rules a sensor is replayed with, as they are now.
fn rules_of(name: &[u8], query: &Query) -> Result<Sides<Rules>, Error> {
    with(|state| {
        let own = candidate(&state.rules, name, &[])?;
        Ok(Sides {
            candidate: candidate(&own, name, &query.changes)?,
            current: query.diff.then_some(own),
        })
    })
}

unsafe extern "C" fn on_timer(ctx: *mut raw::RedisModuleCtx, _: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        let Some(mut job) = with(|state| state.backtest.take()) else {
            return;
        };
        let start = Start::now();
        if fence::caught(|| job.slice(ctx, start.plus(SLICE))).is_none() {
            job.fail(fence::INTERNAL);
        }
        let over = job.is_over();
        if over {
            job.conclude();
        } else {
            with(|state| state.backtest = Some(job));
            ctx.after(PAUSE, on_timer);
        }
        with(|state| {
            state.counts.backtest.add(&start);
        });
    });
}

impl Job {
    /// Reads and hands over until `end`, or until the thread has enough to do.
    fn slice(&mut self, ctx: Ctx, end: Instant) {
        if self.stopped.load(Relaxed) {
            return self.clear();
        }
        if !ctx.select(self.db) {
            return self.fail(&Error::NoTimeSeries.to_string());
        }
        while let Some(queue) = &self.queue {
            if let Some(step) = self.waiting.take() {
                match queue.try_send(step) {
                    Ok(()) => {}
                    Err(TrySendError::Full(step)) => {
                        self.waiting = Some(step);
                        return;
                    }
                    // It has panicked.
                    Err(TrySendError::Disconnected(_)) => return self.fail(fence::INTERNAL),
                }
            }
            if Instant::now() >= end {
                return;
            }
            match self.next(ctx, end) {
                Ok(step) => self.waiting = step,
                Err(error) => return self.fail(&error.to_string()),
            }
        }
    }

    /// Gives back what is left, in parts too: to free many names takes its time.
    fn clear(&mut self) {
        self.queue = None;
        if let Some(walk) = self.walk.take() {
            self.sensors = walk.found().into_iter();
        }
        self.sensors.by_ref().take(FREED).for_each(drop);
    }

    fn is_over(&self) -> bool {
        self.queue.is_none() && self.sensors.len() == 0 && self.thread.is_finished()
    }

    /// What to hand over next; when there is nothing more, the queue is closed.
    fn next(&mut self, ctx: Ctx, end: Instant) -> Result<Option<Step>, Error> {
        if let Some(series) = self.series.take() {
            return self.read(ctx, series).map(Some);
        }
        if let (Some(mut walk), Target::Match(pattern)) = (self.walk.take(), &self.query.target) {
            let over = walk.go_on_sensors(ctx, end, |name| glob::matches(pattern, name));
            if walk.len() > MOST_SENSORS {
                self.walk = Some(walk);
                return Err(Error::TooManyMatch { most: MOST_SENSORS });
            }
            if over {
                self.sensors = walk.found().into_iter();
            } else {
                self.walk = Some(walk);
            }
            return Ok(None);
        }
        let Some(name) = self.sensors.next() else {
            self.queue = None;
            return Ok(None);
        };
        let sensor = ctx.string(&name);
        if self
            .user
            .as_ref()
            .is_some_and(|user| !user.may_read(sensor.borrow()))
        {
            return Ok(None);
        }
        match series_of(ctx, &name, self.user.as_ref()) {
            Ok(Some(series)) => match rules_of(&name, &self.query) {
                Ok(rules) => {
                    self.series = Some(series);
                    Ok(Some(Step::Sensor(name, Box::new(rules))))
                }
                Err(_) => Ok(Some(Step::Lost)),
            },
            // What the user may not read is not told of; a sensor that is gone, or is one no more, is none.
            Err(Error::SeriesPermission { .. } | Error::WrongType) | Ok(None) => Ok(None),
            Err(_) => Ok(Some(Step::Lost)),
        }
    }

    /// Reads on in a series.
    fn read(&mut self, ctx: Ctx, series: Series) -> Result<Step, Error> {
        #[cfg(debug_assertions)]
        if with(|state| state.panics_in(series.name.borrow().bytes())) {
            return Ok(Step::Panic);
        }
        let start = Instant::now();
        let name = series.name.borrow();
        let count = self.count.max(series.least);
        let read = ctx.range(name, series.next, self.query.to, count);
        let took = start.elapsed();
        let samples = match (read, &self.query.target) {
            (Ok(samples), _) => samples,
            (Err(_), Target::Match(_)) => return Ok(Step::Lost),
            (Err(called), Target::Key(_)) => return Err(unreadable(name, called)),
        };
        let next = samples
            .last()
            .filter(|_| samples.len >= count)
            .and_then(|at| Timestamp::from_millis(at.checked_add(1)?))
            .filter(|next| *next <= self.query.to);
        if next.is_some() {
            let fits = CHUNK_TIME.as_nanos() * count as u128 / took.as_nanos().max(1);
            let fits = usize::try_from(fits).unwrap_or(MOST);
            self.count = fits.min(count * 2).clamp(LEAST, MOST);
        }
        let last = next.is_none();
        self.series = next.map(|next| Series { next, ..series });
        Ok(Step::Samples(samples, last))
    }

    /// Gives up.
    fn fail(&mut self, error: &str) {
        self.failure.get_or_insert_with(|| error.to_owned());
        self.stop();
        self.queue = None;
    }

    fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// Lets the client go when the thread has ended.
    fn conclude(self) {
        let panicked = self.thread.join().is_err();
        let failure = self
            .failure
            .or_else(|| panicked.then(|| fence::INTERNAL.to_owned()));
        // Else the thread has replied, or was stopped, and its client is gone or was told why.
        if let Some(error) = failure {
            self.client.replier().ctx().reply_error(&error);
        }
        self.client.let_go();
    }
}

fn unreadable(series: Str<'_>, called: Called) -> Error {
    Error::Unreadable {
        series: series.bytes().to_vec(),
        why: match called {
            Called::Refused(why) => why,
            Called::Missing | Called::Done | Called::Integer(_) => {
                "TimeSeries does not answer as expected".into()
            }
        },
    }
}

fn stop(client: *mut raw::RedisModuleBlockedClient) {
    with(|state| {
        if let Some(job) = state.backtest.as_ref().filter(|job| job.client.is(client)) {
            job.stop();
        }
    });
}

/// CLIENT UNBLOCK.
unsafe extern "C" fn on_timeout(
    ctx: *mut raw::RedisModuleCtx,
    _: *mut *mut raw::RedisModuleString,
    _: c_int,
) -> c_int {
    guard(OK, || {
        // SAFETY: the server gives a live context.
        let ctx = unsafe { Ctx::new(ctx) };
        stop(Blocked::of_callback(ctx));
        let command = "ANOMALY.BACKTEST";
        ctx.reply_error(&Error::Stopped { command }.to_string());
        OK
    })
}

/// The client is gone, or was told something else.
unsafe extern "C" fn on_disconnect(
    _: *mut raw::RedisModuleCtx,
    client: *mut raw::RedisModuleBlockedClient,
) {
    guard((), || stop(client));
}
