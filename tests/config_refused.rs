//! What ANOMALY.CONFIG refuses: it names what is wrong, and nothing is set by halves.

use anomaly_tests::Server;
use redis::Value;

fn set(server: &Server, words: &[&str]) {
    let reply = server.cmd(&[&["ANOMALY.CONFIG", "SET"], words].concat());
    assert_eq!(reply, Value::Okay);
}

#[test]
fn a_refusal_names_the_setting_and_what_would_be_right_and_sets_nothing() {
    let server = Server::start();
    set(&server, &["s", "max", "5", "critical-max", "8"]);
    let before = server.cmd(&["ANOMALY.CONFIG", "EXPORT"]);
    for (words, expected) in [
        (
            &["maxx", "1"][..],
            "ERR unknown setting 'maxx': did you mean 'max'? ANOMALY.CONFIG HELP lists them",
        ),
        (
            &["chunksize", "1"],
            "ERR unknown setting 'chunksize': did you mean 'chunk-size'? ANOMALY.CONFIG HELP lists them",
        ),
        (
            &["max", "hot"],
            "ERR setting 'max' cannot be 'hot': expected a finite number, or - for none",
        ),
        (
            &["min", "nan"],
            "ERR setting 'min' cannot be 'nan': expected a finite number, or - for none",
        ),
        (
            &["min", "inf"],
            "ERR setting 'min' cannot be 'inf': expected a finite number, or - for none",
        ),
        (
            &["zscore", "0"],
            "ERR setting 'zscore' cannot be '0': expected a number above 0, or off",
        ),
        (
            &["window", "1"],
            "ERR setting 'window' cannot be '1': expected a whole number from 2 to 10000",
        ),
        (
            &["window", "10001"],
            "ERR setting 'window' cannot be '10001': expected a whole number from 2 to 10000",
        ),
        (
            &["for", "0"],
            "ERR setting 'for' cannot be '0': expected a whole number from 1 to 10000",
        ),
        (
            &["enabled", "maybe"],
            "ERR setting 'enabled' cannot be 'maybe': expected yes or no",
        ),
        (
            &["direction", "up"],
            "ERR setting 'direction' cannot be 'up': expected both, high or low",
        ),
        (
            &["chunk-size", "100"],
            "ERR setting 'chunk-size' cannot be '100': expected a multiple of 8 from 48 to 1048576",
        ),
        (
            &["unit", "a\nb"],
            "ERR setting 'unit' cannot be 'a\\x0ab': expected at most 32 bytes of printable text",
        ),
        (
            &["min", "6"],
            "ERR setting 'min' (6) must not be above 'max' (5)",
        ),
        (
            &["critical-max", "4"],
            "ERR setting 'max' (5) must not be above 'critical-max' (4)",
        ),
        (
            &["critical-min", "2", "min", "1"],
            "ERR setting 'critical-min' (2) must not be above 'min' (1)",
        ),
        (
            &["for", "2", "max"],
            "ERR 'max' must be followed by the value of the setting",
        ),
        (
            &["for", "2", "max", "x"],
            "ERR setting 'max' cannot be 'x': expected a finite number, or - for none",
        ),
    ] {
        let refused = server.refuses(&[&["ANOMALY.CONFIG", "SET", "s"], words].concat());
        assert_eq!(refused, expected);
    }
    let long = "x".repeat(1025);
    for pattern in ["", &long] {
        let refused = server.refuses(&["ANOMALY.CONFIG", "SET", pattern, "max", "1"]);
        assert_eq!(refused, "ERR pattern must be 1 to 1024 bytes");
    }
    assert_eq!(server.cmd(&["ANOMALY.CONFIG", "EXPORT"]), before);
}

#[test]
fn unknown_subcommands_and_wrong_numbers_of_arguments_are_refused() {
    let server = Server::start();
    for words in [
        &["NOSUCH"][..],
        &[],
        &["SET", "s"],
        &["SET", "s", "max"],
        &["GET"],
        &["GET", "a", "b"],
        &["LIST", "x"],
        &["DEL"],
        &["EXPORT", "x"],
        &["IMPORT"],
        &["IMPORT", "{\"rules\":[]}", "REPLACE", "x"],
    ] {
        let refused = server.refuses(&[&["ANOMALY.CONFIG"], words].concat());
        assert!(refused.starts_with("ERR "), "{words:?}: {refused}");
    }
    let refused = server.refuses(&["ANOMALY.CONFIG", "IMPORT", "{\"rules\":[]}", "MERGE"]);
    assert_eq!(
        refused,
        "ERR unexpected argument 'MERGE': expected REPLACE or nothing"
    );
}
