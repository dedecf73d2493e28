//! `anomaly bench`: it measures what it says it measures, and says what it leaves out. Not one of its figures is a matter here.

use std::process::Command;

use anomaly_tests::{Dir, anomaly, module, redis_server, timeseries};

fn bench(words: &[&str]) -> Command {
    let mut command = anomaly();
    command
        .arg("bench")
        .args(["--rounds", "1", "--pipelines", "8", "--sensors", "400"])
        .arg("--server")
        .arg(redis_server())
        .arg("--module")
        .arg(module())
        .env_remove("ANOMALY_BENCH_PYTHON");
    match timeseries() {
        Some(path) => command.arg("--timeseries").arg(path),
        None => command.env_remove("ANOMALY_TIMESERIES"),
    };
    command.args(words);
    command
}

#[test]
fn contestants_and_whom_they_are_compared_with_are_measured_and_recorded() {
    let dir = Dir::new();
    let to = dir.path().to_string_lossy();
    let output = bench(&["--only", "add-zscore,scored-time", "--record", &to])
        .output()
        .unwrap();
    let (said, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{wrong}");
    for title in [
        "SET ",
        "XADD, with a time ",
        "ADD zscore ",
        "XADD with a time, scored ",
    ] {
        let rows = said.lines().filter(|line| line.starts_with(title)).count();
        assert_eq!(rows, 1, "{title} in {said}");
    }
    assert!(!said.contains("TS.ADD"), "{said}");
    assert!(said.contains("ADD zscore, of SET"), "{said}");
    let mut kept: Vec<String> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .extension()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    kept.sort();
    assert_eq!(kept, ["json", "md"]);
}

#[test]
fn whoever_tells_of_anomalies_tells_of_each() {
    timeseries().expect("this test needs RedisTimeSeries");
    // It fails where one is missed or made up.
    let output = bench(&["--only", "add-alerts,madd50-alerts,function,worker-rust"])
        .arg("--quick")
        .output()
        .unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{wrong}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ADD + series, of a Redis Function"), "{said}");
}

#[test]
fn an_unknown_contestant_is_refused_with_the_names_there_are() {
    let output = bench(&["--only", "nobody"]).output().unwrap();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        wrong.contains("nobody") && wrong.contains("add-zscore"),
        "{wrong}"
    );
}
