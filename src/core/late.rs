//! Readings older than the newest one: stragglers, or the sign that a sensor's clock was set back.

use crate::units::Timestamp;

/// Late readings in a row, each newer than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateStreak {
    pub(crate) length: u8,
    pub(crate) newest: i64,
}

impl LateStreak {
    /// Late readings in a row that are still taken for stragglers.
    pub const LONGEST: u8 = 30;

    /// Counts a late reading; whether it shows that the clock was set back.
    pub fn late(&mut self, at: Timestamp) -> bool {
        self.length = if self.length > 0 && at.millis() > self.newest {
            self.length.saturating_add(1)
        } else {
            1
        };
        self.newest = at.millis();
        self.length > Self::LONGEST
    }

    /// A reading came in order.
    pub fn end(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    #[test]
    fn more_than_thirty_late_readings_each_newer_than_the_last_mean_a_clock_set_back() {
        let mut streak = LateStreak::default();
        assert!((0..30).all(|i| !streak.late(at(i))));
        assert!(streak.late(at(30)));
    }

    #[test]
    fn stragglers_out_of_order_among_themselves_never_mean_that() {
        let mut streak = LateStreak::default();
        assert!((0..1000).all(|i| !streak.late(at(i % 20))));
    }
}
