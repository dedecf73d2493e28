//! A bug of ours must not take the server down. Builds with debug assertions have a command that provokes one.

use anomaly_tests::{Server, args, assert_same, field, int, text};

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
