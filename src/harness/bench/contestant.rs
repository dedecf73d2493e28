//! Who takes part: what each sends, which rule judges it, and whom it is compared with.

use crate::bench::load::{Kind, TOLD};

/// Which server a contestant runs on. All have RedisTimeSeries and the command that does nothing, and each few fleets: what is
/// said of 3,200 sensors is not to be said of a server that has a hundred thousand others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Without the module.
    Plain,
    /// Without the module, for those who score by themselves.
    Outside,
    /// With the module; nothing is watched or archived there.
    Module,
    /// With the module; everything is archived there, in series.
    Series,
    /// With the module; anomalies come up there.
    Alerts,
    /// With the module, and watched streams.
    Watched,
    /// With the module, for big fleets.
    Big,
    /// With the module and so many rules.
    Rules(usize),
}

impl Place {
    /// Whether its server has the module.
    pub(crate) fn has_module(self) -> bool {
        !matches!(self, Self::Plain | Self::Outside)
    }
}

/// Who takes readings out of a stream and scores them, outside of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worker {
    /// benches/worker.py
    Python,
    /// `worker.rs` here.
    Rust,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Contestant {
    /// For `--only`.
    pub(crate) name: &'static str,
    /// For the table.
    pub(crate) title: &'static str,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    /// Settings of the rule of its sensors.
    pub(crate) rule: &'static str,
    /// Whom it is compared with.
    pub(crate) of: &'static str,
    /// Sensors, where it is not the usual number.
    pub(crate) sensors: Option<usize>,
    /// Its sensors come in another order each time round.
    pub(crate) shuffled: bool,
    /// One reading in so many is an anomaly, and each must be told of.
    pub(crate) spikes: Option<usize>,
    pub(crate) worker: Option<Worker>,
}

const LIMITS: &str = "min 0 max 100 archive no";
const LIMITS_KEPT: &str = "min 0 max 100 archive yes";
const ZSCORE: &str = "zscore 3 window 30 archive no";
const ZSCORE_KEPT: &str = "zscore 3 window 30 archive yes";
const AUTO: &str = "auto on archive no";
const AUTO_KEPT: &str = "auto on archive yes";
/// What the workers and the function do too: an abnormal reading is told of and not learnt, a normal one ends it.
const ALERTS: &str = "zscore 6 window 30 learn no clear 1 archive yes";
const FIFTY: Kind = Kind::Madd { keys: 50, each: 1 };
const TIMED: Kind = Kind::Xadd { timed: true };
/// Prime, so that all sensors have their turn.
const RARE: usize = 997;
/// The worker in Python is slow: with few sensors their windows fill in bearable time. Fewer sensors are no harder.
const FEW: usize = 200;

#[rustfmt::skip]
pub(crate) const ALL: &[Contestant] = &[
    one("ping", "PING", Place::Module, Kind::Ping, "", ""),
    one("set", "SET", Place::Module, Kind::Set, "", ""),
    one("floor", "a command that does nothing", Place::Module, Kind::Floor, "", "set"),
    one("ask", "a command that asks what ADD must ask", Place::Module, Kind::Ask, "", "floor"),
    one("xadd", "XADD", Place::Plain, Kind::Xadd { timed: false }, "", "set"),
    one("xadd-time", "XADD, with a time", Place::Plain, TIMED, "", "set"),
    one("ts-add", "TS.ADD", Place::Series, Kind::TsAdd, "", "set"),
    one("ts-madd50", "TS.MADD, 50 series", Place::Series, Kind::TsMadd(50), "", "set"),
    one("add-limits", "ADD limits", Place::Module, Kind::Add, LIMITS, "set"),
    one("add-zscore", "ADD zscore", Place::Module, Kind::Add, ZSCORE, "set"),
    one("add-auto", "ADD auto", Place::Module, Kind::Add, AUTO, "set"),
    one("add-recent60", "ADD zscore, recent 60", Place::Module, Kind::Add, "zscore 3 window 30 recent 60 archive no", "add-zscore"),
    one("add-limits-series", "ADD limits + series", Place::Series, Kind::Add, LIMITS_KEPT, "ts-add"),
    one("add-zscore-series", "ADD zscore + series", Place::Series, Kind::Add, ZSCORE_KEPT, "ts-add"),
    one("add-auto-series", "ADD auto + series", Place::Series, Kind::Add, AUTO_KEPT, "ts-add"),
    one("add-shuffled", "ADD zscore, another order each time", Place::Module, Kind::Add, ZSCORE, "add-zscore").shuffled(),
    one("madd10", "MADD zscore, 10 keys", Place::Module, Kind::Madd { keys: 10, each: 1 }, ZSCORE, "add-zscore"),
    one("madd50", "MADD zscore, 50 keys", Place::Module, FIFTY, ZSCORE, "add-zscore"),
    one("madd1x50", "MADD zscore, 1 key × 50", Place::Module, Kind::Madd { keys: 1, each: 50 }, ZSCORE, "add-zscore"),
    one("madd10-series", "MADD zscore + series, 10 keys", Place::Series, Kind::Madd { keys: 10, each: 1 }, ZSCORE_KEPT, "ts-add"),
    one("madd50-series", "MADD zscore + series, 50 keys", Place::Series, FIFTY, ZSCORE_KEPT, "ts-madd50"),
    one("madd1x50-series", "MADD zscore + series, 1 key × 50", Place::Series, Kind::Madd { keys: 1, each: 50 }, ZSCORE_KEPT, "ts-madd50"),
    one("unwatched", "XADD, not watched", Place::Watched, Kind::Xadd { timed: false }, "", "xadd"),
    one("scored", "XADD, scored", Place::Watched, Kind::Xadd { timed: false }, ZSCORE, "xadd"),
    one("archived", "XADD, scored and archived", Place::Watched, Kind::Xadd { timed: false }, ZSCORE_KEPT, "xadd"),
    one("scored-time", "XADD with a time, scored", Place::Watched, TIMED, ZSCORE, "xadd-time"),
    one("archived-time", "XADD with a time, scored, archived", Place::Watched, TIMED, ZSCORE_KEPT, "xadd-time"),
    one("add-alerts", "ADD + series, alerts", Place::Alerts, Kind::Add, ALERTS, "set").spiked(RARE),
    one("madd50-alerts", "MADD + series, 50 keys, alerts", Place::Alerts, FIFTY, ALERTS, "add-alerts").spiked(RARE),
    one("xadd-alerts", "XADD, archived, alerts", Place::Watched, TIMED, ALERTS, "add-alerts").spiked(RARE),
    one("told", "XADD, the producer knows and tells", Place::Outside, Kind::Told, "", "add-alerts").spiked(RARE),
    one("function", "Redis Function in Lua", Place::Outside, Kind::Function, "", "add-alerts").spiked(RARE),
    one("worker-rust", "worker in Rust", Place::Outside, TIMED, "", "add-alerts").spiked(RARE).worker(Worker::Rust),
    one("worker-python", "worker in Python", Place::Outside, TIMED, "", "add-alerts").spiked(97).worker(Worker::Python).sensors(FEW),
    one("set-1k", "SET, 1,000 keys", Place::Big, Kind::Set, "", "").sensors(1000),
    one("set-1m", "SET, 1,000,000 keys", Place::Big, Kind::Set, "", "set-1k").sensors(1_000_000),
    one("open-1k", "a command that opens a sensor, of 1,000", Place::Big, Kind::Open, ZSCORE, "set-1k").sensors(1000),
    one("open-1m", "a command that opens a sensor, of 1,000,000", Place::Big, Kind::Open, ZSCORE, "open-1k").sensors(1_000_000),
    one("sensors-1k", "ADD zscore, 1,000 sensors", Place::Big, Kind::Add, ZSCORE, "set-1k").sensors(1000),
    one("sensors-10k", "ADD zscore, 10,000 sensors", Place::Big, Kind::Add, ZSCORE, "sensors-1k").sensors(10_000),
    one("sensors-100k", "ADD zscore, 100,000 sensors", Place::Big, Kind::Add, ZSCORE, "sensors-1k").sensors(100_000),
    one("sensors-1m", "ADD zscore, 1,000,000 sensors", Place::Big, Kind::Add, ZSCORE, "sensors-1k").sensors(1_000_000),
    one("shuffled-1m", "ADD zscore, 1,000,000, another order each time", Place::Big, Kind::Add, ZSCORE, "sensors-1k").sensors(1_000_000).shuffled(),
    one("madd-1k", "MADD zscore, 50 keys, 1,000 sensors", Place::Big, FIFTY, ZSCORE, "sensors-1k").sensors(1000),
    one("madd-1m", "MADD zscore, 50 keys, 1,000,000 sensors", Place::Big, FIFTY, ZSCORE, "madd-1k").sensors(1_000_000),
    one("rules-1", "ADD zscore, 1 rule", Place::Rules(1), Kind::Add, ZSCORE, ""),
    one("rules-10", "ADD zscore, 10 rules", Place::Rules(10), Kind::Add, ZSCORE, "rules-1"),
    one("rules-100", "ADD zscore, 100 rules", Place::Rules(100), Kind::Add, ZSCORE, "rules-1"),
    one("rules-1000", "ADD zscore, 1,000 rules", Place::Rules(1000), Kind::Add, ZSCORE, "rules-1"),
];

const fn one(
    name: &'static str,
    title: &'static str,
    place: Place,
    kind: Kind,
    rule: &'static str,
    of: &'static str,
) -> Contestant {
    Contestant {
        name,
        title,
        place,
        kind,
        rule,
        of,
        sensors: None,
        shuffled: false,
        spikes: None,
        worker: None,
    }
}

impl Contestant {
    const fn sensors(mut self, sensors: usize) -> Self {
        self.sensors = Some(sensors);
        self
    }

    const fn shuffled(mut self) -> Self {
        self.shuffled = true;
        self
    }

    const fn spiked(mut self, every: usize) -> Self {
        self.spikes = Some(every);
        self
    }

    const fn worker(mut self, worker: Worker) -> Self {
        self.worker = Some(worker);
        self
    }

    /// Whether it runs with a pipeline of 32 alone: what it shows is something else than the pipeline's effect.
    pub(crate) fn one_pipeline(&self) -> bool {
        self.spikes.is_some() || matches!(self.place, Place::Big | Place::Rules(_))
    }

    /// The stream of its own alerts; `None` where the module tells.
    pub(crate) fn alerts(&self) -> Option<String> {
        if self.kind == Kind::Told {
            return Some(TOLD.to_owned());
        }
        (self.spikes.is_some() && self.rule.is_empty()).then(|| format!("bench:{}", self.name))
    }

    /// Whether it is nothing without RedisTimeSeries.
    pub(crate) fn needs_series(&self) -> bool {
        let own = matches!(self.kind, Kind::TsAdd | Kind::TsMadd(_));
        own || self.alerts().is_some() || self.rule.ends_with("archive yes")
    }
}

/// For clap: the name of a contestant.
pub(crate) fn parse(text: &str) -> Result<&'static Contestant, String> {
    let found = ALL.iter().find(|one| one.name == text);
    let names = || {
        ALL.iter()
            .map(|one| one.name)
            .collect::<Vec<_>>()
            .join(", ")
    };
    found.ok_or_else(|| format!("no contestant is called {text:?}; there are {}", names()))
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn everybody_is_compared_with_somebody_earlier() {
        for (index, one) in ALL.iter().enumerate() {
            let before = &ALL[..index];
            assert!(before.iter().all(|other| other.name != one.name));
            assert!(
                one.of.is_empty() || before.iter().any(|other| other.name == one.of),
                "{}",
                one.name
            );
        }
    }
}
