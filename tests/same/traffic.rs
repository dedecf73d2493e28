//! Seeded traffic with every command there is, in an order that nobody would think of. The entries of watched streams are
//! those of `once/traffic.rs`.

use crate::once::traffic::{Dice, LIBRARY, Traffic, watches};
use anomaly_tests::{Args, Server, args, bytes, call, call_many, error, try_call};

/// Patterns that have rules, each the name of some sensors too.
const PATTERNS: [&str; 8] = [
    "*",
    "lim:*",
    "stat:*",
    "auto:*",
    "dead:*",
    "lim:1",
    "sensor:d0:*",
    "{tag}*",
];
/// What a rule may say.
const SETTINGS: [&[&str]; 16] = [
    &["max", "60", "critical-max", "90"],
    &["max", "80", "critical-max", "-", "clear", "1"],
    &["for", "2", "clear", "2", "clear-margin", "1"],
    &["for", "inherit", "clear", "1", "cooldown", "5000"],
    &["zscore", "2.5", "window", "8"],
    &["mad", "4", "window", "9", "learn", "no"],
    &["ewma", "3", "alpha", "0.2", "warmup", "5"],
    &["cusum", "5", "drift", "0.3", "warmup", "6"],
    &["rate", "15", "direction", "high"],
    &["auto", "on", "season", "60000", "budget", "100000"],
    &["auto", "off", "zscore", "off", "mad", "inherit"],
    // By the time of the readings that is soon, by the clock it is not: a silence would be told of again and again while
    // servers are compared.
    &["stuck", "4000", "repeat", "90000"],
    &["nodata", "60"],
    &["expire", "150", "nodata", "off"],
    &["recent", "7", "unit", "°C", "archive", "inherit"],
    &["archive", "no", "enabled", "yes", "mindev", "0.5"],
];
const SENSORS: [&str; 12] = [
    "lim:1", "lim:2", "lim:3", "stat:1", "stat:2", "auto:1", "auto:2", "dead:1", "dead:2", "plain",
    "{tag}a", "{tag}b",
];

pub(crate) struct Mixed {
    pub(crate) dice: Dice,
    entries: Traffic,
    /// Databases in use.
    databases: u64,
    /// Whether MOVE, and COPY to another database, are part of it.
    moves: bool,
    db: u64,
    now: i64,
}

impl Mixed {
    pub(crate) fn new(seed: u64, databases: u64, moves: bool) -> Self {
        Self {
            dice: Dice::new(seed),
            entries: Traffic::new(seed),
            databases,
            moves,
            db: 0,
            now: 1_700_000_000_000,
        }
    }

    /// What the traffic takes for granted.
    pub(crate) fn prepare(&self, server: &Server) {
        let mut all = watches();
        all.push(args!["FUNCTION", "LOAD", LIBRARY]);
        for (pattern, settings) in
            PATTERNS[1..5]
                .iter()
                .zip([SETTINGS[0], SETTINGS[4], SETTINGS[9], SETTINGS[12]])
        {
            all.push(set(pattern, settings));
        }
        for (reply, command) in call_many(&mut server.conn(), &all).iter().zip(&all) {
            assert_eq!(error(reply), None, "{command:?}");
        }
    }

    /// So many commands to one server, a few at a time. Errors are part of it: names are taken, transactions go wrong.
    pub(crate) fn send(&mut self, server: &Server, commands: usize) {
        let mut connection = server.conn();
        call(&mut connection, &args!["SELECT", self.db]);
        let mut sent = 0;
        while sent < commands {
            let some: Vec<Args> = (0..8).flat_map(|_| self.next()).collect();
            sent += some.len();
            call_many(&mut connection, &some);
            if self.dice.below(6) == 0 {
                self.restore(&mut connection);
            }
        }
    }

    /// A sensor as it was before comes back, under its own name or another.
    fn restore(&mut self, connection: &mut redis::Connection) {
        let (from, to) = (self.sensor(), self.sensor());
        let dump = call(connection, &args!["DUMP", &from]);
        if anomaly_tests::is_nil(&dump) {
            return;
        }
        let later = self.add();
        call_many(connection, &[later]);
        let ttl = self.dice.one_of(&[0, 0, 40, 900_000]);
        let _ = try_call(
            connection,
            &args!["RESTORE", &to, ttl, bytes(&dump), "REPLACE"],
        );
    }

    fn sensor(&mut self) -> String {
        match self.dice.below(5) {
            0 => format!("sensor:d{}:temperature", self.dice.below(3)),
            _ => self.dice.one_of(&SENSORS).to_owned(),
        }
    }

    fn at(&mut self) -> i64 {
        self.now += 100 + self.dice.below(900) as i64;
        match self.dice.below(12) {
            0 => self.now - 30_000,
            1 => self.now - 100,
            _ => self.now,
        }
    }

    fn value(&mut self) -> f64 {
        let noise = self.dice.below(1000) as f64 / 99.7;
        match self.dice.below(9) {
            0 | 1 => 70.0 + noise,
            2 => 95.0 + noise,
            3 => 50.0,
            _ => 40.0 + noise,
        }
    }

    fn add(&mut self) -> Args {
        let (sensor, value) = (self.sensor(), self.value());
        match self.dice.below(12) {
            0 => args!["ANOMALY.ADD", sensor, "*", value],
            1 => args!["ANOMALY.ADD", sensor, self.at(), value, "EXPLAIN"],
            _ => args!["ANOMALY.ADD", sensor, self.at(), value],
        }
    }

    fn madd(&mut self) -> Args {
        let mut all = args!["ANOMALY.MADD"];
        for _ in 0..=self.dice.below(5) {
            let item = self.add();
            all.extend(item[1..4].iter().cloned());
        }
        if self.dice.below(5) == 0 {
            all.extend(args!["bad", "yesterday", 1]);
        }
        all
    }

    fn rule(&mut self) -> Args {
        let pattern = self.dice.one_of(&PATTERNS);
        match self.dice.below(12) {
            0 => args!["ANOMALY.CONFIG", "DEL", pattern],
            1 => args![
                "ANOMALY.CONFIG",
                "IMPORT",
                format!(
                    r#"{{"rules":[{{"pattern":"{pattern}","settings":{{"max":{}}}}}]}}"#,
                    60 + self.dice.below(40)
                )
            ],
            2 => self.watch(),
            _ => {
                let settings = self.dice.one_of(&SETTINGS);
                set(pattern, settings)
            }
        }
    }

    fn watch(&mut self) -> Args {
        match self.dice.below(4) {
            0 => args!["ANOMALY.WATCH", "DEL", "raw:1"],
            1 => args!["ANOMALY.WATCH", "SET", "raw:1", "KEY", "lim:$metric"],
            2 => args!["ANOMALY.WATCH", "SET", "pair:*", "FROM", "0"],
            _ => watches().swap_remove(self.dice.below(5) as usize),
        }
    }

    /// What Redis itself does with keys.
    fn key(&mut self) -> Args {
        let (a, b) = (self.sensor(), self.sensor());
        let other = self.dice.below(self.databases);
        match self.dice.below(16) {
            0 => args!["DEL", a],
            1 => args!["UNLINK", a, b],
            2 | 3 => args!["RENAME", a, b],
            4 => args!["RENAMENX", a, b],
            5 | 6 if self.moves => args!["COPY", a, b, "DB", other, "REPLACE"],
            5..9 if !self.moves => args!["COPY", a, b, "REPLACE"],
            7 | 8 => args!["MOVE", a, other],
            9 => args!["PEXPIRE", a, 1 + self.dice.below(60)],
            10 => args!["EXPIRE", a, 100_000],
            11 => args!["PERSIST", a],
            12 => args!["SET", a, "a string", "PX", 30],
            13 => args!["ANOMALY.RESET", a],
            14 => args!["SWAPDB", self.db, other],
            15 if self.dice.below(4) == 0 => {
                args![if other == 0 { "FLUSHDB" } else { "FLUSHALL" }]
            }
            _ => args!["DEL", format!("ts:{{{a}}}")],
        }
    }

    /// One thing, in as many commands as it takes.
    fn next(&mut self) -> Vec<Args> {
        match self.dice.below(40) {
            0..14 => vec![self.add()],
            14..18 => vec![self.madd()],
            18..26 => self.entries.unit(false).commands,
            26..28 => vec![self.rule()],
            28..32 => vec![self.key()],
            32 => vec![args![
                "ANOMALY.ACK",
                self.sensor(),
                "BY",
                "olga",
                "COMMENT",
                "on my way"
            ]],
            33..36 => self.transaction(),
            36..38 => vec![self.script()],
            _ => {
                self.db = self.dice.below(self.databases);
                vec![args!["SELECT", self.db]]
            }
        }
    }

    fn transaction(&mut self) -> Vec<Args> {
        let mut all = vec![args!["MULTI"]];
        for _ in 0..=self.dice.below(6) {
            all.push(match self.dice.below(8) {
                0 => self.rule(),
                1..4 => self.key(),
                4 => self.madd(),
                5 => args!["ANOMALY.ACK", self.sensor()],
                _ => self.add(),
            });
        }
        all.push(args![if self.dice.below(10) == 0 {
            "DISCARD"
        } else {
            "EXEC"
        }]);
        all
    }

    fn script(&mut self) -> Args {
        let text = "for i = 1, 4 do redis.pcall('ANOMALY.ADD', KEYS[1], ARGV[1] + i, i * 25) end \
            redis.pcall('RENAME', KEYS[1], KEYS[2]) \
            redis.pcall('ANOMALY.ADD', KEYS[1], ARGV[1], 99) \
            redis.pcall('XADD', 'raw:0', '*', 'device_id', 'lua', 'timestamp', ARGV[1], 'x', 77)";
        let (a, b) = (self.sensor(), self.sensor());
        args!["EVAL", text, 2, a, b, self.at()]
    }

    /// Readings whose judgement depends on nothing but what a sensor has learnt.
    pub(crate) fn probes(&mut self) -> Vec<Args> {
        let mut all = Vec::new();
        for db in 0..self.databases {
            all.push(args!["SELECT", db]);
            for sensor in SENSORS {
                for _ in 0..4 {
                    self.now += 1000;
                    let value = self.value();
                    all.push(args!["ANOMALY.ADD", sensor, self.now, value, "EXPLAIN"]);
                }
            }
        }
        all
    }

    /// No more silence, so that only readings decide.
    pub(crate) fn without_timers(server: &Server) {
        for pattern in PATTERNS {
            server.cmd(&set(pattern, &["nodata", "off", "expire", "off"]));
        }
    }
}

fn set(pattern: &str, settings: &[&str]) -> Args {
    let mut all = args!["ANOMALY.CONFIG", "SET", pattern];
    all.extend(settings.iter().map(|word| word.as_bytes().to_vec()));
    all
}
