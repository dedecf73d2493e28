//! The model: what the module keeps at a sensor's key. How a reading enters it is in `ingest`.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::more::More;
pub use crate::outcome::{Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::recent::Recent;
use crate::rule::{ProfileId, Rules};
use crate::units::Timestamp;
use crate::window::Window;
use anomaly_seat::Seat;

/// What the module knows of one sensor: one line of a processor's cache, the window beside it, and for the sensors that need
/// it [`More`], as which it can be read and written.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The newest reading.
    pub(crate) newest: Option<Reading>,
    /// Time of the first reading scored.
    pub(crate) first: Option<Timestamp>,
    /// Mean of all readings scored.
    pub(crate) mean: f64,
    /// The rolling window, while a detector that uses it is on; beside the model where there is room.
    pub window: Seat<Window>,
    /// What most sensors lack.
    pub more: Seat<More>,
    /// Standard deviation of all readings scored, of them as a population.
    pub(crate) deviation: f32,
    /// Readings scored, without those that [`More::turns`] has.
    pub(crate) readings: u32,
    /// What was found of the last reading that was scored.
    pub(crate) last: Last,
    /// The number of its profile among the rules, 0: none yet. A matter of this server: it is not stored.
    pub(crate) profile: ProfileId,
}

const _: () = assert!(size_of::<Model>() == 64, "one line of the cache");

/// A verdict and a score from 0 to below 1, in 32 bits: single precision leaves the upper two free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last(u32);

impl Default for Last {
    fn default() -> Self {
        Self::new(Verdict::Warmup, 0.0)
    }
}

impl Last {
    /// The bits of a number from 0 to 1.
    const SCORE: u32 = (1 << 30) - 1;

    /// Of a reading that was scored. What is above the boundary stays above it: the score is rounded up, and ends below 1.
    pub(crate) fn new(verdict: Verdict, score: f64) -> Self {
        // Half of all scores are rounded up: no branch, which a processor could not guess. Bits are in the order of the numbers.
        let near = score as f32;
        let above = near.abs().to_bits() + u32::from(f64::from(near) < score);
        let verdict = Verdict::SCORED.iter().position(|v| *v == verdict);
        let score = above.min(1.0_f32.next_down().to_bits());
        Self((verdict.unwrap_or(0) as u32) << 30 | score)
    }

    fn verdict(self) -> Verdict {
        let index = (self.0 >> 30) as usize;
        Verdict::SCORED
            .get(index)
            .copied()
            .unwrap_or(Verdict::Normal)
    }

    fn score(self) -> f64 {
        f64::from(f32::from_bits(self.0 & Self::SCORE))
    }
}

/// What a model without more has.
static NOTHING: More = More::NONE;

impl Deref for Model {
    type Target = More;

    fn deref(&self) -> &More {
        self.more.as_ref().unwrap_or(&NOTHING)
    }
}

impl DerefMut for Model {
    fn deref_mut(&mut self) -> &mut More {
        self.more.get_or_insert_with(More::default)
    }
}

impl Model {
    /// A new one for a sensor at that key, which goes by the rules as they are now.
    #[must_use]
    pub fn new(key: &[u8], rules: &mut Rules) -> Self {
        let mut model = Self::default();
        model.follow(key, rules);
        model
    }

    /// The newest reading.
    #[must_use]
    pub fn newest(&self) -> Option<Reading> {
        self.newest
    }

    /// Readings scored.
    #[must_use]
    pub fn readings(&self) -> u64 {
        u64::from(self.turns) << 32 | u64::from(self.readings)
    }

    /// Time of the first reading scored.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// Mean of all readings scored.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Of the last reading that was scored.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.last.verdict()
    }

    /// Of the last reading that was scored, in single precision.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.last.score()
    }

    /// Bytes on the heap, the model itself included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let mut sum = 0;
        self.allocations(|bytes| sum += bytes);
        sum
    }

    /// Tells the size in bytes of each allocation, the model itself included: an allocator may round each of them.
    pub fn allocations(&self, mut tell: impl FnMut(usize)) {
        let mut each = |bytes: usize| {
            if bytes > 0 {
                tell(bytes);
            }
        };
        // Rooms are a part of the model's own allocation. That for more has one for `auto` behind it.
        let (window, more) = (self.window.has_room(), self.more.has_room());
        let own = size_of::<Self>()
            + if window { size_of::<Window>() } else { 0 }
            + if more { More::ROOM } else { 0 };
        each(own);
        if self.window.is_some() && !window {
            each(size_of::<Window>());
        }
        if let Some(window) = self.window.as_ref() {
            window.allocations(&mut each);
        }
        if let Some(more) = self.more.as_ref() {
            if !self.more.has_room() {
                each(size_of::<More>());
            }
            more.allocations(&mut each);
        }
    }

    /// Notes under which number the server's timer knows it, 0: none.
    pub fn set_timer(&mut self, number: u32) {
        if self.timer != number {
            self.timer = number;
        }
    }

    /// Notes when the last reading arrived; zero: it does not matter.
    pub fn set_arrived(&mut self, at: Timestamp) {
        if self.arrived != at {
            self.arrived = at;
        }
    }

    /// Whether it has gone by rules since it was made, reset or renamed.
    #[must_use]
    pub fn has_profile(&self) -> bool {
        self.profile != ProfileId::default()
    }

    /// Lets go of what it has on the heap for nothing. Room of its own has another use later.
    pub fn tidy(&mut self) {
        if !self.more.has_room() && self.more.as_ref().is_some_and(More::is_none) {
            self.more.set(None);
        }
    }

    /// Sample standard deviation of all readings scored, in single precision.
    #[must_use]
    pub fn stddev(&self) -> f64 {
        let n = self.readings() as f64;
        if n < 2.0 {
            0.0
        } else {
            f64::from(self.deviation) * (n / (n - 1.0)).sqrt()
        }
    }

    /// A copy for another key: what was learnt, without the alarm. A copied key must not resolve what it never fired.
    #[must_use]
    pub fn copied(&self) -> Self {
        let mut copy = self.clone();
        if let Some(more) = copy.more.as_mut() {
            more.alarm = more.alarm.silenced();
            (more.arrived, more.timer) = (Timestamp::ZERO, 0);
        }
        copy.profile = ProfileId::default();
        copy.tidy();
        copy
    }

    /// Forgets what was learnt. Episodes are counted on: their ids must not come again.
    pub fn reset(&mut self) {
        let kept = self.more.as_ref().map(|more| More {
            alarm: more.alarm.silenced(),
            arrived: more.arrived,
            timer: more.timer,
            ..More::NONE
        });
        self.become_other(Self {
            more: kept.into(),
            ..Self::default()
        });
        self.tidy();
    }

    /// Becomes that one, in its own room.
    pub fn become_other(&mut self, mut other: Self) {
        let (mut window, mut more) = (mem::take(&mut self.window), mem::take(&mut self.more));
        window.set(other.window.take());
        match (more.as_mut(), other.more.take()) {
            (Some(mine), Some(others)) => mine.become_other(others),
            (_, others) => more.set(others),
        }
        *self = Self {
            window,
            more,
            ..other
        };
    }

    /// Forgets what rules it goes by, and the timer: its key has changed.
    pub fn renamed(&mut self) {
        self.profile = ProfileId::default();
        if let Some(more) = self.more.as_mut() {
            more.timer = 0;
        }
    }

    /// The profile it would go by now, without taking it on: looking must not change what replicas hold.
    pub fn profile(&self, key: &[u8], rules: &mut Rules) -> Arc<Profile> {
        match rules.numbered(self.profile) {
            Some(profile) => Arc::clone(profile),
            None => rules.profile(key),
        }
    }

    /// The profile that the last reading was judged by, unless rules have changed since.
    #[must_use]
    pub fn judged_by<'a>(&self, rules: &'a Rules) -> Option<&'a Arc<Profile>> {
        rules.numbered(self.profile)
    }

    /// Takes on the rules as they are now. Rules are matched when a sensor is first seen and when rules change, never
    /// per reading.
    pub(crate) fn follow(&mut self, key: &[u8], rules: &mut Rules) -> Arc<Profile> {
        if let Some(profile) = rules.numbered(self.profile) {
            return Arc::clone(profile);
        }
        let (number, profile) = rules.number(key);
        self.take_on(&profile);
        self.profile = number;
        profile
    }

    #[cold]
    fn take_on(&mut self, profile: &Profile) {
        self.fit(profile);
        if !profile.listens() {
            // When rules ask again, its time begins anew: that of its timer was one of an arrival.
            self.set_arrived(Timestamp::ZERO);
            self.set_timer(0);
        }
        if profile.recent > 0 {
            self.recent
                .get_or_insert_with(|| Box::new(Recent::new(profile.recent)))
                .resize(profile.recent);
        } else if let Some(more) = self.more.as_mut() {
            more.recent = None;
        }
        // The last score is the only one there is to tell where a single detector is on.
        let on = match profile.judging().len() {
            1 => 0,
            on => on,
        };
        if self.scores().len() != on {
            self.scores = (on > 0).then(|| vec![0.0; on].into());
        }
        self.tidy();
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
