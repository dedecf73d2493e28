//! The native type: how the server stores, loads, copies, weighs and frees a model, and where the rules are kept in an
//! RDB file.

use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

use anomaly_core::{Error, Model, codec, document};
use redis_module::raw;

use crate::fence::guard;
use crate::server::{Ctx, ERR, Key, OK, Str, api};
use crate::state::{SENSORS, with};
use crate::{heap, keyspace, known, seating};

/// Nine characters, which the server keeps in every RDB file as the name of the type.
const NAME: &std::ffi::CStr = c"anomaly-m";
/// Version of what stands around the stored form of a model; the form itself has its own.
const ENCODING: c_int = 1;
/// Bytes that count as one unit of work when a value is freed: from 64 units on it is done in the background.
const FREED_AT_ONCE: usize = 64;

static TYPE: AtomicPtr<raw::RedisModuleType> = AtomicPtr::new(ptr::null_mut());

pub(crate) fn register(ctx: Ctx) -> Result<(), String> {
    let mut methods = raw::RedisModuleTypeMethods {
        version: u64::from(raw::REDISMODULE_TYPE_METHOD_VERSION),
        rdb_load: Some(rdb_load),
        rdb_save: Some(rdb_save),
        aof_rewrite: Some(aof_rewrite),
        mem_usage: Some(mem_usage),
        digest: Some(digest),
        free: Some(free),
        aux_load: Some(aux_load),
        aux_save: None,
        aux_save_triggers: raw::REDISMODULE_AUX_BEFORE_RDB as c_int,
        free_effort: None,
        unlink: None,
        copy: None,
        defrag: Some(defrag),
        mem_usage2: None,
        free_effort2: Some(free_effort),
        unlink2: Some(unlink),
        copy2: Some(copy),
        aux_save2: Some(aux_save),
    };
    let options = raw::REDISMODULE_OPTIONS_HANDLE_IO_ERRORS
        | raw::REDISMODULE_OPTION_NO_IMPLICIT_SIGNAL_MODIFIED;
    // SAFETY: a live context; the methods are copied.
    let made = unsafe {
        api!(RedisModule_SetModuleOptions(ctx.raw(), options as c_int));
        api!(RedisModule_CreateDataType(
            ctx.raw(),
            NAME.as_ptr(),
            ENCODING,
            &raw mut methods
        ))
    };
    TYPE.store(made, Relaxed);
    if made.is_null() {
        Err("the server refused the data type".into())
    } else {
        Ok(())
    }
}

/// Makes a value of the server's out of a model.
fn give(model: Model) -> *mut c_void {
    SENSORS.fetch_add(1, Relaxed);
    seating::place(model).as_ptr().cast()
}

/// The model at an open key; `None` where there is no key.
pub(crate) fn model(key: &mut Key) -> Result<Option<&mut Model>, Error> {
    // SAFETY: the key is open, or null, which has no type. A value of our type was made by `give`, and nobody else refers to
    // it while we hold the key: the server runs one callback at a time.
    unsafe {
        if api!(RedisModule_ModuleTypeGetType(key.raw())) == TYPE.load(Relaxed) {
            return Ok(api!(RedisModule_ModuleTypeGetValue(key.raw()))
                .cast::<Model>()
                .as_mut());
        }
    }
    if key.is_empty() {
        Ok(None)
    } else {
        Err(Error::WrongType)
    }
}

/// Whether a key that the server has opened, or null for none, holds a model.
pub(crate) fn holds_model(key: *mut raw::RedisModuleKey) -> bool {
    // SAFETY: promised by the server, which gives it to the callback of a walk.
    unsafe { api!(RedisModule_ModuleTypeGetType(key)) == TYPE.load(Relaxed) }
}

/// The model at a key opened to be changed, a new one where there is no key; one whose rules ask for other things than it had gets a place
/// that fits them.
pub(crate) fn model_or_new<'a>(key: &'a mut Key, name: &[u8]) -> Result<&'a mut Model, Error> {
    if !holds_model(key.raw()) && key.is_empty() {
        let value = give(with(|state| Model::new(name, &mut state.rules)));
        // SAFETY: the key is open for writing; the value is the server's from here on.
        unsafe {
            let kind = TYPE.load(Relaxed);
            if api!(RedisModule_ModuleTypeSetValue(key.raw(), kind, value)) != OK {
                free(value);
            }
        }
    }
    let found = model(key)?.ok_or(Error::WrongType)?;
    if seating::is_misplaced(found) {
        let copy = found.clone();
        move_over(key, copy, name);
    }
    model(key)?.ok_or(Error::WrongType)
}

/// Gives the model at a key opened to be changed, of which this is a copy, a place that fits it.
#[cold]
fn move_over(key: &Key, mut new: Model, name: &[u8]) {
    new.tidy();
    let new = seating::place(new);
    let forget = |db| with(|state| state.known.forget(db, name));
    key.db().map(forget);
    let mut out = ptr::null_mut();
    // SAFETY: the key is open for writing, and its value is exchanged for one that holds the same. Of the two one is the server's from here on; nobody refers to the
    // other, which is freed once.
    unsafe {
        let kind = TYPE.load(Relaxed);
        let value = new.as_ptr().cast();
        let done = api!(RedisModule_ModuleTypeReplaceValue(
            key.raw(),
            kind,
            value,
            &raw mut out
        ));
        let left: *mut Model = if done == OK { out } else { value }.cast();
        known::is_gone(left);
        seating::free(left);
    }
}

/// Borrows a value in a callback of the server's.
///
/// # Safety
/// The server must have got it from [`give`].
unsafe fn borrow<'a>(value: *const c_void) -> &'a Model {
    // SAFETY: promised by the caller.
    unsafe { &*value.cast::<Model>() }
}

unsafe extern "C" fn free(value: *mut c_void) {
    guard((), || {
        known::is_gone(value.cast());
        SENSORS.fetch_sub(1, Relaxed);
        // SAFETY: made by `give`; the server frees it once.
        unsafe { seating::free(value.cast()) };
    });
}

fn bytes_of(value: *const c_void) -> usize {
    // SAFETY: the server asks with a value of ours.
    unsafe { borrow(value) }.bytes()
}

/// Bytes that a key takes and MEMORY USAGE does not count for modules: the object, the pair of type and value behind it, and
/// the place in the table of keys.
const OF_THE_SERVER: usize = 16 + 16 + 8;

/// What an allocation of so many bytes takes: the size classes of jemalloc, four to each doubling.
fn size_class(bytes: usize) -> usize {
    let step = match bytes {
        0..=8 => 8,
        9..=128 => 16,
        _ => 1 << ((bytes - 1).ilog2() - 2),
    };
    bytes.next_multiple_of(step)
}

unsafe extern "C" fn mem_usage(value: *const c_void) -> usize {
    guard(0, || {
        let mut bytes = OF_THE_SERVER + with(|state| state.known.share());
        // SAFETY: the server asks with a value of ours.
        unsafe { borrow(value) }.allocations(|each| bytes += size_class(each));
        bytes
    })
}

unsafe extern "C" fn free_effort(_: *mut raw::RedisModuleKeyOptCtx, value: *const c_void) -> usize {
    guard(1, || 1 + bytes_of(value) / FREED_AT_ONCE)
}

unsafe extern "C" fn digest(digest: *mut raw::RedisModuleDigest, value: *mut c_void) {
    guard((), || {
        // SAFETY: the server asks with a value of ours, and copies the bytes.
        unsafe {
            let stored = codec::save(borrow(value));
            api!(RedisModule_DigestAddStringBuffer(
                digest,
                stored.as_ptr().cast(),
                stored.len()
            ));
            api!(RedisModule_DigestEndSequence(digest));
        }
    });
}

unsafe extern "C" fn copy(_: *mut raw::RedisModuleKeyOptCtx, value: *const c_void) -> *mut c_void {
    // SAFETY: the server asks with a value of ours.
    guard(ptr::null_mut(), || give(unsafe { borrow(value) }.copied()))
}

unsafe extern "C" fn unlink(ctx: *mut raw::RedisModuleKeyOptCtx, value: *const c_void) {
    guard((), || {
        // SAFETY: the server gives a live context, from which it tells name and database, and a value of ours.
        unsafe {
            let name = Str::new(api!(RedisModule_GetKeyNameFromOptCtx(ctx)));
            keyspace::unlinked(
                api!(RedisModule_GetDbIdFromOptCtx(ctx)),
                name.bytes(),
                borrow(value),
            );
        }
    });
}

unsafe extern "C" fn rdb_save(io: *mut raw::RedisModuleIO, value: *mut c_void) {
    guard((), || {
        // SAFETY: the server gives a live stream and a value of ours.
        unsafe { save_bytes(io, &codec::save(borrow(value))) }
    });
}

unsafe extern "C" fn rdb_load(io: *mut raw::RedisModuleIO, encoding: c_int) -> *mut c_void {
    guard(ptr::null_mut(), || {
        // SAFETY: the server gives a live stream.
        let stored = unsafe { load_bytes(io) };
        let model = match stored {
            Some(stored) if encoding <= ENCODING => codec::load(&stored),
            Some(_) => Err(Error::Payload {
                why: "it was written by a later version of the module",
            }),
            None => Err(Error::Payload {
                why: "it ends too early",
            }),
        };
        match model {
            Ok(model) => {
                // SAFETY: the server tells the place of the key it loads, if it has a name.
                unsafe {
                    let name = api!(RedisModule_GetKeyNameFromIO(io));
                    if !name.is_null() && model.alarm.open().is_some() {
                        let db = api!(RedisModule_GetDbIdFromIO(io));
                        with(|state| state.track(db, Str::new(name).bytes(), &model));
                    }
                }
                give(model)
            }
            Err(error) => {
                log_io(io, &error);
                ptr::null_mut()
            }
        }
    })
}

/// Rules are written to an AOF without RDB preamble with the first sensor: the server offers no other place. A rewrite
/// runs in a child of its own, in which this starts as false.
static RULES_EMITTED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn aof_rewrite(
    io: *mut raw::RedisModuleIO,
    key: *mut raw::RedisModuleString,
    value: *mut c_void,
) {
    guard((), || {
        let first = !RULES_EMITTED.swap(true, Relaxed);
        let rules = first
            .then(|| with(|state| state.settings_to_save()))
            .flatten();
        // SAFETY: the server gives a live stream, key and value of ours; "b" takes a pointer and a length, "s" a string.
        unsafe {
            if let Some((rules, _)) = rules {
                let (name, format) = (c"ANOMALY.CONFIG".as_ptr(), c"cbc".as_ptr());
                let (text, len) = (rules.as_ptr().cast::<c_char>(), rules.len());
                api!(RedisModule_EmitAOF(
                    io,
                    name,
                    format,
                    c"IMPORT".as_ptr(),
                    text,
                    len,
                    c"REPLACE".as_ptr()
                ));
            }
            let stored = codec::save(borrow(value));
            let (name, format) = (c"ANOMALY._LOAD".as_ptr(), c"sb".as_ptr());
            api!(RedisModule_EmitAOF(
                io,
                name,
                format,
                key,
                stored.as_ptr().cast::<c_char>(),
                stored.len()
            ));
        }
    });
}

/// Rules and watches are global and belong to no key. Written only if there are any: a server without the module can load
/// a file that has nothing of ours in it.
unsafe extern "C" fn aux_save(io: *mut raw::RedisModuleIO, _: c_int) {
    guard((), || {
        if let Some((document, backlog)) = with(|state| state.settings_to_save()) {
            // SAFETY: the server gives a live stream.
            unsafe {
                save_bytes(io, document.as_bytes());
                save_bytes(io, &backlog);
            }
        }
    });
}

unsafe extern "C" fn aux_load(io: *mut raw::RedisModuleIO, _: c_int, _: c_int) -> c_int {
    guard(ERR, || {
        // SAFETY: the server gives a live stream.
        let stored = unsafe { load_bytes(io).zip(load_bytes(io)) };
        let short = Error::Payload {
            why: "it ends too early",
        };
        let loaded = stored.ok_or(short).and_then(|(document, backlog)| {
            let document = document::import(&document)?;
            with(|state| {
                state.rules.import(document.rules, true);
                state.watches.import(document.watches, true);
                state.load_backlog(&backlog)
            })
        });
        loaded.map_or_else(
            |error| {
                log_io(io, &error);
                ERR
            },
            |()| OK,
        )
    })
}

/// # Safety
/// `io` must be a live stream that is saved to.
unsafe fn save_bytes(io: *mut raw::RedisModuleIO, bytes: &[u8]) {
    // SAFETY: promised by the caller; the bytes are copied.
    unsafe {
        api!(RedisModule_SaveStringBuffer(
            io,
            bytes.as_ptr().cast(),
            bytes.len()
        ))
    }
}

/// # Safety
/// `io` must be a live stream that is loaded from.
unsafe fn load_bytes(io: *mut raw::RedisModuleIO) -> Option<Vec<u8>> {
    let mut len = 0;
    // SAFETY: promised by the caller; what the server gives is ours to free, after it was copied.
    unsafe {
        let start = api!(RedisModule_LoadStringBuffer(io, &raw mut len));
        if start.is_null() {
            return None;
        }
        let bytes = std::slice::from_raw_parts(start.cast::<u8>(), len).to_vec();
        api!(RedisModule_Free(start.cast()));
        Some(bytes)
    }
}

fn log_io(io: *mut raw::RedisModuleIO, error: &Error) {
    let text = CString::new(error.to_string()).unwrap_or_default();
    // SAFETY: a live stream; the format has one %s, for which one C string is given.
    unsafe {
        api!(RedisModule_LogIOError(
            io,
            c"warning".as_ptr(),
            c"%s".as_ptr(),
            text.as_ptr()
        ))
    }
}

/// Moves the model and its window to better places, where the server finds that worth it.
unsafe extern "C" fn defrag(
    ctx: *mut raw::RedisModuleDefragCtx,
    // No server string, whatever its type says: Redis 7 gives the bytes of the name.
    _: *mut raw::RedisModuleString,
    value: *mut *mut c_void,
) -> c_int {
    guard(OK, || {
        let moved = |at: *mut c_void| {
            // SAFETY: `at` is a whole allocation of the server's; it gives null or a new place with the same bytes, after
            // which the old one is gone.
            let to = unsafe { api!(RedisModule_DefragAlloc(ctx, at)) };
            if to.is_null() { at } else { to }
        };
        // SAFETY: the server gives the place of a value of ours, and nobody else refers to it. Rust values may be moved
        // as bytes; each pointer is replaced before anything looks at it.
        unsafe {
            let before = *value;
            *value = moved(before);
            if *value != before {
                with(|state| state.known.moved());
            }
            let place = (*value).cast::<Model>();
            seating::moved(place, |at| moved(at.cast()).cast());
            if let Some(window) = (*place).window.as_mut() {
                window.relocate(|values: Vec<f32>| {
                    if values.capacity() == 0 {
                        return values;
                    }
                    let mut old = ManuallyDrop::new(values);
                    let start = moved(old.as_mut_ptr().cast()).cast();
                    Vec::from_raw_parts(start, old.len(), old.capacity())
                });
            }
        }
        OK
    })
}

/// Sensors in all databases, and bytes that the module holds.
pub(crate) fn totals() -> (u64, u64) {
    (
        SENSORS.load(Relaxed).max(0).unsigned_abs(),
        heap::bytes() as u64,
    )
}
