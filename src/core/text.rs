//! Bytes and numbers as people read them.

/// At most this many bytes of an argument are echoed in an error.
const SHOWN: usize = 64;

/// Bytes as they may be shown in an error, a log line or a sentence: printable text unchanged, everything else escaped,
/// so that nothing a producer sends can break a line or drive a terminal.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    let head = bytes.get(..SHOWN).unwrap_or(bytes);
    let mut out = escaped(head);
    if bytes.len() > SHOWN {
        out.push('…');
    }
    out
}

/// All of the bytes, control characters and what is not UTF-8 escaped as `\xHH`.
#[must_use]
pub fn escaped(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                let mut utf8 = [0; 4];
                c.encode_utf8(&mut utf8)
                    .bytes()
                    .for_each(|b| push_hex(&mut out, b));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|b| push_hex(&mut out, *b));
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    out.push_str(&format!("\\x{byte:02x}"));
}

/// The shortest decimal that reads back as the same number: `22.5`, `1e300`.
#[must_use]
pub fn number(x: f64) -> String {
    let text = format!("{x:?}");
    text.strip_suffix(".0")
        .map_or_else(|| text.clone(), str::to_owned)
}

/// Whether a number is written so that everybody reads it alike: `-12.5`, not `+1`, `.5` or `1E5`.
#[must_use]
pub fn is_plain(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let (mut points, mut before) = (0, b'.');
    for byte in digits {
        match byte {
            b'0'..=b'9' => {}
            b'.' if before != b'.' => points += 1,
            _ => return false,
        }
        before = *byte;
    }
    points <= 1 && before != b'.'
}

/// At most `digits` significant digits, for computed figures in sentences: `60.14`, `0.0012`.
#[must_use]
pub fn rounded(x: f64, digits: usize) -> String {
    tidied(format!("{x:.*e}", digits.saturating_sub(1)))
}

/// A computed figure with the decimals that matter beside a difference of `step`: two digits of it.
#[must_use]
pub fn resolved(x: f64, step: f64) -> String {
    if step > 0.0 && step.is_finite() {
        let decimals = (1.0 - step.log10().floor()).clamp(0.0, 330.0) as usize;
        tidied(format!("{x:.decimals$}"))
    } else {
        number(x)
    }
}

/// A rounded figure without needless zeros or a negative zero. The largest numbers round to what no `f64` holds: they
/// stay as they are.
fn tidied(text: String) -> String {
    match text.parse::<f64>() {
        Ok(x) if x.is_finite() => number(x + 0.0),
        _ => text,
    }
}

/// Milliseconds as people say them: `45 s`, `12 min`, `3 h`, `2.5 days`.
#[must_use]
pub fn duration(millis: i64) -> String {
    let ms = millis as f64;
    let (count, unit) = match millis.unsigned_abs() {
        0..=999 => (ms, "ms"),
        1_000..=119_999 => (ms / 1e3, "s"),
        120_000..=7_199_999 => (ms / 6e4, "min"),
        7_200_000..=172_799_999 => (ms / 3.6e6, "h"),
        _ => (ms / 8.64e7, "days"),
    };
    format!(
        "{} {unit}",
        rounded(count, 2.max(count.abs().log10().max(0.0) as usize + 1))
    )
}

/// Milliseconds to the second, in the two largest units that matter: `3 h 2 min`, `45 s`, `250 ms`.
#[must_use]
pub fn lasting(millis: i64) -> String {
    if millis < 1000 {
        return format!("{millis} ms");
    }
    let seconds = millis / 1000;
    let units = [
        (
            seconds / 86_400,
            if seconds < 172_800 { "day" } else { "days" },
        ),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(n, _)| *n > 0).unwrap_or(3);
    let parts = units.iter().skip(first).take(2).filter(|(n, _)| *n > 0);
    let parts: Vec<_> = parts.map(|(n, unit)| format!("{n} {unit}")).collect();
    parts.join(" ")
}

/// `1 reading`, `2 readings`.
#[must_use]
pub fn count(n: u64, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_everybody_reads_alike_is_plain() {
        for plain in ["0", "-0", "12", "-12.5", "0.25", "007.10"] {
            assert!(is_plain(plain.as_bytes()), "{plain}");
        }
        #[rustfmt::skip]
        let others = ["", "-", ".", "1.", ".5", "-.5", "+1", "1e5", "1E5", "1.2.3", "1..2", " 1", "--1", "nan", "inf", "0x1"];
        for other in others {
            assert!(!is_plain(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn shown_text_cannot_break_a_line_or_drive_a_terminal() {
        assert_eq!(shown("22 °C".as_bytes()), "22 °C");
        assert_eq!(
            shown(b"a\r\nb\x1b[31m\xff\0"),
            "a\\x0d\\x0ab\\x1b[31m\\xff\\x00"
        );
        assert_eq!(shown("\u{9b}".as_bytes()), "\\xc2\\x9b");
        assert_eq!(shown(&[b'x'; 100]).chars().count(), SHOWN + 1);
    }

    #[test]
    fn numbers_are_short_and_read_back() {
        for (x, text) in [
            (22.0, "22"),
            (22.5, "22.5"),
            (1e300, "1e300"),
            (-1e-7, "-1e-7"),
            (0.1, "0.1"),
        ] {
            assert_eq!(number(x), text);
            assert_eq!(text.parse(), Ok(x));
        }
        assert_eq!(rounded(60.123_456, 4), "60.12");
        assert_eq!(rounded(99.999_9, 4), "100");
        assert_eq!(rounded(0.0, 4), "0");
        assert_eq!(
            (resolved(60.123_4, 2.3), resolved(1_000_000.512_3, 0.04)),
            ("60.1".into(), "1000000.512".into())
        );
        assert_eq!(
            (rounded(f64::MAX, 3), resolved(-0.001, 10.0)),
            ("1.80e308".into(), "0".into())
        );
        assert_eq!(
            (resolved(3.14e-18, 1e-19), resolved(-2.5e-310, 1e-311)),
            ("3.14e-18".into(), "-2.5e-310".into())
        );
        assert_eq!(
            (resolved(612.3, 800.0), resolved(20.0, 0.0)),
            ("612".into(), "20".into())
        );
    }

    #[test]
    fn times_to_the_second_have_at_most_two_units() {
        for (millis, said) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (45_999, "45 s"),
            (60_000, "1 min"),
            (3_600_000, "1 h"),
            (3_605_000, "1 h"),
            (10_920_000, "3 h 2 min"),
            (86_400_000, "1 day"),
            (176_400_000, "2 days 1 h"),
        ] {
            assert_eq!(lasting(millis), said);
        }
    }

    #[test]
    fn durations_are_said_in_the_unit_people_use() {
        let said: Vec<_> = [250, 45_000, 720_000, 10_800_000, 216_000_000]
            .map(duration)
            .into();
        assert_eq!(said, ["250 ms", "45 s", "12 min", "3 h", "2.5 days"]);
    }
}
