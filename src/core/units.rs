//! The vocabulary of values: what a word may hold is decided when it is parsed and never again.

use crate::error::Error;

/// An instant in Unix milliseconds, 0 to `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The beginning of 1970.
    pub const ZERO: Self = Self(0);

    /// The last instant there is.
    pub const MAX: Self = Self(i64::MAX);

    /// An instant from integer milliseconds; `None` below zero, which no series can hold.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        (millis >= 0).then_some(Self(millis))
    }

    /// Reads decimal milliseconds.
    ///
    /// # Errors
    /// [`Error::Timestamp`] unless it is an integer of 0 to `i64::MAX`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .and_then(Self::from_millis)
            .ok_or_else(|| Error::Timestamp {
                given: bytes.to_vec(),
            })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// The instant `span` milliseconds later, at most the last one there is.
    #[must_use]
    pub fn plus(self, span: u64) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span).unwrap_or(i64::MAX)),
        )
    }
}

/// Reads a finite number, as decimal or with an exponent.
///
/// # Errors
/// [`Error::Value`] for text that is no number; [`Error::NotFinite`] for NaN, infinities and what overflows to one.
pub fn parse_value(bytes: &[u8]) -> Result<f64, Error> {
    match number(bytes) {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => Err(Error::NotFinite {
            given: bytes.to_vec(),
        }),
        None => Err(Error::Value {
            given: bytes.to_vec(),
        }),
    }
}

/// The number a text is, NaN and infinities included. Most texts that are none are told by their first byte.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<f64> {
    let (b'0'..=b'9' | b'+' | b'-' | b'.' | b'i' | b'I' | b'n' | b'N') = bytes.first()? else {
        return None;
    };
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// How bad a reading is. The order is the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Beyond the threshold.
    Warning,
    /// Beyond the critical limit, or `critical` times the threshold.
    Critical,
}

impl Severity {
    /// The word used in replies and alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that name.
    #[must_use]
    pub fn named(word: &[u8]) -> Option<Self> {
        [Self::Warning, Self::Critical]
            .into_iter()
            .find(|s| word.eq_ignore_ascii_case(s.word().as_bytes()))
    }
}

/// On which side of the expected value a reading lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above.
    High,
    /// Below.
    Low,
    /// Neither: it is as expected.
    None,
}

impl Side {
    /// The side of a signed deviation.
    #[must_use]
    pub fn of(deviation: f64) -> Self {
        if deviation > 0.0 {
            Self::High
        } else if deviation < 0.0 {
            Self::Low
        } else {
            Self::None
        }
    }

    /// The word used in replies and alerts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
            Self::None => "none",
        }
    }
}

/// Which side a rule watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both sides.
    Both,
    /// Only readings above what is expected.
    High,
    /// Only readings below it.
    Low,
}

impl Direction {
    /// Whether a deviation to that side counts.
    #[must_use]
    pub fn watches(self, side: Side) -> bool {
        !matches!(
            (self, side),
            (Self::High, Side::Low) | (Self::Low, Side::High)
        )
    }
}

/// The score of a statistic at `ratio` times its threshold: `ratio / (1 + ratio)`, so 0.5 is the boundary.
#[must_use]
pub fn score(ratio: f64) -> f64 {
    ratio / (1.0 + ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_a_non_negative_integer_of_milliseconds() {
        assert_eq!(Timestamp::parse(b"0").map(Timestamp::millis), Ok(0));
        assert_eq!(
            Timestamp::parse(b"9223372036854775807").map(Timestamp::millis),
            Ok(i64::MAX)
        );
        for bad in [
            "",
            "-1",
            "+1",
            "9223372036854775808",
            "1.5",
            "1e3",
            " 1",
            "x",
            "\u{661}",
        ] {
            assert!(Timestamp::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_is_any_finite_number() {
        for (text, value) in [
            ("22.5", 22.5),
            ("-0", -0.0),
            ("1e-310", 1e-310),
            ("1.7e308", 1.7e308),
            (".5", 0.5),
        ] {
            assert_eq!(parse_value(text.as_bytes()), Ok(value));
        }
        for bad in ["nan", "inf", "-Infinity", "1e999"] {
            assert!(
                matches!(parse_value(bad.as_bytes()), Err(Error::NotFinite { .. })),
                "{bad}"
            );
        }
        for bad in [&b""[..], b"22,5", b"0x10", b" 1", b"\xff\xfe"] {
            assert!(
                matches!(parse_value(bad), Err(Error::Value { .. })),
                "{bad:?}"
            );
        }
    }
}
