//! Medians and percentiles of runs.

use std::time::Duration;

use serde::Serialize;

use crate::bench::measure::Run;

/// Median, smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = match sorted.len() % 2 {
            1 => upper,
            _ => (upper + *sorted.get(middle - 1)?) / 2.0,
        };
        Some(Self {
            median,
            min: *sorted.first()?,
            max: *sorted.last()?,
        })
    }
}

/// The runs of one contestant with one pipeline.
pub(crate) fn of<'a>(
    runs: &'a [Run],
    name: &'a str,
    pipeline: usize,
) -> impl Iterator<Item = &'a Run> {
    let fits = move |run: &&Run| run.contestant == name && run.pipeline == pipeline;
    runs.iter().filter(fits)
}

/// How many readings `name` takes in while `base` takes in one, by the processor time of the server: a ratio for each round.
pub(crate) fn ratio(runs: &[Run], name: &str, base: &str, pipeline: usize) -> Option<Spread> {
    let of_round = |run: &Run| {
        let theirs = of(runs, base, pipeline).find(|other| other.round == run.round)?;
        Some(theirs.ns_per_reading() / run.ns_per_reading())
    };
    Spread::of(of(runs, name, pipeline).filter_map(of_round))
}

/// The duration below which a share of the pipelines was answered.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> Option<Duration> {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    let ns = sorted.get(place.saturating_sub(1))?;
    Some(Duration::from_nanos(u64::from(*ns)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Run, Spread, percentile, ratio};
    use std::time::Duration;

    fn run(contestant: &str, round: usize, main_ns: u64) -> Run {
        Run {
            contestant: contestant.to_owned(),
            pipeline: 32,
            round,
            readings: 10,
            main_ns,
            all_ns: main_ns,
            wall_ns: 1,
            latencies: Vec::new(),
        }
    }

    #[test]
    fn a_ratio_is_within_a_round_whatever_the_machine_did_in_the_next() {
        let runs = [
            run("set", 1, 100),
            run("add", 1, 50),
            run("add", 2, 500),
            run("set", 2, 1000),
        ];
        let ratio = ratio(&runs, "add", "set", 32).unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (2.0, 2.0, 2.0));
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        let spread = Spread::of([9.0, 1.0, 4.0, 2.0].into_iter()).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 3.0, 9.0));
        assert_eq!(Spread::of(std::iter::empty()), None);
    }

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let sorted: Vec<u32> = (1..=1000).collect();
        for (share, ns) in [(0.5, 500), (0.99, 990), (0.999, 999)] {
            assert_eq!(percentile(&sorted, share), Some(Duration::from_nanos(ns)));
        }
        assert_eq!(percentile(&[], 0.5), None);
    }
}
