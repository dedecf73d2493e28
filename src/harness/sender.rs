//! Sending readings: the three ways in, pipelined, each answer handed back with its reading.

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use redis::{Cmd, Connection, Value};

use crate::server::plain;
use crate::tally::Reply;

/// How a reading reaches the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// ANOMALY.ADD, one command per reading, pipelined
    Add,
    /// ANOMALY.MADD, one command for each --pipeline readings
    Madd,
    /// XADD to a stream that the module watches, as a producer that knows nothing of it
    Xadd,
}

/// A sensor under the names that the three ways need.
pub(crate) struct Sensor {
    /// The sensor's key.
    pub(crate) key: String,
    /// The device and its metric, for `XADD`.
    pub(crate) device: String,
    pub(crate) metric: String,
}

/// One reading to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Index into the sensors.
    pub(crate) sensor: usize,
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) value: f64,
}

/// A connection with a queue of readings that go out together.
pub(crate) struct Sender {
    connection: Connection,
    via: Via,
    stream: String,
    pipeline: usize,
    queue: Vec<Reading>,
    bytes: Vec<u8>,
}

impl Sender {
    pub(crate) fn new(connection: Connection, via: Via, stream: &str, pipeline: usize) -> Self {
        let stream = stream.to_owned();
        let queue = Vec::with_capacity(pipeline);
        Self {
            connection,
            via,
            stream,
            pipeline,
            queue,
            bytes: Vec::new(),
        }
    }

    /// Queues a reading, and sends the queue once it holds `pipeline` of them.
    pub(crate) fn push(
        &mut self,
        sensors: &[Sensor],
        reading: Reading,
        answered: &mut impl FnMut(Reading, Reply),
    ) -> anyhow::Result<()> {
        self.queue.push(reading);
        if self.queue.len() >= self.pipeline {
            self.flush(sensors, answered)?;
        }
        Ok(())
    }

    /// Sends the queue and waits for the answers.
    pub(crate) fn flush(
        &mut self,
        sensors: &[Sensor],
        answered: &mut impl FnMut(Reading, Reply),
    ) -> anyhow::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        self.bytes.clear();
        match self.via {
            Via::Add => self.pack_each(sensors, |command, sensor, reading| {
                command
                    .arg("ANOMALY.ADD")
                    .arg(&sensor.key)
                    .arg(reading.at)
                    .arg(reading.value);
            }),
            Via::Madd => self.pack_together(sensors),
            Via::Xadd => {
                let stream = self.stream.clone();
                self.pack_each(sensors, |command, sensor, reading| {
                    command
                        .arg("XADD")
                        .arg(&stream)
                        .arg("*")
                        .arg("device_id")
                        .arg(&sensor.device);
                    command
                        .arg(&sensor.metric)
                        .arg(reading.value)
                        .arg("timestamp")
                        .arg(reading.at);
                });
            }
        }
        let lost = |error| anyhow!("the server went away: {}", plain(&error));
        self.connection
            .send_packed_command(&self.bytes)
            .map_err(lost)?;
        if self.via == Via::Madd {
            let reply = self.connection.recv_response().map_err(lost)?;
            self.share_out(&reply, answered)?;
        } else {
            for reading in &self.queue {
                let reply = self.connection.recv_response().map_err(lost)?;
                answered(*reading, Reply::read(&reply));
            }
        }
        self.queue.clear();
        Ok(())
    }

    fn pack_each(&mut self, sensors: &[Sensor], fill: impl Fn(&mut Cmd, &Sensor, &Reading)) {
        let mut command = Cmd::new();
        for reading in &self.queue {
            if let Some(sensor) = sensors.get(reading.sensor) {
                command.clear();
                fill(&mut command, sensor, reading);
                command.write_packed_command(&mut self.bytes);
            }
        }
    }

    fn pack_together(&mut self, sensors: &[Sensor]) {
        let mut command = redis::cmd("ANOMALY.MADD");
        for reading in &self.queue {
            if let Some(sensor) = sensors.get(reading.sensor) {
                command.arg(&sensor.key).arg(reading.at).arg(reading.value);
            }
        }
        command.write_packed_command(&mut self.bytes);
    }

    /// The items of a `MADD`'s reply, each to its reading. One error for all is the answer to each.
    fn share_out(
        &self,
        reply: &Value,
        answered: &mut impl FnMut(Reading, Reply),
    ) -> anyhow::Result<()> {
        match reply {
            Value::Array(items) if items.len() == self.queue.len() => {
                for (reading, item) in self.queue.iter().zip(items) {
                    answered(*reading, Reply::read(item));
                }
            }
            Value::ServerError(_) => {
                for reading in &self.queue {
                    answered(*reading, Reply::read(reply));
                }
            }
            other => bail!(
                "ANOMALY.MADD with {} readings was answered {other:?}",
                self.queue.len()
            ),
        }
        Ok(())
    }
}

/// For clap: how many readings go out before the first answer is awaited.
pub(crate) fn parse_pipeline(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=100_000).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a whole number from 1 to 100000"))
}
