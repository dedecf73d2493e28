//! What the module knows beside the keys: rules, watches, settings, counts, and where episodes are open. Main thread only.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::c_int;
use std::sync::atomic::AtomicI64;

use anomaly_core::deadlines::Deadlines;
use anomaly_core::episode::Event;
use anomaly_core::model::{Outcome, Verdict};
use anomaly_core::silence::Stalls;
use anomaly_core::units::Timestamp;
use anomaly_core::watch::Watches;
use anomaly_core::{Model, Rules, document};
use lazy_static::lazy_static;

use crate::alert_streams::AlertStreams;
use crate::audience::Audience;
use crate::backlog::Cursor;
use crate::backtest::Job;
use crate::hook::{Arguments, Captured, Streams};
use crate::keyspace::Unlinked;
use crate::known::{self, Known};
use crate::moving::Moves;
use crate::reply::Verdicts;
use crate::samples::Waiting;
use crate::search::Search;
use crate::server::Ctx;
use crate::settings::Settings;
use crate::silence::{Sweep, Timed};
use crate::slices::Slices;

/// Counts since the server started, for INFO.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) readings: u64,
    pub(crate) warnings: u64,
    pub(crate) criticals: u64,
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) refused: u64,
    pub(crate) suppressed: u64,
    /// By the position in [`Event::ALL`].
    pub(crate) alerts: [u64; Event::ALL.len()],
    pub(crate) alert_failures: u64,
    pub(crate) archived: u64,
    pub(crate) archive_failures: u64,
    pub(crate) dead_letters: u64,
    /// Looks at sensors whose deadline had passed.
    pub(crate) looks: u64,
    /// Sensors that `expire` had forgotten.
    pub(crate) forgotten: u64,
    /// Readings of ADD and MADD that were timed, one in [`crate::commands::TIMED`].
    pub(crate) timed_readings: u64,
    /// What those took.
    pub(crate) timed_nanoseconds: u64,
    /// Steps of the hook (an entry is captured in one and taken in in another), and those of them that were timed.
    pub(crate) hook_steps: u64,
    pub(crate) hook_timed_steps: u64,
    /// What those took.
    pub(crate) hook_nanoseconds: u64,
    /// What it took to write samples that had waited.
    pub(crate) settled_nanoseconds: u64,
    /// Backtests begun.
    pub(crate) backtests: u64,
    /// Slices of each kind of work of our own choice.
    pub(crate) timers: Slices,
    pub(crate) backlog: Slices,
    pub(crate) backtest: Slices,
}

impl Counts {
    pub(crate) fn count(&mut self, outcome: &Outcome) {
        match outcome.verdict {
            Verdict::Late => self.late += 1,
            Verdict::Duplicate => self.duplicates += 1,
            verdict => {
                self.readings += 1;
                self.warnings += u64::from(verdict == Verdict::Warning);
                self.criticals += u64::from(verdict == Verdict::Critical);
            }
        }
        self.suppressed += u64::from(outcome.suppressed);
    }

    /// Time in ADD and MADD so far, from the readings that were timed.
    pub(crate) fn add_microseconds(&self) -> u64 {
        total_microseconds(self.timed_nanoseconds, self.timed_readings, self.readings)
    }

    /// Time in the hook so far, from the steps that were timed.
    pub(crate) fn hook_microseconds(&self) -> u64 {
        total_microseconds(
            self.hook_nanoseconds,
            self.hook_timed_steps,
            self.hook_steps,
        )
    }

    pub(crate) fn alerted(&mut self, event: Event) {
        if let Some(count) = Event::ALL
            .iter()
            .position(|e| *e == event)
            .and_then(|at| self.alerts.get_mut(at))
        {
            *count += 1;
        }
    }
}

fn total_microseconds(nanoseconds: u64, timed: u64, all: u64) -> u64 {
    (nanoseconds as f64 / timed.max(1) as f64 * all as f64 / 1e3) as u64
}

/// Where a sensor or a stream is: database and key.
pub(crate) type Place = (c_int, Vec<u8>);

/// Everything there is one of.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) rules: Rules,
    pub(crate) watches: Watches,
    /// Streams that have been added to.
    pub(crate) streams: Streams,
    /// What the command that is about to run adds to a watched stream.
    pub(crate) arguments: Arguments,
    /// Entries of watched streams that are yet to be taken in by the job of the command that added them.
    pub(crate) captured: Vec<Captured>,
    /// What watched streams held before, and is yet to be read.
    pub(crate) searches: Vec<Search>,
    pub(crate) cursors: BTreeMap<Place, Cursor>,
    /// A timer for it is running.
    pub(crate) backlog_awake: bool,
    /// The last stream that was looked at in search of one that can be read, and in search of such as leave.
    pub(crate) passed_over: Option<Place>,
    pub(crate) noted_up_to: Option<Place>,
    /// The backtest that is going on.
    pub(crate) backtest: Option<Job>,
    pub(crate) settings: Settings,
    pub(crate) counts: Counts,
    pub(crate) cluster: bool,
    /// The alert streams of a cluster's node.
    pub(crate) alert_streams: AlertStreams,
    /// Slots of this node that move to or from another.
    pub(crate) moves: Moves,
    pub(crate) audience: Audience,
    /// The situation is [`Quiet`](crate::audience::Situation::Quiet).
    pub(crate) quiet: bool,
    /// This server takes the decisions, unless a master sends the command; `None`: it is to be asked.
    pub(crate) leads: Option<bool>,
    pub(crate) known: Known,
    pub(crate) verdicts: Verdicts,
    /// Samples that are yet to be written.
    pub(crate) samples: Waiting,
    /// The file of new commands that a rewrite of the AOF has begun lacks the rules.
    pub(crate) rules_due: bool,
    /// Settings come from a client from now on, no longer from the configuration.
    pub(crate) loaded: bool,
    /// TimeSeries was looked for and is not there; looked for again when a module is loaded.
    pub(crate) series_missing: bool,
    /// Failures that have been logged: the first of each kind is.
    pub(crate) logged: HashSet<String>,
    /// Sensors whose episode is open. Kept by ingest, loading and keyspace events; whoever reads it looks at the key too.
    pub(crate) open: BTreeSet<Place>,
    /// The sensor whose next reading is to provoke a panic.
    #[cfg(debug_assertions)]
    pub(crate) panic_in: Option<Vec<u8>>,
    /// When to look at the sensors whose rules ask for `nodata` or `expire`.
    pub(crate) timers: Deadlines<Timed>,
    /// A server's timer for them is running.
    pub(crate) timers_awake: bool,
    /// The search for sensors whose deadlines are not known.
    pub(crate) sweep: Option<Sweep>,
    /// Silence before that counts for no sensor.
    pub(crate) listening_since: Timestamp,
    /// When the timer for it is to run.
    pub(crate) tick_due: Timestamp,
    /// Times at which it ran late: the server took no readings in.
    pub(crate) stalls: Stalls,
    /// Sensors that were just taken out of the keyspace with an open episode.
    pub(crate) unlinked: Vec<Unlinked>,
}

impl State {
    /// Notes whether the sensor's episode is open.
    pub(crate) fn track(&mut self, db: c_int, key: &[u8], model: &Model) {
        let place = (db, key.to_vec());
        if model.alarm.open().is_some() {
            self.open.insert(place);
        } else {
            self.open.remove(&place);
        }
    }

    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "it is what was asked for")]
    pub(crate) fn panic_if_asked(&mut self, sensor: &[u8]) {
        if self.panics_in(sensor) {
            panic!("provoked by ANOMALY._PANIC in a reading");
        }
    }

    /// Whether a panic was asked for in the next readings of that key.
    #[cfg(debug_assertions)]
    pub(crate) fn panics_in(&mut self, key: &[u8]) -> bool {
        self.panic_in.take_if(|asked| asked == key).is_some()
    }

    /// Forgets all that an RDB file or a full AOF brings with it.
    pub(crate) fn forget_data(&mut self) {
        self.rules.clear();
        self.watches.clear();
        self.open.clear();
        self.known.clear();
        self.unlinked.clear();
        self.timers = Deadlines::default();
        self.sweep = None;
        self.captured.clear();
        self.samples.forget();
        self.alert_streams.forget();
        self.searches.clear();
        self.cursors.clear();
    }

    /// What belongs to no key, in its stored form: rules and watches, and what is left to read. `None`: there is nothing.
    pub(crate) fn settings_to_save(&self) -> Option<(String, Vec<u8>)> {
        let any = !self.rules.list().is_empty() || !self.watches.is_empty();
        any.then(|| {
            (
                document::export(&self.rules, &self.watches),
                self.save_backlog(),
            )
        })
    }

    /// Whether this is the first failure of its kind. Bounded, whatever the texts.
    pub(crate) fn first_of_kind(&mut self, failure: &str) -> bool {
        self.logged.len() < 64 && self.logged.insert(failure.to_owned())
    }
}

/// Sensors there are, on whatever thread they are freed.
pub(crate) static SENSORS: AtomicI64 = AtomicI64::new(0);

struct MainThread(RefCell<State>);

// SAFETY: only `with` reaches the cell, and only callbacks that the server runs on its main thread (or, for saving, in a
// forked child that has no other) call it.
unsafe impl Sync for MainThread {}

lazy_static! {
    static ref STATE: MainThread = MainThread(RefCell::default());
}

/// Works on the state. Nothing inside may call the server, which could call back.
pub(crate) fn with<T>(work: impl FnOnce(&mut State) -> T) -> T {
    work(&mut lend())
}

/// The same for the hottest paths, whose closures the compiler may leave a call of their own: nothing may call the server before
/// it is dropped.
#[inline(always)]
pub(crate) fn lend() -> RefMut<'static, State> {
    STATE.0.borrow_mut()
}

pub(crate) fn init(ctx: Ctx) {
    with(|state| state.cluster = ctx.is_cluster());
    known::init(ctx);
}
