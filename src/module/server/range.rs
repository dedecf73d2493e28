//! Replies that are read: samples of a series, the nodes of a cluster, the consumer groups of a stream.

use std::ffi::c_int;
use std::ptr;

use anomaly_core::stream_id::StreamId;
use anomaly_core::units::{Timestamp, number};
use redis_module::raw;

use super::{Called, Ctx, Str, api};

/// Time in ms and value.
pub(crate) type Sample = (i64, f64);

/// Samples of a series as TimeSeries has replied them: to take them apart takes longer than to get them, and needs no server.
pub(crate) struct Samples {
    /// An array of times and values, as it is sent to clients.
    protocol: Vec<u8>,
    /// How many they are.
    pub(crate) len: usize,
}

impl Samples {
    /// The time of the last.
    pub(crate) fn last(&self) -> Option<i64> {
        let at = self.protocol.iter().rposition(|byte| *byte == b':')?;
        integer(
            self.protocol
                .get(at..)?
                .split(|byte| *byte == b'\r')
                .next()?,
        )
    }

    /// One after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Sample> {
        let lines = self.protocol.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let mut time = None;
        lines.filter_map(move |line| match line {
            [b':', ..] => {
                time = integer(line);
                None
            }
            // An array, and the length of a value.
            [b'*' | b'$', ..] => None,
            [b'+' | b',', value @ ..] | value => Some((time.take()?, number(value)?)),
        })
    }
}

/// An integer of the protocol.
fn integer(line: &[u8]) -> Option<i64> {
    std::str::from_utf8(line.strip_prefix(b":")?)
        .ok()?
        .parse()
        .ok()
}

impl Ctx {
    /// At most so many samples of a series in a range of time, both ends included, the oldest first.
    pub(crate) fn range(
        self,
        series: Str<'_>,
        from: Timestamp,
        to: Timestamp,
        count: usize,
    ) -> Result<Samples, Called> {
        let [from, to] = [from, to].map(|at| self.integer(at.millis()));
        let (word, count) = (self.string(b"COUNT"), self.integer(count as i64));
        let args = [
            series,
            from.borrow(),
            to.borrow(),
            word.borrow(),
            count.borrow(),
        ];
        let argv = args.as_ptr().cast::<*mut raw::RedisModuleString>();
        // SAFETY: as in `Ctx::call`; the reply is freed here or by `Called`, what it points to is copied before.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"TS.RANGE".as_ptr(),
                c"v".as_ptr(),
                argv,
                args.len()
            ));
            let mut bytes = 0;
            let protocol = if reply.is_null() {
                ptr::null()
            } else {
                api!(RedisModule_CallReplyProto(reply, &raw mut bytes))
            };
            if protocol.is_null() {
                return Err(Called::of(reply));
            }
            let protocol: &[u8] = std::slice::from_raw_parts(protocol.cast(), bytes);
            let Some(len) = array(protocol) else {
                return Err(Called::of(reply));
            };
            let protocol = protocol.to_vec();
            api!(RedisModule_FreeCallReply(reply));
            Ok(Samples { protocol, len })
        }
    }
}

/// How many elements an array of the protocol has; `None` if it is none.
fn array(protocol: &[u8]) -> Option<usize> {
    let line = protocol.strip_prefix(b"*")?;
    let line = line.split(|byte| *byte == b'\r').next()?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// How many samples the chunks of a series hold. TimeSeries decodes all of a chunk to give any of it.
pub(crate) struct Chunks {
    /// On average.
    pub(crate) average: u64,
    /// What one of the series' chunk size can hold.
    pub(crate) most: u64,
}

/// Samples in a byte of a compressed chunk, where neither the value nor the time from one to the next ever changes: two bits
/// each (Pelkonen et al. 2015, *Gorilla*, 4.1).
const DENSEST: u64 = 4;
/// Bytes of a sample that is not compressed.
const UNCOMPRESSED: u64 = 16;

impl Ctx {
    /// What is known of the chunks of a series.
    pub(crate) fn chunks(self, series: Str<'_>) -> Result<Chunks, Called> {
        // SAFETY: as in `range`.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"TS.INFO".as_ptr(),
                c"s".as_ptr(),
                series.raw()
            ));
            let is_array = !reply.is_null()
                && api!(RedisModule_CallReplyType(reply)) == raw::REDISMODULE_REPLY_ARRAY as c_int;
            if !is_array {
                return Err(Called::of(reply));
            }
            let field = |name: &[u8]| {
                let len = api!(RedisModule_CallReplyLength(reply));
                let element = |at| api!(RedisModule_CallReplyArrayElement(reply, at));
                let at = (0..len)
                    .step_by(2)
                    .find(|at| text(element(*at)) == Some(name))?;
                Some(element(at + 1))
            };
            let count = |name: &[u8]| {
                field(name).and_then(|x| u64::try_from(api!(RedisModule_CallReplyInteger(x))).ok())
            };
            let (samples, chunks) = (count(b"totalSamples"), count(b"chunkCount"));
            let bytes = count(b"chunkSize").unwrap_or(0);
            let plain = field(b"chunkType").and_then(|x| text(x)) == Some(b"uncompressed");
            api!(RedisModule_FreeCallReply(reply));
            Ok(Chunks {
                average: samples.unwrap_or(0) / chunks.unwrap_or(1).max(1),
                most: if plain {
                    bytes / UNCOMPRESSED
                } else {
                    bytes.saturating_mul(DENSEST)
                },
            })
        }
    }
}

impl Ctx {
    /// CLUSTER NODES.
    pub(crate) fn cluster_nodes(self) -> Option<String> {
        // SAFETY: as in `range`.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"CLUSTER".as_ptr(),
                c"c".as_ptr(),
                c"NODES".as_ptr()
            ));
            let nodes = text(reply).map(|text| String::from_utf8_lossy(text).into_owned());
            if !reply.is_null() {
                api!(RedisModule_FreeCallReply(reply));
            }
            nodes
        }
    }
}

impl Ctx {
    /// The names of all modules that are loaded.
    pub(crate) fn modules(self) -> Option<Vec<Vec<u8>>> {
        // SAFETY: as in `group`.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"MODULE".as_ptr(),
                c"c".as_ptr(),
                c"LIST".as_ptr()
            ));
            if reply.is_null() {
                return None;
            }
            let element = |of, at| api!(RedisModule_CallReplyArrayElement(of, at));
            let is_array =
                api!(RedisModule_CallReplyType(reply)) == raw::REDISMODULE_REPLY_ARRAY as c_int;
            let modules = if is_array {
                api!(RedisModule_CallReplyLength(reply))
            } else {
                0
            };
            let name = |at| {
                let module = element(reply, at);
                let mut fields = (0..api!(RedisModule_CallReplyLength(module))).step_by(2);
                let at = fields.find(|at| text(element(module, *at)) == Some(b"name"))?;
                text(element(module, at + 1)).map(<[u8]>::to_vec)
            };
            let names = (0..modules).map(name).collect::<Option<Vec<_>>>();
            api!(RedisModule_FreeCallReply(reply));
            names.filter(|names| !names.is_empty())
        }
    }

    /// The `last-delivered-id` of a stream's consumer group, if there is one of that name.
    pub(crate) fn group(self, stream: Str<'_>, name: &[u8]) -> Option<StreamId> {
        // SAFETY: as in `range`; what is no array has no elements, and what is missing is null and has no text.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"XINFO".as_ptr(),
                c"cs".as_ptr(),
                c"GROUPS".as_ptr(),
                stream.raw()
            ));
            if reply.is_null() {
                return None;
            }
            let element = |of, at| api!(RedisModule_CallReplyArrayElement(of, at));
            let field = |group, name: &[u8]| {
                let len = api!(RedisModule_CallReplyLength(group));
                let mut at = (0..len).step_by(2);
                let at = at.find(|at| text(element(group, *at)) == Some(name))?;
                text(element(group, at + 1))
            };
            let is_array =
                api!(RedisModule_CallReplyType(reply)) == raw::REDISMODULE_REPLY_ARRAY as c_int;
            let groups = if is_array {
                api!(RedisModule_CallReplyLength(reply))
            } else {
                0
            };
            let group = (0..groups)
                .map(|at| element(reply, at))
                .find(|group| field(*group, b"name") == Some(name));
            let id = group
                .and_then(|group| field(group, b"last-delivered-id"))
                .and_then(StreamId::parse);
            api!(RedisModule_FreeCallReply(reply));
            id
        }
    }
}

/// The bytes of a string, as long as it lives.
///
/// # Safety
/// `reply` must be live, or null.
unsafe fn text<'a>(reply: *mut raw::RedisModuleCallReply) -> Option<&'a [u8]> {
    if reply.is_null() {
        return None;
    }
    let mut len = 0;
    // SAFETY: promised by the caller; what is no string gives null.
    unsafe {
        let start = api!(RedisModule_CallReplyStringPtr(reply, &raw mut len));
        (!start.is_null()).then(|| std::slice::from_raw_parts(start.cast(), len))
    }
}
