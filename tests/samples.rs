//! Samples wait for those of other readings, where nobody hears. Nobody may ever see that.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, SystemTime};

use anomaly_tests::{
    Args, Dir, Server, Stop, args, assert_same, call, call_many, field, int, list, text, wait_until,
};
use redis::{ConnectionLike, Value};

/// Commands one upon the other, the first of them readings that leave samples waiting.
fn cases() -> Vec<Vec<Args>> {
    let add = |at: i64| args!["ANOMALY.ADD", "s", at, format!("{at}.5")];
    let all = args!["TS.RANGE", "ts:{s}", "-", "+"];
    let eval = |script: &str| args!["EVAL", script, 2, "s", "ts:{s}"];
    vec![
        vec![add(3000), args!["TS.GET", "ts:{s}"]],
        vec![add(3000), add(4000), all.clone()],
        vec![add(3000), args!["ts.get", "ts:{s}"], add(4000), all.clone()],
        vec![add(3000), args!["DUMP", "ts:{s}"]],
        vec![add(3000), args!["DEL", "ts:{s}"], add(4000), all.clone()],
        vec![args!["DEL", "ts:{s}"], add(3000), add(4000), all.clone()],
        vec![add(3000), args!["DEL", "s", "ts:{s}"], args!["DBSIZE"]],
        vec![
            add(3000),
            args!["RENAME", "ts:{s}", "other"],
            add(4000),
            args!["TS.RANGE", "other", "-", "+"],
        ],
        vec![
            add(3000),
            args!["COPY", "ts:{s}", "other"],
            args!["TS.RANGE", "other", "-", "+"],
        ],
        vec![
            add(3000),
            args!["RENAME", "s", "t"],
            args!["ANOMALY.ADD", "t", 4000, 1],
            all.clone(),
        ],
        vec![add(3000), args!["FLUSHALL"], args!["DBSIZE"]],
        vec![add(3000), args!["FLUSHDB", "ASYNC"], args!["DBSIZE"]],
        vec![
            add(3000),
            args!["SWAPDB", 0, 1],
            add(4000),
            args!["SELECT", 1],
            all.clone(),
        ],
        vec![
            add(3000),
            args!["SELECT", 1],
            add(3000),
            add(4000),
            args!["SELECT", 0],
            add(5000),
            all.clone(),
        ],
        vec![
            add(3000),
            args!["MULTI"],
            add(4000),
            args!["TS.GET", "ts:{s}"],
            add(5000),
            args!["TS.GET", "ts:{s}"],
            args!["EXEC"],
        ],
        vec![
            add(3000),
            eval("return redis.call('TS.RANGE', KEYS[2], '-', '+')"),
        ],
        vec![
            add(3000),
            eval(
                "redis.call('ANOMALY.ADD', KEYS[1], 4000, 7) return redis.call('TS.GET', KEYS[2])",
            ),
        ],
        vec![add(3000), add(2500), add(3000), add(4000), all.clone()],
        vec![
            args!["ANOMALY.CONFIG", "SET", "short", "retention", 1000],
            args!["ANOMALY.ADD", "short", 1000, 1],
            args!["ANOMALY.ADD", "short", 100_000, 2],
            args!["ANOMALY.ADD", "short", 2000, 3],
            args!["TS.RANGE", "ts:{short}", "-", "+"],
        ],
        vec![add(3000), args!["ANOMALY.ADD", "ts:{s}", 1, 1]],
        vec![
            args!["DEL", "ts:{s}"],
            add(3000),
            args!["ANOMALY.ADD", "ts:{s}", 3000, 1],
        ],
        vec![
            args!["DEL", "ts:{s}"],
            add(3000),
            args!["ANOMALY.MADD", "a", 1, 1, "ts:{s}", 3000, 1],
        ],
        vec![
            args!["DEL", "ts:{s}"],
            add(3000),
            args!["XADD", "ts:{s}", "1-1", "a", "b"],
        ],
        vec![
            args!["SET", "ts:{s}", "text"],
            add(3000),
            add(4000),
            args!["GET", "ts:{s}"],
        ],
        vec![
            add(3000),
            args!["XADD", "watched", "3000-0", "device_id", "s", "value", 1],
            args!["XADD", "watched", "4000-0", "device_id", "s", "value", 2],
            args!["XADD", "unwatched", "4000-0", "device_id", "s", "value", 2],
            args!["DEL", "ts:{sensor:s:value}"],
            args!["XADD", "watched", "5000-0", "device_id", "s", "value", 3],
            args![
                "TS.MRANGE",
                "-",
                "+",
                "WITHLABELS",
                "FILTER",
                "stream=watched"
            ],
        ],
        streams(),
        vec![
            add(3000),
            args!["CONFIG", "SET", "anomaly.archive", "off"],
            add(4000),
            all.clone(),
        ],
        vec![
            args![
                "ANOMALY.MADD",
                "s",
                3000,
                1,
                "new",
                3000,
                2,
                "s",
                4000,
                3,
                "s",
                3500,
                4
            ],
            args!["ANOMALY.MADD", "new", 4000, 1, "s", 5000, 2],
            args!["TS.MRANGE", "-", "+", "FILTER", "sensor=(s,new)"],
        ],
        vec![
            add(3000),
            args!["TS.ADD", "ts:{s}", 4000, 9],
            add(4000),
            all.clone(),
        ],
        vec![add(3000), args!["ANOMALY.ADD", "s", 4000, 1e9], all.clone()],
        vec![
            add(3000),
            args!["ANOMALY.RESET", "s"],
            add(4000),
            args!["ANOMALY.BACKTEST", "s", "0", "+"],
        ],
        vec![add(3000), args!["SAVE"], add(4000), all],
    ]
}

/// Samples of two streams and of none, in turn, some of one time, whose series have to be made anew.
fn streams() -> Vec<Args> {
    let entry = |stream: &str, at: i64, device: &str| {
        let id = format!("{at}-0");
        args!["XADD", stream, id, "device_id", device, "value", at % 7]
    };
    let names = ["sensor:a:value", "sensor:b:value", "s"];
    let series = names.map(|name| format!("ts:{{{name}}}"));
    vec![
        entry("watched", 3000, "a"),
        entry("watched:2", 3000, "b"),
        [args!["DEL"], args![series[0], series[1], series[2]]].concat(),
        entry("watched", 4000, "a"),
        entry("watched:2", 4000, "b"),
        args!["ANOMALY.ADD", "s", 4000, 5],
        entry("watched", 5000, "a"),
        args!["ANOMALY.ADD", "s", 5000, 6],
        entry("watched:2", 5001, "b"),
        entry("watched", 5001, "a"),
        args![
            "TS.MRANGE",
            "-",
            "+",
            "WITHLABELS",
            "FILTER",
            format!("sensor=({})", names.join(","))
        ],
    ]
}

/// How long it took so far to write samples that had waited, in µs.
fn written_late(server: &Server) -> i64 {
    server.info("anomaly")["anomaly_archive_usec"]
        .parse()
        .unwrap()
}

/// Samples wait from now on: in the first milliseconds none does. Nothing is left of those that tell.
fn until_samples_wait(server: &Server) {
    let mut at = 0;
    server.wait_until("samples wait", || {
        at += 1000;
        server.cmd(&args!["ANOMALY.ADD", "first", at, 1]);
        written_late(server) > 0
    });
    server.cmd(&["DEL", "first", "ts:{first}"]);
}

/// What the commands gave, and what they left; `apart` with a PING before each, which has what waits written.
fn outcome(case: &[Args], apart: bool) -> (Vec<Value>, Vec<Value>, Vec<i64>) {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1e6"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "watched*"]);
    let mut connection = server.conn();
    let before = [
        args!["ANOMALY.ADD", "s", 1000, 1],
        args!["ANOMALY.ADD", "s", 2000, 2],
        args!["PING"],
    ];
    call_many(&mut connection, &before);
    until_samples_wait(&server);
    let counts = || {
        let info = server.info("anomaly");
        let counts = ["readings", "archived", "archive_failures", "alerts_firing"];
        counts.map(|name| info[&format!("anomaly_{name}")].parse::<i64>().unwrap())
    };
    let (first, late) = (counts(), written_late(&server));
    let replies = if apart {
        // From elsewhere, since in a transaction it would be queued.
        let mut one = |command: &Args| {
            server.cmd(&["PING"]);
            call_many(&mut connection, std::slice::from_ref(command)).remove(0)
        };
        case.iter().map(&mut one).collect()
    } else {
        call_many(&mut connection, case)
    };
    let left = [0, 1].map(|db| {
        call_many(&mut connection, &[args!["SELECT", db]]);
        let keys = call_many(&mut connection, &[args!["KEYS", "*"]]).remove(0);
        let mut keys: Vec<String> = list(&keys).iter().map(text).collect();
        keys.sort();
        let dumped = |key: &String| {
            let dump = call_many(&mut connection, &[args!["DUMP", key]]).remove(0);
            Value::Array(vec![Value::SimpleString(key.clone()), dump])
        };
        // Ids of alerts are of the time at which they were written.
        let lasting = keys.iter().filter(|key| *key != "anomaly:alerts");
        Value::Array(lasting.map(dumped).collect())
    });
    assert!(written_late(&server) > late, "samples waited");
    let counts = counts().into_iter().zip(first);
    let counts = counts.map(|(now, then)| now - then).collect();
    (replies, left.to_vec(), counts)
}

#[test]
fn no_command_sees_that_samples_wait() {
    let cases = cases();
    let next = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Relaxed)) {
                    let (upon, apart) = (outcome(case, false), outcome(case, true));
                    let shown: Vec<String> = case
                        .iter()
                        .map(|words| words.join(&b' ').escape_ascii().to_string())
                        .collect();
                    assert_eq!(upon, apart, "{shown:#?}");
                }
            });
        }
    });
}

/// What waits on the master has been passed on, and waits on the replica as well.
#[test]
fn replicas_and_the_file_have_the_samples_that_wait() {
    for case in cases() {
        let mut master = Server::builder().aof().config("appendfsync always").start();
        let replica = Server::builder().replica_of(&master).start();
        for command in [
            args!["ANOMALY.CONFIG", "SET", "*", "max", "1e6"],
            args!["ANOMALY.WATCH", "SET", "watched*"],
            args!["ANOMALY.ADD", "s", 1000, 1],
            args!["ANOMALY.ADD", "s", 2000, 2],
        ] {
            master.cmd(&command);
        }
        until_samples_wait(&master);
        let late = written_late(&master);
        // Readings that follow each other, also where nobody looks at them.
        let more = (10..20).map(|at| args!["ANOMALY.ADD", "t", at * 1000, at]);
        let case: Vec<Args> = more.chain(case).collect();
        call_many(&mut master.conn(), &case);
        assert!(written_late(&master) > late, "samples waited");
        assert_replica_and_file_agree(&mut master, &replica);
    }
}

/// Both have what the master has.
pub(crate) fn assert_replica_and_file_agree(master: &mut Server, replica: &Server) {
    master.replica_in_sync(replica);
    let here = master.picture();
    assert_same(&replica.picture(), &here);
    master.restart(Stop::Kill9);
    assert_same(&master.picture(), &here);
}

#[test]
fn within_a_transaction_or_a_script_each_sample_is_there_at_once() {
    let server = Server::start();
    let looks = [
        args!["ANOMALY.ADD", "s", 1000, 1],
        args!["ANOMALY.ADD", "s", 2000, 1],
        args!["MULTI"],
        args!["ANOMALY.ADD", "s", 3000, 1],
        args!["TS.GET", "ts:{s}"],
        args!["ANOMALY.MADD", "s", 3500, 1, "s", 4000, 1],
        args!["TS.GET", "ts:{s}"],
        args!["EXEC"],
    ];
    let done = call_many(&mut server.conn(), &looks);
    let time = |sample: &Value| int(&list(sample)[0]);
    let done = list(&done[7]);
    assert_eq!([time(&done[1]), time(&done[3])], [3000, 4000]);
    let script = "redis.call('ANOMALY.ADD', KEYS[1], 5000, 1)
        local first = redis.call('TS.GET', KEYS[2])
        redis.call('ANOMALY.MADD', KEYS[1], 6000, 1)
        return {first, redis.call('TS.GET', KEYS[2])}";
    let done = list(&server.cmd(&args!["EVAL", script, 2, "s", "ts:{s}"]));
    assert_eq!([time(&done[0]), time(&done[1])], [5000, 6000]);
}

#[test]
fn another_clients_transaction_fails_if_a_sample_waited_for_a_series_it_watches() {
    let server = Server::start();
    let mut watcher = server.conn();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let looks = [args!["WATCH", "ts:{s}"], args!["MULTI"], args!["PING"]];
    call_many(&mut watcher, &looks);
    server.cmd(&["ANOMALY.ADD", "s", "2000", "1"]);
    let done = call_many(&mut watcher, &[args!["EXEC"]]).remove(0);
    assert_eq!(done, Value::Nil);
}

/// No command follows: a subscriber is told.
#[test]
fn whoever_hears_of_an_alert_finds_the_sample_that_raised_it() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    server.cmd(&args!["ANOMALY.ADD", "s", 1000, 5]);
    let (mut hears, mut last) = (server.conn(), String::from("0-0"));
    for at in (2000..42_000).step_by(2000) {
        let (ok, spike) = (
            args!["ANOMALY.ADD", "s", at, 5],
            args!["ANOMALY.ADD", "s", at + 1000, 50],
        );
        let command = args!["XREAD", "BLOCK", 0, "STREAMS", "anomaly:alerts", last];
        let heard = thread::scope(|scope| {
            let heard = scope.spawn(|| {
                let alerts = call(&mut hears, &command);
                (alerts, call(&mut hears, &["TS.GET", "ts:{s}"]))
            });
            call_many(&mut server.conn(), &[ok, spike]);
            heard.join().unwrap()
        });
        let newest = list(&heard.1);
        // The end of the alarm before may be what is heard of.
        assert!(int(&newest[0]) >= at, "{newest:?}");
        last = server.stream("anomaly:alerts").last().unwrap().0.clone();
        let newest = list(&server.cmd(&["TS.GET", "ts:{s}"]));
        assert_eq!(
            (int(&newest[0]), text(&newest[1])),
            (at + 1000, "50".into())
        );
    }
}

#[test]
fn a_sample_does_not_wait_for_ever() {
    let server = Server::builder()
        .config("notify-keyspace-events KEA")
        .start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let mut subscriber = server.conn();
    let mut subscriber = subscriber.as_pubsub();
    subscriber.psubscribe("__keyspace@0__:ts:*").unwrap();
    subscriber
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    server.cmd(&["ANOMALY.ADD", "s", "2000", "1"]);
    let event: String = subscriber.get_message().unwrap().get_payload().unwrap();
    assert_eq!(event, "ts.add");
}

/// Adds readings to fifty sensors, as fast as it can, until it is told to stop or the server has gone.
fn load(server_url: &str, stop: &AtomicBool) {
    let mut connection = redis::Client::open(server_url)
        .and_then(|client| client.get_connection())
        .unwrap();
    for at in 1.. {
        let mut many = redis::pipe();
        for sensor in 0..50 {
            many.cmd("ANOMALY.ADD")
                .arg(format!("s{sensor}"))
                .arg(at)
                .arg(1);
        }
        let sent = connection.req_packed_commands(&many.get_packed_pipeline(), 0, 50);
        if sent.is_err() || stop.load(Relaxed) {
            return;
        }
    }
}

/// Readings and samples of each sensor.
fn counts(server: &Server) -> BTreeMap<String, (i64, i64)> {
    let counted = |sensor: i32| {
        let (key, series) = (format!("s{sensor}"), format!("ts:{{s{sensor}}}"));
        let readings = int(&field(&server.cmd(&["ANOMALY.INFO", &key]), "readings"));
        let samples = int(&field(&server.cmd(&["TS.INFO", &series]), "totalSamples"));
        (key, (readings, samples))
    };
    (0..50).map(counted).collect()
}

fn assert_each_reading_has_its_sample(server: &Server) {
    let counts = counts(server);
    assert!(
        counts.values().any(|(readings, _)| *readings > 100),
        "{counts:?}"
    );
    for (sensor, (readings, samples)) in &counts {
        assert_eq!(readings, samples, "{sensor} of {counts:?}");
    }
}

/// Not by BGSAVE, which is a command: by the server's own clock, in the midst of readings.
#[test]
fn what_the_server_saves_of_its_own_accord_has_the_sample_of_each_reading() {
    let server = Server::builder().config("save 1 1").start();
    let (dump, stop) = (server.dir().join("dump.rdb"), AtomicBool::new(false));
    let saved_at = || fs::metadata(&dump).and_then(|file| file.modified()).ok();
    let mut saved: Vec<Vec<u8>> = Vec::new();
    let url = server.url();
    thread::scope(|scope| {
        let loads = scope.spawn(|| load(&url, &stop));
        let mut last: Option<SystemTime> = saved_at();
        while saved.len() < 4 {
            wait_until("the server saves", || saved_at() != last);
            last = saved_at();
            saved.push(fs::read(&dump).unwrap());
        }
        stop.store(true, Relaxed);
        loads.join().unwrap();
    });
    // The first was saved when there may not have been many.
    for bytes in &saved[1..] {
        let dir = std::sync::Arc::new(Dir::new());
        fs::write(dir.join("dump.rdb"), bytes).unwrap();
        let again = Server::builder().dir(&dir).start();
        assert_each_reading_has_its_sample(&again);
    }
}

#[test]
fn a_server_that_ends_under_load_has_saved_the_sample_of_each_reading() {
    for _ in 0..3 {
        let mut server = Server::builder().config("save 3600 1").start();
        let (url, stop) = (server.url(), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| load(&url, &stop));
            server.wait_until("there are readings", || {
                let readings: u64 = server.info("anomaly")["anomaly_readings"].parse().unwrap();
                readings > 20_000
            });
            server.stop(Stop::Term);
        });
        server.start_again();
        assert_each_reading_has_its_sample(&server);
    }
}

/// Sensor and series expire while the sample waits: a series that only the sample brings back would stay for ever.
#[test]
fn a_sensor_that_expires_leaves_no_series_behind() {
    let server = Server::builder().config("hz 500").start();
    let mut connection = server.conn();
    let mut all = Vec::new();
    for sensor in 0..300 {
        let (key, series) = (format!("s{sensor}"), format!("ts:{{s{sensor}}}"));
        all.extend([
            args!["ANOMALY.ADD", &key, 1000, 1],
            args!["PEXPIRE", &key, 2],
            args!["PEXPIRE", &series, 2],
            args!["ANOMALY.ADD", &key, 2000, 1],
        ]);
        if sensor % 10 == 9 {
            let quiet: Vec<Args> = std::mem::take(&mut all);
            call_many(&mut connection, &quiet);
            thread::sleep(Duration::from_millis(10));
        }
    }
    // A sensor that expired before its second reading is a new one.
    let mut key = |key: String| int(&call_many(&mut connection, &[args!["EXISTS", key]])[0]);
    let orphans: Vec<i32> = (0..300)
        .filter(|sensor| key(format!("ts:{{s{sensor}}}")) > key(format!("s{sensor}")))
        .collect();
    assert!(orphans.is_empty(), "{orphans:?}");
}

/// The replica is told that the reading is in the series, and then that the series has expired.
#[test]
fn a_series_that_expires_takes_the_sample_that_waits_with_it() {
    let master = Server::builder().config("hz 500").start();
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    let mut connection = master.conn();
    for round in 0..30 {
        let sensors = (0..10).map(|sensor| format!("s{round}.{sensor}"));
        let all: Vec<Args> = sensors
            .flat_map(|key| {
                [
                    args!["ANOMALY.ADD", &key, 1000, 1],
                    args!["PEXPIRE", format!("ts:{{{key}}}"), 2],
                    args!["ANOMALY.ADD", &key, 2000, 1],
                ]
            })
            .collect();
        call_many(&mut connection, &all);
        thread::sleep(Duration::from_millis(10));
    }
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}

/// What a pause holds back was seen by the filter when it came, not when it runs: samples of readings that were held back
/// before it wait still when it runs.
fn held_back(before: &[&str], followed: bool) -> (Server, Option<Server>) {
    let master = Server::start();
    let replica = followed.then(|| Server::builder().replica_of(&master).start());
    master.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1e6"]);
    for at in before {
        master.cmd(&["ANOMALY.ADD", "s", at, "1"]);
    }
    if let Some(replica) = &replica {
        master.replica_in_sync(replica);
    }
    let mut connections = [master.conn(), master.conn()];
    let commands: [&[&str]; 2] = [
        &["ANOMALY.ADD", "s", "3000", "3"],
        &["RENAME", "ts:{s}", "other"],
    ];
    master.cmd(&["CLIENT", "PAUSE", "500", "WRITE"]);
    for (at, (connection, words)) in connections.iter_mut().zip(commands).enumerate() {
        let packed = redis::cmd(words[0]).arg(&words[1..]).get_packed_command();
        connection.send_packed_command(&packed).unwrap();
        master.wait_until("it is held back", || {
            master.info("clients")["blocked_clients"] == (at + 1).to_string()
        });
    }
    let replies = connections.map(|mut connection| text(&connection.recv_response().unwrap()));
    assert_eq!(replies, ["normal", "OK"]);
    (master, replica)
}

#[test]
fn a_series_that_is_renamed_after_a_pause_takes_with_it_the_samples_before() {
    // Before the second reading none has waited, and no command was looked at.
    for before in [&["1000", "2000"][..], &["1000"]] {
        let (server, _) = held_back(before, false);
        let range = server.cmd(&["TS.RANGE", "other", "-", "+"]);
        assert_eq!(list(&range).len(), before.len() + 1, "{range:?}");
        assert_eq!(int(&server.cmd(&["EXISTS", "ts:{s}"])), 0);
    }
}

#[test]
fn a_series_that_is_renamed_after_a_pause_is_the_same_on_a_replica() {
    let (master, replica) = held_back(&["1000", "2000"], true);
    let replica = replica.unwrap();
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}
