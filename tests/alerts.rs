//! Alerts: one for each transition of an episode, with the fields of the design in their order.

use anomaly_tests::{Server, args, field, int, text};
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

fn names(fields: &[(String, String)]) -> Vec<&str> {
    fields.iter().map(|(name, _)| name.as_str()).collect()
}

const HEAD: [&str; 11] = [
    "v",
    "event",
    "id",
    "episode",
    "sensor",
    "severity",
    "kind",
    "direction",
    "ts",
    "start",
    "value",
];
const TAIL: [&str; 4] = ["score", "threshold", "rule", "reason"];

#[test]
fn the_fields_of_an_alert_come_in_the_order_of_the_design() {
    let server = server(&["max", "28", "critical-max", "30", "unit", "°C", "for", "2"]);
    add(&server, 1000, 29.0);
    add(&server, 2000, 31.9);
    server.cmd(&["ANOMALY.ACK", "s", "BY", "olga", "COMMENT", "on my way"]);
    let stream = server.stream("anomaly:alerts");
    assert_eq!(
        names(&stream[0].1),
        [&HEAD[..], &["unit", "upper"], &TAIL].concat()
    );
    assert_eq!(
        names(&stream[1].1),
        [&HEAD[..], &["unit"], &TAIL, &["by", "comment"]].concat()
    );
    let alert = &alerts(&server)[0];
    for (name, value) in [
        ("v", "1"),
        ("event", "firing"),
        ("sensor", "s"),
        ("severity", "critical"),
        ("kind", "range"),
        ("direction", "high"),
        ("ts", "2000"),
        ("start", "1000"),
        ("value", "31.9"),
        ("unit", "°C"),
        ("upper", "28"),
        ("threshold", "30"),
        ("rule", "*"),
        (
            "reason",
            "31.9 °C is above the limit 28 (critical at 30); 2 of 2 readings abnormal",
        ),
    ] {
        assert_eq!(alert[name], value, "{name}");
    }
    let score: f64 = alert["score"].parse().unwrap();
    assert!(score > 0.5 && score < 1.0);
}

#[test]
fn the_alert_of_a_statistic_tells_what_was_expected_and_which_rule_decided() {
    let server = server(&["unit", "V"]);
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "zscore", "3", "min", "-100"]);
    for i in 0..40 {
        add(&server, i, (i % 2) as f64);
    }
    add(&server, 40, -50.0);
    let (_, fields) = &server.stream("anomaly:alerts")[0];
    assert_eq!(
        names(fields),
        [&HEAD[..], &["unit", "expected", "lower", "upper"], &TAIL].concat()
    );
    let alert = &alerts(&server)[0];
    assert_eq!(
        [
            &alert["kind"],
            &alert["direction"],
            &alert["rule"],
            &alert["threshold"]
        ],
        ["zscore", "low", "s", "3"]
    );
    assert_eq!(alert["expected"], "0.5");
    assert!(
        alert["reason"].ends_with("sd below the mean 0.5 of the last 30 readings"),
        "{}",
        alert["reason"]
    );
}

#[test]
fn what_no_rule_has_set_is_told_as_the_default() {
    let server = Server::start();
    for i in 0..600 {
        add(&server, i * 60_000, (i * 7 % 11) as f64);
    }
    add(&server, 600 * 60_000, 500.0);
    let alert = &alerts(&server)[0];
    assert_eq!([&alert["kind"], &alert["rule"]], ["auto", "default"]);
}

#[test]
fn the_id_names_the_transition_and_is_the_same_wherever_it_is_seen() {
    let rule = ["max", "10", "critical-max", "20", "clear", "1"];
    let ids = |_| {
        let server = server(&rule);
        for (at, value) in [(1, 15.0), (2, 25.0), (3, 5.0), (4, 15.0)] {
            add(&server, at, value);
        }
        alerts(&server)
            .iter()
            .map(|alert| (alert["episode"].clone(), alert["id"].clone()))
            .collect::<Vec<_>>()
    };
    let [one, other] = [0, 1].map(ids);
    assert_eq!(one, other);
    let (first, second) = (&one[0].0, &one[3].0);
    assert_ne!(first, second);
    let expected = [(first, 1), (first, 2), (first, 3), (second, 1)]
        .map(|(episode, n)| (episode.clone(), format!("{episode}-{n}")));
    assert_eq!(one, expected);
}

/// A consumer that drops repeats must not take the one's alerts for the other's.
#[test]
fn a_sensor_restored_under_another_name_has_ids_of_its_own() {
    let server = server(&["max", "10", "clear", "1", "critical-max", "20"]);
    add(&server, 1000, 15.0);
    let dump = anomaly_tests::bytes(&server.cmd(&["DUMP", "s"]));
    for copy in ["t", "u"] {
        server.cmd(&args!["RESTORE", copy, 0, &dump]);
    }
    server.cmd(&["RENAME", "u", "v"]);
    for key in ["s", "t", "v"] {
        for (at, value) in [(2000, 25.0), (3000, 5.0), (4000, 15.0)] {
            server.cmd(&args!["ANOMALY.ADD", key, at, value]);
        }
    }
    let alerts = alerts(&server);
    let ids: std::collections::BTreeSet<&str> = alerts.iter().map(|a| &a["id"][..]).collect();
    assert_eq!((alerts.len(), ids.len()), (1 + 3 * 3, 1 + 3 * 3), "{ids:?}");
    // It is one episode all the same, up to its end.
    for alert in &alerts {
        let same = alert["episode"] == alerts[0]["episode"];
        assert_eq!(same, alert["ts"] != "4000", "{alert:?}");
    }
    // In the sensor that it began in, ids are what they would have been.
    let own: Vec<&str> = alerts
        .iter()
        .filter(|a| a["sensor"] == "s")
        .map(|a| &a["id"][a["episode"].len()..])
        .collect();
    assert_eq!(own, ["-1", "-2", "-3", "-1"]);
}

#[test]
fn an_acknowledgement_is_told_once_and_only_of_an_open_episode() {
    let server = server(&["max", "10", "clear", "1"]);
    let ack = |words: &[&str]| int(&server.cmd(&[&["ANOMALY.ACK"], words].concat()));
    assert_eq!(ack(&["s"]), 0, "no such sensor");
    assert_eq!(int(&server.cmd(&["EXISTS", "s"])), 0);
    add(&server, 1000, 5.0);
    assert_eq!(ack(&["s"]), 0, "no open episode");
    add(&server, 2000, 15.0);
    assert_eq!(ack(&["s", "comment", "fan", "by", "olga"]), 1);
    assert_eq!(ack(&["s", "BY", "otto"]), 0, "acknowledged before");
    let alert = alerts(&server).pop().unwrap();
    assert_eq!(
        [&alert["event"], &alert["by"], &alert["comment"]],
        ["ack", "olga", "fan"]
    );
    let episode = field(&server.cmd(&["ANOMALY.INFO", "s"]), "episode");
    assert_eq!(text(&field(&episode, "acked")), "olga");
    add(&server, 3000, 5.0);
    assert_eq!(ack(&["s"]), 0, "resolved");
    for words in [
        &["s", "WHO", "x"][..],
        &["s", "BY"],
        &["s", "BY", "x", "COMMENT"],
    ] {
        let refused = server.refuses(&[&["ANOMALY.ACK"], words].concat());
        assert!(refused.starts_with("ERR "), "{refused}");
    }
}
