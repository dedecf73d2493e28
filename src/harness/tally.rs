//! Counting what the server answered: verdicts by name, refusals by kind. Nothing is swallowed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use redis::Value;

use crate::terminal::{harmless, thousands};

/// More kinds of refusals than this are counted together: a message that embeds something random must not fill the memory.
const KINDS: usize = 50;

/// The verdicts, in the order in which they are shown.
pub(crate) const VERDICTS: [&str; 6] = [
    "normal",
    "warning",
    "critical",
    "warmup",
    "late",
    "duplicate",
];

/// The answer to one reading.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    Verdict(&'static str),
    /// The id of a stream entry: an `XADD` says nothing about the reading in it.
    Entry,
    Refused(String),
}

impl Reply {
    /// Reads one reply, or one item of a `MADD`; anything unexpected is a refusal that says so.
    pub(crate) fn read(value: &Value) -> Self {
        let text = match value {
            Value::SimpleString(text) => text.as_bytes(),
            Value::BulkString(bytes) => bytes,
            Value::ServerError(error) => {
                let words = format!("{} {}", error.code(), error.details().unwrap_or_default());
                return Self::Refused(harmless(words.trim_end().as_bytes()));
            }
            other => return Self::Refused(format!("unexpected reply {other:?}")),
        };
        match VERDICTS
            .into_iter()
            .find(|verdict| verdict.as_bytes() == text)
        {
            Some(verdict) => Self::Verdict(verdict),
            None if text.contains(&b'-') && text.first().is_some_and(u8::is_ascii_digit) => {
                Self::Entry
            }
            None => Self::Refused(format!("unexpected reply {:?}", harmless(text))),
        }
    }
}

/// What came back so far.
#[derive(Default)]
pub(crate) struct Tally {
    verdicts: BTreeMap<&'static str, u64>,
    entries: u64,
    refused: BTreeMap<String, Refusals>,
}

struct Refusals {
    count: u64,
    first: String,
}

impl Tally {
    pub(crate) fn count(&mut self, reply: Reply) {
        match reply {
            Reply::Verdict(verdict) => *self.verdicts.entry(verdict).or_default() += 1,
            Reply::Entry => self.entries += 1,
            Reply::Refused(text) => self.refuse(text),
        }
    }

    fn refuse(&mut self, text: String) {
        let mut kind = kind_of(&text);
        if self.refused.len() >= KINDS && !self.refused.contains_key(&kind) {
            kind = String::from("others");
        }
        let refusals = self.refused.entry(kind).or_insert(Refusals {
            count: 0,
            first: text,
        });
        refusals.count += 1;
    }

    /// Readings with the given verdict.
    pub(crate) fn of(&self, verdict: &str) -> u64 {
        self.verdicts.get(verdict).copied().unwrap_or_default()
    }

    /// Readings that the server took.
    pub(crate) fn taken(&self) -> u64 {
        self.verdicts.values().sum::<u64>() + self.entries
    }

    /// Readings that it refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.values().map(|refusals| refusals.count).sum()
    }

    /// `normal 98, warning 2`: all verdicts that occurred.
    pub(crate) fn verdicts(&self) -> String {
        let mut text = String::new();
        for verdict in VERDICTS {
            let count = self.of(verdict);
            if count > 0 {
                let comma = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{comma}{verdict} {}", thousands(count));
            }
        }
        if self.entries > 0 {
            let _ = write!(text, "{} stream entries", thousands(self.entries));
        }
        text
    }

    /// One line for each kind of refusal, with the first of its kind in the server's own words.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let line =
            |refusals: &Refusals| format!("{} × {}", thousands(refusals.count), refusals.first);
        self.refused.values().map(line).collect()
    }
}

/// Refusals that differ in their numbers only are of one kind.
fn kind_of(text: &str) -> String {
    let mut kind = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            other => kind.push(other),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::{Reply, Tally};
    use redis::Value;

    #[test]
    fn verdicts_ids_and_anything_else_are_told_apart() {
        let read = |text: &str| Reply::read(&Value::SimpleString(text.to_owned()));
        assert_eq!(read("warmup"), Reply::Verdict("warmup"));
        assert_eq!(
            Reply::read(&Value::BulkString(b"1700000000000-0".to_vec())),
            Reply::Entry
        );
        assert_eq!(
            read("splendid"),
            Reply::Refused("unexpected reply \"splendid\"".to_owned())
        );
        assert!(matches!(Reply::read(&Value::Nil), Reply::Refused(_)));
    }

    #[test]
    fn refusals_are_grouped_by_kind_and_show_the_first() {
        let mut tally = Tally::default();
        for number in [17, 4711] {
            tally.count(Reply::Refused(format!(
                "ERR timestamp {number} is too far ahead"
            )));
        }
        tally.count(Reply::Refused("OOM".to_owned()));
        assert_eq!(tally.refused(), 3);
        assert_eq!(
            tally.refusals(),
            ["2 × ERR timestamp 17 is too far ahead", "1 × OOM"]
        );
    }

    #[test]
    fn the_number_of_kinds_is_bounded() {
        let mut tally = Tally::default();
        for number in 0..1000u32 {
            let noise: String = number
                .to_string()
                .chars()
                .filter_map(|c| char::from_digit(c.to_digit(10)? + 10, 36))
                .collect();
            tally.count(Reply::Refused(format!("ERR {noise}")));
        }
        assert_eq!(tally.refused(), 1000);
        assert!(tally.refusals().len() <= 51);
    }
}
