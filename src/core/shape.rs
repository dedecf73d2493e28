//! What the names of an entry's fields say by themselves.

use crate::entry::first;
use crate::key::{Name, joined};
use crate::watch::{Values, Watch};

/// Most names that are kept in mind, and most bytes of them, and of what is made of them.
const MOST: usize = 32;
const MOST_BYTES: usize = 512;

/// The names of an entry's fields, which of them tell device and time, which may be read, and what the keys of sensors are but
/// for the device, as a watch goes by them. A stream's producers mostly send the same names again and again: kept with the
/// stream (and with its watch, which it must not outlive), it spares to look for them.
#[derive(Debug, Default)]
pub struct Shape {
    names: Texts,
    device: Option<usize>,
    time: Option<usize>,
    readable: Vec<usize>,
    usual: Option<Usual>,
    /// What stands before and after the device in the key of each that is readable.
    frames: Texts,
    /// One of the fields tells the time, and none can hold another.
    finds_time: bool,
}

/// How an entry is read in which nothing is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usual {
    /// What is readable and is a number.
    Numbers,
    /// All that is readable.
    Named,
    /// The positions of the one field that names the metric and of the one that holds its value.
    Pair(usize, usize),
}

impl Shape {
    /// That of an entry of a stream, with fields of these names, as read by this watch.
    #[must_use]
    pub fn new(watch: &Watch, stream: &[u8], names: &[&[u8]]) -> Self {
        let named = || names.iter().copied().enumerate();
        let found =
            |wanted| first(wanted, named(), |(_, name)| *name).map(|(position, _)| position);
        let (device, time) = (found(watch.devices()), found(watch.times()));
        let readable = named().filter(|(_, name)| watch.may_be_read(name));
        let mut shape = Self {
            device,
            time,
            readable: readable.map(|(position, _)| position).collect(),
            finds_time: time.is_some() && watch.json().is_none(),
            ..Self::default()
        };
        named().for_each(|(_, name)| shape.names.push(name));
        shape.usual = shape.usual_of(watch);
        if matches!(shape.usual, Some(Usual::Numbers | Usual::Named)) {
            shape.frames = shape.frames_of(watch, stream).unwrap_or_default();
        }
        shape
    }

    fn usual_of(&self, watch: &Watch) -> Option<Usual> {
        let lacks_device = self.device.is_none() && watch.template(false).uses_device();
        let is_named = |at: &usize| !self.name(*at).is_empty();
        if watch.json().is_some() || lacks_device || !self.readable.iter().all(is_named) {
            return None;
        }
        match watch.values() {
            Values::Numbers => Some(Usual::Numbers),
            Values::Named(_) => Some(Usual::Named),
            Values::Pair { metric, value } if metric == value => None,
            Values::Pair { metric, value } => match self.readable[..] {
                [a, b] if self.name(a) == metric && self.name(b) == value => {
                    Some(Usual::Pair(a, b))
                }
                [a, b] if self.name(b) == metric && self.name(a) == value => {
                    Some(Usual::Pair(b, a))
                }
                _ => None,
            },
        }
    }

    /// `None` where the device stands more than once, or they are large.
    fn frames_of(&self, watch: &Watch, stream: &[u8]) -> Option<Texts> {
        let mut frames = Texts::default();
        for position in &self.readable {
            let (before, after) = watch.template(false).frame(self.name(*position), stream)?;
            frames.push(&before);
            frames.push(&after);
            if frames.bytes.len() > MOST_BYTES {
                return None;
            }
        }
        Some(frames)
    }

    /// Whether it is small enough to be kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.len() <= MOST && self.names.bytes.len() <= MOST_BYTES
    }

    /// Whether it is that of an entry with so many fields, one at least, of these names.
    #[inline]
    pub fn is_of<'a>(&self, fields: usize, name: impl Fn(usize) -> &'a [u8]) -> bool {
        let mut known = self.names.bounds.array_windows().enumerate();
        fields != 0
            && fields == self.len()
            && known
                .all(|(field, [from, to])| self.names.bytes.get(*from..*to) == Some(name(field)))
    }

    /// How many fields such an entry has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether that is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.len() == 0
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|position| self.name(position))
    }

    /// The name of the field at a position.
    #[inline]
    pub(crate) fn name(&self, position: usize) -> &[u8] {
        self.names.get(position).unwrap_or_default()
    }

    /// Position of the field that tells the device.
    pub(crate) fn device(&self) -> Option<usize> {
        self.device
    }

    /// Whether such an entry tells its time by one of its fields, whatever they hold.
    #[must_use]
    pub fn finds_time(&self) -> bool {
        self.finds_time
    }

    /// Position of the field that tells the time.
    pub(crate) fn time(&self) -> Option<usize> {
        self.time
    }

    /// Positions of the fields that may be read, in their order.
    pub(crate) fn readable(&self) -> &[usize] {
        &self.readable
    }

    /// How such an entry is read if nothing in it is bad, where there is a usual way.
    pub(crate) fn usual(&self) -> Option<Usual> {
        self.usual
    }

    /// The key of the sensor of such a device for the n-th of the fields that may be read, where it is known but for that.
    #[inline]
    pub(crate) fn key(&self, nth: usize, device: &[u8]) -> Option<Name> {
        let before = self.frames.get(2 * nth)?;
        let after = self.frames.get(2 * nth + 1)?;
        Some(joined([before, device, after].into_iter()))
    }
}

/// Texts one after the other: each begins where the one before it ends.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    bounds: Vec<usize>,
}

impl Texts {
    fn push(&mut self, text: &[u8]) {
        if self.bounds.is_empty() {
            self.bounds.push(0);
        }
        self.bytes.extend_from_slice(text);
        self.bounds.push(self.bytes.len());
    }

    fn len(&self) -> usize {
        self.bounds.len().saturating_sub(1)
    }

    #[inline]
    fn get(&self, at: usize) -> Option<&[u8]> {
        match self.bounds.get(at..)? {
            [from, to, ..] => self.bytes.get(*from..*to),
            _ => None,
        }
    }
}
