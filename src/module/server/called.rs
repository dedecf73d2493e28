//! The outcome of a command of the server's that the module calls.

use std::ffi::{c_char, c_int};
use std::ptr;

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

/// A reply that is kept for good, to be sent again and again.
#[derive(Clone, Copy)]
pub(crate) struct Kept(*mut raw::RedisModuleCallReply);

impl Kept {
    /// What a call gave, if it is sent as `expected`.
    pub(super) fn of(reply: *mut raw::RedisModuleCallReply, expected: &[u8]) -> Option<Self> {
        if reply.is_null() {
            return None;
        }
        // SAFETY: a live reply, freed only here, where it is not kept.
        unsafe {
            if protocol(reply) == expected {
                return Some(Self(reply));
            }
            api!(RedisModule_FreeCallReply(reply));
        }
        None
    }

    pub(super) fn raw(self) -> *mut raw::RedisModuleCallReply {
        self.0
    }
}

/// Reads a reply as it is sent: to have the server take it apart costs as much as to make it. Without a reply, nothing.
pub(super) fn read<T: Default>(
    reply: *mut raw::RedisModuleCallReply,
    read: impl FnOnce(&[u8]) -> T,
) -> T {
    if reply.is_null() {
        return T::default();
    }
    // SAFETY: a live reply, freed once and not used after.
    unsafe {
        let read = read(protocol(reply));
        shorten(reply);
        api!(RedisModule_FreeCallReply(reply));
        read
    }
}

/// Whether a call by which nothing is done is refused: its reply is an error then. Else there is none, or, on Valkey 9, one that
/// says nothing.
///
/// # Safety
/// The reply must be live or null, and nobody may read it after this.
pub(super) unsafe fn refuses(reply: *mut raw::RedisModuleCallReply) -> bool {
    // SAFETY: promised by the caller; a live reply is freed once.
    unsafe {
        let refuses = !reply.is_null() && protocol(reply).first() == Some(&b'-');
        if !reply.is_null() {
            api!(RedisModule_FreeCallReply(reply));
        }
        refuses
    }
}

/// What a reply is made that is about to be freed: as short as one can be.
const SHORT: &[u8] = b":0\r\n";
/// How many were, for tests.
#[cfg(debug_assertions)]
pub(crate) static SHORTENED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// Makes a reply of many parts one of a single part. Before the server frees a reply it takes it apart, to see whether it is one
/// of those that are yet to come; it is not, if it is sent as an array, so that all it has to do is to free the text. That a reply has its text to itself is known of servers that were looked at.
///
/// # Safety
/// The reply must be live, and nobody may read it after this.
unsafe fn shorten(reply: *mut raw::RedisModuleCallReply) {
    if !super::is_looked_at() {
        return;
    }
    let mut len = 0;
    // SAFETY: a live reply. Its text was put together for it alone, by a call that has ended, and is freed with it; there is room. It is
    // written to before any of it was looked at by the server, which from then on sees a whole reply.
    unsafe {
        let start = api!(RedisModule_CallReplyProto(reply, &raw mut len)).cast_mut();
        if len > SHORT.len() && start.read() == b'*'.cast_signed() {
            ptr::copy_nonoverlapping(SHORT.as_ptr(), start.cast(), SHORT.len());
            #[cfg(debug_assertions)]
            SHORTENED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // Were it not so, this would gain nothing.
            debug_assert_eq!(
                api!(RedisModule_CallReplyType(reply)),
                raw::REDISMODULE_REPLY_INTEGER as c_int,
                "the server takes a reply apart when it is freed"
            );
        }
    }
}

/// What a reply is sent as.
///
/// # Safety
/// The reply must be live, and outlive `'a`.
unsafe fn protocol<'a>(reply: *mut raw::RedisModuleCallReply) -> &'a [u8] {
    let mut len = 0;
    // SAFETY: promised by the caller; what it is sent as lives as long.
    unsafe {
        let start = api!(RedisModule_CallReplyProto(reply, &raw mut len));
        if start.is_null() {
            &[]
        } else {
            std::slice::from_raw_parts(start.cast(), len)
        }
    }
}
