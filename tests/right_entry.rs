//! The reading that is taken in is that of the entry just added, however its command comes to run: the module need not have
//! read it back from the stream, and must never mistake one command's words for another's.

use anomaly_tests::{
    Server, args, assert_same, call, entries, error, field, float, text, wait_until,
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
    server.cmd(&["CLIENT", "PAUSE", "600000", "WRITE"]);
    let (mut a, mut b, mut c) = (server.conn(), server.conn(), server.conn());
    let held = |n: &str| server.info("clients")["blocked_clients"] == n;
    std::thread::scope(|threads| {
        let one = threads.spawn(|| {
            call(
                &mut a,
                &["XADD", "raw", "5-1", "id", "a", "t", "11", "ts", "1"],
            )
        });
        wait_until("one is held back", || held("1"));
        let two = threads.spawn(|| call(&mut b, &["XADD", "raw", "5-2", "id", "b", "t", "22"]));
        wait_until("two are held back", || held("2"));
        // Refused, since its id is too small by then: the words of this one belong to no entry.
        let three = threads.spawn(|| {
            anomaly_tests::try_call(
                &mut c,
                &["XADD", "raw", "1-1", "id", "c", "t", "33", "ts", "1"],
            )
        });
        wait_until("three are held back", || held("3"));
        server.cmd(&["CLIENT", "UNPAUSE"]);
        assert_eq!(
            [one, two].map(|reply| text(&reply.join().unwrap())),
            ["5-1", "5-2"]
        );
        assert!(
            three
                .join()
                .unwrap()
                .unwrap_err()
                .contains("equal or smaller")
        );
    });
    assert_eq!(
        ["a", "b"].map(|device| value(&server, device)),
        [11.0, 22.0]
    );
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "3");
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
            args!["XADD", "raw", "7-2", "id", "d", "t", "4"],
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
fn a_replica_that_joins_under_traffic_has_every_reading() {
    let master = watching();
    let replica = Server::builder().start();
    master.cmd(&["CONFIG", "SET", "repl-backlog-ttl", "1"]);
    master.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let joined = |replica: &Server| replica.info("replication")["master_link_status"] == "up";
    std::thread::scope(|threads| {
        let producer = threads.spawn(|| {
            let mut connection = master.conn();
            let mut n = 0u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                n += 1;
                let (device, value) = (format!("d{}", n % 50), (n % 1400).to_string());
                let mut words = vec![
                    "XADD", "raw", "MAXLEN", "~", "100", "*", "id", &device, "t", &value,
                ];
                let at = n.to_string();
                if n % 2 == 0 {
                    words.extend(["ts", &at]);
                }
                call(&mut connection, &words);
            }
            n
        });
        for round in 0..5 {
            // The first time nobody ever followed; later the backlog of the last one is gone, or is not.
            replica.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
            wait_until("the replica has joined", || joined(&replica));
            replica.cmd(&["REPLICAOF", "NO", "ONE"]);
            if round % 2 == 0 {
                master.wait_until("the backlog is given up", || {
                    master.info("replication")["repl_backlog_active"] == "0"
                });
            }
        }
        replica.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
        wait_until("the replica has joined", || joined(&replica));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(producer.join().unwrap() > 1000);
    });
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}
