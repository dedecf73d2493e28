//! The rolling window of the last n readings, with their mean and standard deviation in O(1) per reading.
//!
//! Readings are kept as `f32` distances from an anchor (an `f64`), which halves the memory and keeps small noise on a
//! large level: 1e9 ± 0.01 is held as well as ± 0.01. Once per turn of the ring the anchor moves to the newest reading
//! and the running sums are made anew, so no rounding error lives longer than one turn; a sensor that does not change
//! has distances, sums and deviation of exactly zero.

use smallvec::SmallVec;

use crate::ranks::Ranks;

/// Relative resolution of the sums between two renewals: the deviation is never taken to be smaller than this share of
/// the largest distance that has passed through. It is far above the rounding error of 10,000 additions and
/// subtractions (about 1e-6 of a sum of squares) and far below what a detector could tell apart.
const RESOLUTION: f64 = 1.0 / 1_048_576.0;

/// Readings of the usual window, the default of a rule.
const USUAL: usize = 30;

/// The last `capacity` readings of a sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub(crate) capacity: u16,
    /// Where the next reading goes once the ring is full.
    pub(crate) next: u16,
    /// Readings since the window was begun; saturating.
    pub(crate) seen: u32,
    pub(crate) anchor: f64,
    pub(crate) sum: f64,
    pub(crate) squares: f64,
    /// Largest distance since the sums were last made anew.
    pub(crate) peak: f64,
    /// The usual window lies beside the rest.
    pub(crate) distances: SmallVec<[f32; USUAL]>,
    /// The distances by size, while somebody asks for medians.
    pub(crate) ranks: Option<Box<Ranks>>,
}

impl Window {
    /// An empty window of `capacity` readings, at least 2.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: u16::try_from(capacity.max(2)).unwrap_or(u16::MAX),
            next: 0,
            seen: 0,
            anchor: 0.0,
            sum: 0.0,
            squares: 0.0,
            peak: 0.0,
            distances: SmallVec::new(),
            ranks: None,
        }
    }

    /// How many readings it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.distances.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.distances.is_empty()
    }

    /// How many readings it may hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        usize::from(self.capacity)
    }

    /// Readings since the window was begun.
    #[must_use]
    pub fn seen(&self) -> u32 {
        self.seen
    }

    /// Gives the vectors on the heap to a server that moves memory: it gives each back with the same contents.
    pub fn relocate(&mut self, moved: impl Fn(Vec<f32>) -> Vec<f32>) {
        if self.distances.spilled() {
            self.distances = moved(std::mem::take(&mut self.distances).into_vec()).into();
        }
        if let Some(ranks) = &mut self.ranks {
            ranks.values = moved(std::mem::take(&mut ranks.values));
        }
    }

    /// Tells the bytes of each allocation behind it.
    pub(crate) fn allocations(&self, tell: &mut impl FnMut(usize)) {
        if self.distances.spilled() {
            tell(self.distances.capacity() * size_of::<f32>());
        }
        if let Some(ranks) = &self.ranks {
            tell(size_of::<Ranks>());
            ranks.allocations(tell);
        }
    }

    /// Keeps the distances by size too, for medians, or no longer.
    pub fn rank(&mut self, on: bool) {
        if !on {
            self.ranks = None;
        } else if self.ranks.is_none() {
            self.ranks = Some(Box::new(Ranks::of(&self.distances, self.peak)));
        }
    }

    /// Mean in the sensor's unit; 0 when empty.
    #[must_use]
    pub fn mean(&self) -> f64 {
        (self.anchor + self.mean_distance()).clamp(f64::MIN, f64::MAX)
    }

    /// Sample standard deviation (n−1) in the sensor's unit; 0 for fewer than 2 readings or a sensor that did not change.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let n = self.len() as f64;
        if n < 2.0 {
            return 0.0;
        }
        let variance = (self.squares - self.sum * self.sum / n) / (n - 1.0);
        variance.max(0.0).sqrt().max(self.resolution())
    }

    /// The smallest standard deviation that the sums can tell from none, in the sensor's unit.
    fn resolution(&self) -> f64 {
        self.peak * RESOLUTION
    }

    /// The smallest difference of two distances that is none of rounding, in the sensor's unit. Unlike the sums, distances
    /// keep the rounding of the turn before.
    #[must_use]
    pub fn grain(&self) -> f64 {
        let older = self.ranks.as_ref().map_or(0.0, |ranks| ranks.older_peak);
        self.peak.max(older) * RESOLUTION
    }

    /// Median in the sensor's unit; the anchor unless [`Self::rank`] is on.
    #[must_use]
    pub fn median(&self) -> f64 {
        (self.anchor + self.median_distance()).clamp(f64::MIN, f64::MAX)
    }

    /// Median of the distances from the median, in the sensor's unit; 0 unless [`Self::rank`] is on.
    #[must_use]
    pub fn median_deviation(&self) -> f64 {
        self.ranks
            .as_ref()
            .map_or(0.0, |ranks| ranks.median_deviation())
    }

    /// How far a value is from the median, in the sensor's unit.
    #[must_use]
    pub fn distance_from_median(&self, value: f64) -> f64 {
        f64::from(self.distance(value)) - self.median_distance()
    }

    /// How far a value is from the mean, in the sensor's unit.
    #[must_use]
    pub fn distance_from_mean(&self, value: f64) -> f64 {
        f64::from(self.distance(value)) - self.mean_distance()
    }

    /// Takes in a reading; the oldest leaves when the window is full.
    #[inline]
    pub fn push(&mut self, value: f64) {
        self.seen = self.seen.saturating_add(1);
        if self.distances.len() < self.capacity() {
            self.grow(value);
        } else {
            self.replace(value);
        }
    }

    /// A reading takes the place of the oldest.
    fn replace(&mut self, value: f64) {
        let distance = self.distance(value);
        if let Some(oldest) = self.distances.get_mut(usize::from(self.next)) {
            let old = std::mem::replace(oldest, distance);
            if let Some(ranks) = &mut self.ranks {
                ranks.replace(old, distance);
            }
            let left = f64::from(old);
            self.sum -= left;
            self.squares -= left * left;
        }
        self.add(value, distance);
    }

    /// A reading finds a place of its own.
    #[cold]
    fn grow(&mut self, value: f64) {
        if self.distances.is_empty() {
            self.anchor = value;
        }
        let distance = self.distance(value);
        self.reserve();
        self.distances.push(distance);
        if let Some(ranks) = &mut self.ranks {
            let room = self.distances.capacity().min(usize::from(self.capacity));
            ranks.insert(distance, room);
        }
        self.add(value, distance);
    }

    /// Adds the newest distance to the sums.
    #[inline(always)]
    fn add(&mut self, value: f64, distance: f32) {
        let d = f64::from(distance);
        self.sum += d;
        self.squares += d * d;
        self.peak = larger(self.peak, d.abs());
        self.next = if self.next + 1 >= self.capacity {
            0
        } else {
            self.next + 1
        };
        if self.next == 0 {
            self.renew(value, distance);
        }
    }

    /// The same window with another capacity; the newest readings stay.
    #[must_use]
    pub fn resized(&self, capacity: usize) -> Self {
        let mut window = Self {
            seen: 0,
            ..Self::new(capacity)
        };
        let skip = self.len().saturating_sub(window.capacity());
        self.oldest_first()
            .skip(skip)
            .for_each(|d| window.push(self.anchor + f64::from(d)));
        window.seen = self.seen;
        if let Some(ranks) = &self.ranks {
            let older = ranks.older_peak.max(self.peak);
            window.ranks = Some(Box::new(Ranks::of(&window.distances, older)));
        }
        window
    }

    fn oldest_first(&self) -> impl Iterator<Item = f32> {
        let (newer, older) = match self.distances.split_at_checked(usize::from(self.next)) {
            Some(parts) if self.len() == self.capacity() => parts,
            _ => (&self.distances[..], &[][..]),
        };
        older.iter().chain(newer).copied()
    }

    fn median_distance(&self) -> f64 {
        self.ranks.as_ref().map_or(0.0, |ranks| ranks.median())
    }

    fn mean_distance(&self) -> f64 {
        if self.is_empty() {
            0.0
        } else {
            self.sum / self.len() as f64
        }
    }

    /// Distance from the anchor, saturating where an `f32` ends.
    fn distance(&self, value: f64) -> f32 {
        (value - self.anchor).clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    /// Moves the anchor to the newest reading and sums anew. All distances shift by the stored one, so that readings
    /// equal to the newest come to lie at exactly zero.
    #[inline(never)]
    fn renew(&mut self, newest: f64, shift: f32) {
        self.anchor = newest;
        let moved = |distance: f32| {
            (f64::from(distance) - f64::from(shift)).clamp(f64::from(f32::MIN), f64::from(f32::MAX))
                as f32
        };
        // No two change places, though some may become equal.
        if let Some(ranks) = &mut self.ranks {
            ranks.map(moved);
            ranks.older_peak = self.peak;
        }
        let (mut sum, mut squares, mut peak) = (0.0, 0.0, 0.0);
        for distance in &mut self.distances {
            *distance = moved(*distance);
            let d = f64::from(*distance);
            sum += d;
            squares += d * d;
            peak = larger(peak, d.abs());
        }
        (self.sum, self.squares, self.peak) = (sum, squares, peak);
    }

    /// Grows by doubling and ends at exactly the capacity: a new sensor with a long window costs little, a full one
    /// nothing to spare.
    fn reserve(&mut self) {
        let len = self.distances.len();
        if len == self.distances.capacity() {
            let grown = (len * 2).min(self.capacity());
            self.distances
                .reserve_exact(grown.saturating_sub(len).max(1));
        }
    }
}

/// The larger of two numbers. Unlike `f64::max` it does not mind what is no number, of which a window has none.
fn larger(one: f64, other: f64) -> f64 {
    if other > one { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(values: &[f64], capacity: usize) -> (f64, f64) {
        let tail = &values[values.len().saturating_sub(capacity)..];
        let n = tail.len() as f64;
        let mean = tail.iter().sum::<f64>() / n;
        (
            mean,
            (tail.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt(),
        )
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_mean_and_deviation(
            values in prop::collection::vec(-100.0..100.0f64, 2..300),
            capacity in 2..50usize,
            level in prop::sample::select(vec![0.0, 1e6, -1e9]),
            scale in prop::sample::select(vec![1e-9, 1e-3, 1.0, 1e9]),
        ) {
            let values: Vec<f64> = values.iter().map(|x| level * scale + x * scale).collect();
            let mut window = Window::new(capacity);
            values.iter().for_each(|x| window.push(*x));
            let (mean, sd) = naive(&values, capacity);
            let spread = 200.0 * scale;
            prop_assert!((window.mean() - mean).abs() < 2e-6 * spread, "mean {} {}", window.mean(), mean);
            prop_assert!((window.deviation() - sd).abs() < 2e-5 * spread, "sd {} {}", window.deviation(), sd);
        }

        #[test]
        fn never_leaves_the_numbers(values in prop::collection::vec(any::<f64>().prop_filter("finite", |x| x.is_finite()), 0..100)) {
            let mut window = Window::new(7);
            for x in values {
                window.push(x);
                prop_assert!(window.mean().is_finite() && window.deviation().is_finite());
                prop_assert!(window.distance_from_mean(x).is_finite());
            }
        }
    }

    #[test]
    fn a_sensor_that_stays_has_exactly_no_deviation() {
        let mut window = Window::new(30);
        [7.0, 1e7].iter().for_each(|x| window.push(*x));
        for _ in 0..90 {
            window.push(0.1 + 0.2);
        }
        assert_eq!(
            (window.deviation(), window.distance_from_mean(0.1 + 0.2)),
            (0.0, 0.0)
        );
    }

    #[test]
    fn a_resized_window_keeps_the_newest_readings() {
        let mut window = Window::new(5);
        (0..12).for_each(|x| window.push(f64::from(x)));
        let smaller = window.resized(3);
        assert_eq!((smaller.len(), smaller.mean()), (3, 10.0));
        let larger = smaller.resized(10);
        assert_eq!((larger.len(), larger.mean(), larger.seen()), (3, 10.0, 12));
    }

    #[test]
    fn a_full_window_has_no_spare_memory() {
        for capacity in [2, 7, 30, 1000] {
            let mut window = Window::new(capacity);
            (0..capacity * 2).for_each(|x| window.push(x as f64));
            let beside = if capacity > USUAL { capacity * 4 } else { 0 };
            let mut bytes = 0;
            window.allocations(&mut |each| bytes += each);
            assert_eq!(bytes, beside);
        }
    }
}
