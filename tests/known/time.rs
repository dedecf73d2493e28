//! Sensors whose keys expire, are forgotten by a rule, or are to be seen as used.

use std::time::{Duration, Instant};

use anomaly_tests::{bytes, list};

use super::*;

/// Of the server's clock, in ms.
fn clock(server: &Server) -> i64 {
    let time = list(&server.cmd(&["TIME"]));
    int(&time[0]) * 1000 + int(&time[1]) / 1000
}

const SOON: i64 = 30;

/// Each way to give a sensor that is known a time to live of some ms.
fn ways(server: &Server, key: &str) -> Vec<Vec<Args>> {
    let (soon, at) = (SOON, clock(server) + SOON);
    let other = &name("other");
    server.cmd(&add(other));
    let dump = bytes(&server.cmd(&["DUMP", other]));
    vec![
        vec![args!["PEXPIRE", key, soon]],
        vec![args!["PEXPIREAT", key, at]],
        vec![
            args!["EXPIRE", key, 1000],
            args!["PEXPIRE", key, soon, "LT"],
        ],
        vec![args!["RESTORE", key, soon, &dump, "REPLACE"]],
        vec![args!["RESTORE", key, at, &dump, "REPLACE", "ABSTTL"]],
        vec![args![
            "EVAL",
            "redis.call('PEXPIRE', ARGV[1], ARGV[2])",
            0,
            key,
            soon
        ]],
        at_once(vec![
            args!["PEXPIRE", key, soon],
            add(key),
            args!["PEXPIRE", key, 1000, "LT"],
        ]),
        at_once(vec![
            args!["PEXPIRE", other, soon],
            args!["COPY", other, key, "REPLACE"],
        ]),
        at_once(vec![
            args!["PEXPIRE", other, soon],
            args!["RENAME", other, key],
            add(key),
        ]),
        at_once(vec![add(key), args!["PEXPIRE", key, soon], add(key)]),
    ]
}

/// In a transaction nothing expires.
fn at_once(commands: Vec<Args>) -> Vec<Args> {
    [vec![args!["MULTI"]], commands, vec![args!["EXEC"]]].concat()
}

#[test]
fn a_sensor_whose_time_to_live_has_passed_begins_anew_whether_or_not_it_was_deleted() {
    let master = ready(unarchived());
    let replica = unarchived().replica_of(&master).start();
    master.replica_in_sync(&replica);
    let mut connection = master.conn();
    for looks in [1, 0] {
        for server in [&master, &replica] {
            server.cmd(&args!["DEBUG", "SET-ACTIVE-EXPIRE", looks]);
        }
        let mut way = 0;
        while way < ways(&master, "none").len() {
            for given in Given::ALL {
                let key = &name("s");
                know(&master, key);
                let commands = ways(&master, key).swap_remove(way);
                for reply in call_many(&mut connection, &commands) {
                    assert_eq!(error(&reply), None);
                }
                let until = clock(&master) + SOON;
                // Nothing may look at the key, which would have it deleted.
                master.wait_until("its time has passed", || clock(&master) > until);
                call_many(&mut connection, &[given.of(key)]);
                assert_eq!(readings(&master, key), 1, "{looks} {given:?} {way}");
                know(&master, key);
            }
            way += 1;
        }
        master.replica_in_sync(&replica);
        assert_same(&replica.picture(), &master.picture());
    }
}

#[test]
fn a_sensor_that_can_expire_is_opened_for_each_reading() {
    let server = ready(unarchived());
    let key = &name("s");
    let opens = |key: &str| !finds(&server, || drop(server.cmd(&add(key))));
    for way in 0..ways(&server, key).len() {
        let key = &name("s");
        know(&server, key);
        let mut commands = ways(&server, key).swap_remove(way);
        // Long enough to look.
        for word in commands.iter_mut().flatten() {
            match String::from_utf8_lossy(word).parse::<i64>() {
                Ok(SOON) => *word = b"500000".to_vec(),
                Ok(at) if at > clock(&server) => *word = (at + 500_000).to_string().into_bytes(),
                _ => {}
            }
        }
        call_many(&mut server.conn(), &commands);
        for _ in 0..3 {
            assert!(opens(key), "{way}");
        }
        assert!(int(&server.cmd(&["PTTL", key])) > 1, "{way}");
        server.cmd(&["PERSIST", key]);
        know(&server, key);
    }
}

#[test]
fn a_sensor_that_its_rule_has_forgotten_begins_anew() {
    let server = ready(unarchived());
    server.cmd(&["ANOMALY.CONFIG", "SET", "gone*", "expire", "200"]);
    for given in Given::ALL {
        let key = &name("gone");
        know(&server, key);
        server.wait_until("it is forgotten", || {
            int(&server.cmd(&["EXISTS", key])) == 0
        });
        call_many(&mut server.conn(), &[given.of(key)]);
        assert_eq!(readings(&server, key), 1, "{given:?}");
    }
}

/// The server counts whole seconds. A known sensor is not seen as used until its key is opened again, which happens within 8.2 s.
#[test]
fn a_sensor_that_is_written_all_the_time_is_never_long_idle() {
    let server = Server::builder().config("anomaly.archive off").start();
    crowd(&server);
    let idle = || {
        server.cmd(&add("s"));
        int(&server.cmd(&["OBJECT", "IDLETIME", "s"]))
    };
    let start = Instant::now();
    let mut longest = 0;
    server.wait_until("its key is opened again", || {
        let now = idle();
        longest = longest.max(now);
        // By this it is known; one that never is would be idle for no second.
        now < longest && longest >= 2
    });
    assert!(longest <= 9, "{longest} s, {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60));
}
