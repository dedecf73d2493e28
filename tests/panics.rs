//! A bug of ours must not take the server down. Builds with debug assertions have a command that provokes one.

use anomaly_tests::{Server, Stop, args, assert_same, field, int, list, text};

#[test]
fn a_panic_is_an_error_reply_and_one_line_in_the_log() {
    let server = Server::start();
    let refused = server.refuses(&["ANOMALY._PANIC"]);
    assert_eq!(
        refused,
        "ERR internal error in the anomaly module: see the server's log"
    );
    assert_eq!(text(&server.cmd(&["PING"])), "PONG");
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", "s", "1000", "1"])),
        "warmup"
    );
    let log = server.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("panic")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains("anomaly: caught a panic at ") && lines[0].contains("provoked by"),
        "{}",
        lines[0]
    );
}

#[test]
fn a_panic_in_a_reading_resets_that_sensor_everywhere_and_no_other() {
    let master = Server::builder().aof().start();
    let replica = Server::builder().replica_of(&master).start();
    master.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    for key in ["s", "other"] {
        master.cmd(&args!["ANOMALY.ADD", key, 1000, 50]);
    }
    let before = master.digest("other");
    master.cmd(&["ANOMALY._PANIC", "s"]);
    let refused = master.refuses(&["ANOMALY.ADD", "s", "2000", "50"]);
    assert!(refused.starts_with("ERR internal error"), "{refused}");
    assert_eq!(
        int(&field(&master.cmd(&["ANOMALY.INFO", "s"]), "readings")),
        0
    );
    assert_eq!(master.digest("other"), before);
    let alerts = master.stream("anomaly:alerts");
    let events: Vec<&str> = alerts
        .iter()
        .map(|(_, fields)| fields[1].1.as_str())
        .collect();
    assert_eq!(events, ["firing", "firing", "resolved"]);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
    assert_eq!(
        text(&master.cmd(&["ANOMALY.ADD", "s", "2000", "50"])),
        "warning"
    );
}

#[test]
fn a_panic_in_one_item_of_madd_leaves_the_others() {
    let server = Server::start();
    server.cmd(&["ANOMALY._PANIC", "b"]);
    let replies = server.cmd(&args!["ANOMALY.MADD", "a", 1, 1, "b", 1, 1, "c", 1, 1]);
    let replies = anomaly_tests::list(&replies);
    assert_eq!(
        (text(&replies[0]), text(&replies[2])),
        ("warmup".into(), "warmup".into())
    );
    assert!(
        anomaly_tests::error(&replies[1]).is_some_and(|why| why.starts_with("ERR internal error"))
    );
}

#[test]
fn a_panic_in_the_first_reading_of_a_sensor_leaves_none_anywhere() {
    let mut master = Server::builder().aof().start();
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    master.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "*",
        "max",
        "10",
        "nodata",
        "3600000",
    ]);
    master.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    master.cmd(&args!["ANOMALY.ADD", "other", 1000, 50]);
    let info = |name: &str| master.info("anomaly")[&format!("anomaly_{name}")].clone();
    let before = ["sensors", "open_episodes", "timed_sensors"].map(info);

    master.cmd(&["ANOMALY._PANIC", "s"]);
    let refused = master.refuses(&["ANOMALY.ADD", "s", "1000", "50"]);
    assert!(refused.starts_with("ERR internal error"), "{refused}");
    master.cmd(&["ANOMALY._PANIC", "m"]);
    let replies = master.cmd(&args!["ANOMALY.MADD", "other", 2000, 1, "m", 1000, 50]);
    assert!(anomaly_tests::error(&list(&replies)[1]).is_some());
    master.cmd(&["ANOMALY._PANIC", "sensor:d:temp"]);
    master.cmd(&["XADD", "raw", "*", "id", "d", "temp", "50", "ts", "1000"]);
    assert_eq!(master.stream("anomaly:dead").len(), 1);

    let keys = ["EXISTS", "s", "m", "sensor:d:temp"];
    assert_eq!(int(&master.cmd(&keys)), 0);
    assert_eq!(
        ["sensors", "open_episodes", "timed_sensors"].map(info),
        before
    );
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());

    // And it begins as if nothing had been.
    for sensor in ["s", "m"] {
        let verdict = master.cmd(&args!["ANOMALY.ADD", sensor, 1000, 50]);
        assert_eq!(text(&verdict), "warning");
    }
    master.cmd(&["XADD", "raw", "*", "id", "d", "temp", "50", "ts", "1000"]);
    assert_eq!(int(&master.cmd(&keys)), 3);
    master.replica_in_sync(&replica);
    let picture = master.picture();
    assert_same(&replica.picture(), &picture);
    master.restart(Stop::NoSave);
    assert_same(&master.picture(), &picture);
}

/// It was there before, on replicas as well.
#[test]
fn a_panic_in_a_sensor_without_readings_leaves_it() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    server.cmd(&args!["ANOMALY.ADD", "s", 1000, 1]);
    server.cmd(&["ANOMALY.RESET", "s"]);
    server.cmd(&["ANOMALY._PANIC", "s"]);
    server.refuses(&["ANOMALY.ADD", "s", "1000", "1"]);
    assert_eq!(int(&server.cmd(&["EXISTS", "s"])), 1);
}
