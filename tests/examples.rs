//! What `examples/`, README.md and the guides tell a user.

use std::process::Command;

use anomaly_tests::{Server, checkout, list, text};

/// Runs the tour; whether it came to its end, and what it said.
fn tour(server: &Server) -> (bool, String) {
    let beside = || {
        anomaly_tests::redis_server()
            .with_file_name("redis-cli")
            .into()
    };
    let cli = std::env::var_os("ANOMALY_REDIS_CLI").unwrap_or_else(beside);
    let tour = Command::new(checkout().join("examples/tour.sh"))
        .args(["-p", &server.port().to_string()])
        .env("REDIS_CLI", cli)
        .output()
        .unwrap();
    let said = [tour.stdout, tour.stderr].concat();
    (tour.status.success(), String::from_utf8(said).unwrap())
}

fn only_the_alerts_stay(server: &Server) {
    let keys = list(&server.cmd(&["KEYS", "*"]));
    assert!(
        keys.iter().all(|key| text(key) == "anomaly:alerts"),
        "{keys:?}"
    );
    let rules = list(&server.cmd(&["ANOMALY.CONFIG", "LIST"]));
    assert!(rules.is_empty(), "{rules:?}");
}

#[test]
fn the_tour_runs_from_end_to_end_and_leaves_nothing_behind() {
    let server = Server::start();
    let (ended, said) = tour(&server);
    assert!(ended, "{said}");
    for expected in [
        "31.9 °C is above the limit 28 (critical at 30)",
        "\"event\" => \"escalated\"",
        "2 of 2 readings normal, over after 3 min",
        "$ redis-cli TS.RANGE",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    only_the_alerts_stay(&server);
}

#[test]
fn the_tour_runs_without_timeseries() {
    let server = Server::builder().without_timeseries().start();
    let (ended, said) = tour(&server);
    assert!(ended && said.contains("no TimeSeries module"), "{said}");
    only_the_alerts_stay(&server);
}

#[test]
fn a_tour_that_fails_midway_leaves_nothing_behind() {
    let server = Server::start();
    server.cmd(&["ACL", "SETUSER", "default", "-anomaly.ack"]);
    let (ended, said) = tour(&server);
    assert!(!ended && said.contains("NOPERM"), "{said}");
    only_the_alerts_stay(&server);
}

#[test]
fn tables_and_pictures_of_the_guide_are_those_of_its_figures() {
    let check = Command::new("python3")
        .arg(checkout().join("scripts/plots.py"))
        .arg("--check")
        .output()
        .unwrap();
    let said = [check.stdout, check.stderr].concat();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&said));
}
