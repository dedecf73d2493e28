//! How long the slices of work take that the module does of its own choice: timers, what is left to read of streams, backtests.
//! No command waits longer for us than the longest of them.

use std::time::{Duration, Instant};

/// Up to 8 µs each is told apart, from there on four to each doubling, up to a quarter of an hour.
const CLASSES: usize = 8 + 4 * 27;

/// Counts by duration.
pub(crate) struct Slices {
    count: u64,
    microseconds: u64,
    longest: u64,
    /// The most time of a processor that one took, in microseconds: what is longer than that by the clock has waited for a
    /// processor.
    busiest: u64,
    /// Those that took more of a processor than the server may be held for.
    too_busy: u64,
    classes: [u64; CLASSES],
}

/// The longest that the server may be held for by work of our own choice, in microseconds of a processor's time.
const MOST: u64 = 1000;

/// When a slice began.
pub(crate) struct Start {
    at: Instant,
    processor: Duration,
}

impl Start {
    pub(crate) fn now() -> Self {
        Self {
            at: Instant::now(),
            processor: processor_time(),
        }
    }

    pub(crate) fn plus(&self, length: Duration) -> Instant {
        self.at + length
    }
}

/// What this thread has taken of a processor; zero where that cannot be told.
fn processor_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: writes to a struct of ours, and to nothing else.
        if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } == 0 {
            let seconds = Duration::from_secs(time.tv_sec.unsigned_abs());
            return seconds + Duration::from_nanos(time.tv_nsec.unsigned_abs());
        }
    }
    Duration::ZERO
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            count: 0,
            microseconds: 0,
            longest: 0,
            busiest: 0,
            too_busy: 0,
            classes: [0; CLASSES],
        }
    }
}

fn class(microseconds: u64) -> usize {
    match microseconds {
        0..8 => microseconds as usize,
        _ => {
            let doubling = microseconds.ilog2();
            let quarter = (microseconds >> (doubling - 2)) & 3;
            (8 + 4 * (doubling as usize - 3) + quarter as usize).min(CLASSES - 1)
        }
    }
}

/// The longest duration of a class, in microseconds.
fn longest_of(class: usize) -> u64 {
    match class {
        0..8 => class as u64,
        _ => {
            let (doubling, quarter) = ((class - 8) / 4 + 3, (class - 8) as u64 % 4);
            ((5 + quarter) << (doubling - 2)) - 1
        }
    }
}

impl Slices {
    /// A slice has ended now.
    pub(crate) fn add(&mut self, start: &Start) {
        let busy = microseconds(processor_time().saturating_sub(start.processor));
        self.busiest = self.busiest.max(busy);
        self.too_busy += u64::from(busy > MOST);
        let took = microseconds(start.at.elapsed());
        self.count += 1;
        self.microseconds = self.microseconds.saturating_add(took);
        self.longest = self.longest.max(took);
        if let Some(count) = self.classes.get_mut(class(took)) {
            *count += 1;
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// What they took together, in microseconds.
    pub(crate) fn microseconds(&self) -> u64 {
        self.microseconds
    }

    /// What the longest of them took, in microseconds.
    pub(crate) fn longest(&self) -> u64 {
        self.longest
    }

    /// What this share of them did not exceed, in microseconds, to a quarter.
    fn below(&self, share: f64) -> u64 {
        let mut left = (self.count as f64 * share).ceil() as u64;
        for (class, count) in self.classes.iter().enumerate() {
            left = left.saturating_sub(*count);
            if left == 0 {
                return longest_of(class).min(self.longest);
            }
        }
        self.longest
    }

    /// As a line of INFO.
    pub(crate) fn line(&self) -> String {
        format!(
            "count={},usec={},p50={},p99={},max={},cpu_max={},cpu_over_1ms={}",
            self.count,
            self.microseconds,
            self.below(0.5),
            self.below(0.99),
            self.longest,
            self.busiest,
            self.too_busy
        )
    }
}
