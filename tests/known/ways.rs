//! Every way in which a command has a sensor's key go, come or change, between two readings.
//!
//! Longer than other files: it is a table, which is read better in one piece.

use super::*;

/// What there is at the key after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Nothing: the next reading is the first of a new sensor.
    New,
    /// The sensor with so many readings more than it had.
    Same(i64),
    /// A sensor with so many readings.
    With(i64),
    /// Something else, which takes no readings.
    Taken,
}
use Then::{New, Same, Taken, With};

struct Way {
    does: fn(&str) -> Vec<Args>,
    then: Then,
    /// A script or transaction may do so.
    together: bool,
}

fn way(then: Then, does: fn(&str) -> Vec<Args>) -> Way {
    Way {
        does,
        then,
        together: true,
    }
}

fn alone(then: Then, does: fn(&str) -> Vec<Args>) -> Way {
    Way {
        together: false,
        ..way(then, does)
    }
}

/// Readings of the sensor that is at `key` in another database, or under another name.
const OTHERS: i64 = 3;

fn other(key: &str) -> String {
    format!("{key}:other")
}

/// Commands, and before them another sensor with readings of its own.
fn with_other(key: &str, commands: impl FnOnce() -> Vec<Args>) -> Vec<Args> {
    let mut all: Vec<_> = (0..OTHERS).map(|_| add(&other(key))).collect();
    all.extend(commands());
    all
}

/// Commands, and before them a sensor of the same name in database 1.
fn with_twin(key: &str, commands: impl FnOnce() -> Vec<Args>) -> Vec<Args> {
    let mut all = vec![args!["SELECT", 1]];
    all.extend((0..OTHERS).map(|_| add(key)));
    all.push(args!["SELECT", 0]);
    // Known here again.
    all.push(add(key));
    all.extend(commands());
    all
}

fn shown(commands: &[Args]) -> String {
    let line = |words: &Args| words.join(&b' ').escape_ascii().to_string();
    commands.iter().map(line).collect::<Vec<_>>().join("; ")
}

struct Pair {
    master: Server,
    replica: Server,
    connection: Connection,
}

impl Pair {
    fn start(config: &[&str]) -> Self {
        let with = |builder: Builder| {
            config
                .iter()
                .fold(builder, |builder, line| builder.config(*line))
        };
        let master = ready(with(unarchived()));
        let replica = with(unarchived()).replica_of(&master).start();
        master.replica_in_sync(&replica);
        let connection = master.conn();
        Self {
            master,
            replica,
            connection,
        }
    }

    fn in_sync(&self) {
        self.master.replica_in_sync(&self.replica);
    }

    /// A reading of the master's is found on the replica without opening the key.
    #[track_caller]
    fn know(&self, key: &str) {
        know(&self.master, key);
        let finds = |_| {
            self.in_sync();
            finds(&self.replica, || {
                self.master.cmd(&add(key));
                self.in_sync();
            })
        };
        assert!((0..3).any(finds), "{key} is not known on the replica");
    }

    #[track_caller]
    fn check(&mut self, way: &Way, given: Given, run: Run, prefix: &str) {
        let key = &name(prefix);
        if prefix == WIDE {
            fill(&self.master, key);
        }
        self.know(key);
        let before = readings(&self.master, key) + 1;
        // Entries of a stream are read when all that runs together has run.
        let is_last = given == Given::Xadd && run != Run::Apart;
        let first = if is_last { Given::Add } else { given };
        let mut all = vec![first.of(key)];
        let does = (way.does)(key);
        all.extend(does.iter().cloned());
        all.push(given.of(key));
        run.run(&mut self.connection, &all);
        let mut expected = match way.then {
            New => 1,
            Same(more) => before + more + 1,
            With(many) => many + 1,
            Taken => 0,
        };
        let case = || format!("{given:?} {run:?} {}", shown(&does));
        self.in_sync();
        for _ in 0..2 {
            let both = [&self.master, &self.replica].map(|server| readings(server, key));
            assert_eq!(both, [expected; 2], "{}", case());
            // It may be known again.
            run.run(&mut self.connection, &[given.of(key), given.of(key)]);
            self.in_sync();
            expected += if way.then == Taken { 0 } else { 2 };
        }
        for server in [&self.master, &self.replica] {
            let kind = text(&server.cmd(&["TYPE", key]));
            assert_eq!(kind == "anomaly-m", way.then != Taken, "{}: {kind}", case());
        }
    }

    #[track_caller]
    fn check_all(&mut self, ways: &[Way], forms: &[Given], prefix: &str) {
        for way in ways {
            for run in Run::ALL {
                if run != Run::Apart && !way.together {
                    continue;
                }
                for given in forms {
                    self.check(way, *given, run, prefix);
                }
            }
        }
        assert_same(&self.replica.picture(), &self.master.picture());
    }
}

fn deleted() -> Vec<Way> {
    vec![
        way(New, |key| vec![args!["DEL", key]]),
        way(New, |key| vec![args!["UNLINK", "nothing", key]]),
        way(New, |key| {
            vec![args!["DEL", key], add(key), args!["DEL", key]]
        }),
        way(New, |key| vec![args!["PEXPIRE", key, -1]]),
        way(New, |key| vec![args!["EXPIREAT", key, 1]]),
        way(New, |_| vec![args!["FLUSHDB"]]),
        way(New, |_| vec![args!["FLUSHDB", "ASYNC"]]),
        way(New, |_| vec![args!["FLUSHALL", "SYNC"]]),
        way(New, |_| vec![args!["FLUSHALL", "ASYNC"]]),
        way(Same(0), |_| {
            vec![args!["SELECT", 1], args!["FLUSHDB"], args!["SELECT", 0]]
        }),
        way(New, |key| vec![args!["RENAME", key, other(key)]]),
        way(New, |key| vec![args!["RENAMENX", key, other(key)]]),
        way(Same(0), |key| {
            with_other(key, || vec![args!["RENAMENX", key, other(key)]])
        }),
        way(Same(0), |_| vec![args!["SWAPDB", 0, 0]]),
        way(New, |_| vec![args!["SWAPDB", 0, 1]]),
        way(New, |key| {
            vec![
                args!["SET", other(key), 1],
                args!["RENAME", other(key), key],
                args!["DEL", key],
            ]
        }),
    ]
}

fn put_over() -> Vec<Way> {
    vec![
        way(Taken, |key| vec![args!["SET", key, 1]]),
        way(Taken, |key| vec![args!["SET", key, 1, "KEEPTTL"]]),
        way(Taken, |key| vec![args!["SET", key, 1, "PX", 1_000_000]]),
        way(Taken, |key| vec![args!["PSETEX", key, 1_000_000, 1]]),
        way(Taken, |key| vec![args!["MSET", "a", 1, key, 1]]),
        way(Taken, |key| {
            vec![args!["SADD", "set", 1], args!["SUNIONSTORE", key, "set"]]
        }),
        way(New, |key| vec![args!["SINTERSTORE", key, "no", "set"]]),
        way(Taken, |key| {
            vec![
                args!["ZADD", "zset", 1, 1],
                args!["ZUNIONSTORE", key, 1, "zset"],
            ]
        }),
        way(Taken, |key| {
            vec![
                args!["ZADD", "zset", 1, 1],
                args!["ZRANGESTORE", key, "zset", 0, -1],
            ]
        }),
        way(Taken, |key| {
            vec![args!["SADD", "set", 1], args!["SORT", "set", "STORE", key]]
        }),
        way(Taken, |key| {
            vec![args!["SET", "bits", 1], args!["BITOP", "NOT", key, "bits"]]
        }),
        way(Taken, |key| {
            vec![
                args!["GEOADD", "geo", 1, 1, "a"],
                args![
                    "GEOSEARCHSTORE",
                    key,
                    "geo",
                    "FROMMEMBER",
                    "a",
                    "BYRADIUS",
                    1,
                    "m"
                ],
            ]
        }),
        way(Taken, |key| {
            vec![
                args!["SET", "text", 1],
                args!["COPY", "text", key, "REPLACE"],
            ]
        }),
        way(Taken, |key| {
            vec![args!["SET", "text", 1], args!["RENAME", "text", key]]
        }),
        way(Taken, |key| {
            vec![args!["DEL", key], args!["XADD", key, "*", "a", "b"]]
        }),
        // What is refused changes nothing.
        way(Same(0), |key| {
            vec![
                args!["GETDEL", key],
                args!["GETEX", key, "PX", 1],
                args!["GETSET", key, 1],
            ]
        }),
        way(Same(0), |key| {
            vec![args!["SET", key, 1, "NX"], args!["SET", key, 1, "GET"]]
        }),
        way(Same(0), |key| {
            vec![
                args!["APPEND", key, 1],
                args!["LPUSH", key, 1],
                args!["PFMERGE", key],
            ]
        }),
    ]
}

fn another_sensor() -> Vec<Way> {
    vec![
        way(With(OTHERS), |key| {
            with_other(key, || vec![args!["RENAME", other(key), key]])
        }),
        way(With(OTHERS), |key| {
            with_other(key, || {
                vec![args!["DEL", key], args!["RENAMENX", other(key), key]]
            })
        }),
        way(With(OTHERS), |key| {
            with_other(key, || vec![args!["COPY", other(key), key, "REPLACE"]])
        }),
        way(Same(0), |key| {
            with_other(key, || vec![args!["COPY", other(key), key]])
        }),
        // The copy of a copy, with another reading.
        way(With(OTHERS + 1), |key| {
            with_other(key, || {
                vec![
                    args!["COPY", other(key), key, "REPLACE"],
                    add(key),
                    args!["COPY", key, other(key), "REPLACE"],
                    add(key),
                    args!["RENAME", other(key), key],
                ]
            })
        }),
        way(With(OTHERS), |key| {
            with_twin(key, || vec![args!["SWAPDB", 0, 1]])
        }),
        way(With(OTHERS), |key| {
            with_twin(key, || vec![args!["SWAPDB", 1, 0]])
        }),
        // There and back: the one before, with one reading more, or two.
        way(Same(2), |key| {
            with_twin(key, || {
                vec![args!["SWAPDB", 0, 1], args!["SWAPDB", 0, 1], add(key)]
            })
        }),
        way(Same(1), |key| {
            vec![
                args!["RENAME", key, other(key)],
                add(&other(key)),
                args!["RENAME", other(key), key],
            ]
        }),
        way(With(1), |key| {
            vec![
                args!["RENAME", key, other(key)],
                add(key),
                add(&other(key)),
                args!["DEL", other(key)],
            ]
        }),
        way(Same(0), |key| {
            vec![
                args!["COPY", key, other(key)],
                add(&other(key)),
                args!["DEL", other(key)],
            ]
        }),
    ]
}

/// Those that leave the client in another database on some servers.
fn moved() -> Vec<Way> {
    vec![
        way(New, |key| vec![args!["MOVE", key, 1]]),
        way(Same(1), |key| {
            vec![
                args!["MOVE", key, 1],
                args!["SELECT", 1],
                add(key),
                args!["MOVE", key, 0],
                args!["SELECT", 0],
            ]
        }),
        way(Same(1), |key| {
            with_twin(key, || vec![args!["MOVE", key, 1]])
        }),
        way(With(OTHERS), |key| {
            with_twin(key, || {
                vec![
                    args!["DEL", key],
                    args!["SELECT", 1],
                    args!["MOVE", key, 0],
                    args!["SELECT", 0],
                ]
            })
        }),
        way(With(OTHERS), |key| {
            with_twin(key, || {
                vec![
                    args!["SELECT", 1],
                    args!["COPY", key, key, "DB", 0, "REPLACE"],
                    args!["SELECT", 0],
                ]
            })
        }),
    ]
}

fn changed() -> Vec<Way> {
    vec![
        way(With(0), |key| vec![args!["ANOMALY.RESET", key]]),
        way(With(1), |key| vec![args!["ANOMALY.RESET", key], add(key)]),
        way(Same(1), |key| {
            vec![args!["EXPIRE", key, 1000], add(key), args!["PERSIST", key]]
        }),
        way(Same(0), |key| {
            vec![args!["EXPIRE", key, 1000], args!["EXPIRE", key, 1, "GT"]]
        }),
        // Valkey 8.1.1 leaves the client in the last database that was loaded.
        alone(Same(0), |_| {
            vec![args!["DEBUG", "RELOAD"], args!["SELECT", 0]]
        }),
        alone(Same(0), |_| {
            vec![
                args!["DEBUG", "RELOAD"],
                args!["DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE"],
                args!["SELECT", 0],
            ]
        }),
        alone(New, |key| {
            vec![
                args!["MULTI"],
                args!["DEL", key],
                add(key),
                args!["FLUSHDB"],
                args!["EXEC"],
            ]
        }),
        alone(Same(0), |key| {
            vec![
                args!["MULTI"],
                args!["DEL", key],
                add(key),
                args!["DISCARD"],
            ]
        }),
    ]
}

/// Sensors whose models are so large that the server frees them in the background, if it may.
const WIDE: &str = "wide";

fn fill(server: &Server, key: &str) {
    let mut madd = args!["ANOMALY.MADD"];
    for n in 0..1100 {
        madd.extend(args![key, next(), n % 10]);
    }
    server.cmd(&madd);
}

#[test]
fn a_model_that_is_freed_in_the_background_is_not_known_either() {
    let settings = [
        "lazy-server-del",
        "lazy-user-del",
        "lazy-user-flush",
        "lazy-expire",
    ];
    let mut lines: Vec<_> = settings.map(|of| format!("lazyfree-{of} yes")).to_vec();
    lines.push("replica-lazy-flush yes".into());
    let mut pair = Pair::start(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let rule = [
        "ANOMALY.CONFIG",
        "SET",
        "wide*",
        "zscore",
        "100",
        "window",
        "1100",
    ];
    pair.master.cmd(&rule);
    for ways in [deleted(), put_over(), another_sensor(), changed()] {
        pair.check_all(&ways, &[Given::Add], WIDE);
    }
    for server in [&pair.master, &pair.replica] {
        let freed: i64 = server.info("memory")["lazyfreed_objects"].parse().unwrap();
        assert!(freed > 100, "{freed}");
    }
}

#[test]
fn a_sensor_that_was_deleted_begins_anew() {
    Pair::start(&[]).check_all(&deleted(), &Given::ALL, "s");
}

#[test]
fn what_was_put_over_a_sensor_takes_no_readings() {
    Pair::start(&[]).check_all(&put_over(), &Given::ALL, "s");
}

#[test]
fn readings_go_to_the_sensor_that_has_the_name_now() {
    Pair::start(&[]).check_all(&another_sensor(), &Given::ALL, "s");
}

#[test]
fn a_sensor_that_moves_to_another_database_takes_its_readings_there() {
    let mut pair = Pair::start(&[]);
    if !pair.master.moves_wrongly() {
        pair.check_all(&moved(), &Given::ALL, "s");
    }
}

#[test]
fn a_sensor_that_was_changed_in_its_place_goes_on() {
    Pair::start(&[]).check_all(&changed(), &Given::ALL, "s");
}

/// Whoever watches or caches a key is told of a reading that the server did not open it for.
#[test]
fn a_reading_of_a_known_sensor_is_a_change_of_its_key() {
    let server = ready(unarchived());
    let key = &name("s");
    for given in [Given::Add, Given::Xadd] {
        let mut connection = server.conn();
        // Opened for its first reading in some seconds, and then not.
        let is_told = |_| {
            know(&server, key);
            call_many(
                &mut connection,
                &[args!["WATCH", key], args!["MULTI"], args!["PING"]],
            );
            let known = finds(&server, || {
                call_many(&mut server.conn(), &[given.of(key)]);
            });
            let done = call_many(&mut connection, &[args!["EXEC"]]);
            assert!(anomaly_tests::is_nil(&done[0]), "{given:?}");
            known
        };
        assert!((0..3).any(is_told), "{given:?}");
    }
}
