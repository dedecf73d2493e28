//! Counters: a signal that only ever climbs, and then falls back to where it began, was reset. It is taken to go on as if
//! it had not been.

use std::hint::select_unpredictable;

use super::constants::CLIMB;
use super::lanes::if_negative;
use super::{FARTHEST, Tracks};

/// A fall to less than this share of the climb is a reset.
const FELL: f64 = 0.25;

/// How long a signal has gone one way.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Climb {
    /// Changes in a row that were no fall; negative: no rise.
    pub(crate) steps: i32,
    /// Where the first of them began.
    pub(crate) start: f64,
}

impl Climb {
    /// The state after the reading `y`; with the reading and the anchor moved, if it is a counter that was reset.
    pub(super) fn next(mut self, y: f64, old: &Tracks, anchor: f64, unit: f64) -> (Self, f64, f64) {
        let up = if self.steps < 0 { -1.0 } else { 1.0 };
        let step = (y - old.last) * up;
        let (climbed, left) = ((old.last - self.start) * up, (y - self.start) * up);
        if self.steps.unsigned_abs() > CLIMB && falls_back(step, left, climbed) {
            let goes_on = old.last + up * f64::from(old.shape.lively[1]);
            let goes_on = goes_on.clamp(-FARTHEST, FARTHEST);
            let moved = (anchor + (y - goes_on) * unit).clamp(f64::MIN, f64::MAX);
            self.start = goes_on;
            return (self, goes_on, moved);
        }
        // Which way it goes cannot be guessed: there is no branch on it.
        let one = if self.steps < 0 { -1 } else { 1 };
        let goes_on = select_unpredictable(step > 0.0, self.steps.saturating_add(one), self.steps);
        let turns = step < 0.0;
        self.steps = select_unpredictable(turns, -one, goes_on);
        self.start = if_negative(step, old.last, self.start);
        (self, y, anchor)
    }
}

/// Whether a step has left less than a share of the climb. Asked of few steps, and no part of what is asked of all.
#[inline(never)]
fn falls_back(step: f64, left: f64, climbed: f64) -> bool {
    step < 0.0 && left < FELL * climbed
}
