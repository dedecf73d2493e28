//! What the names of an entry's fields say by themselves.

use smallvec::SmallVec;

use crate::entry::first;
use crate::watch::{Values, Watch};

/// Most names that are kept in mind, and most bytes of them.
const MOST: usize = 32;
const MOST_BYTES: usize = 512;

/// The names of an entry's fields, which of them tell device and time, and which may be read, as a watch goes by them. A
/// stream's producers mostly send the same names again and again: kept with the stream (and with its watch, which it must not
/// outlive), it spares to look for them.
#[derive(Debug, Default)]
pub struct Shape {
    /// The names in their order, one after the other, and where each ends; those of no entry if there are none.
    names: SmallVec<[u8; 64]>,
    ends: SmallVec<[usize; 8]>,
    device: Option<usize>,
    time: Option<usize>,
    readable: SmallVec<[usize; 4]>,
    usual: Option<Usual>,
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
    /// That of an entry with fields of these names, as read by this watch.
    #[must_use]
    pub fn new<'a>(watch: &Watch, names: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let named = || names.clone().enumerate();
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
        for name in names {
            shape.names.extend_from_slice(name);
            shape.ends.push(shape.names.len());
        }
        shape.usual = shape.usual_of(watch);
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

    /// Whether it is small enough to be kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.ends.len() <= MOST && self.names.len() <= MOST_BYTES
    }

    /// Whether it is that of an entry with fields of these names.
    pub fn is_of<'a>(&self, mut names: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut from = 0;
        !self.ends.is_empty()
            && self.ends.iter().all(|end| {
                let from = std::mem::replace(&mut from, *end);
                names.next() == self.names.get(from..*end)
            })
            && names.next().is_none()
    }

    /// How many fields such an entry has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether that is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|position| self.name(position))
    }

    /// The name of the field at a position.
    pub(crate) fn name(&self, position: usize) -> &[u8] {
        let end = self.ends.get(position).copied().unwrap_or_default();
        let before = position
            .checked_sub(1)
            .and_then(|before| self.ends.get(before));
        self.names
            .get(before.copied().unwrap_or_default()..end)
            .unwrap_or_default()
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
    pub(crate) fn readable(&self) -> impl Iterator<Item = usize> + Clone {
        self.readable.iter().copied()
    }

    /// How such an entry is read if nothing in it is bad, where there is a usual way.
    pub(crate) fn usual(&self) -> Option<Usual> {
        self.usual
    }
}
