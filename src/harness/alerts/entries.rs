//! Stream replies as Redis shapes them, on RESP2 and RESP3.

use std::fmt;

use redis::{ConnectionLike, RedisError, Value};

use crate::alert::bytes;

/// Id of a stream entry; ordered as the stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryId {
    ms: u64,
    sequence: u64,
}

impl EntryId {
    pub(super) fn parse(id: &[u8]) -> Option<Self> {
        let (ms, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
        Some(Self {
            ms: ms.parse().ok()?,
            sequence: sequence.parse().ok()?,
        })
    }

    /// The id of an entry, whether its fields are still there or not.
    pub(super) fn of(entry: &Value) -> Option<Self> {
        let Value::Array(parts) = entry else {
            return None;
        };
        Self::parse(bytes(parts.first()?)?)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.ms, self.sequence)
    }
}

/// The id that the stream gave out last; `None` if there is no stream.
pub(super) fn newest(
    connection: &mut dyn ConnectionLike,
    stream: &str,
) -> Result<Option<EntryId>, RedisError> {
    let info = redis::cmd("XINFO")
        .arg("STREAM")
        .arg(stream)
        .query(connection);
    let info: Value = match info {
        Ok(info) => info,
        Err(error) => {
            let no_stream = error
                .detail()
                .is_some_and(|detail| detail.contains("no such key"));
            return if no_stream { Ok(None) } else { Err(error) };
        }
    };
    let id = pairs(&info)
        .into_iter()
        .find(|(name, _)| bytes(name) == Some(b"last-generated-id"))
        .and_then(|(_, id)| bytes(id));
    Ok(id.and_then(EntryId::parse))
}

/// Names and values of a map, which is flat on RESP2.
pub(super) fn pairs(reply: &Value) -> Vec<(&Value, &Value)> {
    match reply {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        Value::Array(flat) => {
            let (pairs, _) = flat.as_chunks::<2>();
            pairs.iter().map(|[name, value]| (name, value)).collect()
        }
        _ => Vec::new(),
    }
}

/// The reply of XREADGROUP as (stream, entries).
pub(super) fn streams<'r>(reply: &'r Value) -> Vec<(&'r [u8], &'r [Value])> {
    let pairs: Vec<(&Value, &Value)> = match reply {
        Value::Array(streams) => streams.iter().filter_map(pair).collect(),
        Value::Map(streams) => streams
            .iter()
            .map(|(stream, entries)| (stream, entries))
            .collect(),
        _ => Vec::new(),
    };
    let readable = |(stream, entries): (&'r Value, &'r Value)| match entries {
        Value::Array(entries) => Some((bytes(stream)?, entries.as_slice())),
        _ => None,
    };
    pairs.into_iter().filter_map(readable).collect()
}

fn pair(value: &Value) -> Option<(&Value, &Value)> {
    let Value::Array(parts) = value else {
        return None;
    };
    match parts.as_slice() {
        [first, second] => Some((first, second)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{EntryId, streams};
    use redis::Value;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn ids_are_ordered_as_numbers() {
        let id = |id: &str| EntryId::parse(id.as_bytes());
        assert!(id("9-10") > id("9-9") && id("10-0") > id("9-10") && id("0-0") > None);
        assert_eq!(id("17-3").map(|id| id.to_string()).as_deref(), Some("17-3"));
        assert_eq!(id("17"), None);
    }

    #[test]
    fn both_protocols_give_the_same_streams() {
        let entries = Value::Array(vec![Value::Array(vec![text("1-0"), Value::Nil])]);
        let two = Value::Array(vec![Value::Array(vec![text("alerts"), entries.clone()])]);
        let three = Value::Map(vec![(text("alerts"), entries)]);
        assert_eq!(streams(&two), streams(&three));
        assert_eq!(streams(&two).len(), 1);
        assert!(streams(&Value::Nil).is_empty());
    }
}
