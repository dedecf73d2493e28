//! What the names of an entry's fields say by themselves.

use smallvec::SmallVec;

use crate::entry::first;
use crate::watch::Watch;

/// Most names that are kept in mind, and most bytes of them.
const MOST: usize = 32;
const MOST_BYTES: usize = 512;

/// Which fields of an entry tell device and time, and which may be read, as a watch goes by their names. A stream's producers
/// mostly send the same names again and again: kept with the stream (and with its watch, which it must not outlive), it
/// spares to look for them.
#[derive(Debug, Default)]
pub struct Shape {
    /// The names in their order, one after the other, and where each ends; those of no entry if there are none.
    names: SmallVec<[u8; 64]>,
    ends: SmallVec<[usize; 8]>,
    device: Option<usize>,
    time: Option<usize>,
    readable: SmallVec<[usize; 4]>,
}

impl Shape {
    /// Whether the shape of an entry with these fields is small enough to be kept.
    pub(crate) fn is_kept(fields: &[(&[u8], &[u8])]) -> bool {
        let bytes: usize = fields.iter().map(|(name, _)| name.len()).sum();
        fields.len() <= MOST && bytes <= MOST_BYTES
    }

    /// Makes it that of an entry with these fields, unless it is.
    pub(crate) fn fit(&mut self, watch: &Watch, fields: &[(&[u8], &[u8])]) {
        if self.is_of(fields) {
            return;
        }
        let named = || fields.iter().map(|(name, _)| *name).enumerate();
        let found = |names| first(names, named(), |(_, name)| *name).map(|(position, _)| position);
        (self.device, self.time) = (found(watch.devices()), found(watch.times()));
        self.readable.clear();
        let readable = named().filter(|(_, name)| watch.may_be_read(name));
        self.readable.extend(readable.map(|(position, _)| position));
        self.names.clear();
        self.ends.clear();
        for (_, name) in named() {
            self.names.extend_from_slice(name);
            self.ends.push(self.names.len());
        }
    }

    fn is_of(&self, fields: &[(&[u8], &[u8])]) -> bool {
        let mut from = 0;
        !fields.is_empty()
            && self.ends.len() == fields.len()
            && self.ends.iter().zip(fields).all(|(end, (name, _))| {
                let from = std::mem::replace(&mut from, *end);
                self.names.get(from..*end) == Some(name)
            })
    }

    /// Position of the field that tells the device.
    pub(crate) fn device(&self) -> Option<usize> {
        self.device
    }

    /// Position of the field that tells the time.
    pub(crate) fn time(&self) -> Option<usize> {
        self.time
    }

    /// Positions of the fields that may be read, in their order.
    pub(crate) fn readable(&self) -> impl Iterator<Item = usize> + Clone {
        self.readable.iter().copied()
    }
}
