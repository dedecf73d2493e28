//! Who takes part: what each sends, which rule judges it, and whom it is compared with.

use crate::bench::load::Kind;

/// Which server a contestant runs on. All have RedisTimeSeries and the command that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Without the module.
    Plain,
    /// With the module; nothing is watched there.
    Module,
    /// With the module, and watched streams.
    Watched,
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
}

const LIMITS: &str = "min 0 max 100 archive no";
const LIMITS_KEPT: &str = "min 0 max 100 archive yes";
const ZSCORE: &str = "zscore 3 window 30 archive no";
const ZSCORE_KEPT: &str = "zscore 3 window 30 archive yes";
const AUTO: &str = "auto on archive no";
const AUTO_KEPT: &str = "auto on archive yes";
const FIFTY: Kind = Kind::Madd { keys: 50, each: 1 };

#[rustfmt::skip]
pub(crate) const ALL: &[Contestant] = &[
    one("ping", "PING", Place::Module, Kind::Ping, "", ""),
    one("set", "SET", Place::Module, Kind::Set, "", ""),
    one("floor", "a command that does nothing", Place::Module, Kind::Floor, "", "set"),
    one("xadd", "XADD", Place::Plain, Kind::Xadd { timed: false }, "", "set"),
    one("xadd-time", "XADD, with a time", Place::Plain, Kind::Xadd { timed: true }, "", "set"),
    one("ts-add", "TS.ADD", Place::Module, Kind::TsAdd, "", "set"),
    one("ts-madd50", "TS.MADD, 50 series", Place::Module, Kind::TsMadd(50), "", "set"),
    one("add-limits", "ADD limits", Place::Module, Kind::Add, LIMITS, "set"),
    one("add-zscore", "ADD zscore", Place::Module, Kind::Add, ZSCORE, "set"),
    one("add-auto", "ADD auto", Place::Module, Kind::Add, AUTO, "set"),
    one("add-recent60", "ADD zscore, recent 60", Place::Module, Kind::Add, "zscore 3 window 30 recent 60 archive no", "add-zscore"),
    one("add-limits-series", "ADD limits + series", Place::Module, Kind::Add, LIMITS_KEPT, "ts-add"),
    one("add-zscore-series", "ADD zscore + series", Place::Module, Kind::Add, ZSCORE_KEPT, "ts-add"),
    one("add-auto-series", "ADD auto + series", Place::Module, Kind::Add, AUTO_KEPT, "ts-add"),
    one("madd10", "MADD zscore, 10 keys", Place::Module, Kind::Madd { keys: 10, each: 1 }, ZSCORE, "add-zscore"),
    one("madd50", "MADD zscore, 50 keys", Place::Module, FIFTY, ZSCORE, "add-zscore"),
    one("madd1x50", "MADD zscore, 1 key × 50", Place::Module, Kind::Madd { keys: 1, each: 50 }, ZSCORE, "add-zscore"),
    one("madd10-series", "MADD zscore + series, 10 keys", Place::Module, Kind::Madd { keys: 10, each: 1 }, ZSCORE_KEPT, "ts-add"),
    one("madd50-series", "MADD zscore + series, 50 keys", Place::Module, FIFTY, ZSCORE_KEPT, "ts-madd50"),
    one("madd1x50-series", "MADD zscore + series, 1 key × 50", Place::Module, Kind::Madd { keys: 1, each: 50 }, ZSCORE_KEPT, "ts-madd50"),
    one("unwatched", "XADD, not watched", Place::Watched, Kind::Xadd { timed: false }, "", "xadd"),
    one("scored", "XADD, scored", Place::Watched, Kind::Xadd { timed: false }, ZSCORE, "xadd"),
    one("archived", "XADD, scored and archived", Place::Watched, Kind::Xadd { timed: false }, ZSCORE_KEPT, "xadd"),
    one("scored-time", "XADD with a time, scored", Place::Watched, Kind::Xadd { timed: true }, ZSCORE, "xadd-time"),
    one("archived-time", "XADD with a time, scored and archived", Place::Watched, Kind::Xadd { timed: true }, ZSCORE_KEPT, "xadd-time"),
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
    }
}

impl Contestant {
    /// Whether it is nothing without RedisTimeSeries.
    pub(crate) fn needs_series(&self) -> bool {
        matches!(self.kind, Kind::TsAdd | Kind::TsMadd(_)) || self.rule.ends_with("archive yes")
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
