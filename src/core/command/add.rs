//! `ANOMALY.ADD key timestamp|* value [EXPLAIN]`

use super::{Arg, ArgKind, Keys, Reply, Spec, write};
use crate::error::Error;
use crate::model::Outcome;
use crate::profile::Profile;
use crate::reading::{Reading, When};
use crate::reason;
use crate::units::{Side, parse_value};

pub(super) const WHEN: Arg = Arg::of(
    "timestamp-or-now",
    ArgKind::OneOf,
    &[
        Arg::new("timestamp", ArgKind::UnixTime),
        Arg::word("now", "*"),
    ],
);

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "the verdict as a simple string: `normal`, `warning`, `critical`, `warmup`, `late` or `duplicate`; with EXPLAIN a map that tells why",
    complexity: "O(1); O(R) with R rules for the first reading of a sensor and after rules have changed",
    fast: true,
    keys: Keys::One(1),
    ..write(
        "anomaly.add",
        "Scores a reading of a sensor, archives it and raises an alert when the sensor's condition changes",
        -4,
        &[
            Arg::key(),
            WHEN,
            Arg::new("value", ArgKind::Double),
            Arg::word("explain", "EXPLAIN").optional(),
        ],
    )
};

/// A reading as it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Add {
    /// Its time.
    pub when: When,
    /// Its value, finite.
    pub value: f64,
    /// Whether the reply is to explain the verdict.
    pub explain: bool,
}

impl Add {
    /// Reads `timestamp|* value`.
    ///
    /// # Errors
    /// [`Error::Timestamp`], [`Error::Value`], [`Error::NotFinite`].
    #[inline(always)]
    pub fn item(when: &[u8], value: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            when: When::parse(when)?,
            value: parse_value(value)?,
            explain: false,
        })
    }

    /// Reads what follows the key; the option may be absent.
    ///
    /// # Errors
    /// Those of [`Self::item`], and [`Error::Argument`] for an unknown option.
    #[inline(always)]
    pub fn parse(when: &[u8], value: &[u8], option: Option<&[u8]>) -> Result<Self, Error> {
        let item = Self::item(when, value)?;
        match option {
            None => Ok(item),
            Some(word) if word.eq_ignore_ascii_case(b"EXPLAIN") => Ok(Self {
                explain: true,
                ..item
            }),
            Some(other) => Err(Error::Argument {
                given: other.to_vec(),
                expected: "EXPLAIN or nothing",
            }),
        }
    }
}

/// The reply of EXPLAIN.
#[must_use]
pub fn explained(reading: Reading, outcome: &Outcome, profile: &Profile) -> Reply {
    let found = outcome.finding.as_ref();
    let transition = outcome.transition.as_ref();
    Reply::map([
        ("verdict", Reply::text(outcome.verdict.word())),
        ("score", Reply::Double(outcome.score())),
        (
            "kind",
            found.map_or(Reply::Null, |f| Reply::text(f.kind.word())),
        ),
        (
            "direction",
            Reply::text(found.map_or(Side::None, |f| f.side).word()),
        ),
        ("value", Reply::Double(reading.value)),
        ("expected", Reply::double(found.and_then(|f| f.expected))),
        ("lower", Reply::double(found.and_then(|f| f.lower))),
        ("upper", Reply::double(found.and_then(|f| f.upper))),
        ("threshold", Reply::double(found.map(|f| f.threshold))),
        (
            "event",
            transition.map_or(Reply::Null, |(event, _)| Reply::text(event.word())),
        ),
        (
            "episode",
            transition.map_or(Reply::Null, |(_, episode)| Reply::text(episode.name())),
        ),
        ("timestamp", Reply::Int(reading.at.millis())),
        (
            "reason",
            Reply::text(reason::of_outcome(reading, outcome, profile)),
        ),
    ])
}
