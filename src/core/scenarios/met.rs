//! The reduced form that runs with the tests: a few sensors, the same every time. A bar that is met stays met.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use crate::options::{CADENCES, DETECTORS, Options};
use crate::sensor::Sensor;
use crate::suite::{Measured, measure, scenarios};

/// For each cadence: seeds, and days of a run on clean data. A second's readings are many.
const FORM: [(u64, i64); 3] = [(3, 1), (8, 14), (8, 60)];

fn built() -> Vec<&'static str> {
    let all = DETECTORS.into_iter();
    all.filter(|detector| Sensor::new(detector).is_ok())
        .collect()
}

fn figures() -> Vec<Measured> {
    let mut all = Vec::new();
    for (cadence, (seeds, days)) in CADENCES.into_iter().zip(FORM) {
        let options = Options {
            seeds,
            days,
            ..Options::default()
        };
        for scenario in scenarios().iter().filter(|s| s.least_days <= days) {
            for detector in built() {
                all.extend(measure(scenario, cadence, detector, &options).unwrap());
            }
        }
    }
    all
}

fn name(measured: &Measured) -> String {
    format!(
        "{} | {} | {} {}: {} {}",
        measured.detector,
        measured.cadence.name,
        measured.scenario.number,
        measured.scenario.name,
        measured.row.what,
        measured.row.bar.text()
    )
}

#[test]
fn bars_that_were_met_are_met() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/met.txt");
    let figures: BTreeMap<String, Measured> =
        figures().into_iter().map(|m| (name(&m), m)).collect();
    if env::var_os("MET").is_some_and(|what| what == "write") {
        let met = figures.iter().filter(|(_, m)| m.met());
        let lines: String = met.map(|(name, _)| format!("{name}\n")).collect();
        fs::write(&path, lines).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let expected: BTreeSet<&str> = text.lines().collect();
    let broken: Vec<String> = expected
        .iter()
        .filter_map(|name| match figures.get(*name) {
            Some(measured) if measured.met() => None,
            Some(measured) => Some(format!("{name}: now {}", measured.figure)),
            None => Some(format!("{name}: not measured any more")),
        })
        .collect();
    assert!(
        broken.is_empty(),
        "bars of scenarios/met.txt that are met no more:\n{}\n(MET=write writes the file anew, if this is what you want)",
        broken.join("\n")
    );
    for detector in built() {
        assert!(
            expected.iter().any(|name| name.starts_with(detector)),
            "scenarios/met.txt knows nothing of `{detector}`: MET=write cargo test -p anomaly-core --example scenarios"
        );
    }
}
