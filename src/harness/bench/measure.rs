//! Rounds: in each, everybody runs once for each pipeline, the order turning round, so that the machine's moods meet all.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::bench::contestant::{Contestant, Place};
use crate::bench::host::{Hosts, Parts};
use crate::bench::load::{Fleet, Kind, Size};
use crate::bench::wire::{Line, Work, command, drive};
use crate::moment::now_ms;
use crate::stop::Stop;

/// So far back do the sensors' clocks begin: readings from the future are refused.
const BACK: i64 = 60 * 24 * 3600 * 1000;

/// One run of one contestant.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) contestant: String,
    pub(crate) pipeline: usize,
    pub(crate) round: usize,
    pub(crate) readings: u64,
    /// Nanoseconds of processor time of the thread that runs commands.
    pub(crate) main_ns: u64,
    /// Of all threads of the server.
    pub(crate) all_ns: u64,
    pub(crate) wall_ns: u64,
    /// Nanoseconds from sending a pipeline to having its last reply, each.
    #[serde(skip)]
    pub(crate) latencies: Vec<u32>,
}

impl Run {
    /// Of the thread that runs commands.
    pub(crate) fn ns_per_reading(&self) -> f64 {
        self.main_ns as f64 / self.readings as f64
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.readings as f64 * 1e9 / self.wall_ns as f64
    }
}

/// A contestant in a fleet of its own; with `--against` there are two of one.
pub(crate) struct Entrant {
    pub(crate) who: &'static Contestant,
    /// Of `--against`.
    pub(crate) other: bool,
    fleet: Fleet,
}

impl Entrant {
    /// The name in the records: that of the contestant, `@other` behind it for the other module's.
    pub(crate) fn name(&self) -> String {
        match self.other {
            true => format!("{}@other", self.who.name),
            false => self.who.name.to_owned(),
        }
    }
}

/// How much to measure.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) pipelines: Vec<usize>,
    pub(crate) sensors: usize,
}

/// The servers and everybody on them.
pub(crate) struct Field<'a> {
    parts: [&'a Parts; 2],
    stop: &'a Stop,
    hosts: Hosts,
    pub(crate) entrants: Vec<Entrant>,
}

impl<'a> Field<'a> {
    /// Starts the servers, sets rules, makes series.
    pub(crate) fn new(
        parts: [&'a Parts; 2],
        against: bool,
        who: &[&'static Contestant],
        plan: &Plan,
        stop: &'a Stop,
    ) -> anyhow::Result<Self> {
        let mut field = Self {
            parts,
            stop,
            hosts: Hosts::default(),
            entrants: Vec::new(),
        };
        for (index, who) in who.iter().enumerate() {
            let twice = against && who.place != Place::Plain && !who.rule.is_empty();
            for other in [false, true].into_iter().take(1 + usize::from(twice)) {
                let prefix = format!("b{index:02}");
                let fleet = Fleet::new(who.kind, &prefix, plan.sensors, now_ms() - BACK);
                field.entrants.push(Entrant { who, other, fleet });
                field.prepare(field.entrants.len() - 1, &prefix, plan.sensors)?;
            }
        }
        Ok(field)
    }

    fn prepare(&mut self, index: usize, prefix: &str, sensors: usize) -> anyhow::Result<()> {
        let entrant = self.entrants.get(index).context("it has just been added")?;
        let parts = self.parts[usize::from(entrant.other)];
        let host = self
            .hosts
            .get((entrant.who.place, entrant.other), parts, self.stop)?;
        let kind = entrant.who.kind;
        if let (false, Kind::Xadd { .. }) = (entrant.who.rule.is_empty(), kind) {
            host.ask::<()>(&format!("ANOMALY.WATCH SET {prefix}"))?;
        }
        if !entrant.who.rule.is_empty() {
            let pattern = match kind {
                Kind::Xadd { .. } => format!("sensor:{prefix}:*"),
                _ => format!("{prefix}:*"),
            };
            host.ask::<()>(&format!(
                "ANOMALY.CONFIG SET {pattern} {}",
                entrant.who.rule
            ))?;
        }
        if matches!(kind, Kind::TsAdd | Kind::TsMadd(_)) {
            // As the module makes them.
            let mut bytes = Vec::new();
            for sensor in 0..sensors {
                let key = entrant.fleet.name(sensor);
                let key = key.as_bytes();
                let mut words: Vec<&[u8]> = vec![b"TS.CREATE", key, b"CHUNK_SIZE", b"1024"];
                words.extend([&b"DUPLICATE_POLICY"[..], b"LAST", b"LABELS", b"sensor", key]);
                command(&mut bytes, &words);
            }
            for line in host.lines(1)? {
                line.exchange(&bytes, sensors as u64)?;
            }
        }
        Ok(())
    }

    /// Runs all rounds; the first, in which sensors and series are made and windows fill, is not told. `told` hears of
    /// each run that counts.
    pub(crate) fn run(&mut self, plan: &Plan, mut done: impl FnMut()) -> anyhow::Result<Vec<Run>> {
        let mut runs = Vec::new();
        for round in 0..=plan.rounds {
            for &pipeline in &plan.pipelines {
                let mut order: Vec<usize> = (0..self.entrants.len()).collect();
                match round % 2 {
                    0 => {}
                    _ => order.reverse(),
                }
                for index in order {
                    if self.stop.requested() {
                        bail!("stopped");
                    }
                    let run = self.one(index, pipeline, round, plan.sensors)?;
                    if round > 0 {
                        runs.push(run);
                    }
                    done();
                }
            }
        }
        Ok(runs)
    }

    fn one(
        &mut self,
        index: usize,
        pipeline: usize,
        round: usize,
        sensors: usize,
    ) -> anyhow::Result<Run> {
        let entrant = self.entrants.get_mut(index).context("an entrant")?;
        let kind = entrant.who.kind;
        let size = size(kind, pipeline, sensors);
        let works = entrant.fleet.works(size);
        let (place, other) = (entrant.who.place, entrant.other);
        let parts = self.parts[usize::from(other)];
        let host = self.hosts.get((place, other), parts, self.stop)?;
        let readings = (size.connections * size.pipeline * size.batches * kind.readings()) as u64;
        let ingested = !entrant.who.rule.is_empty();
        let before = if ingested {
            host.info("anomaly", "anomaly_readings")?
        } else {
            0
        };

        host.lines(size.connections)?;
        let spent = host.process.spent()?;
        let began = Instant::now();
        let latencies = race(host.lines(size.connections)?, &works)?;
        let wall = began.elapsed();
        let after = host.process.spent()?;

        if ingested {
            let scored: u64 = host.info("anomaly", "anomaly_readings")?;
            if scored - before != readings {
                bail!(
                    "{}: {readings} readings were sent, {} were scored",
                    entrant.name(),
                    scored - before
                );
            }
        }
        Ok(Run {
            contestant: entrant.name(),
            pipeline,
            round,
            readings,
            main_ns: after.main - spent.main,
            all_ns: after.all - spent.all,
            wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
            latencies,
        })
    }
}

/// One thread of ours for two cores: one more would only take the server's.
fn race(lines: &mut [Line], works: &[Work]) -> anyhow::Result<Vec<u32>> {
    let threads = client_threads().min(lines.len());
    if threads < 2 {
        return drive(lines, works);
    }
    let share = lines.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = (lines.chunks_mut(share))
            .zip(works.chunks(share))
            .map(|(lines, works)| scope.spawn(|| drive(lines, works)))
            .collect();
        let mut all = Vec::new();
        for thread in running {
            match thread.join() {
                Ok(latencies) => all.extend(latencies?),
                Err(_) => bail!("a thread of the client panicked"),
            }
        }
        Ok(all)
    })
}

/// Threads that send: at most four, and half of the cores.
pub(crate) fn client_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

/// A run of a tenth of a second or more, so that what the kernel counts is exact; each connection has work.
fn size(kind: Kind, pipeline: usize, sensors: usize) -> Size {
    let most = match pipeline {
        1 => 50,
        _ => 8,
    };
    let connections = most.min(sensors);
    let readings = match pipeline {
        1 => 40_000,
        2..=99 => 128_000,
        _ => 256_000,
    };
    let readings = match kind.readings() {
        1 => readings,
        _ => 2 * readings,
    };
    let batch = connections * pipeline * kind.readings();
    Size {
        connections,
        pipeline,
        batches: (readings / batch).max(3),
    }
}

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
