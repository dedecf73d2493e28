//! The reading that is taken in is that of the entry just added, however its command comes to run: the module need not have
//! read it back from the stream, and must never mistake one command's words for another's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anomaly_tests::{
    Server, Stop, args, assert_same, call, entries, error, field, float, int, text, wait_until,
};

fn watching() -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1000"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw*"]);
    // From the first entry on, commands are looked at before they run.
    server.cmd(&["XADD", "raw", "1-1", "id", "first", "t", "1"]);
    server
}

fn value(server: &Server, device: &str) -> f64 {
    let info = server.cmd(&["ANOMALY.INFO", &format!("sensor:{device}:t")]);
    float(&field(&info, "value"))
}

/// The sources of the alerts are the entries with that device, whatever has been trimmed since.
fn sources(server: &Server) -> Vec<(String, String)> {
    let of = |fields: &[(String, String)], name: &str| {
        let found = fields.iter().find(|field| field.0 == name);
        found.map(|field| field.1.clone()).unwrap_or_default()
    };
    server
        .stream("anomaly:alerts")
        .iter()
        .map(|(_, fields)| (of(fields, "device"), of(fields, "source")))
        .collect()
}

#[test]
fn commands_held_back_by_a_pause_are_read_as_they_run() {
    let server = watching();
    let mut connections = [server.conn(), server.conn(), server.conn()];
    // Until the pause is over by itself no other command comes: the last of them is the one that was seen last.
    server.cmd(&["CLIENT", "PAUSE", "500", "WRITE"]);
    for (n, connection) in (1..).zip(&mut connections) {
        let (device, value) = (format!("d{n}"), n.to_string());
        let words = ["XADD", "raw", "*", "id", &device, "t", &value, "ts", "1"];
        let packed = redis::cmd(words[0]).arg(&words[1..]).get_packed_command();
        connection.send_packed_command(&packed).unwrap();
    }
    for connection in &mut connections {
        let id = connection.recv_response().unwrap();
        assert!(text(&id).contains('-'));
    }
    let devices = ["d1", "d2", "d3"];
    assert_eq!(
        devices.map(|device| value(&server, device)),
        [1.0, 2.0, 3.0]
    );
}

#[test]
fn the_words_of_a_refused_command_are_not_those_of_the_next() {
    let server = watching();
    let mut connection = server.conn();
    let refused = ["XADD", "raw", "1-1", "id", "x", "t", "9", "ts", "1"];
    for run in [
        vec![args![
            "EVAL",
            "redis.pcall('XADD', KEYS[1], '1-1', 'id', 'x', 't', 9, 'ts', 1) return redis.call('XADD', KEYS[1], '5-1', 'id', 'a', 't', 1)",
            1,
            "raw"
        ]],
        vec![
            args!["MULTI"],
            args!["XADD", "raw", "6-1", "id", "b", "t", "2"],
            args!["EXEC"],
        ],
        vec![
            args!["MULTI"],
            args!["XADD", "raw", "7-1", "id", "c", "t", "3"],
            args![
                "EVAL",
                "return redis.pcall('XADD', KEYS[1], '1-1', 'id', 'x', 't', 9, 'ts', 1)",
                1,
                "raw"
            ],
            args!["XADD", "raw", "7-2", "id", "d", "t", "4", "ts", "1"],
            args!["XADD", "raw", "1-1", "id", "x", "t", "9"],
            args!["XADD", "raw", "7-3", "id", "e", "t", "5", "ts", "2"],
            args!["EXEC"],
        ],
        vec![args![
            "XADD",
            "raw",
            "NOMKSTREAM",
            "MAXLEN",
            "~",
            100,
            "8-1",
            "id",
            "f",
            "t",
            "6",
            "ts",
            "3"
        ]],
    ] {
        assert!(anomaly_tests::try_call(&mut connection, &refused).is_err());
        for reply in anomaly_tests::call_many(&mut connection, &run) {
            assert_eq!(error(&reply), None);
        }
    }
    let devices = ["a", "b", "c", "d", "e", "f"];
    assert_eq!(
        devices.map(|device| value(&server, device)),
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    );
    assert_eq!(
        server.info("anomaly")["anomaly_sensors"],
        "7",
        "there is no x"
    );
    assert_eq!(server.info("anomaly")["anomaly_dead_letters"], "0");
}

#[test]
fn an_alert_and_a_dead_letter_name_their_entry_however_it_was_added() {
    let server = watching();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    let mut expected = Vec::new();
    let mut connection = server.conn();
    let mut n = 0;
    for time in [None, Some("ts")] {
        for trim in [
            &[][..],
            &["MAXLEN", "0"],
            &["MAXLEN", "~", "1"],
            &["MAXLEN", "=", "1"],
            &["MINID", "~", "999999"],
            &["MINID", "999999"],
        ] {
            for (way, stream) in [
                ("client", "raw:1"),
                ("script", "raw:1"),
                ("transaction", "raw:2"),
            ] {
                n += 1;
                let (device, id) = (format!("d{n}"), format!("{n}-7"));
                let mut words = vec!["XADD", stream];
                words.extend(trim);
                words.extend([id.as_str(), "id", &device, "t", "50"]);
                words.extend(time.into_iter().flat_map(|field| [field, "1000"]));
                match way {
                    "client" => drop(call(&mut connection, &words)),
                    "script" => {
                        let script = "local id = redis.call(unpack(ARGV)) redis.call('XADD', KEYS[1], '*', 'id', 'other', 't', 1) redis.call('XTRIM', KEYS[1], 'MAXLEN', 0) return id";
                        let words = [&["EVAL", script, "1", "raw:3"], &words[..]].concat();
                        call(&mut connection, &words);
                    }
                    _ => {
                        call(&mut connection, &["MULTI"]);
                        call(&mut connection, &words);
                        call(
                            &mut connection,
                            &["XADD", stream, "*", "id", "other", "t", "1"],
                        );
                        call(&mut connection, &["EXEC"]);
                        call(&mut connection, &["DEL", stream]);
                    }
                }
                expected.push((device, format!("{stream} {id}")));
                // The next id must be a small one again.
                call(&mut connection, &["DEL", stream]);
            }
        }
    }
    assert_eq!(sources(&server), expected);
    let id = text(&call(
        &mut connection,
        &["XADD", "raw", "*", "id", "d", "t", "x", "ts", "5"],
    ));
    let dead = entries(&server.cmd(&["XRANGE", "anomaly:dead", "-", "+"]));
    assert_eq!(dead[0].1[1], ("id".into(), id));
}

#[test]
fn entries_of_one_script_have_their_own_ids() {
    let server = watching();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    let script = "for n = 1, 3 do redis.call('XADD', KEYS[1], ARGV[1] .. n, 'id', ARGV[2] .. n, 't', 50, unpack(ARGV, 3)) end redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)";
    let mut expected = Vec::new();
    // The client's own entries come between: it is known as one.
    for (round, time) in [&[][..], &["ts", "1000"], &[], &["ts", "2000"]]
        .iter()
        .enumerate()
    {
        let (ids, devices) = (format!("{}-", round + 10), format!("d{round}:"));
        let words = ["EVAL", script, "1", "raw", &ids, &devices];
        let mut connection = server.conn();
        for n in 1..=3 {
            expected.push((format!("{devices}{n}"), format!("raw {ids}{n}")));
        }
        call(&mut connection, &[&words, *time].concat());
        let id = format!("{ids}9");
        let own = ["XADD", "raw", &id, "id", &devices, "t", "50"];
        call(&mut connection, &[&own, *time].concat());
        expected.push((devices, format!("raw {id}")));
    }
    assert_eq!(sources(&server), expected);
}

/// What the names of an entry say is kept for the next entry with the same names; it is another's with another watch, name or
/// order.
#[test]
fn entries_are_read_by_their_own_names_and_the_watch_there_is() {
    let server = watching();
    let other = "ANOMALY.WATCH SET other DEVICE t VALUES 1 id KEY o:$device:$metric";
    let other: Vec<&str> = other.split(' ').collect();
    server.cmd(&other);
    let mut at = 1_700_000_000_000_i64;
    let mut add = |stream: &str, fields: &str, sensor: &str, value: f64| {
        at += 1000;
        let at = at.to_string();
        let fields = fields.replace("NOW", &at);
        let fields: Vec<&str> = fields.split(' ').collect();
        server.cmd(&[&["XADD", stream, "*"], &fields[..]].concat());
        let info = server.cmd(&["ANOMALY.INFO", sensor]);
        let (last, found) = (int(&field(&info, "last")), float(&field(&info, "value")));
        assert_eq!((last.to_string(), found), (at, value), "{fields:?}");
    };
    for _ in 0..2 {
        add("raw", "id d1 t 1 ts NOW", "sensor:d1:t", 1.0);
        add("raw", "id d1 t 2 ts NOW", "sensor:d1:t", 2.0);
        add("raw", "id d2 t 3 ts NOW", "sensor:d2:t", 3.0);
        add("raw", "t 4 id d1 ts NOW", "sensor:d1:t", 4.0);
        add("raw", "t 4.5 ts NOW id d3", "sensor:d3:t", 4.5);
        add("raw", "id d1 h 5 ts NOW", "sensor:d1:h", 5.0);
        add("raw", "id x id d2 t 6 ts NOW", "sensor:d2:t", 6.0);
        add("raw", "id d1 t 7 ts NOW u 8", "sensor:d1:u", 8.0);
        add("raw", "id d1 t 9 ts NOW", "sensor:d1:t", 9.0);
        let others = "ANOMALY.WATCH SET raw* DEVICE t VALUES 1 id";
        server.cmd(&others.split(' ').collect::<Vec<_>>());
        add("raw", "id 10 t d4 ts NOW", "sensor:d4:id", 10.0);
        server.cmd(&["ANOMALY.WATCH", "SET", "raw*", "KEY", "k:$metric:$device"]);
        add("raw", "id 11 t 12 ts NOW", "k:t:11", 12.0);
        server.cmd(&["ANOMALY.WATCH", "SET", "raw*"]);
        add("raw", "id d1 t 13 ts NOW", "sensor:d1:t", 13.0);
        server.cmd(&["RENAME", "raw", "other"]);
        add("other", "id 14 t d1 ts NOW", "o:d1:id", 14.0);
        add("raw", "id d1 t 15 ts NOW", "sensor:d1:t", 15.0);
        server.cmd(&["ANOMALY.WATCH", "DEL", "other"]);
        let by_t = "ANOMALY.WATCH SET o* TIME t VALUES 1 ts KEY p:$metric:$device";
        server.cmd(&by_t.split(' ').collect::<Vec<_>>());
        add("other", "id d1 ts 16 t NOW", "p:ts:d1", 16.0);
        server.cmd(&["ANOMALY.WATCH", "DEL", "o*"]);
        server.cmd(&other);
    }
}

/// They are read one after the other at the end of the script, when the stream's newest names are those of the last.
#[test]
fn entries_of_one_script_are_read_by_their_own_names() {
    let server = watching();
    let script = "redis.call('XADD', KEYS[1], '*', 'id', 'a', 't', 1, 'h', 'inf') redis.call('XADD', KEYS[1], '*', 'h', 2, 't', 'inf', 'id', 'b') redis.call('XADD', KEYS[1], '*', 't', 3, 'id', 'c')";
    for round in 1..=3 {
        server.cmd(&["EVAL", script, "1", "raw"]);
        let own = ["XADD", "raw", "*", "t", "inf", "h", "4", "id", "d"];
        server.cmd(&own);
        for (sensor, value) in [("a:t", 1.0), ("b:h", 2.0), ("c:t", 3.0), ("d:h", 4.0)] {
            let info = server.cmd(&["ANOMALY.INFO", &format!("sensor:{sensor}")]);
            assert_eq!(float(&field(&info, "value")), value);
        }
        let dead = server.stream("anomaly:dead");
        let payloads: Vec<&str> = dead
            .iter()
            .rev()
            .take(3)
            .map(|(_, fields)| fields[3].1.as_str())
            .collect();
        let expected = [
            r#"{"t":"inf","h":"4","id":"d"}"#,
            r#"{"h":"2","t":"inf","id":"b"}"#,
            r#"{"id":"a","t":"1","h":"inf"}"#,
        ];
        assert_eq!(payloads, expected);
        assert_eq!(dead.len(), 3 * round);
    }
}

/// Adds entries until it is told to stop; how many.
fn produce(server: &Server, stop: &AtomicBool) -> u32 {
    let mut connection = server.conn();
    let mut n = 0u32;
    while !stop.load(Relaxed) {
        n += 1;
        let (device, value, at) = (
            format!("d{}", n % 50),
            (n % 1400).to_string(),
            n.to_string(),
        );
        let mut words = vec![
            "XADD", "raw", "MAXLEN", "~", "100", "*", "id", &device, "t", &value,
        ];
        if n.is_multiple_of(2) {
            words.extend(["ts", &at]);
        }
        call(&mut connection, &words);
    }
    n
}

/// Where nobody listens nothing is passed on, and nobody notices when somebody begins to.
#[test]
fn a_replica_that_joins_under_traffic_has_every_reading() {
    for diskless in ["yes", "no"] {
        let master = watching();
        // The fork takes a while, in which there is much to pass on.
        master.cmd(&["DEBUG", "POPULATE", "200000", "filler", "100"]);
        master.cmd(&["CONFIG", "SET", "repl-diskless-sync", diskless]);
        master.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let replica = Server::builder().start();
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let producer = threads.spawn(|| produce(&master, &stop));
            replica.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
            wait_until("the replica has joined", || {
                replica.info("replication")["master_link_status"] == "up"
            });
            stop.store(true, Relaxed);
            assert!(producer.join().unwrap() > 100);
        });
        master.replica_in_sync(&replica);
        master.cmd(&[
            "EVAL",
            "for i = 0, 199999 do redis.call('UNLINK', 'filler:' .. i) end",
            "0",
        ]);
        master.replica_in_sync(&replica);
        assert_same(&replica.picture(), &master.picture());
    }
}

#[test]
fn an_append_only_file_begun_under_traffic_has_every_reading() {
    let mut server = Server::builder().config("appendfsync always").start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1000"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw*"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let producer = threads.spawn(|| produce(&server, &stop));
        server.wait_until("readings come in", || {
            server.info("anomaly")["anomaly_readings"]
                .parse::<u32>()
                .unwrap()
                > 200
        });
        server.cmd(&["CONFIG", "SET", "appendonly", "yes"]);
        server.cmd(&["CONFIG", "REWRITE"]);
        server.wait_until("the file is there", || {
            server.info("persistence")["aof_rewrite_in_progress"] == "0"
        });
        stop.store(true, Relaxed);
        producer.join().unwrap();
    });
    let before = server.picture();
    server.restart(Stop::Kill9);
    assert_same(&server.picture(), &before);
}
