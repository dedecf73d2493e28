//! The series of a sensor: how it is created, and what happens when it cannot be written.

use anomaly_tests::{Server, args, field, int, list, pairs, text};
use redis::Value;

fn add(server: &Server, key: &str, at: i64) {
    assert_eq!(
        text(&server.cmd(&args!["ANOMALY.ADD", key, at, 1.5])),
        "warmup"
    );
}

fn ts_info(server: &Server, series: &str, name: &str) -> Value {
    field(&server.cmd(&["TS.INFO", series]), name)
}

fn labels(server: &Server, series: &str) -> Vec<(String, String)> {
    let labels = list(&ts_info(server, series, "labels"));
    let pair = |label: &Value| (text(&list(label)[0]), text(&list(label)[1]));
    labels.iter().map(pair).collect()
}

fn sensor(name: &str) -> Vec<(String, String)> {
    vec![("sensor".into(), name.into())]
}

#[test]
fn a_series_is_in_the_sensors_slot_and_labelled_with_its_name() {
    let server = Server::start();
    for (key, series, label) in [
        ("s", "ts:{s}", "s"),
        (
            "{rack:1}:temperature",
            "ts:{rack:1}:temperature",
            "{rack:1}:temperature",
        ),
        ("a(1),50%", "ts:{a(1),50%}", "a%281%29%2C50%25"),
        ("with space", "ts:{with space}", "with space"),
    ] {
        add(&server, key, 1000);
        assert_eq!(labels(&server, series), sensor(label));
        let info = server.cmd(&["ANOMALY.INFO", key]);
        assert_eq!(text(&field(&info, "series")), series);
        let slot = |key: &str| server.cmd(&["CLUSTER", "KEYSLOT", key]);
        if server.try_cmd(&["CLUSTER", "KEYSLOT", "x"]).is_ok() {
            assert_eq!(slot(key), slot(series));
        }
    }
    let found = server.cmd(&["TS.MGET", "FILTER", "sensor=s"]);
    assert_eq!(list(&found).len(), 1);
}

#[test]
fn a_series_is_created_as_the_rule_says() {
    let server = Server::start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "own",
        "retention",
        "86400000",
        "chunk-size",
        "128",
    ]);
    add(&server, "own", 1000);
    add(&server, "default", 1000);
    let made = |series: &str| {
        ["retentionTime", "chunkSize", "duplicatePolicy"]
            .map(|name| text(&ts_info(&server, series, name)))
    };
    assert_eq!(made("ts:{own}"), ["86400000", "128", "last"]);
    assert_eq!(made("ts:{default}"), ["0", "1024", "last"]);
}

#[test]
fn where_the_rule_says_archive_no_there_is_no_series() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "archive", "no"]);
    add(&server, "s", 1000);
    add(&server, "other", 1000);
    assert_eq!(int(&server.cmd(&["EXISTS", "ts:{s}", "ts:{other}"])), 1);
    assert_eq!(
        field(&server.cmd(&["ANOMALY.INFO", "s"]), "series"),
        Value::Nil
    );
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "archive", "yes"]);
    add(&server, "s", 2000);
    assert_eq!(int(&ts_info(&server, "ts:{s}", "totalSamples")), 1);
}

#[test]
fn with_the_archive_off_nothing_is_archived_and_info_says_so() {
    let server = Server::start();
    let state = || server.info("anomaly")["anomaly_archive"].clone();
    assert_eq!(state(), "on");
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "off"]);
    add(&server, "s", 1000);
    assert_eq!(int(&server.cmd(&["EXISTS", "ts:{s}"])), 0);
    assert_eq!(state(), "off");
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "auto"]);
    add(&server, "s", 2000);
    assert_eq!(int(&server.cmd(&["EXISTS", "ts:{s}"])), 1);
}

#[test]
fn without_timeseries_info_says_that_it_is_missing() {
    let server = Server::builder().without_timeseries().start();
    add(&server, "s", 1000);
    let info = server.info("anomaly");
    let state = ["archive", "archived", "archive_failures", "readings"]
        .map(|name| info[&format!("anomaly_{name}")].as_str());
    assert_eq!(state, ["missing", "0", "0", "1"]);
}

#[test]
fn a_series_that_was_deleted_is_made_anew_with_its_labels() {
    let server = Server::start();
    add(&server, "s", 1000);
    server.cmd(&["DEL", "ts:{s}"]);
    add(&server, "s", 2000);
    assert_eq!(labels(&server, "ts:{s}"), sensor("s"));
    assert_eq!(int(&ts_info(&server, "ts:{s}", "totalSamples")), 1);
}

#[test]
fn a_series_that_was_made_by_hand_is_written_to_all_the_same() {
    let server = Server::start();
    server.cmd(&[
        "TS.CREATE",
        "ts:{s}",
        "DUPLICATE_POLICY",
        "BLOCK",
        "LABELS",
        "own",
        "label",
    ]);
    add(&server, "s", 1000);
    server.cmd(&["ANOMALY.ADD", "s", "1000", "2.5"]);
    let samples = list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
    assert_eq!(text(&list(&samples[0])[1]), "2.5");
    assert_eq!(labels(&server, "ts:{s}"), [("own".into(), "label".into())]);
    assert_eq!(server.info("anomaly")["anomaly_archive_failures"], "0");
}

#[test]
fn what_cannot_be_archived_is_judged_counted_and_logged_once() {
    let server = Server::start();
    server.cmd(&["SET", "ts:{s}", "text"]);
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1"]);
    for at in 0..5i64 {
        assert_eq!(
            text(&server.cmd(&args!["ANOMALY.ADD", "s", at, 1.5])),
            "warning"
        );
    }
    let info = server.info("anomaly");
    let counted = ["readings", "archived", "archive_failures", "alerts_firing"]
        .map(|name| info[&format!("anomaly_{name}")].as_str());
    assert_eq!(counted, ["5", "0", "5", "1"]);
    let log = server.log();
    let told = log.matches("could not be archived").count();
    assert_eq!(told, 1, "{log}");
    // Which sensor it is, among thousands.
    assert!(
        log.contains("a reading of 's' could not be archived"),
        "{log}"
    );
    assert_eq!(text(&server.cmd(&["GET", "ts:{s}"])), "text");
}

/// A sample older than the retention is refused by TimeSeries: what a late reading may be.
#[test]
fn a_reading_older_than_the_retention_is_late_and_counted() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "retention", "1000"]);
    add(&server, "s", 100_000);
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", "s", "1000", "1"])),
        "late"
    );
    let info = server.info("anomaly");
    assert_eq!(
        (
            &info["anomaly_late"][..],
            &info["anomaly_archive_failures"][..]
        ),
        ("1", "1")
    );
    assert_eq!(
        pairs(&server.cmd(&["ANOMALY.INFO", "s"]))[1].1,
        Value::Int(1)
    );
}

#[test]
fn readings_of_one_madd_leave_the_series_that_adds_one_by_one_leave() {
    // The newest of series that exist go to TimeSeries together: around them is all that must not.
    let items = [
        ("a", 1000, "1"),
        ("a", 2000, "2"),
        ("b", 1000, "3"),
        ("a", 3000, "4"),
        ("a", 3000, "5"),
        ("a", 3000, "5"),
        ("gone", 2000, "6"),
        ("gone", 3000, "7"),
        ("a", 2500, "8"),
        ("blocked", 2000, "9"),
        ("blocked", 3000, "10"),
        ("broken", 2000, "11"),
        ("off", 2000, "12"),
        ("b", 4000, "+13"),
        ("a", 5000, "1e3"),
        ("b", 5000, "14.50"),
        ("gone", 4000, "15"),
    ];
    let series = |together: bool| {
        let server = Server::start();
        server.cmd(&["ANOMALY.CONFIG", "SET", "off", "archive", "no"]);
        for key in ["gone", "blocked", "broken", "off"] {
            add(&server, key, 1000);
        }
        server.cmd(&["DEL", "ts:{gone}", "ts:{blocked}", "ts:{broken}"]);
        server.cmd(&["SET", "ts:{broken}", "no series"]);
        // Somebody else's, with a sample where a reading will be.
        server.cmd(&["TS.CREATE", "ts:{blocked}", "DUPLICATE_POLICY", "BLOCK"]);
        server.cmd(&["TS.ADD", "ts:{blocked}", "3000", "99"]);
        let mut words = args!["ANOMALY.MADD"];
        for (key, at, value) in items {
            words.extend(args![key, at, value]);
            if !together {
                server.cmd(&args!["ANOMALY.ADD", key, at, value]);
            }
        }
        if together {
            server.cmd(&words);
        }
        let samples: Vec<String> = ["a", "b", "gone", "blocked"]
            .iter()
            .map(|key| {
                format!(
                    "{:?}",
                    server.cmd(&["TS.RANGE", &format!("ts:{{{key}}}"), "-", "+"])
                )
            })
            .collect();
        assert_eq!(labels(&server, "ts:{gone}"), sensor("gone"));
        let info = server.info("anomaly");
        let counts =
            ["anomaly_archived", "anomaly_archive_failures"].map(|name| info[name].clone());
        (samples, counts)
    };
    let (alone, together) = (series(false), series(true));
    assert_eq!(alone, together);
    // All readings but one duplicate, one of a sensor that archives nothing, and one that cannot be; and the first four.
    assert_eq!(together.1, ["17", "1"]);
    assert!(together.0[3].contains("\"10\""), "{:?}", together.0[3]);
}
