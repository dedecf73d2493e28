//! The id of a stream's entry.

use std::cmp::Ordering;
use std::fmt;

/// `ms-seq`, in the order of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Unix milliseconds, unless the producer chose something else.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// Reads `ms-seq`; `ms` alone is `ms-0`, and `-` the beginning of a stream.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes == b"-" {
            return Some(Self::default());
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self {
            ms: whole(ms)?,
            seq: whole(seq)?,
        })
    }

    /// The smallest id after this one; `None` after the last there can be.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let Self { ms, seq } = self;
        match seq.checked_add(1) {
            Some(seq) => Some(Self { ms, seq }),
            None => ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The id that `*` becomes at that time, in a stream that has no id above this one; or none above the id that `*`
    /// becomes, of the same millisecond. The server's rule is the later of clock and last id. `None` where the clock is behind,
    /// and where the millisecond is full: then only the stream itself can tell.
    #[must_use]
    pub fn chosen_at(self, now: u64) -> Option<Self> {
        match now.cmp(&self.ms) {
            Ordering::Greater => Some(Self { ms: now, seq: 0 }),
            Ordering::Equal => self.next().filter(|next| next.ms == now),
            Ordering::Less => None,
        }
    }
}

/// Digits only: `u64::from_str` takes a plus sign too.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: StreamId = StreamId {
        ms: u64::MAX,
        seq: u64::MAX,
    };

    #[test]
    fn the_server_chooses_the_later_of_clock_and_last_id() {
        let id = |ms, seq| StreamId { ms, seq };
        for (last, now, chosen) in [
            (id(0, 0), 5, Some(id(5, 0))),
            (id(4, 9), 5, Some(id(5, 0))),
            (id(5, 0), 5, Some(id(5, 1))),
            (id(5, u64::MAX), 5, None),
            (id(6, 0), 5, None),
            (LAST, u64::MAX, None),
        ] {
            assert_eq!(last.chosen_at(now), chosen, "{last} at {now}");
        }
    }

    #[test]
    fn an_id_is_read_as_streams_write_it() {
        let id = |ms, seq| Some(StreamId { ms, seq });
        for (text, expected) in [
            ("0", id(0, 0)),
            ("-", id(0, 0)),
            ("1754300000000", id(1_754_300_000_000, 0)),
            ("5-7", id(5, 7)),
            ("18446744073709551615-18446744073709551615", Some(LAST)),
            ("18446744073709551616", None),
            ("", None),
            ("5-", None),
            ("-5", None),
            ("+5", None),
            ("5-+7", None),
            ("5-7-9", None),
            ("5-*", None),
            ("$", None),
            ("+", None),
        ] {
            assert_eq!(StreamId::parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(StreamId::parse(b"\xff"), None);
        assert_eq!(StreamId { ms: 5, seq: 7 }.to_string(), "5-7");
    }

    #[test]
    fn the_next_id_is_the_smallest_after_it() {
        let id = StreamId { ms: 5, seq: 7 };
        assert_eq!(id.next(), Some(StreamId { ms: 5, seq: 8 }));
        let full = StreamId {
            ms: 5,
            seq: u64::MAX,
        };
        assert_eq!(full.next(), Some(StreamId { ms: 6, seq: 0 }));
        assert!(id < StreamId { ms: 6, seq: 0 } && full < StreamId { ms: 6, seq: 0 });
        assert_eq!(LAST.next(), None);
    }
}
