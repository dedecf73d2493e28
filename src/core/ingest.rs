//! The one way a reading enters a model: judge, alarm, learn.

use crate::detect::{Finding, Grade, Judgement, Kind, Look, nodata};
use crate::key::fingerprint;
use crate::model::{Last, Model};
use crate::outcome::{Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::rule::Rules;
use crate::units::score;

impl Model {
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
