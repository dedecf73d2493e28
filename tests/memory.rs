//! Memory: what a sensor takes, what is refused when there is none, how it is given back; and what INFO adds up to.

use anomaly_tests::{Server, args, assert_same, bytes, field, int, text};

fn info(server: &Server, name: &str) -> i64 {
    server.info("anomaly")[&format!("anomaly_{name}")]
        .parse()
        .unwrap()
}

/// A sensor whose window holds `readings`.
fn fill(server: &Server, key: &str, readings: i64) {
    let mut madd = args!["ANOMALY.MADD"];
    for at in 0..readings {
        madd.extend(args![key, at, at % 10]);
    }
    server.cmd(&madd);
}

#[test]
fn the_bytes_of_a_sensor_grow_with_its_window_and_not_with_its_readings() {
    let server = Server::builder().config("anomaly.archive off").start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "wide",
        "zscore",
        "3",
        "window",
        "10000",
    ]);
    let usage = |key: &str| int(&server.cmd(&["MEMORY", "USAGE", key]));
    for key in ["narrow", "wide"] {
        fill(&server, key, 10_000);
    }
    let (narrow, wide) = (usage("narrow"), usage("wide"));
    assert!((600..1300).contains(&narrow), "{narrow}");
    assert!((40_000..100_000).contains(&wide), "{wide}");
    fill(&server, "narrow", 20_000);
    assert_eq!(usage("narrow"), narrow);
    assert_eq!(
        int(&field(&server.cmd(&["ANOMALY.INFO", "narrow"]), "bytes")),
        narrow
    );
    let before = info(&server, "bytes");
    server.cmd(&["DEL", "wide"]);
    // On Valkey, in the background.
    server.wait_until("it is freed", || before - info(&server, "bytes") > 40_000);
}

#[test]
fn without_memory_writes_are_refused_before_anything_changes() {
    let server = Server::start();
    fill(&server, "s", 40);
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "max", "100"]);
    let before = server.picture();
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    for command in [
        &["ANOMALY.ADD", "s", "1000", "500"][..],
        &["ANOMALY.MADD", "s", "1000", "500", "t", "1", "1"],
        &["ANOMALY.CONFIG", "SET", "s", "max", "5"],
        &["ANOMALY.CONFIG", "IMPORT", "{\"rules\":[]}", "REPLACE"],
    ] {
        let refused = server.refuses(command);
        assert!(refused.starts_with("OOM "), "{command:?}: {refused}");
    }
    server.cmd(&["ANOMALY.INFO", "s"]);
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_same(&server.picture(), &before);
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(
        int(&server.cmd(&["ANOMALY.RESET", "s"])),
        1,
        "what frees memory is allowed"
    );
    assert_eq!(int(&server.cmd(&["ANOMALY.CONFIG", "DEL", "s"])), 1);
}

#[test]
fn a_big_model_is_freed_in_the_background() {
    let server = Server::builder().config("anomaly.archive off").start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "wide",
        "zscore",
        "3",
        "window",
        "10000",
    ]);
    let freed = || server.info("memory")["lazyfreed_objects"].clone();
    fill(&server, "narrow", 40);
    server.cmd(&["UNLINK", "narrow"]);
    assert_eq!(freed(), "0", "a small one is freed at once");
    fill(&server, "wide", 10_000);
    server.cmd(&["UNLINK", "wide"]);
    server.wait_until("it is freed", || {
        freed() == "1" && info(&server, "sensors") == 0
    });
}

/// What a model may have beside it, in all ways.
const KINDS: [&str; 4] = [
    "max 5 recent 7",
    "max 5 zscore 3 window 40 recent 7",
    "auto on",
    "auto on zscore 3",
];

fn rule(server: &Server, pattern: &str, settings: &str) {
    let mut command = vec!["ANOMALY.CONFIG", "SET", pattern];
    command.extend(settings.split(' '));
    server.cmd(&command);
}

#[test]
fn when_rules_change_a_sensor_comes_to_take_what_one_takes_that_always_had_them() {
    let master = Server::builder().config("anomaly.archive off").start();
    let replica = Server::builder()
        .config("anomaly.archive off")
        .replica_of(&master)
        .start();
    master.cmd(&args!["SET", "x", 1]);
    master.replica_in_sync(&replica);
    let usage = |server: &Server, key: &str| int(&server.cmd(&["MEMORY", "USAGE", key]));
    let read = |key: &str, from: i64| {
        for at in from..from + 40 {
            master.cmd(&args!["ANOMALY.ADD", key, at * 1000, at * 7 % 5]);
        }
    };
    for (i, before) in KINDS.iter().enumerate() {
        for (j, after) in KINDS.iter().enumerate().filter(|(j, _)| *j != i) {
            let (changed, always) = (format!("c{i}{j}"), format!("a{i}{j}"));
            rule(&master, &changed, before);
            rule(&master, &always, after);
            read(&changed, 0);
            read(&always, 0);
            master.cmd(&["ANOMALY.CONFIG", "DEL", &changed]);
            rule(&master, &changed, after);
            for key in [&changed, &always] {
                // One that can expire is looked up each time.
                master.cmd(&args!["EXPIRE", key, 10_000]);
                // As many as any window holds.
                read(key, 40);
            }
            assert_eq!(
                usage(&master, &changed),
                usage(&master, &always),
                "{before}, then {after}"
            );
        }
    }
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}

#[test]
fn one_that_is_reset_takes_what_it_took_from_its_next_reading_on() {
    let server = Server::builder().config("anomaly.archive off").start();
    let usage = |key: &str| int(&server.cmd(&["MEMORY", "USAGE", key]));
    // Nothing that grows with its readings.
    for (i, settings) in ["max 50", "zscore 3", "auto on", "auto on zscore 3 recent 1"]
        .iter()
        .enumerate()
    {
        let key = format!("r{i}");
        rule(&server, &key, settings);
        for at in 0..40 {
            server.cmd(&args!["ANOMALY.ADD", &key, at * 1000, at * 7 % 5]);
        }
        let before = usage(&key);
        for expires in [false, true] {
            if expires {
                // Looked up each time.
                server.cmd(&args!["EXPIRE", &key, 10_000]);
            }
            assert_eq!(int(&server.cmd(&["ANOMALY.RESET", &key])), 1);
            server.cmd(&args!["ANOMALY.ADD", &key, 50_000, 3]);
            assert_eq!(usage(&key), before, "{settings}, expires: {expires}");
        }
    }
}

#[test]
fn one_that_is_known_by_name_does_so_too_after_a_while() {
    let server = Server::builder().config("anomaly.archive off").start();
    let usage = |key: &str| int(&server.cmd(&["MEMORY", "USAGE", key]));
    let mut at = 0;
    let mut read = |key: &str| {
        at += 1000;
        server.cmd(&args!["ANOMALY.ADD", key, at, at / 1000 % 10]);
    };
    rule(&server, "one", KINDS[2]);
    rule(&server, "two", KINDS[0]);
    for _ in 0..40 {
        read("one");
        read("two");
    }
    let (large, small) = (usage("one"), usage("two"));
    rule(&server, "one", &format!("{} auto off", KINDS[0]));
    rule(
        &server,
        "two",
        &format!("{} recent inherit max inherit", KINDS[2]),
    );
    server.wait_until("both were looked up again", || {
        read("one");
        read("two");
        usage("one") <= small && usage("two") >= large
    });
    assert_eq!(usage("two"), large);
}

#[test]
fn defragmentation_moves_models_and_changes_nothing() {
    let server = Server::builder().config("anomaly.archive off").start();
    for (digit, settings) in [0, 2, 4, 6, 8].iter().zip(KINDS.iter().cycle()) {
        rule(&server, &format!("s*{digit}"), settings);
    }
    let keys: Vec<String> = (0..4000).map(|i| format!("s{i}")).collect();
    for at in 0..12i64 {
        let mut madd = args!["ANOMALY.MADD"];
        keys.iter()
            .for_each(|key| madd.extend(args![key, at, at * 7 % 10]));
        server.cmd(&madd);
    }
    let mut del = args!["DEL"];
    del.extend(
        keys.iter()
            .enumerate()
            .filter(|(i, _)| i % 8 != 0)
            .map(|(_, key)| key.clone().into_bytes()),
    );
    server.cmd(&del);
    server.cmd(&["DEL", "anomaly:alerts"]);
    let before = server.picture();
    let settings = [
        "active-defrag-ignore-bytes",
        "1",
        "active-defrag-threshold-lower",
        "1",
        "active-defrag-cycle-min",
        "90",
        "active-defrag-cycle-max",
        "95",
    ];
    server.cmd(&[&["CONFIG", "SET"][..], &settings].concat());
    match server.try_cmd(&["CONFIG", "SET", "activedefrag", "yes"]) {
        Err(why) => {
            return assert!(
                why.contains("cannot be enabled"),
                "a server without jemalloc says so: {why}"
            );
        }
        Ok(reply) => assert_eq!(text(&reply), "OK"),
    }
    server.wait_until("all have been looked at, and models moved", || {
        let stats = server.info("stats");
        let count = |of: &str| stats[&format!("active_defrag_{of}")].parse().unwrap_or(0);
        count("hits") > 500 && count("key_hits") + count("key_misses") >= keys.len() / 8
    });
    server.cmd(&["CONFIG", "SET", "activedefrag", "no"]);
    assert_same(&server.picture(), &before);
    // What still points to where a model was sees what others have written there.
    for at in 0..3i64 {
        let mut madd = args!["ANOMALY.MADD"];
        let gone = keys.iter().zip(0..).filter(|(_, i)| i % 8 != 0);
        gone.for_each(|(key, _)| madd.extend(args![key, at, 3]));
        server.cmd(&madd);
    }
    server.cmd(&del);
    assert_same(&server.picture(), &before);
    for (key, i) in keys.iter().zip(0..).filter(|(_, i)| i % 8 == 0) {
        server.cmd(&args!["ANOMALY.ADD", key, 1000, i % 10]);
    }
    // A model that is freed tells if it had lost its rooms.
    server.cmd(&["FLUSHALL", "SYNC"]);
}

#[test]
fn what_a_model_takes_is_given_back_whatever_becomes_of_it() {
    let server = Server::builder().config("anomaly.archive off").start();
    let kinds = KINDS.iter().zip(0..);
    let mut left = Vec::new();
    for _ in 0..3 {
        for (before, i) in kinds.clone() {
            for (after, j) in kinds.clone() {
                let (key, other) = (format!("a{i}{j}"), format!("b{i}{j}"));
                let (pattern, key, other) = (format!("?{i}{j}"), &key[..], &other[..]);
                rule(&server, &pattern, before);
                fill(&server, key, 40);
                server.cmd(&["ANOMALY.RESET", key]);
                fill(&server, key, 40);
                server.cmd(&["COPY", key, other]);
                server.cmd(&["ANOMALY.CONFIG", "DEL", &pattern]);
                rule(&server, &pattern, after);
                server.cmd(&args!["ANOMALY.ADD", key, 1000, 1]);
                server.cmd(&["ANOMALY.RESET", key]);
                server.cmd(&["ANOMALY.RESET", other]);
                for at in 1001..1004 {
                    server.cmd(&args!["ANOMALY.ADD", key, at, 1]);
                    server.cmd(&args!["ANOMALY.ADD", other, at, 1]);
                }
                server.cmd(&["RENAME", key, other]);
                server.cmd(&args!["ANOMALY.ADD", other, 1004, 1]);
                server.cmd(&["ANOMALY.CONFIG", "DEL", &pattern]);
            }
        }
        server.cmd(&["DEBUG", "RELOAD"]);
        server.cmd(&["FLUSHALL", "SYNC"]);
        left.push(info(&server, "bytes"));
    }
    // What the server knows of many sensors grows in steps; the smallest model lost in each turn is more.
    assert!(left[2] - left[1] < 16 * 64, "{left:?}");
}

#[test]
fn the_numbers_of_info_add_up() {
    let server = Server::start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "s",
        "max",
        "10",
        "critical-max",
        "20",
        "clear",
        "1",
        "cooldown",
        "5",
    ]);
    server.cmd(&["SET", "text", "x"]);
    let values = [5, 15, 15, 25, 5, 15, 15, 5];
    for (at, value) in (10i64..).zip(values) {
        server.cmd(&args!["ANOMALY.ADD", "s", at, value]);
    }
    server.cmd(&args![
        "ANOMALY.MADD",
        "s",
        17,
        5,
        "s",
        1,
        1,
        "text",
        1,
        1,
        "s",
        1,
        "x",
        "t",
        1,
        1
    ]);
    let expected = [
        ("readings", 9),
        ("warnings", 4),
        ("criticals", 1),
        ("late", 1),
        ("duplicates", 1),
        ("refused", 2),
        ("alerts_firing", 1),
        ("alerts_escalated", 1),
        ("alerts_resolved", 1),
        ("alerts_repeat", 0),
        ("alerts_ack", 0),
        ("alerts_failed", 0),
        ("suppressed", 1),
        ("archived", 10),
        ("archive_failures", 0),
        ("sensors", 2),
        ("rules", 1),
        ("open_episodes", 0),
        ("dead_letters", 0),
        ("watched_streams", 0),
    ];
    for (name, count) in expected {
        assert_eq!(info(&server, name), count, "{name}");
    }
    assert_eq!(server.info("anomaly")["anomaly_version"], "0.1.0");
    let told = server.stream("anomaly:alerts").len() as i64;
    assert_eq!(
        told,
        ["firing", "escalated", "resolved"]
            .iter()
            .map(|event| info(&server, &format!("alerts_{event}")))
            .sum::<i64>()
    );
    assert!(info(&server, "add_usec") > 0);
}

#[test]
fn a_sensor_is_a_key_like_any_other() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    assert_eq!(text(&server.cmd(&["TYPE", "s"])), "anomaly-m");
    assert_eq!(text(&server.cmd(&["OBJECT", "ENCODING", "s"])), "raw");
    assert!(int(&server.cmd(&["OBJECT", "IDLETIME", "s"])) >= 0);
    server.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]);
    for at in 0..200i64 {
        server.cmd(&args!["ANOMALY.ADD", "s", 2000 + at, 1]);
    }
    let used = int(&server.cmd(&["OBJECT", "FREQ", "s"]));
    assert!(used > 0);
    server.cmd(&["ANOMALY.INFO", "s"]);
    assert!(
        int(&server.cmd(&["OBJECT", "FREQ", "s"])) <= used,
        "looking is not using"
    );
    server.cmd(&["EXPIRE", "s", "1000"]);
    server.cmd(&["ANOMALY.ADD", "s", "9000", "1"]);
    assert!(
        int(&server.cmd(&["TTL", "s"])) > 900,
        "a reading leaves the time to live alone"
    );
}

#[test]
fn what_a_window_takes_is_given_back_wherever_it_lies() {
    let server = Server::builder().config("anomaly.archive off").start();
    let rule = |name: &str, value: &str| {
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", name, value]);
    };
    rule("auto", "off");
    let mut left = Vec::new();
    for _ in 0..3 {
        // Beside its model, where the rule was there before it; apart, where it was not.
        rule("zscore", "off");
        fill(&server, "apart", 40);
        for window in ["30", "100", "5"] {
            rule("zscore", "3");
            rule("window", window);
            for key in ["beside", "apart"] {
                fill(&server, key, 40);
                server.cmd(&["COPY", key, "copy"]);
                let dump = bytes(&server.cmd(&["DUMP", key]));
                server.cmd(&args!["RESTORE", "restored", 0, &dump]);
                assert_eq!(server.digest("restored"), server.digest(key));
                server.cmd(&["ANOMALY.RESET", "copy"]);
                fill(&server, "copy", 40);
                server.cmd(&["RENAME", "copy", "restored"]);
                rule("zscore", "off");
                for key in [key, "restored"] {
                    server.cmd(&["ANOMALY.ADD", key, "1000", "1"]);
                }
                rule("zscore", "3");
                server.cmd(&["ANOMALY.ADD", key, "1001", "1"]);
                server.cmd(&["DEBUG", "RELOAD"]);
                server.cmd(&["ANOMALY.ADD", key, "1002", "1"]);
                server.cmd(&["DEL", "restored"]);
                server.cmd(&["ANOMALY.RESET", key]);
            }
        }
        server.cmd(&["DEL", "beside", "apart"]);
        left.push(info(&server, "bytes"));
    }
    assert_eq!(left[1], left[2], "{left:?}");
}
