//! Scoring through a server: each file becomes a sensor of its own, under a rule of its own, and both are gone afterwards.

use std::collections::HashMap;

use anyhow::{Context as _, anyhow};
use redis::{Connection, RedisError, Value};

use super::corpus::{Recording, Row};
use crate::moment::now_ms;
use crate::server::{Server, plain};
use crate::terminal::{harmless, note};

/// Alerts that are looked at in one command.
const PAGE: usize = 1000;

/// A server on which we have a rule, sensors and alerts.
pub(crate) struct Remote<'a> {
    server: &'a Server,
    connection: Connection,
    /// Begins the keys of our sensors. In braces: on a cluster all are in one slot.
    prefix: String,
    keys: Vec<String>,
    pipeline: usize,
    /// Last id of each alerts stream before we came.
    alerts: HashMap<Vec<u8>, String>,
}

impl<'a> Remote<'a> {
    /// Connects, and sets the rule for the sensors to come. Nothing stays behind where that fails.
    pub(crate) fn new(
        server: &'a Server,
        rule: &[String],
        pipeline: usize,
    ) -> anyhow::Result<Self> {
        let connection = server.connect_with_module()?;
        let id = format!("{:x}-{:x}", std::process::id(), now_ms());
        let mut remote = Self {
            server,
            connection,
            prefix: format!("{{evaluate:{id}}}:"),
            keys: Vec::new(),
            pipeline,
            alerts: HashMap::new(),
        };
        for stream in remote.alert_streams().unwrap_or_default() {
            let last = last_id(&mut remote.connection, &stream).unwrap_or_default();
            remote.alerts.insert(stream, last);
        }
        let mut set = redis::cmd("ANOMALY.CONFIG");
        set.arg("SET").arg(remote.pattern());
        // What is measured is the detector: no series is written. A rule that says otherwise may.
        set.arg("archive").arg("no").arg(rule);
        set.query::<()>(&mut remote.connection)
            .map_err(|wrong| anyhow!("--rule: {}", said(&wrong)))?;
        Ok(remote)
    }

    fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// Begins the keys of the sensors.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Settings that the sensors have from other rules of the server, as `name value (pattern)`: they are part of what is
    /// measured.
    pub(crate) fn foreign_settings(&mut self) -> anyhow::Result<Vec<String>> {
        let mut resolve = redis::cmd("ANOMALY.CONFIG");
        resolve.arg("RESOLVE").arg(format!("{}x", self.prefix));
        let reply: Value = resolve
            .query(&mut self.connection)
            .map_err(|wrong| anyhow!("ANOMALY.CONFIG RESOLVE: {}", said(&wrong)))?;
        let ours = self.pattern();
        let settings = pairs(&reply).into_iter().filter_map(|(name, setting)| {
            let Value::Array(parts) = setting else {
                return None;
            };
            let [value, from] = parts.as_slice() else {
                return None;
            };
            let (value, from) = (text(value)?, text(from)?);
            let foreign = from != ours && from != "default";
            foreign.then(|| harmless(format!("{name} {value} ({from})").as_bytes()))
        });
        Ok(settings.collect())
    }

    /// The scores of a file's rows, by a sensor never seen before. `None` when `go_on` says no between two batches;
    /// it is told how many rows have been answered.
    pub(crate) fn scores(
        &mut self,
        recording: &Recording,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> anyhow::Result<Option<Vec<f64>>> {
        let key = format!("{}{}", self.prefix, recording.name);
        self.keys.push(key.clone());
        let mut scores = Vec::with_capacity(recording.rows.len());
        for batch in recording.rows.chunks(self.pipeline) {
            if !go_on(scores.len()) {
                return Ok(None);
            }
            self.score(&key, batch, &mut scores)
                .with_context(|| harmless(recording.name.as_bytes()))?;
        }
        go_on(scores.len());
        Ok(Some(scores))
    }

    fn score(&mut self, key: &str, batch: &[Row], scores: &mut Vec<f64>) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        for row in batch {
            let mut add = redis::cmd("ANOMALY.ADD");
            add.arg(key).arg(row.at).arg(&row.text).arg("EXPLAIN");
            add.write_packed_command(&mut bytes);
        }
        let lost = |wrong| anyhow!("the server went away: {}", plain(&wrong));
        self.connection.send_packed_command(&bytes).map_err(lost)?;
        let mut refused = None;
        // Every answer is taken from the wire, so that the connection can still be used to clean up.
        for row in batch {
            let reply = self.connection.recv_response().map_err(lost)?;
            match score_of(&reply) {
                Ok(score) => scores.push(score),
                Err(why) => {
                    refused.get_or_insert_with(|| anyhow!("the reading of {}: {why}", row.time));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Takes back the rule, and with `everything` the sensors and their alerts too.
    pub(crate) fn clean_up(mut self, everything: bool) -> anyhow::Result<()> {
        // After an error in the middle of a pipeline the connection may be of no more use.
        if redis::cmd("PING")
            .query::<()>(&mut self.connection)
            .is_err()
        {
            self.connection = self.server.connect().with_context(|| self.left_behind())?;
        }
        let result = self.take_back(everything);
        result.map_err(|wrong| anyhow!("{}: {}", self.left_behind(), said(&wrong)))
    }

    fn left_behind(&self) -> String {
        format!(
            "the rule and the sensors {:?} are still on the server",
            self.pattern()
        )
    }

    fn take_back(&mut self, everything: bool) -> Result<(), RedisError> {
        redis::cmd("ANOMALY.CONFIG")
            .arg("DEL")
            .arg(self.pattern())
            .query::<()>(&mut self.connection)?;
        if everything {
            for key in std::mem::take(&mut self.keys) {
                redis::cmd("UNLINK")
                    .arg(key)
                    .query::<()>(&mut self.connection)?;
            }
        }
        if everything {
            // Sensors that are gone have told so: their alerts come last.
            if let Err(wrong) = self.take_back_alerts() {
                note(format_args!(
                    "anomaly: alerts of sensors {:?} are still in the alerts stream: {}",
                    self.pattern(),
                    said(&wrong)
                ));
            }
        }
        Ok(())
    }

    fn take_back_alerts(&mut self) -> Result<(), RedisError> {
        for stream in self.alert_streams()? {
            let before = self.alerts.get(&stream);
            let mut from = before.map_or_else(|| String::from("-"), |id| format!("({id}"));
            loop {
                let entries: Vec<(String, HashMap<String, Vec<u8>>)> = redis::cmd("XRANGE")
                    .arg(&stream)
                    .arg(&from)
                    .arg("+")
                    .arg("COUNT")
                    .arg(PAGE)
                    .query(&mut self.connection)?;
                let Some((last, _)) = entries.last() else {
                    break;
                };
                from = format!("({last}");
                let prefix = self.prefix.as_bytes();
                let ours = entries.iter().filter(|(_, fields)| {
                    let sensor = fields.get("sensor");
                    sensor.is_some_and(|sensor| sensor.starts_with(prefix))
                });
                let ids: Vec<&String> = ours.map(|(id, _)| id).collect();
                if !ids.is_empty() {
                    redis::cmd("XDEL")
                        .arg(&stream)
                        .arg(ids)
                        .query::<()>(&mut self.connection)?;
                }
            }
            let left: usize = redis::cmd("XLEN")
                .arg(&stream)
                .query(&mut self.connection)?;
            if before.is_none() && left == 0 {
                redis::cmd("UNLINK")
                    .arg(&stream)
                    .query::<()>(&mut self.connection)?;
            }
        }
        Ok(())
    }

    fn alert_streams(&mut self) -> Result<Vec<Vec<u8>>, RedisError> {
        redis::cmd("ANOMALY.ALERTS")
            .arg("STREAMS")
            .query(&mut self.connection)
    }
}

/// The id of the newest entry that a stream ever had.
fn last_id(connection: &mut Connection, stream: &[u8]) -> Result<String, RedisError> {
    let reply: Value = redis::cmd("XINFO")
        .arg("STREAM")
        .arg(stream)
        .query(connection)?;
    let found = pairs(&reply)
        .into_iter()
        .find(|(name, _)| name == "last-generated-id");
    Ok(found
        .and_then(|(_, id)| text(id))
        .unwrap_or_else(|| String::from("0-0")))
}

/// The score in what EXPLAIN tells.
fn score_of(reply: &Value) -> Result<f64, String> {
    if let Value::ServerError(error) = reply {
        let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
        return Err(harmless(words.trim_end().as_bytes()));
    }
    let score = pairs(reply).into_iter().find(|(name, _)| name == "score");
    let score = score.and_then(|(_, score)| match score {
        Value::Double(score) => Some(*score),
        other => text(other)?.parse().ok(),
    });
    let score = score.filter(|score: &f64| (0.0..=1.0).contains(score));
    score.ok_or_else(|| format!("no score from 0 to 1 in the reply {reply:?}"))
}

/// A map, or a flat array of names and values.
fn pairs(reply: &Value) -> Vec<(String, &Value)> {
    let named = |name: &Value, value| Some((text(name)?, value));
    match reply {
        Value::Map(pairs) => pairs
            .iter()
            .filter_map(|(name, value)| named(name, value))
            .collect(),
        Value::Array(items) => items
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [name, value] => named(name, value),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

/// The server's own words, without the code that every error has.
fn said(error: &RedisError) -> String {
    let words = plain(error);
    words.strip_prefix("ERR ").unwrap_or(&words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::score_of;
    use redis::Value;

    #[test]
    fn the_score_is_read_from_either_protocol_with_all_its_digits() {
        let name = || Value::BulkString(b"score".to_vec());
        let digits = Value::BulkString(b"0.53255425709515861".to_vec());
        let flat = Value::Array(vec![name(), digits]);
        assert_eq!(score_of(&flat), Ok(0.532_554_257_095_158_6));
        let map = Value::Map(vec![(name(), Value::Double(0.25))]);
        assert_eq!(score_of(&map), Ok(0.25));
        for bad in [Value::Okay, Value::Map(vec![(name(), Value::Double(1.5))])] {
            assert!(score_of(&bad).is_err());
        }
    }
}
