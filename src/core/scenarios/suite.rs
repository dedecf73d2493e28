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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::CADENCES;

    fn figures(name: &str, detector: &str, threads: usize) -> Vec<f64> {
        let options = Options {
            seeds: 5,
            days: 3,
            threads,
            ..Options::default()
        };
        let named = |scenario: &&Scenario| scenario.name == name;
        let scenario = *scenarios().iter().find(named).unwrap();
        let measured = measure(&scenario, CADENCES[1], detector, &options).unwrap();
        measured.iter().map(|measured| measured.figure).collect()
    }

    #[test]
    fn a_detector_that_never_fires_catches_nothing_and_one_that_sees_everything_all() {
        let (blind, sharp) = ("max 1e9", "min 12 max 28");
        assert_eq!(figures("white noise", blind, 2), [0.0, 0.0]);
        assert_eq!(figures("white noise", sharp, 2), [0.0, 0.0]);
        assert_eq!(
            figures("level shift of 5 sd", blind, 2),
            [0.0, f64::INFINITY, 0.0]
        );
        assert_eq!(figures("spike of 20 sd", blind, 2), [0.0, 0.0]);
        assert_eq!(figures("spike of 20 sd", sharp, 2), [100.0, 0.0]);
        assert_eq!(
            figures("noise stuck for 3 h", "stuck 600000 auto off", 2),
            [100.0]
        );
        assert_eq!(figures("ramp of 1 sd per hour", blind, 2), [0.0]);
    }

    #[test]
    fn a_detector_that_fires_on_noise_is_told_how_often() {
        // 1 in 44 readings is beyond 2 sd on one side; an episode lasts until three in a row are not.
        let [mean, worst] = figures("white noise", "max 22 clear 1", 2)[..] else {
            panic!("two figures");
        };
        assert!((25.0..40.0).contains(&mean), "{mean}");
        assert!(worst >= mean);
    }

    #[test]
    fn figures_do_not_depend_on_the_number_of_threads() {
        for name in [
            "AR(.95) noise",
            "10 % lost and an outage of 12 h",
            "5 % repeated",
        ] {
            let one = figures(name, "zscore 3", 1);
            assert_eq!(one, figures(name, "zscore 3", 3), "{name}");
        }
    }

    #[test]
    fn a_setting_that_is_refused_is_said() {
        let white = scenarios()[0];
        let wrong = measure(&white, CADENCES[1], "zscore no", &Options::default());
        assert!(
            wrong
                .unwrap_err()
                .contains("setting 'zscore' cannot be 'no'")
        );
    }
}
