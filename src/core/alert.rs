//! Alerts: one entry of the alerts stream for each transition of an episode, with every field a consumer gets.

use crate::detect::{Finding, Kind};
use crate::episode::{Episode, Event};
use crate::key::fingerprint;
use crate::model::{Model, Outcome};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::reason;
use crate::stream_id::StreamId;
use crate::text::{duration, number, resolved, rounded};
use crate::units::{Side, Timestamp};

/// Version of the fields, in the field `v`.
pub const VERSION: &str = "1";

/// An alert to be written. Field order is part of the interface.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The transition.
    pub event: Event,
    /// Names and values in the order they are written.
    pub fields: Vec<(&'static str, Vec<u8>)>,
}

/// The entry of a stream that a reading was read from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The device, empty where none is known.
    pub device: &'a [u8],
    /// The metric.
    pub metric: &'a [u8],
    /// The stream's key.
    pub stream: &'a [u8],
    /// The entry, where it is known.
    pub id: Option<StreamId>,
}

/// What ended an episode from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// DEL, UNLINK, or another value put in its place.
    Deleted,
    /// Its time to live was over.
    Expired,
    /// Evicted for want of memory.
    Evicted,
    /// ANOMALY.RESET.
    Reset,
    /// No reading for as long as `expire` says.
    Forgotten,
}

/// The name of an alert, by which consumers drop repeats: that of the episode, and how many it has told. An episode that goes
/// on under another key (RENAME, RESTORE of a dump) may go on under its own, too: such a one's names the key as well.
fn id(name: &str, episode: &Episode, key: &[u8]) -> String {
    let (told, sensor) = (episode.alerts, fingerprint(key));
    if sensor == episode.sensor {
        format!("{name}-{told}")
    } else {
        format!("{name}-{told}-{sensor:016x}")
    }
}

/// Everything an alert says beside its episode.
struct Facts<'a> {
    key: &'a [u8],
    profile: &'a Profile,
    at: Timestamp,
    value: Option<f64>,
    kind: Kind,
    side: Side,
    threshold: f64,
    score: f64,
    band: Option<&'a Finding>,
    reason: String,
    source: Option<&'a Source<'a>>,
    extra: Vec<(&'static str, Vec<u8>)>,
}

impl Alert {
    /// The alert that a reading's outcome asks for.
    #[must_use]
    pub fn of_outcome(
        key: &[u8],
        reading: Reading,
        outcome: &Outcome,
        profile: &Profile,
        source: Option<&Source<'_>>,
    ) -> Option<Self> {
        let (event, episode) = outcome.transition.as_ref()?;
        let decided = outcome
            .finding
            .as_ref()
            .filter(|_| *event != Event::Resolved);
        let facts = Facts {
            key,
            profile,
            at: reading.at,
            value: Some(reading.value),
            kind: decided.map_or(episode.kind, |finding| finding.kind),
            side: decided.map_or(episode.side, |finding| finding.side),
            threshold: decided.map_or(episode.threshold, |finding| finding.threshold),
            score: outcome.score(),
            band: decided
                .or(outcome.own.as_ref())
                .or(outcome.finding.as_ref()),
            reason: reason::of_outcome(reading, outcome, profile),
            source,
            extra: Vec::new(),
        };
        Some(facts.alert(*event, episode))
    }

    /// The alert for an episode that was ended from outside, by taking it out of the model.
    pub fn of_end(key: &[u8], model: &mut Model, profile: &Profile, end: End) -> Option<Self> {
        // A silence was told of at a time after the newest reading.
        let told = model.alarm.open().map(|episode| episode.last_alert);
        let at = model.newest()?.at.max(told?);
        let (event, episode) = model.alarm.resolve(at, 0)?;
        let why = match end {
            End::Deleted => "the sensor was deleted",
            End::Expired => "the sensor expired",
            End::Evicted => "the sensor was evicted for want of memory",
            End::Reset => "the sensor was reset",
            End::Forgotten => {
                "the sensor sent nothing for as long as expire allows and was forgotten"
            }
        };
        let lasted = at.since(episode.start);
        let lasted = if lasted > 0 {
            format!(" for {}", duration(lasted))
        } else {
            String::new()
        };
        let reason = format!("{why} while its episode was open{lasted}");
        Some(Facts::of_model(key, model, profile, &episode, at, reason).alert(event, &episode))
    }

    /// The alert for an acknowledgement at server time `at`, noted in the model; `None` if there is no open episode
    /// that has not been acknowledged yet.
    pub fn of_ack(
        key: &[u8],
        model: &mut Model,
        profile: &Profile,
        at: Timestamp,
        by: &[u8],
        comment: &[u8],
    ) -> Option<Self> {
        let (event, episode) = model.alarm.acknowledge(by)?;
        let who = if by.is_empty() {
            String::new()
        } else {
            format!(" by {}", crate::text::shown(by))
        };
        let mut facts = Facts::of_model(
            key,
            model,
            profile,
            &episode,
            at,
            format!("acknowledged{who}"),
        );
        facts.extra = vec![("by", by.to_vec()), ("comment", comment.to_vec())];
        Some(facts.alert(event, &episode))
    }
}

impl<'a> Facts<'a> {
    fn of_model(
        key: &'a [u8],
        model: &Model,
        profile: &'a Profile,
        episode: &Episode,
        at: Timestamp,
        reason: String,
    ) -> Self {
        Self {
            key,
            profile,
            at,
            value: model.newest().map(|newest| newest.value),
            kind: episode.kind,
            side: episode.side,
            threshold: episode.threshold,
            score: model.score(),
            band: None,
            reason,
            source: None,
            extra: Vec::new(),
        }
    }

    fn alert(self, event: Event, episode: &Episode) -> Alert {
        let mut fields: Vec<(&'static str, Vec<u8>)> = Vec::with_capacity(24);
        let mut put = |name, value: &[u8]| fields.push((name, value.to_vec()));
        let name = episode.name();
        put("v", VERSION.as_bytes());
        put("event", event.word().as_bytes());
        put("id", id(&name, episode, self.key).as_bytes());
        put("episode", name.as_bytes());
        put("sensor", self.key);
        for (name, known) in [
            ("device", self.source.map(|s| s.device)),
            ("metric", self.source.map(|s| s.metric)),
        ] {
            if let Some(known) = known.filter(|known| !known.is_empty()) {
                put(name, known);
            }
        }
        put("severity", episode.severity.word().as_bytes());
        put("kind", self.kind.word().as_bytes());
        put("direction", self.side.word().as_bytes());
        put("ts", self.at.millis().to_string().as_bytes());
        put("start", episode.start.millis().to_string().as_bytes());
        put(
            "value",
            self.value.map(number).unwrap_or_default().as_bytes(),
        );
        put("unit", self.profile.unit.as_bytes());
        if let Some(band) = self.band {
            // A computed band is written to a ten-thousandth of its width; limits as they were set.
            let step = match (band.expected, band.lower, band.upper) {
                (Some(_), Some(low), Some(high)) => (high / 2.0 - low / 2.0) / 1e3,
                _ => 0.0,
            };
            for (name, bound) in [
                ("expected", band.expected),
                ("lower", band.lower),
                ("upper", band.upper),
            ] {
                if let Some(x) = bound {
                    put(name, resolved(x, step).as_bytes());
                }
            }
        }
        put("score", rounded(self.score, 9).as_bytes());
        put("threshold", number(self.threshold).as_bytes());
        put(
            "rule",
            self.profile
                .rule_of(self.kind, self.side, self.threshold)
                .unwrap_or(b"default"),
        );
        put("reason", self.reason.as_bytes());
        if let Some((source, id)) = self
            .source
            .and_then(|source| source.id.map(|id| (source, id)))
        {
            let id = id.to_string();
            put("source", &[source.stream, b" ", id.as_bytes()].concat());
        }
        fields.extend(self.extra);
        Alert { event, fields }
    }
}
