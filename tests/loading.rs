//! Loading the module: with RedisTimeSeries, without it, and when it must not load.

use anomaly_tests::{Builder, Server, field, int, list, text, timeseries};

fn has_module(server: &Server, name: &str) -> bool {
    list(&server.cmd(&["MODULE", "LIST"]))
        .iter()
        .any(|module| text(&field(module, "name")) == name)
}

fn without_series() -> Builder {
    Server::builder().without_timeseries()
}

/// The lines of a log that speak of RedisTimeSeries.
fn on_timeseries(log: &str) -> Vec<&str> {
    log.lines()
        .filter(|line| line.to_lowercase().contains("timeseries"))
        .collect()
}

fn add(server: &Server, at: &str) -> String {
    text(&server.cmd(&["ANOMALY.ADD", "s", at, "1.5"]))
}

fn samples(server: &Server) -> i64 {
    int(&field(&server.cmd(&["TS.INFO", "ts:{s}"]), "totalSamples"))
}

#[test]
fn it_loads_beside_timeseries_and_archives() {
    let server = Server::start();
    assert!(has_module(&server, "anomaly") && has_module(&server, "timeseries"));
    assert_eq!(add(&server, "1000"), "warmup");
    assert_eq!(samples(&server), 1);
}

#[test]
fn timeseries_may_be_loaded_after_it() {
    let series = timeseries()
        .expect("this test needs RedisTimeSeries")
        .display();
    let server = without_series()
        .config(format!("loadmodule \"{series}\""))
        .start();
    assert_eq!(add(&server, "1000"), "warmup");
    assert_eq!(samples(&server), 1);
}

#[test]
fn without_timeseries_it_judges_and_says_once_that_nothing_is_archived() {
    let server = without_series().start();
    assert!(has_module(&server, "anomaly") && !has_module(&server, "timeseries"));
    assert_eq!(add(&server, "1000"), "warmup");
    assert_eq!(add(&server, "2000"), "warmup");
    let log = server.log();
    assert_eq!(on_timeseries(&log).len(), 1, "{log}");
}

#[test]
fn with_archive_off_the_missing_timeseries_is_not_mentioned() {
    let server = without_series().config("anomaly.archive off").start();
    assert_eq!(add(&server, "1000"), "warmup");
    let log = server.log();
    assert!(on_timeseries(&log).is_empty(), "{log}");
}

#[test]
fn with_archive_required_it_refuses_to_load_without_timeseries() {
    let refused = without_series()
        .config("anomaly.archive required")
        .try_start();
    let refused = refused.expect_err("there is no RedisTimeSeries");
    assert_eq!(
        refused.status.code(),
        Some(1),
        "an orderly end: {}",
        refused.log
    );
    let lines = on_timeseries(&refused.log);
    assert_eq!(lines.len(), 1, "one clear line: {}", refused.log);
    assert!(
        lines[0].contains("anomaly.archive"),
        "it names the setting: {}",
        lines[0]
    );
}

#[test]
fn with_archive_required_it_loads_beside_timeseries() {
    let server = Server::builder().config("anomaly.archive required").start();
    assert_eq!(add(&server, "1000"), "warmup");
    assert_eq!(samples(&server), 1);
}
