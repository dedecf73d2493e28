//! `anomaly replay`: recorded readings from CSV files, at any speed.

mod badlines;
mod columns;
mod recording;
mod report;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::{HumanDuration, ProgressBar};
use jiff::tz::TimeZone;

use crate::replay::badlines::BadLines;
use crate::replay::columns::Columns;
use crate::replay::recording::{Line, Recording, Row};
use crate::replay::report::{FileReport, print};
use crate::sender::{Reading, Sender, Sensor, Via, parse_pipeline};
use crate::server::Server;
use crate::stop::Stop;
use crate::tally::Reply;
use crate::terminal::{per_second, progress, thousands};

/// Replay recorded readings from CSV files: each file is a sensor
///
/// A file has a column of timestamps (RFC 3339, `2013-07-04 00:00:00`, Unix seconds or milliseconds) and one of values.
/// Lines that cannot be read are counted and shown by number, never silently dropped.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// CSV files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The timestamp's column and the value's, by name or by number from 1. Default: by the usual names if there is a
    /// header (timestamp time date …, value reading …), else the first two
    #[arg(long, value_name = "TIME,VALUE")]
    columns: Option<Columns>,

    /// Times without a zone are in this one, such as Europe/Berlin
    #[arg(long, default_value = "UTC", value_name = "ZONE", value_parser = parse_zone)]
    tz: TimeZone,

    /// How fast: 1x as recorded, 60x an hour in a minute, max as fast as the server answers. Files start together
    #[arg(long, default_value = "max", value_name = "Nx|max")]
    speed: Speed,

    /// The sensor's key; {file} is the file's name without .csv
    #[arg(long, default_value = "{file}")]
    key: String,

    /// How readings are sent
    #[arg(long, value_enum, default_value = "add")]
    via: Via,

    /// The stream for --via xadd, where {file} is the device
    #[arg(long, default_value = "raw_sensor_data")]
    stream: String,

    /// The value's field for --via xadd
    #[arg(long, default_value = "value")]
    metric: String,

    /// Readings under way before the first answer is awaited; with --via madd the readings in one command
    #[arg(long, default_value = "100", value_parser = parse_pipeline, value_name = "N")]
    pipeline: usize,

    /// Write all lines that cannot be read to this file
    #[arg(long, value_name = "FILE")]
    bad: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  anomaly replay machine_temperature.csv
      the sensor `machine_temperature`, as fast as it goes
  anomaly replay --speed 3600x --key 'plant:{file}' pump-1.csv pump-2.csv
      both together, an hour per second
  anomaly replay --columns when,degrees --tz Europe/Berlin --bad rejected.txt export.csv";

/// Recorded time per wall time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Times(f64),
    Max,
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let number = text.strip_suffix(['x', 'X']).unwrap_or(text).parse().ok();
        let number = number.filter(|times: &f64| times.is_finite() && *times > 0.0);
        number
            .map(Self::Times)
            .ok_or_else(|| format!("{text:?} is neither `max` nor a factor like 60x"))
    }
}

fn parse_zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| {
        format!("{text:?} is not a time zone known here, such as UTC or Europe/Berlin")
    })
}

/// A file on its way: the row that comes next, and when.
struct Track {
    recording: Recording,
    next: Option<Row>,
    /// Recorded time of its first row.
    origin: Option<i64>,
    report: FileReport,
}

pub(crate) fn run(server: &Server, args: &Args, stop: &Stop) -> anyhow::Result<()> {
    let mut bad = BadLines::open(args.bad.as_deref())?;
    let mut sensors = Vec::new();
    let mut tracks = Vec::new();
    let mut total = 0;
    for path in &args.files {
        let recording = Recording::open(path, args.columns.as_ref(), &args.tz)?;
        total += recording.size;
        let file = recording.name.clone();
        let key = args.key.replace("{file}", &file);
        if sensors.iter().any(|sensor: &Sensor| sensor.key == key) {
            bail!("two files are the sensor {key:?}: put {{file}} into --key, or rename one");
        }
        sensors.push(Sensor {
            key: key.clone(),
            device: file,
            metric: args.metric.clone(),
        });
        tracks.push(Track {
            recording,
            next: None,
            origin: None,
            report: FileReport::new(key),
        });
    }
    let connection = match args.via {
        Via::Xadd => server.connect()?,
        Via::Add | Via::Madd => server.connect_with_module()?,
    };
    let mut replay = Replay {
        sender: Sender::new(connection, args.via, &args.stream, args.pipeline),
        sensors,
        tracks,
        speed: args.speed,
        bar: progress(Some(total), "{msg}")?,
    };
    let outcome = replay.play(&mut bad, stop);
    replay.bar.finish_and_clear();
    let reports: Vec<FileReport> = replay
        .tracks
        .into_iter()
        .map(|track| track.report)
        .collect();
    print(&reports)?;
    bad.close()?;
    outcome?;
    match reports
        .iter()
        .map(|report| report.tally.refused())
        .sum::<u64>()
    {
        0 => Ok(()),
        refused => bail!("the server refused {refused} readings (above)"),
    }
}

struct Replay {
    sender: Sender,
    sensors: Vec<Sensor>,
    tracks: Vec<Track>,
    speed: Speed,
    bar: ProgressBar,
}

impl Replay {
    fn play(&mut self, bad: &mut BadLines, stop: &Stop) -> anyhow::Result<()> {
        for track in &mut self.tracks {
            track.advance(bad)?;
            track.origin = track.next.map(|row| row.at);
        }
        let began = Instant::now();
        let mut sent: u64 = 0;
        while let Some((index, due)) = self.earliest() {
            if due > began.elapsed() {
                self.flush()?;
                self.show_wait(due.saturating_sub(began.elapsed()));
                stop.sleep_until(began + due);
            }
            if stop.requested() {
                break;
            }
            let Some(track) = self.tracks.get_mut(index) else {
                break;
            };
            let Some(row) = track.next else { break };
            track.report.began.get_or_insert_with(Instant::now);
            track.report.rows += 1;
            track.advance(bad)?;
            let reading = Reading {
                sensor: index,
                at: row.at,
                value: row.value,
            };
            let tracks = &mut self.tracks;
            self.sender
                .push(&self.sensors, reading, &mut |reading, reply| {
                    answered(tracks, reading, reply)
                })?;
            sent += 1;
            if sent.is_multiple_of(256) || self.speed != Speed::Max {
                self.show_progress(sent, began.elapsed());
            }
        }
        self.flush()
    }

    /// The track whose next row comes first, and when, from the start. At full speed file after file.
    fn earliest(&self) -> Option<(usize, Duration)> {
        let due = |track: &Track| {
            let (row, origin) = (track.next?, track.origin?);
            match self.speed {
                Speed::Max => Some(Duration::ZERO),
                // A row older than the first is sent at once.
                Speed::Times(times) => {
                    let recorded = row.at.saturating_sub(origin).max(0) as f64 / 1000.0;
                    Duration::try_from_secs_f64(recorded / times).ok()
                }
            }
        };
        let tracks = self.tracks.iter().enumerate();
        tracks
            .filter_map(|(index, track)| Some((index, due(track)?)))
            .min_by_key(|&(_, due)| due)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let tracks = &mut self.tracks;
        self.sender.flush(&self.sensors, &mut |reading, reply| {
            answered(tracks, reading, reply)
        })
    }

    /// A gap in the recording, or a wrong year in it, should not look like a server that hangs.
    fn show_wait(&self, wait: Duration) {
        if wait > Duration::from_secs(2) {
            self.bar
                .set_message(format!("next reading in {}", HumanDuration(wait)));
        }
    }

    fn show_progress(&self, sent: u64, elapsed: Duration) {
        self.bar.set_position(
            self.tracks
                .iter()
                .map(|track| track.recording.position)
                .sum(),
        );
        let rate = per_second(sent, elapsed);
        self.bar.set_message(format!(
            "{} readings, {}/s",
            thousands(sent),
            thousands(rate)
        ));
    }
}

fn answered(tracks: &mut [Track], reading: Reading, reply: Reply) {
    if let Some(track) = tracks.get_mut(reading.sensor) {
        track.report.tally.count(reply);
        track.report.ended = Some(Instant::now());
    }
}

impl Track {
    /// Moves on to the next row that can be read, and notes the lines on the way that cannot.
    fn advance(&mut self, bad: &mut BadLines) -> anyhow::Result<()> {
        self.next = None;
        while let Some(line) = self
            .recording
            .next()
            .with_context(|| format!("cannot read {}", self.recording.path))?
        {
            match line {
                Line::Row(row) => {
                    self.next = Some(row);
                    break;
                }
                Line::Bad(line) => {
                    self.report.bad += 1;
                    bad.note(&self.recording.path, &line)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Speed;

    #[test]
    fn speeds_are_factors_or_max() {
        assert_eq!("60x".parse(), Ok(Speed::Times(60.0)));
        assert_eq!("0.5".parse(), Ok(Speed::Times(0.5)));
        assert_eq!("max".parse(), Ok(Speed::Max));
        for wrong in ["0x", "-1x", "infx", "fast", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
