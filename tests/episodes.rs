//! The life of an episode: when it fires, escalates, reminds, is resolved and is held back.

use anomaly_tests::{Server, args, field, text};
use std::collections::BTreeMap;

fn server(rule: &[&str]) -> Server {
    let server = Server::start();
    server.cmd(&[&["ANOMALY.CONFIG", "SET", "*"], rule].concat());
    server
}

fn add(server: &Server, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", "s", at, value]))
}

fn alerts(server: &Server) -> Vec<BTreeMap<String, String>> {
    let all = server.stream("anomaly:alerts");
    all.into_iter()
        .map(|(_, fields)| fields.into_iter().collect())
        .collect()
}

/// The transitions: event, severity and time.
fn told(server: &Server) -> Vec<String> {
    let line = |alert: &BTreeMap<_, String>| {
        format!("{} {} {}", alert["event"], alert["severity"], alert["ts"])
    };
    alerts(server).iter().map(line).collect()
}

/// Adds a reading each second, and returns what was told then.
fn life(rule: &[&str], values: &[f64]) -> Vec<String> {
    let server = server(rule);
    for (second, value) in (1..).zip(values) {
        add(&server, second * 1000, *value);
    }
    told(&server)
}

#[test]
fn an_episode_fires_escalates_and_is_resolved() {
    let values = [5.0, 15.0, 16.0, 25.0, 15.0, 5.0, 5.0, 5.0, 5.0];
    let told = life(&["max", "10", "critical-max", "20"], &values);
    assert_eq!(
        told,
        [
            "firing warning 2000",
            "escalated critical 4000",
            "resolved critical 8000"
        ]
    );
}

#[test]
fn for_readings_in_a_row_must_be_abnormal_before_it_fires() {
    let told = life(
        &["max", "10", "for", "3"],
        &[15.0, 15.0, 5.0, 15.0, 15.0, 15.0],
    );
    assert_eq!(told, ["firing warning 6000"]);
}

#[test]
fn clear_readings_in_a_row_must_be_normal_before_it_is_resolved() {
    let told = life(
        &["max", "10", "clear", "2"],
        &[15.0, 5.0, 15.0, 5.0, 5.0, 5.0],
    );
    assert_eq!(told, ["firing warning 1000", "resolved warning 5000"]);
}

#[test]
fn inside_the_clear_margin_an_episode_goes_on() {
    let values = [9.5, 15.0, 9.5, 9.5, 9.0, 9.5, 9.0];
    let told = life(&["max", "10", "clear", "1", "clear-margin", "1"], &values);
    assert_eq!(told, ["firing warning 2000", "resolved warning 5000"]);
}

#[test]
fn reminders_come_at_the_interval_of_repeat_until_somebody_acknowledges() {
    let server = server(&["max", "10", "repeat", "5000"]);
    for second in 1..=14 {
        add(&server, second * 1000, 15.0);
    }
    server.cmd(&["ANOMALY.ACK", "s"]);
    for second in 15..=30 {
        add(&server, second * 1000, 15.0);
    }
    let events: Vec<String> = told(&server)
        .iter()
        .filter(|line| !line.starts_with("ack"))
        .cloned()
        .collect();
    assert_eq!(
        events,
        [
            "firing warning 1000",
            "repeat warning 6000",
            "repeat warning 11000"
        ]
    );
}

#[test]
fn during_the_cooldown_it_is_reopened_silently_and_counted_as_suppressed() {
    let server = server(&[
        "max",
        "10",
        "critical-max",
        "20",
        "clear",
        "1",
        "cooldown",
        "10000",
    ]);
    let values = [15.0, 5.0, 15.0, 5.0, 15.0, 15.0];
    for (second, value) in (1..).zip(values) {
        add(&server, second * 1000, value);
    }
    assert_eq!(
        told(&server),
        ["firing warning 1000", "resolved warning 2000"]
    );
    assert_eq!(server.info("anomaly")["anomaly_suppressed"], "2");
    let info = server.cmd(&["ANOMALY.INFO", "s"]);
    assert_eq!(text(&field(&field(&info, "episode"), "state")), "silent");
    add(&server, 11_000, 25.0);
    assert_eq!(told(&server).last().unwrap(), "escalated critical 11000");
}

#[test]
fn after_the_cooldown_it_fires_again() {
    let values = [15.0, 5.0, 5.0, 5.0, 5.0, 15.0];
    let told = life(&["max", "10", "clear", "1", "cooldown", "4000"], &values);
    assert_eq!(
        told,
        [
            "firing warning 1000",
            "resolved warning 2000",
            "firing warning 6000"
        ]
    );
}

#[test]
fn a_sensor_that_is_no_longer_watched_is_resolved_with_its_next_reading() {
    let server = server(&["max", "10"]);
    add(&server, 1000, 15.0);
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "enabled", "no"]);
    assert_eq!(add(&server, 2000, 15.0), "normal");
    assert_eq!(
        told(&server),
        ["firing warning 1000", "resolved warning 2000"]
    );
}
