//! Scenarios 8 and 9: readings that are lost, repeated, out of order, or stamped by a clock that jumps.

use anomaly_core::{Error, codec, units};

use crate::dice::Dice;
use crate::figure::{Bar, Of, Row, Sample};
use crate::recording::Recording;
use crate::scenario::{Run, Scenario};
use crate::sensor::Sensor;
use crate::signal::{DAY, HOUR, Noise, Shape, Signal};

/// Share of the readings that are lost.
const LOSS: f64 = 0.1;
/// Share of the readings that come twice.
const REPEATED: f64 = 0.05;
/// Readings that are shuffled together.
const SHUFFLED: usize = 5;
/// An alarm that comes so many readings sooner or later is the same alarm.
const SAME: usize = 5;
/// Repeats of a run after which the state is compared with what it was.
const COMPARED: usize = 500;

const ALARMS_KEPT: Row = Row {
    what: "alarms kept within ±5 readings %",
    of: Of::Percent,
    bar: Bar::AtLeast(98.0),
};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: 8,
        name: "10 % lost and an outage of 12 h",
        rows: &[
            Row {
                what: "FPD after day 8 ÷ FPD without loss",
                of: Of::Times(0.02),
                bar: Bar::AtMost(1.5),
            },
            Row {
                what: "alerts in the first hour back (p99)",
                of: Of::P99,
                bar: Bar::AtMost(1.0),
            },
        ],
        least_days: 12,
        run: loss,
    },
    Scenario {
        number: 9,
        name: "5 % repeated",
        rows: &[
            ALARMS_KEPT,
            Row {
                what: "repeats that change the state",
                of: Of::Max,
                bar: Bar::AtMost(0.0),
            },
        ],
        least_days: 1,
        run: repeated,
    },
    Scenario {
        number: 9,
        name: "order shuffled within 5",
        rows: &[ALARMS_KEPT],
        least_days: 1,
        run: shuffled,
    },
    Scenario {
        number: 9,
        name: "NaN and infinities",
        rows: &[Row {
            what: "accepted",
            of: Of::Max,
            bar: Bar::AtMost(0.0),
        }],
        least_days: 1,
        run: not_finite,
    },
    Scenario {
        number: 9,
        name: "clock jumps of ±1 h, ±1 year",
        rows: &[Row {
            what: "alerts in the next 24 h (p99)",
            of: Of::P99,
            bar: Bar::AtMost(2.0),
        }],
        least_days: 9,
        run: jump,
    },
];

/// A daily cycle, once as it is and once with losses and an outage in its middle third.
fn loss(run: &Run) -> Result<Vec<Sample>, Error> {
    let mut dice = run.dice();
    let n = run.length();
    let from = run.readings(8 * DAY).max(n / 3) + dice.below(n / 6);
    let back = from + run.readings(12 * HOUR);
    let hour = back..back + run.hours(1);
    let (mut whole, mut torn) = (run.sensor()?, run.sensor()?);
    let mut signal = Signal::new(Shape::Daily, Noise::White, run.seed);
    let (mut false_alerts, mut with_loss, mut on_return) = (0, 0, 0);
    for index in 0..n {
        let at = run.time(index);
        let value = signal.at(at);
        let counts = index >= run.readings(8 * DAY);
        if whole.fires(at, value) && counts {
            false_alerts += 1;
        }
        let lost = (from..back).contains(&index) || dice.uniform() < LOSS;
        if !lost && torn.fires(at, value) {
            if hour.contains(&index) {
                on_return += 1;
            } else if counts {
                with_loss += 1;
            }
        }
    }
    let days = run.days as f64 - 8.0;
    Ok(vec![
        Sample {
            of: f64::from(with_loss) / (days - 0.5),
            out_of: f64::from(false_alerts) / days,
        },
        Sample::value(f64::from(on_return)),
    ])
}

/// How many of these alarms another list has too.
fn kept(alarms: &[usize], others: &[usize]) -> Sample {
    let same = |alarm: &&usize| others.iter().any(|other| other.abs_diff(**alarm) <= SAME);
    Sample::ratio(alarms.iter().filter(same).count(), alarms.len() as f64)
}

fn repeated(run: &Run) -> Result<Vec<Sample>, Error> {
    let recording = Recording::of(run);
    let mut dice = Dice::new(run.seed, 3);
    let mut sensor = run.sensor()?;
    let (mut alarms, mut changed, mut repeats) = (Vec::new(), 0, 0);
    for (index, (at, value)) in recording.readings(run).enumerate() {
        if sensor.fires(at, value) {
            alarms.push(index);
        }
        if dice.uniform() < REPEATED {
            repeats += 1;
            let before = (repeats <= COMPARED).then(|| state(&sensor));
            if sensor.fires(at, value) {
                alarms.push(index);
            }
            if before.is_some_and(|before| before != state(&sensor)) {
                changed += 1;
            }
        }
    }
    Ok(vec![
        kept(&recording.alarms(run, run.sensor()?), &alarms),
        Sample::value(f64::from(changed)),
    ])
}

/// What is stored of a sensor, but for the counter of repeats.
fn state(sensor: &Sensor) -> Vec<u8> {
    let mut model = sensor.model.clone();
    model.duplicates = 0;
    codec::save(&model)
}

fn shuffled(run: &Run) -> Result<Vec<Sample>, Error> {
    let recording = Recording::of(run);
    let mut dice = Dice::new(run.seed, 4);
    let mut readings: Vec<(usize, (i64, f64))> = recording.readings(run).enumerate().collect();
    for together in readings.chunks_mut(SHUFFLED) {
        for last in (1..together.len()).rev() {
            together.swap(last, dice.below(last + 1));
        }
    }
    let mut sensor = run.sensor()?;
    let alarms: Vec<usize> = readings
        .into_iter()
        .filter(|(_, (at, value))| sensor.fires(*at, *value))
        .map(|(index, _)| index)
        .collect();
    Ok(vec![kept(&recording.alarms(run, run.sensor()?), &alarms)])
}

fn not_finite(_: &Run) -> Result<Vec<Sample>, Error> {
    let texts = ["nan", "NaN", "-nan", "inf", "-inf", "+Infinity", "1e999"];
    let accepted = texts.map(|text| units::parse_value(text.as_bytes()).is_ok());
    let accepted = accepted.iter().filter(|accepted| **accepted).count();
    Ok(vec![Sample::value(accepted as f64)])
}

fn jump(run: &Run) -> Result<Vec<Sample>, Error> {
    let onset = run.after_days(9, &mut run.dice());
    let jumps = [HOUR, -HOUR, 365 * DAY, -365 * DAY];
    let jump = jumps[run.seed as usize % jumps.len()];
    let mut signal = Signal::new(Shape::Daily, Noise::White, run.seed);
    let mut sensor = run.learnt(&mut signal, onset)?;
    let mut alerts = 0;
    // A clock that was set back is believed after 30 readings: a day of hours would end before.
    for index in onset..onset + run.readings(DAY).max(100) {
        let at = run.time(index);
        let value = signal.at(at);
        if sensor.fires(at + jump, value) {
            alerts += 1;
        }
    }
    Ok(vec![Sample::value(f64::from(alerts))])
}
