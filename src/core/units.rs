//! The vocabulary of values: what a word may hold is decided when it is parsed and never again.

use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroI64;

use crate::error::Error;

/// An instant in Unix milliseconds, 0 to `i64::MAX`.
///
/// It is held as its complement, which is never 0, so that an `Option` of one takes no more memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(NonZeroI64);

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.millis())
    }
}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> Ordering {
        self.millis().cmp(&other.millis())
    }
}

impl Timestamp {
    /// The beginning of 1970.
    pub const ZERO: Self = match NonZeroI64::new(!0) {
        Some(complement) => Self(complement),
        None => unreachable!(),
    };

    /// The last instant there is.
    pub const MAX: Self = Self(NonZeroI64::MIN);

    /// An instant from integer milliseconds; `None` below zero, which no series can hold.
    #[inline]
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        NonZeroI64::new(!millis)
            .filter(|complement| complement.get() < 0)
            .map(Self)
    }

    /// Reads decimal milliseconds.
    ///
    /// # Errors
    /// [`Error::Timestamp`] unless it is an integer of 0 to `i64::MAX`.
    #[inline(always)]
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        match decimal(bytes) {
            Some(millis) if millis <= i64::MAX.cast_unsigned() => {
                Self::from_millis(millis.cast_signed()).ok_or_else(|| no_timestamp(bytes))
            }
            _ => Err(no_timestamp(bytes)),
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn millis(self) -> i64 {
        !self.0.get()
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is the later one.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.millis() - earlier.millis()
    }

    /// The instant `span` milliseconds later, at most the last one there is.
    #[must_use]
    pub fn plus(self, span: u64) -> Self {
        let span = i64::try_from(span).unwrap_or(i64::MAX);
        Self::from_millis(self.millis().saturating_add(span)).unwrap_or(self)
    }
}

#[cold]
fn no_timestamp(given: &[u8]) -> Error {
    Error::Timestamp {
        given: given.to_vec(),
    }
}

/// The whole number that decimal digits, and nothing but digits, are.
#[inline(always)]
fn decimal(digits: &[u8]) -> Option<u64> {
    match digits.len() {
        9..=16 => long_decimal(digits),
        _ => any_decimal(digits),
    }
}

/// The same for nine to sixteen bytes, as times of this age have.
#[inline(always)]
pub(crate) fn long_decimal(digits: &[u8]) -> Option<u64> {
    // The first eight and the last eight overlap, and what is in both counts once.
    let (9..=16, Some(first), Some(last)) = (
        digits.len(),
        digits.first_chunk::<8>(),
        digits.last_chunk::<8>(),
    ) else {
        return None;
    };
    let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    let high = of_digits(ones(first)? << (8 * (16 - digits.len())));
    Some(high * 100_000_000 + of_digits(ones(last)?))
}

#[inline(never)]
fn any_decimal(digits: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    (!digits.is_empty()).then_some(number)
}

const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

/// What each of eight digits stands for, the first one in the lowest byte.
#[inline(always)]
fn ones(bytes: u64) -> Option<u64> {
    // To what is above '9' this adds up to 128 or more; what is below '0' borrows, and so does what is beyond both.
    const ABOVE: u64 = u64::from_ne_bytes([0x80 - b'9' - 1; 8]);
    let ones = bytes.wrapping_sub(ZEROS);
    ((bytes.wrapping_add(ABOVE) | ones) & TOPS == 0).then_some(ones)
}

/// The number that eight of [`ones`] are, all at once: in each step neighbours become one number in twice the room.
fn of_digits(ones: u64) -> u64 {
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

/// Reads a finite number, as decimal or with an exponent.
///
/// # Errors
/// [`Error::Value`] for text that is no number; [`Error::NotFinite`] for NaN, infinities and what overflows to one.
#[inline(always)]
pub fn parse_value(bytes: &[u8]) -> Result<f64, Error> {
    match number(bytes) {
        Some(value) if value.is_finite() => Ok(value),
        number => Err(no_value(bytes, number.is_some())),
    }
}

#[cold]
fn no_value(given: &[u8], number: bool) -> Error {
    let given = given.to_vec();
    if number {
        Error::NotFinite { given }
    } else {
        Error::Value { given }
    }
}

/// The number a text is, NaN and infinities included.
#[inline(always)]
#[must_use]
pub fn number(bytes: &[u8]) -> Option<f64> {
    match short_number(bytes) {
        Some(number) => Some(number),
        None => any_number(bytes),
    }
}

/// Most texts that are no number are told by their first byte.
#[inline(never)]
fn any_number(bytes: &[u8]) -> Option<f64> {
    let (b'0'..=b'9' | b'+' | b'-' | b'.' | b'i' | b'I' | b'n' | b'N') = bytes.first()? else {
        return None;
    };
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The number that at most 15 digits are, with a sign and a point perhaps: an exact integer over an exact power of ten is
/// rounded once, as a parser would round (Clinger 1990, the simple case).
#[inline(always)]
fn short_number(bytes: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let (integer, decimals) = match (digits.len(), digits.first_chunk(), digits.last_chunk()) {
        (len @ 4..=8, Some(first), Some(last)) => {
            // What is in both counts once.
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            few_digits(u64::from(first) | u64::from(last) << (8 * (len - 4)), len)
        }
        _ => digits_one_by_one(digits),
    }?;
    let number = integer as f64 / POWERS.get(decimals)?;
    Some(if digits.len() < bytes.len() {
        -number
    } else {
        number
    })
}

/// The whole number that so many bytes are, four to eight of digits and perhaps a point, the first one in the lowest byte, and how many
/// digits follow the point; all at once.
#[inline(always)]
fn few_digits(bytes: u64, len: usize) -> Option<(i64, usize)> {
    const POINTS: u64 = u64::from_ne_bytes([b'.'; 8]);
    const ONE: u64 = u64::from_ne_bytes([1; 8]);
    // The lowest byte that is a point becomes zero, whose top bit is then the lowest that is set.
    let other = bytes ^ POINTS;
    let points = other.wrapping_sub(ONE) & !other & TOPS;
    let (digits, count, decimals) = if points == 0 {
        (bytes, len, 0)
    } else {
        let at = points.trailing_zeros() & !7;
        let before = (1 << at) - 1;
        let digits = bytes & before | (bytes >> at >> 8) << at;
        (digits, len - 1, len - 1 - at as usize / 8)
    };
    // Nothing at the end counts for zeros at the front.
    let beyond = 8 * count as u32;
    let digits = digits | ZEROS.checked_shl(beyond).unwrap_or(0);
    let number = of_digits(ones(digits)? << (64 - beyond));
    Some((number as i64, decimals))
}

/// The same for up to 16 bytes.
#[inline(never)]
fn digits_one_by_one(digits: &[u8]) -> Option<(i64, usize)> {
    if digits.len() > 16 {
        return None;
    }
    let (mut integer, mut point) = (0, None);
    for (at, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            integer = integer * 10 + i64::from(digit);
        } else if *byte == b'.' && point.is_none() {
            point = Some(at);
        } else {
            return None;
        }
    }
    let (count, decimals) = match point {
        None => (digits.len(), 0),
        Some(at) => (digits.len() - 1, digits.len() - 1 - at),
    };
    (1..=15).contains(&count).then_some((integer, decimals))
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
    fn the_first_and_the_last_instant_are_what_they_say() {
        assert_eq!(Timestamp::ZERO.millis(), 0);
        assert_eq!(Timestamp::MAX.millis(), i64::MAX);
        assert!(Timestamp::ZERO < Timestamp::MAX);
    }

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
            "18446744073709551616",
            "99999999999999999999999",
            "1764000000000000000x",
        ] {
            assert!(Timestamp::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_timestamp_is_what_any_parser_makes_of_its_digits(text in "[0-9]{0,22}") {
            let parsed = text.parse::<i64>().ok();
            proptest::prop_assert_eq!(Timestamp::parse(text.as_bytes()).ok().map(Timestamp::millis), parsed);
        }

        #[test]
        fn a_short_number_is_what_any_parser_makes_of_it(
            text in "-?[0-9]{0,12}[.]?[0-9]{0,12}", few in "-?[0-9]{0,5}[.]?[0-9]{0,4}",
            any in "[-+.0-9eE/:; ]{0,9}",
        ) {
            for text in [text, few, any] {
                let parsed = text.parse::<f64>().ok().map(f64::to_bits);
                proptest::prop_assert_eq!(number(text.as_bytes()).map(f64::to_bits), parsed, "{}", text);
            }
        }

        #[test]
        fn bytes_that_are_no_digits_make_no_number(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..12)) {
            let parsed = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<f64>().ok());
            proptest::prop_assert_eq!(number(&bytes).map(f64::to_bits), parsed.map(f64::to_bits));
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
