//! What a contestant is sent: commands over a fleet of sensors whose clocks go on from run to run.
//!
//! Each connection has sensors of its own, so that the readings of one arrive in order however connections overtake one
//! another. Which sensor comes next is scattered over the fleet: neighbours in a hash table or in memory are no help.

use std::io::Write as _;

use crate::bench::wire::{Work, command};
use crate::dice::Dice;

/// Milliseconds between two readings of a sensor.
const STEP: i64 = 1000;
/// Values are drawn before the clock starts.
const VALUES: usize = 4096;
/// Coprime to every fleet size used here.
const SCATTER: usize = 7919;
/// Each another order, for fleets that have another one each time.
const SCATTERS: [usize; 8] = [
    SCATTER, 104_729, 611_953, 1_299_709, 350_377, 15_485_863, 27_644_437, 86_028_121,
];

/// What the commands are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    Set,
    /// An entry as producers write them; with a `timestamp` field or without.
    Xadd {
        timed: bool,
    },
    /// The same from a producer that knows an anomaly when it sees one, and adds the alert in its stead: nobody can tell sooner.
    Told,
    TsAdd,
    /// So many series in one command.
    TsMadd(usize),
    /// The command that does nothing.
    Floor,
    /// The command that asks of the server what ADD must ask.
    Ask,
    /// The command that opens a sensor and looks at it.
    Open,
    Add,
    /// So many sensors, and readings of each, in one command.
    Madd {
        keys: usize,
        each: usize,
    },
    /// FCALL of the function of benches/zscore.lua
    Function,
}

impl Kind {
    /// Readings in one command.
    pub(crate) fn readings(self) -> usize {
        match self {
            Self::TsMadd(keys) => keys,
            Self::Madd { keys, each } => keys * each,
            _ => 1,
        }
    }

    /// A run in which each sensor has its turn once.
    pub(crate) fn one_turn(self, size: Size, sensors: usize) -> Size {
        let of_batch = size.connections * size.pipeline * self.keys_and_each().0;
        Size {
            batches: sensors.div_ceil(of_batch),
            ..size
        }
    }

    fn keys_and_each(self) -> (usize, usize) {
        match self {
            Self::TsMadd(keys) => (keys, 1),
            Self::Madd { keys, each } => (keys, each),
            _ => (1, 1),
        }
    }
}

/// One reading.
#[derive(Clone, Copy)]
struct Item {
    sensor: usize,
    at: i64,
    value: [u8; 5],
}

/// How much of a run goes where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) connections: usize,
    /// Commands that are sent before the first reply is awaited.
    pub(crate) pipeline: usize,
    /// Batches on each connection.
    pub(crate) batches: usize,
}

/// A fleet of sensors, and where its clock stands.
pub(crate) struct Fleet {
    kind: Kind,
    /// Of the keys; for entries of a stream, the stream's name and the devices' prefix.
    prefix: String,
    sensors: usize,
    now: i64,
    values: Vec<[u8; 5]>,
    drawn: usize,
    /// Where the next run begins.
    turn: usize,
    /// Times round before it.
    rounds: usize,
    scatter: usize,
    /// The sensors come in another order each time round, instead of in the same.
    pub(crate) shuffled: bool,
    /// One reading in so many is an anomaly.
    pub(crate) spikes: Option<usize>,
    /// Whether the last reading of a sensor was one.
    spiked: Vec<bool>,
}

/// The stream of the alerts that their producer adds.
pub(crate) const TOLD: &str = "bench:told";
/// Far outside of what is drawn.
const SPIKE: [u8; 5] = *b"32.50";

impl Fleet {
    pub(crate) fn new(kind: Kind, prefix: &str, sensors: usize, start: i64) -> Self {
        let mut dice = Dice::new(1, 0);
        let mut draw = || {
            let mut digits = *b"22.00";
            let cents = (dice.uniform() * 100.0) as u8;
            let [_, _, _, tens, ones] = &mut digits;
            (*tens, *ones) = (b'0' + cents / 10, b'0' + cents % 10);
            digits
        };
        let values = (0..VALUES).map(|_| draw()).collect();
        Self {
            kind,
            prefix: prefix.to_owned(),
            sensors,
            now: start,
            values,
            drawn: 0,
            turn: 0,
            rounds: 0,
            scatter: SCATTER,
            shuffled: false,
            spikes: None,
            spiked: Vec::new(),
        }
    }

    /// The same sensors in the order of their keys, to make them: what is side by side in memory then is not in a run.
    pub(crate) fn making<T>(&mut self, kind: Kind, work: impl FnOnce(&mut Self) -> T) -> T {
        let usual = std::mem::replace(&mut self.kind, kind);
        let shuffled = std::mem::take(&mut self.shuffled);
        self.scatter = 1;
        let done = work(self);
        (self.kind, self.scatter, self.shuffled) = (usual, SCATTER, shuffled);
        done
    }

    /// The key of a sensor; of an entry its device.
    pub(crate) fn name(&self, sensor: usize) -> String {
        format!("{}:{sensor:07}", self.prefix)
    }

    /// The work of one run, one for each connection. The connections are given anew in each run, so its readings are all
    /// later than those before.
    pub(crate) fn works(&mut self, size: Size) -> Vec<Work> {
        let own = (self.sensors / size.connections).max(1);
        let (keys, each) = self.kind.keys_and_each();
        let works = (0..size.connections)
            .map(|connection| self.work(connection, own, size))
            .collect();
        let turns = self.turn % own + size.batches * size.pipeline * keys;
        self.now += STEP * (turns.div_ceil(own) * each) as i64;
        self.turn = turns;
        self.rounds += turns / own;
        works
    }

    fn work(&mut self, connection: usize, own: usize, size: Size) -> Work {
        let (keys, each) = self.kind.keys_and_each();
        let mut work = Work {
            commands: size.pipeline as u64,
            ..Work::default()
        };
        let mut readings = Vec::with_capacity(keys * each);
        let mut turn = self.turn % own;
        for batch in 0..size.batches {
            for _ in 0..size.pipeline {
                readings.clear();
                for _ in 0..keys {
                    let scatter = self.scatter_of(self.rounds + turn / own);
                    let sensor = (connection * own + turn % own * scatter % own) % self.sensors;
                    let spikes = self.spikes(sensor, turn);
                    for item in 0..each {
                        let at = self.now + STEP * (turn / own * each + item) as i64;
                        let value = if spikes { SPIKE } else { self.value() };
                        readings.push(Item { sensor, at, value });
                        if spikes {
                            work.spikes.push((batch, self.name(sensor), at));
                        }
                    }
                    turn += 1;
                }
                self.encode(&mut work.bytes, &readings);
            }
            work.ends.push(work.bytes.len());
        }
        work
    }

    /// By what places are multiplied in a time round.
    fn scatter_of(&self, round: usize) -> usize {
        let of_round = SCATTERS.get(round % SCATTERS.len());
        of_round
            .filter(|_| self.shuffled)
            .copied()
            .unwrap_or(self.scatter)
    }

    /// Whether this reading of a sensor is an anomaly: never two in a row, which would be one.
    fn spikes(&mut self, sensor: usize, turn: usize) -> bool {
        let Some(every) = self.spikes else {
            return false;
        };
        self.spiked.resize(self.sensors, false);
        let Some(spiked) = self.spiked.get_mut(sensor) else {
            return false;
        };
        *spiked = turn.is_multiple_of(every) && !*spiked;
        *spiked
    }

    fn value(&mut self) -> [u8; 5] {
        self.drawn = (self.drawn + 1) % VALUES;
        self.values.get(self.drawn).copied().unwrap_or(*b"22.50")
    }

    fn encode(&self, to: &mut Vec<u8>, readings: &[Item]) {
        let Some(&Item { sensor, at, value }) = readings.first() else {
            return;
        };
        let (key, at) = (self.name(sensor), at.to_string());
        let (key, at) = (key.as_bytes(), at.as_bytes());
        match self.kind {
            Kind::Ping => command(to, &[b"PING"]),
            Kind::Set => command(to, &[b"SET", key, &value]),
            Kind::TsAdd => command(to, &[b"TS.ADD", key, at, &value]),
            Kind::Floor => command(to, &[b"bench.floor", key, at, &value]),
            Kind::Ask => command(to, &[b"bench.ask", key, at, &value]),
            Kind::Open => command(to, &[b"bench.open", key, at, &value]),
            Kind::Add => command(to, &[b"ANOMALY.ADD", key, at, &value]),
            Kind::Function => command(to, &[b"FCALL", b"bench_zscore", b"1", key, at, &value]),
            Kind::TsMadd(_) => self.encode_many(to, b"TS.MADD", readings),
            Kind::Madd { .. } => self.encode_many(to, b"ANOMALY.MADD", readings),
            Kind::Told if value == SPIKE => {
                let mut words: Vec<&[u8]> = vec![b"XADD", TOLD.as_bytes(), b"MAXLEN", b"~"];
                words.extend([&b"100000"[..], b"*", b"sensor", key, b"ts", at]);
                words.extend([&b"value"[..], &value]);
                command(to, &words);
            }
            Kind::Xadd { .. } | Kind::Told => {
                let timed = self.kind != Kind::Xadd { timed: false };
                let stream = self.prefix.as_bytes();
                // Nothing may be trimmed before a worker has read it.
                let most: &[u8] = if self.spikes.is_some() {
                    b"1000000"
                } else {
                    b"10000"
                };
                let mut words: Vec<&[u8]> = vec![b"XADD", stream, b"MAXLEN", b"~", most, b"*"];
                words.extend([&b"device_id"[..], key, b"temperature", &value]);
                if timed {
                    words.extend([&b"timestamp"[..], at]);
                }
                command(to, &words);
            }
        }
    }

    fn encode_many(&self, to: &mut Vec<u8>, name: &[u8], readings: &[Item]) {
        let _ = write!(to, "*{}\r\n${}\r\n", 1 + 3 * readings.len(), name.len());
        to.extend_from_slice(name);
        to.extend_from_slice(b"\r\n");
        for &Item { sensor, at, value } in readings {
            let key = self.name(sensor);
            let _ = write!(to, "${}\r\n{key}\r\n$13\r\n{at:013}\r\n$5\r\n", key.len());
            to.extend_from_slice(&value);
            to.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fleet, Kind, Size};

    const SIZE: Size = Size {
        connections: 4,
        pipeline: 3,
        batches: 50,
    };

    /// Key and time of each reading on each connection, in order.
    fn readings(kind: Kind, shuffled: bool) -> Vec<Vec<(String, i64)>> {
        let mut fleet = Fleet::new(kind, "k", 100, 1_700_000_000_000);
        fleet.shuffled = shuffled;
        let mut all = vec![Vec::new(); SIZE.connections];
        for _ in 0..3 {
            for (mine, work) in all.iter_mut().zip(fleet.works(SIZE)) {
                let text = String::from_utf8(work.bytes).unwrap();
                let words: Vec<&str> = text
                    .split("\r\n")
                    .filter(|w| !w.starts_with(['*', '$']))
                    .collect();
                let keys = words
                    .iter()
                    .enumerate()
                    .filter(|(_, w)| w.starts_with("k:"));
                mine.extend(
                    keys.map(|(at, key)| (key.to_string(), words[at + 1].parse().unwrap())),
                );
            }
        }
        all
    }

    #[test]
    fn a_sensor_belongs_to_one_connection_and_its_clock_only_goes_forward() {
        for (kind, count) in [
            (Kind::Add, 450),
            (Kind::Madd { keys: 10, each: 1 }, 4500),
            (Kind::Madd { keys: 1, each: 50 }, 22500),
            (Kind::TsMadd(50), 22500),
        ] {
            for shuffled in [false, true] {
                let mut seen = std::collections::HashMap::new();
                for (connection, mine) in readings(kind, shuffled).iter().enumerate() {
                    assert_eq!(mine.len(), count, "{kind:?}");
                    for (key, at) in mine {
                        if let Some((owner, last)) = seen.insert(key.clone(), (connection, *at)) {
                            assert!(
                                owner == connection && last < *at,
                                "{kind:?} {key} {last} {at}"
                            );
                        }
                    }
                }
                assert_eq!(seen.len(), 100, "{kind:?}");
            }
        }
    }

    #[test]
    fn sensors_come_in_the_same_order_each_time_unless_they_are_to_come_in_another() {
        for shuffled in [false, true] {
            let all = readings(Kind::Add, shuffled);
            // 25 sensors of each connection.
            let [one, other, ..] = &all[0].chunks(25).collect::<Vec<_>>()[..] else {
                panic!("450 readings are 18 times round");
            };
            let keys = |round: &[(String, i64)]| -> Vec<String> {
                round.iter().map(|(key, _)| key.clone()).collect()
            };
            assert_eq!(keys(one) == keys(other), !shuffled);
        }
    }

    #[test]
    fn a_run_of_a_single_time_round_has_another_order_than_the_run_before_if_it_is_to_have_one() {
        let once = Size {
            connections: 1,
            pipeline: 10,
            batches: 10,
        };
        for shuffled in [false, true] {
            let mut fleet = Fleet::new(Kind::Set, "k", 100, 1_700_000_000_000);
            fleet.shuffled = shuffled;
            let mut run = || -> Vec<String> {
                let bytes = fleet.works(once).remove(0).bytes;
                let text = String::from_utf8(bytes).unwrap();
                let words = text.split("\r\n").filter(|word| word.starts_with("k:"));
                words.map(str::to_owned).collect()
            };
            assert_eq!(run() == run(), !shuffled);
        }
    }
}
