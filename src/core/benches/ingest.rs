//! What one reading costs inside the core: judged, alarmed and learnt, without Redis around it; and what it costs to
//! read the entry of a watched stream that it may come from.
//!
//! `cargo bench -p anomaly-core`. The figure is the time of one reading. One sensor stays in the processor's innermost
//! cache; 10,000 in turn, some 4 MB of models, do not.

use std::hint::black_box;

use anomaly_core::command::{config, watch};
use anomaly_core::shape::Shape;
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model, Reading, Rules, StreamId, entry};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RULES: [(&str, &str); 11] = [
    ("limits", "max 28 critical-max 35"),
    ("zscore-30", "zscore 4 window 30"),
    ("mad-30", "mad 6 window 30"),
    ("mad-300", "mad 6 window 300"),
    ("mad-3000", "mad 6 window 3000"),
    ("mad-10000", "mad 6 window 10000"),
    ("ewma", "ewma 4"),
    ("rate", "rate 100"),
    ("cusum", "cusum 8"),
    ("stuck", "stuck 60000 auto off"),
    ("auto", "auto on"),
];
/// Sensors in turn, unless their windows would take more memory than that is worth.
const FLEETS: [usize; 2] = [1, 10_000];

fn rules(settings: &str) -> Result<Rules, Error> {
    let words: Vec<&[u8]> = settings.split(' ').map(str::as_bytes).collect();
    let mut rules = Rules::default();
    rules.set(b"sensor:*", &config::changes(&words)?)?;
    Ok(rules)
}

/// Readings that a rule compares with.
fn window(settings: &str) -> usize {
    let words = settings.split(' ').skip_while(|word| *word != "window");
    words.last().and_then(|n| n.parse().ok()).unwrap_or(30)
}

/// Sensors that are warm, and a signal that rarely is abnormal.
struct Fleet {
    rules: Rules,
    sensors: Vec<(Vec<u8>, Model)>,
    next: usize,
    now: i64,
    noise: u64,
}

impl Fleet {
    fn new(rules: Rules, sensors: usize, window: usize) -> Self {
        let mut fleet = Self {
            rules,
            sensors: (0..sensors)
                .map(|i| {
                    (
                        format!("sensor:{i}:temperature").into_bytes(),
                        Model::default(),
                    )
                })
                .collect(),
            next: 0,
            now: 0,
            noise: 1,
        };
        for _ in 0..sensors * (window + 30) {
            fleet.reads();
        }
        fleet
    }

    fn reads(&mut self) {
        if self.next == self.sensors.len() {
            (self.next, self.now) = (0, self.now + 1000);
        }
        // Knuth's MMIX generator; the sum of two even ones is noise enough.
        self.noise = self
            .noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let value = 20.0 + ((self.noise >> 40 & 0xfff) as f64 + (self.noise >> 52) as f64) / 4096.0;
        let reading = Timestamp::from_millis(self.now).map(|at| Reading { at, value });
        if let (Some((key, model)), Some(reading)) = (self.sensors.get_mut(self.next), reading) {
            black_box(model.ingest(key, reading, &mut self.rules));
        }
        self.next += 1;
    }
}

fn ingest(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest");
    group.throughput(Throughput::Elements(1));
    for (name, settings) in RULES {
        let window = window(settings);
        for sensors in FLEETS.into_iter().filter(|n| *n == 1 || window <= 300) {
            match rules(settings) {
                Ok(rules) => {
                    let mut fleet = Fleet::new(rules, sensors, window);
                    group.bench_function(BenchmarkId::new(name, sensors), |b| {
                        b.iter(|| fleet.reads());
                    });
                }
                Err(error) => eprintln!("{name}: {error}"),
            }
        }
    }
}

/// Entries of watched streams: the options of the watch, and the fields.
type Example = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);
const SHAPES: [Example; 4] = [
    (
        "plain",
        &[],
        &[
            ("device_id", "inrow-ABC-1"),
            ("temperature", "22.5"),
            ("timestamp", "1754300000"),
        ],
    ),
    (
        "pair-rfc3339",
        &["METRIC", "metric_type", "VALUE", "value"],
        &[
            ("sensor_id", "weather-1"),
            ("metric_type", "humidity"),
            ("value", "61"),
            ("timestamp", "2025-07-28T10:00:00Z"),
        ],
    ),
    (
        "json-3-metrics",
        &["JSON", "data"],
        &[(
            "data",
            r#"{"device_id":"d1","temperature":21.4,"humidity":40.2,"pressure":1013}"#,
        )],
    ),
    (
        "by-stream",
        &["KEY", "$stream:$metric"],
        &[("temp", "21.4")],
    ),
];

fn entries(c: &mut Criterion) {
    let mut group = c.benchmark_group("entry");
    group.throughput(Throughput::Elements(1));
    let id = StreamId {
        ms: 1_754_300_000_000,
        seq: 0,
    };
    for (name, options, fields) in SHAPES {
        let options: Vec<&[u8]> = options.iter().map(|word| word.as_bytes()).collect();
        let fields: Vec<(&[u8], &[u8])> = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
            .collect();
        match watch::parse_set(b"raw:*", &options, false) {
            Ok((watch, _)) => {
                group.bench_function(name, |b| {
                    let names: Vec<&[u8]> = fields.iter().map(|(name, _)| *name).collect();
                    let shape = Shape::new(&watch, b"raw:1", &names);
                    let values: Vec<&[u8]> = fields.iter().map(|(_, value)| *value).collect();
                    b.iter(|| {
                        let values = black_box(&values);
                        let items =
                            entry::read(&watch, b"raw:1", Some(id.ms), &shape, values, false);
                        items.len()
                    });
                });
            }
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
}

criterion_group!(benches, ingest, entries);
criterion_main!(benches);
