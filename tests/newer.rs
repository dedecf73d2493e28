//! A server newer than all that the suite runs on takes readings in all the same.
//!
//! It is no part of the set-up: `make test-matrix` fetches it, and elsewhere the test runs where it has been fetched, and says so
//! loudly where not.

use anomaly_tests::{Server, args, fetched_server, field, int, text};

#[test]
fn redis_8_2_takes_in_readings_of_new_sensors_and_of_such_as_expire() {
    let Some(program) = fetched_server("redis82") else {
        eprintln!("SKIPPED: redis82 is not there (scripts/bootstrap.sh redis82 fetches it)");
        return;
    };
    let server = Server::builder().program(program).start();
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
    assert_eq!(anomaly_tests::list(&madd).len(), 2);
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
    assert_eq!(int(&anomaly_tests::list(&newest)[0]), 4000);
}
