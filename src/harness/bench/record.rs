//! Writes a measurement down: a page for people, and every run for who wants to reckon again.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use crate::bench::latency::Told;
use crate::bench::machine::Machine;
use crate::bench::measure::Run;
use crate::bench::memory::Footprint;
use crate::bench::traffic::{Nodes, Traffic};

/// All there is.
#[derive(Serialize)]
pub(crate) struct Record<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) sensors: usize,
    pub(crate) rounds: usize,
    pub(crate) runs: &'a [Run],
    pub(crate) xadd_to_alert: &'a [Told],
    pub(crate) bytes_per_sensor: &'a [Footprint],
    pub(crate) bytes_per_reading: &'a [Traffic],
    pub(crate) cluster_ns_per_reading: &'a [Nodes],
}

/// Writes `bench-DAY-COMMIT.md` and `.json`.
pub(crate) fn write(
    dir: &Path,
    record: &Record<'_>,
    tables: &[(&str, Vec<Vec<String>>)],
) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let machine = record.machine;
    let name = format!("bench-{}-{}", machine.day, machine.commit.replace(' ', "-"));
    let mut page = format!(
        "# anomaly bench, {}\n\n{}\n\n{} rounds, {} sensors of each contestant unless it says otherwise. `anomaly bench --help` says \
         what the figures mean; the runs are in {name}.json.\n",
        machine.day,
        machine.text(),
        record.rounds,
        record.sensors
    );
    for (title, table) in tables.iter().filter(|(_, table)| table.len() > 1) {
        page += &format!("\n## {title}\n\n{}", markdown(table));
    }
    let place = dir.join(&name);
    let wrote = "cannot write the record";
    fs::write(place.with_extension("md"), page).context(wrote)?;
    let mut json = serde_json::to_string(record)?;
    // A line for each run, so that a difference can be read.
    json = json.replace("},{", "},\n{");
    json.push('\n');
    fs::write(place.with_extension("json"), json).context(wrote)?;
    Ok(())
}

fn markdown(table: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, row) in table.iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if index == 0 {
            text += &format!("|{}\n", "---|".repeat(row.len()));
        }
    }
    text
}
