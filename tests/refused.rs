//! What ANOMALY.ADD refuses, and that refusing changes nothing.

use anomaly_tests::{Server, args, assert_same, call, int, is_nil};

const NOT_A_TIME: &str = "is not *, nor an integer of Unix milliseconds from 0";
const NOT_FINITE: &str = "is not a finite number (at most 1.7976931348623157e308)";

#[test]
fn a_bad_argument_is_named_and_changes_nothing() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let before = server.picture();
    let bad: [(&[u8], &[u8], String); 18] = [
        (b"-1", b"1", format!("timestamp '-1' {NOT_A_TIME}")),
        (b"1.5", b"1", format!("timestamp '1.5' {NOT_A_TIME}")),
        (b"+1", b"1", format!("timestamp '+1' {NOT_A_TIME}")),
        (b"", b"1", format!("timestamp '' {NOT_A_TIME}")),
        (b"now", b"1", format!("timestamp 'now' {NOT_A_TIME}")),
        (b"**", b"1", format!("timestamp '**' {NOT_A_TIME}")),
        (
            b"9223372036854775808",
            b"1",
            format!("timestamp '9223372036854775808' {NOT_A_TIME}"),
        ),
        (
            b"\xff\0",
            b"1",
            format!("timestamp '\\xff\\x00' {NOT_A_TIME}"),
        ),
        (b"2000", b"NaN", format!("value 'NaN' {NOT_FINITE}")),
        (b"2000", b"inf", format!("value 'inf' {NOT_FINITE}")),
        (
            b"2000",
            b"-Infinity",
            format!("value '-Infinity' {NOT_FINITE}"),
        ),
        (b"2000", b"1e999", format!("value '1e999' {NOT_FINITE}")),
        (b"2000", b"", "value '' is not a number".into()),
        (b"2000", b"abc", "value 'abc' is not a number".into()),
        (b"2000", b" 1", "value ' 1' is not a number".into()),
        (b"2000", b"0x10", "value '0x10' is not a number".into()),
        (
            b"2000",
            b"1\r\n2",
            "value '1\\x0d\\x0a2' is not a number".into(),
        ),
        (
            b"2000",
            b"\xfe\0\x1b[2J",
            "value '\\xfe\\x00\\x1b[2J' is not a number".into(),
        ),
    ];
    for (at, value, expected) in &bad {
        for key in ["s", "new"] {
            let refused = server.refuses(&args!["ANOMALY.ADD", key, *at, *value]);
            assert_eq!(refused, format!("ERR {expected}"));
        }
    }
    let far = server.refuses(&["ANOMALY.ADD", "s", "9223372036854775807", "1"]);
    assert!(
        far.starts_with("ERR timestamp '9223372036854775807' is "),
        "{far}"
    );
    assert_same(&server.picture(), &before);
    assert_eq!(server.info("anomaly")["anomaly_refused"], "37");
}

#[test]
fn a_wrong_number_of_arguments_and_unknown_words_are_refused() {
    let server = Server::start();
    let arity = |name: &str| format!("ERR wrong number of arguments for '{name}' command");
    for add in [&["s"][..], &["s", "1"], &["s", "1", "2", "EXPLAIN", "x"]] {
        let command = [&["ANOMALY.ADD"], add].concat();
        assert_eq!(
            server.refuses(&command).to_lowercase(),
            arity("anomaly.add").to_lowercase()
        );
    }
    for madd in [
        &["s"][..],
        &["s", "1"],
        &["s", "1", "2", "t"],
        &["s", "1", "2", "t", "3"],
    ] {
        let command = [&["ANOMALY.MADD"], madd].concat();
        assert_eq!(
            server.refuses(&command).to_lowercase(),
            arity("anomaly.madd").to_lowercase()
        );
    }
    assert_eq!(
        server.refuses(&["ANOMALY.ADD", "s", "1", "2", "WHY"]),
        "ERR unexpected argument 'WHY': expected EXPLAIN or nothing"
    );
    assert_eq!(int(&server.cmd(&["DBSIZE"])), 0);
}

/// One key of each kind that is not ours.
fn foreign(server: &Server) -> [&'static str; 6] {
    server.cmd(&["SET", "string", "x"]);
    server.cmd(&["RPUSH", "list", "x"]);
    server.cmd(&["HSET", "hash", "f", "x"]);
    server.cmd(&["ZADD", "zset", "1", "x"]);
    server.cmd(&["XADD", "stream", "1-1", "f", "x"]);
    server.cmd(&["TS.ADD", "series", "1", "1"]);
    ["string", "list", "hash", "zset", "stream", "series"]
}

#[test]
fn a_key_of_another_type_is_refused_by_every_command_and_stays_as_it_is() {
    let server = Server::start();
    let keys = foreign(&server);
    let before = server.picture();
    for key in keys {
        let commands = [
            &["ANOMALY.ADD", key, "1000", "1"][..],
            &["ANOMALY.ADD", key, "*", "1", "EXPLAIN"],
            &["ANOMALY.INFO", key],
            &["ANOMALY.ACK", key],
            &["ANOMALY.RESET", key],
        ];
        for command in commands {
            let refused = server.refuses(command);
            assert_eq!(
                refused, "WRONGTYPE Operation against a key holding the wrong kind of value",
                "{command:?}"
            );
        }
    }
    assert_same(&server.picture(), &before);
    for command in [
        &["GET", "s"][..],
        &["XLEN", "s"],
        &["TS.ADD", "s", "1", "1"],
    ] {
        server.cmd(&["ANOMALY.ADD", "s", "*", "1"]);
        assert!(
            server.try_cmd(command).is_err(),
            "{command:?} must not take a model for its own"
        );
    }
}

#[test]
fn what_is_refused_does_not_break_a_watch_and_what_is_taken_does() {
    let server = Server::start();
    server.cmd(&["SET", "string", "x"]);
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let mut watching = server.conn();
    let mut executed = |command: &[&str]| {
        call(&mut watching, &["WATCH", "string", "s", "new"]);
        let _ = server.try_cmd(command);
        call(&mut watching, &["MULTI"]);
        call(&mut watching, &["PING"]);
        !is_nil(&call(&mut watching, &["EXEC"]))
    };
    let harmless = [
        &["ANOMALY.ADD", "string", "1000", "1"][..],
        &["ANOMALY.ADD", "s", "1000", "x"],
        &["ANOMALY.ADD", "new", "-1", "1"],
        &["ANOMALY.MADD", "new", "1", "x", "string", "1", "1"],
        &["ANOMALY.RESET", "string"],
        &["ANOMALY.RESET", "new"],
        &["ANOMALY.ACK", "s"],
        &["ANOMALY.INFO", "s"],
        &["ANOMALY.CONFIG", "SET", "*", "max", "5"],
    ];
    for command in harmless {
        assert!(executed(command), "{command:?}");
    }
    let changing = [
        &["ANOMALY.ADD", "s", "2000", "50"][..],
        &["ANOMALY.ACK", "s"],
        &["ANOMALY.ADD", "new", "*", "1"],
        &["ANOMALY.RESET", "s"],
    ];
    for command in changing {
        assert!(!executed(command), "{command:?}");
    }
}
