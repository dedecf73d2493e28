//! A backtest: archived readings go through a candidate rule, and what it would have done comes out as values.
//!
//! It is `Model::ingest` that judges here too, on a model of its own that begins empty, so that the same readings under the
//! same rules end as they did live. Readings before `from` are taken in and not counted: a model that knows only what lies in
//! the range would judge its first readings otherwise than the server did. Silences (`nodata`, `expire`) are judged between
//! readings, as if each had arrived at its own time: when it did arrive, nobody knows any more.

use crate::episode::{Episode, Event, Phase};
use crate::error::Error;
use crate::kind::Kind;
use crate::model::{Model, Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::reason;
use crate::rule::{Change, Rules};
use crate::setting::{Setting, Value};
use crate::silence::Due;
use crate::units::{Severity, Side, Timestamp};

/// Episodes that are listed for one sensor and one rule; further ones are only counted.
pub const LISTED: usize = 1000;
/// Episodes that are listed for each sensor of many.
pub const LISTED_EACH: usize = 10;
/// Sensors of many that are told of one by one.
pub const TOLD: usize = 100;

/// The rules to replay a sensor with: its own as they are now, and over them what a candidate sets, as CONFIG SET of its
/// key would make them. Without reminders, which are alerts and no episodes.
///
/// # Errors
/// Those of [`Rules::of_sensor`].
pub fn candidate(rules: &Rules, key: &[u8], changes: &[Change]) -> Result<Rules, Error> {
    let no_reminders = (Setting::Repeat, Some(Value::Count(0)));
    rules.of_sensor(key, &[changes, &[no_reminders]].concat())
}

/// The figures of a rule over one sensor or many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Readings in the range.
    pub readings: u64,
    /// Episodes that were open at some time in the range.
    pub episodes: u64,
    /// Those by kind, by the position in [`Kind::ALL`].
    pub kinds: [u64; Kind::ALL.len()],
    /// Milliseconds in the range in which an episode that had been told of was open.
    pub alarm: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.readings = self.readings.saturating_add(other.readings);
        self.episodes = self.episodes.saturating_add(other.episodes);
        for (count, more) in self.kinds.iter_mut().zip(other.kinds) {
            *count = count.saturating_add(more);
        }
        self.alarm = self.alarm.saturating_add(other.alarm);
    }
}

/// An episode that would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Time of its first abnormal reading.
    pub start: Timestamp,
    /// When it was resolved; `None` if it was still open at the end.
    pub end: Option<Timestamp>,
    /// The highest.
    pub severity: Severity,
    /// The detector that fired, or that escalated it.
    pub kind: Kind,
    /// To which side.
    pub side: Side,
    /// The value with the highest score.
    pub value: f64,
    /// That score.
    pub score: f64,
    /// Readings since its start.
    pub readings: u32,
    /// What the alert would have said, that of the highest severity.
    pub reason: String,
}

/// What a rule would have done with one sensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The figures.
    pub tally: Tally,
    /// The first episodes.
    pub list: Vec<Found>,
}

/// The episode that was told of last.
struct Told {
    found: Found,
    ordinal: u32,
    /// It is open, and has been told of as that since then.
    since: Option<Timestamp>,
    /// How long it was open in the range before.
    alarm: u64,
}

/// One sensor's readings on their way through one rule.
pub struct Replay {
    key: Vec<u8>,
    rules: Rules,
    from: Timestamp,
    listed: usize,
    /// It matters how long there is no reading.
    listens: bool,
    model: Model,
    /// Value and score of the worst reading since the abnormal run began that may be, or is, the episode.
    worst: Option<(f64, f64)>,
    told: Option<Told>,
    report: Report,
}

impl Replay {
    /// A sensor never seen before under these rules. Readings from `from` on count; at most `listed` episodes are listed.
    #[must_use]
    pub fn new(key: &[u8], mut rules: Rules, from: Timestamp, listed: usize) -> Self {
        Self {
            listens: rules.profile(key).listens(),
            key: key.to_vec(),
            rules,
            from,
            listed,
            model: Model::default(),
            worst: None,
            told: None,
            report: Report::default(),
        }
    }

    /// Takes in the next reading. They come in order of time.
    pub fn take(&mut self, reading: Reading) {
        self.wait(reading.at);
        let calm = self.is_calm();
        let outcome = self.model.ingest(&self.key, reading, &mut self.rules);
        self.note(reading, &outcome, calm);
        if self.listens {
            self.model.arrived = reading.at;
        }
        if reading.at >= self.from {
            self.report.tally.readings = self.report.tally.readings.saturating_add(1);
        }
    }

    /// Does what the server's timer would have done until the next reading, had each arrived at its own time.
    fn wait(&mut self, until: Timestamp) {
        if !self.listens || self.model.newest().is_none() {
            return;
        }
        let profile = self.model.profile(&self.key, &mut self.rules);
        let mut now = self.model.arrived;
        while let Some(look) = self.next_look(&profile, now).filter(|look| *look < until) {
            match self.model.due(&profile, Timestamp::ZERO, look) {
                Due::Nothing => {}
                Due::Judge(silence) => {
                    let calm = self.is_calm();
                    let judged = self.model.silent(&self.key, silence, &mut self.rules);
                    if let Some((missing, outcome)) = judged {
                        self.note(missing, &outcome, calm);
                    }
                }
                Due::Forget => return self.forget(look),
            }
            now = look;
        }
    }

    /// When a silence will tell something new: that it is one, that it is critical, that the cooldown it fell into is over,
    /// or that the sensor is to be forgotten. Whoever need not fear a reading meanwhile looks no more often.
    fn next_look(&self, profile: &Profile, now: Timestamp) -> Option<Timestamp> {
        let base = self.model.arrived;
        let limit = profile.nodata.filter(|_| profile.has(Kind::Nodata));
        let critical = |ms: u64| base.plus((ms as f64 * profile.critical).ceil() as u64);
        let told_again = match self.model.alarm.open().map(|episode| episode.phase) {
            Some(Phase::Silent(until)) => Some(until),
            _ => None,
        };
        let looks = [
            limit.map(|ms| base.plus(ms).plus(1)),
            limit.map(critical),
            told_again,
            profile.expire.map(|ms| base.plus(ms)),
        ];
        looks.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// The sensor is forgotten, as `expire` says; what comes is of a new one.
    fn forget(&mut self, at: Timestamp) {
        if let Some((_, episode)) = self.model.alarm.resolve(at, 0) {
            self.resolve(at, &episode);
        }
        self.count();
        self.model = Model::default();
    }

    /// Whether there is neither an episode nor a run of abnormal readings that may become one.
    fn is_calm(&self) -> bool {
        let alarm = &self.model.alarm;
        alarm.abnormal_run == 0 && alarm.open().is_none()
    }

    fn note(&mut self, reading: Reading, outcome: &Outcome, calm_before: bool) {
        if calm_before {
            self.worst = None;
        }
        let abnormal = matches!(outcome.verdict, Verdict::Warning | Verdict::Critical);
        if abnormal && self.worst.is_none_or(|(_, score)| outcome.score() > score) {
            self.worst = Some((reading.value, outcome.score()));
        }
        if let Some((event, episode)) = &outcome.transition {
            match event {
                Event::Firing | Event::Escalated => self.tell(reading, outcome, episode),
                Event::Resolved => self.resolve(reading.at, episode),
                Event::Repeat | Event::Ack => {}
            }
        }
    }

    /// An episode fires or escalates.
    fn tell(&mut self, reading: Reading, outcome: &Outcome, episode: &Episode) {
        let again = self
            .told
            .as_ref()
            .is_some_and(|told| told.ordinal == episode.ordinal);
        if !again {
            self.count();
        }
        let profile = self.model.profile(&self.key, &mut self.rules);
        let reason = reason::of_outcome(reading, outcome, &profile);
        let told = self.told.get_or_insert_with(|| Told {
            found: Found {
                start: episode.start,
                end: None,
                severity: episode.severity,
                kind: episode.kind,
                side: episode.side,
                value: reading.value,
                score: 0.0,
                readings: 0,
                reason: String::new(),
            },
            ordinal: episode.ordinal,
            since: None,
            alarm: 0,
        });
        let found = &mut told.found;
        (found.severity, found.kind) = (episode.severity, episode.kind);
        (found.side, found.reason) = (episode.side, reason);
        // What was reopened silently is in alarm again from the moment it is told of again.
        let since = if again { reading.at } else { episode.start };
        told.since.get_or_insert(since);
        found.end = None;
    }

    fn resolve(&mut self, at: Timestamp, episode: &Episode) {
        if let Some(told) = &mut self.told {
            told.close(at, self.from, episode.readings, self.worst);
            told.found.end = Some(at);
        }
    }

    /// The episode told of last is over for good, or the readings are.
    fn count(&mut self) {
        let Some(told) = self.told.take() else {
            return;
        };
        if told.found.end.is_some_and(|end| end < self.from) {
            return;
        }
        let Report { tally, list } = &mut self.report;
        tally.episodes = tally.episodes.saturating_add(1);
        tally.alarm = tally.alarm.saturating_add(told.alarm);
        if let Some(count) = tally.kinds.get_mut(told.found.kind as usize) {
            *count = count.saturating_add(1);
        }
        if list.len() < self.listed {
            list.push(told.found);
        }
    }

    /// There are no more readings.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if let (Some(told), Some(newest)) = (&mut self.told, self.model.newest())
            && told.since.is_some()
        {
            let readings = self.model.alarm.open().map_or(0, |open| open.readings);
            told.close(newest.at, self.from, readings, self.worst);
        }
        self.count();
        self.report
    }
}

impl Told {
    /// Notes what it came to at a time at which it is open.
    fn close(&mut self, at: Timestamp, from: Timestamp, readings: u32, worst: Option<(f64, f64)>) {
        if let Some(since) = self.since.take() {
            let spent = at.since(since.max(from)).max(0).unsigned_abs();
            self.alarm = self.alarm.saturating_add(spent);
        }
        if let Some((value, score)) = worst.filter(|(_, score)| *score > self.found.score) {
            (self.found.value, self.found.score) = (value, score);
        }
        self.found.readings = readings;
    }
}

/// A thing of the candidate rule, and of the current rule where the two are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sides<T> {
    /// The candidate's.
    pub candidate: T,
    /// The current rule's.
    pub current: Option<T>,
}

impl<T> Sides<T> {
    /// The same made of both.
    pub fn map<U>(self, mut make: impl FnMut(T) -> U) -> Sides<U> {
        Sides {
            candidate: make(self.candidate),
            current: self.current.map(make),
        }
    }

    /// Both.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.candidate).chain(&mut self.current)
    }
}

/// What a backtest over many sensors came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Sensors that were replayed.
    pub sensors: u64,
    /// Sensors whose series is missing or could not be read to its end.
    pub skipped: u64,
    /// The figures of all together.
    pub total: Sides<Tally>,
    /// Those with the most episodes, the most first. Bounded by [`TOLD`].
    pub top: Vec<(Vec<u8>, Sides<Report>)>,
}

impl Fleet {
    /// No sensors yet; with `diff` two rules are compared.
    #[must_use]
    pub fn new(diff: bool) -> Self {
        let mut fleet = Self::default();
        fleet.total.current = diff.then(Tally::default);
        fleet
    }

    /// Takes in what a sensor came to.
    pub fn add(&mut self, key: &[u8], reports: Sides<Report>) {
        self.sensors += 1;
        self.total.candidate.add(&reports.candidate.tally);
        if let (Some(total), Some(current)) = (&mut self.total.current, &reports.current) {
            total.add(&current.tally);
        }
        // Most episodes first, then in the order of their keys.
        let rank = |(key, reports): &(Vec<u8>, Sides<Report>)| {
            let current = reports.current.as_ref();
            let episodes = reports.candidate.tally.episodes
                + current.map_or(0, |current| current.tally.episodes);
            (std::cmp::Reverse(episodes), key.clone())
        };
        let entry = (key.to_vec(), reports);
        let at = self.top.partition_point(|other| rank(other) < rank(&entry));
        if at < TOLD {
            self.top.truncate(TOLD - 1);
            self.top.insert(at, entry);
        }
    }
}

#[cfg(test)]
#[path = "backtest_tests.rs"]
mod tests;
