//! Alarm control: how many alerts a sensor may give, whatever its readings are like.
//!
//! The threshold of all experts comes from the time budget and the sensor's own cadence. Each crossing lifts its expert's
//! threshold, each alert all thresholds, and what was lifted sinks back within one budget: so a sensor whose noise is not
//! normal ends near its budget all the same. A crossing fires only after [`quiet`] readings without any.

use wide::f32x4;

use super::constants::{
    AGAIN, COMMON_LIFT, HEAVIER, INDEPENDENT, LEAST_BUDGET, LIFT, PAUSE, QUIET, QUIET_SHARE,
    STRICTNESS,
};

use super::lanes::positive;

/// Lifts end here, where an `f32` would not tell one more from none.
pub(crate) const MOST_LIFTED: f32 = 1e7;
/// Experts under control.
pub(crate) const EXPERTS: usize = 4;

/// The state of the control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Control {
    /// By how much each expert's threshold is lifted, as a share of it.
    pub(crate) lifts: [f32; EXPERTS],
    /// By how much all are.
    pub(crate) common: f32,
    /// Readings since each expert crossed its threshold; saturating.
    pub(crate) since: [u16; EXPERTS],
    /// Readings since any did; saturating.
    pub(crate) quiet: u16,
    /// Crossings in a row since the one that could fire; 0 when the last reading was none of them.
    pub(crate) run: u16,
    /// The crossings in a row up to now began after a pause, but too soon to fire unless they become odder.
    pub(crate) waits: bool,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            lifts: [0.0; EXPERTS],
            common: 0.0,
            since: [u16::MAX; EXPERTS],
            quiet: u16::MAX,
            run: 0,
            waits: false,
        }
    }
}

impl Control {
    /// The control after `elapsed` milliseconds without a crossing.
    pub(crate) fn after(mut self, elapsed: f32, budget: f32) -> Self {
        let share = elapsed / budget;
        let lifts = f32x4::from(self.lifts) - f32x4::splat(LIFT * share);
        self.lifts = positive(lifts).to_array();
        self.common = (self.common - COMMON_LIFT * share).max(0.0);
        self
    }

    /// What each expert's threshold is multiplied by.
    pub(crate) fn lifted(&self) -> f32x4 {
        (f32x4::splat(1.0) + f32x4::from(self.lifts)) * f32x4::splat(1.0 + self.common)
    }

    /// Whether a crossing of that ratio may fire now, after `quiet` readings without one. With `for`, the crossings that follow in a row count towards it.
    pub(crate) fn open(&self, for_readings: u32, ratio: f64, quiet: u16) -> bool {
        self.quiet >= quiet
            || (self.waits || self.quiet >= PAUSE) && ratio >= AGAIN
            || self.run > 0 && u32::from(self.run) < for_readings
    }

    /// Takes in that no expert crossed its threshold.
    #[inline(always)]
    pub(crate) fn calm(mut self) -> Self {
        self.since = self.since.map(|since| since.saturating_add(1));
        self.quiet = self.quiet.saturating_add(1);
        (self.run, self.waits) = (0, false);
        self
    }

    /// Takes in which experts crossed their thresholds, where `quiet` readings without are enough to fire again.
    pub(crate) fn next(mut self, crossed: [bool; EXPERTS], fires: bool, quiet: u16) -> Self {
        if !crossed.contains(&true) {
            return self.calm();
        }
        for ((lift, since), crossed) in self.lifts.iter_mut().zip(&mut self.since).zip(crossed) {
            if !crossed {
                *since = since.saturating_add(1);
                continue;
            }
            if *since >= quiet {
                *lift = (*lift + LIFT).min(MOST_LIFTED);
            }
            *since = 0;
        }
        if fires && self.run == 0 {
            self.common = (self.common + COMMON_LIFT).min(MOST_LIFTED);
            (self.run, self.waits) = (1, false);
        } else if self.run > 0 {
            self.run = self.run.saturating_add(1);
        } else {
            self.waits |= self.quiet >= PAUSE;
        }
        self.quiet = 0;
        self
    }
}

/// A budget in milliseconds, and what follows from it for every sensor that has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    pub(crate) budget: f32,
    /// Time without a crossing before one may fire again.
    quiet: f32,
}

impl Pace {
    /// Of so many milliseconds.
    pub(crate) fn of(budget: u64) -> Self {
        let budget = budget as f32;
        Self {
            budget,
            quiet: (QUIET_SHARE * budget).round(),
        }
    }

    /// Readings without a crossing before one may fire again, at one reading every `interval` milliseconds.
    pub(crate) fn quiet(self, interval: f32) -> u16 {
        let share = self.quiet / interval.max(1.0);
        QUIET.max(share).min(60_000.0) as u16
    }

    /// The threshold in standard deviations at which one independent reading in ten budgets is beyond, at one reading every
    /// `interval` milliseconds: the quantile of the normal law (Abramowitz and Stegun 26.2.23, to 4.5e-4), times
    /// [`STRICTNESS`].
    pub(crate) fn bar(self, interval: f32) -> f32 {
        let readings = INDEPENDENT * self.budget / interval.max(1.0);
        let rarity = libm::logf(readings).max(LEAST_BUDGET * std::f32::consts::LN_10);
        let t = (2.0 * rarity).sqrt();
        let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
        let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
        (STRICTNESS + HEAVIER * rarity) * (t - above / below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifted(control: &Control) -> [f32; EXPERTS] {
        control.lifted().to_array()
    }

    #[test]
    fn a_smaller_budget_or_a_faster_sensor_has_a_higher_bar() {
        let month = Pace::of(2_592_000_000);
        let bars = [3_600_000.0, 60_000.0, 1000.0].map(|interval| month.bar(interval));
        assert!(bars[0] < bars[1] && bars[1] < bars[2], "{bars:?}");
        assert!(Pace::of(12 * 2_592_000_000).bar(60_000.0) > bars[1]);
        // One in 7,692,307 is beyond 5.15 standard deviations of the normal law.
        let readings = 7_692_307.0_f32;
        let share = STRICTNESS + HEAVIER * libm::logf(readings);
        let pace = Pace {
            budget: readings * 1000.0 / INDEPENDENT,
            ..month
        };
        let one_in = pace.bar(1000.0) / share;
        assert!((one_in - 5.15).abs() < 0.01, "{one_in}");
    }

    #[test]
    fn crossings_fire_once_and_then_only_after_quiet() {
        for interval in [60_000.0, 1000.0] {
            let mut control = Control::default();
            let quiet = Pace::of(2_592_000_000).quiet(interval);
            assert!(control.open(1, 1.1, quiet));
            control = control.next([true, false, false, false], true, quiet);
            assert!(!control.open(1, 1.1, quiet) && lifted(&control)[0] > lifted(&control)[1]);
            for _ in 0..quiet {
                assert!(!control.open(1, 1.1, quiet));
                control = control.next([false; EXPERTS], true, quiet);
            }
            assert!(control.open(1, 1.1, quiet));
        }
        let month = |interval| Pace::of(2_592_000_000).quiet(interval);
        assert_eq!([3_600_000.0, 60_000.0, 1000.0].map(month), [40, 40, 2400]);
        assert_eq!(Pace::of(86_400_000).quiet(1000.0), 80, "of a day");
    }

    #[test]
    fn crossings_in_a_row_count_towards_for() {
        let mut control = Control::default();
        for _ in 0..3 {
            assert!(control.open(3, 1.1, 40));
            control = control.next([false, true, false, false], true, 40);
        }
        assert!(!control.open(3, 1.1, 40));
        let broken = control
            .next([false; EXPERTS], true, 40)
            .next([true; EXPERTS], false, 40);
        assert!(!broken.open(3, 1.1, 40), "a run that was not the first");
    }

    #[test]
    fn what_was_lifted_sinks_back_within_one_budget() {
        let lifted = Control::default().next([true, false, true, false], true, 40);
        assert_eq!(self::lifted(&lifted.after(1000.0, 1000.0))[0], 1.0);
        assert!(self::lifted(&lifted.after(500.0, 1000.0))[2] > 1.0);
    }
}
