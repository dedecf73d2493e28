//! Models are known by the names of their sensors. Whatever becomes of a sensor's key, the next reading goes to what is at that
//! key then.
//!
//! The server counts each use of a key here (LFU without its logarithm), so that a test can tell a sensor whose key was opened
//! from one that was known. Each way in which a key can go, come or change is taken between two readings of a sensor that is
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

/// So many sensors are enough for some to be known: what finding them may take goes by their number.
const CROWD: i64 = 400;

/// A server that counts each use of a key.
fn counting() -> Builder {
    Server::builder()
        .config("anomaly.archive off")
        .config("maxmemory-policy allkeys-lfu")
        .config("lfu-log-factor 0")
        .config("lfu-decay-time 0")
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

/// How often a key was used.
fn uses(server: &Server, key: &str) -> i64 {
    int(&server.cmd(&["OBJECT", "FREQ", key]))
}

/// Whether a reading finds the model without the server's opening the key.
fn finds(server: &Server, key: &str, reading: impl FnOnce()) -> bool {
    let before = uses(server, key);
    reading();
    uses(server, key) == before
}

/// Has a sensor known, as it is after its first reading, but for a key that is opened again now and then.
#[track_caller]
fn know(server: &Server, key: &str) {
    crowd(server);
    server.cmd(&add(key));
    let finds = |_| finds(server, key, || drop(server.cmd(&add(key))));
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
