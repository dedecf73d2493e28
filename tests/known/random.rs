//! A server that knows models and one that opens every key are given the same: they must say and hold the same.
//!
//! The other one could evict: it has a limit, though one that is never reached. `ANOMALY_KNOWN_SEEDS` and `ANOMALY_KNOWN_FIRST`
//! tell how many seeds are run, and from which on.

use std::env;

use anomaly_tests::{call, is_nil, pairs, try_call};

use super::*;
use crate::once::traffic::Dice;

/// Few names, so that what happens to one happens to it again soon. Some lie where `RENAME` and `COPY` can put something else.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const DATABASES: u64 = 2;
/// Commands between two looks at all that is there.
const BATCH: usize = 60;
const BATCHES: usize = 12;

struct Traffic {
    dice: Dice,
    moves: bool,
    now: i64,
}

impl Traffic {
    fn name(&mut self) -> &'static str {
        self.dice.one_of(&NAMES)
    }

    fn at(&mut self) -> i64 {
        self.now += 1 + self.dice.below(3) as i64;
        match self.dice.below(20) {
            0 => self.now - 50,
            _ => self.now,
        }
    }

    fn value(&mut self) -> u64 {
        // Now and then one beyond the limit: episodes begin and end.
        self.dice.below(12) * 10
    }

    fn reading(&mut self) -> Args {
        match self.dice.below(8) {
            0 => {
                let mut madd = args!["ANOMALY.MADD"];
                for _ in 0..1 + self.dice.below(20) {
                    madd.extend(args![self.name(), self.at(), self.value()]);
                }
                madd
            }
            1 => args![
                "XADD",
                "in",
                format!("{}-1", self.at()),
                "device",
                self.name(),
                "t",
                self.at(),
                "v",
                self.value()
            ],
            2 => args![
                "ANOMALY.ADD",
                self.name(),
                self.at(),
                self.value(),
                "EXPLAIN"
            ],
            _ => args!["ANOMALY.ADD", self.name(), self.at(), self.value()],
        }
    }

    fn key(&mut self) -> Args {
        let (a, b) = (self.name(), self.name());
        match self.dice.below(30) {
            0 | 1 => args!["DEL", a],
            2 => args!["UNLINK", a, b],
            3..6 => args!["RENAME", a, b],
            6 => args!["RENAMENX", a, b],
            7 | 8 => args!["COPY", a, b, "REPLACE"],
            9 if self.moves => args!["COPY", a, b, "DB", self.dice.below(DATABASES), "REPLACE"],
            9..12 if self.moves => args!["MOVE", a, self.dice.below(DATABASES)],
            12 | 13 => args!["SWAPDB", 0, 1],
            14 if self.dice.below(3) == 0 => args!["FLUSHDB", self.dice.one_of(&["ASYNC", "SYNC"])],
            14 if self.dice.below(3) == 0 => {
                args!["FLUSHALL", self.dice.one_of(&["ASYNC", "SYNC"])]
            }
            15 | 16 => args!["SET", a, "text"],
            17 => args!["SUNIONSTORE", a, "set"],
            18 => args!["SINTERSTORE", a, "no", "set"],
            // Gone before the batch is looked at, or after all.
            19 => args!["EXPIRE", a, self.dice.one_of(&[-1, 0, 100_000, 200_000])],
            20 => args!["PERSIST", a],
            21 => args!["ANOMALY.RESET", a],
            23 if self.dice.below(6) == 0 => args!["DEBUG", "RELOAD"],
            24 if self.dice.below(6) == 0 => args!["DEBUG", "LOADAOF"],
            25 => args!["RENAME", "in", a],
            _ => args!["SADD", "set", self.now],
        }
    }

    fn command(&mut self) -> Vec<Args> {
        match self.dice.below(20) {
            0..12 => vec![self.reading()],
            12..16 => match self.key() {
                // Which on Valkey 8.1.1 leaves the client in the last database that was loaded.
                loads if loads[0] == b"DEBUG" => vec![loads, args!["SELECT", 0]],
                key => vec![key],
            },
            16 => vec![args!["SELECT", self.dice.below(DATABASES)]],
            17 => {
                let inside = self.inside();
                [vec![args!["MULTI"]], inside, vec![args!["EXEC"]]].concat()
            }
            kind => {
                let inside = self.inside();
                let each = |words: &Args| [args![words.len()], words.clone()].concat();
                let words: Args = inside.iter().flat_map(each).collect();
                let first = match kind {
                    18 => args!["EVAL", RUN, 0],
                    _ => args!["FCALL", "run", 0],
                };
                vec![[first, words].concat()]
            }
        }
    }

    /// What may be in a script or transaction.
    fn inside(&mut self) -> Vec<Args> {
        let mut all = Vec::new();
        while all.len() < 2 + self.dice.below(6) as usize {
            let next = match self.dice.below(3) {
                0 => self.key(),
                _ => self.reading(),
            };
            if next[0] != b"DEBUG" {
                all.push(next);
            }
        }
        all
    }
}

/// One of the two, with its connection.
struct Side {
    server: Server,
    connection: Connection,
}

impl Side {
    fn start(knows: bool, lazy: bool, heard: bool) -> Self {
        let mut builder = unarchived();
        if heard {
            builder = builder.aof();
        }
        if !knows {
            builder = builder
                .config("maxmemory 100gb")
                .config("maxmemory-policy allkeys-lru");
        }
        if lazy {
            builder = builder
                .config("lazyfree-lazy-server-del yes")
                .config("lazyfree-lazy-user-del yes");
        }
        let server = ready(builder);
        server.cmd(&[
            "ANOMALY.CONFIG",
            "SET",
            "*",
            "max",
            "90",
            "clear",
            "2",
            "zscore",
            "4",
            "window",
            "9",
        ]);
        let connection = server.conn();
        Self { server, connection }
    }

    /// Sensors enough for some to be known, beside what the traffic is about.
    fn crowd(&mut self) {
        call(&mut self.connection, &args!["SELECT", DATABASES]);
        if int(&call(&mut self.connection, &["DBSIZE"])) == 0 {
            let mut madd = args!["ANOMALY.MADD"];
            (0..CROWD).for_each(|n| madd.extend(args![n, 1, 7]));
            call(&mut self.connection, &madd);
        }
    }

    fn replies(&mut self, commands: &[Args]) -> Vec<String> {
        let replies = call_many(&mut self.connection, commands);
        replies.iter().map(|reply| format!("{reply:?}")).collect()
    }

    /// All that is at each name, in both databases.
    fn look(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for db in 0..DATABASES {
            call(&mut self.connection, &args!["SELECT", db]);
            for name in NAMES {
                all.push(format!("{db} {name} {}", self.look_at(name)));
            }
            // Their ids are of the server's clock.
            let alerts = call(
                &mut self.connection,
                &["XRANGE", "anomaly:alerts", "-", "+"],
            );
            for (_, fields) in anomaly_tests::entries(&alerts) {
                all.push(format!("{db} {fields:?}"));
            }
        }
        all
    }

    fn look_at(&mut self, name: &str) -> String {
        let mut ask = |words: &[&str]| try_call(&mut self.connection, words);
        let info = match ask(&["ANOMALY.INFO", name]) {
            // The two take unlike memory.
            Ok(info) if !is_nil(&info) => {
                let of_both = pairs(&info)
                    .into_iter()
                    .filter(|(field, _)| field != "bytes");
                format!("{:?}", of_both.collect::<Vec<_>>())
            }
            nothing => format!("{nothing:?}"),
        };
        let digest = ask(&["DEBUG", "DIGEST-VALUE", name]);
        // Of 100,000 s, which the two may be given in two seconds.
        let ttl = ask(&["TTL", name]).map(|ttl| (int(&ttl) + 100) / 1000);
        format!("{:?} {digest:?} {ttl:?} {info}", ask(&["TYPE", name]))
    }
}

fn run(seed: u64) {
    // Where nobody hears, readings of entries are taken in early.
    let heard = !seed.is_multiple_of(3);
    let mut sides = [true, false].map(|knows| Side::start(knows, seed % 2 == 1, heard));
    let mut replica = heard.then(|| {
        let server = unarchived().replica_of(&sides[0].server).start();
        let connection = server.conn();
        Side { server, connection }
    });
    let mut traffic = Traffic {
        dice: Dice::new(seed),
        moves: !sides[0].server.moves_wrongly(),
        now: next(),
    };
    for batch in 0..BATCHES {
        sides.iter_mut().for_each(Side::crowd);
        let mut commands = vec![args!["SELECT", traffic.dice.below(DATABASES)]];
        while commands.len() < BATCH {
            commands.extend(traffic.command());
        }
        let [knows, opens] = sides.each_mut().map(|side| side.replies(&commands));
        for ((knows, opens), command) in knows.iter().zip(&opens).zip(&commands) {
            let command = command.join(&b' ');
            assert_eq!(
                knows,
                opens,
                "seed {seed}, batch {batch}: {}",
                command.escape_ascii()
            );
        }
        let [knows, opens] = sides.each_mut().map(Side::look);
        for (knows, opens) in knows.iter().zip(&opens) {
            assert_eq!(knows, opens, "seed {seed}, batch {batch}");
        }
        if let Some(replica) = &mut replica {
            sides[0].server.replica_in_sync(&replica.server);
            for (follows, opens) in replica.look().iter().zip(&opens) {
                assert_eq!(follows, opens, "seed {seed}, batch {batch}, replica");
            }
        }
    }
    let [knows, opens] = sides.each_ref().map(|side| found(&side.server));
    println!("seed {seed}: {knows} models were known");
    assert!(knows > 100 && opens == 0, "{knows} {opens}");
}

#[test]
fn a_server_that_opens_every_key_says_and_holds_the_same() {
    let number = |name: &str, otherwise: u64| {
        env::var(name).map_or(otherwise, |n| n.parse().expect("a number"))
    };
    let first = number("ANOMALY_KNOWN_FIRST", 0);
    for seed in first..first + number("ANOMALY_KNOWN_SEEDS", 6) {
        run(seed);
    }
}
