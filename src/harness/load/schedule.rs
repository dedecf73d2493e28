//! When each reading is sent and which timestamp it carries: two clocks that may run at different speeds.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;

use super::Args;
use crate::moment;

/// Faster than any server takes them, in readings per second: where a run as fast as possible for a given time must start
/// so that its reading time does not overtake the clock.
const CEILING: f64 = 4e6;

/// Readings per second of one sensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rate {
    PerSecond(f64),
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text
            .parse()
            .ok()
            .filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
        number
            .map(Self::PerSecond)
            .ok_or_else(|| format!("{text:?} is neither `max` nor a number above 0"))
    }
}

/// The plan of one run. A tick is one reading of every sensor.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate: Rate,
    /// Reading time of the first tick, Unix milliseconds.
    start: i64,
    /// Reading time between two ticks, in milliseconds.
    pub(crate) step: u64,
    /// Ticks, where that is known beforehand.
    pub(crate) count: Option<u64>,
    /// Wall time, for a run as fast as possible.
    deadline: Option<Duration>,
}

impl Schedule {
    pub(crate) fn new(args: &Args, now: i64) -> anyhow::Result<Self> {
        let usual_step = match args.rate {
            Rate::Max => 1000,
            // Rounded down: reading time that is a little slow never runs into the future.
            Rate::PerSecond(rate) => ((1000.0 / rate) as u64).max(1),
        };
        let step = args.step.unwrap_or(usual_step);
        let by_duration = match (args.rate, args.duration) {
            (Rate::PerSecond(rate), Some(duration)) => {
                Some((rate * duration.as_secs_f64()).ceil() as u64)
            }
            _ => None,
        };
        let count = match (args.count, by_duration) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let deadline = if args.rate == Rate::Max {
            args.duration
        } else {
            None
        };
        let schedule = Self {
            rate: args.rate,
            start: 0,
            step,
            count,
            deadline,
        };
        let start = match args.start.as_deref() {
            Some("now") => now,
            Some(text) => moment::parse(text, &TimeZone::UTC)
                .with_context(|| format!("--start {text:?} is neither a time nor `now`"))?,
            None => now - schedule.lead(args.sensors)?,
        };
        Ok(Self { start, ..schedule })
    }

    /// How far before now the first reading lies, in milliseconds.
    fn lead(&self, sensors: u32) -> anyhow::Result<i64> {
        if let Rate::PerSecond(rate) = self.rate
            && self.step as f64 <= 1000.0 / rate
        {
            return Ok(0); // keeps pace with the clock
        }
        let ticks = match (self.count, self.deadline) {
            (Some(count), _) => (count - 1) as f64,
            (None, Some(deadline)) => deadline.as_secs_f64() * CEILING / f64::from(sensors),
            (None, None) => bail!(
                "reading time would run ahead of the clock without end: say --count or --duration, or --start TIME"
            ),
        };
        let lead = ticks * self.step as f64;
        if lead > 1e14 {
            bail!(
                "{ticks:.0} readings every {} ms reach back before the calendar: say --start or a smaller --step",
                self.step
            );
        }
        Ok(lead as i64)
    }

    /// Timestamp of the readings of a tick.
    pub(crate) fn at(&self, tick: u64) -> i64 {
        let elapsed = i64::try_from(tick.saturating_mul(self.step)).unwrap_or(i64::MAX);
        self.start.saturating_add(elapsed)
    }

    /// When a reading is to be sent; `None`: at once.
    pub(crate) fn due(
        &self,
        began: Instant,
        tick: u64,
        sensor: usize,
        sensors: usize,
    ) -> Option<Instant> {
        let Rate::PerSecond(rate) = self.rate else {
            return None;
        };
        let ticks = tick as f64 + sensor as f64 / sensors as f64;
        Some(began + Duration::try_from_secs_f64(ticks / rate).ok()?)
    }

    pub(crate) fn is_over(&self, tick: u64, elapsed: Duration) -> bool {
        self.count.is_some_and(|count| tick >= count)
            || self.deadline.is_some_and(|deadline| elapsed >= deadline)
    }

    /// Readings per second of one sensor that were asked for.
    pub(crate) fn asked(&self) -> Option<f64> {
        match self.rate {
            Rate::PerSecond(rate) => Some(rate),
            Rate::Max => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Args, Schedule};
    use clap::Parser;

    const NOW: i64 = 1_700_000_000_000;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn schedule(line: &str) -> anyhow::Result<Schedule> {
        let words = ["load"].into_iter().chain(line.split_whitespace());
        Schedule::new(&Line::try_parse_from(words).unwrap().args, NOW)
    }

    #[test]
    fn what_keeps_pace_with_the_clock_starts_now() {
        for line in [
            "",
            "--rate 3",
            "--rate 7 --duration 1h",
            "--rate 10 --step 100",
        ] {
            assert_eq!(schedule(line).unwrap().at(0), NOW, "{line}");
        }
        assert_eq!(schedule("--rate 7").unwrap().step, 142);
    }

    #[test]
    fn what_outruns_the_clock_ends_now() {
        for line in [
            "--rate max --count 500",
            "--rate 10 --step 60000 --duration 50s",
            "--rate max --count 500 --step 7",
        ] {
            let schedule = schedule(line).unwrap();
            assert_eq!(schedule.at(schedule.count.unwrap() - 1), NOW, "{line}");
        }
        assert!(schedule("--rate max --duration 10s").unwrap().at(1_000_000) < NOW);
    }

    #[test]
    fn an_endless_run_ahead_of_the_clock_is_refused() {
        assert!(schedule("--rate max").is_err());
        assert!(schedule("--rate 10 --step 60000").is_err());
        assert!(schedule("--rate max --start 2020-01-01T00:00:00Z").is_ok());
    }

    #[test]
    fn the_start_is_taken_as_given() {
        assert_eq!(
            schedule("--start 1600000000").unwrap().at(0),
            1_600_000_000_000
        );
        assert_eq!(
            schedule("--rate max --count 5 --start now").unwrap().at(0),
            NOW
        );
        assert!(schedule("--start soon").is_err());
    }
}
