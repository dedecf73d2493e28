//! `anomaly bench`: what detection costs the server, against the server's own commands on the same machine in the same run.

mod bars;
mod contestant;
mod cpu;
mod floor;
mod host;
mod latency;
mod load;
mod machine;
mod measure;
mod memory;
mod record;
mod spread;
mod table;
mod traffic;
mod wire;
mod worker;

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::bench::contestant::{ALL, Contestant, Place, Worker};
use crate::bench::host::Parts;
use crate::bench::latency::Told;
use crate::bench::load::Kind;
use crate::bench::machine::Machine;
use crate::bench::measure::{Builds, Field, Plan};
use crate::bench::record::Record;
use crate::stop::Stop;
use crate::terminal::{layout, note, progress};

/// Measure what detection costs the server, against the server's own commands
///
/// Starts servers of its own on free loopback ports and ends them again whatever happens. Contestants take turns in every
/// round. What is compared is the processor time of the server's main thread per reading, which other processes hardly
/// disturb; a ratio is that of two contestants within one round, given as the median of the rounds with the smallest and
/// largest. 2.00 of set: two readings in the processor time of one SET. Latency is from sending a pipeline to having read its
/// last reply, while all connections send as fast as they can: mostly waiting in line.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The redis-server or valkey-server to start
    #[arg(long, value_name = "PATH", env = "ANOMALY_REDIS_SERVER")]
    server: PathBuf,

    /// The module. Default: libredis_anomaly.so beside this program
    #[arg(long, value_name = "PATH")]
    module: Option<PathBuf>,

    /// redistimeseries.so; without it whatever needs a series is left out
    #[arg(long, value_name = "PATH", env = "ANOMALY_TIMESERIES")]
    timeseries: Option<PathBuf>,

    /// A Python with the packages redis and numpy, for the worker in Python; without it that is left out. `make bench` makes one
    #[arg(long, value_name = "PATH", env = "ANOMALY_BENCH_PYTHON")]
    python: Option<PathBuf>,

    /// Another build of the module, that takes part beside the first in every round
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,

    /// Only these, separated by commas, and whom they are compared with
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1.., value_parser = contestant::parse)]
    only: Vec<&'static Contestant>,

    /// A look: three rounds, a pipeline of 32
    #[arg(long)]
    quick: bool,

    /// Only what docs/scaling.md rests on: big fleets, the usual costs of a reading, bytes, and three nodes; a pipeline of 32
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    growth: bool,

    /// Rounds that count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,

    /// Commands that a connection sends before it waits for the first reply
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 32, 256], value_parser = crate::sender::parse_pipeline)]
    pipelines: Vec<usize>,

    /// Write a page and every run into this directory
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,

    /// Sensors of each contestant
    #[arg(long, default_value_t = 3200, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    sensors: u32,
}

const EXAMPLES: &str = "\
Examples:
  make bench
      everything, in less than ten minutes
  anomaly bench --quick
      a look
  anomaly bench --only add-zscore,madd50 --pipelines 32 --rounds 9
      two of them, with SET, which they are compared with
  anomaly bench --growth --record docs/benchmarks
      what docs/scaling.md rests on
  anomaly bench --only add-zscore --pipelines 32 --against before.so
      has a change of the module made it faster?

Without `make`, `. .cache/env` tells where the servers are.";

/// For `--growth`.
const GROWTH: [&str; 10] = [
    "add-zscore",
    "add-auto",
    "add-zscore-series",
    "madd50-series",
    "archived-time",
    "set-1m",
    "sensors-10k",
    "sensors-100k",
    "sensors-1m",
    "madd-1m",
];

pub(crate) fn run(args: &Args, stop: &Stop) -> anyhow::Result<()> {
    let machine = Machine::look();
    let dir = tempfile::Builder::new()
        .prefix("anomaly-bench-")
        .tempdir()
        .context("cannot make a directory")?;
    let floor = floor::build(dir.path())
        .inspect_err(|why| {
            note(format_args!(
                "anomaly: the command that does nothing is left out: {why:#}"
            ))
        })
        .ok();
    let parts = Parts {
        server: args.server.clone(),
        module: args.module.clone().map_or_else(beside, Ok)?,
        timeseries: args
            .timeseries
            .clone()
            .filter(|path| !path.as_os_str().is_empty()),
        floor,
        python: args
            .python
            .clone()
            .filter(|path| !path.as_os_str().is_empty()),
    };
    let other = Parts {
        module: args.against.clone().unwrap_or_default(),
        ..parts.clone()
    };
    let plan = Plan {
        rounds: if args.quick { 3 } else { args.rounds as usize },
        pipelines: match args.quick || args.growth {
            true => vec![32],
            false => args.pipelines.clone(),
        },
        sensors: args.sensors as usize,
    };
    let growing = || {
        ALL.iter()
            .filter(|one| GROWTH.contains(&one.name))
            .collect()
    };
    let only = if args.growth {
        growing()
    } else {
        args.only.clone()
    };
    let who = chosen(&only, &parts);
    let builds = Builds {
        this: &parts,
        other: &other,
    };
    let mut field = Field::new(builds, args.against.is_some(), &who, &plan, stop)?;
    let total = plan.runs(&field.entrants) * (plan.rounds + 1);
    let bar = progress(Some(total as u64), "{pos} of {len} runs")?;
    let runs = field.run(&plan, || bar.inc(1))?;
    bar.finish_and_clear();
    let mut machine = machine;
    let told = match args.quick || args.growth {
        true => Vec::new(),
        false => delays(&mut field, stop)?,
    };
    let (sizes, traffic, nodes) = match args.quick || !args.only.is_empty() {
        true => (Vec::new(), Vec::new(), Vec::new()),
        false => (
            memory::measure(&parts, stop)?,
            traffic::measure(&parts, stop)?,
            traffic::cluster(&parts, stop)?,
        ),
    };
    machine.ask(field.hosts.get((Place::Module, false), &parts, stop)?)?;

    let names: Vec<String> = field
        .entrants
        .iter()
        .map(|entrant| entrant.name())
        .collect();
    let tables = [
        (
            "Processor time of the server",
            table::rows(&runs, &names, &plan),
        ),
        ("From XADD to alert", table::delays(&told)),
        ("Bytes per sensor", table::sizes(&sizes)),
        ("Bytes sent on for a reading", table::traffic(&traffic)),
        (
            "Three nodes of a cluster, server ns per reading",
            table::nodes(&nodes),
        ),
        (
            "What was asked for",
            bars::rows(&runs, &told, &sizes, plan.usual()),
        ),
    ];
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n", machine.text())?;
    for (title, table) in tables.iter().filter(|(_, table)| table.len() > 1) {
        writeln!(out, "{title}\n{}", layout(table))?;
    }
    out.write_all(table::against(&runs, &names, &plan).as_bytes())?;
    if let Some(dir) = &args.record {
        let record = Record {
            machine: &machine,
            sensors: plan.sensors,
            rounds: plan.rounds,
            runs: &runs,
            xadd_to_alert: &told,
            bytes_per_sensor: &sizes,
            bytes_per_reading: &traffic,
            cluster_ns_per_reading: &nodes,
        };
        record::write(dir, &record, &tables)?;
    }
    Ok(())
}

/// From XADD to alert, for those who take readings out of a stream.
fn delays(field: &mut Field<'_>, stop: &Stop) -> anyhow::Result<Vec<Told>> {
    let mut all = Vec::new();
    for entrant in &mut field.entrants {
        if entrant.other
            || entrant.who.spikes.is_none()
            || !matches!(entrant.who.kind, Kind::Xadd { .. } | Kind::Told)
        {
            continue;
        }
        let alerts = entrant.who.alerts();
        let alerts = alerts.unwrap_or_else(|| String::from("anomaly:alerts"));
        let host = field.hosts.running((entrant.who.place, false))?;
        all.extend(latency::measure(entrant, host, &alerts, stop)?);
    }
    Ok(all)
}

/// Those that were asked for, and whom they are compared with, in the order of the table.
fn chosen(only: &[&'static Contestant], parts: &Parts) -> Vec<&'static Contestant> {
    let mut names: Vec<&str> = only.iter().map(|one| one.name).collect();
    // Whom somebody is compared with may itself be compared.
    while let Some(of) = ALL.iter().find_map(|one| {
        let wanted = names.contains(&one.name) && !one.of.is_empty();
        (wanted && !names.contains(&one.of)).then_some(one.of)
    }) {
        names.push(of);
    }
    ALL.iter()
        .filter(|one| names.is_empty() || names.contains(&one.name))
        .filter(|one| {
            !matches!(one.kind, Kind::Floor | Kind::Ask | Kind::Open) || parts.floor.is_some()
        })
        .filter(|one| parts.timeseries.is_some() || !one.needs_series())
        .filter(|one| parts.python.is_some() || one.worker != Some(Worker::Python))
        .collect()
}

fn beside() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let module = program.with_file_name("libredis_anomaly.so");
    anyhow::ensure!(
        module.exists(),
        "{} is missing: make build, or --module says where it is",
        module.display()
    );
    Ok(module)
}
