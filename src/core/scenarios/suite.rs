//! Runs: every scenario at every cadence for every detector and seed, over all threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::figure::{Row, Sample};
use crate::options::{Cadence, Options};
use crate::scenario::{Run, Scenario};
use crate::{clean, events, trouble, upkeep};

/// A figure and what it is of.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) scenario: Scenario,
    pub(crate) row: Row,
    pub(crate) cadence: Cadence,
    pub(crate) detector: String,
    pub(crate) figure: f64,
}

impl Measured {
    pub(crate) fn met(&self) -> bool {
        self.row.bar.met(self.figure)
    }
}

/// All scenarios, by number.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let parts = [
        clean::SCENARIOS,
        events::SCENARIOS,
        trouble::SCENARIOS,
        upkeep::SCENARIOS,
    ];
    let mut all = parts.concat();
    all.sort_by_key(|scenario| scenario.number);
    all
}

/// The figures of one scenario at one cadence for one detector.
///
/// # Errors
/// What the detector's settings are refused for.
pub(crate) fn measure(
    scenario: &Scenario,
    cadence: Cadence,
    detector: &str,
    options: &Options,
) -> Result<Vec<Measured>, String> {
    let seeds = usize::try_from(options.seeds).unwrap_or(usize::MAX);
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..options.threads.min(seeds) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let run = Run {
                        detector,
                        step: cadence.step,
                        days: options.days.max(scenario.least_days),
                        seed: seed as u64,
                    };
                    let samples = (scenario.run)(&run);
                    let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
                    runs.push((seed, samples));
                }
            });
        }
    });
    let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Sums of floating-point numbers depend on their order, and threads finish in any.
    runs.sort_by_key(|(seed, _)| *seed);
    let runs: Vec<Vec<Sample>> = runs
        .into_iter()
        .map(|(_, samples)| samples.map_err(|wrong| crate::options::refusal(&wrong)))
        .collect::<Result<_, _>>()?;
    let measured = scenario.rows.iter().enumerate().map(|(place, row)| {
        let samples: Vec<Sample> = runs.iter().map(|samples| samples[place]).collect();
        Measured {
            scenario: *scenario,
            row: *row,
            cadence,
            detector: detector.to_owned(),
            figure: row.of.figure(&samples),
        }
    });
    Ok(measured.collect())
}
