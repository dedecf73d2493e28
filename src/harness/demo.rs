//! `anomaly demo`: a private server, simulated racks, alerts as they fire, and an honest summary.

mod judge;
mod scene;
mod summary;
mod watcher;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::demo::judge::Judgement;
use crate::demo::scene::Scene;
use crate::demo::summary::Summary;
use crate::demo::watcher::Watcher;
use crate::moment::now_ms;
use crate::private::PrivateServer;
use crate::sender::{Sender, Via};
use crate::stop::Stop;
use crate::terminal::stdout_takes_colour;

/// Watch anomalies being caught: a private server, ten simulated racks, alerts as they fire
///
/// Starts a Redis server of its own on a free loopback port, with the module, leaves nothing on disk, and ends it
/// again whatever happens. The racks' days are compressed so that a minute shows eight of them. At the end it counts what
/// was injected, caught, missed and falsely reported, from the alerts alone.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The redis-server or valkey-server to start
    #[arg(long, value_name = "PATH")]
    server: PathBuf,

    /// The module, libredis_anomaly.so
    #[arg(long, value_name = "PATH")]
    module: PathBuf,

    /// redistimeseries.so; without it the readings are judged but not archived
    #[arg(long, value_name = "PATH")]
    timeseries: Option<PathBuf>,

    /// How long; Ctrl-C ends it earlier, with the summary
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,

    /// Seed of the racks' readings and of what goes wrong with them
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const EXAMPLES: &str = "\
Example:
  anomaly demo --server /usr/bin/redis-server --module target/release/libredis_anomaly.so \\
               --timeseries /usr/lib/redis/redistimeseries.so --seconds 30";

pub(crate) fn run(args: &Args, stop: &Stop) -> anyhow::Result<()> {
    let modules: Vec<&Path> = (args.timeseries.iter())
        .chain([&args.module])
        .map(PathBuf::as_path)
        .collect();
    let private = PrivateServer::start(&args.server, &modules, &[], stop)?;
    let mut connection = private.server.connect_with_module()?;
    let mut scene = Scene::new(args.seconds, args.seed, now_ms());
    scene.set_rules(&mut connection)?;
    say(&scene.opening(&private, args.timeseries.is_some()))?;

    let watcher = Watcher::start(&private.server, stdout_takes_colour(), stop)?;
    let mut sender = Sender::new(connection, Via::Xadd, scene::STREAM, scene.racks());
    let played = play(&mut scene, &mut sender, stop);
    let heard = watcher.finish()?;
    scene.cut();
    played?;

    let samples = match args.timeseries {
        Some(_) => Some(scene.samples(&mut private.server.connect()?)?),
        None => None,
    };
    let verdicts = scene.verdicts(&mut private.server.connect()?)?;
    let judgement = Judgement::of(&scene.injections, &heard);
    let summary = Summary {
        scene: &scene,
        judgement: &judgement,
        heard: &heard,
        verdicts,
        samples,
    };
    say(&summary.text(args))
}

/// Sends every rack's reading once per tick, at a steady pace.
fn play(scene: &mut Scene, sender: &mut Sender, stop: &Stop) -> anyhow::Result<()> {
    let began = Instant::now();
    for tick in 0..scene.ticks {
        stop.sleep_until(
            began + Duration::from_secs_f64(tick as f64 / scene::TICKS_PER_SECOND as f64),
        );
        if stop.requested() {
            break;
        }
        scene.tick(tick, sender)?;
    }
    scene.elapsed = began.elapsed();
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
