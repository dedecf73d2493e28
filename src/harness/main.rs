//! `anomaly`: generates load, replays recordings, consumes alerts, shows the whole thing off, and scores it.
//!
//! One file per subcommand; what two of them share stands beside them (`sender`, `tally`, `alert`, `server`).

mod alert;
mod alerts;
mod bench;
mod cluster;
mod config;
mod demo;
mod dice;
mod evaluate;
mod inject;
mod load;
mod moment;
mod private;
mod replay;
mod sender;
mod server;
mod signal;
mod stop;
mod tally;
mod terminal;
mod tls;

use std::io;
use std::process::ExitCode;
use std::thread;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::server::Server;
use crate::stop::Stop;
use crate::tls::Tls;

/// Anomaly detection inside Redis: load, recordings, alerts and a demonstration.
#[derive(Parser)]
#[command(version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
struct Cli {
    /// The server, as redis://[user:password@]host[:port][/db], rediss://… (TLS) or unix:///path/to/socket
    #[arg(
        long,
        global = true,
        env = "REDIS_URL",
        hide_env_values = true,
        default_value = "redis://127.0.0.1:6379"
    )]
    url: String,

    #[command(flatten)]
    tls: Tls,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Load(Box<load::Args>),
    Replay(replay::Args),
    Alerts(alerts::Args),
    Demo(demo::Args),
    Evaluate(evaluate::Args),
    Config(config::Args),
    Bench(bench::Args),
}

const EXAMPLES: &str = "\
Examples:
  anomaly demo --server redis-server --module libredis_anomaly.so --seconds 30
      a private server, ten simulated racks, alerts as they fire, and an honest summary
  anomaly replay --speed max machine_temperature.csv
      a recording becomes the sensor `machine_temperature`
  anomaly alerts
      follow the alerts; stop with Ctrl-C, start again: nothing is missed
  anomaly config push rules.json
      the same rules on every master of a cluster
  anomaly load --sensors 100 --rate max --count 10000 --via madd
      how fast is this server?
  anomaly evaluate --nab NAB
      how well are labelled recordings judged?";

fn main() -> ExitCode {
    let cli =
        Cli::from_arg_matches(&command_line().get_matches()).unwrap_or_else(|wrong| wrong.exit());
    // The kernel hands signals to the main thread. All work is done in another one, because a read with a timeout that is
    // interrupted by Ctrl-C fails, and the reply on its way would be lost.
    match thread::spawn(move || run(cli)).join() {
        Ok(Ok(())) => ExitCode::SUCCESS,
        // The reader of our output went away (`anomaly alerts | head`): nobody is left to complain to.
        Ok(Err(error)) if stdout_closed(&error) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            terminal::note(format_args!("anomaly: {error:#}"));
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::from(101), // it panicked, and said so
    }
}

/// The demo and the benchmark start servers of their own: their help does not offer `--url` and what goes with it.
fn command_line() -> clap::Command {
    let command = Cli::command();
    let where_to = command
        .get_arguments()
        .filter(|option| option.is_global_set());
    let hidden: Vec<clap::Arg> = where_to.map(|option| option.clone().hide(true)).collect();
    command
        .mut_subcommand("demo", |demo| demo.args(&hidden))
        .mut_subcommand("bench", |bench| bench.args(&hidden))
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let stop = Stop::on_signals()?;
    let server = || Server::new(&cli.url, &cli.tls);
    match cli.command {
        Command::Load(args) => load::run(&server()?, &args, &stop),
        Command::Replay(args) => replay::run(&server()?, &args, &stop),
        Command::Alerts(args) => alerts::run(&server()?, &args, &stop),
        Command::Demo(args) => demo::run(&args, &stop),
        Command::Bench(args) => bench::run(&args, &stop),
        Command::Config(args) => config::run(&server()?, &args),
        Command::Evaluate(args) => evaluate::run(&server()?, &args, &stop),
    }
}

/// A broken pipe of our own output; one of the connection is wrapped in a `RedisError` and stays an error.
fn stdout_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|io| io.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Cli, command_line};
    use clap::FromArgMatches as _;

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
        // Which does not see that an option of all and one of a single command are called the same.
        for words in [
            "load --cert c --key k",
            "replay --cert c --key k FILE",
            "alerts --cert c",
            "demo --server s --module m",
            "bench --server s --module m",
            "config push FILE --cert c",
            "evaluate --nab DIR --cert c",
        ] {
            let words = ["anomaly"].into_iter().chain(words.split(' '));
            let matches = command_line().try_get_matches_from(words).unwrap();
            Cli::from_arg_matches(&matches).unwrap();
        }
    }

    #[test]
    fn what_starts_its_own_server_offers_none_to_talk_to() {
        for (name, offered) in [("demo", false), ("bench", false), ("load", true)] {
            let words = ["anomaly", name, "--help"];
            let help = command_line().try_get_matches_from(words).unwrap_err();
            for option in ["--url", "--cacert", "--insecure"] {
                assert_eq!(
                    help.to_string().contains(option),
                    offered,
                    "{name} {option}"
                );
            }
        }
    }
}
