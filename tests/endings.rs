//! A sensor that leaves while its episode is open is resolved, once, with the reason; one that only moves is not.

use anomaly_tests::{Server, args, call, int, list, text};

fn firing(keys: &[&str]) -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "unit", "V"]);
    for key in keys {
        fires(&server, key);
    }
    server
}

fn fires(server: &Server, key: &str) {
    server.cmd(&args!["ANOMALY.ADD", key, 1000, 15]);
    server.cmd(&args!["ANOMALY.ADD", key, 6000, 15]);
}

fn value(fields: &[(String, String)], name: &str) -> String {
    fields.iter().find(|(n, _)| n == name).unwrap().1.clone()
}

/// The ends that were told: sensor and reason.
fn resolved(server: &Server) -> Vec<String> {
    let alerts = server.stream("anomaly:alerts");
    alerts
        .iter()
        .filter(|(_, fields)| value(fields, "event") == "resolved")
        .map(|(_, fields)| format!("{}: {}", value(fields, "sensor"), value(fields, "reason")))
        .collect()
}

/// The sensors whose episodes are open.
fn open(server: &Server) -> Vec<String> {
    let rows = list(&server.cmd(&["ANOMALY.ALERTS"]));
    rows.iter()
        .map(|row| text(&anomaly_tests::field(row, "sensor")))
        .collect()
}

const DELETED: &str = "s: the sensor was deleted while its episode was open for 5 s";
const EXPIRED: &str = "s: the sensor expired while its episode was open for 5 s";

#[test]
fn deleting_and_overwriting_resolves_once_with_the_reason() {
    let server = firing(&["other"]);
    server.cmd(&["SET", "text", "x"]);
    let dump = server.cmd(&["DUMP", "text"]);
    let dump = anomaly_tests::bytes(&dump);
    for command in [
        args!["DEL", "s"],
        args!["UNLINK", "s"],
        args!["SET", "s", "x"],
        args!["RENAME", "text", "s"],
        args!["COPY", "text", "s", "REPLACE"],
        args!["RESTORE", "s", 0, &dump, "REPLACE"],
        args!["EVAL", "redis.call('DEL', KEYS[1])", 1, "s"],
        args!["SORT", "list", "STORE", "s"],
        args!["PEXPIRE", "s", -1],
    ] {
        server.cmd(&["SET", "text", "x"]);
        server.cmd(&["DEL", "s"]);
        fires(&server, "s");
        let before = resolved(&server).len();
        server.cmd(&command);
        let told = resolved(&server)[before..].to_vec();
        if command[0] == b"PEXPIRE" && told == [EXPIRED] {
            // Valkey from 8.1 on says so of a key whose time is over as soon as it is set.
            assert_eq!(open(&server), ["other"]);
            continue;
        }
        assert_eq!(told, [DELETED], "{command:?}");
        assert_eq!(open(&server), ["other"], "{command:?}");
    }
    server.cmd(&["DEL", "s"]);
    assert!(
        !resolved(&server)
            .iter()
            .any(|line| line.starts_with("other"))
    );
}

#[test]
fn what_a_resolved_alert_of_a_deleted_sensor_tells_is_of_its_last_reading() {
    let server = firing(&["s"]);
    server.cmd(&["DEL", "s"]);
    let (_, fields) = server.stream("anomaly:alerts").pop().unwrap();
    let told = [
        "event", "ts", "start", "value", "unit", "kind", "severity", "rule",
    ]
    .map(|name| value(&fields, name));
    assert_eq!(
        told,
        [
            "resolved", "6000", "1000", "15", "V", "range", "warning", "*"
        ]
    );
}

#[test]
fn a_reset_resolves_and_forgets() {
    let server = firing(&["s"]);
    assert_eq!(int(&server.cmd(&["ANOMALY.RESET", "s"])), 1);
    assert_eq!(
        resolved(&server),
        ["s: the sensor was reset while its episode was open for 5 s"]
    );
    assert!(open(&server).is_empty());
    let info = server.cmd(&["ANOMALY.INFO", "s"]);
    assert_eq!(int(&anomaly_tests::field(&info, "readings")), 0);
    assert_eq!(
        list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"])).len(),
        2,
        "the series stays"
    );
    assert_eq!(int(&server.cmd(&["ANOMALY.RESET", "nobody"])), 0);
    server.cmd(&["ANOMALY.RESET", "s"]);
    assert_eq!(resolved(&server).len(), 1);
}

#[test]
fn an_expiry_resolves_whether_somebody_looks_or_not() {
    let server = firing(&["s"]);
    server.cmd(&["PEXPIRE", "s", "1"]);
    server.wait_until("nobody looked and it is resolved", || {
        resolved(&server) == ["s: the sensor expired while its episode was open for 5 s"]
    });
    assert!(open(&server).is_empty());
    server.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    fires(&server, "s");
    server.cmd(&["PEXPIRE", "s", "1"]);
    server.wait_until("somebody looked", || {
        int(&server.cmd(&["EXISTS", "s"])) == 0
    });
    assert_eq!(resolved(&server).len(), 2);
}

#[test]
fn an_expired_sensor_that_gets_a_reading_is_resolved_and_begins_anew() {
    let server = firing(&["s"]);
    server.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    server.cmd(&["PEXPIRE", "s", "1"]);
    server.wait_until("its time is over", || int(&server.cmd(&["PTTL", "s"])) < 0);
    server.cmd(&args!["ANOMALY.ADD", "s", 2000, 15]);
    let events: Vec<String> = server
        .stream("anomaly:alerts")
        .iter()
        .map(|(_, f)| value(f, "event"))
        .collect();
    assert_eq!(
        events.iter().filter(|event| *event == "resolved").count(),
        1
    );
    assert_eq!(events.iter().filter(|event| *event == "firing").count(), 2);
    assert_eq!(open(&server), ["s"]);
}

#[test]
fn an_eviction_resolves_with_its_reason() {
    let server = firing(&["s", "kept"]);
    server.cmd(&["EXPIRE", "s", "10000"]);
    server.cmd(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    server.wait_until("it is evicted", || int(&server.cmd(&["EXISTS", "s"])) == 0);
    assert_eq!(
        resolved(&server),
        ["s: the sensor was evicted for want of memory while its episode was open for 5 s"]
    );
    assert_eq!(open(&server), ["kept"]);
}

#[test]
fn a_renamed_sensor_keeps_its_episode_and_goes_by_the_rules_of_its_new_name() {
    let server = firing(&[]);
    // Before the first reading: a rule that comes later has all sensors look at the rules again.
    server.cmd(&["ANOMALY.CONFIG", "SET", "new", "max", "100", "clear", "1"]);
    fires(&server, "s");
    server.cmd(&["RENAME", "s", "new"]);
    assert!(resolved(&server).is_empty());
    assert_eq!(open(&server), ["new"]);
    assert_eq!(
        text(&server.cmd(&args!["ANOMALY.ADD", "new", 7000, 15])),
        "normal"
    );
    assert_eq!(
        resolved(&server),
        [
            "new: 15 V is not above the limit 100; 1 of 1 readings normal, over after 6 s, peak score 0.6"
        ]
    );
}

#[test]
fn a_sensor_that_is_renamed_over_is_resolved_and_the_renamed_one_is_not() {
    let server = firing(&["s", "mover"]);
    server.cmd(&["RENAME", "mover", "s"]);
    assert_eq!(resolved(&server), [DELETED]);
    assert_eq!(open(&server), ["s"]);
    server.cmd(&["RENAMENX", "s", "again"]);
    assert_eq!(
        (resolved(&server).len(), open(&server)),
        (1, vec!["again".to_owned()])
    );
}

#[test]
fn what_happens_in_one_transaction_is_told_apart() {
    let server = firing(&["s"]);
    let mut transaction = server.conn();
    for command in [
        args!["MULTI"],
        args!["DEL", "s"],
        args!["ANOMALY.ADD", "s", 1000, 5],
        args!["RENAME", "s", "t"],
        args!["EXEC"],
    ] {
        call(&mut transaction, &command);
    }
    assert_eq!(
        resolved(&server),
        [DELETED],
        "the first one was deleted, the second renamed"
    );
}

#[test]
fn a_copy_starts_without_an_episode() {
    let server = firing(&["s"]);
    server.cmd(&["COPY", "s", "copy"]);
    assert_eq!(open(&server), ["s"]);
    server.cmd(&["DEL", "copy"]);
    assert!(resolved(&server).is_empty());
    server.cmd(&["COPY", "s", "copy"]);
    server.cmd(&args!["ANOMALY.ADD", "copy", 7000, 15]);
    let alerts = server.stream("anomaly:alerts");
    let last = &alerts.last().unwrap().1;
    assert_eq!(
        [value(last, "event"), value(last, "sensor")],
        ["firing", "copy"]
    );
}

#[test]
fn a_moved_sensor_keeps_its_episode() {
    let server = firing(&["s"]);
    server.cmd(&["MOVE", "s", "1"]);
    assert!(resolved(&server).is_empty());
    assert_eq!(open(&server), ["s"]);
    let mut second = server.conn();
    call(&mut second, &["SELECT", "1"]);
    call(&mut second, &["DEL", "s"]);
    assert_eq!(
        int(&call(&mut second, &["XLEN", "anomaly:alerts"])),
        1,
        "told in the sensor's database"
    );
    assert!(open(&server).is_empty());
}
