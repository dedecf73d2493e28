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

fn streams(server: &Server) -> Vec<String> {
    let streams = list(&server.cmd(&["ANOMALY.ALERTS", "STREAMS"]));
    streams.iter().map(text).collect()
}

/// `anomaly alerts` asks each second: a walk over a million keys each time would leave no time for anything else.
#[test]
fn listing_the_alert_streams_costs_what_there_are_of_them_and_not_of_keys() {
    let server = cluster();
    let busy = |n: usize| {
        server.cmd(&["CONFIG", "RESETSTAT"]);
        for _ in 0..n {
            assert_eq!(
                streams(&server),
                ["anomaly:alerts:{a}", "anomaly:alerts:{b}"]
            );
        }
        let stats = server.info("commandstats");
        let stats = &stats["cmdstat_anomaly.alerts"];
        let usec = stats.split(',').find_map(|part| part.strip_prefix("usec="));
        usec.unwrap().parse::<u64>().unwrap()
    };
    for key in ["{a}:1", "{b}:1"] {
        server.cmd(&["ANOMALY.ADD", key, "1000", "50"]);
    }
    busy(1);
    let few = busy(200);
    server.cmd(&["DEBUG", "POPULATE", "200000", "key", "5"]);
    let many = busy(200);
    // A walk would take some thousand times as long, on whatever machine.
    assert!(
        many < 100 * few,
        "{few} µs with few keys, {many} µs with many"
    );
}

#[test]
fn alert_streams_are_known_however_they_come_and_go() {
    let mut server = Server::builder()
        .cluster()
        .aof()
        .config("cluster-allow-reads-when-down yes")
        .start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    assert!(streams(&server).is_empty());
    server.cmd(&["ANOMALY.ADD", "{a}:1", "*", "50"]);
    server.cmd(&[
        "XGROUP",
        "CREATE",
        "anomaly:alerts:{b}",
        "g",
        "0",
        "MKSTREAM",
    ]);
    server.cmd(&["XADD", "anomaly:alerts:{c}", "*", "event", "firing"]);
    let dump = anomaly_tests::bytes(&server.cmd(&["DUMP", "anomaly:alerts:{c}"]));
    server.cmd(&anomaly_tests::args![
        "RESTORE",
        "anomaly:alerts:{d}",
        0,
        dump
    ]);
    server.cmd(&["SET", "anomaly:alerts:{e}", "no stream"]);
    let all = ["a", "b", "c", "d"].map(|tag| format!("anomaly:alerts:{{{tag}}}"));
    assert_eq!(streams(&server), all);
    server.cmd(&["RENAME", "anomaly:alerts:{c}", "x:{c}"]);
    server.cmd(&["DEL", "anomaly:alerts:{a}"]);
    assert_eq!(streams(&server), [&all[1][..], &all[3]]);
    server.cmd(&["RENAME", "x:{c}", "anomaly:alerts:{c}"]);
    assert_eq!(streams(&server), all[1..]);
    // Of an RDB file nothing is told, nor whether a transaction or a script may wait for a walk.
    for how in [Stop::Kill9, Stop::Save] {
        server.cmd(&["BGREWRITEAOF"]);
        server.wait_until("the file is rewritten", || {
            let info = server.info("persistence");
            info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
        });
        server.restart(how);
        if how == Stop::Save {
            let script = [
                "EVAL",
                "return redis.call('ANOMALY.ALERTS', 'STREAMS')",
                "0",
            ];
            let told = server.cmd(&script);
            assert_eq!(list(&told).iter().map(text).collect::<Vec<_>>(), all[1..]);
        }
        assert_eq!(streams(&server), all[1..]);
    }
    assert_eq!(server.info("anomaly")["anomaly_alert_streams"], "3");
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-key", "x"]);
    assert!(streams(&server).is_empty());
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-key", "anomaly:alerts"]);
    assert_eq!(streams(&server), all[1..]);
    server.wait_until("the cluster is up", || {
        server.try_cmd(&["FLUSHALL"]).is_ok()
    });
    assert!(streams(&server).is_empty());
}

#[test]
fn a_replica_knows_the_alert_streams_it_was_sent() {
    let server = cluster();
    server.cmd(&["ANOMALY.ADD", "{a}:1", "*", "50"]);
    let replica = Server::builder().cluster_node().start();
    let bus = anomaly_tests::pairs(&server.cmd(&["CONFIG", "GET", "cluster-port"]));
    let (port, bus) = (server.port().to_string(), text(&bus[0].1));
    replica.cmd(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    let id = text(&server.cmd(&["CLUSTER", "MYID"]));
    replica.wait_until("it is a replica", || {
        replica.try_cmd(&["CLUSTER", "REPLICATE", &id]).is_ok()
    });
    server.replica_in_sync(&replica);
    replica.cmd(&["READONLY"]);
    assert_eq!(streams(&replica), ["anomaly:alerts:{a}"]);
    server.cmd(&["ANOMALY.ADD", "{b}:1", "*", "50"]);
    server.replica_in_sync(&replica);
    assert_eq!(
        streams(&replica),
        ["anomaly:alerts:{a}", "anomaly:alerts:{b}"]
    );
}

#[test]
fn who_waits_for_the_alert_streams_may_go_or_be_told_to() {
    let server = cluster();
    server.cmd(&["ANOMALY.ADD", "{a}:1", "*", "50"]);
    server.cmd(&["DEBUG", "POPULATE", "300000", "key", "5"]);
    let (mut one, mut other) = (server.conn(), server.conn());
    let id = int(&anomaly_tests::call(&mut one, &["CLIENT", "ID"])).to_string();
    let ask = redis::cmd("ANOMALY.ALERTS")
        .arg("STREAMS")
        .get_packed_command();
    one.send_packed_command(&ask).unwrap();
    other.send_packed_command(&ask).unwrap();
    drop(other);
    server.wait_until("it waits", || {
        server.info("clients")["blocked_clients"] != "0"
    });
    let unblocked = int(&server.cmd(&["CLIENT", "UNBLOCK", &id]));
    let reply = one.recv_response().unwrap();
    match unblocked {
        1 => assert_eq!(
            anomaly_tests::error(&reply).unwrap(),
            "ERR ANOMALY.ALERTS was stopped by CLIENT UNBLOCK"
        ),
        _ => assert_eq!(list(&reply).len(), 1, "the walk was over before"),
    }
    assert_eq!(streams(&server), ["anomaly:alerts:{a}"]);
    server.wait_until("nobody waits", || {
        server.info("clients")["blocked_clients"] == "0"
    });
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
