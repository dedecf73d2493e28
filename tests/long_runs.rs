//! Runs that take minutes and tell figures, for `make soak`; what they assert are counts and bytes. A short form of the mixed
//! run is part of the suite.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anomaly_tests::{Args, Server, args, call, call_many, error, field, int, list, pairs, text};
use redis::Connection;

fn info(server: &Server, name: &str) -> i64 {
    server.info("anomaly")[&format!("anomaly_{name}")]
        .parse()
        .unwrap()
}

/// Sends commands in one go; none may be refused.
fn send(connection: &mut Connection, commands: &[Args]) {
    for (reply, command) in call_many(connection, commands).iter().zip(commands) {
        assert_eq!(error(reply), None, "{command:?}");
    }
}

fn megabytes_of_the_process(server: &Server) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes: f64 = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|number| number.parse().ok())
        .unwrap();
    kilobytes / 1024.0
}

/// Durations of what a client waited for.
#[derive(Default)]
struct Waits(Vec<Duration>);

impl Waits {
    fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.0.push(start.elapsed());
        done
    }

    fn over(&self, most: Duration) -> usize {
        self.0.iter().filter(|took| **took > most).count()
    }

    fn line(&mut self) -> String {
        self.0.sort();
        let at = |share: f64| {
            let last = self.0.len().saturating_sub(1);
            self.0
                .get((last as f64 * share) as usize)
                .map_or(0.0, |wait| wait.as_secs_f64() * 1e6)
        };
        format!(
            "{} times, p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, longest {:.0} µs",
            self.0.len(),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}

/// A value like that of a machine: a cycle, something that looks like noise, and now and then something odd.
fn value(sensor: i64, second: i64) -> f64 {
    let noise = (second.wrapping_mul(2_654_435_761) ^ sensor.wrapping_mul(40_503)) % 1000;
    let cycle = (second as f64 / 86_400.0 * std::f64::consts::TAU).sin();
    let odd = if (second / 10 + sensor * 37) % 700 < 4 {
        40.0
    } else {
        0.0
    };
    20.0 + 5.0 * cycle + noise as f64 / 1000.0 + odd
}

/// 24 hours of a fleet that reads every ten seconds, in 86: sensors come and go, fire and are resolved, by commands and by a
/// watched stream. What the module holds at the end is what it held after the first hours.
#[test]
#[ignore = "make soak: a minute and a half"]
fn soak_a_day_at_a_thousand_times_the_speed_leaves_memory_flat() {
    let server = Server::builder()
        .config("anomaly.alerts-maxlen 2000")
        .start();
    for rule in [
        &[
            "*",
            "retention",
            "1800000",
            "chunk-size",
            "128",
            "nodata",
            "600000",
        ][..],
        &[
            "limit:*", "max", "40", "clear", "2", "recent", "20", "repeat", "60000",
        ],
        &[
            "stat:*", "zscore", "5", "mad", "8", "ewma", "6", "cusum", "9", "window", "60",
        ],
    ] {
        server.cmd(&[&["ANOMALY.CONFIG", "SET"], rule].concat());
    }
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    let mut connection = server.conn();
    let now = text(&list(&server.cmd(&["TIME"]))[0])
        .parse::<i64>()
        .unwrap();
    let first = now - 86_400;
    let (begun, mut told) = (Instant::now(), Vec::new());
    let mut shown = Instant::now();
    for second in (0..86_400).step_by(10) {
        // Every hour a few sensors are replaced by others.
        let generation = |sensor: i64| (second + sensor * 720) / 86_400;
        let at = (first + second) * 1000;
        let mut madd = args!["ANOMALY.MADD"];
        for sensor in 0..200 {
            let kind = ["limit", "stat", "auto", "limit"][sensor as usize % 4];
            let name = format!("{kind}:{sensor}:{}", generation(sensor));
            madd.extend(args![name, at, value(sensor, second)]);
        }
        let mut all = vec![madd];
        for sensor in 200..240 {
            let device = format!("d{sensor}-{}", generation(sensor));
            all.push(args![
                "XADD",
                "raw",
                "MAXLEN",
                "~",
                500,
                "*",
                "device_id",
                device,
                "temperature",
                value(sensor, second),
                "timestamp",
                at
            ]);
        }
        for sensor in 0..240 {
            if generation(sensor) != (second - 10 + sensor * 720) / 86_400 {
                let (kind, old) = (
                    ["limit", "stat", "auto", "limit"][sensor as usize % 4],
                    generation(sensor) - 1,
                );
                for name in [
                    format!("{kind}:{sensor}:{old}"),
                    format!("sensor:d{sensor}-{old}:temperature"),
                ] {
                    all.push(args!["DEL", &name, format!("ts:{{{name}}}")]);
                }
            }
        }
        send(&mut connection, &all);
        let due = begun + Duration::from_millis(second as u64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if shown.elapsed() > Duration::from_secs(5) || second + 10 == 86_400 {
            shown = Instant::now();
            let bytes = info(&server, "bytes");
            println!(
                "{:5.1} h in {:5.1} s: {bytes} bytes of the module, {:.1} MB of the process, {} sensors, {} readings, {} alerts",
                second as f64 / 3600.0,
                begun.elapsed().as_secs_f32(),
                megabytes_of_the_process(&server),
                info(&server, "sensors"),
                info(&server, "readings"),
                info(&server, "alerts_firing") + info(&server, "alerts_resolved"),
            );
            told.push((second, bytes));
        }
    }
    assert_eq!(info(&server, "sensors"), 240);
    assert_eq!(
        info(&server, "dead_letters") + info(&server, "archive_failures"),
        0
    );
    assert!(info(&server, "alerts_firing") > 1000, "something happened");
    let early = told
        .iter()
        .filter(|(second, _)| (7_200..21_600).contains(second));
    let early = early.map(|(_, bytes)| *bytes).max().unwrap();
    let (_, last) = told.last().unwrap();
    assert!(
        *last * 50 <= early * 51,
        "{last} bytes at the end, {early} after the first hours"
    );
}

/// ADDs one by one, with a million sensors in memory: alone, and while the server saves them.
#[test]
#[ignore = "make soak: a minute, and it measures"]
fn soak_adds_are_served_while_a_million_sensors_are_saved() {
    let server = Server::builder().config("anomaly.archive off").start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "zscore", "4", "window", "30"]);
    let mut connection = server.conn();
    let name = |n: u64| format!("sensor:{n:07}:t");
    for from in (0..1_000_000).step_by(1000) {
        let mut madd = args!["ANOMALY.MADD"];
        (from..from + 1000).for_each(|n| madd.extend(args![name(n), 1000, n % 17]));
        call(&mut connection, &madd);
    }
    assert_eq!(info(&server, "sensors"), 1_000_000);
    println!("{:.0} MB of the process", megabytes_of_the_process(&server));
    let mut at = 2000u64;
    let mut add = |waits: &mut Waits| {
        at += 1;
        let sensor = name(at.wrapping_mul(2_654_435_761) % 1_000_000);
        waits.time(|| call(&mut connection, &args!["ANOMALY.ADD", sensor, at, at % 17]));
    };
    let saving = || server.info("persistence")["rdb_bgsave_in_progress"] == "1";
    let mut without = Waits::default();
    (0..100_000).for_each(|_| add(&mut without));
    let (mut with, mut saves) = (Waits::default(), 0);
    while saves < 3 {
        server.cmd(&["BGSAVE"]);
        saves += 1;
        loop {
            (0..500).for_each(|_| add(&mut with));
            if !saving() {
                break;
            }
        }
    }
    println!("ADD of one of 1,000,000 sensors: {}", without.line());
    println!("ADD during {saves} BGSAVEs: {}", with.line());
    let stats = server.info("stats");
    println!("latest fork: {} µs", stats["latest_fork_usec"]);
    assert_eq!(server.info("persistence")["rdb_last_bgsave_status"], "ok");
    assert_eq!(info(&server, "sensors"), 1_000_000);
}

fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What a machine makes of slices that are all alike, of 0.25 ms of reckoning each and nothing else: what they take longer
/// is not theirs, though it is counted as a processor's time.
fn reckon(going: impl Fn() -> bool) -> Waits {
    let reckon =
        |steps: u64| (0..steps).fold(1u64, |x, n| std::hint::black_box(x.wrapping_mul(31) ^ n));
    let start = processor_time();
    reckon(1_000_000);
    let steps = 250_000_000_000 / (processor_time() - start).as_nanos().max(1) as u64;
    let mut waits = Waits::default();
    while going() {
        let start = processor_time();
        reckon(steps);
        waits.0.push(processor_time() - start);
        thread::sleep(Duration::from_millis(3));
    }
    waits
}

/// Everything at once for so long: readings one by one and in bulk, a watched stream, silent sensors, streams that are read
/// from their beginning, backtests, rules that change. Returns what the server says of it.
fn mixed(server: &Server, length: Duration, fleet: i64) {
    for rule in [
        &["*", "chunk-size", "128", "retention", "600000"][..],
        &["limit:*", "max", "40", "clear", "1"],
        &["quiet:*", "nodata", "1000", "max", "1000"],
        &["gone:*", "expire", "1500", "max", "1000"],
    ] {
        server.cmd(&[&["ANOMALY.CONFIG", "SET"], rule].concat());
    }
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "history",
        "retention",
        "0",
        "max",
        "30",
    ]);
    let mut connection = server.conn();
    for from in (0..100_000i64).step_by(1000) {
        let mut madd = args!["ANOMALY.MADD"];
        (from..from + 1000).for_each(|n| madd.extend(args!["history", n * 1000, value(1, n)]));
        call(&mut connection, &madd);
    }
    server.cmd(&["CONFIG", "SET", "latency-monitor-threshold", "1"]);
    server.cmd(&["CONFIG", "RESETSTAT"]);
    let over = AtomicBool::new(false);
    let going = || !over.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let adds = scope.spawn(|| {
            let (mut connection, mut waits) = (server.conn(), Waits::default());
            for n in 0i64.. {
                if !going() {
                    break;
                }
                let add = args![
                    "ANOMALY.ADD",
                    format!("limit:{}", n % 500),
                    "*",
                    value(n % 500, n)
                ];
                waits.time(|| call(&mut connection, &add));
                thread::sleep(Duration::from_micros(300));
            }
            waits
        });
        let entries = scope.spawn(|| {
            let (mut connection, mut waits) = (server.conn(), Waits::default());
            for n in 0i64.. {
                if !going() {
                    break;
                }
                let entry = args![
                    "XADD",
                    "raw",
                    "MAXLEN",
                    "~",
                    1000,
                    "*",
                    "id",
                    n % 100,
                    "t",
                    value(n % 100, n),
                    "h",
                    n % 50
                ];
                waits.time(|| call(&mut connection, &entry));
                thread::sleep(Duration::from_micros(700));
            }
            waits
        });
        // A fleet that is silent for longer than it may be, in turns; some are forgotten and come again.
        scope.spawn(|| {
            let mut connection = server.conn();
            while going() {
                for from in (0..fleet).step_by(50) {
                    let mut madd = args!["ANOMALY.MADD"];
                    (from..from + 50).for_each(|n| {
                        madd.extend(args![
                            format!("quiet:{n}"),
                            "*",
                            n % 9,
                            format!("gone:{n}"),
                            "*",
                            n % 9
                        ]);
                    });
                    call(&mut connection, &madd);
                    thread::sleep(Duration::from_micros(4_000_000 * 50 / fleet as u64));
                    if !going() {
                        return;
                    }
                }
            }
        });
        scope.spawn(|| {
            let mut connection = server.conn();
            while going() {
                call(
                    &mut connection,
                    &args![
                        "ANOMALY.BACKTEST",
                        "history",
                        "-",
                        "+",
                        "DIFF",
                        "zscore",
                        4,
                        "for",
                        2
                    ],
                );
                thread::sleep(Duration::from_millis(200));
            }
        });
        scope.spawn(|| {
            let mut connection = server.conn();
            for round in 0i64.. {
                if !going() {
                    break;
                }
                let stream = format!("old:{round}");
                for from in (0..20_000).step_by(1000) {
                    let some: Vec<Args> = (from..from + 1000)
                        .map(|n| {
                            args![
                                "XADD",
                                &stream,
                                format!("{}-0", 1000 + n),
                                "id",
                                n % 20,
                                "t",
                                n % 35
                            ]
                        })
                        .collect();
                    send(&mut connection, &some);
                }
                call(
                    &mut connection,
                    &args![
                        "ANOMALY.WATCH",
                        "SET",
                        &stream,
                        "KEY",
                        "$stream:$device:$metric",
                        "FROM",
                        0
                    ],
                );
                while is_left(&mut connection, &stream) && going() {
                    thread::sleep(Duration::from_millis(20));
                }
                call(&mut connection, &args!["ANOMALY.WATCH", "DEL", &stream]);
                call(&mut connection, &args!["UNLINK", &stream]);
                call(
                    &mut connection,
                    &args!["ANOMALY.CONFIG", "SET", "limit:*", "max", 40 + round % 3],
                );
                thread::sleep(Duration::from_millis(300));
            }
        });
        let alike = scope.spawn(|| reckon(going));
        thread::sleep(length);
        over.store(true, Ordering::Relaxed);
        let mut alike = alike.join().unwrap();
        println!(
            "slices of 0.25 ms of nothing but reckoning: {}, {} over 1 ms",
            alike.line(),
            alike.over(Duration::from_millis(1))
        );
        println!("ADD, as its client saw it: {}", adds.join().unwrap().line());
        println!(
            "XADD to a watched stream:  {}",
            entries.join().unwrap().line()
        );
    });
}

/// Whether there is something left to read of what a watched stream held before.
fn is_left(connection: &mut Connection, stream: &str) -> bool {
    let watch = pairs(&call(connection, &["ANOMALY.WATCH", "GET", stream]));
    let backlog = watch.iter().find(|(name, _)| name == "backlog");
    backlog.is_some_and(|(_, parts)| !list(parts).is_empty())
}

/// `count` and `max` of a line of INFO about slices.
fn slices(server: &Server, name: &str) -> [u64; 2] {
    let info = server.info("anomaly");
    let line = &info[&format!("anomaly_{name}")];
    ["count", "max"].map(|wanted| {
        let value = line.split(',').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name == wanted).then_some(value)
        });
        value.unwrap().parse().unwrap()
    })
}

#[track_caller]
fn everything_took_part(server: &Server) {
    for name in ["archive_failures", "alerts_failed", "dead_letters"] {
        assert_eq!(info(server, name), 0, "{name}");
    }
    for name in [
        "alerts_firing",
        "alerts_resolved",
        "forgotten",
        "timer_looks",
        "backlog_read",
        "backtests",
    ] {
        if name != "backlog_read" {
            assert!(info(server, name) > 0, "{name}");
        }
    }
    for name in ["timer_slices", "backlog_slices", "backtest_slice_times"] {
        let [count, longest] = slices(server, name);
        assert!(count > 1 && longest > 0, "{name}: {count}, {longest}");
    }
}

#[test]
#[ignore = "make soak: ten minutes (ANOMALY_SOAK_SECONDS), and it measures"]
fn soak_a_mixed_run_tells_how_long_the_server_was_busy_with_what() {
    let seconds = env::var("ANOMALY_SOAK_SECONDS").map_or(600, |n| n.parse().expect("a number"));
    let server = Server::start();
    mixed(&server, Duration::from_secs(seconds), 20_000);
    let latency = server.info("latencystats");
    for (command, figures) in latency {
        if ["anomaly", "xadd"]
            .iter()
            .any(|name| command.contains(name))
        {
            println!("{command}: {figures}");
        }
    }
    let all = server.info("anomaly");
    for name in [
        "timer_slices",
        "backlog_slices",
        "backtest_slice_times",
        "readings",
        "timer_looks",
        "forgotten",
        "backtests",
        "alerts_firing",
    ] {
        println!("{name}: {}", all[&format!("anomaly_{name}")]);
    }
    for event in list(&server.cmd(&["LATENCY", "LATEST"])) {
        let parts = list(&event);
        println!(
            "latency monitor: {} at most {} ms",
            text(&parts[0]),
            text(&parts[3])
        );
    }
    everything_took_part(&server);
}

/// The same for three seconds. Nothing depends on how fast the machine is: work of our own choice comes in many slices.
#[test]
fn work_of_our_own_choice_comes_in_many_slices() {
    let server = Server::start();
    mixed(&server, Duration::from_secs(3), 1000);
    everything_took_part(&server);
    let [backtest, _] = slices(&server, "backtest_slice_times");
    let backtests = info(&server, "backtests") as u64;
    // 100,000 samples each: far more than one slice can read.
    assert!(
        backtest >= 20 * backtests,
        "{backtest} slices of {backtests} backtests"
    );
    let (series, before) = ("TS.INFO", slices(&server, "backlog_slices")[0]);
    let mut connection = server.conn();
    let some: Vec<Args> = (0..20_000)
        .map(|n| args!["XADD", "old", format!("{}-0", 1000 + n), "t", n % 35])
        .collect();
    send(&mut connection, &some);
    server.cmd(&[
        "ANOMALY.WATCH",
        "SET",
        "old",
        "KEY",
        "s:$metric",
        "FROM",
        "0",
    ]);
    server.wait_until("everything is read", || !is_left(&mut connection, "old"));
    assert_eq!(
        int(&field(&server.cmd(&[series, "ts:{s:t}"]), "totalSamples")),
        20_000
    );
    let slices = slices(&server, "backlog_slices")[0] - before;
    assert!(slices >= 20, "20,000 entries were read in {slices} slices");
}
