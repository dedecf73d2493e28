//! The entries of a stream.

use std::ffi::{c_int, c_long};
use std::ptr;

use anomaly_core::stream_id::StreamId;
use redis_module::raw;

use super::{Key, OK, OwnedStr, api};

/// An entry of a stream.
pub(crate) struct Entry {
    pub(crate) id: StreamId,
    fields: Vec<(OwnedStr, OwnedStr)>,
}

impl Entry {
    /// Names and values, in order.
    pub(crate) fn fields(&self) -> Vec<(&[u8], &[u8])> {
        self.fields
            .iter()
            .map(|(name, value)| (name.borrow().bytes(), value.borrow().bytes()))
            .collect()
    }
}

/// A walk over the entries of a stream. Nothing may change the stream meanwhile.
pub(crate) struct Entries<'a>(&'a Key);

impl<'a> Entries<'a> {
    /// The last entry of an open stream.
    pub(crate) fn newest(key: &'a Key) -> Option<Entry> {
        Self::start(key, raw::REDISMODULE_STREAM_ITERATOR_REVERSE, None)?.next()
    }

    /// The entries of an open stream from an id on; `None` if the key is no stream.
    pub(crate) fn from(key: &'a Key, id: StreamId) -> Option<Self> {
        Self::start(key, 0, Some(id))
    }

    fn start(key: &'a Key, flags: u32, from: Option<StreamId>) -> Option<Self> {
        if key.is_empty() {
            return None;
        }
        let mut from = from.map(|StreamId { ms, seq }| raw::RedisModuleStreamID { ms, seq });
        let start = from.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: the key is open; ids are null, or live for the call.
        let started = unsafe {
            api!(RedisModule_StreamIteratorStart(
                key.raw(),
                flags as c_int,
                start,
                ptr::null_mut()
            ))
        };
        (started == OK).then_some(Self(key))
    }
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let mut id = raw::RedisModuleStreamID { ms: 0, seq: 0 };
        let mut count: c_long = 0;
        // SAFETY: the key is open with an iterator; places for id and number of fields.
        if unsafe {
            api!(RedisModule_StreamIteratorNextID(
                self.0.raw(),
                &raw mut id,
                &raw mut count
            ))
        } != OK
        {
            return None;
        }
        let mut fields = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for _ in 0..count {
            let (mut name, mut value) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: as above; the strings are ours to free.
            unsafe {
                if api!(RedisModule_StreamIteratorNextField(
                    self.0.raw(),
                    &raw mut name,
                    &raw mut value
                )) != OK
                {
                    break;
                }
                fields.push((OwnedStr::of(name), OwnedStr::of(value)));
            }
        }
        Some(Entry {
            id: StreamId {
                ms: id.ms,
                seq: id.seq,
            },
            fields,
        })
    }
}

impl Drop for Entries<'_> {
    fn drop(&mut self) {
        // SAFETY: the key is open with an iterator, which ends here.
        unsafe { api!(RedisModule_StreamIteratorStop(self.0.raw())) };
    }
}
