//! `anomaly alerts`: shows every alert at least once, over restarts of this program and of the server.

mod consumer;
mod entries;
mod log;
mod many;
mod missed;
mod name;
mod nodes;
mod seen;
mod sink;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use redis::{Connection, RedisError};

use crate::alerts::consumer::{Consumer, Trouble};
use crate::alerts::nodes::Nodes;
use crate::alerts::sink::Sink;
use crate::cluster;
use crate::server::{Server, has_module, plain};
use crate::stop::Stop;
use crate::terminal::note;

/// Follow the alerts: each is shown at least once, also over restarts and crashes of either side
///
/// Reads the alerts stream as a consumer group. An alert is acknowledged after it was written, so one that was under way
/// when this program was killed is shown again when it comes back (and at most that one: an alert whose `id` was shown
/// before is not shown twice). Several of them in one group share the alerts. Alerts that a dead one left behind are
/// taken over. The server may go away: it is waited for.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The alerts stream; may be repeated. Default: that of the server, on a cluster those of all nodes, new ones included
    #[arg(long = "stream", default_value = ALERTS, value_name = "KEY")]
    streams: Vec<String>,

    /// The consumer group; made if there is none
    #[arg(long, default_value = "anomaly")]
    group: String,

    /// Name within the group. Default: the host's name, with a number if another one runs there; the same again after a
    /// restart, so that what was under way comes first
    #[arg(long)]
    consumer: Option<String>,

    /// Where a new group begins: with what the stream holds, or with what comes
    #[arg(long, value_enum, default_value = "start")]
    from: Begin,

    /// How alerts are written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Also append to this file (without colours); its last ids are read back after a restart
    #[arg(long, value_name = "PATH")]
    log_file: Option<PathBuf>,

    /// Rotate the file before it grows beyond this many bytes: PATH.1 is the one before, PATH.2 the one before that
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000_000,
        requires = "log_file"
    )]
    rotate_bytes: u64,

    /// Rotated files kept
    #[arg(long, value_name = "N", default_value_t = 5, requires = "log_file")]
    rotate_keep: u32,

    /// Exit after showing this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Exit when nothing is waiting
    #[arg(long)]
    once: bool,

    /// Take over what another consumer read but did not acknowledge for this long
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    claim_after: u64,

    /// Acknowledge this many at a time: faster over a slow network, and as many may be shown again after a crash
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    batch: u32,
}

const ALERTS: &str = "anomaly:alerts";

impl Args {
    /// On a cluster there is no stream of that name, but one for each hash tag.
    fn finds_streams(&self) -> bool {
        self.streams == [ALERTS]
    }
}

const EXAMPLES: &str = "\
Examples:
  anomaly alerts
      all alerts so far, then those to come, until Ctrl-C
  anomaly alerts --from new --format json | jq 'select(.severity == \"critical\")'
      only new ones, for a program
  anomaly alerts --group audit --log-file alerts.log --rotate-bytes 1000000 >/dev/null
      a second, independent group that keeps a log
  anomaly alerts --once --format json
      what is waiting, then exit: for cron";

/// Where a new group begins.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Begin {
    Start,
    New,
}

/// How alerts are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One line for a person
    Text,
    /// One JSON object per line
    Json,
}

pub(crate) fn run(server: &Server, args: &Args, stop: &Stop) -> anyhow::Result<()> {
    // The first connection must work: a wrong address should not look like a server that is away.
    let mut connection = server.connect()?;
    let told = cluster::masters(&mut connection, server.names());
    if let (Err(error), true) = (&told, args.finds_streams())
        && error.code() == Some("NOPERM")
    {
        anyhow::bail!(
            "{} is a node of a cluster, whose others this user may not ask for (docs/guide/access.md): {}",
            server.address(),
            plain(error)
        );
    }
    let mut masters = some(told);
    let mut consumer = Consumer::new(args, Sink::open(args)?, masters.is_some())?;
    if !has_module(&mut connection).unwrap_or(true) && !consumer.a_stream_exists(&mut connection) {
        anyhow::bail!("{}", server.no_module());
    }
    let (mut outage, mut away) = (Outage::default(), Vec::new());
    let mut connection = Some(connection);
    while !stop.requested() {
        let fresh = connection
            .take()
            .map_or_else(|| again(server, masters.as_deref()), Ok);
        let outcome = match (fresh, &mut masters) {
            (Ok(fresh), None) => consumer.follow(fresh, stop, || outage.over(&server.address())),
            (Ok(mut fresh), Some(known)) => {
                if let Some(now) = some(cluster::masters(&mut fresh, server.names())) {
                    *known = now;
                }
                Nodes::connect(server, known, &mut away, !args.once)
                    .map_err(Trouble::from)
                    .and_then(|nodes| {
                        consumer.follow_nodes(fresh, nodes, stop, || outage.over(&server.address()))
                    })
            }
            (Err(error), _) => Err(Trouble::from(error)),
        };
        match outcome {
            Ok(()) => break,
            Err(Trouble::Server(..)) if stop.requested() => break,
            Err(Trouble::Server(error, _)) if Outage::passes(&error) => {
                outage.wait(server, &plain(&error), stop)
            }
            Err(Trouble::Server(error, about)) => {
                anyhow::bail!("the server refuses{about}: {}", plain(&error))
            }
            Err(Trouble::Output(error)) => return Err(error),
        }
    }
    consumer.say_goodbye();
    Ok(())
}

/// Where the masters of a cluster are. Who named streams and may not ask is served as by a single server.
fn some(told: Result<Option<Vec<(String, u16)>>, RedisError>) -> Option<Vec<(String, u16)>> {
    let masters = told.ok().flatten();
    masters.filter(|masters| !masters.is_empty())
}

/// Connects again: on a cluster any node that is known will do.
fn again(server: &Server, known: Option<&[(String, u16)]>) -> Result<Connection, RedisError> {
    let first = server.try_connect();
    if first.is_ok() {
        return first;
    }
    let others = known.unwrap_or_default().iter();
    others
        .filter_map(|(host, port)| server.at(host, *port).ok())
        .filter(|other| other.address() != server.address())
        .filter_map(|other| other.try_connect().ok())
        .next()
        .map_or(first, Ok)
}

/// A time without the server: said once, waited out with growing patience.
#[derive(Default)]
struct Outage {
    attempts: u32,
}

impl Outage {
    /// Whether waiting may help. What the server says about our request or our rights will not change by itself.
    fn passes(error: &redis::RedisError) -> bool {
        !matches!(
            error.code(),
            Some("ERR" | "WRONGTYPE" | "NOPERM" | "NOAUTH" | "WRONGPASS")
        ) || error
            .detail()
            .is_some_and(|detail| detail.contains("max number of clients"))
    }

    fn wait(&mut self, server: &Server, reason: &str, stop: &Stop) {
        let patience = self.patience(&server.address(), reason);
        stop.sleep_until(std::time::Instant::now() + patience);
    }

    /// How long to wait until it is tried again; said the first time.
    fn patience(&mut self, address: &str, reason: &str) -> Duration {
        if self.attempts == 0 {
            note(format_args!(
                "anomaly: lost Redis at {address}: {reason}; trying again"
            ));
        }
        let patience = Duration::from_millis(100 << self.attempts.min(6));
        self.attempts += 1;
        patience.min(Duration::from_secs(5))
    }

    fn over(&mut self, address: &str) {
        if self.attempts > 0 {
            note(format_args!("anomaly: Redis at {address} is back"));
        }
        self.attempts = 0;
    }
}
