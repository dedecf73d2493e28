//! Whether the signal has been in such a state before: the few states that it keeps coming back to, and how far the present
//! one is from the nearest of them.
//!
//! A state is the reading, its three means and its two livelinesses, as the shape expert keeps them, each as a share of the
//! range there has been. Prototypes stand still (the leader algorithm, Hartigan 1975): one that is too far from all takes
//! the place of the one that was not met for the longest time. Of their numbers the upper half is kept (bfloat16: three
//! digits), since no value is farther from the anchor than the range is wide.

use std::hint::select_unpredictable;

use wide::f32x4;

use super::constants::{PROTOTYPES, RADIUS};
use super::lanes::larger as larger_each;
use super::{Shape, larger, smaller};

/// Numbers of a state.
const NUMBERS: usize = 6;
/// A number of no state: not a number, and so near to nothing.
const NONE: u16 = 0x7fc0;
/// The distance of what differs where nothing ever did.
const FAR: f32 = 10.0;

/// A state as it is remembered.
pub(crate) type Prototype = [u16; NUMBERS];

/// Lanes for the prototypes; the last one is nobody's.
const LANES: usize = PROTOTYPES.next_power_of_two();

/// The states met, the last one first: each number of all of them side by side, so that all are compared at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    pub(crate) met: [[u16; LANES]; NUMBERS],
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            met: [[NONE; LANES]; NUMBERS],
        }
    }
}

/// What a reading met: a prototype, or none, and then it is one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    /// Its place: that of the prototype that it met, or else of the one that it takes the place of. [`TOO_EARLY`]: it cannot be told.
    place: u8,
    /// Of that prototype, or its own.
    state: Prototype,
}

/// The place of nobody.
const TOO_EARLY: u8 = PROTOTYPES as u8;

impl Meeting {
    /// It is too early to tell.
    pub(super) const NONE: Self = Self {
        place: TOO_EARLY,
        state: [NONE; NUMBERS],
    };
}

/// The widest there has been: of values from the anchor, and of livelinesses from none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Range {
    /// The lowest value, at most 0, and the highest, at least 0.
    pub(crate) values: [f32; 2],
    /// The highest livelinesses.
    pub(crate) lively: [f32; 2],
}

impl Range {
    /// The range with one more state.
    #[inline(always)]
    pub(super) fn with(mut self, y: f64, shape: &Shape) -> Self {
        let y = y as f32;
        let [lowest, highest] = self.values;
        self.values = [smaller(lowest, y), larger(highest, y)];
        for (most, lively) in self.lively.iter_mut().zip(shape.lively) {
            *most = larger(*most, lively);
        }
        self
    }
}

/// The upper half of a number, rounded.
fn upper(x: f32) -> u16 {
    (x.to_bits().wrapping_add(0x8000) >> 16) as u16
}

/// How far a number is from that of each prototype.
#[inline(always)]
fn off(number: f32, met: &[u16; LANES]) -> [f32x4; 2] {
    let [a, b, c, d, e, f, g, h] = met.map(|half| f32::from_bits(u32::from(half) << 16));
    let number = f32x4::splat(number);
    [[a, b, c, d], [e, f, g, h]].map(|met| (number - f32x4::from(met)).abs())
}

/// The larger ones. What is no number is none in both.
#[inline(always)]
fn farther([one, two]: [f32x4; 2], [three, four]: [f32x4; 2]) -> [f32x4; 2] {
    [larger_each(one, three), larger_each(two, four)]
}

impl Novelty {
    /// How far the state is from the nearest that was met, as a share of the range; and what it met.
    #[inline(always)]
    pub(super) fn judge(&self, y: f64, shape: &Shape, range: &Range) -> (f32, Meeting) {
        let [quick, middle, slow] = shape.means.map(|mean| mean as f32);
        let [lively, livelier] = shape.lively;
        let state = [y as f32, quick, middle, slow, lively, livelier];
        let [lowest, highest] = range.values;
        let share = |off: [f32x4; 2], width| off.map(|off| off * f32x4::splat(per(width)));
        let [one, two, three, four, five, six] = &self.met;
        // The largest share of one width is the share of the largest.
        let values = farther(
            farther(off(state[0], one), off(quick, two)),
            farther(off(middle, three), off(slow, four)),
        );
        let livelinesses = farther(
            share(off(lively, five), range.lively[0]),
            share(off(livelier, six), range.lively[1]),
        );
        let (nearest, place) = least(farther(share(values, highest - lowest), livelinesses));
        // Whether it is a state that is known cannot be guessed: there is no branch on it.
        let known = nearest <= RADIUS;
        let place = select_unpredictable(known, place, PROTOTYPES as u8 - 1);
        let mut state = state.map(upper);
        for (number, met) in state.iter_mut().zip(&self.met) {
            let met = met.get(usize::from(place)).copied().unwrap_or(NONE);
            *number = select_unpredictable(known, met, *number);
        }
        let first = nearest == f32::INFINITY;
        let nearest = if first { 0.0 } else { smaller(nearest, FAR) };
        (nearest, Meeting { place, state })
    }

    /// Takes in what was met: puts its state before all, in the place of the one that was there. Eight numbers of sixteen bits
    /// are two of sixty-four, which are moved along by shifts.
    #[inline(always)]
    pub(super) fn learn(&mut self, meeting: Meeting) {
        let moved = MOVED
            .get(usize::from(meeting.place))
            .copied()
            .unwrap_or_default();
        for (numbers, first) in self.met.iter_mut().zip(meeting.state) {
            let [low, high] = joined(numbers);
            let along = [low << 16 | u64::from(first), high << 16 | low >> 48];
            let put = |old: u64, new: u64, moved: u64| old ^ (old ^ new) & moved;
            *numbers = parted([
                put(low, along[0], moved[0]),
                put(high, along[1], moved[1]),
            ]);
        }
    }
}

/// The lanes up to each place.
const MOVED: [[u64; 2]; PROTOTYPES] = {
    let mut moved = [[0; 2]; PROTOTYPES];
    let mut place = 0;
    while place < PROTOTYPES {
        let bits = (1_u128 << (16 * (place + 1))) - 1;
        moved[place] = [bits as u64, (bits >> 64) as u64];
        place += 1;
    }
    moved
};

/// Eight numbers in two.
#[inline(always)]
fn joined([a, b, c, d, e, f, g, h]: &[u16; LANES]) -> [u64; 2] {
    [[*a, *b, *c, *d], [*e, *f, *g, *h]].map(|four| {
        let [a, b, c, d] = four.map(u64::from);
        a | b << 16 | c << 32 | d << 48
    })
}

/// Two numbers as eight.
#[inline(always)]
fn parted(two: [u64; 2]) -> [u16; LANES] {
    let [[a, b, c, d], [e, f, g, h]] =
        two.map(|x| [x as u16, (x >> 16) as u16, (x >> 32) as u16, (x >> 48) as u16]);
    [a, b, c, d, e, f, g, h]
}

/// The least of all, and its place: the first, if there are more. What is no number is as far as can be.
#[inline(always)]
fn least(distances: [f32x4; 2]) -> (f32, u8) {
    let far = f32x4::splat(f32::INFINITY);
    let [low, high] = distances.map(|half| half.simd_lt(far).select(half, far));
    let [one, two, three, four] = low.fast_min(high).to_array();
    let least = smaller(smaller(one, two), smaller(three, four));
    let equal = |half: f32x4| half.simd_eq(f32x4::splat(least)).to_bitmask();
    (
        least,
        (equal(low) | equal(high) << 4).trailing_zeros() as u8,
    )
}

/// What a difference is multiplied by to be a share of that width.
fn per(width: f32) -> f32 {
    if width > 0.0 { 1.0 / width } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Meets a state with that value, in a range from 0 to 100.
    fn meets(novelty: &mut Novelty, value: f64) -> f32 {
        let shape = Shape {
            means: [value; 3],
            lively: [1.0; 2],
            ..Shape::default()
        };
        let range = Range {
            values: [0.0, 100.0],
            lively: [2.0; 2],
        };
        let (distance, meeting) = novelty.judge(value, &shape, &range);
        novelty.learn(meeting);
        distance
    }

    #[test]
    fn the_first_state_is_not_novel_and_another_is_by_its_share_of_the_range() {
        let mut novelty = Novelty::default();
        assert_eq!(meets(&mut novelty, 50.0), 0.0);
        assert_eq!(meets(&mut novelty, 50.0), 0.0);
        assert!((meets(&mut novelty, 80.0) - 0.3).abs() < 1e-6);
        assert_eq!(meets(&mut novelty, 80.0), 0.0, "it was met");
        assert!((meets(&mut novelty, 52.0) - 0.02).abs() < 1e-6);
    }

    #[test]
    fn what_was_not_met_for_the_longest_time_is_forgotten() {
        let mut novelty = Novelty::default();
        for i in 0..PROTOTYPES {
            meets(&mut novelty, 12.0 * i as f64);
        }
        assert_eq!(meets(&mut novelty, 0.0), 0.0, "as many are remembered");
        meets(&mut novelty, 100.0);
        assert_eq!(meets(&mut novelty, 0.0), 0.0, "it was met since");
        assert!(meets(&mut novelty, 12.0) > RADIUS);
    }

    #[test]
    fn three_digits_of_a_number_are_kept() {
        for x in [1.0_f32, 3.0, -7.25, 1e30, 123.456, 1e-20, 0.0] {
            let kept = f32::from_bits(u32::from(upper(x)) << 16);
            assert!((kept - x).abs() <= x.abs() / 256.0, "{x} {kept}");
        }
    }
}
