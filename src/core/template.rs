//! Key templates: how the key of a sensor is made from what a stream's entry says.

use std::borrow::Cow;

use crate::error::Error;
use crate::glob;
use crate::key::hash_tag;

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
    pub fn render(&self, device: &[u8], metric: &[u8], stream: &[u8]) -> Vec<u8> {
        let pieces = || {
            self.parts.iter().map(|part| -> &[u8] {
                match part {
                    Part::Literal(text) => text,
                    Part::Device => device,
                    Part::Metric => metric,
                    Part::Stream => stream,
                    Part::Tag => hash_tag(stream),
                }
            })
        };
        let mut key = Vec::with_capacity(pieces().map(<[u8]>::len).sum());
        pieces().for_each(|piece| key.extend_from_slice(piece));
        key
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
