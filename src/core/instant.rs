//! The time of a reading as producers write it: Unix seconds or milliseconds, or RFC 3339.

use crate::units::{Timestamp, long_decimal, number};

/// A number below this is seconds, from here on milliseconds: 10¹¹ s is the year 5138, 10¹¹ ms is 1973.
const SECONDS_BELOW: f64 = 1e11;
/// The end of the year 9999 in milliseconds. Beyond are microseconds, nanoseconds and nonsense.
const LAST: i64 = 253_402_300_799_999;
/// No time is written with more bytes.
const LONGEST: usize = 128;

const UNREADABLE: &str =
    "no time: expected Unix seconds or milliseconds, or RFC 3339 such as 2025-07-28T10:00:00Z";
const NEGATIVE: &str = "before 1970";
const ABSURD: &str = "beyond the year 9999: expected Unix seconds or milliseconds";
const ZONELESS: &str = "a time without a zone: expected one such as Z or +02:00 at its end";

/// Reads integer or decimal Unix seconds or milliseconds, or RFC 3339 with a zone.
///
/// # Errors
/// What the text is instead, as the end of a sentence: `before 1970`.
#[inline]
pub fn parse(bytes: &[u8]) -> Result<Timestamp, &'static str> {
    // As most are written.
    match long_decimal(bytes) {
        Some(seconds) if seconds < SECONDS_BELOW as u64 => from_millis(seconds as i64 * 1000),
        Some(millis) => from_millis(millis as i64),
        None => parse_any(bytes),
    }
}

#[inline(never)]
fn parse_any(bytes: &[u8]) -> Result<Timestamp, &'static str> {
    if bytes.len() > LONGEST {
        return Err(UNREADABLE);
    }
    let millis = match number(bytes) {
        Some(number) if number.is_nan() => return Err(UNREADABLE),
        Some(number) if number < 0.0 => return Err(NEGATIVE),
        // Rounded: 1754300000.123 is a little less in binary.
        Some(seconds) if seconds < SECONDS_BELOW => (seconds * 1000.0).round() as i64,
        Some(millis) => millis.round() as i64,
        None => {
            let text = std::str::from_utf8(bytes).map_err(|_| UNREADABLE)?;
            match text.parse::<jiff::Timestamp>() {
                Ok(at) => at.as_millisecond(),
                Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => return Err(ZONELESS),
                Err(_) => return Err(UNREADABLE),
            }
        }
    };
    from_millis(millis)
}

/// The time of an entry that holds none: its id's.
///
/// # Errors
/// As [`parse`].
pub fn of_id(ms: u64) -> Result<Timestamp, &'static str> {
    from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

fn from_millis(millis: i64) -> Result<Timestamp, &'static str> {
    if millis > LAST {
        return Err(ABSURD);
    }
    Timestamp::from_millis(millis).ok_or(NEGATIVE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::cases;

    fn millis(text: &str) -> Result<i64, &'static str> {
        parse(text.as_bytes()).map(Timestamp::millis)
    }

    #[test]
    fn every_form_of_one_instant_reads_the_same() {
        for text in [
            "1754300000",
            "1754300000.0",
            "1754300000000",
            "1754300000000.4",
            "1.7543e9",
            "2025-08-04T09:33:20Z",
            "2025-08-04t09:33:20z",
            "2025-08-04 09:33:20Z",
            "2025-08-04T09:33:20.000Z",
            "2025-08-04T09:33:20-00:00",
            "2025-08-04T11:33:20+02:00",
            "2025-08-04T15:03:20+05:30",
            "2025-08-03T23:33:20-10:00",
            "2025-08-04T11:33:20+02:00[Europe/Berlin]",
        ] {
            assert_eq!(millis(text), Ok(1_754_300_000_000), "{text}");
        }
    }

    #[test]
    fn fractions_of_a_second_are_kept_to_the_millisecond() {
        for (text, expected) in [
            ("1754300000.123", 1_754_300_000_123),
            ("1754300000.5", 1_754_300_000_500),
            ("0.001", 1),
            ("2025-08-04T09:33:20.25Z", 1_754_300_000_250),
            ("2025-08-04T09:33:20.123456789Z", 1_754_300_000_123),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_number_below_ten_to_the_eleventh_is_seconds() {
        for (text, expected) in [
            ("0", 0),
            ("99999999999", 99_999_999_999_000),
            ("99999999999.5", 99_999_999_999_500),
            ("100000000000", 100_000_000_000),
            ("253402300799999", LAST),
        ] {
            assert_eq!(millis(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_what_it_is() {
        for (text, why) in [
            ("", UNREADABLE),
            ("yesterday", UNREADABLE),
            ("12:00", UNREADABLE),
            ("nan", UNREADABLE),
            ("2025-13-01T00:00:00Z", UNREADABLE),
            ("2025-07-28T10:00:00", ZONELESS),
            ("-1", NEGATIVE),
            ("-inf", NEGATIVE),
            ("1969-12-31T23:59:59Z", NEGATIVE),
            ("inf", ABSURD),
            ("1e300", ABSURD),
            ("253402300800000", ABSURD),
            // Microseconds and nanoseconds of 2025.
            ("1754300000000000", ABSURD),
            ("1754300000000000000", ABSURD),
            ("99999999999999999999", ABSURD),
        ] {
            assert_eq!(millis(text), Err(why), "{text:?}");
        }
        assert_eq!(parse(b"\xff"), Err(UNREADABLE));
        assert_eq!(parse(&vec![b'1'; 1 << 20]), Err(UNREADABLE));
        assert_eq!(of_id(u64::MAX), Err(ABSURD));
        assert_eq!(of_id(5).map(Timestamp::millis), Ok(5));
    }

    proptest! {
        #![proptest_config(cases(2000))]

        #[test]
        fn whole_numbers_are_read_as_any_number_is(digits in "[0-9]{0,20}", byte in any::<u8>(), at in any::<prop::sample::Index>()) {
            prop_assert_eq!(parse(digits.as_bytes()), parse_any(digits.as_bytes()));
            let mut bytes = digits.into_bytes();
            bytes.insert(at.index(bytes.len() + 1), byte);
            prop_assert_eq!(parse(&bytes), parse_any(&bytes));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[-+0-9TZ:.tz \\[\\]/eE]{0,40}".prop_map(String::into_bytes),
            "-?[0-9]{1,6}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{0,12})?(Z|[+-][0-9]{2}:[0-9]{2})(\\[[A-Za-z/]{0,12}\\])?"
                .prop_map(String::into_bytes),
        ]) {
            if let Ok(at) = parse(&bytes) {
                prop_assert!((0..=LAST).contains(&at.millis()));
            }
        }
    }
}
