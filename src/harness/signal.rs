//! A simulated sensor: base + daily cycle + drift + Gaussian noise, and now and then an anomaly.
//!
//! A value depends on the seed, the sensor's number and the reading's index only, never on the clock: the same seed gives
//! the same values and the same anomalies, however fast they are sent.

use crate::dice::Dice;
use crate::inject::{Injector, Plan, Span};

const DAY_MS: f64 = 86_400_000.0;

/// What the signal looks like, in the sensor's unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) base: f64,
    pub(crate) amplitude: f64,
    /// Of the sinusoid, in milliseconds of reading time.
    pub(crate) period_ms: f64,
    /// Standard deviation.
    pub(crate) noise: f64,
    /// Per day of reading time.
    pub(crate) drift: f64,
}

/// One reading.
pub(crate) struct Sample {
    pub(crate) value: f64,
    /// The anomaly whose last reading this is.
    pub(crate) ended: Option<Span>,
}

/// An endless sequence of readings `step_ms` apart.
pub(crate) struct Signal {
    shape: Shape,
    step_ms: f64,
    /// In turns of the cycle: sensors of one load are not in step.
    phase: f64,
    noise: Dice,
    injector: Injector,
    index: u64,
}

impl Signal {
    /// The signal of sensor `number`. Noise and anomalies have dice of their own, so that a run without anomalies shows
    /// what the same run would have been.
    pub(crate) fn new(
        shape: Shape,
        step_ms: u64,
        seed: u64,
        number: u64,
        plans: Vec<Plan>,
        calm: u64,
    ) -> Self {
        let mut noise = Dice::new(seed, 2 * number);
        // With no noise there would be nothing to measure an anomaly in.
        let scale = if shape.noise > 0.0 { shape.noise } else { 1.0 };
        Self {
            shape,
            step_ms: step_ms as f64,
            phase: noise.uniform(),
            noise,
            injector: Injector::new(plans, calm, scale, Dice::new(seed, 2 * number + 1)),
            index: 0,
        }
    }

    /// The next reading.
    pub(crate) fn sample(&mut self) -> Sample {
        let elapsed = self.index as f64 * self.step_ms;
        let turns = elapsed / self.shape.period_ms + self.phase;
        let clean = self.shape.base
            + self.shape.amplitude * libm::sin(std::f64::consts::TAU * turns)
            + self.shape.drift * elapsed / DAY_MS
            + self.shape.noise * self.noise.gaussian();
        let (value, ended) = self.injector.bend(self.index, clean);
        self.index += 1;
        // Sensors have a resolution; it also keeps the arguments short.
        Sample {
            value: (value * 1000.0).round() / 1000.0,
            ended,
        }
    }

    /// The anomaly that the end of the run cuts short.
    pub(crate) fn cut(&mut self) -> Option<Span> {
        self.injector.cut()
    }
}

#[cfg(test)]
mod tests {
    use super::{Shape, Signal};
    use crate::inject::{Kind, Plan, Span};

    const SHAPE: Shape = Shape {
        base: 22.0,
        amplitude: 3.0,
        period_ms: 86_400_000.0,
        noise: 0.3,
        drift: 0.5,
    };

    fn run(seed: u64, number: u64, plans: Vec<Plan>) -> (Vec<f64>, Vec<Span>) {
        let mut signal = Signal::new(SHAPE, 60_000, seed, number, plans, 30);
        let samples: Vec<_> = (0..20_000).map(|_| signal.sample()).collect();
        (
            samples.iter().map(|s| s.value).collect(),
            samples.iter().filter_map(|s| s.ended).collect(),
        )
    }

    fn all() -> Vec<Plan> {
        Kind::ALL.into_iter().map(Plan::usual).collect()
    }

    #[test]
    fn a_seed_reproduces_values_and_anomalies() {
        let (values, spans) = run(7, 3, all());
        assert_eq!(
            (&values, &spans),
            (&run(7, 3, all()).0, &run(7, 3, all()).1)
        );
        assert!(!spans.is_empty());
        assert_ne!(values, run(8, 3, all()).0);
        assert_ne!(values, run(7, 4, all()).0);
    }

    #[test]
    fn outside_of_the_anomalies_the_signal_is_the_clean_one() {
        let (bent, spans) = run(7, 3, all());
        let (clean, none) = run(7, 3, Vec::new());
        assert!(none.is_empty());
        for (index, (bent, clean)) in bent.iter().zip(&clean).enumerate() {
            let inside = spans
                .iter()
                .any(|span| (span.first..=span.last).contains(&(index as u64)));
            assert!(
                inside || bent == clean,
                "reading {index}: {bent} instead of {clean}"
            );
        }
    }

    #[test]
    fn the_clean_signal_has_the_shape_it_was_given() {
        let (values, _) = run(1, 0, Vec::new());
        let day = 1440;
        let mean = values.iter().take(day).sum::<f64>() / day as f64;
        let later = values.iter().skip(10 * day).take(day).sum::<f64>() / day as f64;
        assert!((mean - 22.25).abs() < 0.05, "mean of the first day {mean}");
        assert!((later - mean - 5.0).abs() < 0.05, "ten days later {later}");
    }
}
