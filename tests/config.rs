//! ANOMALY.CONFIG: what is set is what is told, and the most specific rule wins.

use anomaly_tests::{Server, args, bytes, call, field, is_nil, list, pairs, text};
use redis::Value;

fn set(server: &Server, words: &[&str]) {
    let reply = server.cmd(&[&["ANOMALY.CONFIG", "SET"], words].concat());
    assert_eq!(reply, Value::Okay);
}

fn get(server: &Server, pattern: &str) -> Vec<(String, String)> {
    let rule = server.cmd(&["ANOMALY.CONFIG", "GET", pattern]);
    pairs(&rule)
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// The value of a setting for a sensor, and where it comes from.
fn resolved(server: &Server, key: &str, name: &str) -> [String; 2] {
    let row = field(&server.cmd(&["ANOMALY.CONFIG", "RESOLVE", key]), name);
    [0, 1].map(|i| text(&list(&row)[i]))
}

fn strings(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(a, b)| (a.to_string(), b.to_string()))
        .collect()
}

/// Every setting of the design with its default there.
const SETTINGS: [(&str, &str); 34] = [
    ("enabled", "yes"),
    ("min", "-"),
    ("max", "-"),
    ("critical-min", "-"),
    ("critical-max", "-"),
    ("zscore", "off"),
    ("mad", "off"),
    ("ewma", "off"),
    ("alpha", "0.05"),
    ("rate", "off"),
    ("cusum", "off"),
    ("drift", "0.5"),
    ("auto", "on"),
    ("season", "86400000"),
    ("stuck", "off"),
    ("nodata", "off"),
    ("expire", "off"),
    ("window", "30"),
    ("critical", "1.5"),
    ("direction", "both"),
    ("mindev", "0"),
    ("warmup", "-"),
    ("learn", "yes"),
    ("for", "1"),
    ("clear", "3"),
    ("clear-margin", "0"),
    ("cooldown", "0"),
    ("repeat", "0"),
    ("budget", "2592000000"),
    ("archive", "yes"),
    ("retention", "0"),
    ("chunk-size", "1024"),
    ("recent", "0"),
    ("unit", ""),
];

#[test]
fn every_setting_of_the_design_is_resolved_to_its_default() {
    let server = Server::start();
    let rows = pairs(&server.cmd(&["ANOMALY.CONFIG", "RESOLVE", "any"]));
    let told: Vec<(String, String)> = rows
        .iter()
        .map(|(name, row)| (name.clone(), text(&list(row)[0])))
        .collect();
    assert_eq!(told, strings(&SETTINGS));
    assert!(rows.iter().all(|(_, row)| text(&list(row)[1]) == "default"));
}

#[test]
fn a_rule_is_told_as_it_was_set_and_keeps_what_is_not_named() {
    let server = Server::start();
    assert!(is_nil(&server.cmd(&["ANOMALY.CONFIG", "GET", "s:*"])));
    set(
        &server,
        &["s:*", "MAX", "28.50", "unit", "°C", "enabled", "YES"],
    );
    assert_eq!(
        get(&server, "s:*"),
        strings(&[("enabled", "yes"), ("max", "28.5"), ("unit", "°C")])
    );
    set(&server, &["s:*", "max", "-1e3", "window", "10000"]);
    let expected = strings(&[
        ("enabled", "yes"),
        ("max", "-1000"),
        ("window", "10000"),
        ("unit", "°C"),
    ]);
    assert_eq!(get(&server, "s:*"), expected);
    let map = call(&mut server.resp3(), &["ANOMALY.CONFIG", "GET", "s:*"]);
    assert!(matches!(&map, Value::Map(all) if all.len() == 4), "{map:?}");
}

#[test]
fn inherit_removes_a_setting_and_a_rule_that_sets_nothing_is_gone() {
    let server = Server::start();
    set(&server, &["s", "max", "5", "min", "1"]);
    set(&server, &["s", "max", "inherit"]);
    assert_eq!(get(&server, "s"), strings(&[("min", "1")]));
    set(&server, &["s", "min", "inherit", "for", "inherit"]);
    assert!(is_nil(&server.cmd(&["ANOMALY.CONFIG", "GET", "s"])));
    assert!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).is_empty());
}

#[test]
fn del_removes_exactly_that_pattern() {
    let server = Server::start();
    set(&server, &["s*", "max", "5"]);
    set(&server, &["s", "max", "6"]);
    assert_eq!(server.cmd(&["ANOMALY.CONFIG", "DEL", "s*"]), Value::Int(1));
    assert_eq!(server.cmd(&["ANOMALY.CONFIG", "DEL", "s*"]), Value::Int(0));
    assert_eq!(get(&server, "s"), strings(&[("max", "6")]));
}

#[test]
fn rules_cascade_from_the_least_to_the_most_specific() {
    let server = Server::start();
    set(&server, &["sensor:7:temperature", "max", "40"]);
    set(
        &server,
        &["sensor:*:temperature", "max", "30", "unit", "°C"],
    );
    set(&server, &["*", "max", "20", "clear", "5"]);
    let key = "sensor:7:temperature";
    assert_eq!(resolved(&server, key, "max"), ["40", key]);
    assert_eq!(
        resolved(&server, key, "unit"),
        ["°C", "sensor:*:temperature"]
    );
    assert_eq!(resolved(&server, key, "clear"), ["5", "*"]);
    assert_eq!(resolved(&server, key, "for"), ["1", "default"]);
    assert_eq!(
        resolved(&server, "sensor:8:temperature", "max"),
        ["30", "sensor:*:temperature"]
    );
    let patterns = list(&server.cmd(&["ANOMALY.CONFIG", "LIST"]));
    let patterns: Vec<String> = patterns.iter().map(|row| text(&list(row)[0])).collect();
    assert_eq!(patterns, ["*", "sensor:*:temperature", key]);
}

#[test]
fn specificity_is_the_number_of_literal_bytes_then_the_order_of_the_bytes_and_an_exact_key_comes_last()
 {
    let server = Server::start();
    for pattern in ["ab", "b??d*", "*abcd", "a*d", "a[bx]c*", "*", "abc?"] {
        set(&server, &[pattern, "max", "1"]);
    }
    let rows = list(&server.cmd(&["ANOMALY.CONFIG", "LIST"]));
    let patterns: Vec<String> = rows.iter().map(|row| text(&list(row)[0])).collect();
    assert_eq!(
        patterns,
        ["*", "a*d", "a[bx]c*", "b??d*", "abc?", "*abcd", "ab"]
    );
    assert_eq!(
        pairs(&list(&rows[0])[1]),
        [("max".to_owned(), Value::BulkString(b"1".into()))]
    );
}

#[test]
fn a_limit_or_a_detector_of_ones_own_takes_the_place_of_the_default() {
    let server = Server::start();
    set(&server, &["limit", "max", "5"]);
    set(&server, &["rate", "rate", "5"]);
    set(&server, &["quiet", "auto", "off"]);
    set(&server, &["unit", "unit", "V"]);
    let auto = |key: &str| resolved(&server, key, "auto")[0].clone();
    assert_eq!(
        ["limit", "rate", "quiet", "unit"].map(auto),
        ["off", "off", "off", "on"]
    );
}

#[test]
fn every_setting_is_stored_and_told_even_where_nothing_acts_on_it_yet() {
    let server = Server::start();
    let all = [
        ("alpha", "0.1"),
        ("drift", "1"),
        ("season", "3600000"),
        ("critical", "2"),
        ("direction", "high"),
        ("mindev", "0.5"),
        ("warmup", "10"),
        ("learn", "no"),
        ("for", "2"),
        ("clear", "4"),
        ("clear-margin", "0.25"),
        ("cooldown", "1000"),
        ("repeat", "2000"),
        ("budget", "86400000"),
        ("archive", "no"),
        ("retention", "5000"),
        ("chunk-size", "256"),
        ("recent", "60"),
        ("unit", "kPa"),
    ];
    for (name, value) in all {
        set(&server, &["s", name, value]);
    }
    assert_eq!(get(&server, "s"), strings(&all));
}

#[test]
fn help_tells_every_subcommand_and_every_setting() {
    let server = Server::start();
    let lines: Vec<String> = list(&server.cmd(&["ANOMALY.CONFIG", "HELP"]))
        .iter()
        .map(text)
        .collect();
    assert_eq!(
        lines[0],
        "ANOMALY.CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    );
    for word in [
        "SET pattern",
        "GET pattern",
        "RESOLVE key",
        "LIST",
        "DEL pattern",
        "EXPORT",
        "IMPORT json [REPLACE]",
        "HELP",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(word)), "{word}");
    }
    for (name, _) in SETTINGS {
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with(&format!("{name} "))),
            "{name}"
        );
    }
}

#[test]
fn a_pattern_is_bytes() {
    let server = Server::start();
    let pattern = b"k\xff\0*".as_slice();
    server.cmd(&args!["ANOMALY.CONFIG", "SET", pattern, "max", 5]);
    let rows = list(&server.cmd(&["ANOMALY.CONFIG", "LIST"]));
    assert_eq!(bytes(&list(&rows[0])[0]), pattern);
    let verdict = server.cmd(&args!["ANOMALY.ADD", b"k\xff\0x".as_slice(), 1, 6]);
    assert_eq!(text(&verdict), "warning");
    assert_eq!(
        server.cmd(&args!["ANOMALY.CONFIG", "DEL", pattern]),
        Value::Int(1)
    );
}
