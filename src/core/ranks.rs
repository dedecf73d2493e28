//! The distances of a window in order of size, so that median and MAD can be looked up.
//!
//! A tiered vector (Goodrich & Kloss 1999): the sorted sequence is cut into blocks of [`BLOCK`], each a ring with a head of
//! its own. The element of any rank is found in O(1), the rank of a value in O(log n), and so MAD in O(log n) too. When one
//! value takes the place of another, the two blocks they lie in are shifted, and each ring between hands one element to the
//! next by turning its head: with 10,000 readings at most 78 of those. Memory is the values and one byte for each block,
//! nothing is allocated when the window is full, and up to 128 readings it is a plain sorted array.
//!
//! A balanced tree would need O(log n) steps for the change too, but takes three times the memory, and twice the instructions
//! at 30 readings and three times at 10,000 (docs/adr/0010-windows-in-order-of-size.md).

/// Values in a block; a power of two.
const BLOCK: usize = 128;

/// Values in order of size.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    pub(crate) values: Vec<f32>,
    /// Where each full block begins; the last one, which grows, always at 0.
    heads: Vec<u8>,
    /// Largest distance before the anchor last moved: what was stored then is rounded by a share of it.
    pub(crate) older_peak: f64,
}

impl PartialEq for Ranks {
    fn eq(&self, other: &Self) -> bool {
        self.older_peak == other.older_peak && self.iter().eq(other.iter())
    }
}

impl Ranks {
    /// The same values in order.
    #[must_use]
    pub fn of(values: &[f32], older_peak: f64) -> Self {
        let mut values = values.to_vec();
        values.sort_unstable_by(f32::total_cmp);
        let heads = vec![0; values.len().div_ceil(BLOCK)];
        Self {
            values,
            heads,
            older_peak,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Tells the bytes of each allocation behind it.
    pub(crate) fn allocations(&self, tell: &mut impl FnMut(usize)) {
        tell(self.values.capacity() * size_of::<f32>());
        tell(self.heads.capacity());
    }

    /// The value of a rank, the smallest first; 0 beyond the last.
    #[must_use]
    pub fn at(&self, rank: usize) -> f32 {
        let block = rank / BLOCK;
        let head = usize::from(self.heads.get(block).copied().unwrap_or(0));
        let at = block * BLOCK + (head + rank) % BLOCK;
        self.values.get(at).copied().unwrap_or(0.0)
    }

    /// Smallest first.
    pub fn iter(&self) -> impl Iterator<Item = f32> + '_ {
        (0..self.len()).map(|rank| self.at(rank))
    }

    /// The middle one, or the mean of the middle two; 0 where there is none.
    #[must_use]
    pub fn median(&self) -> f64 {
        let n = self.len();
        (f64::from(self.at(n.saturating_sub(1) / 2)) + f64::from(self.at(n / 2))) / 2.0
    }

    /// The median of the distances from the median.
    ///
    /// They are two ascending sequences, to the left and to the right of the median: the `half` smallest of both together
    /// are found by a search for how many of them lie to the left.
    #[must_use]
    pub fn median_deviation(&self) -> f64 {
        let n = self.len();
        if n < 2 {
            return 0.0;
        }
        let (median, lefts) = (self.median(), n / 2);
        let left = |i: usize| match (lefts - 1).checked_sub(i) {
            Some(rank) => median - f64::from(self.at(rank)),
            None => f64::INFINITY,
        };
        let right = |i: usize| match lefts + i {
            rank if rank < n => f64::from(self.at(rank)) - median,
            _ => f64::INFINITY,
        };
        let half = n.div_ceil(2);
        let (mut few, mut many) = (half.saturating_sub(n - lefts), half.min(lefts));
        while few < many {
            let taken = (few + many) / 2;
            if left(taken) < right(half - taken - 1) {
                few = taken + 1;
            } else {
                many = taken;
            }
        }
        let (taken, rest) = (few, half - few);
        let last = |of: &dyn Fn(usize) -> f64, n: usize| n.checked_sub(1).map_or(0.0, of);
        let largest = f64::max(last(&left, taken), last(&right, rest));
        if n.is_multiple_of(2) {
            f64::midpoint(largest, f64::min(left(taken), right(rest)))
        } else {
            largest
        }
    }

    /// Takes in a value more, with room for `capacity` of them.
    pub fn insert(&mut self, value: f32, capacity: usize) {
        let (rank, last) = (self.rank(value), self.len());
        if last == self.values.capacity() {
            self.values
                .reserve_exact(capacity.saturating_sub(last).max(1));
        }
        self.values.push(value);
        if last.is_multiple_of(BLOCK) {
            self.heads.reserve_exact(1);
            self.heads.push(0);
        }
        self.move_up(last, rank, value);
    }

    /// Puts a value in the place of another, which must be there.
    pub fn replace(&mut self, old: f32, new: f32) {
        let (from, to) = (self.rank(old), self.rank(new));
        if from < to {
            self.move_down(from, to - 1, new);
        } else {
            self.move_up(from, to, new);
        }
    }

    /// Changes all values by a function that keeps their order.
    pub fn map(&mut self, f: impl Fn(f32) -> f32) {
        self.values.iter_mut().for_each(|value| *value = f(*value));
    }

    /// How many are smaller.
    fn rank(&self, value: f32) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.at(middle).total_cmp(&value).is_lt() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Removes what has rank `from`, and puts in a value at rank `to`, which is not above it.
    fn move_up(&mut self, from: usize, to: usize, mut value: f32) {
        let (first, last) = (to / BLOCK, from / BLOCK);
        for block in first..=last {
            let start = if block == first { to % BLOCK } else { 0 };
            let end = if block == last {
                from % BLOCK
            } else {
                BLOCK - 1
            };
            if start == 0 && end == BLOCK - 1 {
                self.turn_back(block, &mut value);
            } else if let Some(part) = self.part(block, start, end) {
                part.rotate_right(1);
                if let Some(first) = part.first_mut() {
                    std::mem::swap(first, &mut value);
                }
            }
        }
    }

    /// Removes what has rank `from`, and puts in a value that then has rank `to`, which is not below it.
    fn move_down(&mut self, from: usize, to: usize, mut value: f32) {
        let (first, last) = (from / BLOCK, to / BLOCK);
        for block in (first..=last).rev() {
            let start = if block == first { from % BLOCK } else { 0 };
            let end = if block == last { to % BLOCK } else { BLOCK - 1 };
            if start == 0 && end == BLOCK - 1 {
                self.turn_on(block, &mut value);
            } else if let Some(part) = self.part(block, start, end) {
                part.rotate_left(1);
                if let Some(last) = part.last_mut() {
                    std::mem::swap(last, &mut value);
                }
            }
        }
    }

    /// Puts a value before a full block, whose last one comes out.
    fn turn_back(&mut self, block: usize, value: &mut f32) {
        if let Some(head) = self.heads.get_mut(block) {
            *head = (usize::from(*head) + BLOCK - 1) as u8 % BLOCK as u8;
            let at = block * BLOCK + usize::from(*head);
            if let Some(place) = self.values.get_mut(at) {
                std::mem::swap(place, value);
            }
        }
    }

    /// Puts a value behind a full block, whose first one comes out.
    fn turn_on(&mut self, block: usize, value: &mut f32) {
        if let Some(head) = self.heads.get_mut(block) {
            let at = block * BLOCK + usize::from(*head);
            *head = (*head + 1) % BLOCK as u8;
            if let Some(place) = self.values.get_mut(at) {
                std::mem::swap(place, value);
            }
        }
    }

    /// A stretch of a block as it lies in memory, the block turned so that it begins at its beginning.
    fn part(&mut self, block: usize, start: usize, end: usize) -> Option<&mut [f32]> {
        let all = self.values.chunks_mut(BLOCK).nth(block)?;
        if let Some(head @ 1..) = self.heads.get_mut(block) {
            all.rotate_left(usize::from(*head));
            *head = 0;
        }
        all.get_mut(start..=end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, cases};
    use proptest::prelude::*;

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        let n = values.len();
        (values[(n - 1) / 2] + values[n / 2]) / 2.0
    }

    fn agrees(ranks: &Ranks, values: &[f32]) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        assert!(
            ranks
                .iter()
                .map(f32::to_bits)
                .eq(sorted.iter().map(|x| x.to_bits()))
        );
        let values: Vec<f64> = values.iter().map(|x| f64::from(*x)).collect();
        let middle = median(values.clone());
        assert_eq!(ranks.median(), middle);
        let distances = values.iter().map(|x| (x - middle).abs()).collect();
        assert_eq!(ranks.median_deviation(), median(distances));
    }

    /// A window of `capacity` over values, checked against sorting after each.
    fn follows(capacity: usize, values: impl Iterator<Item = f32>, every: usize) {
        let (mut window, mut ranks) = (std::collections::VecDeque::new(), Ranks::default());
        for (i, value) in values.enumerate() {
            if window.len() == capacity {
                ranks.replace(window.pop_front().unwrap(), value);
            } else {
                ranks.insert(value, 0);
            }
            window.push_back(value);
            if i % every == 0 {
                agrees(&ranks, window.make_contiguous());
            }
        }
    }

    proptest! {
        #![proptest_config(cases(60))]

        #[test]
        fn order_median_and_deviation_are_those_of_sorting(
            capacity in prop_oneof![1..40usize, 100..600usize],
            values in prop::collection::vec(prop_oneof![
                4 => -1e3..1e3f32,
                2 => (-5..5i8).prop_map(f32::from),
                1 => prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN, 1e-45]),
            ], 1..1500),
        ) {
            follows(capacity, values.into_iter(), 7);
        }
    }

    #[test]
    fn signals_that_run_through_all_blocks_are_followed_too() {
        let mut noise = Noise(5);
        for capacity in [128, 129, 256, 257, 1000, 3000] {
            follows(capacity, (0..9000).map(|i| i as f32), 499);
            follows(capacity, (0..9000).map(|i| -(i as f32)), 499);
            follows(capacity, (0..9000).map(|i| (i % 2 * 1000 - i) as f32), 499);
            follows(capacity, (0..9000).map(|_| noise.next() as f32), 499);
        }
    }

    #[test]
    fn made_of_a_window_it_goes_on_like_one_that_grew_with_it() {
        let mut noise = Noise(9);
        let values: Vec<f32> = (0..700).map(|_| noise.next() as f32).collect();
        let mut grown = Ranks::default();
        values.iter().for_each(|x| grown.insert(*x, 700));
        let mut made = Ranks::of(&values, 0.0);
        assert_eq!(grown, made);
        for old in &values {
            let new = noise.next() as f32;
            grown.replace(*old, new);
            made.replace(*old, new);
            assert_eq!(grown, made);
        }
    }

    #[test]
    fn it_takes_four_bytes_a_value_and_one_a_block() {
        for n in [5, 30, 1000, 10_000] {
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let mut bytes = 0;
            Ranks::of(&values, 0.0).allocations(&mut |each| bytes += each);
            assert_eq!(bytes, values.len() * 4 + values.len().div_ceil(BLOCK));
        }
    }
}
