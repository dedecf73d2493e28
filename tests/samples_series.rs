//! Samples that wait for series which expire, go by another policy, or are compacted: what is acknowledged is there, and the same everywhere.

use std::thread;
use std::time::{Duration, SystemTime};

use anomaly_tests::{Args, Server, args, assert_same, call_many, int, list, text, wait_until};

use crate::samples::assert_replica_and_file_agree;

/// A replica that lags holds a series for expired by its own clock, which its master has had live on: the master decides.
#[test]
fn a_replica_that_lags_has_the_sample_of_a_series_that_lives_on() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    // So much that the replica does other things between the reading and what follows.
    let much = "x".repeat(1_000_000);
    // A slow machine may not be through with it before the series has expired.
    let lived = [2000, 8000, 32_000].into_iter().any(|expires| {
        master.cmd(&args!["DEL", "s", "ts:{s}", "much"]);
        master.cmd(&args!["ANOMALY.ADD", "s", 1000, 1]);
        master.cmd(&args!["PEXPIRE", "ts:{s}", expires]);
        let until = int(&master.cmd(&["PEXPIRETIME", "ts:{s}"]));
        master.replica_in_sync(&replica);
        replica.signal("STOP");
        master.cmd(&args!["ANOMALY.ADD", "s", 2000, 1]);
        for _ in 0..40 {
            master.cmd(&args!["SET", "much", &much]);
        }
        let lives = int(&master.cmd(&["PERSIST", "ts:{s}"])) == 1;
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        wait_until("it has expired by the replica's clock", || {
            now().is_ok_and(|now| now.as_millis() as i64 > until)
        });
        replica.signal("CONT");
        replica.wait_until("the replica goes on", || {
            int(&replica.cmd(&["EXISTS", "much"])) == 1
        });
        master.replica_in_sync(&replica);
        lives
    });
    assert!(lived, "the machine is too slow");
    let samples = list(&replica.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
    assert_eq!(samples.len(), 2);
    assert_same(&replica.picture(), &master.picture());
}

/// Where nobody hears, too: what would bring it back is a sample that was written before it expired.
#[test]
fn a_series_that_expires_stays_gone() {
    let server = Server::builder().config("hz 500").start();
    let mut connection = server.conn();
    for round in 0..30 {
        let sensors: Vec<String> = (0..10).map(|at| format!("s{round}.{at}")).collect();
        let add = |at: i64| {
            sensors
                .iter()
                .map(move |key| args!["ANOMALY.ADD", key, at, 1])
        };
        let soon = |key: &String| args!["PEXPIRE", format!("ts:{{{key}}}"), 2];
        let all = add(1000).chain(sensors.iter().map(soon)).chain(add(2000));
        call_many(&mut connection, &all.collect::<Vec<_>>());
        thread::sleep(Duration::from_millis(10));
    }
    // One whose reading came after the series had expired is a new one, and has that reading alone: on a slow machine a few.
    let series = list(&server.cmd(&["KEYS", "ts:*"]));
    assert!(series.len() < 150, "{} of 300 came back", series.len());
}

/// Somebody else's sample of the same time, in a series whose policy is not ours: whatever it says holds everywhere.
#[test]
fn a_series_of_another_policy_is_the_same_on_the_replica_and_in_the_file() {
    let mut master = Server::builder().aof().config("appendfsync always").start();
    let replica = Server::builder().replica_of(&master).start();
    master.cmd(&["ANOMALY.CONFIG", "SET", "*:loud", "max", "3"]);
    let mut all = Vec::new();
    for policy in ["SUM", "MIN", "MAX", "FIRST", "LAST", "BLOCK"] {
        for way in ["add", "loud", "multi", "script", "many1", "many2"] {
            let (key, series) = (format!("{policy}:{way}"), format!("ts:{{{policy}:{way}}}"));
            let create = args!["TS.CREATE", &series, "DUPLICATE_POLICY", policy];
            let theirs = args!["TS.ADD", &series, 2000, 5];
            all.extend([create, theirs, args!["ANOMALY.ADD", &key, 1000, 1]]);
        }
        let add = |way: &str| args!["ANOMALY.ADD", format!("{policy}:{way}"), 2000, 7];
        let script = "return redis.call('ANOMALY.ADD', KEYS[1], 2000, 7)";
        let mut many = args!["ANOMALY.MADD"];
        for at in 0..20 {
            many.extend(args![format!("many{at}"), 2000, 7]);
        }
        for way in ["many1", "many2"] {
            many.extend(args![format!("{policy}:{way}"), 2000, 7]);
        }
        all.extend([
            add("add"),
            add("loud"),
            args!["MULTI"],
            add("multi"),
            args!["EXEC"],
            args!["EVAL", script, 1, format!("{policy}:script")],
            many,
        ]);
    }
    call_many(&mut master.conn(), &all);
    assert_replica_and_file_agree(&mut master, &replica);
}

fn compaction() -> Args {
    args![
        "TS.CREATERULE",
        "ts:{s}",
        "down",
        "AGGREGATION",
        "avg",
        1000
    ]
}

/// TimeSeries answers a sample twice where its compaction is refused: the answers that follow are those of samples before.
#[test]
fn a_compaction_that_is_refused_loses_no_sample_of_others() {
    let server = Server::start();
    let mut connection = server.conn();
    let before = [
        args!["ANOMALY.ADD", "s", 1000, 1],
        args!["TS.CREATE", "down", "RETENTION", 5],
        compaction(),
        args!["ANOMALY.ADD", "s", 11_000, 1],
        args!["TS.ADD", "down", 1_000_000, 1],
        args!["PING"],
    ];
    call_many(&mut connection, &before);
    let sensors = |round: i64| (1..10).map(move |n| (n, format!("n{round}.{n}")));
    // Of many times, and of one.
    for (round, step) in [(1, 1000), (2, 0)] {
        let first = sensors(round).map(|(_, key)| args!["ANOMALY.ADD", key, 1000, 1]);
        let gone = sensors(round).map(|(_, key)| args!["DEL", format!("ts:{{{key}}}")]);
        let at = |n: i64| 20_000 * round + n * step;
        let more = sensors(round).map(|(n, key)| args!["ANOMALY.ADD", key, at(n), 1]);
        let compacted = args!["ANOMALY.ADD", "s", at(0), 1];
        let all = first.chain(gone).chain([compacted]).chain(more);
        call_many(&mut connection, &all.collect::<Vec<_>>());
        let lost: Vec<String> = sensors(round)
            .filter(|(_, key)| int(&server.cmd(&["EXISTS", &format!("ts:{{{key}}}")])) == 0)
            .map(|(_, key)| key)
            .collect();
        assert!(lost.is_empty(), "{lost:?}");
        let samples = list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
        assert_eq!(samples.len() as i64, 2 + round);
    }
}

/// It is not known to be there, and is written again: by the same policy as before.
#[test]
fn a_sample_that_is_written_again_goes_by_the_policy_of_its_series() {
    let server = Server::start();
    let add = |key: &str, at: i64, value: i64| args!["ANOMALY.ADD", key, at, value];
    let many = [
        add("s", 1000, 1),
        add("low", 1000, 1),
        args!["TS.CREATE", "down", "RETENTION", 5],
        compaction(),
        args!["DEL", "ts:{low}"],
        args!["TS.CREATE", "ts:{low}", "DUPLICATE_POLICY", "MIN"],
        args!["TS.ADD", "ts:{low}", 20_000, 5],
        add("s", 11_000, 1),
        args!["TS.ADD", "down", 1_000_000, 1],
        args!["PING"],
        // One compaction is refused, and the answers that follow are shifted.
        add("s", 20_000, 1),
        add("low", 20_000, 7),
        args!["TS.GET", "ts:{low}"],
    ];
    let seen = call_many(&mut server.conn(), &many).pop().unwrap();
    assert_eq!(text(&list(&seen)[1]), "5");
}
