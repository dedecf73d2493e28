//! On a cluster the series and the alerts of a sensor live in its slot.

use anomaly_tests::{Server, Stop, int, list, text};

fn cluster() -> Server {
    let server = Server::builder().cluster().start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    server
}

#[test]
fn series_and_alerts_carry_the_sensors_hash_tag() {
    let server = cluster();
    for (key, series, alerts) in [
        ("sensor:1", "ts:{sensor:1}", "anomaly:alerts:{sensor:1}"),
        ("{rack}:t", "ts:{rack}:t", "anomaly:alerts:{rack}"),
        ("a{b}c", "ts:a{b}c", "anomaly:alerts:{b}"),
        ("a{b", "ts:{a{b}", "anomaly:alerts:{a{b}"),
    ] {
        assert_eq!(
            text(&server.cmd(&["ANOMALY.ADD", key, "1000", "50"])),
            "warning"
        );
        let slots = [key, series, alerts].map(|key| int(&server.cmd(&["CLUSTER", "KEYSLOT", key])));
        assert_eq!([slots[1], slots[2]], [slots[0]; 2], "{key}");
        assert_eq!(server.stream(alerts).len(), 1);
        assert_eq!(list(&server.cmd(&["TS.RANGE", series, "-", "+"])).len(), 1);
    }
}

#[test]
fn a_key_whose_series_would_leave_its_slot_is_refused_and_changes_nothing() {
    let server = cluster();
    for key in ["a}b", "", "{}", "{}x", "}"] {
        let refused = server.refuses(&["ANOMALY.ADD", key, "1000", "50"]);
        assert!(refused.starts_with("CROSSSLOT "), "{key}: {refused}");
    }
    assert_eq!(int(&server.cmd(&["DBSIZE"])), 0);
}

#[test]
fn sensors_of_two_slots_are_not_added_in_one_command() {
    let server = cluster();
    let refused = server.refuses(&["ANOMALY.MADD", "a", "1", "1", "b", "1", "1"]);
    assert!(refused.starts_with("CROSSSLOT "), "{refused}");
    let same = server.cmd(&["ANOMALY.MADD", "{x}a", "1", "1", "{x}b", "1", "1"]);
    assert_eq!(list(&same).len(), 2);
}

#[test]
fn the_alert_streams_are_listed_and_nothing_else() {
    let server = cluster();
    for key in ["{rack}:t", "{rack}:u", "s"] {
        server.cmd(&["ANOMALY.ADD", key, "1000", "50"]);
    }
    server.cmd(&["SET", "anomaly:alerts", "x"]);
    server.cmd(&["SET", "anomaly:alertsx:{s}", "x"]);
    let streams = list(&server.cmd(&["ANOMALY.ALERTS", "STREAMS"]));
    let streams: Vec<String> = streams.iter().map(text).collect();
    assert_eq!(streams, ["anomaly:alerts:{rack}", "anomaly:alerts:{s}"]);
    assert_eq!(list(&server.cmd(&["ANOMALY.ALERTS"])).len(), 3);
}

#[test]
fn a_cluster_node_comes_back_with_everything() {
    // For two seconds after a start a cluster is down.
    let mut server = Server::builder()
        .cluster()
        .aof()
        .config("cluster-allow-reads-when-down yes")
        .start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    for key in ["{rack}:t", "{rack}:u", "s"] {
        server.cmd(&["ANOMALY.ADD", key, "*", "50"]);
    }
    server.cmd(&["DEL", "s"]);
    let before = server.picture();
    server.restart(Stop::Kill9);
    anomaly_tests::assert_same(&server.picture(), &before);
}
