//! Which samples of a TS.MADD were written.

/// Of each of many samples whether it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Each was.
    All,
    /// These were, by position; what is beyond the last was not.
    Some(Vec<bool>),
}

impl Default for Written {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Written {
    /// What the reply, as it is sent, says of so many samples. `time` gives the time of a sample, in ms, as it was sent.
    ///
    /// The reply has for each sample its time, or an error. But TimeSeries (1.12) puts one more error before the time of a sample
    /// whose compaction is refused, and from there on what follows is another sample's. So after an error a time is only believed if it can be no
    /// other's, and all before it with it. Where that is not known the answer is no: a sample may be written twice.
    #[must_use]
    pub fn read<'a>(reply: &[u8], samples: usize, time: impl Fn(usize) -> &'a [u8]) -> Self {
        if has_only_times(reply, samples) {
            return Self::All;
        }
        Self::Some(each(reply, samples, time))
    }

    /// Whether the sample at a position was written.
    #[must_use]
    pub fn has(&self, at: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(written) => written.get(at).copied().unwrap_or(false),
        }
    }

    /// How many of so many samples were written.
    #[must_use]
    pub fn count(&self, samples: usize) -> usize {
        match self {
            Self::All => samples,
            Self::Some(written) => written.iter().filter(|written| **written).count(),
        }
    }
}

/// Whether a reply is an array of so many parts, and each of them an integer: whatever else a part can be begins with another
/// sign.
fn has_only_times(reply: &[u8], samples: usize) -> bool {
    let only_times = |parts: &[u8]| {
        let integers = |byte: &u8| matches!(byte, b'0'..=b':' | b'\r' | b'\n');
        // Without a branch, so that many bytes are looked at at once.
        parts.iter().fold(true, |all, byte| all & integers(byte))
            && memchr::memchr_iter(b':', parts).count() == samples
    };
    let header = reply.iter().position(|byte| *byte == b'\n');
    let (header, parts) = reply.split_at(header.unwrap_or(0));
    let says = header.trim_ascii_end().strip_prefix(b"*");
    let says = says.and_then(|says| std::str::from_utf8(says).ok()?.parse().ok());
    says == Some(samples) && only_times(parts)
}

fn each<'a>(reply: &[u8], samples: usize, time: impl Fn(usize) -> &'a [u8]) -> Vec<bool> {
    let mut lines = reply.split(|byte| *byte == b'\n');
    let mut written = Vec::with_capacity(samples);
    // So many errors may be one more than there are samples for, the first of them here.
    let (mut doubts, mut from) = (0, 0);
    if !matches!(lines.next(), Some([b'*', ..])) {
        return written;
    }
    for (at, line) in lines.take(samples).enumerate() {
        let [b':', answer @ ..] = line.trim_ascii_end() else {
            from = if doubts == 0 { at } else { from };
            doubts += 1;
            written.push(false);
            continue;
        };
        if doubts > 0 {
            if answer != time(at) {
                break;
            }
            let of_another = (1..=doubts).any(|back| answer == time(at - back));
            doubts = if of_another { doubts } else { 0 };
        }
        written.push(true);
    }
    if doubts > 0 {
        written.truncate(from);
    }
    written.resize(samples, false);
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str, times: &[&str]) -> Vec<bool> {
        let reply = format!("*{}\r\n{}\r\n", times.len(), reply.replace(' ', "\r\n"));
        read_from(&reply, times)
    }

    fn read_from(reply: &str, times: &[&str]) -> Vec<bool> {
        let samples = times.len();
        let written = Written::read(reply.as_bytes(), samples, |at| times[at].as_bytes());
        let each: Vec<bool> = (0..samples).map(|at| written.has(at)).collect();
        assert_eq!(
            written.count(samples),
            each.iter().filter(|written| **written).count()
        );
        each
    }

    #[test]
    fn each_sample_has_its_answer() {
        assert_eq!(read(":1 :2", &["1", "2"]), [true, true]);
        // A series that ignores a sample answers with the time of another.
        assert_eq!(read(":1 :1", &["1", "2"]), [true, true]);
        assert_eq!(read(":1 -E :3", &["1", "2", "3"]), [true, false, true]);
        assert_eq!(read(":1 -E", &["1", "2"]), [true, false]);
        for none in ["-ERR no\r\n", "", "*", "\n", ":1\r\n:1\r\n", "*2", "*2\r\n"] {
            assert_eq!(read_from(none, &["1", "1"]), [false, false], "{none:?}");
        }
        assert_eq!(
            read_from("*3\r\n:1\r\n", &["1", "1", "1"]),
            [true, false, false]
        );
        assert_eq!(
            read_from("*3\r\n:1\r\n+2\r\n:1:\r\n", &["1", "2", "1"]),
            [true, false, false]
        );
    }

    #[test]
    fn what_has_times_alone_is_read_at_once() {
        let read = |reply: &[u8]| Written::read(reply, 2, |_| b"1");
        assert_eq!(read(b"*2\r\n:1\r\n:22\r\n"), Written::All);
        for other in ["*2\r\n:1\r\n-E:2\r\n", "*3\r\n:1\r\n:2\r\n", "*2\r\n:1\r\n"] {
            assert_ne!(read(other.as_bytes()), Written::All, "{other:?}");
        }
    }

    #[test]
    fn an_answer_that_may_be_anothers_is_not_believed() {
        // The compaction of the second was refused, and the third; the answer of the last is cut off.
        assert_eq!(
            read(":1 -C :2 -E", &["1", "2", "3", "4"]),
            [true, false, false, false]
        );
        assert_eq!(
            read(":5 -C :5 -E", &["5", "5", "5", "5"]),
            [true, false, false, false]
        );
        // The third's own, or the first's after two refusals.
        assert_eq!(
            read("-C -C :1 -E", &["1", "2", "1", "3"]),
            [false, false, false, false]
        );
        // What is believed is believed for all before it.
        assert_eq!(
            read("-E :5 :6 -E :7", &["5", "5", "6", "7", "7"]),
            [false, true, true, false, false]
        );
    }

    proptest::proptest! {
        #![proptest_config(crate::testing::cases(3000))]

        /// Of each sample: its time, whether it was written, and whether its compaction was refused.
        #[test]
        fn no_sample_is_taken_for_written_that_was_not(
            samples in proptest::collection::vec((1..6u8, proptest::bool::weighted(0.8), proptest::bool::weighted(0.2)), 0..12)
        ) {
            let times: Vec<String> = samples.iter().map(|(time, ..)| time.to_string()).collect();
            let mut reply = format!("*{}\r\n", samples.len());
            let answers = samples.iter().flat_map(|(time, done, refused)| {
                let extra = (*done && *refused).then(|| "-C\r\n".to_owned());
                extra.into_iter().chain([if *done { format!(":{time}\r\n") } else { "-E\r\n".into() }])
            });
            reply.extend(answers.take(samples.len()));
            let times: Vec<&str> = times.iter().map(String::as_str).collect();
            let read = read_from(&reply, &times);
            for (read, (_, done, _)) in read.iter().zip(&samples) {
                proptest::prop_assert!(!read || *done, "{:?}", reply);
            }
            if samples.iter().all(|(_, done, refused)| *done && !refused) {
                proptest::prop_assert!(read.iter().all(|read| *read));
            }
        }
    }
}
