//! Commands nobody meant to send: every command there is, with words of every kind in every place, and floods.
//!
//! The commands and their words are taken from COMMAND DOCS and COMMAND INFO, so a new command is attacked by itself.

use crate::once::traffic::Dice;
use anomaly_tests::{Args, Server, args, call_many, error, int, list, pairs, text};
use redis::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use std::{env, thread};

/// Words of one command, subcommand included, and its arity.
struct Target {
    words: Vec<String>,
    arity: i64,
}

/// Every command for clients.
fn targets(server: &Server) -> Vec<Target> {
    let names = server.cmd(&["COMMAND", "LIST", "FILTERBY", "MODULE", "anomaly"]);
    let mut targets = Vec::new();
    for name in list(&names).iter().map(text) {
        let info = server.cmd(&["COMMAND", "INFO", &name]);
        let words = name.split('|').map(str::to_owned).collect();
        let info = list(&list(&info)[0]);
        // A container alone is answered by the server itself.
        if !list(&info[9]).is_empty() {
            continue;
        }
        let arity = int(&info[1]);
        targets.push(Target { words, arity });
    }
    assert!(targets.len() > 20, "internal ones and subcommands included");
    targets
}

/// Every word that stands for itself anywhere in COMMAND DOCS.
fn tokens(docs: &Value, found: &mut BTreeSet<String>) {
    let Value::Array(items) = docs else { return };
    for (at, item) in items.iter().enumerate() {
        match (item, items.get(at + 1)) {
            (Value::BulkString(name), Some(token @ Value::BulkString(_))) if name == b"token" => {
                found.insert(text(token));
            }
            _ => tokens(item, found),
        }
    }
}

/// Keys of every foreign type, a sensor, and words that parsers stumble over.
fn words(server: &Server) -> Args {
    let mut words: Args = args![
        "",
        "*",
        "-",
        "+",
        "0",
        "-0",
        "1",
        "-1",
        "1.5",
        "1e308",
        "1e999",
        "NaN",
        "inf",
        "0x10",
        " 1",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "-9223372036854775808",
        "1000",
        "max",
        "min",
        "zscore",
        "window",
        "unit",
        "auto",
        "inherit",
        "off",
        "yes",
        "10",
        "-5",
        "s",
        "new",
        "string",
        "list",
        "hash",
        "stream",
        "anomaly:alerts",
        "{",
        "}",
        "{}",
        "{}x",
        "a}b{",
        "[",
        "[^",
        "[a-",
        "\\",
        "***",
        "?*?*?*",
        "$device",
        "$",
        "sensor:{$tag}:$device",
        "$nothing",
        "{\"rules\":[]}",
        "{\"rules\":[{}]}",
        "{\"rules\":[{\"pattern\":\"x\",\"settings\":{\"max\":1e999}}]}",
        "{\"version\":1,\"rules\":[],\"watches\":[{\"pattern\":\"w\",\"values\":[]}]}",
        "[[[[",
        "null",
        "SET",
        "5-1",
        "5-",
        "2025-01-01T00:00:00Z",
        "%s%n%x",
        "a\r\n+OK\r\n",
        "é",
        "$(reboot)"
    ];
    words.push(b"\xff\xfe\0\x1b[2J".to_vec());
    words.push(vec![b'a'; 100_000]);
    words.push(b"[".repeat(2_000));
    words.push(b"*a".repeat(700));
    words.push(b"{\"rules\":".repeat(5_000));
    let mut found = BTreeSet::new();
    tokens(&server.cmd(&["COMMAND", "DOCS"]), &mut BTreeSet::new());
    for target in targets(server) {
        tokens(
            &server.cmd(&["COMMAND", "DOCS", &target.words[0]]),
            &mut found,
        );
    }
    assert!(
        found.contains("EXPLAIN") && found.contains("VALUES"),
        "{found:?}"
    );
    words.extend(found.into_iter().map(String::into_bytes));
    words
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

#[test]
fn too_few_words_are_refused_by_every_command() {
    let server = Server::start();
    for target in targets(&server) {
        let least = target.arity.unsigned_abs() as usize;
        for words in target.words.len()..least {
            let mut command = target.words.clone();
            command.resize(words, "1".into());
            let refused = server.refuses(&command);
            assert!(
                refused.contains("wrong number of arguments"),
                "{command:?}: {refused}"
            );
        }
        if target.arity > 0 {
            let mut command = target.words.clone();
            command.resize(least + 1, "1".into());
            let refused = server.refuses(&command);
            assert!(
                refused.contains("wrong number of arguments"),
                "{command:?}: {refused}"
            );
        }
    }
}

#[test]
fn no_words_harm_the_server_its_other_keys_or_the_form_of_a_reply() {
    let server = Server::builder().config("anomaly.max-future 0").start();
    server.cmd(&["SET", "string", "x"]);
    server.cmd(&["RPUSH", "list", "x"]);
    server.cmd(&["HSET", "hash", "f", "x"]);
    server.cmd(&["XADD", "stream", "1-1", "f", "x"]);
    let foreign = ["string", "list", "hash", "stream"];
    let before = foreign.map(|key| server.digest(key));
    let (targets, words) = (targets(&server), words(&server));
    let mut dice = Dice::new(setting("ANOMALY_HOSTILE_SEED", 1));
    let mut connection = server.conn();
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..setting("ANOMALY_HOSTILE_ROUNDS", 300) {
        let commands: Vec<Args> = targets
            .iter()
            .map(|target| {
                let mut command: Args = target
                    .words
                    .iter()
                    .map(|word| word.as_bytes().to_vec())
                    .collect();
                for _ in 0..dice.below(9) {
                    command.push(words[dice.below(words.len() as u64) as usize].clone());
                }
                command
            })
            // The debug build's own way to panic has tests of its own.
            .filter(|command| command[0] != b"anomaly._panic")
            .collect();
        for (command, reply) in commands.iter().zip(call_many(&mut connection, &commands)) {
            match error(&reply) {
                None => taken += 1,
                Some(why) => {
                    refused += 1;
                    assert!(why.len() < 2_000, "{} bytes of error", why.len());
                    assert!(
                        ["ERR ", "WRONGTYPE ", "CROSSSLOT ", "OOM ", "NOPERM "]
                            .iter()
                            .any(|code| why.starts_with(code)),
                        "{command:?}: {why}"
                    );
                    let ours = !why.contains("wrong number") && !why.contains("unknown ");
                    assert!(
                        !ours || !why.chars().any(char::is_control),
                        "{command:?}: {why:?}"
                    );
                }
            }
        }
    }
    assert!(
        refused > 1_000 && taken > 500,
        "{refused} refused, {taken} taken"
    );
    assert_eq!(foreign.map(|key| server.digest(key)), before);
    assert!(!server.log().contains("panic"), "{}", server.log());
    assert!(
        !server.log().bytes().any(|byte| byte == 0x1b || byte == 0),
        "the log is plain"
    );
}

/// One document with so many rules, none of which matches another's sensors.
fn document(rules: usize) -> String {
    let rules: Vec<String> = (0..rules)
        .map(|i| format!("{{\"pattern\":\"*:{i}:*\",\"settings\":{{\"max\":{i}}}}}"))
        .collect();
    format!("{{\"version\":1,\"rules\":[{}]}}", rules.join(","))
}

#[test]
fn a_flood_of_10_000_patterns_is_taken_listed_and_used() {
    let server = Server::start();
    let start = Instant::now();
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document(10_000), "REPLACE"]);
    let import = start.elapsed();
    assert_eq!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).len(), 10_000);
    let start = Instant::now();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*:1:*", "max", "5"]);
    let set = start.elapsed();
    let start = Instant::now();
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", "s:1:t", "*", "9"])),
        "warning"
    );
    let first = start.elapsed();
    let settings = pairs(&server.cmd(&["ANOMALY.CONFIG", "RESOLVE", "s:777:t"]));
    let max = settings.iter().find(|(name, _)| name == "max").unwrap();
    assert_eq!(text(&list(&max.1)[1]), "*:777:*");
    eprintln!(
        "10,000 rules: import {import:?}, one more SET {set:?}, a new sensor's first reading {first:?}"
    );
    for pattern in 0..10_000 {
        let watch = format!("raw:{pattern}:*");
        server.cmd(&["ANOMALY.WATCH", "SET", &watch]);
    }
    server.cmd(&["XADD", "raw:9999:x", "*", "id", "d", "t", "5"]);
    assert_eq!(int(&server.cmd(&["EXISTS", "sensor:d:t"])), 1);
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", "{\"rules\":[]}", "REPLACE"]);
    assert!(list(&server.cmd(&["ANOMALY.CONFIG", "LIST"])).is_empty());
}

#[test]
fn a_pathological_glob_is_taken_and_a_long_one_is_refused() {
    let server = Server::start();
    let glob = "a*".repeat(511) + "b";
    let long = "a*".repeat(512) + "b";
    let key = "a".repeat(10_000);
    for command in [
        &["ANOMALY.CONFIG", "SET", &long, "max", "1"][..],
        &["ANOMALY.WATCH", "SET", &long],
        &["ANOMALY.ALERTS", "MATCH", &long],
        &["ANOMALY.BACKTEST", "MATCH", &long, "-", "+"],
    ] {
        assert_eq!(
            server.refuses(command),
            "ERR pattern must be 1 to 1024 bytes"
        );
    }
    server.cmd(&["ANOMALY.CONFIG", "SET", "a*", "max", "1"]);
    server.cmd(&["ANOMALY.CONFIG", "SET", &glob, "max", "1"]);
    server.cmd(&["ANOMALY.WATCH", "SET", &glob]);
    // What it costs is counted in the core; an exponential way would never come to an end.
    server.cmd(&["ANOMALY.ADD", &key, "*", "5"]);
    server.cmd(&["XADD", &key.replace('a', "aa"), "*", "id", "d", "t", "5"]);
    server.cmd(&["ANOMALY.ALERTS", "MATCH", &glob]);
    server.cmd(&["ANOMALY.BACKTEST", "MATCH", &glob, "-", "+"]);
    // A key of a megabyte under a thousand starry rules.
    let rules: Vec<String> = (0..1000)
        .map(|i| format!("{{\"pattern\":\"*a*{i}*b*{i}*\",\"settings\":{{\"max\":1}}}}"))
        .collect();
    let document = format!("{{\"version\":1,\"rules\":[{}]}}", rules.join(","));
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document]);
    let key = "a".repeat(1_000_000);
    let start = Instant::now();
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", &key, "*", "5"])),
        "warning"
    );
    eprintln!(
        "a key of 1 MB under 1,000 starry rules: {:?}",
        start.elapsed()
    );
}

/// How long the longest of many PINGs took while `work` went on.
fn longest_hold(server: &Server, work: impl FnOnce()) -> Duration {
    let mut connection = server.conn();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let pinger = thread::spawn(move || {
        let mut longest = Duration::ZERO;
        while stopped.try_recv().is_err() {
            let start = Instant::now();
            anomaly_tests::call(&mut connection, &["PING"]);
            longest = longest.max(start.elapsed());
        }
        longest
    });
    work();
    stop.send(()).unwrap();
    pinger.join().unwrap()
}

#[test]
#[ignore = "make soak: minutes, and it measures"]
fn soak_1_000_rules_change_under_a_million_sensors() {
    let sensors = setting("ANOMALY_SOAK_SENSORS", 1_000_000);
    let server = Server::builder().config("anomaly.archive off").start();
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document(1_000)]);
    let mut connection = server.conn();
    for from in (0..sensors).step_by(1_000) {
        let adds: Vec<Args> = (from..from + 1_000)
            .map(|i| args!["ANOMALY.ADD", format!("s:{}:{i}", i % 1_000), "*", 0])
            .collect();
        call_many(&mut connection, &adds);
    }
    assert_eq!(
        server.info("anomaly")["anomaly_sensors"],
        sensors.to_string()
    );
    let idle = longest_hold(&server, || thread::sleep(Duration::from_secs(2)));
    let single = longest_hold(&server, || {
        for i in 0..1_000 {
            server.cmd(&[
                "ANOMALY.CONFIG",
                "SET",
                &format!("*:{i}:*"),
                "nodata",
                "3600000",
            ]);
        }
    });
    let whole = longest_hold(&server, || {
        server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document(1_000), "REPLACE"]);
        thread::sleep(Duration::from_secs(5));
    });
    println!(
        "{sensors} sensors, longest PING: idle {idle:?}, 1,000 SETs {single:?}, one IMPORT of 1,000 {whole:?}"
    );
    assert!(single < Duration::from_secs(1) && whole < Duration::from_secs(1));
}
