//! Scenario 10: saving and loading, other units, bytes and time.

use std::hint::black_box;
use std::time::Instant;

use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model, Reading, codec};

use crate::dice::Dice;
use crate::figure::{Bar, Of, Row, Sample};
use crate::recording::Recording;
use crate::scenario::{Run, Scenario};
use crate::sensor::rules;
use crate::signal::LEVEL;

/// Share of the readings after which the sensor is saved and loaded.
const SAVED: f64 = 0.02;

const ALARMS_STAY: Row = Row {
    what: "alarms that stay %",
    of: Of::Percent,
    bar: Bar::AtLeast(99.0),
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: 10,
        name: "saved and loaded at any reading",
        rows: &[
            Row {
                what: "scores that differ afterwards",
                of: Of::Max,
                bar: Bar::AtMost(0.0),
            },
            Row {
                what: "bytes of the largest model",
                of: Of::Max,
                bar: Bar::AtMost(1024.0),
            },
        ],
        least_days: 1,
        run: saved,
    },
    Scenario {
        number: 10,
        name: "values × 1e-9 to 1e9",
        rows: &[ALARMS_STAY],
        least_days: 1,
        run: scaled,
    },
    Scenario {
        number: 10,
        name: "values + 1e6",
        rows: &[ALARMS_STAY],
        least_days: 1,
        run: |run| played_as(run, 1.0, 1e6),
    },
];

fn saved(run: &Run) -> Result<Vec<Sample>, Error> {
    let recording = Recording::of(run);
    let mut dice = Dice::new(run.seed, 6);
    let (mut kept, mut stored) = (run.sensor()?, run.sensor()?);
    let mut differ = 0;
    for (at, value) in recording.readings(run) {
        if dice.uniform() < SAVED {
            stored.model = codec::load(&codec::save(&stored.model))?;
        }
        let fired = (kept.fires(at, value), stored.fires(at, value));
        let scores = (kept.model.score().to_bits(), stored.model.score().to_bits());
        if fired.0 != fired.1 || scores.0 != scores.1 {
            differ += 1;
        }
    }
    Ok(vec![
        Sample::value(f64::from(differ)),
        Sample::value(kept.model.bytes() as f64),
    ])
}

fn scaled(run: &Run) -> Result<Vec<Sample>, Error> {
    let exponent = run.seed as usize % 19;
    played_as(run, libm::pow(10.0, exponent as f64 - 9.0), 0.0)
}

fn played_as(run: &Run, scale: f64, offset: f64) -> Result<Vec<Sample>, Error> {
    let recording = Recording::of(run);
    let alarms = recording.alarms(run, run.sensor()?);
    let others = recording.in_unit(scale, offset).alarms(run, run.sensor()?);
    let stay = alarms.iter().filter(|alarm| others.contains(alarm)).count();
    Ok(vec![Sample::ratio(stay, alarms.len() as f64)])
}

/// Sensors of the fleet that is timed.
const FLEET: usize = 100_000;
/// Readings of each before the clock is started: the warm-up of every detector.
const WARMING: usize = 200;
/// And after.
const TIMED: usize = 10;

/// Nanoseconds per reading over 100,000 sensors in turn, which no processor's cache holds, at one reading a minute.
pub(crate) fn nanoseconds(detector: &str) -> Result<f64, Error> {
    let mut rules = rules(detector)?;
    let mut fleet: Vec<(Vec<u8>, Model)> = (0..FLEET)
        .map(|index| (format!("sensor:{index}").into_bytes(), Model::default()))
        .collect();
    let mut dice = Dice::new(0, 7);
    let noise: Vec<f64> = (0..4096).map(|_| LEVEL + dice.normal()).collect();
    let mut began = Instant::now();
    for round in 0..WARMING + TIMED {
        if round == WARMING {
            began = Instant::now();
        }
        let at = Timestamp::ZERO.plus(60_000 * round as u64);
        for (index, (key, model)) in fleet.iter_mut().enumerate() {
            let value = noise[(index * 31 + round * 7) % noise.len()];
            black_box(model.ingest(key, Reading { at, value }, &mut rules));
        }
    }
    Ok(began.elapsed().as_nanos() as f64 / (FLEET * TIMED) as f64)
}
