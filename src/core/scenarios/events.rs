//! Scenarios 3 to 7: something happens to a sensor that has been watched for two days, and is to be caught.

use anomaly_core::Error;

use crate::figure::{Bar, Of, Row, Sample};
use crate::scenario::{Run, Scenario};
use crate::signal::{DAY, LEVEL, Noise, START, Shape, Signal};

/// Within so many readings an event must be caught, where its scenario does not say otherwise.
const SOON: usize = 60;

const fn caught(what: &'static str, percent: f64) -> Row {
    Row {
        what,
        of: Of::Percent,
        bar: Bar::AtLeast(percent),
    }
}

const fn at_most(what: &'static str, alerts: f64) -> Row {
    Row {
        what,
        of: Of::P99,
        bar: Bar::AtMost(alerts),
    }
}

const fn delay(readings: f64) -> Row {
    Row {
        what: "median delay, readings",
        of: Of::Median,
        bar: Bar::AtMost(readings),
    }
}

const fn event(
    number: u8,
    name: &'static str,
    rows: &'static [Row],
    run: fn(&Run) -> Result<Vec<Sample>, Error>,
) -> Scenario {
    Scenario {
        number,
        name,
        rows,
        least_days: 1,
        run,
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    event(
        3,
        "level shift of 3 sd",
        &[
            caught("caught %", 95.0),
            delay(10.0),
            at_most("alerts in the next 24 h (p99)", 2.0),
        ],
        |run| shift(run, 3.0),
    ),
    event(
        3,
        "level shift of 5 sd",
        &[
            caught("caught %", 99.0),
            delay(3.0),
            at_most("alerts in the next 24 h (p99)", 2.0),
        ],
        |run| shift(run, 5.0),
    ),
    event(
        4,
        "spike of 8 sd",
        &[
            caught("caught on the reading %", 85.0),
            at_most("further alerts in 60 readings (p99)", 0.0),
        ],
        |run| spike(run, 8.0),
    ),
    event(
        4,
        "spike of 20 sd",
        &[
            caught("caught on the reading %", 97.0),
            at_most("further alerts in 60 readings (p99)", 0.0),
        ],
        |run| spike(run, 20.0),
    ),
    event(
        5,
        "constant",
        &[Row {
            what: "alerts of the worst sensor",
            of: Of::Max,
            bar: Bar::AtMost(0.0),
        }],
        constant,
    ),
    event(
        5,
        "first change after a day",
        &[caught("caught on the reading %", 100.0)],
        first_change,
    ),
    event(
        5,
        "noise stuck for 3 h",
        &[caught("caught in 60 readings %", 90.0)],
        stuck,
    ),
    event(
        6,
        "counter with resets, rate ×3",
        &[caught("caught in 15 readings %", 95.0)],
        |run| faster(run, Shape::Counter { resets: true }),
    ),
    event(
        6,
        "counter, free-running, rate ×3",
        &[caught("caught in 15 readings %", 95.0)],
        |run| faster(run, Shape::Counter { resets: false }),
    ),
    event(
        7,
        "ramp of 1 sd per hour",
        &[caught("caught in 2 h %", 80.0)],
        ramp,
    ),
    event(
        7,
        "drift of 1 sd per week",
        &[at_most("alerts per week (p99)", 1.0)],
        drift,
    ),
];

fn white(run: &Run) -> Signal {
    Signal::new(Shape::Flat, Noise::White, run.seed)
}

/// Of readings that fired, how many until the first one from `onset` on, if it came within `readings`.
fn delay_of(fired: &[usize], onset: usize, readings: usize) -> Option<usize> {
    let first = fired.iter().find(|index| **index >= onset)?;
    Some(first - onset).filter(|delay| *delay < readings)
}

fn shift(run: &Run, height: f64) -> Result<Vec<Sample>, Error> {
    let mut dice = run.dice();
    let (onset, height) = (run.history(&mut dice), height * dice.sign());
    let mut signal = white(run);
    let mut sensor = run.learnt(&mut signal, onset)?;
    let day = onset..onset + run.readings(DAY).max(SOON);
    let fired = run.feed(&mut sensor, day, |_, at| signal.at(at) + height);
    let delay = delay_of(&fired, onset, SOON);
    let today = fired
        .iter()
        .filter(|index| **index < onset + run.readings(DAY))
        .count();
    Ok(vec![
        Sample::whether(delay.is_some()),
        Sample::value(delay.map_or(f64::INFINITY, |readings| readings as f64)),
        Sample::value(today as f64),
    ])
}

fn spike(run: &Run, height: f64) -> Result<Vec<Sample>, Error> {
    let mut dice = run.dice();
    let (onset, height) = (run.history(&mut dice), height * dice.sign());
    let mut signal = white(run);
    let mut sensor = run.learnt(&mut signal, onset)?;
    let fired = run.feed(&mut sensor, onset..onset + 1 + SOON, |index, at| {
        signal.at(at) + if index == onset { height } else { 0.0 }
    });
    let further = fired.iter().filter(|index| **index > onset).count();
    Ok(vec![
        Sample::whether(fired.first() == Some(&onset)),
        Sample::value(further as f64),
    ])
}

fn constant(run: &Run) -> Result<Vec<Sample>, Error> {
    let mut sensor = run.sensor()?;
    let fired = run.feed(&mut sensor, 0..run.length(), |_, _| LEVEL);
    Ok(vec![Sample::value(fired.len() as f64)])
}

fn first_change(run: &Run) -> Result<Vec<Sample>, Error> {
    let mut dice = run.dice();
    let onset = run.after_days(1, &mut dice);
    // From a hundredth to a hundred.
    let change = libm::pow(10.0, 4.0 * dice.uniform() - 2.0) * dice.sign();
    let mut sensor = run.sensor()?;
    run.feed(&mut sensor, 0..onset, |_, _| LEVEL);
    let fired = sensor.fires(run.time(onset), LEVEL + change);
    Ok(vec![Sample::whether(fired)])
}

fn stuck(run: &Run) -> Result<Vec<Sample>, Error> {
    let onset = run.history(&mut run.dice());
    let mut signal = white(run);
    let mut sensor = run.learnt(&mut signal, onset)?;
    let Some(last) = sensor.model.newest() else {
        return Ok(vec![Sample::whether(false)]);
    };
    let fired = run.feed(&mut sensor, onset..onset + SOON, |_, _| last.value);
    Ok(vec![Sample::whether(!fired.is_empty())])
}

fn faster(run: &Run, shape: Shape) -> Result<Vec<Sample>, Error> {
    let onset = run.history(&mut run.dice());
    let mut signal = Signal::new(shape, Noise::White, run.seed);
    let mut sensor = run.learnt(&mut signal, onset)?;
    signal.rate = 3.0;
    let fired = run.feed(&mut sensor, onset..onset + 15, |_, at| signal.at(at));
    Ok(vec![Sample::whether(!fired.is_empty())])
}

fn ramp(run: &Run) -> Result<Vec<Sample>, Error> {
    let mut dice = run.dice();
    let (onset, side) = (run.history(&mut dice), dice.sign());
    let mut signal = white(run);
    let mut sensor = run.learnt(&mut signal, onset)?;
    let hour = run.hours(1) as f64;
    let fired = run.feed(&mut sensor, onset..onset + run.hours(2), |index, at| {
        signal.at(at) + side * (index - onset) as f64 / hour
    });
    Ok(vec![Sample::whether(!fired.is_empty())])
}

fn drift(run: &Run) -> Result<Vec<Sample>, Error> {
    let week = 7 * DAY;
    let slope = run.dice().sign() / week as f64;
    let mut signal = Signal::new(Shape::Drift(slope), Noise::White, run.seed);
    let mut sensor = run.sensor()?;
    let fired = run.feed(&mut sensor, 0..run.length(), |_, at| signal.at(at));
    let weeks = (run.time(run.length()) - START) as f64 / week as f64;
    Ok(vec![Sample::value(fired.len() as f64 / weeks.max(1.0))])
}
