//! Samples of a series.

use std::ffi::c_int;

use anomaly_core::units::{Timestamp, number};
use redis_module::raw;

use super::{Called, Ctx, Str, api};

/// Time in ms and value.
pub(crate) type Sample = (i64, f64);

impl Ctx {
    /// At most so many samples of a series in a range of time, both ends included, the oldest first.
    pub(crate) fn range(
        self,
        series: Str<'_>,
        from: Timestamp,
        to: Timestamp,
        count: usize,
    ) -> Result<Vec<Sample>, Called> {
        let [from, to] = [from, to].map(|at| self.string(at.millis().to_string().as_bytes()));
        let (word, count) = (
            self.string(b"COUNT"),
            self.string(count.to_string().as_bytes()),
        );
        let args = [
            series,
            from.borrow(),
            to.borrow(),
            word.borrow(),
            count.borrow(),
        ];
        let argv = args.as_ptr().cast::<*mut raw::RedisModuleString>();
        // SAFETY: as in `Ctx::call`; the reply is freed here or by `Called`.
        unsafe {
            let reply = api!(RedisModule_Call(
                self.raw(),
                c"TS.RANGE".as_ptr(),
                c"v".as_ptr(),
                argv,
                args.len()
            ));
            let is_array = !reply.is_null()
                && api!(RedisModule_CallReplyType(reply)) == raw::REDISMODULE_REPLY_ARRAY as c_int;
            if !is_array {
                return Err(Called::of(reply));
            }
            let len = api!(RedisModule_CallReplyLength(reply));
            let samples = (0..len).filter_map(|at| sample(reply, at)).collect();
            api!(RedisModule_FreeCallReply(reply));
            Ok(samples)
        }
    }
}

/// The sample at a position of the reply: an array of time and value.
///
/// # Safety
/// `reply` must be a live array.
unsafe fn sample(reply: *mut raw::RedisModuleCallReply, at: usize) -> Option<Sample> {
    // SAFETY: promised by the caller; elements belong to the array, and null is what a missing one is.
    unsafe {
        let pair = api!(RedisModule_CallReplyArrayElement(reply, at));
        let time = api!(RedisModule_CallReplyArrayElement(pair, 0));
        let value = api!(RedisModule_CallReplyArrayElement(pair, 1));
        if time.is_null() || value.is_null() {
            return None;
        }
        let mut len = 0;
        let text = api!(RedisModule_CallReplyStringPtr(value, &raw mut len));
        if text.is_null() {
            return None;
        }
        let text = std::slice::from_raw_parts(text.cast::<u8>(), len);
        Some((api!(RedisModule_CallReplyInteger(time)), number(text)?))
    }
}
