//! What servers do differently that are newer than all that the suite runs on: the module works there all the same.
//!
//! They are no part of the set-up: `make test-matrix` fetches them, and elsewhere the tests run where they have been fetched, and say
//! so loudly where not.

use anomaly_tests::{Builder, Server, args, fetched_server, field, int, list, text};

/// A server of that part of `scripts/bootstrap.sh`.
fn newer(part: &str) -> Option<Builder> {
    let Some(program) = fetched_server(part) else {
        eprintln!("SKIPPED: {part} is not there (scripts/bootstrap.sh {part} fetches it)");
        return None;
    };
    Some(Server::builder().program(program))
}

#[test]
fn redis_8_2_takes_in_readings_of_new_sensors_and_of_such_as_expire() {
    let Some(builder) = newer("redis82") else {
        return;
    };
    let server = builder.start();
    assert!(server.info("server")["redis_version"].starts_with("8.2."));
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    let add = |at: i64, value: i64| text(&server.cmd(&args!["ANOMALY.ADD", "s", at, value]));
    assert_eq!(add(1000, 1), "normal");
    assert_eq!(add(2000, 50), "warning");
    server.cmd(&["EXPIRE", "s", "3600"]);
    assert_eq!(add(3000, 1), "normal");
    for _ in 0..3 {
        server.cmd(&["XADD", "raw", "*", "id", "d", "temp", "50"]);
    }
    let madd = server.cmd(&args!["ANOMALY.MADD", "s", 4000, 1, "new", 4000, 1]);
    assert_eq!(list(&madd).len(), 2);
    let alerts = server.stream("anomaly:alerts");
    let sensors: Vec<&str> = alerts
        .iter()
        .map(|(_, fields)| fields[4].1.as_str())
        .collect();
    assert_eq!(sensors, ["s", "sensor:d:temp"]);
    let readings = |sensor: &str| {
        let info = server.cmd(&["ANOMALY.INFO", sensor]);
        ["readings", "late", "duplicates"]
            .map(|name| int(&field(&info, name)))
            .iter()
            .sum::<i64>()
    };
    assert_eq!(["s", "sensor:d:temp", "new"].map(readings), [4, 3, 1]);
    assert_eq!(server.info("anomaly")["anomaly_archive_failures"], "0");
    let newest = server.cmd(&["TS.GET", "ts:{s}"]);
    assert_eq!(int(&list(&newest)[0]), 4000);
}

#[test]
fn valkey_9_misses_silent_sensors_and_reads_what_streams_of_a_cluster_held_before() {
    let Some(builder) = newer("valkey9") else {
        return;
    };
    let server = builder.cluster().start();
    let version = server.info("server")["valkey_version"].clone();
    assert!(!version.starts_with("8."), "{version}");
    server.cmd(&["ANOMALY.CONFIG", "SET", "s{1}", "nodata", "300"]);
    server.cmd(&["ANOMALY.ADD", "s{1}", "*", "1"]);
    server.wait_until("it is missed", || {
        let open = list(&server.cmd(&["ANOMALY.ALERTS"]));
        open.iter().any(|row| text(&field(row, "kind")) == "nodata")
    });
    for at in 1..=100 {
        server.cmd(&args!["XADD", "raw{1}", format!("{at}-0"), "temp", at]);
    }
    server.cmd(&args![
        "ANOMALY.WATCH",
        "SET",
        "raw*",
        "KEY",
        "r:{$tag}",
        "FROM",
        0
    ]);
    server.wait_until("all is read", || {
        let info = server.cmd(&["ANOMALY.INFO", "r:{1}"]);
        !anomaly_tests::is_nil(&info) && int(&field(&info, "readings")) == 100
    });
}

#[test]
fn valkey_9_knows_where_an_episode_is_that_a_transaction_has_moved() {
    let Some(builder) = newer("valkey9") else {
        return;
    };
    let server = builder.start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    server.cmd(&args!["ANOMALY.ADD", "s", 1000, 50]);
    for words in [&["MULTI"][..], &["MOVE", "s", "1"], &["EXEC"]] {
        server.cmd(words);
    }
    let open = list(&server.cmd(&["ANOMALY.ALERTS"]));
    let places: Vec<i64> = open.iter().map(|row| int(&field(row, "db"))).collect();
    assert_eq!(places, [1]);
}
