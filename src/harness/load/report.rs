//! What `anomaly load` says at the end, and what it injected.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::Schedule;
use crate::inject::{Injection, Kind};
use crate::tally::Tally;
use crate::terminal::{note, per_second, thousands};

/// Injections listed on the terminal; `--injected` has them all.
const LISTED: usize = 20;

/// Counts, and where the injections go.
pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) sent: u64,
    pub(crate) began: Instant,
    pub(crate) elapsed: Duration,
    lines: Option<Box<dyn Write>>,
    /// With the injections on stdout, the summary makes way: stdout is then for a program.
    summary_on_stderr: bool,
    listed: Vec<Injection>,
    kinds: BTreeMap<Kind, u64>,
}

impl Report {
    /// `injected` as given to `--injected`.
    pub(crate) fn open(injected: Option<&Path>) -> anyhow::Result<Self> {
        let on_stdout = injected.is_some_and(|path| path == "-");
        let lines: Option<Box<dyn Write>> = match injected {
            None => None,
            Some(_) if on_stdout => Some(Box::new(io::stdout())),
            Some(path) => {
                let file = File::create(path)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                Some(Box::new(BufWriter::new(file)))
            }
        };
        Ok(Self {
            tally: Tally::default(),
            sent: 0,
            began: Instant::now(),
            elapsed: Duration::ZERO,
            lines,
            summary_on_stderr: on_stdout,
            listed: Vec::new(),
            kinds: BTreeMap::new(),
        })
    }

    /// Notes an anomaly once its last reading is queued.
    pub(crate) fn injected(&mut self, injection: Injection) -> anyhow::Result<()> {
        *self.kinds.entry(injection.kind).or_default() += 1;
        if let Some(lines) = &mut self.lines {
            serde_json::to_writer(&mut *lines, &injection)?;
            lines.write_all(b"\n")?;
        } else if self.listed.len() < LISTED {
            self.listed.push(injection);
        }
        Ok(())
    }

    /// The summary.
    pub(crate) fn close(mut self, schedule: &Schedule) -> anyhow::Result<()> {
        if let Some(lines) = &mut self.lines {
            lines.flush().context("cannot write the injections")?;
        }
        let text = self.summary(schedule);
        if self.summary_on_stderr {
            note(format_args!("{}", text.trim_end()));
        } else {
            io::stdout().write_all(text.as_bytes())?;
        }
        Ok(())
    }

    fn summary(&self, schedule: &Schedule) -> String {
        let injections: u64 = self.kinds.values().sum();
        let mut lines: Vec<String> = Vec::new();
        if injections > 0 {
            let kinds: Vec<String> = self
                .kinds
                .iter()
                .map(|(kind, count)| format!("{} {count}", kind.name()))
                .collect();
            lines.push(format!(
                "injected {}: {}",
                thousands(injections),
                kinds.join(", ")
            ));
        } else {
            lines.push(String::from("injected 0 anomalies"));
        }
        lines.extend(self.listed.iter().map(|injection| format!("  {injection}")));
        let more = injections.saturating_sub(self.listed.len() as u64);
        if self.lines.is_none() && more > 0 {
            lines.push(format!(
                "  … and {} more: --injected FILE lists all",
                thousands(more)
            ));
        }
        lines.push(format!(
            "{} readings in {:.1} s: {} readings/s; {}",
            thousands(self.tally.taken()),
            self.elapsed.as_secs_f64(),
            thousands(per_second(self.tally.taken(), self.elapsed)),
            self.tally.verdicts(),
        ));
        if self.sent > self.tally.taken() + self.tally.refused() {
            let lost = self.sent - self.tally.taken() - self.tally.refused();
            lines.push(format!("{} readings without an answer", thousands(lost)));
        }
        if let Some(asked) = schedule
            .asked()
            .filter(|rate| self.fell_behind(*rate, schedule))
        {
            lines.push(format!(
                "the server did not keep up with {asked} readings per second of each sensor"
            ));
        }
        if self.tally.refused() > 0 {
            lines.push(format!("{} refused:", thousands(self.tally.refused())));
            lines.extend(
                self.tally
                    .refusals()
                    .iter()
                    .map(|refusal| format!("  {refusal}")),
            );
        }
        if self.tally.of("late") > 0 {
            lines.push(String::from(
                "late readings: these sensors already hold newer ones; try --key or --device for new sensors, or a later --start",
            ));
        }
        lines.join("\n") + "\n"
    }

    /// More than a tenth longer than planned, for a run that was not interrupted.
    fn fell_behind(&self, rate: f64, schedule: &Schedule) -> bool {
        schedule
            .count
            .is_some_and(|count| self.elapsed.as_secs_f64() > 1.0 + 1.1 * count as f64 / rate)
    }
}
