//! Keyspace events of sensors, and the settings of the alerts stream.

use anomaly_tests::{Server, args, int, text};

fn limited() -> Server {
    let server = Server::start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "*",
        "max",
        "10",
        "critical-max",
        "20",
        "clear",
        "1",
        "repeat",
        "1",
    ]);
    server
}

fn add(server: &Server, key: &str, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", key, at, value]))
}

#[test]
fn firing_and_resolved_are_published_and_nothing_else_of_ours() {
    let server = limited();
    server.cmd(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    let mut connection = server.conn();
    let mut events = connection.as_pubsub();
    events.psubscribe("__keyevent@*__:*").unwrap();
    for (at, value) in [
        (1, 5.0),
        (2, 15.0),
        (3, 25.0),
        (4, 25.0),
        (5, 5.0),
        (6, 15.0),
    ] {
        add(&server, "s", at, value);
    }
    server.cmd(&["ANOMALY.ACK", "s"]);
    server.cmd(&["ANOMALY.RESET", "s"]);
    add(&server, "s", 7, 15.0);
    server.cmd(&["DEL", "s"]);
    server.cmd(&["SET", "the", "end"]);
    let mut ours = Vec::new();
    loop {
        let message = events.get_message().unwrap();
        let (channel, key) = (
            message.get_channel_name().to_owned(),
            message.get_payload::<String>().unwrap(),
        );
        match channel.rsplit_once(':').unwrap().1 {
            "set" => break,
            event if event.starts_with("anomaly") => ours.push(format!("{event} {key}")),
            _ => {}
        }
    }
    let [firing, resolved] = ["anomaly.firing s", "anomaly.resolved s"];
    assert_eq!(ours, [firing, resolved, firing, resolved, firing, resolved]);
}

#[test]
fn alerts_go_to_the_stream_that_is_set() {
    let server = limited();
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-key", "alarms"]);
    add(&server, "s", 1, 15.0);
    assert_eq!(server.stream("alarms").len(), 1);
    assert_eq!(int(&server.cmd(&["EXISTS", "anomaly:alerts"])), 0);
    let streams = server.cmd(&["ANOMALY.ALERTS", "STREAMS"]);
    assert_eq!(text(&anomaly_tests::list(&streams)[0]), "alarms");
}

/// Redis trims whole nodes of at most 100 entries.
#[test]
fn the_stream_is_kept_at_about_the_length_that_is_set() {
    let server = limited();
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-maxlen", "50"]);
    let fill = |key: &str| {
        let mut madd = args!["ANOMALY.MADD"];
        for at in 0..600i64 {
            madd.extend(args![key, at, 15]); // a reminder for each
        }
        server.cmd(&madd);
        int(&server.cmd(&["XLEN", "anomaly:alerts"]))
    };
    let bounded = fill("s");
    assert!((50..250).contains(&bounded), "{bounded}");
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-maxlen", "0"]);
    assert_eq!(fill("t"), bounded + 600);
}

#[test]
fn an_alert_that_cannot_be_written_is_counted_logged_once_and_the_verdict_stands() {
    let server = limited();
    server.cmd(&["SET", "anomaly:alerts", "text"]);
    for key in ["a", "b", "c"] {
        assert_eq!(add(&server, key, 1, 15.0), "warning");
    }
    server.cmd(&["DEL", "a"]);
    let info = server.info("anomaly");
    let counted = [
        "alerts_failed",
        "alerts_firing",
        "alerts_resolved",
        "open_episodes",
    ]
    .map(|name| info[&format!("anomaly_{name}")].as_str());
    assert_eq!(counted, ["4", "0", "0", "2"]);
    assert_eq!(
        server.log().matches("alert could not be written").count(),
        1
    );
    assert_eq!(text(&server.cmd(&["GET", "anomaly:alerts"])), "text");
    server.cmd(&["DEL", "anomaly:alerts"]);
    add(&server, "b", 2, 5.0);
    assert_eq!(server.stream("anomaly:alerts").len(), 1);
}

#[test]
fn the_alerts_stream_has_no_readings_and_cannot_be_one_itself() {
    let server = limited();
    add(&server, "s", 1, 15.0);
    assert!(
        server
            .refuses(&["ANOMALY.ADD", "anomaly:alerts", "1", "1"])
            .starts_with("WRONGTYPE ")
    );
    assert_eq!(server.stream("anomaly:alerts").len(), 1);
}
