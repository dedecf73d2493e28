//! Scenarios 1, 2 and 6: nothing is wrong, and alerts are false.

use anomaly_core::Error;

use crate::figure::{Bar, Of, Row, Sample};
use crate::scenario::{Run, Scenario};
use crate::signal::{DAY, Noise, Shape, Signal};

/// False alerts per sensor-day.
const FPD: Row = Row {
    what: "FPD",
    of: Of::Mean,
    bar: Bar::AtMost(0.1),
};
const RATES: &[Row] = &[
    FPD,
    Row {
        what: "FPD of the worst sensor",
        of: Of::Max,
        bar: Bar::AtMost(1.0),
    },
];

const fn noise(name: &'static str, run: fn(&Run) -> Result<Vec<Sample>, Error>) -> Scenario {
    Scenario {
        number: 1,
        name,
        rows: RATES,
        least_days: 1,
        run,
    }
}

const fn counter(name: &'static str, run: fn(&Run) -> Result<Vec<Sample>, Error>) -> Scenario {
    Scenario {
        number: 6,
        name,
        rows: &[FPD],
        least_days: 1,
        run,
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    noise("white noise", |run| flat(run, Noise::White)),
    noise("AR(.95) noise", |run| flat(run, Noise::Ar)),
    noise("Student t3 noise", |run| flat(run, Noise::Student)),
    noise("random walk", |run| flat(run, Noise::Walk)),
    Scenario {
        number: 2,
        name: "daily cycle with weekends",
        rows: &[
            Row {
                what: "FPD after day 8",
                ..FPD
            },
            Row {
                what: "alerts in the first weekend (p99)",
                of: Of::P99,
                bar: Bar::AtMost(2.0),
            },
        ],
        least_days: 9,
        run: weeks,
    },
    counter("counter with resets", |run| {
        rate(run, Shape::Counter { resets: true })
    }),
    counter("counter, free-running", |run| {
        rate(run, Shape::Counter { resets: false })
    }),
];

fn flat(run: &Run, noise: Noise) -> Result<Vec<Sample>, Error> {
    let (alerts, days) = alerts(run, Signal::new(Shape::Flat, noise, run.seed))?;
    Ok(vec![
        Sample::ratio(alerts, days),
        Sample::value(if days > 0.0 {
            alerts as f64 / days
        } else {
            0.0
        }),
    ])
}

fn rate(run: &Run, shape: Shape) -> Result<Vec<Sample>, Error> {
    let (alerts, days) = alerts(run, Signal::new(shape, Noise::White, run.seed))?;
    Ok(vec![Sample::ratio(alerts, days)])
}

/// Alerts on a signal, and the days they came in.
fn alerts(run: &Run, mut signal: Signal) -> Result<(usize, f64), Error> {
    let mut sensor = run.sensor()?;
    let fired = run.feed(&mut sensor, 0..run.length(), |_, at| signal.at(at));
    Ok((fired.len(), run.watched(&sensor, 0, run.length())))
}

fn weeks(run: &Run) -> Result<Vec<Sample>, Error> {
    let mut signal = Signal::new(Shape::Weekly, Noise::White, run.seed);
    let mut sensor = run.sensor()?;
    let fired = run.feed(&mut sensor, 0..run.length(), |_, at| signal.at(at));
    let day = |days: i64| run.readings(days * DAY);
    let later = fired.iter().filter(|index| **index >= day(8)).count();
    let weekend = fired
        .iter()
        .filter(|index| (day(5)..day(7)).contains(*index))
        .count();
    Ok(vec![
        Sample::ratio(later, run.watched(&sensor, day(8), run.length())),
        Sample::value(weekend as f64),
    ])
}
