//! Entries in every form a producer can add them, each with what must come of it.

use anomaly_tests::{Args, args};

/// splitmix64: the same traffic from the same seed on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What the last reply of a [`Unit`] must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// No error, not nil.
    Done,
    Refused,
    Nil,
    /// Not asked for: BGREWRITEAOF may be running already.
    Anything,
}

/// Commands that take effect together or not at all, and the effect.
pub(crate) struct Unit {
    pub(crate) commands: Vec<Args>,
    pub(crate) expected: Expected,
    /// Streams that get an entry, once for each.
    pub(crate) streams: Vec<String>,
    /// Sensor and time of each reading.
    pub(crate) readings: Vec<(String, i64)>,
    /// The sensor whose reading has the time of the entry's id, which the reply tells.
    pub(crate) by_id: Option<String>,
    /// The note in each entry of the dead letters.
    pub(crate) dead: Vec<String>,
}

impl Unit {
    /// Commands without a reading.
    pub(crate) fn without(commands: Vec<Args>, expected: Expected) -> Self {
        Self {
            commands,
            expected,
            streams: Vec::new(),
            readings: Vec::new(),
            by_id: None,
            dead: Vec::new(),
        }
    }
}

/// One entry: arguments of XADD, and what must come of it.
struct Entry {
    stream: String,
    id: String,
    fields: Args,
    readings: Vec<(String, i64)>,
    dead: Option<String>,
}

/// The time of the first entry.
const BASE: i64 = 1_700_000_000_000;
const METRICS: [&str; 4] = ["temperature", "humidity", "pressure", "power"];

/// The library that FCALL calls.
pub(crate) const LIBRARY: &str = "#!lua name=producers
redis.register_function('add', function(keys, args)
  return redis.call('XADD', keys[1], unpack(args))
end)";

/// How streams are watched.
pub(crate) fn watches() -> Vec<Args> {
    let set = "ANOMALY.WATCH";
    vec![
        args![set, "SET", "raw:*"],
        args![
            set,
            "SET",
            "pair:*",
            "METRIC",
            "metric_type",
            "VALUE",
            "value"
        ],
        args![set, "SET", "doc:*", "JSON", "data"],
        args![set, "SET", "one:*", "KEY", "$stream:$metric"],
        args![set, "SET", "*:dead", "KEY", "$stream:$metric"],
    ]
}

pub(crate) struct Traffic {
    pub(crate) dice: Dice,
    /// Entries so far: the next one's time and note.
    made: i64,
    newest: Option<(Args, String, i64)>,
}

impl Traffic {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            made: 0,
            newest: None,
        }
    }

    /// The next unit. With `unique` no two readings have one time, so that the series tells which units took effect.
    pub(crate) fn unit(&mut self, unique: bool) -> Unit {
        match self.dice.below(40) {
            0 => self.refused(),
            1 => Unit::without(
                vec![args![
                    "XADD",
                    "raw:missing",
                    "NOMKSTREAM",
                    "*",
                    "device_id",
                    "x",
                    "t",
                    1
                ]],
                Expected::Nil,
            ),
            2..5 => self.transaction(),
            5 if !unique => self.by_id(),
            6 | 7 if !unique => self.again(),
            8 => {
                // The script fails, but what it has added stays.
                let mut unit = self.script(
                    "redis.call('XADD', KEYS[1], unpack(ARGV)) return redis.error_reply('ERR no')",
                );
                unit.expected = Expected::Refused;
                unit
            }
            9..12 => self.script("return redis.call('XADD', KEYS[1], unpack(ARGV))"),
            12..15 => {
                let entry = self.entry();
                self.with(entry, |stream, rest| {
                    [args!["FCALL", "add", 1, stream], rest].concat()
                })
            }
            _ => {
                let entry = self.entry();
                self.with(entry, |stream, rest| [args!["XADD", stream], rest].concat())
            }
        }
    }

    fn script(&mut self, text: &'static str) -> Unit {
        let entry = self.entry();
        self.with(entry, |stream, rest| {
            [args!["EVAL", text, 1, stream], rest].concat()
        })
    }

    fn with(&mut self, entry: Entry, command: impl Fn(&str, Args) -> Args) -> Unit {
        let rest = self.arguments(&entry);
        let mut unit = Unit::without(vec![command(&entry.stream, rest)], Expected::Done);
        unit.take(entry);
        unit
    }

    /// Trimming, id and fields.
    fn arguments(&mut self, entry: &Entry) -> Args {
        let mut all = match self.dice.below(8) {
            0 => args!["MAXLEN", 0],
            1 => args!["MAXLEN", 1],
            2 => args!["MAXLEN", "~", 50],
            3 => args!["NOMKSTREAM", "MAXLEN", "=", 5],
            _ => args![],
        };
        all.extend(args![&entry.id]);
        all.extend(entry.fields.iter().cloned());
        all
    }

    fn transaction(&mut self) -> Unit {
        let mut unit = Unit::without(vec![args!["MULTI"]], Expected::Done);
        for _ in 0..=self.dice.below(3) {
            let entry = self.entry();
            let rest = self.arguments(&entry);
            unit.commands
                .push([args!["XADD", &entry.stream], rest].concat());
            unit.take(entry);
        }
        unit.commands.push(args!["EXEC"]);
        unit
    }

    fn refused(&mut self) -> Unit {
        let command = match self.dice.below(3) {
            0 => args!["XADD", "raw:0", "0-0", "device_id", "x", "t", 1],
            1 => args!["XADD", "one:0", "1-1", "t", 1],
            _ => args!["XADD", "raw:string", "*", "device_id", "x", "t", 1],
        };
        Unit::without(vec![command], Expected::Refused)
    }

    /// An entry without a time of its own.
    fn by_id(&mut self) -> Unit {
        let value = self.dice.below(100);
        let command = args!["XADD", "raw:0", "*", "device_id", "clock", "t", value];
        let mut unit = Unit::without(vec![command], Expected::Done);
        unit.streams.push("raw:0".into());
        unit.by_id = Some("sensor:clock:t".into());
        unit
    }

    /// The newest plain reading once more, word for word.
    fn again(&mut self) -> Unit {
        let Some((fields, sensor, at)) = self.newest.clone() else {
            return self.unit(true);
        };
        let entry = Entry {
            stream: "raw:0".into(),
            id: "*".into(),
            fields,
            readings: vec![(sensor, at)],
            dead: None,
        };
        self.with(entry, |stream, rest| [args!["XADD", stream], rest].concat())
    }

    fn value(&mut self) -> u64 {
        self.dice.below(100)
    }

    fn entry(&mut self) -> Entry {
        self.made += 1;
        // One in eight is late, by a time that nobody else has.
        let late = if self.dice.below(8) == 0 { 500_500 } else { 0 };
        let at = BASE + self.made * 1000 - late;
        let mut entry = Entry {
            stream: format!("raw:{}", self.dice.below(2)),
            id: "*".into(),
            fields: args![],
            readings: Vec::new(),
            dead: None,
        };
        let kind = self.dice.below(60);
        match kind {
            0..6 => {
                let (device, metric) = (
                    format!("w{}", self.dice.below(2)),
                    self.dice.one_of(&METRICS),
                );
                entry.stream = "pair:0".into();
                entry.fields = args![
                    "sensor_id",
                    &device,
                    "metric_type",
                    metric,
                    "value",
                    self.value(),
                    "timestamp",
                    at
                ];
                entry.readings = vec![(format!("sensor:{device}:{metric}"), at)];
            }
            6..12 => {
                let (a, b) = (self.value(), self.value());
                entry.stream = "doc:0".into();
                entry.fields = args![
                    "data",
                    format!(
                        r#"{{"device_id":"j","temperature":{a},"humidity":{b},"timestamp":{at}}}"#
                    )
                ];
                entry.readings = ["temperature", "humidity"]
                    .map(|m| (format!("sensor:j:{m}"), at))
                    .into();
            }
            12..18 => {
                // An id is its time, and cannot be late.
                let at = BASE + self.made * 1000;
                entry.stream = "one:0".into();
                entry.id = format!("{at}-1");
                entry.fields = args!["temp", self.value()];
                entry.readings = vec![("one:0:temp".into(), at)];
            }
            18..24 => self.bad(&mut entry, at),
            _ => {
                let device = match kind {
                    24 => "wide".to_owned(),
                    _ => format!("d{}", self.dice.below(3)),
                };
                entry.fields = args!["device_id", &device, "timestamp", at];
                let metrics = match kind {
                    24 => 100,
                    25..45 => 1,
                    _ => 1 + self.dice.below(4),
                };
                for n in 0..metrics {
                    let metric = METRICS
                        .get(n as usize)
                        .map_or_else(|| format!("m{n}"), |&metric| metric.into());
                    entry.fields.extend(args![&metric, self.value()]);
                    entry
                        .readings
                        .push((format!("sensor:{device}:{metric}"), at));
                }
                match kind {
                    24 => {
                        for n in entry.fields.len() / 2..1000 {
                            entry.fields.extend(args![format!("text{n}"), "x"]);
                        }
                    }
                    25 => entry.fields.extend(args!["picture", vec![b'x'; 1 << 20]]),
                    _ => {}
                }
                if metrics == 1 && late == 0 && kind != 25 {
                    self.newest = Some((entry.fields.clone(), entry.readings[0].0.clone(), at));
                }
            }
        }
        entry
    }

    /// Makes it an entry that cannot be read, or not all of it.
    fn bad(&mut self, entry: &mut Entry, at: i64) {
        let note = format!("n{}", self.made);
        entry.fields = match self.dice.below(5) {
            0 => args!["timestamp", at, "temperature", 5],
            1 => args![
                "device_id",
                "d0",
                "timestamp",
                "yesterday",
                "temperature",
                5
            ],
            2 => args!["device_id", "d0", "timestamp", at, "temperature", "warm"],
            3 => {
                entry.stream = "doc:0".into();
                args!["data", "{"]
            }
            _ => {
                entry.readings = vec![("sensor:d0:temperature".into(), at)];
                args![
                    "device_id",
                    "d0",
                    "timestamp",
                    at,
                    "temperature",
                    self.value(),
                    "humidity",
                    "nan"
                ]
            }
        };
        entry.fields.extend(args!["note", &note]);
        entry.dead = Some(note);
    }
}

impl Unit {
    fn take(&mut self, entry: Entry) {
        self.streams.push(entry.stream);
        self.readings.extend(entry.readings);
        self.dead.extend(entry.dead);
    }
}
