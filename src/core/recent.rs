//! The last readings of a sensor, kept for people: window statistics, trend and sparkline.

use std::collections::VecDeque;

use crate::reading::Reading;

/// The newest `capacity` readings.
#[derive(Clone, Debug, PartialEq)]
pub struct Recent {
    pub(crate) capacity: usize,
    /// Readings since it was begun.
    pub(crate) seen: u64,
    pub(crate) readings: VecDeque<Reading>,
}

/// Figures over a stretch of readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// Time of its first reading, Unix milliseconds.
    pub from: i64,
    /// Readings in it.
    pub count: usize,
    /// Arithmetic mean.
    pub avg: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// 99th percentile by nearest rank.
    pub p99: f64,
}

/// The straight line of least squares through the readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Units per minute.
    pub slope: f64,
    /// Share of the variance that the line explains, 0 to 1.
    pub r2: f64,
}

impl Trend {
    /// `rising` or `falling` where the line explains at least half of the variance, else `stable`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.slope {
            _ if self.r2 < 0.5 => "stable",
            slope if slope > 0.0 => "rising",
            slope if slope < 0.0 => "falling",
            _ => "stable",
        }
    }
}

impl Recent {
    /// None kept yet, at most `capacity`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            seen: 0,
            readings: VecDeque::new(),
        }
    }

    /// Oldest first.
    pub fn readings(&self) -> impl ExactSizeIterator<Item = &Reading> {
        self.readings.iter()
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.readings.capacity() * size_of::<Reading>()
    }

    /// Takes in a reading.
    pub fn push(&mut self, reading: Reading) {
        self.seen = self.seen.saturating_add(1);
        if self.readings.len() >= self.capacity {
            self.readings.pop_front();
        }
        if self.readings.len() == self.readings.capacity() {
            let grown = (self.readings.len() * 2).max(4).min(self.capacity.max(1));
            self.readings
                .reserve_exact(grown.saturating_sub(self.readings.len()).max(1));
        }
        self.readings.push_back(reading);
    }

    /// Keeps at most `capacity` from now on; the newest stay.
    pub fn resize(&mut self, capacity: usize) {
        self.capacity = capacity;
        while self.readings.len() > capacity {
            self.readings.pop_front();
        }
        self.readings.shrink_to(capacity);
    }

    /// Figures over all readings kept.
    #[must_use]
    pub fn sliding(&self) -> Option<Stretch> {
        stretch(self.readings.iter())
    }

    /// Figures over the current window of windows that do not overlap: the readings since the last multiple of the
    /// capacity.
    #[must_use]
    pub fn tumbling(&self) -> Option<Stretch> {
        let capacity = self.capacity.max(1) as u64;
        let current = self
            .seen
            .checked_sub(1)
            .map_or(0, |seen| seen % capacity + 1);
        stretch(
            self.readings
                .iter()
                .skip(self.readings.len().saturating_sub(current as usize)),
        )
    }

    /// The trend over all readings kept; `None` for fewer than 3 or where time stands still.
    #[must_use]
    pub fn trend(&self) -> Option<Trend> {
        let n = self.readings.len() as f64;
        let first = self.readings.front()?;
        if n < 3.0 {
            return None;
        }
        let minutes = |r: &Reading| r.at.since(first.at) as f64 / 6e4;
        let mean_t = self.readings.iter().map(minutes).sum::<f64>() / n;
        let mean_x = self.readings.iter().map(|r| r.value / n).sum::<f64>();
        let (mut tt, mut tx, mut xx) = (0.0, 0.0, 0.0);
        for reading in &self.readings {
            let (t, x) = (minutes(reading) - mean_t, reading.value - mean_x);
            tt += t * t;
            tx += t * x;
            xx += x * x;
        }
        let slope = tx / tt;
        let r2 = if xx > 0.0 {
            (slope * tx / xx).clamp(0.0, 1.0)
        } else {
            0.0
        };
        (slope.is_finite() && r2.is_finite()).then_some(Trend { slope, r2 })
    }
}

fn stretch<'a>(readings: impl Iterator<Item = &'a Reading>) -> Option<Stretch> {
    let readings: Vec<&Reading> = readings.collect();
    let mut values: Vec<f64> = readings.iter().map(|r| r.value).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len();
    let rank = (count * 99).div_ceil(100).saturating_sub(1);
    let (min, max) = (*values.first()?, *values.last()?);
    let sum: f64 = values.iter().map(|x| x / count as f64).sum();
    Some(Stretch {
        from: readings.first()?.at.millis(),
        count,
        // Rounding must not carry it beyond the values, nor beyond all numbers.
        avg: sum.clamp(min, max),
        min,
        max,
        p99: *values.get(rank)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    fn filled(capacity: usize, values: impl IntoIterator<Item = f64>) -> Recent {
        let mut recent = Recent::new(capacity);
        for (i, value) in (0..).zip(values) {
            recent.push(Reading {
                at: Timestamp::from_millis(i * 60_000).unwrap(),
                value,
            });
        }
        recent
    }

    #[test]
    fn the_sliding_window_is_the_last_n_and_the_tumbling_one_begins_anew_every_n() {
        let recent = filled(10, (1..=23).map(f64::from));
        let sliding = recent.sliding().unwrap();
        assert_eq!(
            (sliding.count, sliding.min, sliding.max, sliding.p99),
            (10, 14.0, 23.0, 23.0)
        );
        let tumbling = recent.tumbling().unwrap();
        assert_eq!(
            (tumbling.count, tumbling.from, tumbling.avg),
            (3, 20 * 60_000, 22.0)
        );
        assert_eq!(
            filled(10, (1..=20).map(f64::from))
                .tumbling()
                .unwrap()
                .count,
            10
        );
    }

    #[test]
    fn the_average_stays_among_the_values_even_of_the_largest_numbers() {
        for value in [f64::MAX, f64::MIN, 0.1, 1e-310] {
            let sliding = filled(3, [value; 3]).sliding().unwrap();
            assert_eq!(
                (sliding.avg, sliding.min, sliding.max),
                (value, value, value)
            );
        }
    }

    #[test]
    fn the_trend_is_the_line_of_least_squares_per_minute() {
        let trend = filled(60, (0..60).map(|i| 20.0 + 0.5 * f64::from(i)))
            .trend()
            .unwrap();
        assert!((trend.slope - 0.5).abs() < 1e-12 && (trend.r2 - 1.0).abs() < 1e-12);
        assert_eq!(trend.word(), "rising");
        assert_eq!(
            filled(60, (0..60).map(|i| f64::from(i % 2)))
                .trend()
                .unwrap()
                .word(),
            "stable"
        );
        assert_eq!(
            filled(60, [5.0; 9]).trend().unwrap(),
            Trend {
                slope: 0.0,
                r2: 0.0
            }
        );
        assert_eq!(filled(60, [5.0; 2]).trend(), None);
    }
}
