//! The entries of a stream.

use std::ffi::{c_int, c_long};
use std::ptr;

use anomaly_core::stream_id::StreamId;
use redis_module::raw;
use smallvec::SmallVec;

use super::{Key, OK, OwnedStr, api};

/// Names and values of an entry in turn. The usual few need no heap.
pub(crate) type Fields = SmallVec<[OwnedStr; 8]>;

/// A walk over the entries of a stream. Nothing may change the stream meanwhile.
pub(crate) struct Entries<'a>(&'a Key);

impl<'a> Entries<'a> {
    /// The entries of an open stream from its end to its beginning; `None` if the key is no stream.
    pub(crate) fn backwards(key: &'a Key) -> Option<Self> {
        Self::start(key, raw::REDISMODULE_STREAM_ITERATOR_REVERSE, None)
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

    /// Steps to the next entry: its id, and the number of its fields, which are yet to be read.
    pub(crate) fn step(&mut self) -> Option<(StreamId, usize)> {
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
        let raw::RedisModuleStreamID { ms, seq } = id;
        Some((StreamId { ms, seq }, usize::try_from(count).unwrap_or(0)))
    }
}

impl Iterator for Entries<'_> {
    type Item = (StreamId, Fields);

    fn next(&mut self) -> Option<(StreamId, Fields)> {
        let (id, count) = self.step()?;
        let mut fields = Fields::with_capacity(2 * count);
        for _ in 0..count {
            let (mut name, mut value) = (ptr::null_mut(), ptr::null_mut());
            // SAFETY: the key is open with an iterator at an entry; the strings are ours to free.
            unsafe {
                if api!(RedisModule_StreamIteratorNextField(
                    self.0.raw(),
                    &raw mut name,
                    &raw mut value
                )) != OK
                {
                    break;
                }
                fields.extend([OwnedStr::of(name), OwnedStr::of(value)]);
            }
        }
        Some((id, fields))
    }
}

impl Drop for Entries<'_> {
    fn drop(&mut self) {
        // SAFETY: the key is open with an iterator, which ends here.
        unsafe { api!(RedisModule_StreamIteratorStop(self.0.raw())) };
    }
}
