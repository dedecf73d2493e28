//! Servers that are too old for the module refuse it in one clear line, and come to no harm.
//!
//! They are Debian packages and not part of the set-up: `make test-matrix` fetches them, and elsewhere the tests run where they
//! have been fetched, and say so loudly where not.

use anomaly_tests::{Builder, Server, fetched_server, module};

/// How the line in the log ends.
const LINE: &str = "the anomaly module needs Redis 7.2 or later, or Valkey 8.0 or later";

/// A server of that part of `scripts/bootstrap.sh` without any module.
fn old(part: &str) -> Option<Builder> {
    let Some(program) = fetched_server(part) else {
        eprintln!("SKIPPED: {part} is not there (scripts/bootstrap.sh {part} fetches it)");
        return None;
    };
    let builder = Server::builder().program(program);
    Some(builder.without_timeseries())
}

/// Says in its log why, so many times, and nothing else.
#[track_caller]
fn says_why(log: &str, version: &str, times: usize) {
    let why = format!("<anomaly> not loaded: this server is version {version}, {LINE}");
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("<anomaly>"))
        .collect();
    assert_eq!(lines.len(), times, "{log}");
    for line in lines {
        assert!(line.ends_with(&why), "{line}");
    }
    for word in ["panic", "crashed", "signal:", "STACK TRACE"] {
        assert!(!log.contains(word), "{log}");
    }
}

fn lives_on_without_the_module(part: &str, version: &str) {
    let Some(builder) = old(part) else { return };
    let mut server = builder.without_module().start();
    for _ in 0..2 {
        let refused = server.refuses(&[
            b"MODULE".as_slice(),
            b"LOAD",
            module().as_os_str().as_encoded_bytes(),
        ]);
        assert!(
            refused.starts_with("ERR Error loading the extension."),
            "{refused}"
        );
        server.cmd(&["SET", "goes", "on"]);
    }
    assert!(
        server
            .refuses(&["ANOMALY.ADD", "s", "1", "1"])
            .contains("unknown command")
    );
    assert!(!server.ended());
    says_why(&server.log(), version, 2);
}

fn does_not_start_with_the_module(part: &str, version: &str) {
    let Some(builder) = old(part) else { return };
    let refused = builder
        .try_start()
        .expect_err("it must not start without what its configuration asks for");
    assert_eq!(
        refused.status.code(),
        Some(1),
        "an orderly end: {}",
        refused.log
    );
    says_why(&refused.log, version, 1);
}

#[test]
fn redis_6_lives_on_without_the_module() {
    lives_on_without_the_module("redis6", "6.0");
}

#[test]
fn redis_7_0_lives_on_without_the_module() {
    lives_on_without_the_module("redis7", "7.0");
}

#[test]
fn redis_6_with_the_module_in_its_configuration_ends_and_says_why() {
    does_not_start_with_the_module("redis6", "6.0");
}

#[test]
fn redis_7_0_with_the_module_in_its_configuration_ends_and_says_why() {
    does_not_start_with_the_module("redis7", "7.0");
}
