//! A warm sensor takes in a reading without asking for memory: parsed, judged, alarmed, learnt.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use allocation_counter::measure;
use anomaly_core::command::add::Add;
use anomaly_core::command::config;
use anomaly_core::reading::When;
use anomaly_core::{Model, Reading, Rules};

const KEY: &[u8] = b"sensor:1:temperature";
/// More than any window here holds.
const WARM: i64 = 500;
const READINGS: i64 = 2_000;

/// Arguments of a reading, and the reading as ADD reads them.
fn read(at: i64) -> Reading {
    let value = 20 + at * 7919 % 13;
    let (at, value) = ((at * 1000).to_string(), value.to_string());
    let mut read = None;
    let parsed = measure(|| read = Some(Add::parse(at.as_bytes(), value.as_bytes(), None)));
    assert_eq!(parsed.count_total, 0, "parsing allocates");
    let add = read.unwrap().unwrap();
    let When::At(at) = add.when else {
        panic!("the time was given");
    };
    Reading {
        at,
        value: add.value,
    }
}

fn allocated(settings: &str) -> u64 {
    let words: Vec<&[u8]> = settings.split(' ').map(str::as_bytes).collect();
    let mut rules = Rules::default();
    rules
        .set(b"sensor:*", &config::changes(&words).unwrap())
        .unwrap();
    let mut model = Model::default();
    for at in 0..WARM {
        model.ingest(KEY, read(at), &mut rules);
    }
    let mut total = 0;
    for at in WARM..WARM + READINGS {
        let reading = read(at);
        total += measure(|| {
            model.ingest(KEY, reading, &mut rules);
        })
        .count_total;
    }
    assert_eq!(model.readings(), (WARM + READINGS) as u64, "{settings}");
    total
}

#[test]
fn a_warm_sensor_takes_in_a_reading_without_asking_for_memory() {
    for settings in [
        "min 0 max 100",
        "zscore 4 window 30",
        "mad 6 window 30",
        "ewma 4",
        "cusum 8",
        "rate 100",
        "stuck 60000 auto off",
        "auto on",
        "zscore 4 window 30 recent 60",
        "zscore 4 mad 6 window 300 ewma 4 cusum 8 min 0 max 100 nodata 60000",
    ] {
        assert_eq!(allocated(settings), 0, "{settings}");
    }
}

#[test]
fn what_is_counted_is_what_is_allocated() {
    assert_eq!(
        measure(|| drop(std::hint::black_box(vec![1]))).count_total,
        1
    );
}
