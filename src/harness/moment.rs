//! Instants and durations as people and recordings write them; inside it is all Unix milliseconds.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A number below this is seconds, from here on milliseconds (DESIGN section 5): 10¹¹ s is the year 5138, 10¹¹ ms is 1973.
const SECONDS_BELOW: f64 = 1e11;

/// Now, by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Unix milliseconds as `2013-07-04 00:00:00Z`, with the milliseconds only where there are any.
pub(crate) fn show(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(at) if ms.rem_euclid(1000) == 0 => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S.%3fZ").to_string(),
        Err(_) => format!("{ms} ms"),
    }
}

/// Reads RFC 3339, `2013-07-04 00:00:00` (in `zone`), and Unix seconds or milliseconds, decimals allowed.
pub(crate) fn parse(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return from_number(number);
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    let civil: DateTime = text.parse().ok()?;
    // `compatible`: an hour that a clock change skips or repeats is read as iCalendar and every database read it.
    let at = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    Some(at.as_millisecond())
}

fn from_number(number: f64) -> Option<i64> {
    if !number.is_finite() {
        return None;
    }
    let ms = if number.abs() < SECONDS_BELOW {
        number * 1000.0
    } else {
        number
    };
    // Far outside of any calendar: rather a bad line than a saturated number.
    (ms.abs() < 1e17).then(|| ms.round() as i64)
}

/// For clap: `10s`, `5m`, `1h 30m`, `250ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("{text:?} is not a duration like 250ms, 10s, 5m or 1h30m");
    let signed: SignedDuration = text.parse().map_err(|_| hint())?;
    Duration::try_from(signed).map_err(|_| hint())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{parse, parse_duration, show};
    use jiff::tz::{TimeZone, offset};
    use std::time::Duration;

    const DAY_2013: i64 = 1_372_896_000_000;

    #[test]
    fn every_form_of_one_instant_reads_the_same() {
        for text in [
            "2013-07-04 00:00:00",
            "2013-07-04T00:00:00",
            "2013-07-04",
            "2013-07-04T00:00:00Z",
            "2013-07-04T02:00:00+02:00",
            "2013-07-04 00:00:00.000",
            "1372896000",
            "1372896000.0",
            "1372896000000",
            " 1372896000 ",
        ] {
            assert_eq!(parse(text, &TimeZone::UTC), Some(DAY_2013), "{text}");
        }
    }

    #[test]
    fn fractions_of_a_second_are_kept() {
        assert_eq!(
            parse("2013-07-04 00:00:00.25", &TimeZone::UTC),
            Some(DAY_2013 + 250)
        );
        assert_eq!(parse("1372896000.25", &TimeZone::UTC), Some(DAY_2013 + 250));
    }

    #[test]
    fn the_zone_applies_to_times_without_one() {
        let zone = TimeZone::fixed(offset(2));
        assert_eq!(parse("2013-07-04 02:00:00", &zone), Some(DAY_2013));
        assert_eq!(parse("2013-07-04T00:00:00Z", &zone), Some(DAY_2013));
    }

    #[test]
    fn nonsense_is_no_time() {
        for text in [
            "",
            "yesterday",
            "2013-13-01 00:00:00",
            "nan",
            "inf",
            "1e300",
            "12:00",
        ] {
            assert_eq!(parse(text, &TimeZone::UTC), None, "{text}");
        }
    }

    #[test]
    fn milliseconds_are_shown_only_where_there_are_any() {
        assert_eq!(show(DAY_2013), "2013-07-04 00:00:00Z");
        assert_eq!(show(DAY_2013 + 7), "2013-07-04 00:00:00.007Z");
        assert_eq!(show(-1), "1969-12-31 23:59:59.999Z");
    }

    #[test]
    fn durations_are_friendly_and_not_negative() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert!(parse_duration("-5s").is_err());
        assert!(parse_duration("soon").is_err());
    }
}
