//! Scoring with the core in this process: what the server should say, without a server.

use anomaly_core::command::config;
use anomaly_core::units::Timestamp;
use anomaly_core::{Model, Reading, Rules};
use anyhow::{anyhow, bail};

use super::corpus::Recording;

/// Sensors that go by one rule.
pub(crate) struct Local {
    rules: Rules,
}

impl Local {
    /// `rule` as the words of ANOMALY.CONFIG SET.
    pub(crate) fn new(rule: &[String]) -> anyhow::Result<Self> {
        let words: Vec<&[u8]> = rule.iter().map(String::as_bytes).collect();
        let mut rules = Rules::default();
        config::changes(&words)
            .and_then(|changes| rules.set(b"*", &changes))
            .map_err(|wrong| {
                let said = wrong.to_string();
                anyhow!("--rule: {}", said.strip_prefix("ERR ").unwrap_or(&said))
            })?;
        Ok(Self { rules })
    }

    /// The scores of a file's rows, by a sensor never seen before.
    pub(crate) fn scores(&mut self, recording: &Recording) -> anyhow::Result<Vec<f64>> {
        let mut model = Model::default();
        let scores = recording.rows.iter().map(|row| {
            let Some(at) = Timestamp::from_millis(row.at) else {
                bail!("{}: {:?} is before 1970", recording.name, row.time);
            };
            let value = row.value;
            let outcome = model.ingest(
                recording.name.as_bytes(),
                Reading { at, value },
                &mut self.rules,
            );
            Ok(outcome.score())
        });
        scores.collect()
    }
}
