//! The one table.

use crate::bench::contestant::ALL;
use crate::bench::latency::Told;
use crate::bench::measure::{Plan, Run};
use crate::bench::memory::Footprint;
use crate::bench::spread::{Spread, of, percentile, ratio};
use crate::bench::traffic::{Nodes, Traffic};
use crate::terminal::{layout, thousands};

const HEAD: [&str; 10] = [
    "",
    "pipeline",
    "server ns",
    "min–max",
    "ratio",
    "min–max",
    "readings/s",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
];

/// A row for each contestant and pipeline, in the order in which they ran; of names as in [`Run::contestant`].
pub(crate) fn rows(runs: &[Run], names: &[String], plan: &Plan) -> Vec<Vec<String>> {
    let mut table = vec![HEAD.map(String::from).to_vec()];
    for &pipeline in &plan.pipelines {
        table.extend(names.iter().filter_map(|name| row(runs, name, pipeline)));
    }
    table
}

fn row(runs: &[Run], name: &str, pipeline: usize) -> Option<Vec<String>> {
    let (short, other) = match name.split_once('@') {
        Some((short, _)) => (short, true),
        None => (name, false),
    };
    let who = ALL.iter().find(|who| who.name == short)?;
    let ns = Spread::of(of(runs, name, pipeline).map(Run::ns_per_reading))?;
    let rate = Spread::of(of(runs, name, pipeline).map(Run::per_second))?;
    let mut latencies: Vec<u32> = of(runs, name, pipeline)
        .flat_map(|run| run.latencies.iter().copied())
        .collect();
    latencies.sort_unstable();
    let title = match other {
        true => format!("{} (other module)", who.title),
        false => who.title.to_owned(),
    };
    let mut row = vec![title, pipeline.to_string()];
    row.push(thousands(ns.median.round() as u64));
    row.push(format!("{:.0}–{:.0}", ns.min, ns.max));
    match ratio(runs, name, who.of, pipeline) {
        Some(ratio) => row.extend([
            format!("{:.2} of {}", ratio.median, who.of),
            format!("{:.2}–{:.2}", ratio.min, ratio.max),
        ]),
        None => row.extend(["", ""].map(String::from)),
    }
    row.push(thousands(rate.median as u64));
    for share in [0.5, 0.99, 0.999] {
        let at = percentile(&latencies, share);
        row.push(at.map_or_else(String::new, |at| thousands(at.as_micros() as u64)));
    }
    Some(row)
}

/// From XADD to alert.
pub(crate) fn delays(told: &[Told]) -> Vec<Vec<String>> {
    let head = ["", "readings/s", "anomalies", "told of", "p50 µs", "p99 µs"];
    let mut table = vec![head.map(String::from).to_vec()];
    for told in told {
        let title = ALL.iter().find(|who| who.name == told.contestant);
        let title = title.map_or("", |who| who.title);
        let micros = |at: Option<u64>| at.map_or_else(|| String::from("fell behind"), thousands);
        let mut row = vec![title.to_owned()];
        row.extend([told.rate, told.anomalies, told.alerts].map(|n| thousands(n as u64)));
        row.extend([micros(told.p50), micros(told.p99)]);
        table.push(row);
    }
    table
}

/// Bytes per sensor.
pub(crate) fn sizes(sizes: &[Footprint]) -> Vec<Vec<String>> {
    let head = ["rule", "all in", "the module's own"];
    let mut table = vec![head.map(String::from).to_vec()];
    table.extend(sizes.iter().map(|size| {
        let own = format!("{:.0}", size.own);
        vec![size.rule.to_owned(), format!("{:.0}", size.all_in), own]
    }));
    table
}

/// Bytes to the append-only file and to a replica.
pub(crate) fn traffic(traffic: &[Traffic]) -> Vec<Vec<String>> {
    let mut table = vec![
        ["", "append-only file", "each replica"]
            .map(String::from)
            .to_vec(),
    ];
    table.extend(traffic.iter().map(|one| {
        let bytes = [one.file, one.replica].map(|bytes| format!("{bytes:.1}"));
        [vec![one.what.to_owned()], bytes.to_vec()].concat()
    }));
    table
}

/// What each node takes.
pub(crate) fn nodes(nodes: &[Nodes]) -> Vec<Vec<String>> {
    let mut table = vec![
        ["", "each alone", "all three at once"]
            .map(String::from)
            .to_vec(),
    ];
    let list = |all: &[f64]| {
        let all: Vec<String> = all.iter().map(|ns| format!("{ns:.0}")).collect();
        all.join(", ")
    };
    table.extend(nodes.iter().map(|one| {
        let lists = [list(&one.alone), list(&one.together)];
        [vec![one.what.to_owned()], lists.to_vec()].concat()
    }));
    table
}

/// What the module takes of the processor against the other module's, where there are two.
pub(crate) fn against(runs: &[Run], names: &[String], plan: &Plan) -> String {
    let mut table = Vec::new();
    for name in names {
        let other = format!("{name}@other");
        for &pipeline in &plan.pipelines {
            if let Some(ratio) = ratio(runs, name, &other, pipeline) {
                let spread = format!("{:.2}–{:.2}", ratio.min, ratio.max);
                let median = format!("{:.3}", ratio.median);
                table.push(vec![name.clone(), pipeline.to_string(), median, spread]);
            }
        }
    }
    match table.is_empty() {
        true => String::new(),
        false => format!(
            "\nreadings per processor time, as a multiple of the other module's\n{}",
            layout(&table)
        ),
    }
}
