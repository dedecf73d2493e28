//! What a server does of its own accord, or by its settings, with keys that are known.

use std::path::Path;
use std::process::Command;

use anomaly_tests::bytes;

use super::*;

#[test]
fn where_keys_are_evicted_or_uses_counted_or_a_cluster_shares_them_every_key_is_opened() {
    let server = ready(unarchived());
    let key = &name("s");
    let opens = |server: &Server| !finds(server, || drop(server.cmd(&add(key))));
    for (limit, policy) in [
        ("100gb", "allkeys-lru"),
        ("100gb", "volatile-ttl"),
        ("0", "allkeys-lfu"),
    ] {
        know(&server, key);
        let words = [
            "CONFIG",
            "SET",
            "maxmemory",
            limit,
            "maxmemory-policy",
            policy,
        ];
        server.cmd(&words);
        for _ in 0..3 {
            assert!(opens(&server), "{policy}");
        }
        server.cmd(&["FLUSHDB"]);
        server.cmd(&add(key));
        assert!(opens(&server), "{policy}");
        server.cmd(&[
            "CONFIG",
            "SET",
            "maxmemory",
            "0",
            "maxmemory-policy",
            "noeviction",
        ]);
        know(&server, key);
    }
    let cluster = unarchived().cluster().start();
    for _ in 0..CROWD {
        cluster.cmd(&add(&name("crowd")));
    }
    cluster.cmd(&add(key));
    for _ in 0..3 {
        assert!(opens(&cluster));
    }
}

#[test]
fn a_sensor_that_was_evicted_begins_anew() {
    let master = ready(unarchived());
    let replica = unarchived().replica_of(&master).start();
    let keys: Vec<String> = (0..1000).map(|_| name("s")).collect();
    let add_all = || keys.iter().map(|key| add(key)).collect::<Vec<_>>();
    for _ in 0..3 {
        call_many(&mut master.conn(), &add_all());
    }
    know(&master, &keys[0]);
    let evicted = || master.info("stats")["evicted_keys"].parse::<i64>().unwrap();
    let used: i64 = master.info("memory")["used_memory"].parse().unwrap();
    let policy = ["maxmemory-policy", "allkeys-random"];
    master.cmd(&[&["CONFIG", "SET"][..], &policy].concat());
    master.cmd(&args!["CONFIG", "SET", "maxmemory", used - 50_000]);
    master.wait_until("some are evicted", || {
        master.cmd(&["PING"]);
        evicted() > 20
    });
    master.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    let before: Vec<_> = keys.iter().map(|key| readings(&master, key)).collect();
    assert!(before.contains(&0), "a sensor was evicted");
    for more in 1..=3 {
        call_many(&mut master.conn(), &add_all());
        for (key, before) in keys.iter().zip(&before) {
            assert_eq!(readings(&master, key), before + more, "{key}");
        }
    }
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}

/// Every eighth of many sensors stays, so that pages are worth emptying; readings come all the while.
#[test]
fn readings_go_to_models_that_have_been_moved() {
    let server = Server::builder().config("anomaly.archive off").start();
    let rule = "ANOMALY.CONFIG SET * max 5e6 zscore 1e6 window 40 recent 7";
    server.cmd(&rule.split(' ').collect::<Vec<_>>());
    let all: Vec<String> = (0..4000).map(|_| name("s")).collect();
    let madd = |keys: &[String]| {
        let mut words = args!["ANOMALY.MADD"];
        keys.iter()
            .for_each(|key| words.extend(args![key, next(), 7]));
        server.cmd(&words)
    };
    let mut given = 0;
    for _ in 0..12 {
        madd(&all);
        given += 1;
    }
    let (mut gone, mut stays) = (args!["DEL"], Vec::new());
    for (key, n) in all.into_iter().zip(0..) {
        match n % 8 {
            0 => stays.push(key),
            _ => gone.extend(args![key]),
        }
    }
    server.cmd(&gone);
    // Known once more, for there are fewer now.
    madd(&stays);
    madd(&stays);
    given += 2;
    let settings = "active-defrag-ignore-bytes 1 active-defrag-threshold-lower 1 active-defrag-cycle-min 90 active-defrag-cycle-max 95";
    let settings: Vec<_> = settings.split(' ').collect();
    server.cmd(&[&["CONFIG", "SET"][..], &settings].concat());
    if server
        .try_cmd(&["CONFIG", "SET", "activedefrag", "yes"])
        .is_err()
    {
        return eprintln!("SKIPPED: active defragmentation, which this server cannot do");
    }
    server.wait_until("models have been moved", || {
        madd(&stays);
        given += 1;
        server.info("stats")["active_defrag_hits"]
            .parse::<i64>()
            .unwrap()
            > 500
    });
    for on in ["no", "yes", "no"] {
        server.cmd(&["CONFIG", "SET", "activedefrag", on]);
        madd(&stays);
        given += 1;
    }
    for key in &stays {
        assert_eq!(readings(&server, key), given, "{key}");
    }
    let digests = |server: &Server| {
        stays
            .iter()
            .map(|key| server.digest(key))
            .collect::<Vec<_>>()
    };
    let there = digests(&server);
    server.cmd(&["DEBUG", "RELOAD"]);
    assert_eq!(digests(&server), there);
}

#[test]
fn models_that_a_file_has_brought_take_the_readings() {
    for preamble in ["yes", "no"] {
        let server = ready(
            unarchived()
                .aof()
                .config(format!("aof-use-rdb-preamble {preamble}")),
        );
        for given in Given::ALL {
            let key = &name("s");
            know(&server, key);
            let before = readings(&server, key);
            for rewritten in [false, true] {
                if rewritten {
                    server.cmd(&["BGREWRITEAOF"]);
                    server.wait_until("it is rewritten", || {
                        server.info("persistence")["aof_rewrite_in_progress"] == "0"
                            && server.info("persistence")["aof_rewrite_scheduled"] == "0"
                    });
                }
                server.cmd(&["DEBUG", "LOADAOF"]);
                call_many(&mut server.conn(), &[given.of(key)]);
                let more = if rewritten { 2 } else { 1 };
                assert_eq!(
                    readings(&server, key),
                    before + more,
                    "{preamble} {given:?}"
                );
            }
        }
    }
}

#[test]
fn a_model_that_broke_is_reset_and_goes_on() {
    let server = ready(unarchived());
    for given in Given::ALL {
        let key = &name("s");
        know(&server, key);
        server.cmd(&["ANOMALY._PANIC", key]);
        call_many(&mut server.conn(), &[given.of(key)]);
        assert_eq!(readings(&server, key), 0, "{given:?}");
        call_many(&mut server.conn(), &[given.of(key)]);
        assert_eq!(readings(&server, key), 1, "{given:?}");
        know(&server, key);
    }
}

/// A module that does what no module should, under a name of its own.
fn meddler(dir: &Path, name: &str) -> String {
    let library = dir.join(format!("{name}.so"));
    let built = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            &format!("-DNAME=\"{name}\""),
            "-o",
        ])
        .arg(&library)
        .arg(anomaly_tests::checkout().join("tests/known/meddler.c"))
        .output()
        .expect("cc");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    library.to_str().expect("UTF-8").to_owned()
}

/// A server with one that hears of everything before our module does, and one that does after.
fn meddled() -> Server {
    let builder = unarchived().without_module();
    let [before, after] = ["before", "after"].map(|name| meddler(builder.path(), name));
    let ours = format!("\"{}\"", anomaly_tests::module().display());
    let load = |builder: Builder, library: &str| builder.config(format!("loadmodule {library}"));
    ready(
        [before, ours, after]
            .iter()
            .fold(builder, |builder, library| load(builder, library)),
    )
}

#[test]
fn readings_of_other_modules_while_a_database_is_emptied_do_not_outlast_it() {
    let server = meddled();
    for words in ["FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC", "FLUSHALL ASYNC"] {
        know(&server, "flushed");
        server.cmd(&words.split(' ').collect::<Vec<_>>());
        server.cmd(&add("flushed"));
        // Both have added the same when it was empty.
        let info = server.cmd(&["ANOMALY.INFO", "flushed"]);
        let counts = ["readings", "duplicates"].map(|name| int(&field(&info, name)));
        assert_eq!(counts, [2, 1], "{words}");
    }
}

#[test]
fn readings_of_other_modules_at_a_key_that_comes_with_a_time_to_live_keep_it_from_being_known() {
    let server = meddled();
    server.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    crowd(&server);
    server.cmd(&add("from"));
    let dump = bytes(&server.cmd(&["DUMP", "from"]));
    let ways = [
        vec![args!["RESTORE", "add:1", 400_000, &dump]],
        vec![
            args!["PEXPIRE", "from", 400_000],
            args!["COPY", "from", "add:2"],
        ],
    ];
    for way in ways {
        let key = way.last().unwrap();
        let at = if key[0] == b"COPY" { 2 } else { 1 };
        let key = String::from_utf8_lossy(&key[at]).into_owned();
        call_many(&mut server.conn(), &way);
        assert!(!finds(&server, || drop(server.cmd(&add(&key)))), "{key}");
        assert!(int(&server.cmd(&["PTTL", &key])) > 0, "{key}");
    }
}
