//! An entry of a watched stream becomes readings in the producer's own transaction: what comes of it, here and elsewhere.

use std::collections::BTreeSet;

use anomaly_tests::{
    Server, Stop, args, assert_same, call_many, entries, error, field, int, is_nil, list, pairs,
    text, wait_until,
};

fn watching(pattern: &str, options: &[&str]) -> Server {
    let server = Server::start();
    prepare(&server, pattern, options);
    server
}

fn prepare(server: &Server, pattern: &str, options: &[&str]) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    server.cmd(&[&["ANOMALY.WATCH", "SET", pattern], options].concat());
}

fn add(server: &Server, stream: &str, fields: &[&str]) -> String {
    text(&server.cmd(&[&["XADD", stream, "*"], fields].concat()))
}

fn readings(server: &Server, sensor: &str) -> i64 {
    let info = server.cmd(&["ANOMALY.INFO", sensor]);
    assert!(!is_nil(&info), "there is no {sensor}");
    ["readings", "late", "duplicates"]
        .map(|name| int(&field(&info, name)))
        .iter()
        .sum()
}

fn labels(server: &Server, series: &str) -> Vec<(String, String)> {
    let info = server.cmd(&["TS.INFO", series]);
    let labels = list(&field(&info, "labels"));
    let pair = |label| [0, 1].map(|i| text(&list(label)[i]));
    labels
        .iter()
        .map(pair)
        .map(|[name, value]| (name, value))
        .collect()
}

#[test]
fn an_alert_tells_device_metric_and_source() {
    let server = watching("raw", &[]);
    let id = add(&server, "raw", &["id", "d 1", "temp", "50"]);
    let (_, fields) = &server.stream("anomaly:alerts")[0];
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names[..8],
        [
            "v", "event", "id", "episode", "sensor", "device", "metric", "severity"
        ]
    );
    assert_eq!(names.last(), Some(&"source"));
    let value = |name: &str| &fields.iter().find(|field| field.0 == name).unwrap().1;
    assert_eq!(
        ["sensor", "device", "metric", "source"].map(value),
        ["sensor:d 1:temp", "d 1", "temp", &format!("raw {id}")]
    );
}

#[test]
fn the_series_is_labelled_here_on_a_replica_and_after_a_restart() {
    let mut server = Server::builder().aof().start();
    let replica = Server::builder().replica_of(&server).start();
    server.replica_in_sync(&replica);
    prepare(&server, "raw*", &[]);
    add(&server, "raw(1)", &["id", "d,1%", "temp", "50"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw*", "KEY", "$metric"]);
    add(&server, "raw(1)", &["hum", "5"]);
    let expected = [
        ("sensor", "sensor:d%2C1%25:temp"),
        ("device", "d%2C1%25"),
        ("metric", "temp"),
        ("stream", "raw%281%29"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(labels(&server, "ts:{sensor:d,1%:temp}"), expected);
    let without = labels(&server, "ts:{hum}");
    let names: Vec<&str> = without.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sensor", "metric", "stream"], "no device was told");
    server.replica_in_sync(&replica);
    let before = server.picture(); // labels are in it
    assert_same(&replica.picture(), &before);
    server.restart(Stop::Kill9);
    assert_same(&server.picture(), &before);
}

#[test]
fn firing_and_resolved_are_events_of_the_sensors_key() {
    let server = watching("raw", &[]);
    server.cmd(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    let mut connection = server.conn();
    let mut events = connection.as_pubsub();
    events.psubscribe("__keyspace@0__:sensor:*").unwrap();
    for (at, value) in [("1", "5"), ("2", "50"), ("3", "60"), ("4", "5")] {
        add(&server, "raw", &["id", "d", "t", value, "ts", at]);
    }
    server.cmd(&["SET", "sensor:end", "x"]);
    let mut ours = Vec::new();
    loop {
        let message = events.get_message().unwrap();
        match message.get_payload::<String>().unwrap().as_str() {
            "set" => break,
            event if event.starts_with("anomaly") => {
                ours.push((event.to_owned(), message.get_channel_name().to_owned()))
            }
            _ => {}
        }
    }
    let on = "__keyspace@0__:sensor:d:t".to_owned();
    assert_eq!(
        ours,
        [
            ("anomaly.firing".into(), on.clone()),
            ("anomaly.resolved".into(), on)
        ]
    );
}

#[test]
fn streams_of_our_own_are_never_read_whatever_is_watched() {
    let server = watching("*", &["KEY", "s:$metric"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "anomaly:*", "KEY", "t:$metric"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "anomaly:alerts", "KEY", "u:$metric"]);
    server.cmd(&[
        "ANOMALY.WATCH",
        "SET",
        "anomaly:dead",
        "KEY",
        "u:$metric",
        "FROM",
        "0",
    ]);
    for n in 0..50 {
        add(
            &server,
            "raw",
            &[
                "temp",
                if n % 2 == 0 { "50" } else { "5" },
                "ts",
                &(n + 1).to_string(),
            ],
        );
        add(&server, "raw", &["text", "x"]);
    }
    // Ours are ours, also where somebody else adds to them.
    add(&server, "anomaly:alerts", &["temp", "50"]);
    add(&server, "anomaly:dead", &["temp", "50"]);
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "1");
    assert_eq!(int(&server.cmd(&["XLEN", "anomaly:alerts"])), 51);
    assert_eq!(int(&server.cmd(&["XLEN", "anomaly:dead"])), 51);
    // Under another name what were alerts is a stream like any other.
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-key", "alarms"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "*", "KEY", "s:$metric"]);
    add(&server, "alarms", &["temp", "50"]);
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "1");
}

#[test]
fn a_stream_that_becomes_ours_is_read_no_more() {
    let server = watching("raw*", &["KEY", "s:$metric"]);
    let readings = || int(&field(&server.cmd(&["ANOMALY.INFO", "s:temp"]), "readings"));
    for at in ["1", "2", "3"] {
        add(&server, "raw", &["temp", "5", "ts", at]);
    }
    assert_eq!(readings(), 3);
    server.cmd(&["CONFIG", "SET", "anomaly.dead-key", "raw"]);
    add(&server, "raw", &["temp", "5", "ts", "4"]);
    assert_eq!(readings(), 3);
    server.cmd(&["CONFIG", "SET", "anomaly.dead-key", "anomaly:dead"]);
    add(&server, "raw", &["temp", "5", "ts", "5"]);
    assert_eq!(readings(), 4);
}

#[test]
fn the_producer_gets_the_replies_it_always_got() {
    let plain = Server::builder()
        .without_module()
        .without_timeseries()
        .start();
    let watched = watching("*", &[]);
    watched.cmd(&["SET", "anomaly:dead", "in the way"]);
    watched.cmd(&["CONFIG", "SET", "anomaly.max-sensors", "1"]);
    let commands = [
        args!["XADD", "s", "1-1", "id", "d", "t", 5],
        args!["XADD", "s", "1-1", "id", "d", "t", 5],
        args!["XADD", "s", "1-*", "id", "e", "t", 50],
        args!["XADD", "s", "MAXLEN", 0, "2-1", "bad", "x"],
        args!["XADD", "t", "NOMKSTREAM", "*", "id", "d", "t", 5],
        args!["XADD", "s", "3-1", "odd"],
        args!["MULTI"],
        args!["XADD", "s", "4-1", "id", "d", "t", 5],
        args!["XADD", "s", "4-0", "id", "d", "t", 5],
        args!["EXEC"],
        args![
            "EVAL",
            "return redis.call('XADD', KEYS[1], '5-1', 'id', 'd', 't', 1)",
            1,
            "s"
        ],
        args![
            "EVAL",
            "return redis.pcall('XADD', KEYS[1], '5-1', 'id', 'd', 't', 1)",
            1,
            "s"
        ],
        args!["XLEN", "s"],
        args!["XRANGE", "s", "-", "+"],
    ];
    let expected = call_many(&mut plain.conn(), &commands);
    let replies = call_many(&mut watched.conn(), &commands);
    for ((reply, expected), command) in replies.iter().zip(&expected).zip(&commands) {
        assert_eq!(format!("{reply:?}"), format!("{expected:?}"), "{command:?}");
    }
    assert_eq!(
        expected
            .iter()
            .filter(|reply| error(reply).is_some())
            .count(),
        3
    );
    assert_eq!(readings(&watched, "sensor:d:t"), 3);
}

#[test]
fn an_entry_of_a_thousand_fields_gives_a_thousand_readings() {
    let server = watching("wide", &["KEY", "$metric"]);
    let mut entry = args!["XADD", "wide", "MAXLEN", 0, "7000-0"];
    for n in 0..1000 {
        entry.extend(args![format!("m{n}"), n]);
    }
    server.cmd(&entry);
    let info = server.info("anomaly");
    let counted = ["readings", "archived", "alerts_firing", "dead_letters"]
        .map(|name| info[&format!("anomaly_{name}")].as_str());
    assert_eq!(counted, ["1000", "1000", "989", "0"]);
    assert_eq!(
        int(&field(&server.cmd(&["ANOMALY.INFO", "m999"]), "last")),
        7000
    );
}

#[test]
fn source_readings_and_alert_are_one_transaction_in_order() {
    let server = Server::builder().aof().start();
    prepare(&server, "raw", &[]);
    add(&server, "raw", &["id", "d", "a", "50", "b", "5"]);
    let file = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = std::fs::read(file).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let words: Vec<&str> = text
        .split("\r\n")
        .filter(|word| {
            [
                "MULTI",
                "XADD",
                "ANOMALY._APPLY",
                "EXEC",
                "anomaly:alerts",
                "raw",
            ]
            .contains(word)
        })
        .collect();
    let own = &words[words.iter().position(|word| *word == "MULTI").unwrap()..];
    let expected = [
        "MULTI",
        "XADD",
        "raw",
        "ANOMALY._APPLY",
        "raw",
        "XADD",
        "anomaly:alerts",
        "ANOMALY._APPLY",
        "raw",
        "EXEC",
    ];
    assert_eq!(own, expected);
}

#[test]
fn a_replica_reads_nothing_by_itself_and_goes_on_when_promoted() {
    let master = watching("raw", &[]);
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    add(&master, "raw", &["id", "d", "t", "50", "ts", "1000"]);
    add(&master, "raw", &["id", "", "t", "5"]);
    master.replica_in_sync(&replica);
    assert_eq!(readings(&replica, "sensor:d:t"), 1);
    assert_same(&replica.picture(), &master.picture());
    // What is written to a replica itself is nobody's business but its own.
    replica.cmd(&["CONFIG", "SET", "replica-read-only", "no"]);
    add(&replica, "raw", &["id", "local", "t", "50"]);
    assert!(is_nil(&replica.cmd(&["ANOMALY.INFO", "sensor:local:t"])));
    replica.cmd(&["REPLICAOF", "NO", "ONE"]);
    add(&replica, "raw", &["id", "d", "t", "5", "ts", "2000"]);
    assert_eq!(readings(&replica, "sensor:d:t"), 2);
    let events: Vec<String> = replica
        .stream("anomaly:alerts")
        .iter()
        .map(|(_, fields)| fields[1].1.clone())
        .collect();
    assert_eq!(events, ["firing", "resolved"]);
}

#[test]
fn a_refused_entry_is_not_read_and_one_in_a_full_memory_is_refused() {
    let server = watching("raw", &[]);
    server.cmd(&["SET", "text", "x"]);
    assert!(
        server
            .refuses(&["XADD", "text", "*", "id", "d", "t", "5"])
            .starts_with("WRONGTYPE")
    );
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(
        server
            .refuses(&["XADD", "raw", "*", "id", "d", "t", "5"])
            .starts_with("OOM")
    );
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "0");
}

#[test]
fn other_events_of_streams_are_no_entries() {
    let server = watching("*", &[]);
    add(&server, "raw", &["id", "d", "t", "5"]);
    for command in [
        &["XGROUP", "CREATE", "raw", "g", "0"][..],
        &["XREADGROUP", "GROUP", "g", "c", "STREAMS", "raw", ">"],
        &["COPY", "raw", "other"],
        &["RENAME", "other", "third"],
        &["XSETID", "raw", "9999999999999-0"],
        &["XTRIM", "raw", "MAXLEN", "0"],
    ] {
        server.cmd(command);
    }
    let dump = anomaly_tests::bytes(&server.cmd(&["DUMP", "third"]));
    server.cmd(&args!["RESTORE", "fourth", 0, dump]);
    assert_eq!(readings(&server, "sensor:d:t"), 1);
    assert_eq!(server.info("anomaly")["anomaly_dead_letters"], "0");
}

#[test]
fn info_tells_of_watches_and_of_the_time_in_the_hook() {
    let server = watching("raw:*", &[]);
    for n in 0..1000 {
        add(
            &server,
            &format!("raw:{}", n % 3),
            &["id", "d", "t", "5", "ts", &(n + 1).to_string()],
        );
    }
    let info = server.info("anomaly");
    assert_eq!(
        (
            &info["anomaly_watches"][..],
            &info["anomaly_watched_streams"][..]
        ),
        ("1", "3")
    );
    assert_ne!(info["anomaly_hook_usec"], "0");
    assert_eq!(info["anomaly_add_usec"], "0");
    assert_eq!(readings(&server, "sensor:d:t"), 1000);
}

#[test]
fn on_a_cluster_sensors_series_alerts_and_dead_letters_live_in_the_streams_slot() {
    let server = Server::builder().cluster().start();
    prepare(&server, "*", &[]);
    for (stream, tag) in [("raw", "raw"), ("{rack}:raw", "rack")] {
        add(&server, stream, &["id", "d", "t", "50"]);
        add(&server, stream, &["id", "d", "t", "x"]);
        let sensor = format!("sensor:{{{tag}}}:d:t");
        assert_eq!(readings(&server, &sensor), 1);
        let keys = [
            format!("ts:{sensor}"),
            format!("anomaly:alerts:{{{tag}}}"),
            format!("anomaly:dead:{{{tag}}}"),
        ];
        let slot = |key: &str| int(&server.cmd(&["CLUSTER", "KEYSLOT", key]));
        for key in &keys {
            assert_eq!(int(&server.cmd(&["EXISTS", key])), 1, "{key}");
            assert_eq!(slot(key), slot(stream), "{key}");
        }
        let letters = entries(&server.cmd(&["XRANGE", &keys[2], "-", "+"]));
        assert_eq!(letters.len(), 1);
        assert_eq!(letters[0].1[0], ("stream".into(), stream.into()));
    }
    assert_eq!(int(&server.cmd(&["DBSIZE"])), 2 * 5);
    for stream in ["a}b", "{}x"] {
        add(&server, stream, &["id", "d", "t", "50"]);
    }
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "2");
}

#[test]
fn on_a_cluster_a_template_that_leaves_the_slot_is_refused_when_it_is_set() {
    let server = Server::builder().cluster().start();
    for (pattern, template, fine) in [
        ("raw:*", "sensor:$device:$metric", false),
        ("raw:*", "$stream:$metric", false),
        ("raw:*", "$device{$tag}", false),
        ("raw:*", "x:{$device}:$metric", false),
        ("raw:*", "x:{$tag}:$metric", true),
        ("raw:*", "x:{rack}:$metric", false),
        ("{rack}:raw", "x:{rack}:$metric", true),
        ("{rack}:raw", "x:{pump}:$metric", false),
    ] {
        let words = ["ANOMALY.WATCH", "SET", pattern, "KEY", template];
        match server.try_cmd(&words) {
            Ok(_) => assert!(fine, "{pattern} {template}"),
            Err(why) => assert!(
                !fine && why.starts_with("CROSSSLOT "),
                "{pattern} {template}: {why}"
            ),
        }
    }
    let document = r#"{"version":1,"rules":[],"watches":[{"pattern":"a","key":"$metric"}]}"#;
    let refused = server.refuses(&["ANOMALY.CONFIG", "IMPORT", document]);
    assert!(refused.starts_with("CROSSSLOT "), "{refused}");
}

#[test]
fn sensors_of_one_entry_are_taken_in_in_its_order() {
    let server = watching("raw", &[]);
    add(
        &server,
        "raw",
        &["id", "d", "b", "50", "a", "60", "c", "70"],
    );
    let sensors: Vec<String> = server
        .stream("anomaly:alerts")
        .iter()
        .map(|(_, fields)| fields[4].1.clone())
        .collect();
    assert_eq!(sensors, ["sensor:d:b", "sensor:d:a", "sensor:d:c"]);
}

#[test]
fn without_timeseries_entries_are_scored_all_the_same() {
    let server = Server::builder().without_timeseries().start();
    prepare(&server, "raw", &[]);
    add(&server, "raw", &["id", "d", "t", "50"]);
    assert_eq!(readings(&server, "sensor:d:t"), 1);
    assert_eq!(server.stream("anomaly:alerts").len(), 1);
}

#[test]
fn many_producers_at_once_lose_nothing() {
    let server = watching("raw:*", &[]);
    std::thread::scope(|scope| {
        for producer in 0..4 {
            let mut connection = server.conn();
            scope.spawn(move || {
                let all: Vec<_> = (1..=500)
                    .map(|at| {
                        args![
                            "XADD",
                            format!("raw:{}", at % 2),
                            "MAXLEN",
                            1,
                            "*",
                            "id",
                            format!("d{producer}"),
                            "t",
                            at % 20,
                            "ts",
                            at
                        ]
                    })
                    .collect();
                call_many(&mut connection, &all);
            });
        }
    });
    let info = server.info("anomaly");
    assert_eq!(info["anomaly_sensors"], "4");
    for producer in 0..4 {
        assert_eq!(readings(&server, &format!("sensor:d{producer}:t")), 500);
    }
    let alerts = server.stream("anomaly:alerts");
    let ids: BTreeSet<_> = alerts.iter().map(|(_, fields)| &fields[2].1).collect();
    assert_eq!(ids.len(), alerts.len());
    let open = list(&server.cmd(&["ANOMALY.ALERTS"]));
    assert!(open.iter().all(|episode| pairs(episode).len() > 3));
    wait_until("the server answers", || {
        int(&server.cmd(&["EXISTS", "raw:0"])) == 1
    });
}
