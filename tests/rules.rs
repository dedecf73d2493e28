//! Rules as a whole: exported and imported, for all databases, kept by files, and in force from the next reading on.

use anomaly_tests::{Server, Stop, args, call, field, int, list, text};
use redis::Value;
use serde_json::json;

fn set(server: &Server, words: &[&str]) {
    server.cmd(&[&["ANOMALY.CONFIG", "SET"], words].concat());
}

fn export(server: &Server) -> String {
    text(&server.cmd(&["ANOMALY.CONFIG", "EXPORT"]))
}

fn add(server: &Server, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", "s", at, value]))
}

/// Rules with everything that is hard to write down.
fn difficult(server: &Server) {
    set(
        server,
        &["*", "max", "0.1", "unit", "°C \"x\"\\", "warmup", "-"],
    );
    set(
        server,
        &["a\\*b[^x]", "zscore", "1e-7", "min", "-123456789.123456789"],
    );
    server.cmd(&args![
        "ANOMALY.CONFIG",
        "SET",
        b"k\xff\0*".as_slice(),
        "enabled",
        "no"
    ]);
    server.cmd(&args![
        "ANOMALY.CONFIG",
        "SET",
        "fühler:\n",
        "season",
        3_155_760_000_000u64,
        "auto",
        "off",
        "max",
        "-"
    ]);
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let (one, other) = (Server::start(), Server::start());
    difficult(&one);
    set(&other, &["gone", "max", "1"]);
    let document = export(&one);
    let parsed: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (&parsed["version"], &parsed["watches"]),
        (&json!(1), &json!([]))
    );
    assert_eq!(
        other.cmd(&["ANOMALY.CONFIG", "IMPORT", &document, "REPLACE"]),
        Value::Okay
    );
    assert_eq!(export(&other), document);
    assert_eq!(
        other.cmd(&["ANOMALY.CONFIG", "LIST"]),
        one.cmd(&["ANOMALY.CONFIG", "LIST"])
    );
}

#[test]
fn an_import_takes_the_place_of_the_rules_it_names_and_with_replace_of_all() {
    let server = Server::start();
    set(&server, &["a", "max", "1", "for", "2"]);
    set(&server, &["b", "max", "2"]);
    let document =
        json!({"rules": [{"pattern": "a", "settings": {"max": "5", "zscore": 2.5}}]}).to_string();
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document]);
    let rules = |server: &Server| {
        serde_json::from_str::<serde_json::Value>(&export(server)).unwrap()["rules"].clone()
    };
    let a = json!({"pattern": "a", "settings": {"max": 5, "zscore": 2.5}});
    assert_eq!(
        rules(&server),
        json!([a, {"pattern": "b", "settings": {"max": 2}}])
    );
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document, "replace"]);
    assert_eq!(rules(&server), json!([a]));
}

#[test]
fn a_bad_document_is_refused_with_the_place_and_changes_nothing() {
    let server = Server::start();
    difficult(&server);
    let before = export(&server);
    for (document, why) in [
        ("", "it is not JSON"),
        ("{\"rules\":[", "it is not JSON"),
        ("[]", "it is not an object"),
        (r#"{"version":2,"rules":[]}"#, "version must be 1"),
        (
            r#"{"rules":[],"ruels":[]}"#,
            "unknown member 'ruels': expected version, rules, watches",
        ),
        (
            r#"{"rules":[{"pattern":"good","settings":{"max":1}},{"pattern":"x","settings":{"maxx":1}}]}"#,
            "rule 2: unknown setting 'maxx': did you mean 'max'",
        ),
        (
            r#"{"rules":[{"pattern":"x","settings":{"min":2,"max":1}}]}"#,
            "rule 1: setting 'min' (2) must not be above 'max' (1)",
        ),
        (
            r#"{"rules":[{"pattern":"x","settings":{"max":null}}]}"#,
            "rule 1: setting 'max' must be a string or a number",
        ),
        (
            r#"{"rules":[{"settings":{}}]}"#,
            "rule 1: member 'pattern' must be a string",
        ),
    ] {
        for replace in [&[][..], &["REPLACE"]] {
            let refused =
                server.refuses(&[&["ANOMALY.CONFIG", "IMPORT", document], replace].concat());
            assert!(
                refused.starts_with(&format!("ERR document cannot be imported: {why}")),
                "{document}: {refused}"
            );
        }
    }
    let mut bytes = args!["ANOMALY.CONFIG", "IMPORT", b"\xff\xfe\0".as_slice()];
    assert!(
        server
            .refuses(&bytes)
            .starts_with("ERR document cannot be imported: ")
    );
    bytes[2] = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes();
    assert!(
        server
            .refuses(&bytes)
            .starts_with("ERR document cannot be imported: "),
        "deep nesting ends nothing"
    );
    assert_eq!(export(&server), before);
}

#[test]
fn rules_are_in_force_in_every_database() {
    let server = Server::start();
    let mut second = server.conn();
    call(&mut second, &["SELECT", "1"]);
    call(&mut second, &["ANOMALY.CONFIG", "SET", "s", "max", "10"]);
    assert_eq!(add(&server, 1, 50.0), "warning");
    assert_eq!(
        text(&call(&mut second, &["ANOMALY.ADD", "s", "1", "50"])),
        "warning"
    );
    assert_eq!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).len(), 1);
}

#[test]
fn a_change_of_rules_is_in_force_from_the_next_reading_on() {
    let server = Server::start();
    assert_eq!(add(&server, 1, 50.0), "warmup");
    set(&server, &["*", "max", "10"]);
    assert_eq!(add(&server, 2, 50.0), "warning");
    set(&server, &["s", "max", "100"]);
    assert_eq!(add(&server, 3, 50.0), "normal");
    server.cmd(&["ANOMALY.CONFIG", "DEL", "s"]);
    assert_eq!(add(&server, 4, 50.0), "warning");
    let document =
        json!({"rules": [{"pattern": "s", "settings": {"max": 10, "critical-max": 20}}]});
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document.to_string(), "REPLACE"]);
    assert_eq!(add(&server, 5, 50.0), "critical");
    let mut transaction = server.conn();
    for command in [
        &["MULTI"][..],
        &["ANOMALY.CONFIG", "SET", "s", "enabled", "no"],
        &["ANOMALY.ADD", "s", "6", "50"],
    ] {
        call(&mut transaction, command);
    }
    let replies = list(&call(&mut transaction, &["EXEC"]));
    assert_eq!(text(&replies[1]), "normal");
}

#[test]
fn a_rule_that_is_changed_keeps_what_was_learnt() {
    let server = Server::start();
    set(&server, &["s", "zscore", "3", "window", "20"]);
    for i in 0..20i64 {
        add(&server, i, (i % 4) as f64);
    }
    set(&server, &["s", "window", "10"]);
    assert_eq!(
        add(&server, 20, 40.0),
        "critical",
        "warm at once, with the ten newest readings"
    );
    let detectors = field(&server.cmd(&["ANOMALY.INFO", "s"]), "detectors");
    assert_eq!(int(&field(&field(&detectors, "zscore"), "warm")), 1);
}

#[test]
fn rules_survive_a_restart_and_a_flush() {
    for builder in [Server::builder(), Server::builder().aof()] {
        let mut server = builder.start();
        difficult(&server);
        let before = export(&server);
        server.cmd(&["FLUSHALL"]);
        assert_eq!(export(&server), before);
        server.restart(Stop::Save);
        assert_eq!(export(&server), before);
        server.cmd(&["DEBUG", "RELOAD"]);
        assert_eq!(export(&server), before);
    }
}

#[test]
fn deleted_rules_do_not_come_back() {
    for builder in [Server::builder(), Server::builder().aof()] {
        let mut server = builder.start();
        set(&server, &["a", "max", "1"]);
        server.restart(Stop::Save);
        server.cmd(&["ANOMALY.CONFIG", "DEL", "a"]);
        server.restart(Stop::Save);
        assert!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).is_empty());
    }
}

#[test]
fn a_file_without_rules_and_sensors_loads_where_the_module_is_not() {
    let mut server = Server::start();
    set(&server, &["s", "max", "1"]);
    add(&server, 1, 1.0);
    server.cmd(&["SET", "other", "kept"]);
    server.cmd(&["DEL", "s", "ts:{s}"]);
    server.cmd(&["ANOMALY.CONFIG", "DEL", "s"]);
    let dir = server.dir().clone();
    server.stop(Stop::Save);
    let bare = Server::builder()
        .without_module()
        .without_timeseries()
        .dir(&dir)
        .start();
    assert_eq!(text(&bare.cmd(&["GET", "other"])), "kept");
}

#[test]
fn a_file_with_rules_does_not_load_where_the_module_is_not_which_says_so() {
    let mut server = Server::start();
    set(&server, &["s", "max", "1"]);
    let dir = server.dir().clone();
    server.stop(Stop::Save);
    let refused = Server::builder()
        .without_module()
        .without_timeseries()
        .dir(&dir)
        .try_start();
    let log = refused.expect_err("the rules are in the file").log;
    assert!(log.contains("anomaly-m"), "{log}");
}
