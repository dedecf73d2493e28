//! Glob patterns with the syntax of Redis's KEYS: `*`, `?`, `[a-z]`, `[^x]` and `\` to escape.
//!
//! A pattern is segments between stars. The first is compared with the beginning of the text, the last with its end, and each
//! one between is looked for behind the one before, leftmost first: that leaves the most to the others, so nothing is ever
//! tried again (the recursive way is exponential in the number of stars, and going back to the last star takes pattern × text
//! steps). Literals are found by a linear search. A segment with `?` or classes is followed at all places at once, 64 of its
//! bytes in a step (Shift-And, Baeza-Yates and Gonnet 1992).

use memchr::memmem;

use crate::error::Error;

/// Longest pattern, in bytes: what one match can cost is bounded by the length of the key.
const LONGEST: usize = 1024;

/// A pattern that somebody gave.
///
/// # Errors
/// [`Error::Pattern`] for one that is empty or too long.
pub fn checked(pattern: &[u8]) -> Result<&[u8], Error> {
    if pattern.is_empty() || pattern.len() > LONGEST {
        return Err(Error::Pattern);
    }
    Ok(pattern)
}

/// Up to this length of text a segment is tried place by place: preparing for more costs a step for each value of a byte.
const SHORT: usize = 256;

/// One element of a pattern that matches exactly one byte.
struct Step {
    /// Where the next element begins.
    next: usize,
    /// Whether the byte matched.
    matched: bool,
}

/// Whether `text` matches `pattern`.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (head, mut more) = Segment::first(pattern);
    let Some(mut text) = head.begins(text) else {
        return false;
    };
    while let Some(pattern) = more {
        let (segment, after) = Segment::first(pattern);
        let behind = if after.is_some() {
            segment.search(text)
        } else {
            segment.ends(text)
        };
        let Some(behind) = behind else {
            return false;
        };
        (text, more) = (behind, after);
    }
    text.is_empty()
}

/// A part of a pattern without a star.
struct Segment<'a> {
    bytes: &'a [u8],
    /// Bytes of text that it matches.
    width: usize,
    /// Each of its bytes stands for itself.
    literal: bool,
}

impl<'a> Segment<'a> {
    /// What stands before the first star, and what behind it; `None` where there is no star.
    fn first(pattern: &'a [u8]) -> (Self, Option<&'a [u8]>) {
        let (mut at, mut width, mut literal) = (0, 0, true);
        while let Some(&byte) = pattern.get(at) {
            if byte == b'*' {
                break;
            }
            literal &= !matches!(byte, b'?' | b'[' | b'\\');
            at = step(pattern, at, 0).next;
            width += 1;
        }
        let (bytes, rest) = pattern.split_at_checked(at).unwrap_or((pattern, &[]));
        let segment = Self {
            bytes,
            width,
            literal,
        };
        (segment, rest.get(1..))
    }

    /// What is left of a text that begins with it.
    fn begins<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        if self.literal {
            took(self.width);
            return text.strip_prefix(self.bytes);
        }
        let (mine, rest) = text.split_at_checked(self.width)?;
        let mut at = 0;
        let all = mine.iter().all(|byte| {
            let step = step(self.bytes, at, *byte);
            at = step.next;
            step.matched
        });
        all.then_some(rest)
    }

    /// Nothing is left of a text that ends with it.
    fn ends<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        self.begins(text.get(text.len().checked_sub(self.width)?..)?)
    }

    /// What is left behind its leftmost place in a text.
    fn search<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        if self.literal {
            let found = memmem::find(text, self.bytes);
            took(found.unwrap_or(text.len()) + self.width);
            return text.get(found? + self.width..);
        }
        if text.len() <= SHORT {
            let last = text.len().checked_sub(self.width)?;
            return (0..=last).find_map(|from| self.begins(text.get(from..)?));
        }
        let words = self.width.div_ceil(64);
        // For each byte, which elements it matches; and which of the elements so far the text read so far ends with.
        let masks: Vec<u64> = (0..=u8::MAX).flat_map(|byte| self.mask(byte)).collect();
        let mut state = vec![0_u64; words];
        let last = 1 << ((self.width - 1) % 64);
        let end = text.iter().position(|byte| {
            took(words);
            let mask = masks.chunks_exact(words).nth(usize::from(*byte));
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(mask.unwrap_or_default()) {
                let next = (*word << 1 | carry) & mask;
                carry = *word >> 63;
                *word = next;
            }
            state.last().is_some_and(|word| word & last != 0)
        });
        text.get(end? + 1..)
    }

    /// The elements that match a byte, a bit for each.
    fn mask(&self, byte: u8) -> Vec<u64> {
        let mut mask = vec![0; self.width.div_ceil(64)];
        let mut at = 0;
        for element in 0..self.width {
            let step = step(self.bytes, at, byte);
            at = step.next;
            if let Some(word) = mask.get_mut(element / 64) {
                *word |= u64::from(step.matched) << (element % 64);
            }
        }
        mask
    }
}

/// Matches the element at `at` (not a star) against one byte.
fn step(pattern: &[u8], at: usize, byte: u8) -> Step {
    took(1);
    match (pattern.get(at), pattern.get(at + 1)) {
        (Some(b'?'), _) => Step {
            next: at + 1,
            matched: true,
        },
        (Some(b'['), Some(_)) => class(pattern, at + 1, byte),
        (Some(b'\\'), Some(&literal)) => Step {
            next: at + 2,
            matched: literal == byte,
        },
        (Some(&literal), _) => Step {
            next: at + 1,
            matched: literal == byte,
        },
        (None, _) => Step {
            next: at,
            matched: false,
        },
    }
}

/// Matches a class whose first byte after `[` is at `at`. An unclosed class runs to the end of the pattern, as in Redis.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Step {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut matched = false;
    while let Some(&c) = pattern.get(at) {
        took(1);
        match (c, pattern.get(at + 1), pattern.get(at + 2)) {
            (b']', ..) => {
                at += 1;
                break;
            }
            (b'\\', Some(&literal), _) => {
                matched |= literal == byte;
                at += 2;
            }
            (from, Some(b'-'), Some(&to)) => {
                matched |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            (literal, ..) => {
                matched |= literal == byte;
                at += 1;
            }
        }
    }
    Step {
        next: at,
        matched: matched != negated,
    }
}

/// How specific a pattern is: an exact key above all, then by the number of literal bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    pub(crate) exact: bool,
    literals: usize,
}

/// The one text an exact pattern matches; `None` for a pattern of many.
#[must_use]
pub fn exact(pattern: &[u8]) -> Option<Vec<u8>> {
    if !specificity(pattern).exact {
        return None;
    }
    let (mut text, mut rest) = (Vec::with_capacity(pattern.len()), pattern);
    while let Some((byte, after)) = rest.split_first() {
        // Only a backslash with something after it escapes.
        let (byte, after) = after
            .split_first()
            .filter(|_| *byte == b'\\')
            .unwrap_or((byte, after));
        text.push(*byte);
        rest = after;
    }
    Some(text)
}

/// The pattern that matches this text and no other; the inverse of [`exact`].
#[must_use]
pub fn escaped(text: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b'*' | b'?' | b'[' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern
}

/// The specificity of a pattern.
#[must_use]
pub fn specificity(pattern: &[u8]) -> Specificity {
    let (mut at, mut literals, mut exact) = (0, 0, true);
    while let Some(&c) = pattern.get(at) {
        match c {
            b'*' | b'?' => {
                exact = false;
                at += 1;
            }
            b'[' if at + 1 < pattern.len() => {
                exact = false;
                at = class(pattern, at + 1, 0).next;
            }
            _ => {
                literals += 1;
                at += if c == b'\\' && at + 1 < pattern.len() {
                    2
                } else {
                    1
                };
            }
        }
    }
    Specificity { exact, literals }
}

/// Counts what a match costs, for the tests.
#[cfg(not(test))]
fn took(_: usize) {}

#[cfg(test)]
use tests::took;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn took(steps: usize) {
        STEPS.set(STEPS.get() + steps);
    }

    /// Whether it matches, and in how many steps.
    fn counted(pattern: &[u8], text: &[u8]) -> (bool, usize) {
        STEPS.set(0);
        (matches(pattern, text), STEPS.get())
    }

    /// What a glob means, straight from the syntax: the lengths of text that what was read of the pattern can match.
    fn means(pattern: &[u8], text: &[u8]) -> bool {
        let (mut at, mut ends) = (0, std::collections::BTreeSet::from([0]));
        while let Some(byte) = pattern.get(at) {
            if *byte == b'*' {
                ends = (ends.first().copied().unwrap_or(usize::MAX)..=text.len()).collect();
                at += 1;
                continue;
            }
            let next = step(pattern, at, 0).next;
            let goes_on = |end: &usize| {
                text.get(*end)
                    .is_some_and(|b| step(pattern, at, *b).matched)
            };
            ends = ends
                .into_iter()
                .filter(goes_on)
                .map(|end| end + 1)
                .collect();
            at = next;
        }
        ends.contains(&text.len())
    }

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "sensor:1", true),
            ("sensor:*:temperature", "sensor:rack-1:temperature", true),
            ("sensor:*:temperature", "sensor:rack-1:humidity", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("r?ck", "rack", true),
            ("r?ck", "rck", false),
            ("rack-[0-3]", "rack-2", true),
            ("rack-[0-3]", "rack-4", false),
            ("rack-[^0-3]", "rack-4", true),
            ("rack-[3-0]", "rack-2", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "aXb", false),
            ("[ab", "b", true),
            ("[", "[", true),
            ("\\", "\\", true),
            ("", "", true),
            ("", "x", false),
            ("*x", "yyx", true),
            ("**", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} against {text}"
            );
        }
        assert!(matches(b"k\xff*", b"k\xff\x00"));
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_to_be_read() {
        let text = vec![b'a'; 1_000_000];
        for pattern in [
            "a*".repeat(511) + "b",
            "*".repeat(1023) + "b",
            format!("*{}b*", "a".repeat(1000)),
            format!("*{}b*{}", "a".repeat(500), "a".repeat(500)),
            "sensor:*:temperature".into(),
            "*:temperature".into(),
            "*:rack:*:temperature*".into(),
        ] {
            let (matched, steps) = counted(pattern.as_bytes(), &text);
            assert!(!matched);
            let most = text.len() + 4 * pattern.len();
            assert!(steps <= most, "{pattern}: {steps} steps");
        }
    }

    #[test]
    fn a_segment_with_wildcards_is_followed_64_bytes_in_a_step() {
        let text = vec![b'a'; 1_000_000];
        for (pattern, words) in [
            (format!("*{}b*", "?".repeat(62)), 1),
            (format!("*{}b*", "?".repeat(63)), 1),
            (format!("*{}b*", "?".repeat(64)), 2),
            (format!("*{}b*", "?".repeat(1000)), 16),
            (format!("*{}b*", "a?".repeat(500)), 16),
            (format!("*{}b*", "[a-c]".repeat(200)), 4),
            (format!("*[{}]b*", "abc".repeat(330)), 1),
        ] {
            let (matched, steps) = counted(pattern.as_bytes(), &text);
            assert!(!matched);
            let most = words * text.len() + 600 * pattern.len();
            assert!(steps <= most, "{pattern}: {steps} steps");
            let mut text = text.clone();
            text[999_000] = b'b';
            assert!(matches(pattern.as_bytes(), &text), "{pattern}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::cases(4000))]

        #[test]
        fn a_pattern_matches_what_its_syntax_says(
            pattern in "([ab]|[*]|[?]|\\[a\\]|\\[\\^a\\]|\\[a-b|\\\\.){0,7}",
            text in "[ab*]{0,9}",
        ) {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text), means(pattern, text));
            // As long as it takes for the other way to look for a segment, which what is put before must not change.
            let long = [&[b'c'; SHORT], text].concat();
            let starred = [b"*", pattern].concat();
            prop_assert_eq!(matches(&starred, &long), means(&starred, &long));
        }
    }

    #[test]
    fn an_exact_key_is_more_specific_than_any_pattern() {
        let order = ["*", "sensor:*", "sensor:*:temperature", "s"];
        assert!(order.windows(2).all(|pair| match pair {
            [a, b] => specificity(a.as_bytes()) < specificity(b.as_bytes()),
            _ => false,
        }));
        assert_eq!(specificity(b"[abc]x"), specificity(b"?x"));
        assert!(specificity(b"a\\*").exact);
    }

    #[test]
    fn a_text_that_was_escaped_is_an_exact_pattern() {
        for text in [&b"s"[..], b"", b"a*b", b"[x]?\\", b"k\xff", b"\\*"] {
            let pattern = escaped(text);
            assert_eq!(exact(&pattern).as_deref(), Some(text));
            assert!(matches(&pattern, text));
        }
    }

    #[test]
    fn an_exact_pattern_matches_the_text_it_gives_and_no_other() {
        for (pattern, text) in [
            (&b"s"[..], Some(&b"s"[..])),
            (b"a\\*b\\\\", Some(b"a*b\\")),
            (b"a\\", Some(b"a\\")),
            (b"a[", Some(b"a[")),
            (b"k\xff", Some(b"k\xff")),
            (b"s*", None),
            (b"s?", None),
            (b"[ab]", None),
        ] {
            assert_eq!(exact(pattern).as_deref(), text);
            assert!(text.is_none_or(|text| matches(pattern, text)));
        }
    }
}
