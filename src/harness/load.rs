//! `anomaly load`: simulated sensors at a steady rate or as fast as the server goes.

mod report;
mod schedule;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::inject::{Injection, Kind, Plan, Span};
use crate::load::report::Report;
use crate::load::schedule::{Rate, Schedule};
use crate::moment::{now_ms, parse_duration};
use crate::sender::{Reading, Sender, Sensor, Via, parse_pipeline};
use crate::server::Server;
use crate::signal::{Shape, Signal};
use crate::stop::Stop;
use crate::terminal::{note, progress};

/// Send readings of simulated sensors, with anomalies put in on purpose
///
/// A signal is base + sinusoid + drift + Gaussian noise. The same --seed gives the same values and the same anomalies
/// however fast they are sent; only the timestamps move with --start. What was injected is printed, so that whoever
/// consumes the alerts can be judged.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// How many sensors
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    sensors: u32,

    /// Readings per second of each sensor, or `max` for as fast as the server answers
    #[arg(long, default_value = "1", value_name = "N|max")]
    rate: Rate,

    /// Readings per sensor, then stop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Stop after this long (10s, 5m, 1h30m); without --count and --duration it goes on until Ctrl-C
    #[arg(long, value_parser = parse_duration)]
    duration: Option<Duration>,

    /// Timestamp of the first reading: RFC 3339, Unix seconds or milliseconds, or `now`. Default: now when readings keep
    /// pace with the clock, else so that the last one is now (the server refuses readings from its future)
    #[arg(long, value_name = "TIME")]
    start: Option<String>,

    /// Milliseconds of reading time between two readings of a sensor. Default: 1000/rate; 1000 with --rate max
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    step: Option<u64>,

    /// Middle of the signal
    #[arg(
        long,
        default_value_t = 22.0,
        allow_negative_numbers = true,
        help_heading = "Signal"
    )]
    base: f64,

    /// Height of the sinusoid
    #[arg(long, default_value_t = 3.0, help_heading = "Signal")]
    amplitude: f64,

    /// Period of the sinusoid in reading time
    #[arg(long, default_value = "24h", value_parser = parse_duration, help_heading = "Signal")]
    period: Duration,

    /// Standard deviation of the noise
    #[arg(long, default_value_t = 0.3, help_heading = "Signal")]
    noise: f64,

    /// Drift per day of reading time
    #[arg(
        long,
        default_value_t = 0.0,
        allow_negative_numbers = true,
        help_heading = "Signal"
    )]
    drift: f64,

    /// Seed of all that is random. The generator is ChaCha8, so that a seed means the same with every version of this program
    #[arg(long, default_value_t = 1, help_heading = "Signal")]
    seed: u64,

    /// Anomalies: KIND[:PROBABILITY[:READINGS[:SIZE]]] or `none`. KIND is spike, drop, shift, stuck or noise; PROBABILITY
    /// that it begins at a reading (0.0002); READINGS that it lasts (spike, drop 1, else 30); SIZE in multiples of --noise
    /// (10). May be repeated; default: all five
    #[arg(long = "anomaly", value_name = "KIND[:…]", help_heading = "Anomalies")]
    anomalies: Vec<String>,

    /// No anomaly begins within this many readings of a sensor's first or of its last anomaly
    #[arg(
        long,
        default_value_t = 60,
        value_name = "READINGS",
        help_heading = "Anomalies"
    )]
    calm: u64,

    /// Write what was injected to FILE as JSON lines (`-`: to stdout)
    #[arg(long, value_name = "FILE", help_heading = "Anomalies")]
    injected: Option<PathBuf>,

    /// How readings are sent
    #[arg(long, value_enum, default_value = "add", help_heading = "Sending")]
    via: Via,

    /// The stream for --via xadd
    #[arg(long, default_value = "raw_sensor_data", help_heading = "Sending")]
    stream: String,

    /// Readings under way before the first answer is awaited; with --via madd the readings in one command
    #[arg(long, default_value = "100", value_parser = parse_pipeline, value_name = "N", help_heading = "Sending")]
    pipeline: usize,

    /// Name of a device. In it and in --key, `n` in braces stands for the device's number, from 1
    #[arg(long, default_value = "device-{n}", help_heading = "Sending")]
    device: String,

    /// Name of what is measured; the value's field with --via xadd
    #[arg(long, default_value = "temperature", help_heading = "Sending")]
    metric: String,

    /// Key of a sensor. The default is the key that a watched stream gives it
    #[arg(
        long,
        default_value = "sensor:{device}:{metric}",
        help_heading = "Sending"
    )]
    key: String,
}

const EXAMPLES: &str = "\
Examples:
  anomaly load
      ten sensors, one reading per second each, until Ctrl-C
  anomaly load --sensors 1000 --rate max --count 10000 --via madd --pipeline 500
      ten million readings as fast as they go
  anomaly load --rate 100 --step 60000 --duration 1m --injected injected.jsonl
      a minute that shows four days, ending now, and what should be found in them
  anomaly load --anomaly spike:0.001 --anomaly shift:0.0005:120:6 --seed 7
      spikes, and shifts of 6 standard deviations that last 120 readings
  anomaly load --via xadd --stream raw_sensor_data
      as a producer that knows nothing of the module (after ANOMALY.WATCH SET raw_sensor_data)";

pub(crate) fn run(server: &Server, args: &Args, stop: &Stop) -> anyhow::Result<()> {
    let plans = plans(&args.anomalies)?;
    let shape = shape(args)?;
    // A plain server may be loaded by XADD too: it is what the module is compared with.
    let connection = match args.via {
        Via::Xadd => server.connect()?,
        Via::Add | Via::Madd => server.connect_with_module()?,
    };
    let before = match args.via {
        Via::Xadd => readings(server),
        Via::Add | Via::Madd => None,
    };
    let schedule = Schedule::new(args, now_ms())?;
    let mut report = Report::open(args.injected.as_deref())?;
    let sensors: Vec<Sensor> = (1..=args.sensors)
        .map(|number| name(args, number))
        .collect();
    let mut signals: Vec<Signal> = (0..u64::from(args.sensors))
        .map(|number| {
            Signal::new(
                shape,
                schedule.step,
                args.seed,
                number,
                plans.clone(),
                args.calm,
            )
        })
        .collect();

    let mut sender = Sender::new(connection, args.via, &args.stream, args.pipeline);
    let sent = send(
        &mut sender,
        &schedule,
        &sensors,
        &mut signals,
        &mut report,
        stop,
    );

    // What was sent stands, whatever ended it: the anomalies that were cut short and the counts are reported all the same.
    for (sensor, signal) in sensors.iter().zip(&mut signals) {
        if let Some(span) = signal.cut() {
            report.injected(schedule.injection(sensor, span))?;
        }
    }
    let (taken, refused) = (report.tally.taken(), report.tally.refused());
    report.close(&schedule)?;
    sent?;
    if taken > 0 && before.is_some() && readings(server) == before {
        note(format_args!(
            "anomaly: the module read none of these entries; is the stream watched? ANOMALY.WATCH SET {}",
            args.stream
        ));
    }
    if refused > 0 {
        bail!("the server refused {refused} readings (above)");
    }
    Ok(())
}

/// How many readings the module of that server has taken; nothing where there is no module or no right to ask.
fn readings(server: &Server) -> Option<u64> {
    let mut connection = server.try_connect().ok()?;
    let info = redis::cmd("INFO").arg("anomaly").query(&mut connection);
    let info: String = info.ok()?;
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("anomaly_readings:"))?;
    count.trim().parse().ok()
}

fn send(
    sender: &mut Sender,
    schedule: &Schedule,
    sensors: &[Sensor],
    signals: &mut [Signal],
    report: &mut Report,
    stop: &Stop,
) -> anyhow::Result<()> {
    let bar = progress(
        schedule.count.map(|count| count * sensors.len() as u64),
        "{human_pos} readings  {per_sec}",
    )?;
    let began = Instant::now();
    report.began = began;
    let mut result = Ok(());
    'ticks: for tick in 0.. {
        if schedule.is_over(tick, began.elapsed()) {
            break;
        }
        for (index, signal) in signals.iter_mut().enumerate() {
            let mut answered = |_, reply| report.tally.count(reply);
            // The sensors of one tick are spread over it: a thousand of them make a stream, not a burst each second.
            if let Some(due) = schedule.due(began, tick, index, sensors.len())
                && due > Instant::now()
            {
                result = sender.flush(sensors, &mut answered);
                stop.sleep_until(due);
            }
            if result.is_err() || stop.requested() {
                break 'ticks;
            }
            let sample = signal.sample();
            let reading = Reading {
                sensor: index,
                at: schedule.at(tick),
                value: sample.value,
            };
            result = sender.push(sensors, reading, &mut answered);
            report.sent += 1;
            if let (Some(span), Some(sensor)) = (sample.ended, sensors.get(index)) {
                report.injected(schedule.injection(sensor, span))?;
            }
        }
        bar.set_position(report.sent);
    }
    let flushed =
        result.and_then(|()| sender.flush(sensors, &mut |_, reply| report.tally.count(reply)));
    report.elapsed = began.elapsed();
    bar.finish_and_clear();
    flushed
}

fn plans(texts: &[String]) -> anyhow::Result<Vec<Plan>> {
    if texts.is_empty() {
        return Ok(Kind::ALL.into_iter().map(Plan::usual).collect());
    }
    if texts.iter().any(|text| text == "none") {
        return match texts.len() {
            1 => Ok(Vec::new()),
            _ => bail!("--anomaly none contradicts the other --anomaly"),
        };
    }
    texts
        .iter()
        .map(|text| {
            text.parse()
                .map_err(|wrong: String| anyhow::anyhow!("--anomaly {text}: {wrong}"))
        })
        .collect()
}

fn shape(args: &Args) -> anyhow::Result<Shape> {
    let period_ms = args.period.as_secs_f64() * 1000.0;
    if period_ms <= 0.0 {
        bail!("--period must be above 0");
    }
    let numbers = [args.base, args.amplitude, args.noise, args.drift];
    if args.noise < 0.0 || numbers.iter().any(|number| !number.is_finite()) {
        bail!("--base, --amplitude, --noise and --drift must be finite, --noise not negative");
    }
    let Args {
        base,
        amplitude,
        noise,
        drift,
        ..
    } = *args;
    Ok(Shape {
        base,
        amplitude,
        period_ms,
        noise,
        drift,
    })
}

fn name(args: &Args, number: u32) -> Sensor {
    let device = args.device.replace("{n}", &number.to_string());
    let key = args.key.replace("{n}", &number.to_string());
    let key = key
        .replace("{device}", &device)
        .replace("{metric}", &args.metric);
    Sensor {
        key,
        device,
        metric: args.metric.clone(),
    }
}

impl Schedule {
    fn injection(&self, sensor: &Sensor, span: Span) -> Injection {
        Injection {
            sensor: sensor.key.clone(),
            kind: span.kind,
            start: self.at(span.first),
            end: self.at(span.last),
            readings: span.last - span.first + 1,
            size: span.size,
        }
    }
}
