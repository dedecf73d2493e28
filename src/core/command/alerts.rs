//! `ANOMALY.ALERTS [MATCH pattern] [SEVERITY warning|critical] [COUNT n]` and `ANOMALY.ALERTS STREAMS`

use super::{Arg, ArgKind, Reply, Spec, read};
use crate::episode::{Episode, Phase};
use crate::error::Error;
use crate::glob;
use crate::model::Model;
use crate::units::Severity;

const FILTER: Arg = Arg::of(
    "filter",
    ArgKind::Block,
    &[
        Arg::new("pattern", ArgKind::Pattern)
            .after("MATCH")
            .optional(),
        Arg::of(
            "severity",
            ArgKind::OneOf,
            &[
                Arg::word("warning", "warning"),
                Arg::word("critical", "critical"),
            ],
        )
        .after("SEVERITY")
        .optional(),
        Arg::new("n", ArgKind::Integer).after("COUNT").optional(),
    ],
);

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "an array of maps, one for each open episode of a sensor that the user may read; with STREAMS an array of keys, likewise",
    complexity: "O(N) with N open episodes",
    ..read(
        "anomaly.alerts",
        "Lists the episodes that are open on this server, or with STREAMS its alert streams",
        -1,
        &[Arg::of(
            "what",
            ArgKind::OneOf,
            &[Arg::word("streams", "STREAMS"), FILTER],
        )
        .optional()],
    )
};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The alert streams.
    Streams,
    /// Open episodes.
    Open(Filter),
}

/// Which open episodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pattern: Option<Vec<u8>>,
    severity: Option<Severity>,
    /// At most so many.
    pub count: Option<usize>,
}

impl Query {
    /// Reads the arguments.
    ///
    /// # Errors
    /// [`Error::Argument`], [`Error::Incomplete`], [`Error::Pattern`].
    pub fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        if let [word] = args
            && word.eq_ignore_ascii_case(b"STREAMS")
        {
            return Ok(Self::Streams);
        }
        let mut filter = Filter::default();
        for pair in args.chunks(2) {
            let (word, value) = match pair {
                [word, value] => (*word, Some(*value)),
                [word] => (*word, None),
                _ => continue,
            };
            let must = |expected| Error::Incomplete {
                name: word.to_vec(),
                expected,
            };
            if word.eq_ignore_ascii_case(b"MATCH") {
                let pattern = value.ok_or(must("a pattern"))?;
                filter.pattern = Some(glob::checked(pattern)?.to_vec());
            } else if word.eq_ignore_ascii_case(b"SEVERITY") {
                let severity = value.and_then(Severity::named);
                filter.severity = Some(severity.ok_or(must("warning or critical"))?);
            } else if word.eq_ignore_ascii_case(b"COUNT") {
                let count = value.and_then(|n| std::str::from_utf8(n).ok()?.parse().ok());
                filter.count = Some(
                    count
                        .filter(|n| *n > 0)
                        .ok_or(must("a whole number above 0"))?,
                );
            } else {
                let expected =
                    "STREAMS alone, or MATCH pattern, SEVERITY warning|critical, COUNT n";
                return Err(Error::Argument {
                    given: word.to_vec(),
                    expected,
                });
            }
        }
        Ok(Self::Open(filter))
    }
}

impl Filter {
    /// Whether the sensor at `key` is asked for with that episode.
    #[must_use]
    pub fn wants(&self, key: &[u8], episode: &Episode) -> bool {
        self.severity
            .is_none_or(|severity| severity == episode.severity)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// The word for where an alarm stands: `normal`, `pending` (abnormal, but not for long enough), `firing`, `silent`
/// (reopened during the cooldown) or `cooldown`.
pub(super) fn state(model: &Model) -> &'static str {
    match model.alarm.episode.as_deref().map(|episode| episode.phase) {
        Some(Phase::Firing) => "firing",
        Some(Phase::Silent(_)) => "silent",
        _ if model.alarm.abnormal_run > 0 => "pending",
        Some(Phase::Cooling(_)) => "cooldown",
        None => "normal",
    }
}

/// The row of a sensor whose episode is open, in database `db`.
#[must_use]
pub fn row(key: &[u8], db: i64, model: &Model, episode: &Episode) -> Reply {
    let newest = model.newest();
    Reply::map([
        ("sensor", Reply::text(key)),
        ("episode", Reply::text(episode.name())),
        ("state", Reply::text(state(model))),
        ("severity", Reply::text(episode.severity.word())),
        ("kind", Reply::text(episode.kind.word())),
        ("direction", Reply::text(episode.side.word())),
        ("started", Reply::Int(episode.start.millis())),
        ("readings", Reply::count(episode.readings)),
        ("peak", Reply::Double(episode.peak)),
        (
            "acked",
            episode.acked_by.as_ref().map_or(Reply::Null, Reply::text),
        ),
        (
            "last",
            newest.map_or(Reply::Null, |r| Reply::Int(r.at.millis())),
        ),
        ("value", Reply::double(newest.map(|r| r.value))),
        ("db", Reply::Int(db)),
    ])
}
