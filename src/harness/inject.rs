//! Anomalies put into a signal on purpose, and the record of them by which a consumer can be judged.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::dice::Dice;
use crate::moment;

/// What goes wrong with a sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Far above what it should be, shortly.
    Spike,
    /// Far below, shortly.
    Drop,
    /// Off by a constant for a while, up or down.
    Shift,
    /// The same value again and again.
    Stuck,
    /// Noise on top of the usual noise.
    Noise,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Spike,
        Self::Drop,
        Self::Shift,
        Self::Stuck,
        Self::Noise,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::Drop => "drop",
            Self::Shift => "shift",
            Self::Stuck => "stuck",
            Self::Noise => "noise",
        }
    }

    fn usual_readings(self) -> u64 {
        match self {
            Self::Spike | Self::Drop => 1,
            Self::Shift | Self::Stuck | Self::Noise => 30,
        }
    }
}

/// How often, how long and how strongly a kind is injected: `KIND[:PROBABILITY[:READINGS[:SIZE]]]`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// That it begins at a given reading.
    pub(crate) probability: f64,
    /// How many readings it lasts.
    pub(crate) readings: u64,
    /// In multiples of the signal's noise.
    pub(crate) size: f64,
}

impl Plan {
    /// What `KIND` alone means.
    pub(crate) fn usual(kind: Kind) -> Self {
        Self {
            kind,
            probability: 0.0002,
            readings: kind.usual_readings(),
            size: 10.0,
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| format!("{name:?} is not one of spike, drop, shift, stuck, noise"))?;
        let mut plan = Self::usual(kind);
        if let Some(part) = parts.next() {
            plan.probability = number(part, "PROBABILITY", "between 0 and 1", |p: f64| {
                (0.0..=1.0).contains(&p)
            })?;
        }
        if let Some(part) = parts.next() {
            plan.readings = number(part, "READINGS", "a whole number from 1", |n: u64| n > 0)?;
        }
        if let Some(part) = parts.next() {
            plan.size = number(part, "SIZE", "a number above 0", |x: f64| {
                x.is_finite() && x > 0.0
            })?;
        }
        match parts.next() {
            Some(rest) => Err(format!(
                "{rest:?} is too much: KIND[:PROBABILITY[:READINGS[:SIZE]]]"
            )),
            None => Ok(plan),
        }
    }
}

fn number<N: FromStr + Copy>(
    text: &str,
    what: &str,
    right: &str,
    fits: impl Fn(N) -> bool,
) -> Result<N, String> {
    let parsed = text.parse().ok().filter(|&number| fits(number));
    parsed.ok_or_else(|| format!("{what} {text:?} is not {right}"))
}

/// One anomaly that was put in, by reading time: first and last abnormal reading.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Injection {
    pub(crate) sensor: String,
    pub(crate) kind: Kind,
    /// Unix milliseconds of the first reading.
    pub(crate) start: i64,
    /// Unix milliseconds of the last reading.
    pub(crate) end: i64,
    pub(crate) readings: u64,
    /// In the sensor's unit: the offset, signed; for noise its standard deviation; for stuck 0.
    pub(crate) size: f64,
}

impl fmt::Display for Injection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, start, end) = (
            self.kind.name(),
            moment::show(self.start),
            moment::show(self.end),
        );
        write!(
            out,
            "{:<28} {kind:<6} {start} to {end}  {:>3} readings",
            self.sensor, self.readings
        )?;
        match self.kind {
            Kind::Stuck => Ok(()),
            Kind::Noise => write!(out, "  sd {:.4}", self.size),
            _ => write!(out, "  {:+.4}", self.size),
        }
    }
}

/// An anomaly in the indices of one signal's readings; the caller knows their timestamps and the sensor's name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) kind: Kind,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) size: f64,
}

/// Decides at each reading of one signal whether an anomaly begins, and bends the value while one lasts.
pub(crate) struct Injector {
    plans: Vec<Plan>,
    /// No anomaly begins within this many readings of the start or of the last one: detectors need a baseline.
    calm: u64,
    /// The unit of `Plan::size`.
    scale: f64,
    dice: Dice,
    quiet_until: u64,
    running: Option<Running>,
    previous: Option<f64>,
}

struct Running {
    span: Span,
    /// Index of the last reading, if nothing cuts it short.
    until: u64,
    held: f64,
}

impl Injector {
    pub(crate) fn new(plans: Vec<Plan>, calm: u64, scale: f64, dice: Dice) -> Self {
        Self {
            plans,
            calm,
            scale,
            dice,
            quiet_until: calm,
            running: None,
            previous: None,
        }
    }

    /// The value that reading `index` shows instead of `clean`, and the anomaly that ends with it.
    pub(crate) fn bend(&mut self, index: u64, clean: f64) -> (f64, Option<Span>) {
        if self.running.is_none() && index >= self.quiet_until {
            self.running = self.begin(index, clean);
        }
        let Some(running) = &mut self.running else {
            self.previous = Some(clean);
            return (clean, None);
        };
        running.span.last = index;
        let (span, until) = (running.span, running.until);
        let value = match span.kind {
            Kind::Spike | Kind::Drop | Kind::Shift => clean + span.size,
            Kind::Stuck => running.held,
            Kind::Noise => clean + span.size * self.dice.gaussian(),
        };
        if index < until {
            return (value, None);
        }
        self.running = None;
        self.quiet_until = index + 1 + self.calm;
        self.previous = Some(value);
        (value, Some(span))
    }

    /// The anomaly that the end of the run cuts short.
    pub(crate) fn cut(&mut self) -> Option<Span> {
        self.running.take().map(|running| running.span)
    }

    fn begin(&mut self, index: u64, clean: f64) -> Option<Running> {
        let mut chosen = None;
        for plan in &self.plans {
            // Every plan rolls, also when one is chosen: removing a plan does not move the others' dice by more than its own.
            let hit = self.dice.uniform() < plan.probability;
            if hit && chosen.is_none() {
                chosen = Some(plan);
            }
        }
        let plan = chosen?;
        let size = plan.size * self.scale;
        let size = match plan.kind {
            Kind::Spike | Kind::Noise => size,
            Kind::Drop => -size,
            Kind::Shift if self.dice.uniform() < 0.5 => -size,
            Kind::Shift => size,
            Kind::Stuck => 0.0,
        };
        let span = Span {
            kind: plan.kind,
            first: index,
            last: index,
            size,
        };
        let until = index.saturating_add(plan.readings - 1);
        Some(Running {
            span,
            until,
            held: self.previous.unwrap_or(clean),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Injector, Kind, Plan, Span};
    use crate::dice::Dice;

    fn certain(text: &str) -> Injector {
        Injector::new(vec![text.parse().unwrap()], 5, 0.5, Dice::new(1, 1))
    }

    /// Values of a constant signal 20 + index/1000, and the anomalies in it.
    fn run(injector: &mut Injector, readings: u64) -> (Vec<f64>, Vec<Span>) {
        let mut values = Vec::new();
        let mut spans = Vec::new();
        for index in 0..readings {
            let (value, span) = injector.bend(index, 20.0 + index as f64 / 1000.0);
            values.push(value);
            spans.extend(span);
        }
        (values, spans)
    }

    #[test]
    fn a_plan_reads_what_is_given_and_fills_in_the_rest() {
        let plan: Plan = "shift".parse().unwrap();
        assert_eq!(plan, Plan::usual(Kind::Shift));
        let plan: Plan = "shift:0.01:60:4".parse().unwrap();
        assert_eq!(
            plan,
            Plan {
                kind: Kind::Shift,
                probability: 0.01,
                readings: 60,
                size: 4.0
            }
        );
        for wrong in [
            "",
            "bump",
            "spike:2",
            "spike:-1",
            "spike:nan",
            "spike:0.1:0",
            "spike:0.1:1:0",
            "spike:0.1:1:1:1",
        ] {
            assert!(wrong.parse::<Plan>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn anomalies_keep_their_distance_and_length() {
        let (values, spans) = run(&mut certain("drop:1:3:4"), 20);
        assert_eq!(
            spans,
            [
                Span {
                    kind: Kind::Drop,
                    first: 5,
                    last: 7,
                    size: -2.0
                },
                Span {
                    kind: Kind::Drop,
                    first: 13,
                    last: 15,
                    size: -2.0
                }
            ]
        );
        assert_eq!(values.iter().filter(|&&value| value < 19.0).count(), 6);
    }

    #[test]
    fn stuck_repeats_the_value_before_it() {
        let (values, spans) = run(&mut certain("stuck:1:4"), 10);
        assert_eq!(spans.len(), 1);
        assert_eq!(values.get(4..9).unwrap(), [20.004; 5]);
    }

    #[test]
    fn an_anomaly_cut_by_the_end_is_still_reported() {
        let mut injector = certain("shift:1:100");
        let (_, spans) = run(&mut injector, 10);
        assert_eq!(spans, []);
        let cut = injector.cut().unwrap();
        assert_eq!((cut.kind, cut.first, cut.last), (Kind::Shift, 5, 9));
    }
}
