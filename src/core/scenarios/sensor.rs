//! A sensor that goes by the settings of one detector. What is looked at is what a user sees: verdicts and alerts.

use anomaly_core::command::config;
use anomaly_core::episode::Event;
use anomaly_core::model::{Outcome, Verdict};
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model, Reading, Rules};

const KEY: &[u8] = b"sensor:1";

/// Rules of a server: settings for all sensors, as in ANOMALY.CONFIG SET: `zscore 3 window 60`.
pub(crate) fn rules(settings: &str) -> Result<Rules, Error> {
    let words: Vec<&[u8]> = settings.split_whitespace().map(str::as_bytes).collect();
    let mut rules = Rules::default();
    rules.set(b"*", &config::changes(&words)?)?;
    Ok(rules)
}

/// A sensor and the rules of its server.
pub(crate) struct Sensor {
    pub(crate) model: Model,
    rules: Rules,
    /// Time of the first reading that was not warm-up.
    pub(crate) warm: Option<i64>,
}

impl Sensor {
    /// A sensor never seen before.
    pub(crate) fn new(settings: &str) -> Result<Self, Error> {
        Ok(Self {
            model: Model::default(),
            rules: rules(settings)?,
            warm: None,
        })
    }

    /// Takes in a reading; `None` at a time that no reading can have.
    pub(crate) fn reads(&mut self, at: i64, value: f64) -> Option<Outcome> {
        let reading = Reading {
            at: Timestamp::from_millis(at)?,
            value,
        };
        let outcome = self.model.ingest(KEY, reading, &mut self.rules);
        if self.warm.is_none() && outcome.verdict != Verdict::Warmup {
            self.warm = Some(at);
        }
        Some(outcome)
    }

    /// Takes in a reading; whether an alert says `firing`.
    pub(crate) fn fires(&mut self, at: i64, value: f64) -> bool {
        let outcome = self.reads(at, value);
        let transition = outcome.and_then(|outcome| outcome.transition);
        matches!(transition, Some((Event::Firing, _)))
    }
}
