//! The outcome of a command of the server's that the module calls.

use std::ffi::{c_char, c_int};

use anomaly_core::text::shown;
use redis_module::raw;

use super::api;

/// What a call came to.
pub(crate) enum Called {
    /// It was done.
    Done,
    /// It gave an integer.
    Integer(i64),
    /// The server has no such command.
    Missing,
    /// It was refused, with this text.
    Refused(String),
}

impl Called {
    pub(super) fn of(reply: *mut raw::RedisModuleCallReply) -> Self {
        if reply.is_null() {
            let error = std::io::Error::last_os_error();
            return if error.kind() == std::io::ErrorKind::NotFound {
                Self::Missing
            } else {
                Self::Refused(format!("it cannot be called here ({error})"))
            };
        }
        // SAFETY: a live reply, freed once and not used after.
        unsafe {
            let called = match api!(RedisModule_CallReplyType(reply)) {
                kind if kind == raw::REDISMODULE_REPLY_ERROR as c_int => {
                    let mut len = 0;
                    let text: *const c_char =
                        api!(RedisModule_CallReplyStringPtr(reply, &raw mut len));
                    Self::Refused(shown(std::slice::from_raw_parts(text.cast(), len)))
                }
                kind if kind == raw::REDISMODULE_REPLY_INTEGER as c_int => {
                    Self::Integer(api!(RedisModule_CallReplyInteger(reply)))
                }
                _ => Self::Done,
            };
            api!(RedisModule_FreeCallReply(reply));
            called
        }
    }
}

/// Of a reply that is an array, whether each element is an integer; of any other, nothing.
pub(super) fn each(reply: *mut raw::RedisModuleCallReply) -> Vec<bool> {
    if reply.is_null() {
        return Vec::new();
    }
    // SAFETY: a live reply, freed once and not used after; its elements live as long.
    unsafe {
        let mut len = 0;
        let protocol = api!(RedisModule_CallReplyProto(reply, &raw mut len));
        let protocol = if protocol.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(protocol.cast(), len)
        };
        let each = each_of(protocol);
        api!(RedisModule_FreeCallReply(reply));
        each
    }
}

/// The same of the reply as it is sent: to have the server take it apart costs as much as to score a reading for each.
fn each_of(protocol: &[u8]) -> Vec<bool> {
    let mut lines = protocol.split(|byte| *byte == b'\n');
    match lines.next() {
        Some([b'*', ..]) => lines
            .filter_map(|line| line.first().map(|kind| *kind == b':'))
            .collect(),
        _ => Vec::new(),
    }
}
