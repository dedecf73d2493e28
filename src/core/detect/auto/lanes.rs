//! Four numbers at once, as the processor has them: one for each expert, or feature. Each comes out as it would alone, to the
//! bit: nothing is summed across, and nothing is fused.

use wide::{f32x4, f64x2};

use super::{SMALLEST, STATE_FARTHEST};

/// As [`super::flushed`].
#[inline(always)]
pub(super) fn flushed(x: f32x4) -> f32x4 {
    let small = x.abs().simd_lt(f32x4::splat(SMALLEST));
    small.select(f32x4::splat(0.0), within(x, f32x4::splat(STATE_FARTHEST)))
}

/// From `-most` to `most`, which are numbers.
#[inline(always)]
pub(super) fn within(x: f32x4, most: f32x4) -> f32x4 {
    most.fast_min((-most).fast_max(x))
}

/// No less than zero; what is no number is zero.
#[inline(always)]
pub(super) fn positive(x: f32x4) -> f32x4 {
    let zero = f32x4::splat(0.0);
    x.simd_gt(zero).select(x, zero)
}

/// The larger one of numbers.
#[inline(always)]
pub(super) fn larger(x: f32x4, y: f32x4) -> f32x4 {
    x.fast_max(y)
}

/// The number that stands at the place of the lesser of two others; at the second where they are equal. Which one that is cannot
/// be guessed, and of what is calculated in lanes the compiler makes no branch.
#[inline(always)]
pub(super) fn of_the_lesser([one, two]: [f32; 2], [first, second]: [f32; 2]) -> f32 {
    let lesser = f32x4::splat(one).simd_lt(f32x4::splat(two));
    let [number, ..] = lesser
        .select(f32x4::splat(first), f32x4::splat(second))
        .to_array();
    number
}

/// The first of two numbers if another is below zero, as above.
#[inline(always)]
pub(super) fn if_negative(x: f64, first: f64, second: f64) -> f64 {
    let negative = f64x2::splat(x).simd_lt(f64x2::splat(0.0));
    let [number, _] = negative
        .select(f64x2::splat(first), f64x2::splat(second))
        .to_array();
    number
}

/// As [`within`], where hardly anything is farther: nothing that follows waits for it.
#[inline(always)]
pub(super) fn mostly_within(x: [f32x4; 2], most: f32x4) -> [f32x4; 2] {
    if all_within(x, most) {
        x
    } else {
        rarely_within(x, most)
    }
}

#[cold]
#[inline(never)]
fn rarely_within(x: [f32x4; 2], most: f32x4) -> [f32x4; 2] {
    x.map(|x| within(x, most))
}

/// Whether all are from `-most` to `most`; what is no number is not.
#[inline(always)]
pub(super) fn all_within([one, two]: [f32x4; 2], most: f32x4) -> bool {
    (one.abs().simd_le(most) & two.abs().simd_le(most)).to_bitmask() == ALL
}

/// As [`flushed`], of numbers that are not negative and hardly ever too small or too large: nothing that follows waits for it.
#[inline(always)]
pub(super) fn mostly_flushed(x: f32x4) -> f32x4 {
    let fits = x.simd_ge(f32x4::splat(SMALLEST)) & x.simd_le(f32x4::splat(STATE_FARTHEST));
    if (fits | x.simd_eq(f32x4::splat(0.0))).to_bitmask() == ALL {
        x
    } else {
        rarely_flushed(x)
    }
}

#[cold]
#[inline(never)]
fn rarely_flushed(x: f32x4) -> f32x4 {
    flushed(x)
}

/// The mask of a condition that holds for all.
const ALL: u32 = 0b1111;
