//! What a replica may do, what it is told, and what it does when it becomes the master.

use anomaly_tests::{Server, Stop, args, assert_same, error, list, pairs, text};
use redis::Value;

fn replica_of(master: &Server) -> Server {
    Server::builder().replica_of(master).start()
}

fn limited() -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "3"]);
    server
}

fn add(server: &Server, key: &str, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", key, at, value]))
}

fn explain(server: &Server, at: i64, value: f64) -> Vec<(String, Value)> {
    pairs(&server.cmd(&args!["ANOMALY.ADD", "s", at, value, "EXPLAIN"]))
}

fn promote(replica: &Server) {
    replica.cmd(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(replica.info("replication")["role"], "master");
}

fn events(server: &Server) -> Vec<String> {
    let alerts = server.stream("anomaly:alerts");
    alerts
        .iter()
        .map(|(_, fields)| fields[1].1.clone())
        .collect()
}

#[test]
fn a_promoted_replica_judges_and_resolves_as_the_old_master_would_have() {
    let master = limited();
    master.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "*",
        "zscore",
        "3",
        "window",
        "20",
        "rate",
        "1000",
    ]);
    for i in 0..50 {
        add(&master, "s", i * 1000, f64::from(i as i32 % 5) / 3.0);
    }
    add(&master, "s", 60_000, 50.0);
    for i in 0..2 {
        add(&master, "s", 61_000 + i, 1.0);
    }
    let replica = replica_of(&master);
    master.replica_in_sync(&replica);
    promote(&replica);
    for (at, value) in [
        (62_000, 0.7),
        (62_000, 0.7),
        (61_500, 3.0),
        (63_000, 4.0),
        (64_000, 50.0),
        (65_000, 50.5),
    ] {
        assert_eq!(
            explain(&replica, at, value),
            explain(&master, at, value),
            "at {at}"
        );
    }
    assert_eq!(master.digest("s"), replica.digest("s"));
    assert_eq!(events(&replica), ["firing", "resolved", "firing"]);
    let id = |server: &Server| {
        server
            .stream("anomaly:alerts")
            .iter()
            .map(|(_, f)| f[2].1.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(id(&replica), id(&master));
}

#[test]
fn a_promoted_replica_does_not_fire_an_open_episode_a_second_time() {
    let master = limited();
    add(&master, "s", 1000, 50.0);
    let replica = replica_of(&master);
    master.replica_in_sync(&replica);
    assert_eq!(list(&replica.cmd(&["ANOMALY.ALERTS"])).len(), 1);
    promote(&replica);
    assert_eq!(add(&replica, "s", 2000, 60.0), "warning");
    assert_eq!(events(&replica), ["firing"]);
    replica.cmd(&["DEL", "s"]);
    assert_eq!(events(&replica), ["firing", "resolved"]);
}

/// A replica that takes writes is the hardest case: there the reading is a client's, and it is a replica all the same.
#[test]
fn a_replica_writes_no_alert_of_its_own() {
    let master = limited();
    let replica = replica_of(&master);
    master.replica_in_sync(&replica);
    replica.cmd(&["CONFIG", "SET", "replica-read-only", "no"]);
    assert_eq!(add(&replica, "local", 1000, 50.0), "warning");
    replica.cmd(&["ANOMALY.ACK", "local"]);
    replica.cmd(&["ANOMALY.RESET", "local"]);
    assert_eq!(add(&replica, "local", 1000, 50.0), "warning");
    replica.cmd(&["DEL", "local"]);
    add(&master, "s", 1000, 50.0);
    master.cmd(&["ANOMALY.ACK", "s"]);
    add(&master, "gone", 1000, 50.0);
    master.cmd(&["DEL", "gone"]);
    master.replica_in_sync(&replica);
    assert_eq!(events(&master), ["firing", "ack", "firing", "resolved"]);
    assert_eq!(
        replica.stream("anomaly:alerts"),
        master.stream("anomaly:alerts")
    );
    let info = replica.info("anomaly");
    let written = |event: &str| info[&format!("anomaly_alerts_{event}")].clone();
    assert_eq!(["firing", "ack", "resolved"].map(written), ["0", "0", "0"]);
}

#[test]
fn a_replica_refuses_readings() {
    let master = limited();
    let replica = replica_of(&master);
    master.replica_in_sync(&replica);
    assert!(
        replica
            .refuses(&["ANOMALY.ADD", "s", "1", "1"])
            .starts_with("READONLY ")
    );
}

#[test]
fn internal_commands_are_refused_to_clients_and_change_nothing() {
    let server = limited();
    add(&server, "s", 1000, 5.0);
    let before = server.picture();
    let apply = args!["ANOMALY._APPLY", "1", "s", 2000, 50, "1"];
    let load = args!["ANOMALY._LOAD", "new", "x"];
    let expected = "ERR internal command: only replication and loading may use it";
    for command in [&apply, &load] {
        assert_eq!(server.refuses(command), expected);
        server.cmd(&["MULTI"]);
        server.cmd(command);
        let replies = list(&server.cmd(&["EXEC"]));
        assert_eq!(error(&replies[0]).as_deref(), Some(expected));
    }
    let script = "return redis.pcall('ANOMALY._APPLY', '1', 's', '2000', '50', '1')";
    assert_eq!(server.refuses(&["EVAL", script, "0"]), expected);
    assert_same(&server.picture(), &before);
}

#[test]
fn a_full_resync_leaves_nothing_of_before() {
    let master = Server::start();
    master.cmd(&["ANOMALY.CONFIG", "SET", "m:*", "max", "10"]);
    add(&master, "m:1", 1000, 50.0);
    let other = Server::start();
    other.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1"]);
    other.cmd(&["ANOMALY.CONFIG", "SET", "m:*", "max", "2", "window", "5"]);
    add(&other, "stale", 1000, 50.0);
    other.cmd(&args!["REPLICAOF", "127.0.0.1", master.port()]);
    master.replica_in_sync(&other);
    assert_same(&other.picture(), &master.picture());
    assert_eq!(
        other.cmd(&["ANOMALY.ALERTS"]),
        master.cmd(&["ANOMALY.ALERTS"])
    );
    // Valkey frees what there was in the background.
    other.wait_until("what there was is freed", || {
        other.info("anomaly")["anomaly_sensors"] == "1"
    });
}

#[test]
fn a_full_resync_from_a_master_without_rules_clears_them() {
    let master = Server::start();
    let other = limited();
    other.cmd(&args!["REPLICAOF", "127.0.0.1", master.port()]);
    master.replica_in_sync(&other);
    assert!(list(&other.cmd(&["ANOMALY.CONFIG", "LIST"])).is_empty());
}

#[test]
fn flushing_keeps_the_rules_everywhere() {
    let mut master = Server::builder().aof().start();
    master.cmd(&["ANOMALY.CONFIG", "SET", "s", "max", "10"]);
    let replica = replica_of(&master);
    for flush in ["FLUSHALL", "FLUSHDB"] {
        add(&master, "s", 1000, 50.0);
        master.cmd(&[flush]);
        assert!(list(&master.cmd(&["ANOMALY.ALERTS"])).is_empty());
    }
    let rules = master.cmd(&["ANOMALY.CONFIG", "LIST"]);
    assert_eq!(list(&rules).len(), 1);
    master.replica_in_sync(&replica);
    assert_eq!(replica.cmd(&["ANOMALY.CONFIG", "LIST"]), rules);
    master.restart(Stop::Kill9);
    assert_eq!(master.cmd(&["ANOMALY.CONFIG", "LIST"]), rules);
    assert_eq!(master.cmd(&["DBSIZE"]), Value::Int(0));
}

#[test]
fn a_rewrite_of_the_append_only_file_is_no_command_to_be_repeated() {
    let master = Server::builder().aof().start();
    let replica = Server::builder().aof().replica_of(&master).start();
    master.cmd(&["ANOMALY.CONFIG", "SET", "s", "max", "10"]);
    master.replica_in_sync(&replica);
    for round in 1..=3 {
        master.cmd(&["BGREWRITEAOF"]);
        master.wait_until("the file is rewritten", || {
            master.info("persistence")["aof_rewrite_in_progress"] == "0"
        });
        add(&master, "s", round, 1.0);
        master.replica_in_sync(&replica);
    }
    let asked = |server: &Server| {
        let stats = server.info("commandstats");
        stats.contains_key("cmdstat_bgrewriteaof")
    };
    assert!(asked(&master) && !asked(&replica));
    let directory = master.dir().join("appendonlydir");
    for file in std::fs::read_dir(directory).unwrap() {
        let file = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&file);
        assert!(!text.contains("BGREWRITEAOF"), "{text}");
    }
}

fn rewritten(server: &Server) {
    server.wait_until("the file is rewritten", || {
        let info = server.info("persistence");
        info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
    });
    assert_eq!(
        server.info("persistence")["aof_last_bgrewrite_status"],
        "ok"
    );
}

/// Rules and watches as EXPORT tells them.
fn settings(server: &Server) -> String {
    text(&server.cmd(&["ANOMALY.CONFIG", "EXPORT"]))
}

fn set_rules_and_watches(server: &Server) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "max", "10", "unit", "°C"]);
    server.cmd(&["ANOMALY.CONFIG", "SET", "t:*", "zscore", "3"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw:*", "KEY", "$stream:$metric"]);
}

#[test]
fn rules_and_watches_without_sensors_survive_a_rewrite_of_the_append_only_file() {
    for preamble in ["yes", "no"] {
        let mut server = Server::builder()
            .aof()
            .config(format!("aof-use-rdb-preamble {preamble}"))
            .start();
        set_rules_and_watches(&server);
        let before = settings(&server);
        for round in 0..2 {
            server.cmd(&["BGREWRITEAOF"]);
            rewritten(&server);
            server.restart(Stop::Kill9);
            assert_eq!(
                settings(&server),
                before,
                "preamble {preamble}, round {round}"
            );
        }
        // A deleted one stays deleted: what is written after the rewrite is not what was there at its beginning.
        server.cmd(&["ANOMALY.CONFIG", "DEL", "s"]);
        server.cmd(&["BGREWRITEAOF"]);
        server.cmd(&["ANOMALY.CONFIG", "SET", "t:*", "zscore", "4"]);
        server.cmd(&["ANOMALY.WATCH", "DEL", "raw:*"]);
        let before = settings(&server);
        rewritten(&server);
        server.restart(Stop::Kill9);
        assert_eq!(settings(&server), before, "preamble {preamble}");
    }
}

#[test]
fn rules_and_watches_without_sensors_are_in_an_append_only_file_begun_later() {
    for preamble in ["yes", "no"] {
        let mut server = Server::builder()
            .config(format!("aof-use-rdb-preamble {preamble}"))
            .start();
        set_rules_and_watches(&server);
        let before = settings(&server);
        server.cmd(&["CONFIG", "SET", "appendonly", "yes"]);
        rewritten(&server);
        server.cmd(&["CONFIG", "REWRITE"]);
        server.restart(Stop::Kill9);
        assert_eq!(settings(&server), before, "preamble {preamble}");
    }
}

/// Its file is written anew after the first synchronisation.
#[test]
fn a_replicas_own_append_only_file_has_rules_and_watches_without_sensors() {
    for preamble in ["yes", "no"] {
        let master = Server::start();
        set_rules_and_watches(&master);
        let mut replica = Server::builder()
            .aof()
            .config(format!("aof-use-rdb-preamble {preamble}"))
            .replica_of(&master)
            .start();
        master.replica_in_sync(&replica);
        rewritten(&replica);
        replica.cmd(&["REPLICAOF", "NO", "ONE"]);
        replica.cmd(&["CONFIG", "REWRITE"]);
        replica.restart(Stop::Kill9);
        assert_eq!(settings(&replica), settings(&master), "preamble {preamble}");
    }
}
