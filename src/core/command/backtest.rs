//! `ANOMALY.BACKTEST key|MATCH pattern from to [DIFF] [name value …]`

use super::config::{SETTING, changes};
use super::{Arg, ArgKind, Keys, Reply, Spec, read};
use crate::backtest::{Fleet, Found, Report, Sides, Tally};
use crate::error::Error;
use crate::glob;
use crate::kind::Kind;
use crate::rule::Change;
use crate::units::Timestamp;

/// The word that stands for a key where many are meant.
pub const MATCH: &str = "MATCH";

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "a map: `readings`, `episodes`, `kinds` (episodes by kind), `alarm` (ms in alarm) and `list` (of the first 1000 episodes start, end, severity, kind, direction, value, score, readings, reason); with DIFF a map of two such, `candidate` and `current`; nil if there is neither such a sensor nor its series. With MATCH a map: `sensors`, `skipped` (without a readable series), `total` (the figures of all) and `each` (sensor → map as above, with 10 episodes each, for the 100 sensors with the most)",
    complexity: "O(N) with N samples of the series up to the end of the range, in the background; with MATCH also the keys of the database",
    blocking: true,
    keys: Keys::OneUnless(1, MATCH),
    ..read(
        "anomaly.backtest",
        "Tells what a rule would have done with the archived readings of a sensor, or of all sensors that match",
        -4,
        &[
            Arg::of(
                "what",
                ArgKind::OneOf,
                &[
                    Arg::key(),
                    Arg::new("pattern", ArgKind::Pattern).after(MATCH),
                ],
            ),
            Arg::new("from", ArgKind::Text),
            Arg::new("to", ArgKind::Text),
            Arg::word("diff", "DIFF").optional(),
            SETTING.multiple().optional(),
        ],
    )
};

/// Whose readings are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Those of the sensor at that key.
    Key(Vec<u8>),
    /// Those of all sensors whose key matches.
    Match(Vec<u8>),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Whose readings.
    pub target: Target,
    /// The first time that counts.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// Whether the current rule is replayed beside the candidate.
    pub diff: bool,
    /// What the candidate sets, over the sensor's own rule.
    pub changes: Vec<Change>,
}

/// Whether the first argument is a key, and not the word that takes its place.
#[must_use]
pub fn is_key(word: &[u8]) -> bool {
    !word.eq_ignore_ascii_case(MATCH.as_bytes())
}

impl Query {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`Error::Incomplete`], [`Error::Pattern`], [`Error::Range`], [`Error::Twice`], and those of the settings.
    pub fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        let needed = |name: &str, expected| Error::Incomplete {
            name: name.as_bytes().to_vec(),
            expected,
        };
        let (target, rest) = match args {
            [word, rest @ ..] if is_key(word) => (Target::Key(word.to_vec()), rest),
            [_, pattern, rest @ ..] => (Target::Match(glob::checked(pattern)?.to_vec()), rest),
            _ => return Err(needed(MATCH, "a pattern, from and to")),
        };
        let [from, to, rest @ ..] = rest else {
            return Err(needed(MATCH, "a pattern, from and to"));
        };
        let range = (
            bound("from", from, b"-", Timestamp::ZERO)?,
            bound("to", to, b"+", Timestamp::MAX)?,
        );
        if range.0 > range.1 {
            return Err(Error::Range {
                name: "to",
                given: to.to_vec(),
                expected: "a time not before 'from'",
            });
        }
        let (mut diff, mut settings, mut rest) = (false, Vec::new(), rest);
        while let [word, after @ ..] = rest {
            if word.eq_ignore_ascii_case(b"DIFF") {
                if std::mem::replace(&mut diff, true) {
                    return Err(Error::Twice {
                        name: word.to_vec(),
                    });
                }
                rest = after;
                continue;
            }
            let pair = rest.get(..2).unwrap_or(rest);
            settings.extend(changes(pair)?);
            rest = rest.get(2..).unwrap_or_default();
        }
        Ok(Self {
            target,
            from: range.0,
            to: range.1,
            diff,
            changes: settings,
        })
    }
}

/// One end of the range: a time, or the word for no bound.
fn bound(
    name: &'static str,
    given: &[u8],
    word: &[u8],
    unbounded: Timestamp,
) -> Result<Timestamp, Error> {
    if given == word {
        return Ok(unbounded);
    }
    Timestamp::parse(given).map_err(|_| Error::Range {
        name,
        given: given.to_vec(),
        expected: if word == b"-" {
            "- for the beginning, or Unix milliseconds, a whole number from 0"
        } else {
            "+ for the end, or Unix milliseconds, a whole number from 0"
        },
    })
}

/// The reply for one sensor.
#[must_use]
pub fn of_sensor(reports: Sides<Report>) -> Reply {
    sides(reports.map(|report| {
        let mut pairs = figures(&report.tally);
        let list = report.list.iter().map(found).collect();
        pairs.push(("list", Reply::Array(list)));
        Reply::map(pairs)
    }))
}

/// The reply for many.
#[must_use]
pub fn of_fleet(fleet: Fleet) -> Reply {
    let each = fleet
        .top
        .into_iter()
        .map(|(key, reports)| (key, of_sensor(reports)))
        .collect();
    Reply::map([
        ("sensors", Reply::count(fleet.sensors)),
        ("skipped", Reply::count(fleet.skipped)),
        (
            "total",
            sides(fleet.total.map(|tally| Reply::map(figures(&tally)))),
        ),
        ("each", Reply::Map(each)),
    ])
}

fn sides(sides: Sides<Reply>) -> Reply {
    match sides.current {
        None => sides.candidate,
        Some(current) => Reply::map([("candidate", sides.candidate), ("current", current)]),
    }
}

fn figures(tally: &Tally) -> Vec<(&'static str, Reply)> {
    let kinds = Kind::ALL
        .iter()
        .zip(tally.kinds)
        .filter(|(_, episodes)| *episodes > 0)
        .map(|(kind, episodes)| (kind.word(), Reply::count(episodes)));
    vec![
        ("readings", Reply::count(tally.readings)),
        ("episodes", Reply::count(tally.episodes)),
        ("kinds", Reply::map(kinds)),
        ("alarm", Reply::count(tally.alarm)),
    ]
}

fn found(found: &Found) -> Reply {
    Reply::map([
        ("start", Reply::Int(found.start.millis())),
        (
            "end",
            found
                .end
                .map_or(Reply::Null, |end| Reply::Int(end.millis())),
        ),
        ("severity", Reply::text(found.severity.word())),
        ("kind", Reply::text(found.kind.word())),
        ("direction", Reply::text(found.side.word())),
        ("value", Reply::Double(found.value)),
        ("score", Reply::Double(found.score)),
        ("readings", Reply::count(found.readings)),
        ("reason", Reply::text(&found.reason)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backtest::Replay;
    use crate::testing::{KEY, Sensor, at, get, names, reading};

    fn words(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn parsed(line: &str) -> Query {
        Query::parse(&words(line)).unwrap()
    }

    #[test]
    fn a_key_or_a_pattern_a_range_and_a_candidate_are_read() {
        let plain = parsed("s - +");
        assert_eq!(plain.target, Target::Key(b"s".to_vec()));
        assert_eq!((plain.from, plain.to), (Timestamp::ZERO, Timestamp::MAX));
        assert!(!plain.diff && plain.changes.is_empty());
        let many = parsed("match s* 5 7 diff max 3 unit inherit");
        assert_eq!(many.target, Target::Match(b"s*".to_vec()));
        assert_eq!((many.from, many.to), (at(5), at(7)));
        assert!(many.diff && many.changes.len() == 2);
        for line in ["s 5 5 max 3 DIFF", "s 5 5 DIFF max 3"] {
            let query = parsed(line);
            assert!(query.diff && query.changes.len() == 1, "{line}");
        }
        assert_eq!(
            parsed("MATCH MATCH - +").target,
            Target::Match(b"MATCH".into())
        );
    }

    #[test]
    fn an_error_names_the_argument() {
        for (line, parts) in [
            ("s x +", &["'from'", "'x'", "- for the beginning"][..]),
            ("s + +", &["'from'", "'+'"]),
            ("s - x", &["'to'", "'x'", "+ for the end"]),
            ("s - -", &["'to'", "'-'"]),
            ("s -1 +", &["'from'", "'-1'", "whole number from 0"]),
            ("s 1.5 +", &["'from'", "'1.5'"]),
            (
                "s 0 9223372036854775808",
                &["'to'", "'9223372036854775808'"],
            ),
            ("s 7 5", &["'to'", "'5'", "not before 'from'"]),
            ("MATCH - +", &["'MATCH'", "a pattern, from and to"]),
            ("s - + max", &["'max'", "value of the setting"]),
            ("s - + maxi 3", &["'maxi'", "did you mean 'max'"]),
            ("s - + max high", &["'max'", "'high'"]),
            ("s - + max 3 DIF", &["'DIF'"]),
            ("s - + DIFF diff", &["'diff'", "twice"]),
            ("s - + DIFF max", &["'max'"]),
        ] {
            let error = Query::parse(&words(line)).unwrap_err().to_string();
            assert!(error.starts_with("ERR "), "{error}");
            for part in parts {
                assert!(error.contains(part), "{line}: {error}");
            }
        }
        for line in ["", "s", "s -", "MATCH"] {
            assert!(Query::parse(&words(line)).is_err(), "{line}");
        }
    }

    fn report(settings: &str) -> Report {
        let rules = Sensor::new(settings).rules;
        let mut replay = Replay::new(KEY, rules, at(0), 10);
        for (ms, value) in [(0, 20.0), (1000, 30.5), (2000, 20.0)] {
            replay.take(reading(ms, value));
        }
        replay.finish()
    }

    #[test]
    fn the_reply_for_one_sensor_tells_figures_and_episodes() {
        let one = of_sensor(Sides {
            candidate: report("max 25 clear 1"),
            current: None,
        });
        assert_eq!(
            names(&one),
            ["readings", "episodes", "kinds", "alarm", "list"]
        );
        assert_eq!(get(&one, "readings"), &Reply::Int(3));
        assert_eq!(get(&one, "episodes"), &Reply::Int(1));
        assert_eq!(get(&one, "kinds"), &Reply::map([("range", Reply::Int(1))]));
        assert_eq!(get(&one, "alarm"), &Reply::Int(1000));
        let Reply::Array(list) = get(&one, "list") else {
            panic!("{one:?}");
        };
        assert_eq!(
            names(&list[0]),
            [
                "start",
                "end",
                "severity",
                "kind",
                "direction",
                "value",
                "score",
                "readings",
                "reason"
            ]
        );
        assert_eq!(get(&list[0], "start"), &Reply::Int(1000));
        assert_eq!(get(&list[0], "end"), &Reply::Int(2000));
        assert_eq!(get(&list[0], "value"), &Reply::Double(30.5));
        let open = of_sensor(Sides {
            candidate: report("max 25"),
            current: None,
        });
        let Reply::Array(list) = get(&open, "list") else {
            panic!("{open:?}");
        };
        assert_eq!(get(&list[0], "end"), &Reply::Null);
    }

    #[test]
    fn the_reply_compares_two_rules_side_by_side() {
        let both = || Sides {
            candidate: report("max 40"),
            current: Some(report("max 25")),
        };
        let one = of_sensor(both());
        assert_eq!(names(&one), ["candidate", "current"]);
        assert_eq!(get(get(&one, "candidate"), "episodes"), &Reply::Int(0));
        assert_eq!(get(get(&one, "current"), "episodes"), &Reply::Int(1));
        let mut fleet = Fleet::new(true);
        fleet.add(b"a", both());
        fleet.add(b"b", both());
        let many = of_fleet(fleet);
        assert_eq!(names(&many), ["sensors", "skipped", "total", "each"]);
        let total = get(&many, "total");
        assert_eq!(get(get(total, "current"), "episodes"), &Reply::Int(2));
        assert_eq!(
            names(get(total, "candidate")),
            ["readings", "episodes", "kinds", "alarm"]
        );
        assert_eq!(names(get(&many, "each")), ["a", "b"]);
        assert_eq!(get(get(&many, "each"), "b"), &one);
    }
}
