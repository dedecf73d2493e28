//! The alarm of a sensor: when an episode of abnormal readings fires, escalates, is repeated and is resolved.
//!
//! ```text
//!            `for` abnormal readings in a row                 `clear` normal readings in a row
//!  quiet ───────────────────────────────────────► firing ───────────────────────────────────────► quiet
//!    ▲                                              ▲  │                                            │
//!    │                       `cooldown` is over, or │  │                                            │ with a `cooldown`
//!    │ `cooldown` is over    it becomes critical    │  └─────────────────────────────────────┐      ▼
//!    └──────────────────────────────────────────── silent ◄──────────────────────────────── cooling
//!                                                         `for` abnormal readings: reopened
//! ```
//!
//! All times are reading times, so a replica and a replay take the same decisions.

use crate::detect::{Crossed, Finding, Kind};
use crate::profile::Profile;
use crate::units::{Severity, Side, Timestamp};

/// What an alert tells: the transition of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The episode has begun.
    Firing,
    /// From warning to critical.
    Escalated,
    /// A reminder.
    Repeat,
    /// Somebody took note of it.
    Ack,
    /// It is over.
    Resolved,
}

impl Event {
    /// All of them; the position is the number under which counts are kept.
    pub const ALL: [Self; 5] = [
        Self::Firing,
        Self::Escalated,
        Self::Repeat,
        Self::Ack,
        Self::Resolved,
    ];

    /// The word used in replies and alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Escalated => "escalated",
            Self::Repeat => "repeat",
            Self::Ack => "ack",
            Self::Resolved => "resolved",
        }
    }
}

/// Where an episode stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Open, and told of.
    Firing,
    /// Reopened during the cooldown, which ends then: open, but not told of.
    Silent(Timestamp),
    /// Resolved; may be reopened until then.
    Cooling(Timestamp),
}

/// A stretch of abnormal readings of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// Fingerprint of the key the sensor had when it began.
    pub sensor: u64,
    /// Time of the first abnormal reading.
    pub start: Timestamp,
    /// How many episodes the sensor had before.
    pub ordinal: u32,
    /// Where it stands.
    pub phase: Phase,
    /// The highest since it was last told of as firing.
    pub severity: Severity,
    /// The detector that fired, or that escalated it.
    pub kind: Kind,
    /// To which side.
    pub side: Side,
    /// That detector's threshold.
    pub threshold: f64,
    /// Highest score so far.
    pub peak: f64,
    /// Readings since `start`.
    pub readings: u32,
    /// Normal readings in a row, up to now.
    pub normal_run: u32,
    /// Alerts written for it.
    pub alerts: u32,
    /// Reading time of the last alert.
    pub last_alert: Timestamp,
    /// Who acknowledged it; empty for nobody in particular.
    pub acked_by: Option<Box<[u8]>>,
    /// The limits it has crossed.
    pub crossed: Crossed,
}

impl Episode {
    /// The name of the episode, the same on every server: sensor, start, and ordinal for two of one instant.
    #[must_use]
    pub fn name(&self) -> String {
        format!(
            "{:016x}-{}-{}",
            self.sensor,
            self.start.millis(),
            self.ordinal
        )
    }

    /// Whether it is going on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Cooling(_))
    }

    fn reads(&mut self, at: Timestamp, finding: &Finding, profile: &Profile) -> Option<Event> {
        self.peak = self.peak.max(finding.score());
        let severity = finding.severity?;
        if finding.kind == Kind::Range {
            self.crossed.high |= finding.side == Side::High;
            self.crossed.low |= finding.side == Side::Low;
        }
        let event = self.event(at, severity, profile)?;
        if event != Event::Repeat {
            (self.severity, self.kind, self.side) = (severity, finding.kind, finding.side);
            self.threshold = finding.threshold;
        }
        self.phase = Phase::Firing;
        Some(event)
    }

    /// What an abnormal reading of that severity makes it tell.
    fn event(&self, at: Timestamp, severity: Severity, profile: &Profile) -> Option<Event> {
        match self.phase {
            _ if severity > self.severity => Some(Event::Escalated),
            Phase::Silent(until) if at >= until => Some(Event::Firing),
            Phase::Firing if self.reminds(at, profile) => Some(Event::Repeat),
            _ => None,
        }
    }

    fn reminds(&self, at: Timestamp, profile: &Profile) -> bool {
        profile.repeat > 0 && self.acked_by.is_none() && at >= self.last_alert.plus(profile.repeat)
    }

    /// Notes that an alert goes out.
    fn tells(&mut self, at: Timestamp) {
        self.alerts = self.alerts.saturating_add(1);
        self.last_alert = at;
    }
}

/// What a reading did to the alarm.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The transition, with the episode as it is after it.
    pub transition: Option<(Event, Episode)>,
    /// An episode was reopened silently.
    pub suppressed: bool,
}

/// The alarm of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// Abnormal readings in a row while no episode is open.
    pub abnormal_run: u32,
    /// When that run began.
    pub run_start: Timestamp,
    /// Highest score of that run.
    pub run_peak: f64,
    /// Episodes so far.
    pub episodes: u32,
    /// The episode that is open or cooling.
    pub episode: Option<Box<Episode>>,
}

impl Default for Alarm {
    fn default() -> Self {
        Self::NONE
    }
}

impl Alarm {
    /// Nothing has ever been abnormal.
    pub const NONE: Self = Self {
        abnormal_run: 0,
        run_start: Timestamp::ZERO,
        run_peak: 0.0,
        episodes: 0,
        episode: None,
    };

    /// Nothing is abnormal; episodes are counted on.
    #[must_use]
    pub(crate) fn silenced(&self) -> Self {
        Self {
            episodes: self.episodes,
            ..Self::NONE
        }
    }

    /// Whether a normal reading changes nothing.
    #[must_use]
    pub(crate) fn is_calm(&self) -> bool {
        self.abnormal_run == 0 && self.episode.is_none()
    }

    /// The episode that is going on.
    #[must_use]
    pub fn open(&self) -> Option<&Episode> {
        self.episode.as_deref().filter(|episode| episode.is_open())
    }

    /// The limits that the open episode has crossed.
    #[must_use]
    pub fn crossed(&self) -> Crossed {
        self.open()
            .map_or_else(Crossed::default, |episode| episode.crossed)
    }

    /// Takes a judged reading of the sensor with that fingerprint.
    pub fn judged(
        &mut self,
        at: Timestamp,
        finding: &Finding,
        profile: &Profile,
        sensor: impl FnOnce() -> u64,
    ) -> Step {
        if self.is_calm() && finding.severity.is_none() {
            return Step::default();
        }
        match finding.severity {
            Some(severity) => self.abnormal(at, finding, severity, profile, sensor),
            None => self.normal(at, profile),
        }
    }

    fn abnormal(
        &mut self,
        at: Timestamp,
        finding: &Finding,
        severity: Severity,
        profile: &Profile,
        sensor: impl FnOnce() -> u64,
    ) -> Step {
        if let Some(episode) = self
            .episode
            .as_deref_mut()
            .filter(|episode| episode.is_open())
        {
            episode.readings = episode.readings.saturating_add(1);
            episode.normal_run = 0;
            let event = episode.reads(at, finding, profile);
            return Step {
                transition: event.map(|event| tell(episode, event, at)),
                suppressed: false,
            };
        }
        if self.abnormal_run == 0 {
            (self.run_start, self.run_peak) = (at, 0.0);
        }
        self.abnormal_run = self.abnormal_run.saturating_add(1);
        self.run_peak = self.run_peak.max(finding.score());
        if self.abnormal_run < profile.for_readings {
            return Step::default();
        }
        let run = std::mem::take(&mut self.abnormal_run);
        self.fire(at, finding, severity, run, profile, sensor)
    }

    /// Whether an abnormal finding at that instant would change anything.
    #[must_use]
    pub fn heeds(&self, at: Timestamp, severity: Severity, profile: &Profile) -> bool {
        self.open().is_none_or(|episode| {
            episode.normal_run > 0 || episode.event(at, severity, profile).is_some()
        })
    }

    /// Takes in that no reading has come since the one at `since`: an abnormal one, which waits for no others.
    pub fn silent(
        &mut self,
        at: Timestamp,
        since: Timestamp,
        finding: &Finding,
        profile: &Profile,
        sensor: impl FnOnce() -> u64,
    ) -> Step {
        let Some(severity) = finding.severity else {
            return Step::default();
        };
        if let Some(episode) = self
            .episode
            .as_deref_mut()
            .filter(|episode| episode.is_open())
        {
            episode.normal_run = 0;
            let event = episode.reads(at, finding, profile);
            return Step {
                transition: event.map(|event| tell(episode, event, at)),
                suppressed: false,
            };
        }
        self.abnormal_run = 0;
        (self.run_start, self.run_peak) = (since, finding.score());
        self.fire(at, finding, severity, 0, profile, sensor)
    }

    /// Begins an episode with a run of abnormal readings, or goes on with the one that is cooling.
    fn fire(
        &mut self,
        at: Timestamp,
        finding: &Finding,
        severity: Severity,
        run: u32,
        profile: &Profile,
        sensor: impl FnOnce() -> u64,
    ) -> Step {
        if let Some(episode) = self.episode.as_deref_mut()
            && let Phase::Cooling(until) = episode.phase
            && at < until
        {
            episode.phase = Phase::Silent(until);
            // Who took note of it took it for over.
            episode.acked_by = None;
            episode.normal_run = 0;
            episode.readings = episode.readings.saturating_add(run);
            let event = episode.reads(at, finding, profile);
            return Step {
                transition: event.map(|event| tell(episode, event, at)),
                suppressed: event.is_none(),
            };
        }
        let mut episode = Episode {
            sensor: sensor(),
            start: self.run_start,
            ordinal: self.episodes,
            phase: Phase::Firing,
            severity,
            kind: finding.kind,
            side: finding.side,
            threshold: finding.threshold,
            peak: self.run_peak,
            readings: run,
            normal_run: 0,
            alerts: 0,
            last_alert: at,
            acked_by: None,
            crossed: Crossed::default(),
        };
        episode.reads(at, finding, profile);
        self.episodes = self.episodes.saturating_add(1);
        let told = tell(&mut episode, Event::Firing, at);
        self.episode = Some(Box::new(episode));
        Step {
            transition: Some(told),
            suppressed: false,
        }
    }

    /// Takes a reading that is abnormal, but kept from firing by the alarm control of the detector that began the open
    /// episode: it does not count as normal, the episode may get worse by it, and is reminded of. One that was reopened
    /// silently is told of once the wait is over.
    pub fn held(&mut self, at: Timestamp, severity: Severity, profile: &Profile) -> Step {
        let Some(episode) = self.episode.as_deref_mut() else {
            return Step::default();
        };
        episode.readings = episode.readings.saturating_add(1);
        episode.normal_run = 0;
        let event = match episode.phase {
            Phase::Silent(until) if at < until => None,
            _ => episode.event(at, severity, profile),
        };
        if event.is_some() {
            episode.severity = episode.severity.max(severity);
            episode.phase = Phase::Firing;
        }
        Step {
            transition: event.map(|event| tell(episode, event, at)),
            suppressed: false,
        }
    }

    fn normal(&mut self, at: Timestamp, profile: &Profile) -> Step {
        self.abnormal_run = 0;
        let Some(episode) = self.episode.as_deref_mut() else {
            return Step::default();
        };
        if let Phase::Cooling(until) = episode.phase {
            if at >= until {
                self.episode = None;
            }
            return Step::default();
        }
        episode.readings = episode.readings.saturating_add(1);
        episode.normal_run = episode.normal_run.saturating_add(1);
        if episode.normal_run < profile.clear {
            return Step::default();
        }
        match episode.phase {
            Phase::Silent(until) => {
                episode.phase = Phase::Cooling(until);
                Step::default()
            }
            _ => Step {
                transition: self.resolve(at, profile.cooldown),
                suppressed: false,
            },
        }
    }

    /// Ends the open episode, if there is one that was told of.
    pub fn resolve(&mut self, at: Timestamp, cooldown: u64) -> Option<(Event, Episode)> {
        self.abnormal_run = 0;
        let mut episode = self.episode.take().filter(|episode| episode.is_open())?;
        let silent = matches!(episode.phase, Phase::Silent(_));
        episode.phase = Phase::Cooling(at.plus(cooldown));
        let told = (!silent).then(|| tell(&mut episode, Event::Resolved, at));
        if cooldown > 0 {
            self.episode = Some(episode);
        }
        told
    }

    /// Notes who has seen the open episode; `None` if there is none, it has not been told of, or has been acknowledged
    /// before.
    pub fn acknowledge(&mut self, by: &[u8]) -> Option<(Event, Episode)> {
        let episode = self
            .episode
            .as_deref_mut()
            .filter(|e| e.phase == Phase::Firing && e.acked_by.is_none())?;
        episode.acked_by = Some(by.into());
        let at = episode.last_alert;
        Some(tell(episode, Event::Ack, at))
    }

    /// The sensor's clock was set back to `at`: what waits for a time waits no longer.
    pub fn clock_set_back(&mut self, at: Timestamp) {
        self.abnormal_run = 0;
        if let Some(episode) = self.episode.as_deref_mut() {
            episode.last_alert = at;
            match episode.phase {
                Phase::Firing => {}
                Phase::Silent(_) => episode.phase = Phase::Silent(at),
                Phase::Cooling(_) => self.episode = None,
            }
        }
    }
}

fn tell(episode: &mut Episode, event: Event, at: Timestamp) -> (Event, Episode) {
    episode.tells(at);
    (event, episode.clone())
}

#[cfg(test)]
#[path = "episode_tests.rs"]
mod tests;
