//! The arguments of XADD: where the fields begin, and whether the entry outlives the command.
//!
//! `XADD key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value …`

/// What the words of an XADD say of its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The first field's name among the words.
    pub fields: usize,
    /// Trimming leaves the new entry in the stream.
    pub keeps: bool,
    /// The server chooses the id (`*`).
    pub chosen: bool,
}

/// Whether a word is that keyword, in whatever case. Most clients write it in capitals, as it is given here.
#[must_use]
#[inline]
pub fn is(word: &[u8], keyword: &[u8]) -> bool {
    word.len() == keyword.len() && (word == keyword || is_in_other_letters(word, keyword))
}

#[cold]
fn is_in_other_letters(word: &[u8], keyword: &[u8]) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// Reads the words of an XADD that the server will accept; `None` for one with an option that is not known here, and for one
/// without fields.
pub fn layout<'a>(word: impl Fn(usize) -> &'a [u8], words: usize) -> Option<Layout> {
    let (mut at, mut keeps) = (2, true);
    while at + 1 < words {
        let (option, next) = (word(at), at + 1);
        let is = |keyword: &str| is(option, keyword.as_bytes());
        if let [b'*'] | [b'0'..=b'9', ..] = option {
            let whole = next < words && (words - next).is_multiple_of(2);
            return whole.then_some(Layout {
                fields: next,
                keeps,
                chosen: option == b"*",
            });
        }
        if is("MAXLEN") || is("MINID") {
            let threshold = next + usize::from(matches!(word(next), b"=" | b"~"));
            // At least one entry is kept, and the newest is the last to go.
            let some = threshold < words && matches!(word(threshold), [b'1'..=b'9', ..]);
            keeps = is("MAXLEN") && some;
            at = threshold + 1;
        } else if is("LIMIT") {
            at += 2;
        } else if ["NOMKSTREAM", "KEEPREF", "DELREF", "ACKED"]
            .into_iter()
            .any(is)
        {
            at += 1;
        } else {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_chooses_an_id_that_is_only_a_star() {
        for (id, chosen) in [("*", true), ("5-*", false), ("5-1", false), ("5", false)] {
            let words: [&[u8]; 5] = [b"XADD", b"s", id.as_bytes(), b"f", b"1"];
            let layout = layout(|at| words[at], words.len()).unwrap();
            assert_eq!(layout.chosen, chosen, "{id}");
        }
    }

    fn read(command: &str) -> Option<(String, bool)> {
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let layout = layout(|at| words[at], words.len())?;
        let first = String::from_utf8(words[layout.fields].to_vec()).unwrap();
        Some((first, layout.keeps))
    }

    #[test]
    fn fields_begin_after_the_id() {
        for (command, keeps) in [
            ("XADD s * f 1", true),
            ("XADD s 5-1 f 1 g 2", true),
            ("xadd s nomkstream 5-* f 1", true),
            ("XADD s MAXLEN ~ 10000 * f 1", true),
            ("XADD s maxlen 1 * f 1", true),
            ("XADD s MAXLEN = 10 KEEPREF * f 1", true),
            ("XADD s NOMKSTREAM MAXLEN ~ 10 LIMIT 0 * f *", true),
            ("XADD s MAXLEN 0 * f 1", false),
            ("XADD s MAXLEN = 0 * f 1", false),
            ("XADD s MAXLEN 00 * f 1", false),
            ("XADD s MAXLEN ~ 0 LIMIT 5 7 f 1", false),
            ("XADD s MINID ~ 5 ACKED 7 f 1", false),
        ] {
            assert_eq!(read(command), Some(("f".into(), keeps)), "{command}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::testing::cases(3000))]

        #[test]
        fn no_words_are_read_beyond_the_last(words in proptest::collection::vec(proptest::sample::select(vec![
            "XADD", "s", "*", "5-1", "MAXLEN", "minid", "~", "=", "LIMIT", "10", "NOMKSTREAM", "KEEPREF", "", "\u{0}", "f",
        ]), 0..12)) {
            let read = layout(|at| words[at].as_bytes(), words.len());
            if let Some(layout) = read {
                proptest::prop_assert!(layout.fields < words.len() && (words.len() - layout.fields).is_multiple_of(2));
            }
        }
    }

    #[test]
    fn what_is_not_known_is_left_to_the_server() {
        for command in [
            "XADD s FUTURE 5 * f 1",
            "XADD s IDMPAUTO p * f 1",
            "XADD s MAXLEN",
            "XADD s MAXLEN ~",
            "XADD s *",
            "XADD s * f",
            "XADD s 5-1 f 1 g",
            "XADD s  f 1",
            "XADD s MAXLEN ~ 10",
        ] {
            assert_eq!(read(command), None, "{command}");
        }
    }
}
