//! The table: a line for each figure, the detectors side by side.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::time::Instant;

use crate::options::{Options, refusal};
use crate::sensor::Sensor;
use crate::suite::{Measured, measure, scenarios};
use crate::{trace, upkeep};

const LEGEND: &str = "\
A sensor for each seed. sd: the standard deviation of its noise, 1, around a level of 20; the noise is white unless it is named.
FPD: firing alerts per sensor-day on data in which nothing is wrong, from the first reading whose verdict is not `warmup`.
Events come after 2 days (300 readings if that is more, and up to a tenth more, by seed); what is clean or drifts lasts DAYS.
caught: an alert `firing` within 60 readings of the first abnormal one, unless the row says otherwise. An episode that was open
  already does not count; an alert that is false by chance does: read it beside FPD. delay: in readings, 0 is the first one.
p99: what 99 in 100 sensors stay at or below. An hour is 60 readings where readings come less often.
2: a sine of 5 sd to either side, a third of it at weekends. 6: 10 ± 3 events per reading, resets every 3 days on average.
8: daily cycle of 5 sd; FPD from day 8 on, the first hour after the outage apart; where there is less than .02 without loss, that.
9, 10: white noise with three shifts of 10 sd for 30 readings in 3 days; all alarms, 10 at the very same reading.
   Readings that come too late are not scored, so shuffling leaves a sensor about half of its readings.
! marks a figure that does not keep to its bar.";

/// Runs everything and prints it, line by line as it is known.
///
/// # Errors
/// What went wrong, in a sentence.
pub(crate) fn print(options: &Options) -> Result<(), String> {
    let built: Vec<&str> = options
        .detectors
        .iter()
        .map(String::as_str)
        .filter(|detector| match Sensor::new(detector) {
            Ok(_) => true,
            Err(wrong) => {
                eprintln!("scenarios: without `{detector}`: {}", refusal(&wrong));
                false
            }
        })
        .collect();
    let mut out = io::stdout().lock();
    let broken = |error: io::Error| format!("cannot write the table: {error}");
    writeln!(out, "{LEGEND}\n").map_err(broken)?;
    write!(out, "{:>2}  {:<74} {:>5}  {:>8}", "", "", "every", "bar").map_err(broken)?;
    for detector in &built {
        write!(out, " {detector:>10} ").map_err(broken)?;
    }
    writeln!(out).map_err(broken)?;
    let began = Instant::now();
    let mut all = Vec::new();
    for scenario in scenarios() {
        if !options.scenarios.contains(&scenario.number) {
            continue;
        }
        for cadence in &options.cadences {
            let mut columns = Vec::new();
            for detector in &built {
                columns.push(measure(&scenario, *cadence, detector, options)?);
            }
            for place in 0..scenario.rows.len() {
                let line: Vec<Measured> =
                    columns.iter().map(|column| column[place].clone()).collect();
                writeln!(out, "{}", text(&line)).map_err(broken)?;
                all.extend(line);
            }
            out.flush().map_err(broken)?;
        }
    }
    writeln!(out, "\n{}", summary(&built, &all)).map_err(broken)?;
    if options.scenarios.contains(&10) {
        for detector in &built {
            let ns = upkeep::nanoseconds(detector).map_err(|wrong| refusal(&wrong))?;
            writeln!(
                out,
                "10  {detector}: {ns:.0} ns per reading over 100,000 sensors (bar: 1000; on this machine, now)"
            )
            .map_err(broken)?;
        }
    }
    writeln!(
        out,
        "{} sensors for each figure, {} days, {} s",
        options.seeds,
        options.days,
        began.elapsed().as_secs()
    )
    .map_err(broken)?;
    if let Some(path) = &options.csv {
        fs::write(path, csv(&all)).map_err(|error| format!("CSV={path}: {error}"))?;
    }
    if let Some(path) = &options.trace {
        let csv = trace::csv(&built).map_err(|wrong| refusal(&wrong))?;
        fs::write(path, csv).map_err(|error| format!("TRACE={path}: {error}"))?;
    }
    Ok(())
}

/// One figure for each detector.
fn text(line: &[Measured]) -> String {
    let Some(first) = line.first() else {
        return String::new();
    };
    let mut text = format!(
        "{:>2}  {:<74} {:>5}  {:>8}",
        first.scenario.number,
        format!("{}: {}", first.scenario.name, first.row.what),
        first.cadence.name,
        first.row.bar.text()
    );
    for measured in line {
        let mark = if measured.met() { ' ' } else { '!' };
        let width = measured.detector.len().max(10);
        let _ = write!(text, " {:>width$}{mark}", short(measured.figure));
    }
    text
}

/// Three significant digits.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        x if x.is_nan() => "none".into(),
        x if x.is_infinite() => "never".into(),
        x if x == 0.0 || (x >= 1.0 && x.fract() == 0.0) || x >= 1000.0 => format!("{figure:.0}"),
        x if x >= 100.0 => format!("{figure:.1}"),
        x if x >= 1.0 => format!("{figure:.2}"),
        x if x >= 0.0095 => format!("{figure:.3}"),
        _ => format!("{figure:.5}"),
    }
}

fn summary(detectors: &[&str], all: &[Measured]) -> String {
    let mut lines = Vec::new();
    for detector in detectors {
        let of: Vec<_> = all.iter().filter(|m| m.detector == *detector).collect();
        let met = of.iter().filter(|measured| measured.met()).count();
        lines.push(format!("{detector}: {met} of {} bars met", of.len()));
    }
    lines.join("\n")
}

/// The figures with all their digits, for scripts.
fn csv(all: &[Measured]) -> String {
    let mut text = String::from("scenario,name,what,cadence,detector,bar,figure,met\n");
    for m in all {
        let _ = writeln!(
            text,
            "{},\"{}\",\"{}\",{},{},{},{},{}",
            m.scenario.number,
            m.scenario.name,
            m.row.what,
            m.cadence.name,
            m.detector,
            m.row.bar.text(),
            m.figure,
            m.met()
        );
    }
    text
}
