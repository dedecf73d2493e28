//! Whether the signal has been in such a state before: the few states that it keeps coming back to, and how far the present
//! one is from the nearest of them.
//!
//! A state is the reading, its three means and its two livelinesses, as the shape expert keeps them, each as a share of the
//! range there has been. Prototypes stand still (the leader algorithm, Hartigan 1975): one that is too far from all takes
//! the place of the one that was not met for the longest time. Of their numbers the upper half is kept (bfloat16: three
//! digits), since no value is farther from the anchor than the range is wide.

use std::hint::select_unpredictable;

use wide::bytemuck::cast;
use wide::{f32x4, u32x4};

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

/// One number of every prototype, eight of sixteen bits, side by side in two of sixty-four: so they are moved along by shifts.
/// The last one is nobody's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row([u64; 2]);

impl Row {
    const NONE: Self = Self([0x7fc0_7fc0_7fc0_7fc0; 2]);

    /// That of the prototype at a place.
    #[inline(always)]
    pub(crate) fn get(self, place: usize) -> u16 {
        let [low, high] = self.0;
        let half = if place < 4 { low } else { high };
        (half >> (place % 4 * 16)) as u16
    }

    /// Sets that of the prototype at a place.
    pub(crate) fn set(&mut self, place: usize, number: u16) {
        let [low, high] = &mut self.0;
        let half = if place < 4 { low } else { high };
        let at = place % 4 * 16;
        *half = *half & !(0xffff << at) | u64::from(number) << at;
    }

    /// How far a number is from each, in the order 0, 2, 4, 6 and 1, 3, 5, 7.
    #[inline(always)]
    fn off(self, number: f32) -> [f32x4; 2] {
        let [low, high] = self.0;
        // Two of them in each of four lanes, the lower half first on any processor.
        let turned = if cfg!(target_endian = "big") { 32 } else { 0 };
        let two: u32x4 = cast([low.rotate_left(turned), high.rotate_left(turned)]);
        let number = f32x4::splat(number);
        let off = |met: u32x4| (number - cast::<u32x4, f32x4>(met)).abs();
        [off(two << 16), off(two & u32x4::splat(0xffff_0000))]
    }

    /// Puts a number before all, in the place of the one where the lanes that are moved end.
    #[inline(always)]
    fn put_first(&mut self, number: u16, moved: [u64; 2]) {
        let [low, high] = self.0;
        let along = [low << 16 | u64::from(number), high << 16 | low >> 48];
        let put = |old: u64, new: u64, moved: u64| old ^ (old ^ new) & moved;
        self.0 = [put(low, along[0], moved[0]), put(high, along[1], moved[1])];
    }
}

/// The lanes up to each place.
const MOVED: [[u64; 2]; PROTOTYPES] = [
    up_to(0),
    up_to(1),
    up_to(2),
    up_to(3),
    up_to(4),
    up_to(5),
    up_to(6),
];

const fn up_to(place: u32) -> [u64; 2] {
    let bits = (1_u128 << (16 * (place + 1))) - 1;
    [bits as u64, (bits >> 64) as u64]
}

/// The states met, the last one first: each number of all of them side by side, so that all are compared at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    pub(crate) met: [Row; NUMBERS],
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            met: [Row::NONE; NUMBERS],
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
        let [lively_range, livelier_range] = range.lively;
        let widths = [highest - lowest, lively_range, livelier_range, 0.0];
        let [wide, one_wide, other_wide, _] = per(widths.into()).to_array();
        let share = |off: [f32x4; 2], per| off.map(|off| off * f32x4::splat(per));
        let [one, two, three, four, five, six] = &self.met;
        // The largest share of one width is the share of the largest.
        let values = farther(
            farther(one.off(state[0]), two.off(quick)),
            farther(three.off(middle), four.off(slow)),
        );
        let livelinesses = farther(
            share(five.off(lively), one_wide),
            share(six.off(livelier), other_wide),
        );
        let (nearest, place) = least(farther(share(values, wide), livelinesses));
        // Whether it is a state that is known cannot be guessed: there is no branch on it.
        let known = nearest <= RADIUS;
        let place = select_unpredictable(known, place, PROTOTYPES as u8 - 1);
        let mut state = state.map(upper);
        for (number, met) in state.iter_mut().zip(&self.met) {
            *number = select_unpredictable(known, met.get(usize::from(place)), *number);
        }
        let first = nearest == f32::INFINITY;
        let nearest = if first { 0.0 } else { smaller(nearest, FAR) };
        (nearest, Meeting { place, state })
    }

    /// Takes in what was met: puts its state before all, in the place of the one that was there.
    #[inline(always)]
    pub(super) fn learn(&mut self, meeting: Meeting) {
        let place = usize::from(meeting.place);
        let moved = MOVED.get(place).copied().unwrap_or_default();
        for (row, number) in self.met.iter_mut().zip(meeting.state) {
            row.put_first(number, moved);
        }
    }
}

/// The least of all, in the order of [`Row::off`], and its place: the first, if there are more. What is no number is as far as can be.
#[inline(always)]
fn least(distances: [f32x4; 2]) -> (f32, u8) {
    let far = f32x4::splat(f32::INFINITY);
    let [even, odd] = distances.map(|half| half.simd_lt(far).select(half, far));
    let [one, two, three, four] = even.fast_min(odd).to_array();
    let least = smaller(smaller(one, two), smaller(three, four));
    let first = |half: f32x4| {
        let equal = half.simd_eq(f32x4::splat(least)).to_bitmask();
        2 * equal.trailing_zeros()
    };
    (least, smaller(first(even), first(odd) + 1) as u8)
}

/// What differences are multiplied by to be shares of those widths.
#[inline(always)]
fn per(widths: f32x4) -> f32x4 {
    let zero = f32x4::splat(0.0);
    let per = f32x4::splat(1.0) / widths;
    widths.simd_gt(zero).select(per, zero)
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
