//! Whether the signal has been in such a state before: the few states that it keeps coming back to, and how far the present
//! one is from the nearest of them.
//!
//! A state is the reading, its three means and its two livelinesses, as the shape expert keeps them, each as a share of the
//! range there has been. Prototypes stand still (the leader algorithm, Hartigan 1975): one that is too far from all takes
//! the place of the one that was not met for the longest time. Of their numbers the upper half is kept (bfloat16: three
//! digits), since no value is farther from the anchor than the range is wide.

use super::Tracks;
use super::constants::{PROTOTYPES, RADIUS};

/// Numbers of a state.
const NUMBERS: usize = 6;
/// A number of no state: not a number, and so near to nothing.
const NONE: u16 = 0x7fc0;
/// The distance of what differs where nothing ever did.
const FAR: f32 = 10.0;

/// A state as it is remembered.
pub(crate) type Prototype = [u16; NUMBERS];

/// The states met, the last one first.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    pub(crate) met: [Prototype; PROTOTYPES],
}

impl Default for Novelty {
    fn default() -> Self {
        Self {
            met: [[NONE; NUMBERS]; PROTOTYPES],
        }
    }
}

/// Which prototype a reading met, or made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meeting {
    /// It is too early to tell.
    None,
    /// The one at that place.
    Known(u8),
    /// None: this is one.
    New(Prototype),
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
    /// The range with one more state, whose means have been taken in.
    pub(super) fn with(mut self, tracks: &Tracks) -> Self {
        let y = tracks.last as f32;
        let [lowest, highest] = self.values;
        self.values = [lowest.min(y), highest.max(y)];
        for (most, lively) in self.lively.iter_mut().zip(tracks.shape.lively) {
            *most = most.max(lively);
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
    pub(super) fn judge(&self, tracks: &Tracks) -> (f32, Meeting) {
        let [quick, middle, slow] = tracks.shape.means.map(|mean| mean as f32);
        let [lively, livelier] = tracks.shape.lively;
        let state = [tracks.last as f32, quick, middle, slow, lively, livelier];
        let [lowest, highest] = tracks.range.values;
        let wide = per(highest - lowest);
        let [one, other] = tracks.range.lively.map(per);
        let scales = [wide, wide, wide, wide, one, other];
        let (mut nearest, mut place) = (f32::INFINITY, 0);
        for (index, met) in (0..).zip(&self.met) {
            let mut distance = 0.0_f32;
            for ((number, met), scale) in state.iter().zip(met).zip(scales) {
                let off = number - f32::from_bits(u32::from(*met) << 16);
                // Not `max`, which would pass over what is not a number.
                let off = off.abs() * scale;
                distance = if off <= distance { distance } else { off };
            }
            if distance < nearest {
                (nearest, place) = (distance, index);
            }
        }
        if nearest <= RADIUS {
            return (nearest, Meeting::Known(place));
        }
        let first = nearest == f32::INFINITY;
        let nearest = if first { 0.0 } else { nearest.min(FAR) };
        (nearest, Meeting::New(state.map(upper)))
    }

    /// Takes in what was met.
    pub(super) fn learn(&mut self, meeting: Meeting) {
        match meeting {
            Meeting::None | Meeting::Known(0) => {}
            Meeting::Known(place) => {
                if let Some(before) = self.met.get_mut(..=usize::from(place)) {
                    before.rotate_right(1);
                }
            }
            Meeting::New(state) => {
                self.met.rotate_right(1);
                if let Some(first) = self.met.first_mut() {
                    *first = state;
                }
            }
        }
    }
}

/// What a difference is multiplied by to be a share of that width.
fn per(width: f32) -> f32 {
    if width > 0.0 { 1.0 / width } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A state with that value, in a range from 0 to 100.
    fn state(value: f64) -> Tracks {
        let mut tracks = Tracks {
            last: value,
            ..Tracks::default()
        };
        tracks.shape.means = [value; 3];
        tracks.shape.lively = [1.0; 2];
        tracks.range = Range {
            values: [0.0, 100.0],
            lively: [2.0; 2],
        };
        tracks
    }

    fn meets(novelty: &mut Novelty, value: f64) -> f32 {
        let (distance, meeting) = novelty.judge(&state(value));
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
