//! `anomaly evaluate`: how well labelled recordings are judged, through a server or by the core alone.

mod corpus;
mod local;
mod nab;
mod remote;
mod report;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use indicatif::ProgressBar;
use serde_json::json;

use crate::evaluate::corpus::Recording;
use crate::evaluate::local::Local;
use crate::evaluate::nab::Scored;
use crate::evaluate::remote::Remote;
use crate::evaluate::report::File;
use crate::sender::parse_pipeline;
use crate::server::Server;
use crate::stop::Stop;
use crate::terminal::{note, per_second, progress, thousands};

/// Scores are made so that this is the boundary, for every detector.
const THRESHOLD: f64 = 0.5;

/// Score labelled recordings as the Numenta Anomaly Benchmark does
///
/// Each file is read row by row into a fresh sensor with ANOMALY.ADD … EXPLAIN, under a rule that is for these sensors
/// alone and archives nothing. Rule, sensors and their alerts are taken away again, also after Ctrl-C. While it runs, whoever
/// follows the alerts of that server sees them: a server of its own is better. 100 is perfect, 0 is a detector that never
/// says anything.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A directory with data/<category>/<file>.csv (columns timestamp, value) and labels/combined_windows.json
    #[arg(long, value_name = "DIR")]
    nab: PathBuf,

    /// The rule that the sensors go by, as in ANOMALY.CONFIG SET. Default: none, that is what a sensor without a rule gets
    #[arg(
        long,
        value_name = "NAME VALUE …",
        default_value = "",
        hide_default_value = true
    )]
    rule: String,

    /// Write `timestamp,value,anomaly_score` files there, laid out as the data is
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Score with the core in this program, without a server: the same scores, digit for digit
    #[arg(long)]
    in_process: bool,

    /// Leave sensors and alerts on the server, and say under which keys
    #[arg(long, conflicts_with = "in_process")]
    keep: bool,

    /// Readings under way before the first answer is awaited
    #[arg(long, default_value = "500", value_parser = parse_pipeline, value_name = "N")]
    pipeline: usize,

    /// How the result is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  anomaly evaluate --nab NAB --out scores
      what a sensor without a rule scores, and the files to look into
  anomaly evaluate --nab NAB --rule 'zscore 5 window 120' --in-process
      a rule, without a server";

/// How the result is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables for a person
    Text,
    /// One JSON object
    Json,
}

pub(crate) fn run(server: &Server, args: &Args, stop: &Stop) -> anyhow::Result<()> {
    let rule: Vec<String> = args.rule.split_whitespace().map(String::from).collect();
    let recordings = corpus::read(&args.nab)?;
    if let Some(out) = &args.out {
        fs::create_dir_all(out).with_context(|| format!("--out {}", out.display()))?;
    }
    let rows = recordings
        .iter()
        .map(|recording| recording.rows.len() as u64);
    let mut evaluation = Evaluation {
        args,
        stop,
        bar: progress(Some(rows.sum()), "{msg}")?,
        began: Instant::now(),
        done: 0,
        files: Vec::new(),
    };
    let outcome = if args.in_process {
        evaluation.in_process(&rule, &recordings)
    } else {
        evaluation.through(server, &rule, &recordings)
    };
    evaluation.bar.finish_and_clear();
    let elapsed = outcome?;
    if stop.requested() {
        bail!("interrupted");
    }
    evaluation.print(elapsed)
}

struct Evaluation<'a> {
    args: &'a Args,
    stop: &'a Stop,
    bar: ProgressBar,
    began: Instant,
    /// Rows of the files before.
    done: u64,
    files: Vec<File>,
}

impl Evaluation<'_> {
    /// Returns how long the scoring took.
    fn in_process(
        &mut self,
        rule: &[String],
        recordings: &[Recording],
    ) -> anyhow::Result<Duration> {
        let mut local = Local::new(rule)?;
        self.began = Instant::now();
        for recording in recordings {
            if self.stop.requested() {
                break;
            }
            let scores = local.scores(recording)?;
            show(&self.bar, self.done + scores.len() as u64, self.began);
            self.take(recording, &scores)?;
        }
        Ok(self.began.elapsed())
    }

    fn through(
        &mut self,
        server: &Server,
        rule: &[String],
        recordings: &[Recording],
    ) -> anyhow::Result<Duration> {
        let mut remote = Remote::new(server, rule, self.args.pipeline)?;
        let outcome = self.ask(&mut remote, recordings);
        let keep = self.args.keep && outcome.is_ok() && !self.stop.requested();
        if keep {
            note(format_args!(
                "anomaly: the sensors are kept as {}<category>/<file>",
                remote.prefix()
            ));
        }
        match (outcome, remote.clean_up(!keep)) {
            (Ok(elapsed), Ok(())) => Ok(elapsed),
            (Ok(_), Err(left)) => Err(left),
            (Err(wrong), Ok(())) => Err(wrong),
            (Err(wrong), Err(left)) => {
                note(format_args!("anomaly: {left:#}"));
                Err(wrong)
            }
        }
    }

    fn ask(&mut self, remote: &mut Remote, recordings: &[Recording]) -> anyhow::Result<Duration> {
        let foreign = remote.foreign_settings()?;
        if !foreign.is_empty() {
            note(format_args!(
                "anomaly: other rules of the server apply as well: {}",
                foreign.join(", ")
            ));
        }
        self.began = Instant::now();
        for recording in recordings {
            let (bar, done, began) = (&self.bar, self.done, self.began);
            let scores = remote.scores(recording, |rows| {
                show(bar, done + rows as u64, began);
                !self.stop.requested()
            })?;
            match scores {
                Some(scores) => self.take(recording, &scores)?,
                None => break,
            }
        }
        Ok(self.began.elapsed())
    }

    fn take(&mut self, recording: &Recording, scores: &[f64]) -> anyhow::Result<()> {
        self.done += recording.rows.len() as u64;
        if let Some(out) = &self.args.out {
            write(out, recording, scores).with_context(|| format!("--out {}", out.display()))?;
        }
        let scored = Scored::new(scores, &recording.windows);
        self.files.push((recording.name.clone(), scored));
        Ok(())
    }

    fn print(&self, elapsed: Duration) -> anyhow::Result<()> {
        let rate = per_second(self.done, elapsed);
        let mut out = io::stdout().lock();
        match self.args.format {
            Format::Text => {
                write!(out, "{}", report::text(&self.files))?;
                writeln!(
                    out,
                    "{} readings of {} files in {:.1} s, {} readings/s",
                    thousands(self.done),
                    self.files.len(),
                    elapsed.as_secs_f64(),
                    thousands(rate)
                )?;
            }
            Format::Json => {
                let mut object = report::json(&self.files);
                object.insert("readings".into(), json!(self.done));
                object.insert("readings_per_second".into(), json!(rate));
                writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
            }
        }
        out.flush()?;
        Ok(())
    }
}

fn show(bar: &ProgressBar, rows: u64, began: Instant) {
    bar.set_position(rows);
    let rate = thousands(per_second(rows, began.elapsed()));
    bar.set_message(format!("{} readings, {rate}/s", thousands(rows)));
}

fn write(out: &Path, recording: &Recording, scores: &[f64]) -> anyhow::Result<()> {
    fs::create_dir_all(out.join(recording.category()))?;
    let mut text = String::from("timestamp,value,anomaly_score\n");
    for (row, score) in recording.rows.iter().zip(scores) {
        text += &format!("{},{},{score}\n", row.time, row.text);
    }
    fs::write(out.join(&recording.name), text)?;
    Ok(())
}
