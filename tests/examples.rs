//! What `examples/` and README.md tell a user to type.

use std::process::Command;

use anomaly_tests::{Server, checkout};

#[test]
fn the_tour_runs_from_end_to_end_and_leaves_nothing_behind() {
    let server = Server::start();
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
    let said = String::from_utf8(tour.stdout).unwrap();
    assert!(
        tour.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&tour.stderr)
    );
    for expected in [
        "is above the limit 28 (critical at 30)",
        "\"event\" => \"escalated\"",
        "2 of 2 readings normal, over after 3 min",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    assert_eq!(
        anomaly_tests::int(&server.cmd(&["DBSIZE"])),
        1,
        "only the alerts stay"
    );
}
