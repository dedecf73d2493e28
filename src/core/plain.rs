//! The usual entry of a watched stream, in which nothing is bad: as most are, and at a third of the price.
//!
//! Nothing is looked at that the names say already ([`Shape`]), and no value but those that are needed. What is in any way not as it
//! should be is left to [`crate::entry`], which has a sentence for it.

use smallvec::SmallVec;

use crate::entry::{EntryReading, Key};
use crate::instant;
use crate::reading::Reading;
use crate::shape::{Shape, Usual};
use crate::template::Template;
use crate::units::{Timestamp, number};
use crate::watch::Watch;

/// The readings of an entry. The usual ones need no heap.
pub type Plains<'a> = SmallVec<[Plain<'a>; 2]>;

/// A reading of an entry, beside what it has in common with the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain<'a> {
    /// The sensor's key.
    pub key: Key,
    /// The metric, never empty.
    pub metric: &'a [u8],
    /// Position of the field that holds the number.
    pub field: usize,
    /// The number, finite.
    pub value: f64,
}

/// What all readings of an entry have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Common<'a> {
    /// The device, empty where none is known.
    pub device: &'a [u8],
    /// The time.
    pub at: Timestamp,
}

impl<'a> Plain<'a> {
    /// The whole of it.
    pub(crate) fn with(self, common: &Common<'a>) -> EntryReading<'a> {
        EntryReading {
            key: self.key,
            device: common.device.into(),
            metric: self.metric.into(),
            field: Some(self.field),
            reading: Reading {
                at: common.at,
                value: self.value,
            },
        }
    }
}

/// An entry in which nothing is bad so far, outside a cluster.
pub struct Usually<'a, 's, V> {
    stream: &'s [u8],
    template: &'s Template,
    shape: &'a Shape,
    value: V,
    usual: Usual,
    /// What its readings have in common.
    pub common: Common<'a>,
}

impl<'a, 's, V: Fn(usize) -> &'a [u8]> Usually<'a, 's, V> {
    /// The entry with these values. `None`: something is bad, or not usual. The milliseconds of its id may be unknown where
    /// [`Shape::finds_time`]. The shape must be of this watch and stream, and of the names of these values.
    #[inline]
    pub fn new(
        watch: &'s Watch,
        stream: &'s [u8],
        ms: Option<u64>,
        shape: &'a Shape,
        value: V,
    ) -> Option<Self> {
        let usual = shape.usual()?;
        let template = watch.template(false);
        let device = shape.device().map_or(&b""[..], &value);
        if device.is_empty() && template.uses_device() {
            return None;
        }
        let at = match shape.time() {
            Some(position) => instant::parse(value(position)),
            None => instant::of_id(ms?),
        };
        let common = Common {
            device,
            at: at.ok()?,
        };
        Some(Self {
            stream,
            template,
            shape,
            value,
            usual,
            common,
        })
    }

    /// How many readings it may have.
    #[inline]
    pub fn most(&self) -> usize {
        match self.usual {
            Usual::Pair(_, _) => 1,
            _ => self.shape.readable().len(),
        }
    }

    /// The n-th of those; `Some(None)`: there is none, which is nothing bad, and `None`: something is.
    #[inline]
    pub fn nth(&self, n: usize) -> Option<Option<Plain<'a>>> {
        let (metric, field) = match self.usual {
            Usual::Pair(metric, field) => ((self.value)(metric), field),
            _ => {
                let field = *self.shape.readable().get(n)?;
                (self.shape.name(field), field)
            }
        };
        let Some(value) = number((self.value)(field)) else {
            return (self.usual == Usual::Numbers).then_some(None);
        };
        if metric.is_empty() || !value.is_finite() {
            return None;
        }
        let device = self.common.device;
        let key = self.shape.key(n, device);
        Some(Some(Plain {
            key: key.unwrap_or_else(|| self.template.render(device, metric, self.stream)),
            metric,
            field,
            value,
        }))
    }

    /// All its readings, in its order; one at least. `None`: something is bad.
    #[inline(never)]
    pub fn all(&self) -> Option<Plains<'a>> {
        let mut all = Plains::new();
        for n in 0..self.most() {
            all.extend(self.nth(n)?);
        }
        (!all.is_empty()).then_some(all)
    }
}
