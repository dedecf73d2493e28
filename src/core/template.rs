//! Key templates: how the key of a sensor is made from what a stream's entry says.

use std::borrow::Cow;

use crate::entry::Key;
use crate::error::Error;
use crate::glob;
use crate::key::{hash_tag, joined};

/// Longest template, in bytes.
const LONGEST: usize = 1024;

/// A stretch of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Cow<'static, [u8]>),
    Device,
    Metric,
    Stream,
    Tag,
}

impl Part {
    fn named(word: &[u8]) -> Option<Self> {
        match word {
            b"device" => Some(Self::Device),
            b"metric" => Some(Self::Metric),
            b"stream" => Some(Self::Stream),
            b"tag" => Some(Self::Tag),
            _ => None,
        }
    }
}

/// A parsed key template: literal text with `$device`, `$metric`, `$stream` and `$tag` (the stream's hash tag, or its
/// whole name); `$$` is a dollar sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Two literals never stand side by side, and none is empty.
    parts: Cow<'static, [Part]>,
}

const fn literal(text: &'static [u8]) -> Part {
    Part::Literal(Cow::Borrowed(text))
}

/// `sensor:$device:$metric`
static DEFAULT: Template = Template {
    parts: Cow::Borrowed(
        const {
            &[
                literal(b"sensor:"),
                Part::Device,
                literal(b":"),
                Part::Metric,
            ]
        },
    ),
};

/// `sensor:{$tag}:$device:$metric`
static CLUSTER_DEFAULT: Template = Template {
    parts: Cow::Borrowed(
        const {
            &[
                literal(b"sensor:{"),
                Part::Tag,
                literal(b"}:"),
                Part::Device,
                literal(b":"),
                Part::Metric,
            ]
        },
    ),
};

fn rendered(parts: &[Part], device: &[u8], metric: &[u8], stream: &[u8]) -> Key {
    joined(parts.iter().map(|part| match part {
        Part::Literal(text) => text,
        Part::Device => device,
        Part::Metric => metric,
        Part::Stream => stream,
        Part::Tag => hash_tag(stream),
    }))
}

impl Template {
    /// The template of a watch that names none: `sensor:$device:$metric`, on a cluster `sensor:{$tag}:$device:$metric`.
    #[must_use]
    pub fn standard(cluster: bool) -> &'static Self {
        if cluster { &CLUSTER_DEFAULT } else { &DEFAULT }
    }

    /// Reads a template.
    ///
    /// # Errors
    /// [`Error::Length`] unless it has 1 to 1024 bytes; [`Error::Template`] for an unknown `$word`.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(Error::Length { name: "KEY" });
        }
        let (mut parts, mut plain, mut rest) = (Vec::new(), Vec::new(), text);
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if *byte != b'$' {
                plain.push(*byte);
                continue;
            }
            if let Some(after) = rest.strip_prefix(b"$") {
                plain.push(b'$');
                rest = after;
                continue;
            }
            let end = rest
                .iter()
                .position(|b| !(b.is_ascii_alphanumeric() || *b == b'_'));
            let (word, after) = rest
                .split_at_checked(end.unwrap_or(rest.len()))
                .unwrap_or((rest, b""));
            let part = Part::named(word).ok_or_else(|| Error::Template {
                word: word.to_vec(),
            })?;
            if !plain.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut plain).into()));
            }
            parts.push(part);
            rest = after;
        }
        if !plain.is_empty() {
            parts.push(Part::Literal(plain.into()));
        }
        Ok(Self {
            parts: parts.into(),
        })
    }

    /// The key of the sensor.
    #[must_use]
    pub fn render(&self, device: &[u8], metric: &[u8], stream: &[u8]) -> Key {
        rendered(&self.parts, device, metric, stream)
    }

    /// What stands before and after the device in the key of a sensor, where the device stands in it once.
    #[must_use]
    pub fn frame(&self, metric: &[u8], stream: &[u8]) -> Option<(Key, Key)> {
        let mut halves = self.parts.split(|part| *part == Part::Device);
        match (halves.next(), halves.next(), halves.next()) {
            (Some(before), Some(after), None) => Some((
                rendered(before, b"", metric, stream),
                rendered(after, b"", metric, stream),
            )),
            _ => None,
        }
    }

    /// Whether an entry must name its device.
    #[must_use]
    pub fn uses_device(&self) -> bool {
        self.parts.contains(&Part::Device)
    }

    /// Whether every key it makes lies in the slot of its stream, for the streams that match `pattern`: the first brace
    /// opens `{$tag}`, or, where the pattern is one key, holds the tag of that key. A variable before that brace could
    /// bring a brace of its own.
    #[must_use]
    pub fn stays_in_slot(&self, pattern: &[u8]) -> bool {
        let Some((Part::Literal(head), rest)) = self.parts.split_first() else {
            return false;
        };
        let Some(open) = head.iter().position(|b| *b == b'{') else {
            return false;
        };
        let stream = glob::exact(pattern);
        let tag = stream.as_deref().map(hash_tag);
        if open + 1 == head.len() {
            let closed = matches!(rest, [Part::Tag, Part::Literal(after), ..] if after.first() == Some(&b'}'));
            return closed && tag.is_none_or(|tag| !tag.is_empty() && !tag.contains(&b'}'));
        }
        let own = hash_tag(head);
        // Without a whole tag of its own the head is its tag, brace included; that is no key's tag here, or a stray brace.
        own.len() < head.len() && tag == Some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, stream: &str) -> String {
        let template = Template::parse(template.as_bytes()).unwrap();
        String::from_utf8(
            template
                .render(b"d1", b"temp", stream.as_bytes())
                .into_vec(),
        )
        .unwrap()
    }

    #[test]
    fn a_template_is_filled_in() {
        for (template, stream, key) in [
            ("sensor:$device:$metric", "raw", "sensor:d1:temp"),
            ("$stream/$metric", "raw:1", "raw:1/temp"),
            ("{$tag}:$device", "{rack}:raw", "{rack}:d1"),
            ("{$tag}:$device", "raw", "{raw}:d1"),
            ("$device$metric", "raw", "d1temp"),
            ("5$$:$$device", "raw", "5$:$device"),
            ("all", "raw", "all"),
        ] {
            assert_eq!(rendered(template, stream), key, "{template}");
        }
        for cluster in [false, true] {
            let text =
                ["sensor:$device:$metric", "sensor:{$tag}:$device:$metric"][usize::from(cluster)];
            assert_eq!(
                Template::standard(cluster),
                &Template::parse(text.as_bytes()).unwrap()
            );
        }
    }

    #[test]
    fn an_unknown_variable_is_named_with_those_there_are() {
        for (template, word) in [
            ("sensor:$sensor", "'$sensor'"),
            ("$device_id", "'$device_id'"),
            ("a$", "'$'"),
            ("$:x", "'$'"),
            ("$$$", "'$'"),
            ("$Device", "'$Device'"),
        ] {
            let error = Template::parse(template.as_bytes())
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("ERR ") && error.contains(word), "{error}");
            for known in ["$device", "$metric", "$stream", "$tag", "$$"] {
                assert!(error.contains(known), "{error}");
            }
        }
        for length in [0, 1025] {
            assert!(Template::parse(&vec![b'a'; length]).is_err());
        }
    }

    #[test]
    fn a_device_is_used_where_it_stands() {
        for (template, uses) in [
            ("a:$device", true),
            ("a:$$device", false),
            ("$stream", false),
        ] {
            assert_eq!(
                Template::parse(template.as_bytes()).unwrap().uses_device(),
                uses
            );
        }
    }

    #[test]
    fn a_template_stays_in_the_slot_if_its_first_braces_hold_the_streams_tag() {
        for (template, pattern, stays) in [
            ("sensor:{$tag}:$device:$metric", "raw:*", true),
            ("{$tag}$stream", "*", true),
            ("a}b{$tag}{x}", "*", true),
            ("$$:{$tag}:$metric", "*", true),
            ("sensor:$device:$metric", "raw:*", false),
            ("$tag:$metric", "raw:*", false),
            ("$device:{$tag}", "raw:*", false),
            ("$stream", "raw:*", false),
            ("{x$tag}", "raw:*", false),
            ("{$tag:x}", "raw:*", false),
            ("{$tag", "raw:*", false),
            ("{$device}", "raw:*", false),
            ("{}{$tag}", "raw:*", false),
            ("x{a}:{$tag}", "raw:*", false),
            // One stream: its tag may be written out.
            ("sensor:{raw}:$device", "raw", true),
            ("sensor:{raw}:$device", "{raw}:1", true),
            ("sensor:{raw}:$device", "\\{raw\\}:1", true),
            ("sensor:{$tag}:$device", "{raw}:1", true),
            ("sensor:{raw}:$device", "raw*", false),
            ("sensor:{raw}:$device", "raw:1", false),
            ("$device{raw}", "raw", false),
            ("{ra$metric}", "raw", false),
            ("raw", "raw", false),
            // No key can have the tag of such a stream.
            ("sensor:{$tag}:$device", "a}b", false),
            ("sensor:{$tag}:$device", "{}raw", false),
        ] {
            let parsed = Template::parse(template.as_bytes()).unwrap();
            assert_eq!(
                parsed.stays_in_slot(pattern.as_bytes()),
                stays,
                "{template} for {pattern}"
            );
        }
    }
}
