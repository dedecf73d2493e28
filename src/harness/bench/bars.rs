//! What was asked for, beside what was measured.

use crate::bench::latency::Told;
use crate::bench::measure::Run;
use crate::bench::memory::Footprint;
use crate::bench::spread::{Spread, of, ratio};
use crate::terminal::thousands;

/// A ratio of processor time: what it is, who, of whom, how much at least.
#[rustfmt::skip]
const RATIOS: &[(&str, &str, &str, f64)] = &[
    ("ADD zscore, of SET", "add-zscore", "set", 1.0),
    ("ADD zscore, of a command that does nothing", "add-zscore", "floor", 0.85),
    ("ADD auto, of SET", "add-auto", "set", 0.80),
    ("ADD zscore + series, of TS.ADD", "add-zscore-series", "ts-add", 0.75),
    ("MADD(50) + series, of TS.MADD(50)", "madd50-series", "ts-madd50", 0.75),
    ("MADD(50), of ADD", "madd50", "add-zscore", 2.5),
    ("XADD scored, of XADD", "scored", "xadd", 0.70),
    ("XADD with a time scored, of the same XADD", "scored-time", "xadd-time", 0.70),
    ("XADD scored and archived, of XADD", "archived", "xadd", 0.42),
    ("XADD with a time scored and archived, of the same XADD", "archived-time", "xadd-time", 0.42),
    ("ADD + series, of a worker in Python", "add-alerts", "worker-python", 25.0),
    ("ADD + series, of a worker in Rust", "add-alerts", "worker-rust", 2.0),
    ("MADD(50) + series, of a worker in Rust", "madd50-alerts", "worker-rust", 4.0),
    ("ADD + series, of a Redis Function", "add-alerts", "function", 5.0),
    // 2.2 times the cost.
    ("ADD with 1,000,000 sensors, of 1,000", "sensors-1m", "sensors-1k", 1.0 / 2.2),
];
const BYTES: &[(&str, f64)] = &[
    ("limits", 160.0),
    ("zscore, window 30", 260.0),
    ("auto", 1200.0),
];

/// A row: what, asked for, measured, met.
pub(crate) fn rows(
    runs: &[Run],
    told: &[Told],
    sizes: &[Footprint],
    pipeline: usize,
) -> Vec<Vec<String>> {
    let head = ["", "asked for", "measured", "min–max", ""];
    let mut table = vec![head.map(String::from).to_vec()];
    for (what, name, base, least) in RATIOS {
        if let Some(Spread { median, min, max }) = ratio(runs, name, base, pipeline) {
            table.push(vec![
                (*what).to_owned(),
                format!("≥ {least:.2}"),
                format!("{median:.2}"),
                format!("{min:.2}–{max:.2}"),
                verdict(median >= *least),
            ]);
        }
    }
    // A worker that takes one entry after the other is bound by round trips, not by the server's processor.
    let rate = |name| Spread::of(of(runs, name, pipeline).map(Run::per_second));
    if let (Some(ours), Some(theirs)) = (rate("add-alerts"), rate("worker-python")) {
        let times = ours.median / theirs.median;
        table.push(vec![
            String::from("ADD + series, of a worker in Python, readings as they come"),
            String::from("≥ 25.00"),
            format!("{times:.2}"),
            String::new(),
            verdict(times >= 25.0),
        ]);
    }
    for (rule, most) in BYTES {
        if let Some(size) = sizes.iter().find(|size| size.rule == *rule) {
            table.push(vec![
                format!("bytes per sensor, {rule}, without series"),
                format!("≤ {most:.0}"),
                format!("{:.0}", size.all_in),
                String::new(),
                verdict(size.all_in <= *most),
            ]);
        }
    }
    table.extend(alert_delay(told));
    table
}

/// XADD to alert, 99th percentile at 10,000 readings a second, against the worker in Rust.
fn alert_delay(told: &[Told]) -> Option<Vec<String>> {
    let at = |name: &str| {
        told.iter()
            .find(|told| told.contestant == name && told.rate == 10_000)
    };
    let (ours, theirs) = (at("xadd-alerts")?.p99?, at("worker-rust")?);
    let what = String::from("p99 from XADD to alert at 10,000/s, of a worker in Rust");
    let (measured, met) = match theirs.p99 {
        Some(theirs) => {
            let times = theirs as f64 / ours.max(1) as f64;
            let both = format!(
                "{times:.1} ({} µs, {} µs)",
                thousands(ours),
                thousands(theirs)
            );
            (both, times >= 10.0)
        }
        None => (format!("it fell behind ({} µs)", thousands(ours)), true),
    };
    let asked = String::from("≥ 10 times lower");
    Some(vec![what, asked, measured, String::new(), verdict(met)])
}

fn verdict(met: bool) -> String {
    String::from(if met { "met" } else { "MISSED" })
}
