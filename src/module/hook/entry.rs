//! Entries of watched streams, and their readings as ingest takes them.

use std::rc::Rc;

use anomaly_core::Reading;
use anomaly_core::alert::Source;
use anomaly_core::entry::{EntryReading, Key};
use anomaly_core::plain::{Common, Plain};
use anomaly_core::reading::When;
use anomaly_core::shape::Shape;
use anomaly_core::stream_id::StreamId;
use smallvec::SmallVec;

use crate::ingest::Given;
use crate::server::{Fields, OwnedStr, Str};

/// The values of an entry's fields. The usual few need no heap.
pub(super) type Values = SmallVec<[OwnedStr; 4]>;

/// What is added to a watched stream.
pub(crate) struct Words {
    /// What the watch makes of the names.
    pub(super) shape: Rc<Shape>,
    pub(super) values: Values,
}

impl Words {
    /// The value of the field at a position.
    pub(super) fn value(&self, position: usize) -> Option<Str<'_>> {
        self.values.get(position).map(OwnedStr::borrow)
    }

    /// The same as bytes.
    #[inline(never)]
    pub(super) fn bytes(&self, position: usize) -> &[u8] {
        self.value(position).map_or(&[], Str::bytes)
    }

    /// All values, in order.
    pub(super) fn values(&self) -> SmallVec<[&[u8]; 8]> {
        let values = self.values.iter();
        values.map(|value| value.borrow().bytes()).collect()
    }

    /// Names and values, in order.
    pub(super) fn pairs(&self) -> Vec<(&[u8], &[u8])> {
        self.shape.names().zip(self.values()).collect()
    }
}

/// An entry of a watched stream.
pub(crate) struct Entry {
    /// Where it is not known it is the stream's newest.
    pub(super) id: Option<StreamId>,
    /// Its milliseconds, where they alone are known.
    pub(super) ms: Option<u64>,
    pub(super) words: Words,
}

impl Entry {
    /// The milliseconds of its id, where they are known.
    pub(super) fn ms(&self) -> Option<u64> {
        self.id.map(|id| id.ms).or(self.ms)
    }
}

/// What stands in turn: the names, and the values.
pub(super) fn halves(fields: Fields) -> (Vec<OwnedStr>, Values) {
    let (mut names, mut values) = (Vec::with_capacity(fields.len() / 2), Values::new());
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        names.push(name);
        values.push(value);
    }
    (names, values)
}

/// A reading of an entry, however it was read.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) key: &'a Key,
    device: &'a [u8],
    metric: &'a [u8],
    field: Option<usize>,
    pub(super) reading: Reading,
}

impl<'a> Found<'a> {
    pub(super) fn plain(common: &Common<'a>, found: &'a Plain<'a>) -> Self {
        Self {
            key: &found.key,
            device: common.device,
            metric: found.metric,
            field: Some(found.field),
            reading: Reading {
                at: common.at,
                value: found.value,
            },
        }
    }

    pub(super) fn any(found: &'a EntryReading<'_>) -> Self {
        Self {
            key: &found.key,
            device: &found.device,
            metric: &found.metric,
            field: found.field,
            reading: found.reading,
        }
    }

    /// Where it was read: in the entry of that id, if it is known.
    pub(super) fn source(&self, stream: &'a [u8], id: Option<StreamId>) -> Source<'a> {
        Source {
            device: self.device,
            metric: self.metric,
            stream,
            id,
        }
    }

    /// The reading as ingest takes it.
    pub(super) fn given<'g>(
        &self,
        sensor: Str<'g>,
        words: &'g Words,
        source: &'g Source<'g>,
    ) -> Given<'g> {
        Given {
            sensor,
            when: When::At(self.reading.at),
            value: self.reading.value,
            at_word: None,
            value_word: self.field.and_then(|field| words.value(field)),
            source: Some(source),
            explain: false,
        }
    }
}
