//! The model: what the module keeps at a sensor's key, and the one way a reading enters it.

use std::sync::Arc;

use crate::detect::{Auto, Baseline, Cusum, Ewma, Finding, Judgement, Kind, Look, nodata};
use crate::episode::{Alarm, Episode, Event};
use crate::key::fingerprint;
use crate::late::LateStreak;
use crate::profile::Profile;
use crate::reading::Reading;
use crate::recent::Recent;
use crate::rule::Rules;
use crate::units::{Severity, Timestamp};
use crate::window::Window;

/// The judgement of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing abnormal.
    Normal,
    /// Abnormal.
    Warning,
    /// Badly abnormal.
    Critical,
    /// Not enough readings yet.
    Warmup,
    /// Older than the newest reading: archived, not scored.
    Late,
    /// The newest reading again: only counted.
    Duplicate,
}

impl Verdict {
    /// All of them; the position is the number under which one is stored.
    pub const ALL: [Self; 6] = [
        Self::Normal,
        Self::Warning,
        Self::Critical,
        Self::Warmup,
        Self::Late,
        Self::Duplicate,
    ];

    /// Of a reading of that severity.
    #[must_use]
    pub fn of(severity: Option<Severity>) -> Self {
        match severity {
            None => Self::Normal,
            Some(Severity::Warning) => Self::Warning,
            Some(Severity::Critical) => Self::Critical,
        }
    }

    /// The word of the reply.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Warmup => "warmup",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
        }
    }
}

/// What became of a reading: the verdict and the effects it asks for, as values.
///
/// It is large, for it can explain itself: who takes in many readings makes room for one and has it filled again.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The judgement.
    pub verdict: Verdict,
    /// The finding that decided it, or came nearest to.
    pub finding: Option<Finding>,
    /// What the open episode's own detector found: it tells why the episode is over.
    pub own: Option<Finding>,
    /// Readings still needed, during warm-up.
    pub needed: u32,
    /// The newest reading before this one.
    pub newest: Option<Reading>,
    /// The transition of an episode: an alert is to be written.
    pub transition: Option<(Event, Episode)>,
    /// The reading is to be written to the series.
    pub archive: bool,
    /// An alert was withheld because of `cooldown`.
    pub suppressed: bool,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            verdict: Verdict::Normal,
            finding: None,
            own: None,
            needed: 0,
            newest: None,
            transition: None,
            archive: false,
            suppressed: false,
        }
    }
}

impl Outcome {
    /// 0 to 1; 0 where nothing judged.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.finding.as_ref().map_or(0.0, Finding::score)
    }
}

/// What the module knows of one sensor.
#[derive(Clone, Debug)]
pub struct Model {
    /// Readings scored.
    pub readings: u64,
    /// Readings older than the newest one.
    pub late: u64,
    /// Readings equal to the newest one.
    pub duplicates: u64,
    /// Time of the first reading scored.
    pub first: Option<Timestamp>,
    /// Mean of all readings scored.
    pub mean: f64,
    /// Sum of squared deviations from it (Welford 1962).
    pub squares: f64,
    /// Of the last reading that was scored.
    pub verdict: Verdict,
    /// Of the last reading that was scored.
    pub score: f64,
    /// Scores of that reading by each detector that was on, in the order of [`Kind::JUDGING`].
    pub scores: Box<[f32]>,
    /// Late readings in a row.
    pub streak: LateStreak,
    /// What the detectors know.
    pub baseline: Baseline,
    /// The episode machine.
    pub alarm: Alarm,
    /// When the last reading arrived, by the clock of the server that took it in; zero while no setting asks for it.
    pub arrived: Timestamp,
    /// The last readings, if the rule keeps any.
    pub recent: Option<Box<Recent>>,
    /// The number under which the server's timer knows it, 0: none. A matter of this server: it is not stored.
    pub timer: u32,
    pub(crate) profile: Option<Arc<Profile>>,
    pub(crate) epoch: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            readings: 0,
            late: 0,
            duplicates: 0,
            first: None,
            mean: 0.0,
            squares: 0.0,
            verdict: Verdict::Warmup,
            score: 0.0,
            scores: Box::default(),
            streak: LateStreak::default(),
            baseline: Baseline::default(),
            alarm: Alarm::default(),
            arrived: Timestamp::ZERO,
            recent: None,
            timer: 0,
            profile: None,
            epoch: 0,
        }
    }
}

impl Model {
    /// The newest reading.
    #[must_use]
    pub fn newest(&self) -> Option<Reading> {
        self.baseline.previous
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
        each(size_of::<Self>());
        each(size_of_val(&*self.scores));
        if let Some(window) = &self.baseline.window {
            each(size_of::<Window>());
            window.allocations(&mut each);
        }
        each(self.baseline.ewma.as_ref().map_or(0, |_| size_of::<Ewma>()));
        each(
            self.baseline
                .cusum
                .as_ref()
                .map_or(0, |_| size_of::<Cusum>()),
        );
        each(self.baseline.auto.as_ref().map_or(0, |_| size_of::<Auto>()));
        if let Some(recent) = &self.recent {
            each(size_of::<Recent>());
            each(recent.heap_bytes());
        }
        if let Some(episode) = &self.alarm.episode {
            each(size_of::<Episode>());
            each(episode.acked_by.as_ref().map_or(0, |by| by.len()));
        }
    }

    /// Sample standard deviation of all readings scored.
    #[must_use]
    pub fn stddev(&self) -> f64 {
        if self.readings < 2 {
            0.0
        } else {
            (self.squares / (self.readings - 1) as f64).sqrt()
        }
    }

    /// A copy for another key: what was learnt, without the alarm. A copied key must not resolve what it never fired.
    #[must_use]
    pub fn copied(&self) -> Self {
        let alarm = Alarm {
            episodes: self.alarm.episodes,
            ..Alarm::default()
        };
        Self {
            alarm,
            arrived: Timestamp::ZERO,
            timer: 0,
            profile: None,
            epoch: 0,
            ..self.clone()
        }
    }

    /// Forgets what was learnt. Episodes are counted on: their ids must not come again.
    pub fn reset(&mut self) {
        let alarm = Alarm {
            episodes: self.alarm.episodes,
            ..Alarm::default()
        };
        *self = Self {
            alarm,
            arrived: self.arrived,
            timer: self.timer,
            ..Self::default()
        };
    }

    /// Forgets what rules it goes by, and the timer: its key has changed.
    pub fn renamed(&mut self) {
        (self.epoch, self.timer) = (0, 0);
    }

    /// The profile it would go by now, without taking it on: looking must not change what replicas hold.
    pub fn profile(&self, key: &[u8], rules: &mut Rules) -> Arc<Profile> {
        match &self.profile {
            Some(profile) if self.epoch == rules.epoch() => Arc::clone(profile),
            _ => rules.profile(key),
        }
    }

    /// The profile that the last reading was judged by, unless it came from elsewhere since.
    #[must_use]
    pub fn judged_by(&self) -> Option<&Arc<Profile>> {
        self.profile.as_ref()
    }

    /// Takes on the rules as they are now. Rules are matched when a sensor is first seen and when rules change, never
    /// per reading.
    pub(crate) fn follow(&mut self, key: &[u8], rules: &mut Rules) -> Arc<Profile> {
        if let Some(profile) = self
            .profile
            .as_ref()
            .filter(|_| self.epoch == rules.epoch())
        {
            return Arc::clone(profile);
        }
        let profile = rules.profile(key);
        self.take_on(Arc::clone(&profile));
        self.epoch = rules.epoch();
        profile
    }

    #[cold]
    fn take_on(&mut self, profile: Arc<Profile>) {
        self.baseline.fit(&profile);
        if !profile.listens() {
            self.arrived = Timestamp::ZERO;
        }
        if profile.recent == 0 {
            self.recent = None;
        } else {
            self.recent
                .get_or_insert_with(|| Box::new(Recent::new(profile.recent)))
                .resize(profile.recent);
        }
        let on = Kind::JUDGING
            .iter()
            .filter(|kind| profile.has(**kind))
            .count();
        // The last score is the only one there is to tell where a single detector is on.
        let on = if on < 2 { 0 } else { on };
        if self.scores.len() != on {
            self.scores = vec![0.0; on].into();
        }
        self.profile = Some(profile);
    }

    /// Takes in a reading of the sensor at `key`: judge, alarm, learn. The same readings under the same rules leave the
    /// same bits on every server.
    pub fn ingest(&mut self, key: &[u8], reading: Reading, rules: &mut Rules) -> Outcome {
        let mut outcome = Outcome::default();
        self.take_in(key, reading, rules, &mut outcome);
        outcome
    }

    /// As [`Self::ingest`], into an outcome that there is room for.
    pub fn take_in(
        &mut self,
        key: &[u8],
        reading: Reading,
        rules: &mut Rules,
        outcome: &mut Outcome,
    ) {
        // Taken out and put back, not cloned: to count references to it costs as much as a detector.
        let profile = match self.profile.take() {
            Some(profile) if self.epoch == rules.epoch() => profile,
            _ => self.follow(key, rules),
        };
        self.judge(key, reading, &profile, outcome);
        self.profile = Some(profile);
    }

    fn judge(&mut self, key: &[u8], reading: Reading, profile: &Profile, outcome: &mut Outcome) {
        let newest = self.newest();
        *outcome = Outcome {
            newest,
            archive: profile.archive,
            ..Outcome::default()
        };
        if let Some(newest) = newest {
            if reading.at < newest.at && !self.streak.late(reading.at) {
                self.late = self.late.saturating_add(1);
                outcome.verdict = Verdict::Late;
                return;
            }
            if reading == newest {
                self.streak.end();
                self.duplicates = self.duplicates.saturating_add(1);
                (outcome.verdict, outcome.archive) = (Verdict::Duplicate, false);
                return;
            }
            if reading.at < newest.at {
                self.alarm.clock_set_back(reading.at);
            }
        }
        self.streak.end();
        let look = self.baseline.look(reading, profile);
        self.score(key, reading, profile, look.as_ref(), outcome);
        self.baseline.learn(
            reading,
            matches!(outcome.verdict, Verdict::Warning | Verdict::Critical),
            profile,
            look.as_ref(),
        );
        self.count(reading, outcome);
    }

    fn score(
        &mut self,
        key: &[u8],
        reading: Reading,
        profile: &Profile,
        look: Option<&Look>,
        outcome: &mut Outcome,
    ) {
        let mut on = 0;
        let mut warming: Option<u32> = None;
        let crossed = self.alarm.crossed();
        let own = self.alarm.open().map(|episode| episode.kind);
        if own == Some(Kind::Nodata) {
            outcome.own = Some(nodata::judge(None, profile));
        }
        for kind in Kind::JUDGING.into_iter().filter(|kind| profile.has(*kind)) {
            let score = match self.baseline.judge(kind, reading, profile, crossed, look) {
                Judgement::Skipped => 0.0,
                Judgement::Warming(needed) => {
                    warming = Some(warming.map_or(needed, |least| least.min(needed)));
                    0.0
                }
                Judgement::Scored(finding) => {
                    if own == Some(kind) {
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
            if let Some(slot) = self.scores.get_mut(on) {
                *slot = score as f32;
            }
            on += 1;
        }
        match (&outcome.finding, warming) {
            (Some(finding), _) => {
                outcome.verdict = Verdict::of(finding.severity);
                let held = outcome.own.as_ref().and_then(Finding::held);
                let step = match (finding.severity, held) {
                    (None, Some(severity)) => self.alarm.held(reading.at, severity),
                    _ => self
                        .alarm
                        .judged(reading.at, finding, profile, || fingerprint(key)),
                };
                (outcome.transition, outcome.suppressed) = (step.transition, step.suppressed);
            }
            (None, _) if profile.has(Kind::Nodata) => {
                // That it has arrived is all that is known of it, and it is normal.
                let arrived = nodata::judge(None, profile);
                let step = self
                    .alarm
                    .judged(reading.at, &arrived, profile, || fingerprint(key));
                outcome.transition = step.transition;
                outcome.own = Some(arrived);
            }
            (None, None) if on == 0 => outcome.transition = self.alarm.resolve(reading.at, 0),
            (None, _) => {}
        }
        if let (None, Some(needed)) = (&outcome.finding, warming) {
            (outcome.verdict, outcome.needed) = (Verdict::Warmup, needed);
        }
    }

    fn count(&mut self, reading: Reading, outcome: &Outcome) {
        self.readings = self.readings.saturating_add(1);
        self.first.get_or_insert(reading.at);
        (self.verdict, self.score) = (outcome.verdict, outcome.score());
        let distance = (reading.value - self.mean).clamp(f64::MIN, f64::MAX);
        self.mean = (self.mean + distance / self.readings as f64).clamp(f64::MIN, f64::MAX);
        let rest = (reading.value - self.mean).clamp(f64::MIN, f64::MAX);
        self.squares = (self.squares + distance * rest).clamp(0.0, f64::MAX);
        if let Some(recent) = &mut self.recent {
            recent.push(reading);
        }
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
