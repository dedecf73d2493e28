//! The model: what the module keeps at a sensor's key, and the one way a reading enters it.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::detect::{Finding, Grade, Judgement, Kind, Look, nodata};
use crate::key::fingerprint;
use crate::more::More;
pub use crate::outcome::{Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::recent::Recent;
use crate::rule::{ProfileId, Rules};
use crate::units::{Timestamp, score};
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

    /// Lets go of room for what it does not have.
    pub(crate) fn tidy(&mut self) {
        if self.more.as_ref().is_some_and(More::is_none) {
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

    /// Takes in a reading of the sensor at `key`: judge, alarm, learn. The same readings under the same rules leave the
    /// same bits on every server.
    pub fn ingest(&mut self, key: &[u8], reading: Reading, rules: &mut Rules) -> Outcome {
        let mut outcome = Outcome::default();
        self.take_in(key, reading, rules, true, &mut outcome);
        outcome
    }

    /// As [`Self::ingest`], into an outcome that there is room for. Unless the reading is to be explained, a finding is
    /// made only where it may become an alert.
    pub fn take_in(
        &mut self,
        key: &[u8],
        reading: Reading,
        rules: &mut Rules,
        explain: bool,
        outcome: &mut Outcome,
    ) {
        // Borrowed, not cloned: to count references to it costs as much as a detector.
        match rules.numbered(self.profile) {
            Some(profile) => self.judge(key, reading, profile, explain, outcome),
            None => self.judge_first(key, reading, rules, explain, outcome),
        }
    }

    /// The first reading there is, or the first since rules have changed.
    #[cold]
    fn judge_first(
        &mut self,
        key: &[u8],
        reading: Reading,
        rules: &mut Rules,
        explain: bool,
        outcome: &mut Outcome,
    ) {
        let profile = self.follow(key, rules);
        self.judge(key, reading, &profile, explain, outcome);
    }

    fn judge(
        &mut self,
        key: &[u8],
        reading: Reading,
        profile: &Profile,
        explain: bool,
        outcome: &mut Outcome,
    ) {
        let newest = self.newest;
        outcome.begin(newest, profile.archive);
        if let Some(newest) = newest {
            if reading.at <= newest.at && !self.is_new(newest, reading, outcome) {
                return;
            }
            if let Some(more) = self.more.as_mut() {
                more.streak.end();
            }
        }
        self.sum_up(reading);
        let passed = !explain && self.passes(reading, profile, outcome);
        // Seen in place: it is too large to be moved about.
        let seen;
        let look = match self.more.as_ref().and_then(|more| more.auto.as_ref()) {
            Some(auto) if !passed => {
                seen = auto.look(reading, newest, profile);
                Some(&seen)
            }
            _ => None,
        };
        if passed || !explain && self.grade_by_all(reading, profile, look, outcome) {
            outcome.is_plain = newest.is_some() && !profile.listens();
        } else {
            self.score_by_all(key, reading, profile, outcome);
        }
        let anomalous = matches!(outcome.verdict, Verdict::Warning | Verdict::Critical);
        self.learn(reading, anomalous, profile, look);
        self.count(reading, outcome);
    }

    /// Whether `auto` judges alone while nothing is the matter, and found nothing: then it has taken the reading in already.
    #[inline(always)]
    fn passes(&mut self, reading: Reading, profile: &Profile, outcome: &mut Outcome) -> bool {
        let Some(more) = self.more.as_mut() else {
            return false;
        };
        match (more.auto.as_mut(), profile.judging()) {
            (Some(auto), [Kind::Auto]) if more.alarm.is_calm() => {
                outcome.is_graded(auto.pass(reading, self.newest, profile))
            }
            _ => false,
        }
    }

    /// Whether a reading that is not later than the newest is to be judged.
    #[cold]
    fn is_new(&mut self, newest: Reading, reading: Reading, outcome: &mut Outcome) -> bool {
        if reading.at < newest.at && !self.streak.late(reading.at) {
            self.late = self.late.saturating_add(1);
            outcome.verdict = Verdict::Late;
            return false;
        }
        if reading == newest {
            if let Some(more) = self.more.as_mut() {
                more.streak.end();
            }
            self.duplicates = self.duplicates.saturating_add(1);
            (outcome.verdict, outcome.archive) = (Verdict::Duplicate, false);
            return false;
        }
        if reading.at < newest.at {
            self.alarm.clock_set_back(reading.at);
        }
        true
    }

    /// Scores a reading that is normal while nothing is the matter: most are, and of those no more is told than the score.
    /// `false` for any other.
    fn grade_by_all(
        &mut self,
        reading: Reading,
        profile: &Profile,
        look: Option<&Look>,
        outcome: &mut Outcome,
    ) -> bool {
        if self.more.as_ref().is_some_and(|more| !more.alarm.is_calm()) {
            return false;
        }
        let grade = match profile.judging() {
            [only] => self.grade(*only, reading, profile, look),
            on => self.grade_each(on, reading, profile, look),
        };
        outcome.is_graded(grade)
    }

    /// The grade by several detectors: of normal ones that of the highest ratio.
    #[inline(never)]
    fn grade_each(
        &mut self,
        on: &[Kind],
        reading: Reading,
        profile: &Profile,
        look: Option<&Look>,
    ) -> Grade {
        let (mut highest, mut warming) = (None, None);
        for (index, kind) in on.iter().enumerate() {
            let score = match self.grade(*kind, reading, profile, look) {
                Grade::Skipped => 0.0,
                Grade::Warming(needed) => {
                    warming = least(warming, needed);
                    0.0
                }
                Grade::Abnormal => return Grade::Abnormal,
                Grade::Normal(ratio) => {
                    if highest.is_none_or(|highest| ratio > highest) {
                        highest = Some(ratio);
                    }
                    score(ratio)
                }
            };
            self.note_score(on, index, score);
        }
        match (highest, warming) {
            (Some(ratio), _) => Grade::Normal(ratio),
            (None, Some(needed)) => Grade::Warming(needed),
            (None, None) => Grade::Skipped,
        }
    }

    /// Scores any reading, with everything that is to be told of it.
    #[inline(never)]
    fn score_by_all(
        &mut self,
        key: &[u8],
        reading: Reading,
        profile: &Profile,
        outcome: &mut Outcome,
    ) {
        let mut warming = None;
        let alarm = &self.alarm;
        let (crossed, own) = (alarm.crossed(), alarm.open().map(|episode| episode.kind));
        if own == Some(Kind::Nodata) {
            outcome.own = Some(nodata::judge(None, profile));
        }
        let on = profile.judging();
        for (index, kind) in on.iter().enumerate() {
            let score = match self.ask(*kind, reading, profile, crossed) {
                Judgement::Skipped => 0.0,
                Judgement::Warming(needed) => {
                    warming = least(warming, needed);
                    0.0
                }
                Judgement::Scored(finding) => {
                    if own == Some(*kind) {
                        outcome.own = Some(finding);
                    }
                    let worse = |best: &Finding| {
                        (finding.severity, finding.ratio) > (best.severity, best.ratio)
                    };
                    if outcome.finding.as_ref().is_none_or(worse) {
                        outcome.finding = Some(finding);
                    }
                    finding.score()
                }
            };
            self.note_score(on, index, score);
        }
        outcome.score = outcome.finding.as_ref().map_or(0.0, Finding::score);
        // Nothing is the matter, and nothing was.
        let quiet = !self.more.is_some();
        match (&outcome.finding, warming) {
            (Some(finding), _) => {
                outcome.verdict = Verdict::of(finding.severity);
                let held = outcome.own.as_ref().and_then(Finding::held);
                if quiet && finding.severity.is_none() {
                    return;
                }
                let step = match (finding.severity, held) {
                    (None, Some(severity)) => self.alarm.held(reading.at, severity, profile),
                    _ => self
                        .alarm
                        .judged(reading.at, finding, profile, || fingerprint(key)),
                };
                (outcome.transition, outcome.suppressed) = (step.transition, step.suppressed);
            }
            (None, _) if profile.has(Kind::Nodata) => {
                // That it has arrived is all that is known of it, and it is normal.
                let arrived = nodata::judge(None, profile);
                if !quiet {
                    let step = self
                        .alarm
                        .judged(reading.at, &arrived, profile, || fingerprint(key));
                    outcome.transition = step.transition;
                }
                outcome.own = Some(arrived);
            }
            (None, None) if on.is_empty() && !quiet => {
                outcome.transition = self.alarm.resolve(reading.at, 0);
            }
            (None, _) => {}
        }
        if let (None, Some(needed)) = (&outcome.finding, warming) {
            (outcome.verdict, outcome.needed) = (Verdict::Warmup, needed);
        }
    }

    /// Notes what one of the detectors that are on has come to; the score of a single one is the model's.
    fn note_score(&mut self, on: &[Kind], index: usize, score: f64) {
        if on.len() > 1
            && let Some(slot) = self.score_slot(index)
        {
            *slot = score as f32;
        }
    }

    fn score_slot(&mut self, index: usize) -> Option<&mut f32> {
        self.more.as_mut()?.scores.as_mut()?.get_mut(index)
    }

    /// Counts a reading that was judged.
    fn count(&mut self, reading: Reading, outcome: &Outcome) {
        self.readings = match self.readings.checked_add(1) {
            Some(readings) => readings,
            None => {
                self.turns = self.turns.saturating_add(1);
                0
            }
        };
        self.first.get_or_insert(reading.at);
        self.last = Last::new(outcome.verdict, outcome.score());
        if let Some(recent) = self.more.as_mut().and_then(|more| more.recent.as_mut()) {
            recent.push(reading);
        }
    }

    /// Takes a reading into the mean and the deviation of all. No detector goes by them: it comes before they are asked, so that
    /// its divisions are done beside theirs and nothing waits for them.
    #[inline(always)]
    fn sum_up(&mut self, reading: Reading) {
        // Welford 1962, with the mean square instead of the sum of squares: it stays in range, and what it forgets of a
        // sensor of many millions of readings in single precision is a change that nobody would see.
        let n = self.readings().saturating_add(1) as f64;
        let distance = (reading.value - self.mean).clamp(f64::MIN, f64::MAX);
        self.mean = (self.mean + distance / n).clamp(f64::MIN, f64::MAX);
        let rest = (reading.value - self.mean).clamp(f64::MIN, f64::MAX);
        let square = f64::from(self.deviation) * f64::from(self.deviation);
        let square = square + (distance * rest).clamp(0.0, f64::MAX) / n - square / n;
        self.deviation = square.max(0.0).sqrt().min(f64::from(f32::MAX)) as f32;
    }
}

/// The smaller of two counts of readings, of which the first may not be there.
fn least(of: Option<u32>, or: u32) -> Option<u32> {
    Some(of.map_or(or, |of| of.min(or)))
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
