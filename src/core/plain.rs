//! The usual entry of a watched stream, in which nothing is bad: as most are, and at a third of the price.
//!
//! Nothing is looked at that the names say already ([`Shape`]), and no value but those that are needed. What is in any way not as it
//! should be is left to [`crate::entry`], which has a sentence for it.

use smallvec::SmallVec;

use crate::entry::Key;
use crate::instant;
use crate::shape::{Shape, Usual};
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

/// Reads the entry with these values, if all of it can be, outside a cluster: its readings, in its order, are added to `found`.
/// `None`: something is bad, or not usual, and what was found counts for nothing. The milliseconds of its id may be
/// unknown where [`Shape::finds_time`]. The shape must be of this watch and stream, and of the names of these values.
#[inline]
pub fn read<'a>(
    watch: &Watch,
    stream: &[u8],
    ms: Option<u64>,
    shape: &'a Shape,
    value: impl Fn(usize) -> &'a [u8],
    found: &mut Plains<'a>,
) -> Option<Common<'a>> {
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
    let mut add = |key: Key, metric: &'a [u8], field: usize, value: f64| {
        found.push(Plain {
            key,
            metric,
            field,
            value,
        });
        value.is_finite().then_some(())
    };
    match usual {
        Usual::Pair(metric, field) => {
            let metric = value(metric);
            let number = number(value(field)).filter(|_| !metric.is_empty())?;
            let key = template.render(device, metric, stream);
            add(key, metric, field, number)?;
        }
        usual => {
            for (nth, field) in shape.readable().iter().copied().enumerate() {
                match number(value(field)) {
                    Some(number) => {
                        let metric = shape.name(field);
                        let key = shape.key(nth, device);
                        let key = key.unwrap_or_else(|| template.render(device, metric, stream));
                        add(key, metric, field, number)?;
                    }
                    None if usual == Usual::Named => return None,
                    None => {}
                }
            }
        }
    }
    (!found.is_empty()).then_some(common)
}
