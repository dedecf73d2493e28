//! What is to be run, from the environment: `make scenarios SEEDS=10` passes it on.

use std::env;
use std::thread;

/// How to use it.
pub(crate) const HELP: &str = "\
The acceptance scenarios of the detectors (RESEARCH.md, \"Beyond the benchmark\"): figures against bars.

  make scenarios                                   everything: 100 seeds, 30 days (half an hour)
  make scenarios SEEDS=10 DAYS=3                   a quick look
  make scenarios DETECTORS='auto on' SCENARIOS=3,4 CADENCES=1min
  make scenarios CSV=figures.csv TRACE=trace.csv   the figures as a file too, and one sensor reading by reading

SEEDS      sensors for each figure, 100
DAYS       length of a run on clean data, 30 (scenarios that need more take more)
DETECTORS  settings of a rule, several divided by commas: 'auto on,zscore 3,mad 3.5,ewma 3'
CADENCES   1s, 1min, 1h
SCENARIOS  1 to 10
THREADS    as many as there are processors
CSV        a file for the figures
TRACE      a file for what each detector says of one sensor (docs/guide/detectors.md shows it)
";

/// The detectors that are compared unless others are named, with their default settings.
pub(crate) const DETECTORS: [&str; 4] = ["auto on", "zscore 3", "mad 3.5", "ewma 3"];

/// Time between readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cadence {
    pub(crate) name: &'static str,
    /// Milliseconds.
    pub(crate) step: i64,
}

/// Those that are measured.
pub(crate) const CADENCES: [Cadence; 3] = [
    Cadence {
        name: "1s",
        step: 1000,
    },
    Cadence {
        name: "1min",
        step: 60_000,
    },
    Cadence {
        name: "1h",
        step: 3_600_000,
    },
];

/// What is to be run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) seeds: u64,
    pub(crate) days: i64,
    pub(crate) detectors: Vec<String>,
    pub(crate) cadences: Vec<Cadence>,
    pub(crate) scenarios: Vec<u8>,
    pub(crate) threads: usize,
    pub(crate) csv: Option<String>,
    pub(crate) trace: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seeds: 100,
            days: 30,
            detectors: DETECTORS.map(String::from).to_vec(),
            cadences: CADENCES.to_vec(),
            scenarios: (1..=10).collect(),
            threads: thread::available_parallelism().map_or(2, usize::from),
            csv: None,
            trace: None,
        }
    }
}

impl Options {
    pub(crate) fn from_environment() -> Result<Self, String> {
        Self::read(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn read(given: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut options = Self::default();
        let whole = |name: &str, most: u64| {
            let Some(text) = given(name) else {
                return Ok(None);
            };
            let number = text.parse().ok().filter(|n| (1..=most).contains(n));
            number
                .map(Some)
                .ok_or_else(|| format!("{name}={text} is not a whole number from 1 to {most}"))
        };
        if let Some(seeds) = whole("SEEDS", 1_000_000)? {
            options.seeds = seeds;
        }
        if let Some(days) = whole("DAYS", 3650)? {
            options.days = days as i64;
        }
        if let Some(threads) = whole("THREADS", 1024)? {
            options.threads = threads as usize;
        }
        if let Some(text) = given("DETECTORS") {
            options.detectors = list(&text, |word| {
                crate::sensor::Sensor::new(word)
                    .map(|_| word.to_owned())
                    .map_err(|wrong| format!("DETECTORS={text}: {}", refusal(&wrong)))
            })?;
        }
        if let Some(text) = given("CADENCES") {
            options.cadences = list(&text, |word| {
                let found = CADENCES.into_iter().find(|cadence| cadence.name == word);
                found.ok_or_else(|| format!("CADENCES={text}: {word} is none of 1s, 1min, 1h"))
            })?;
        }
        if let Some(text) = given("SCENARIOS") {
            options.scenarios = list(&text, |word| {
                let number = word.parse().ok().filter(|n| (1..=10).contains(n));
                number.ok_or_else(|| format!("SCENARIOS={text}: {word} is none of 1 to 10"))
            })?;
        }
        options.csv = given("CSV");
        options.trace = given("TRACE");
        Ok(options)
    }
}

/// What a setting's parser says, without the prefix of a reply.
pub(crate) fn refusal(wrong: &anomaly_core::Error) -> String {
    let text = wrong.to_string();
    text.strip_prefix("ERR ").unwrap_or(&text).to_owned()
}

fn list<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(|word| parse(word.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Options, String> {
        Options::read(|name| {
            let found = pairs.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_not_said_is_everything() {
        let options = read(&[]).unwrap();
        assert_eq!((options.seeds, options.days), (100, 30));
        assert_eq!(options.scenarios.len(), 10);
        assert_eq!(options.cadences, CADENCES);
    }

    #[test]
    fn lists_are_divided_by_commas() {
        let options = read(&[
            ("DETECTORS", "zscore 3, zscore 4 window 60"),
            ("CADENCES", "1h,1s"),
            ("SCENARIOS", "3"),
        ])
        .unwrap();
        assert_eq!(options.detectors, ["zscore 3", "zscore 4 window 60"]);
        assert_eq!(options.cadences, [CADENCES[2], CADENCES[0]]);
        assert_eq!(options.scenarios, [3]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, said) in [
            ("SEEDS", "many", "SEEDS=many is not a whole number"),
            ("DAYS", "0", "DAYS=0 is not a whole number"),
            ("DETECTORS", "zscor 3", "did you mean 'zscore'"),
            ("CADENCES", "1d", "1d is none of 1s, 1min, 1h"),
            ("SCENARIOS", "11", "11 is none of 1 to 10"),
        ] {
            let wrong = read(&[(name, value)]).unwrap_err();
            assert!(wrong.contains(said), "{wrong}");
        }
    }
}
