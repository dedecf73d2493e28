//! Rounds: in each, everybody runs once for each pipeline, the order turning round, so that the machine's moods meet all.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::bench::contestant::{Contestant, Place, Worker};
use crate::bench::host::{Host, Hosts, Parts};
use crate::bench::load::{Fleet, Kind, Size};
use crate::bench::wire::{Line, Work, command, drive};
use crate::bench::worker::Running;
use crate::moment::now_ms;
use crate::stop::Stop;

const FUNCTION: &str = include_str!("../../../benches/zscore.lua");

/// The slowest worker takes this long for a run only where something is wrong.
const SETTLE: Duration = Duration::from_secs(120);
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
    pub(crate) prefix: String,
    pub(crate) fleet: Fleet,
    sensors: usize,
    /// Ends before its server does: fields are dropped in order.
    pub(crate) worker: Option<Running>,
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

impl Entrant {
    /// What there must be before the first reading.
    fn prepare(&mut self, host: &mut Host, parts: &Parts) -> anyhow::Result<()> {
        let (who, prefix) = (self.who, &self.prefix);
        let stream = matches!(who.kind, Kind::Xadd { .. });
        if let Place::Rules(count) = who.place {
            for other in 1..count {
                host.ask::<()>(&format!("ANOMALY.CONFIG SET other:{other}:* max {other}"))?;
            }
        }
        if stream && !who.rule.is_empty() {
            host.ask::<()>(&format!("ANOMALY.WATCH SET {prefix}"))?;
            host.ask::<()>(&format!(
                "ANOMALY.CONFIG SET sensor:{prefix}:* {}",
                who.rule
            ))?;
        } else if !who.rule.is_empty() {
            host.ask::<()>(&format!("ANOMALY.CONFIG SET {prefix}:* {}", who.rule))?;
        }
        match who.kind {
            Kind::TsAdd | Kind::TsMadd(_) => self.create_series(host)?,
            Kind::Function => host.send::<()>(&["FUNCTION", "LOAD", FUNCTION])?,
            _ => {}
        }
        if let (Some(worker), Some(alerts)) = (who.worker, who.alerts()) {
            self.worker = Some(match worker {
                Worker::Rust => Running::rust(host, &self.prefix, &alerts)?,
                Worker::Python => {
                    let interpreter = parts.python.as_deref().context("left out without it")?;
                    Running::python(interpreter, host, &self.prefix, &alerts)?
                }
            });
        }
        match who.place {
            Place::Big => self.fill(host),
            _ => self.make(host),
        }
    }

    /// As the module makes them.
    fn create_series(&self, host: &mut Host) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        for sensor in 0..self.sensors {
            let key = self.fleet.name(sensor);
            let key = key.as_bytes();
            let mut words: Vec<&[u8]> = vec![b"TS.CREATE", key, b"CHUNK_SIZE", b"1024"];
            words.extend([&b"DUPLICATE_POLICY"[..], b"LAST", b"LABELS", b"sensor", key]);
            command(&mut bytes, &words);
        }
        for line in host.lines(1)? {
            line.exchange(&bytes, self.sensors as u64)?;
        }
        Ok(())
    }

    /// Makes every sensor, one after another: made in the turns of the runs, they would lie in memory as they are asked for, which those of no
    /// real fleet do, and the processor would see each coming.
    fn make(&mut self, host: &mut Host) -> anyhow::Result<()> {
        let kind = self.who.kind;
        let size = kind.one_turn(size(self.who, 32, self.sensors), self.sensors);
        let lines = host.lines(size.connections)?;
        self.fleet
            .making(kind, |fleet| drive(lines, &fleet.works(size)).map(|_| ()))
    }

    /// The same, and fills its window.
    fn fill(&mut self, host: &mut Host) -> anyhow::Result<()> {
        let kind = match self.who.kind {
            Kind::Add | Kind::Open | Kind::Madd { .. } => Kind::Madd { keys: 1, each: 32 },
            kind => kind,
        };
        let size = Size {
            connections: 8,
            pipeline: 25,
            batches: (self.sensors / 200).clamp(1, 100),
        };
        let commands = size.connections * size.pipeline * size.batches;
        let lines = host.lines(size.connections)?;
        let runs = self.sensors.div_ceil(commands);
        self.fleet.making(kind, |fleet| {
            (0..runs).try_for_each(|_| drive(lines, &fleet.works(size)).map(|_| ()))
        })
    }

    /// Readings that were scored, and alerts of an anomaly that were written, as far as the server knows.
    fn told(&self, host: &mut Host) -> anyhow::Result<(Option<u64>, Option<u64>)> {
        let spiked = self.who.spikes.is_some();
        match self.who.alerts() {
            Some(alerts) => {
                let known: bool = host.send(&["EXISTS", &alerts])?;
                // Trimmed or not, it knows how many there were.
                let written = match known {
                    true => host.number(&["XINFO", "STREAM", &alerts], "entries-added")?,
                    false => 0,
                };
                Ok((None, Some(written)))
            }
            None if self.who.rule.is_empty() || self.who.kind == Kind::Open => Ok((None, None)),
            None => {
                let scored = host.info("anomaly", "anomaly_readings")?;
                let fired = host.info("anomaly", "anomaly_alerts_firing")?;
                Ok((Some(scored), spiked.then_some(fired)))
            }
        }
    }

    /// Waits until the worker has taken in all there is.
    pub(crate) fn settle(&self, host: &mut Host, until: Instant) -> anyhow::Result<bool> {
        while self.worker.is_some() {
            let group = ["XINFO", "GROUPS", &self.prefix];
            if host.number(&group, "lag")? == 0 && host.number(&group, "pending")? == 0 {
                return Ok(true);
            }
            if Instant::now() > until {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }
}

/// How much to measure.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    pub(crate) pipelines: Vec<usize>,
    pub(crate) sensors: usize,
}

/// What servers are made of: with the module, and with the one of `--against`.
#[derive(Clone, Copy)]
pub(crate) struct Builds<'a> {
    pub(crate) this: &'a Parts,
    pub(crate) other: &'a Parts,
}

impl<'a> Builds<'a> {
    fn of(self, other: bool) -> &'a Parts {
        if other { self.other } else { self.this }
    }
}

/// The servers and everybody on them.
pub(crate) struct Field<'a> {
    parts: Builds<'a>,
    stop: &'a Stop,
    pub(crate) entrants: Vec<Entrant>,
    pub(crate) hosts: Hosts,
}

impl<'a> Field<'a> {
    /// Starts the servers, sets rules, makes series.
    pub(crate) fn new(
        parts: Builds<'a>,
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
            let twice = against && who.place.has_module() && !who.rule.is_empty();
            for other in [false, true].into_iter().take(1 + usize::from(twice)) {
                let (prefix, sensors) =
                    (format!("b{index:02}"), who.sensors.unwrap_or(plan.sensors));
                let mut fleet = Fleet::new(who.kind, &prefix, sensors, now_ms() - BACK);
                (fleet.spikes, fleet.shuffled) = (who.spikes, who.shuffled);
                let mut entrant = Entrant {
                    who,
                    other,
                    prefix,
                    fleet,
                    sensors,
                    worker: None,
                };
                let part = parts.of(other);
                let host = field.hosts.get((who.place, other), part, stop)?;
                entrant.prepare(host, part)?;
                field.entrants.push(entrant);
            }
        }
        Ok(field)
    }

    /// Runs all rounds; the first, in which sensors and series are made and windows fill, is not told. `told` hears of
    /// each run that counts.
    pub(crate) fn run(&mut self, plan: &Plan, mut done: impl FnMut()) -> anyhow::Result<Vec<Run>> {
        let mut runs = Vec::new();
        for round in 0..=plan.rounds {
            for &pipeline in &plan.pipelines {
                let mut order: Vec<usize> = (0..self.entrants.len()).collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for index in order {
                    if self.stop.requested() {
                        bail!("stopped");
                    }
                    let entrant = self.entrants.get_mut(index).context("an entrant")?;
                    if entrant.who.one_pipeline() && pipeline != plan.usual() {
                        continue;
                    }
                    let place = (entrant.who.place, entrant.other);
                    let parts = self.parts.of(entrant.other);
                    let run =
                        entrant.run(self.hosts.get(place, parts, self.stop)?, pipeline, round)?;
                    if round > 0 {
                        runs.push(run);
                    }
                    done();
                }
            }
        }
        Ok(runs)
    }
}

impl Plan {
    /// The pipeline of those that run with one only.
    pub(crate) fn usual(&self) -> usize {
        let usual = self.pipelines.iter().find(|pipeline| **pipeline == 32);
        usual.or(self.pipelines.last()).copied().unwrap_or(32)
    }

    /// Runs in a round.
    pub(crate) fn runs(&self, entrants: &[Entrant]) -> usize {
        let once = entrants.iter().filter(|one| one.who.one_pipeline()).count();
        once + (entrants.len() - once) * self.pipelines.len()
    }
}

impl Entrant {
    fn run(&mut self, host: &mut Host, pipeline: usize, round: usize) -> anyhow::Result<Run> {
        let kind = self.who.kind;
        let size = size(self.who, pipeline, self.sensors);
        let warming = self.fleet.works(kind.one_turn(size, self.sensors));
        let works = self.fleet.works(size);
        let of = |works: &[Work]| -> u64 {
            let commands = works
                .iter()
                .map(|work| work.commands * work.ends.len() as u64);
            commands.sum::<u64>() * kind.readings() as u64
        };
        let readings = of(&works);
        let before = self.told(host)?;

        // What the others' turns have driven out of the caches comes back, as it is where readings keep coming.
        race(host.lines(size.connections)?, &warming)?;
        let settled = self.settle(host, Instant::now() + SETTLE)?;
        anyhow::ensure!(settled, "{} does not come to an end", self.name());
        let spent = host.process.spent()?;
        let began = Instant::now();
        let latencies = race(host.lines(size.connections)?, &works)?;
        let settled = self.settle(host, Instant::now() + SETTLE)?;
        let wall = began.elapsed();
        let after = host.process.spent()?;
        anyhow::ensure!(settled, "{} does not come to an end", self.name());

        let all = || warming.iter().chain(&works);
        let (sent, spikes) = (
            readings + of(&warming),
            all().map(|work| work.spikes.len() as u64).sum::<u64>(),
        );
        let (scored, alerts) = self.told(host)?;
        if let (Some(before), Some(scored)) = (before.0, scored)
            && scored - before != sent
        {
            bail!(
                "{}: {sent} readings were sent, {} were scored",
                self.name(),
                scored - before
            );
        }
        // In the first round windows are not full yet.
        if let (Some(before), Some(alerts), true) = (before.1, alerts, round > 0)
            && alerts - before != spikes
        {
            bail!(
                "{}: {spikes} anomalies were sent, {} were told of",
                self.name(),
                alerts - before
            );
        }
        Ok(Run {
            contestant: self.name(),
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
fn size(who: &Contestant, pipeline: usize, sensors: usize) -> Size {
    let kind = who.kind;
    let most = match pipeline {
        1 => 50,
        _ => 8,
    };
    let connections = most.min(sensors);
    let readings = match (who.worker, pipeline) {
        (Some(Worker::Python), _) => 7_000,
        (_, 1) => 40_000,
        (_, 2..=99) => 128_000,
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
