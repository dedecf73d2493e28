//! What a scenario is, and what the ten of them share.

use anomaly_core::Error;

use crate::dice::Dice;
use crate::figure::{Row, Sample};
use crate::sensor::Sensor;
use crate::signal::{DAY, HOUR, START, Signal};

/// Readings that are enough for every detector to have warmed up.
const WARM: usize = 300;

/// One of the ten, or one of its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its number in RESEARCH.md, "Beyond the benchmark".
    pub(crate) number: u8,
    /// Which part of it.
    pub(crate) name: &'static str,
    /// What it measures, in the order of the samples of a run.
    pub(crate) rows: &'static [Row],
    /// Days that a run needs at least.
    pub(crate) least_days: i64,
    /// One run: one sensor, one seed.
    pub(crate) run: fn(&Run) -> Result<Vec<Sample>, Error>,
}

/// What a run is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The settings of the detector, as in ANOMALY.CONFIG SET.
    pub(crate) detector: &'a str,
    /// Milliseconds between readings.
    pub(crate) step: i64,
    /// Length of a run on clean data.
    pub(crate) days: i64,
    pub(crate) seed: u64,
}

impl Run<'_> {
    pub(crate) fn sensor(&self) -> Result<Sensor, Error> {
        Sensor::new(self.detector)
    }

    /// Random numbers for what is done to a signal; the signal has its own.
    pub(crate) fn dice(&self) -> Dice {
        Dice::new(self.seed, 2)
    }

    /// Readings in a time.
    pub(crate) fn readings(&self, time: i64) -> usize {
        usize::try_from(time / self.step).unwrap_or(0)
    }

    /// Readings of a run on clean data.
    pub(crate) fn length(&self) -> usize {
        self.readings(self.days * DAY)
    }

    /// Readings in `hours`, but no fewer than at one reading a minute: what is told by readings cannot be told sooner.
    pub(crate) fn hours(&self, hours: i64) -> usize {
        self.readings(hours * HOUR)
            .max(usize::try_from(hours * 60).unwrap_or(0))
    }

    /// Readings before something happens: two days, but no fewer than 300, and up to a tenth more.
    pub(crate) fn history(&self, dice: &mut Dice) -> usize {
        self.after_days(2, dice)
    }

    pub(crate) fn after_days(&self, days: i64, dice: &mut Dice) -> usize {
        let least = self.readings(days.min(self.days) * DAY).max(WARM);
        least + dice.below(least / 10)
    }

    /// Time of a reading, counted from 0.
    pub(crate) fn time(&self, index: usize) -> i64 {
        START + self.step * index as i64
    }

    /// Feeds readings `from..to` and tells which of them fired.
    pub(crate) fn feed(
        &self,
        sensor: &mut Sensor,
        range: std::ops::Range<usize>,
        mut value: impl FnMut(usize, i64) -> f64,
    ) -> Vec<usize> {
        range
            .filter(|index| {
                let at = self.time(*index);
                let value = value(*index, at);
                sensor.fires(at, value)
            })
            .collect()
    }

    /// A sensor that has read `history` readings of a signal.
    pub(crate) fn learnt(&self, signal: &mut Signal, history: usize) -> Result<Sensor, Error> {
        let mut sensor = self.sensor()?;
        self.feed(&mut sensor, 0..history, |_, at| signal.at(at));
        Ok(sensor)
    }

    /// Days that a sensor was watched for, after its warm-up and from `from` on.
    pub(crate) fn watched(&self, sensor: &Sensor, from: usize, to: usize) -> f64 {
        let end = self.time(to);
        let warm = sensor.warm.unwrap_or(end).max(self.time(from));
        (end - warm).max(0) as f64 / DAY as f64
    }
}
