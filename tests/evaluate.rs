//! `anomaly evaluate`: the server's scores are the core's, the points are the benchmark's, and nothing stays behind.

use anomaly_tests::{Dir, Server, checkout, int, list, text, wait_until};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

/// The benchmark's files, where `ANOMALY_NAB` or the directory beside the checkout has them. Their absence is told, since a
/// test that looks at nothing has not passed.
fn benchmark() -> Option<PathBuf> {
    let beside = || checkout().join("../shared/nab");
    let dir = env::var_os("ANOMALY_NAB").map_or_else(beside, PathBuf::from);
    let found = dir.join("labels/combined_windows.json").is_file();
    if !found {
        println!(
            "SKIPPED: no benchmark in {} (ANOMALY_NAB names it)",
            dir.display()
        );
    }
    found.then_some(dir)
}

/// Two files with what recordings have: decimals, tiny and large values, instants that come twice, a clock set back, and a
/// shift that is labelled.
fn corpus(rows: usize) -> Dir {
    let dir = Dir::new();
    fs::create_dir_all(dir.join("data/plant")).unwrap();
    fs::create_dir_all(dir.join("labels")).unwrap();
    for (file, scale) in [("pump.csv", 1e-7), ("valve.csv", 1234.5)] {
        let mut csv = String::from("timestamp,value\n");
        let mut noise = 12345u64;
        for row in 0..rows {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let wobble = (noise >> 40) as f64 / (1u64 << 24) as f64;
            let shift = if (400..430).contains(&row) { 9.0 } else { 0.0 };
            let minute = match row {
                250 => 249,
                300..340 => row - 60,
                _ => row,
            };
            let (day, minute) = (minute / 1440, minute % 1440);
            let _ = writeln!(
                csv,
                "2014-{:02}-{:02} {:02}:{:02}:00,{}",
                4 + day / 28,
                1 + day % 28,
                minute / 60,
                minute % 60,
                (20.0 + wobble + shift) * scale
            );
        }
        fs::write(dir.join("data/plant").join(file), csv).unwrap();
    }
    let window = r#"[["2014-04-01 06:40:00.000000", "2014-04-01 07:20:00.000000"]]"#;
    let labels = format!(r#"{{"plant/pump.csv": {window}, "plant/valve.csv": []}}"#);
    fs::write(dir.join("labels/combined_windows.json"), labels).unwrap();
    dir
}

fn evaluate(server: &Server, nab: &Path, more: &[&str]) -> Output {
    let mut command = server.anomaly();
    command.arg("evaluate").arg("--nab").arg(nab).args(more);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// The score files in a directory, by category and name.
fn scores(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for category in fs::read_dir(dir).unwrap() {
        for file in fs::read_dir(category.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            files.push((name, fs::read(path).unwrap()));
        }
    }
    files.sort();
    files
}

fn server_and_core_agree(nab: &Path, rule: &str) {
    let (server, out) = (Server::start(), Dir::new());
    let [remote, local] = ["remote", "local"].map(|name| out.join(name));
    for (to, more) in [(&remote, None), (&local, Some("--in-process"))] {
        let mut args = vec!["--rule", rule, "--out", to.to_str().unwrap()];
        args.extend(more);
        let output = evaluate(&server, nab, &args);
        assert!(output.status.success(), "{}", said(&output));
    }
    let (remote, local) = (scores(&remote), scores(&local));
    assert!(!remote.is_empty() && remote.len() == local.len());
    for (remote, local) in remote.iter().zip(&local) {
        assert_eq!(remote.0, local.0);
        assert!(remote.1 == local.1, "{rule:?}: {} differs", remote.0);
        let abnormal = String::from_utf8_lossy(&remote.1)
            .lines()
            .skip(1)
            .filter(|line| line.rsplit(',').next().unwrap().parse::<f64>().unwrap() >= 0.5)
            .count();
        assert!(
            abnormal > 0,
            "{rule:?}: no score of {} is abnormal",
            remote.0
        );
    }
}

#[test]
fn the_server_scores_as_the_core_does_byte_for_byte() {
    let corpus = corpus(1000);
    for rule in [
        "",
        "zscore 4 window 60 learn no",
        "max 0.0000025 rate 0.5 warmup 3",
    ] {
        server_and_core_agree(corpus.path(), rule);
    }
}

#[test]
fn the_server_scores_the_benchmark_as_the_core_does() {
    let Some(nab) = benchmark() else { return };
    let few = Dir::new();
    let labels = fs::read_to_string(nab.join("labels/combined_windows.json")).unwrap();
    fs::create_dir_all(few.join("labels")).unwrap();
    fs::write(few.join("labels/combined_windows.json"), labels).unwrap();
    // Instants that come twice, an irregular sensor, and a daily cycle.
    for name in [
        "realAWSCloudwatch/ec2_network_in_5abac7.csv",
        "realTraffic/speed_t4013.csv",
        "artificialWithAnomaly/art_daily_jumpsup.csv",
    ] {
        let to = few.join("data").join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(nab.join("data").join(name), to).unwrap();
    }
    server_and_core_agree(few.path(), "");
}

#[test]
fn points_are_those_of_the_benchmarks_own_scorer() {
    let Some(nab) = benchmark() else { return };
    let (server, out) = (Server::builder().without_timeseries().start(), Dir::new());
    for rule in ["", "zscore 6 window 100"] {
        let to = out.path().to_str().unwrap();
        let args = [
            "--in-process",
            "--format",
            "json",
            "--rule",
            rule,
            "--out",
            to,
        ];
        let output = evaluate(&server, &nab, &args);
        assert!(output.status.success(), "{}", said(&output));
        let ours: Value = serde_json::from_slice(&output.stdout).unwrap();
        let theirs = Command::new("python3")
            .arg(nab.join("nab_score.py"))
            .arg(to)
            .args([
                "--threshold",
                "0.5",
                "--require-all",
                "--per-file",
                "--json",
            ])
            .output()
            .unwrap();
        assert!(theirs.status.success(), "{}", said(&theirs));
        let theirs: Value = serde_json::from_slice(&theirs.stdout).unwrap();
        same(&ours, &theirs, "files");
        same(&ours, &theirs, "windows");
        for profile in ["standard", "reward_low_FP_rate", "reward_low_FN_rate"] {
            same(&ours, &theirs, &format!("fixed/scores/{profile}"));
            for figure in ["score", "threshold", "tp", "fn", "fp"] {
                same(&ours, &theirs, &format!("optimised/{profile}/{figure}"));
            }
        }
        let files = theirs["per_file"].as_object().unwrap();
        assert_eq!(ours["per_file"].as_object().unwrap().len(), files.len());
        for (name, file) in files {
            for figure in ["windows", "tp", "fn", "fp"] {
                assert_eq!(
                    ours["per_file"][name][figure], file[figure],
                    "{name} {figure}"
                );
            }
        }
    }
}

fn same(ours: &Value, theirs: &Value, path: &str) {
    let at = |value: &Value| value.pointer(&format!("/{path}")).and_then(Value::as_f64);
    let (ours, theirs) = (at(ours).unwrap(), at(theirs).unwrap());
    // A last digit may differ: Python takes the C library's exponential.
    let close = (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0);
    assert!(
        close,
        "{path}: {ours}, the benchmark's scorer says {theirs}"
    );
}

/// A server with a rule, a sensor and an alert that are nobody's business.
fn used_server() -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "mine", "max", "10"]);
    server.cmd(&["ANOMALY.ADD", "mine", "1000", "11"]);
    server
}

fn only_what_was_there_is_there(server: &Server) {
    let mut keys: Vec<String> = list(&server.cmd(&["KEYS", "*"])).iter().map(text).collect();
    keys.sort();
    assert_eq!(keys, ["anomaly:alerts", "mine", "ts:{mine}"]);
    let rules = list(&server.cmd(&["ANOMALY.CONFIG", "LIST"]));
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(int(&server.cmd(&["XLEN", "anomaly:alerts"])), 1);
}

#[test]
fn rule_sensors_and_alerts_are_taken_away_again() {
    let (server, corpus) = (used_server(), corpus(1000));
    let output = evaluate(&server, corpus.path(), &["--rule", "max 20"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("readings/s"), "{}", said(&output));
    only_what_was_there_is_there(&server);
}

#[test]
fn alerts_of_a_server_that_had_none_leave_no_stream() {
    let (server, corpus) = (Server::start(), corpus(1000));
    let output = evaluate(&server, corpus.path(), &["--rule", "max 20"]);
    assert!(output.status.success(), "{}", said(&output));
    let keys = list(&server.cmd(&["KEYS", "*"]));
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn what_is_kept_is_kept_without_a_series_or_a_rule() {
    let (server, corpus) = (Server::start(), corpus(1000));
    let output = evaluate(&server, corpus.path(), &["--keep"]);
    assert!(
        said(&output).contains("the sensors are kept as"),
        "{}",
        said(&output)
    );
    let keys: Vec<String> = list(&server.cmd(&["KEYS", "*pump*"]))
        .iter()
        .map(text)
        .collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).is_empty());
    assert!(list(&server.cmd(&["KEYS", "ts:*"])).is_empty());
}

#[test]
fn ctrl_c_takes_everything_away_too() {
    let (server, corpus) = (used_server(), corpus(50_000));
    let child = server
        .anomaly()
        .args(["evaluate", "--pipeline", "1", "--rule", "max 20", "--nab"])
        .arg(corpus.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("readings are under way", || {
        let readings = list(&server.cmd(&["KEYS", "*pump*"]));
        !readings.is_empty()
    });
    let kill = Command::new("/bin/sh")
        .args(["-c", &format!("kill -INT {}", child.id())])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && said(&output).contains("interrupted"));
    only_what_was_there_is_there(&server);
}

#[test]
fn rules_of_the_server_that_apply_as_well_are_told() {
    let (server, corpus) = (Server::start(), corpus(500));
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "zscore", "9"]);
    let output = evaluate(&server, corpus.path(), &["--rule", "window 60"]);
    let expected = "other rules of the server apply as well: zscore 9 (*)";
    assert!(said(&output).contains(expected), "{}", said(&output));
}

#[test]
fn what_is_wrong_is_named_and_nothing_stays_behind() {
    let (server, corpus) = (used_server(), corpus(500));
    let empty = Dir::new();
    for (nab, more, expected) in [
        (
            corpus.path(),
            &["--rule", "zscor 3"][..],
            "--rule: unknown setting 'zscor'",
        ),
        (
            corpus.path(),
            &["--rule", "zscor 3", "--in-process"],
            "--rule: unknown setting 'zscor'",
        ),
        (corpus.path(), &["--rule", "zscore"], "--rule: "),
        (
            corpus.path(),
            &["--out", "/dev/null/x"],
            "--out /dev/null/x",
        ),
        (empty.path(), &[], "--nab "),
    ] {
        let output = evaluate(&server, nab, more);
        assert!(!output.status.success(), "{more:?}");
        assert!(
            said(&output).contains(expected),
            "{more:?}: {}",
            said(&output)
        );
        only_what_was_there_is_there(&server);
    }
}
