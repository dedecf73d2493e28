//! What became of each file.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use crate::tally::{Tally, VERDICTS};
use crate::terminal::{harmless, layout, per_second, thousands};

/// Counts of one file.
pub(crate) struct FileReport {
    sensor: String,
    /// Readings sent.
    pub(crate) rows: u64,
    /// Lines that are no readings.
    pub(crate) bad: u64,
    pub(crate) tally: Tally,
    pub(crate) began: Option<Instant>,
    pub(crate) ended: Option<Instant>,
}

impl FileReport {
    pub(crate) fn new(sensor: String) -> Self {
        Self {
            sensor,
            rows: 0,
            bad: 0,
            tally: Tally::default(),
            began: None,
            ended: None,
        }
    }

    fn elapsed(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![harmless(self.sensor.as_bytes()), thousands(self.rows)];
        cells.extend(
            VERDICTS
                .iter()
                .map(|verdict| thousands(self.tally.of(verdict))),
        );
        cells.push(thousands(self.tally.refused()));
        cells.push(thousands(self.bad));
        cells.push(thousands(per_second(self.tally.taken(), self.elapsed())));
        cells
    }
}

/// A line per file, then what the server refused.
pub(crate) fn print(reports: &[FileReport]) -> io::Result<()> {
    let mut head = vec!["sensor", "rows"];
    head.extend(VERDICTS);
    head.extend(["errors", "bad lines", "readings/s"]);
    let mut table = vec![head.into_iter().map(String::from).collect::<Vec<_>>()];
    table.extend(reports.iter().map(FileReport::cells));
    if reports.len() > 1 {
        table.push(total(reports));
    }
    let mut out = io::stdout().lock();
    write!(out, "{}", layout(&table))?;
    for report in reports {
        for refusal in report.tally.refusals() {
            writeln!(
                out,
                "{}: refused {refusal}",
                harmless(report.sensor.as_bytes())
            )?;
        }
        let unanswered = report
            .rows
            .saturating_sub(report.tally.taken() + report.tally.refused());
        if unanswered > 0 {
            writeln!(
                out,
                "{}: {} readings without an answer",
                harmless(report.sensor.as_bytes()),
                thousands(unanswered)
            )?;
        }
    }
    out.flush()
}

fn total(reports: &[FileReport]) -> Vec<String> {
    let sum = |count: &dyn Fn(&FileReport) -> u64| reports.iter().map(count).sum::<u64>();
    let mut cells = vec![
        format!("{} files", reports.len()),
        thousands(sum(&|report| report.rows)),
    ];
    cells.extend(
        VERDICTS
            .iter()
            .map(|verdict| thousands(sum(&|report| report.tally.of(verdict)))),
    );
    cells.push(thousands(sum(&|report| report.tally.refused())));
    cells.push(thousands(sum(&|report| report.bad)));
    let began = reports.iter().filter_map(|report| report.began).min();
    let ended = reports.iter().filter_map(|report| report.ended).max();
    let elapsed = began.zip(ended).map_or(Duration::ZERO, |(began, ended)| {
        ended.saturating_duration_since(began)
    });
    cells.push(thousands(per_second(
        sum(&|report| report.tally.taken()),
        elapsed,
    )));
    cells
}
