//! Readings that come late, twice, at the same instant, or from a clock that is wrong.

use anomaly_tests::{Server, args, field, float, int, list, pairs, text};
use redis::Value;

fn add(server: &Server, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", "s", at, value]))
}

fn rule(server: &Server, settings: &[&str]) {
    let mut command = vec!["ANOMALY.CONFIG", "SET", "s"];
    command.extend(settings);
    server.cmd(&command);
}

fn info(server: &Server, name: &str) -> Value {
    field(&server.cmd(&["ANOMALY.INFO", "s"]), name)
}

fn samples(server: &Server) -> Vec<(i64, f64)> {
    let all = list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
    all.iter()
        .map(|sample| (int(&list(sample)[0]), float(&list(sample)[1])))
        .collect()
}

/// The server's clock in milliseconds.
fn clock(server: &Server) -> i64 {
    let time = list(&server.cmd(&["TIME"]));
    int(&time[0]) * 1000 + int(&time[1]) / 1000
}

#[test]
fn a_late_reading_is_archived_but_changes_nothing_that_was_learnt() {
    let server = Server::start();
    add(&server, 1000, 1.0);
    add(&server, 3000, 3.0);
    let before = ["readings", "mean", "last", "value"].map(|name| info(&server, name));
    assert_eq!(add(&server, 2000, 99.0), "late");
    assert_eq!(
        ["readings", "mean", "last", "value"].map(|name| info(&server, name)),
        before
    );
    assert_eq!(samples(&server), [(1000, 1.0), (2000, 99.0), (3000, 3.0)]);
}

#[test]
fn a_duplicate_is_counted_and_not_archived() {
    let server = Server::start();
    add(&server, 1000, 1.0);
    server.cmd(&["DEL", "ts:{s}"]);
    assert_eq!(add(&server, 1000, 1.0), "duplicate");
    assert_eq!(int(&server.cmd(&["EXISTS", "ts:{s}"])), 0);
    assert_eq!(
        ["readings", "duplicates"].map(|name| int(&info(&server, name))),
        [1, 1]
    );
}

#[test]
fn another_value_of_the_same_instant_is_scored_and_the_series_keeps_the_last() {
    let server = Server::start();
    rule(&server, &["max", "10", "rate", "1"]);
    add(&server, 1000, 5.0);
    assert_eq!(add(&server, 1000, 50.0), "warning");
    assert_eq!(add(&server, 1000, 6.0), "normal");
    assert_eq!(samples(&server), [(1000, 6.0)]);
    assert_eq!(int(&info(&server, "readings")), 3);
}

#[test]
fn a_clock_that_was_set_back_is_followed_after_thirty_late_readings() {
    let server = Server::start();
    rule(&server, &["max", "10"]);
    add(&server, 1_000_000, 1.0);
    for i in 0..30 {
        assert_eq!(add(&server, i * 10, 99.0), "late", "reading {i}");
    }
    assert_eq!(add(&server, 300, 99.0), "warning");
    assert_eq!(int(&info(&server, "last")), 300);
    assert_eq!(add(&server, 310, 1.0), "normal");
}

#[test]
fn stragglers_out_of_order_do_not_set_the_clock_back() {
    let server = Server::start();
    add(&server, 1_000_000, 1.0);
    for i in 0..100 {
        assert_eq!(add(&server, 1000 + i % 20, 2.0), "late", "reading {i}");
    }
}

#[test]
fn a_star_is_the_servers_clock() {
    let server = Server::start();
    let before = clock(&server);
    let reply = server.cmd(&["ANOMALY.ADD", "s", "*", "1", "EXPLAIN"]);
    let at = int(&field(&reply, "timestamp"));
    assert!((before..=clock(&server)).contains(&at), "{at}");
    assert_eq!(samples(&server), [(at, 1.0)]);
}

#[test]
fn a_reading_from_the_future_is_refused_beyond_the_allowance() {
    let server = Server::start();
    let now = clock(&server);
    let refused = server.refuses(&args!["ANOMALY.ADD", "s", now + 700_000, 1]);
    assert!(
        refused.contains(
            "ahead of the server's clock, more than anomaly.max-future allows (600000 ms)"
        ),
        "{refused}"
    );
    assert_eq!(int(&server.cmd(&["DBSIZE"])), 0);
    assert_eq!(add(&server, now + 500_000, 1.0), "warmup");
    server.cmd(&["CONFIG", "SET", "anomaly.max-future", "1000000"]);
    assert_eq!(add(&server, now + 700_000, 1.0), "warmup");
}

#[test]
fn readings_late_and_duplicates_add_up_to_the_inputs_and_samples_to_the_distinct_timestamps() {
    let server = Server::start();
    let mut distinct = std::collections::BTreeSet::new();
    let mut madd = args!["ANOMALY.MADD"];
    for i in 0..500i64 {
        let at = if i % 7 == 6 { i - 5 } else { i / 3 * 3 };
        distinct.insert(at);
        madd.extend(args!["s", at, i / 5]);
    }
    server.cmd(&madd);
    let counts = ["readings", "late", "duplicates"].map(|name| int(&info(&server, name)));
    assert!(counts.iter().all(|n| *n > 10), "{counts:?}");
    assert_eq!(counts.iter().sum::<i64>(), 500);
    assert_eq!(samples(&server).len(), distinct.len());
    let totals = server.info("anomaly");
    let total = |name: &str| totals[&format!("anomaly_{name}")].parse::<i64>().unwrap();
    assert_eq!(["readings", "late", "duplicates"].map(total), counts);
    assert_eq!(total("archived"), 500 - counts[2]);
    assert_eq!(pairs(&server.cmd(&["ANOMALY.INFO", "s"]))[0].0, "readings");
}
