//! Models are known by the names of their sensors. Whatever becomes of a sensor's key, the next reading goes to what is at that
//! key then.
//!
//! In a build with debug assertions INFO counts how often a model was found without opening its key. Each way in which a key can go, come or change is taken between two readings of a sensor that is
//! known, on a server and on its replica, by clients, in a transaction, in a script and in a function.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use anomaly_tests::{Args, Builder, Server, args, assert_same, call_many, error, field, int, text};
use redis::Connection;

#[path = "known/events.rs"]
mod events;
#[path = "known/random.rs"]
mod random;
#[path = "known/replicas.rs"]
mod replicas;
#[path = "known/room.rs"]
mod room;
#[path = "known/time.rs"]
mod time;
#[path = "known/ways.rs"]
mod ways;

/// Sensors beside the one that is looked at, so that their models have to be told apart.
const CROWD: i64 = 400;

fn unarchived() -> Builder {
    Server::builder().config("anomaly.archive off")
}

/// Ready for every form of reading.
fn ready(builder: Builder) -> Server {
    let server = builder.start();
    for command in [
        args!["ANOMALY.WATCH", "SET", "in", "TIME", "t", "KEY", "$device"],
        args!["ANOMALY.CONFIG", "SET", "*", "max", 1e6],
        args![
            "FUNCTION",
            "LOAD",
            format!(
                "#!lua name=known\nredis.register_function('run', function(keys, ARGV) {RUN} end)"
            )
        ],
    ] {
        server.cmd(&command);
    }
    server
}

/// A script that runs commands: for each the number of its words, and the words.
const RUN: &str = "local at = 1 \
    while at <= #ARGV do \
      local last = at + tonumber(ARGV[at]) \
      redis.pcall(unpack(ARGV, at + 1, last)) \
      at = last + 1 \
    end";

/// Each reading is newer than all before it.
fn next() -> i64 {
    static NEXT: AtomicI64 = AtomicI64::new(1_700_000_000_000);
    NEXT.fetch_add(1, Relaxed)
}

fn name(of: &str) -> String {
    format!("{of}:{}", next())
}

fn add(key: &str) -> Args {
    args!["ANOMALY.ADD", key, next(), 7]
}

/// Makes sure that there are many sensors.
fn crowd(server: &Server) {
    // Not by their number, which goes down in the background after FLUSHALL ASYNC.
    if int(&server.cmd(&["DBSIZE"])) < CROWD {
        let mut madd = args!["ANOMALY.MADD"];
        for _ in 0..CROWD {
            madd.extend(args![name("crowd"), next(), 7]);
        }
        server.cmd(&madd);
    }
}

/// How often a model was known.
fn found(server: &Server) -> i64 {
    server.info("anomaly")["anomaly_known"].parse().unwrap()
}

/// Whether a reading finds the model of its sensor without the server's opening the key.
fn finds(server: &Server, reading: impl FnOnce()) -> bool {
    let before = found(server);
    reading();
    found(server) > before
}

/// Has a sensor known, as it is after its first reading, but for a key that is opened again now and then.
#[track_caller]
fn know(server: &Server, key: &str) {
    crowd(server);
    server.cmd(&add(key));
    let finds = |_| finds(server, || drop(server.cmd(&add(key))));
    assert!((0..3).any(finds), "{key} is not known");
}

/// The readings of a sensor, 0 where there is none.
fn readings(server: &Server, key: &str) -> i64 {
    match server.try_cmd(&["ANOMALY.INFO", key]) {
        Ok(info) if !anomaly_tests::is_nil(&info) => int(&field(&info, "readings")),
        _ => 0,
    }
}

/// How a reading is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Add,
    Madd,
    Xadd,
}

impl Given {
    const ALL: [Self; 3] = [Self::Add, Self::Madd, Self::Xadd];

    fn of(self, key: &str) -> Args {
        match self {
            Self::Add => add(key),
            Self::Madd => args!["ANOMALY.MADD", "other", next(), 7, key, next(), 7],
            Self::Xadd => args!["XADD", "in", "*", "device", key, "t", next(), "v", 7],
        }
    }
}

/// How commands are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Apart,
    Transaction,
    Script,
    Function,
}

impl Run {
    const ALL: [Self; 4] = [Self::Apart, Self::Transaction, Self::Script, Self::Function];

    /// Errors are part of it.
    fn run(self, connection: &mut Connection, commands: &[Args]) {
        let words = || -> Args {
            let each = |words: &Args| [args![words.len()], words.clone()].concat();
            commands.iter().flat_map(each).collect()
        };
        let one = |first| [first, words()].concat();
        let all = match self {
            Self::Apart => commands.to_vec(),
            Self::Transaction => [&[args!["MULTI"]][..], commands, &[args!["EXEC"]]].concat(),
            Self::Script => vec![one(args!["EVAL", RUN, 0])],
            Self::Function => vec![one(args!["FCALL", "run", 0])],
        };
        let replies = call_many(connection, &all);
        if self != Self::Apart {
            let last = replies.last().and_then(error);
            assert_eq!(last, None, "{self:?} {commands:?}");
        }
    }
}
