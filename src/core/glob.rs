//! Glob patterns with the syntax of Redis's KEYS: `*`, `?`, `[a-z]`, `[^x]` and `\` to escape.
//!
//! Matching keeps one fallback position (the last `*`), so it takes at most pattern × text steps whatever the pattern:
//! the recursive way is exponential in the number of stars.

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
    let (mut p, mut t) = (0, 0);
    let mut fallback: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            fallback = Some((p + 1, t));
            p += 1;
            continue;
        }
        match (text.get(t), p < pattern.len()) {
            (None, false) => return true,
            (Some(&byte), true) => {
                let step = step(pattern, p, byte);
                if step.matched {
                    (p, t) = (step.next, t + 1);
                    continue;
                }
            }
            (None, true) | (Some(_), false) => {}
        }
        match fallback {
            Some((after_star, from)) if from < text.len() => {
                fallback = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            _ => return false,
        }
    }
}

/// Matches the element at `at` (not a star) against one byte.
fn step(pattern: &[u8], at: usize, byte: u8) -> Step {
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_pathological_pattern_takes_no_exponential_time() {
        let pattern = "a*".repeat(500) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(10_000).as_bytes()));
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
