//! Readings from the entries of a watched stream.

use crate::reading::Reading;
use crate::stream_id::StreamId;
use crate::watch::Watch;

/// A reading of an entry, and whose it is.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryReading {
    /// The sensor's key.
    pub key: Vec<u8>,
    /// The device, empty where none is known.
    pub device: Vec<u8>,
    /// The metric, never empty.
    pub metric: Vec<u8>,
    /// The number and its time.
    pub reading: Reading,
}

/// An entry, or one metric of it, that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// The metric; `None`: the whole entry.
    pub metric: Option<Vec<u8>>,
    /// A sentence a person understands.
    pub reason: String,
}

/// The readings of an entry. What is bad about one metric stands in its place; what is bad about the whole entry stands
/// alone. There is always at least one of either.
#[must_use]
pub fn read(
    watch: &Watch,
    stream: &[u8],
    id: StreamId,
    fields: &[(&[u8], &[u8])],
    cluster: bool,
) -> Vec<Result<EntryReading, BadEntry>> {
    let _ = (watch, stream, id, fields, cluster);
    Vec::new()
}

/// An entry's fields as a JSON object, for the dead letters: in their order, with a repeated name as `name#2`, and bytes
/// that are not UTF-8 escaped.
#[must_use]
pub fn dead_payload(fields: &[(&[u8], &[u8])]) -> String {
    let _ = fields;
    String::new()
}
