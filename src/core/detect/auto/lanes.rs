//! Four numbers at once, as the processor has them: one for each expert, or feature. Each comes out as it would alone, to the
//! bit: nothing is summed across, and nothing is fused.

use wide::f32x4;

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
