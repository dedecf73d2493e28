//! `ANOMALY.ACK key [BY name] [COMMENT text]`

use super::{Arg, ArgKind, Keys, Spec, write};
use crate::error::Error;

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "1 if an open episode was acknowledged (this writes an `ack` alert), 0 if there is none or it was before",
    fast: true,
    keys: Keys::One(1),
    ..write(
        "anomaly.ack",
        "Acknowledges the open episode of a sensor, which ends its reminders",
        -2,
        &[
            Arg::key(),
            Arg::new("name", ArgKind::Text).after("BY").optional(),
            Arg::new("text", ArgKind::Text).after("COMMENT").optional(),
        ],
    )
};

/// Longest name and comment, in bytes.
const LONGEST: usize = 1024;

/// Who took note, and what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ack {
    /// Who; empty if not said.
    pub by: Vec<u8>,
    /// What; empty if not said.
    pub comment: Vec<u8>,
}

impl Ack {
    /// Reads what follows the key.
    ///
    /// # Errors
    /// [`Error::Argument`], [`Error::Incomplete`].
    pub fn parse(args: &[&[u8]]) -> Result<Self, Error> {
        let mut ack = Self::default();
        for pair in args.chunks(2) {
            let (word, value) = match pair {
                [word, value] => (*word, Some(*value)),
                [word] => (*word, None),
                _ => continue,
            };
            let slot = match word {
                w if w.eq_ignore_ascii_case(b"BY") => &mut ack.by,
                w if w.eq_ignore_ascii_case(b"COMMENT") => &mut ack.comment,
                other => {
                    return Err(Error::Argument {
                        given: other.to_vec(),
                        expected: "BY name or COMMENT text",
                    });
                }
            };
            *slot = value
                .filter(|text| text.len() <= LONGEST)
                .ok_or_else(|| Error::Incomplete {
                    name: word.to_vec(),
                    expected: "a text of at most 1024 bytes",
                })?
                .to_vec();
        }
        Ok(ack)
    }
}
