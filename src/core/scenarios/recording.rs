//! A series with alarms in it that leave no doubt, to be played again in other ways: scenarios 9 and 10.

use crate::dice::Dice;
use crate::scenario::Run;
use crate::sensor::Sensor;
use crate::signal::{DAY, Noise, Shape, Signal};

/// Longest series, in days: a shorter step gives more readings than are needed.
const DAYS: i64 = 3;
/// Readings at least: three events with room between them.
const LEAST: usize = 300 + EVENTS * APART;
const EVENTS: usize = 3;
/// Readings between the beginnings of two events, at least.
const APART: usize = 200;
/// Readings of an event.
const LENGTH: usize = 30;
/// Height of an event, in sd.
const HEIGHT: f64 = 10.0;

/// White noise with three level shifts of 10 sd and 30 readings each, up or down.
pub(crate) struct Recording {
    values: Vec<f64>,
}

impl Recording {
    /// The recording of a seed.
    pub(crate) fn of(run: &Run) -> Self {
        let n = run.readings(DAYS.min(run.days) * DAY).max(LEAST);
        let apart = (n - (LEAST - EVENTS * APART)) / EVENTS;
        let mut dice = Dice::new(run.seed, 5);
        let mut signal = Signal::new(Shape::Flat, Noise::White, run.seed);
        let mut values: Vec<f64> = (0..n).map(|index| signal.at(run.time(index))).collect();
        for event in 0..EVENTS {
            let from = n - (event + 1) * apart + dice.below(apart - APART / 2);
            let height = HEIGHT * dice.sign();
            for value in values.iter_mut().skip(from).take(LENGTH) {
                *value += height;
            }
        }
        Self { values }
    }

    /// Times and values.
    pub(crate) fn readings(&self, run: &Run) -> impl Iterator<Item = (i64, f64)> {
        let values = self.values.iter().enumerate();
        values.map(|(index, value)| (run.time(index), *value))
    }

    /// The readings that fire.
    pub(crate) fn alarms(&self, run: &Run, mut sensor: Sensor) -> Vec<usize> {
        run.feed(&mut sensor, 0..self.values.len(), |index, _| {
            self.values[index]
        })
    }

    /// The same in another unit: `scale` times the values, and `offset`.
    pub(crate) fn in_unit(&self, scale: f64, offset: f64) -> Self {
        let values = self.values.iter().map(|value| value * scale + offset);
        Self {
            values: values.collect(),
        }
    }
}
