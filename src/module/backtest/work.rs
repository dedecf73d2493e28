//! The thread that replays: it takes what it is handed, and at the end writes the reply. Of the server it knows nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Receiver;

use anomaly_core::backtest::{Fleet, LISTED, LISTED_EACH, Replay, Report, Sides};
use anomaly_core::command::Reply;
use anomaly_core::command::backtest::{Query, Target, of_fleet, of_sensor};
use anomaly_core::units::Timestamp;
use anomaly_core::{Reading, Rules};

use crate::reply;
use crate::server::{Replier, Sample, Samples};

/// How far behind the main thread the thread stands when both want the processor: a tenth of its share.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// What the main thread hands over.
pub(super) enum Step {
    /// What follows is of this sensor.
    Sensor(Vec<u8>, Box<Sides<Rules>>),
    /// Its next samples; whether they are the last.
    Samples(Samples, bool),
    /// The sensor's series cannot be read, or not any further.
    Lost,
    /// For tests.
    #[cfg(debug_assertions)]
    Panic,
}

/// What the thread does.
pub(super) struct Work {
    from: Timestamp,
    many: bool,
    stopped: Arc<AtomicBool>,
    fleet: Fleet,
    one: Sides<Report>,
    now: Option<(Vec<u8>, Sides<Replay>)>,
}

impl Work {
    pub(super) fn new(query: &Query, stopped: Arc<AtomicBool>) -> Self {
        Self {
            from: query.from,
            many: matches!(query.target, Target::Match(_)),
            stopped,
            fleet: Fleet::new(query.diff),
            one: Sides::default(),
            now: None,
        }
    }

    pub(super) fn run(mut self, steps: &Receiver<Step>, replier: &Replier) {
        yield_to_others();
        while let Ok(step) = steps.recv() {
            if self.stopped.load(Relaxed) {
                return;
            }
            self.take(step);
        }
        if !self.stopped.load(Relaxed) {
            reply::send(replier.ctx(), &self.reply());
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Sensor(key, rules) => {
                let listed = if self.many { LISTED_EACH } else { LISTED };
                let replays = rules.map(|rules| Replay::new(&key, rules, self.from, listed));
                self.now = Some((key, replays));
            }
            Step::Samples(samples, last) => {
                let Some((_, replays)) = &mut self.now else {
                    return;
                };
                for reading in samples.iter().filter_map(reading) {
                    replays.iter_mut().for_each(|replay| replay.take(reading));
                }
                if last && let Some((key, replays)) = self.now.take() {
                    let reports = replays.map(Replay::finish);
                    if self.many {
                        self.fleet.add(&key, reports);
                    } else {
                        self.one = reports;
                    }
                }
            }
            Step::Lost => {
                self.now = None;
                self.fleet.skipped += 1;
            }
            #[cfg(debug_assertions)]
            #[expect(clippy::panic, reason = "it is what was asked for")]
            Step::Panic => panic!("provoked by ANOMALY._PANIC in a backtest"),
        }
    }

    fn reply(self) -> Reply {
        if self.many {
            of_fleet(self.fleet)
        } else {
            of_sensor(self.one)
        }
    }
}

/// Has this thread take the processor when the server, its main thread included, leaves it some.
fn yield_to_others() {
    // SAFETY: a plain number. On Linux the priority is that of the calling thread, elsewhere of the whole process.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::nice(NICENESS);
    }
}

/// A sample as a reading. TimeSeries may hold what is no number.
fn reading((at, value): Sample) -> Option<Reading> {
    let at = Timestamp::from_millis(at)?;
    value.is_finite().then_some(Reading { at, value })
}
