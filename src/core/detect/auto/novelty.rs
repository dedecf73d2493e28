//! Whether the signal has been in such a state before: the few states that it keeps coming back to, and how far the present
//! one is from the nearest of them.
//!
//! A state is the reading, its three means and its two livelinesses, as the shape expert keeps them, each as a share of the
//! range there has been. Prototypes stand still (the leader algorithm, Hartigan 1975): one that is too far from all takes
//! the place of the one that was not met for the longest time. Of their numbers the upper half is kept (bfloat16: three
//! digits), since no value is farther from the anchor than the range is wide.

use std::hint::select_unpredictable;

use wide::{f32x4, u16x8};

use super::constants::{PROTOTYPES, RADIUS};
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
    /// Its place: that of the prototype that it met, or else of the one that it takes the place of. `None`: it is too early to tell.
    place: Option<u8>,
    /// Of that prototype, or its own.
    state: Prototype,
}

impl Meeting {
    /// It is too early to tell.
    pub(super) const NONE: Self = Self {
        place: None,
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
    (x.to_bits().saturating_add(0x8000) >> 16) as u16
}

impl Novelty {
    /// How far the state is from the nearest that was met, as a share of the range; and what it met.
    #[inline(always)]
    pub(super) fn judge(&self, y: f64, shape: &Shape, range: &Range) -> (f32, Meeting) {
        let [quick, middle, slow] = shape.means.map(|mean| mean as f32);
        let [lively, livelier] = shape.lively;
        let state = [y as f32, quick, middle, slow, lively, livelier];
        let [lowest, highest] = range.values;
        let wide = per(highest - lowest);
        let [one, other] = range.lively.map(per);
        let scales = [wide, wide, wide, wide, one, other];
        let mut distances = [0.0_f32; LANES];
        for ((number, met), scale) in state.into_iter().zip(&self.met).zip(scales) {
            for (distance, met) in distances.iter_mut().zip(met) {
                let off = number - f32::from_bits(u32::from(*met) << 16);
                let off = off.abs() * scale;
                // Not `max`, which would pass over what is not a number.
                *distance = if *distance > off { *distance } else { off };
            }
        }
        let (nearest, place) = least(distances);
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
        let place = Some(place);
        (nearest, Meeting { place, state })
    }

    /// Takes in what was met.
    #[inline(always)]
    pub(super) fn learn(&mut self, meeting: Meeting) {
        if let Some(place) = meeting.place {
            self.put_first(meeting.state, place);
        }
    }

    /// Puts a state before all, in the place of the one at `place`.
    #[inline(always)]
    fn put_first(&mut self, state: Prototype, place: u8) {
        let moved = u16x8::from(std::array::from_fn(|at| {
            if at <= usize::from(place) {
                u16::MAX
            } else {
                0
            }
        }));
        for (numbers, first) in self.met.iter_mut().zip(state) {
            let [a, b, c, d, e, f, g, _] = *numbers;
            let before = u16x8::from([first, a, b, c, d, e, f, g]);
            let kept = u16x8::from(*numbers) & !moved;
            *numbers = (before & moved | kept).to_array();
        }
    }
}

/// The least of all, and its place: the first, if there are more. What is no number is as far as can be.
#[inline(always)]
fn least(distances: [f32; LANES]) -> (f32, u8) {
    let far = f32x4::splat(f32::INFINITY);
    let [low, high] = halves(distances).map(|half| half.simd_lt(far).select(half, far));
    let [one, two, three, four] = low.fast_min(high).to_array();
    let least = smaller(smaller(one, two), smaller(three, four));
    let equal = |half: f32x4| half.simd_eq(f32x4::splat(least)).to_bitmask();
    (
        least,
        (equal(low) | equal(high) << 4).trailing_zeros() as u8,
    )
}

fn halves([a, b, c, d, e, f, g, h]: [f32; LANES]) -> [f32x4; 2] {
    [[a, b, c, d].into(), [e, f, g, h].into()]
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
