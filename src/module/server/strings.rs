//! Strings of the server's: borrowed, owned, and the arguments of a command.

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use redis_module::raw;

use super::{Ctx, api};

/// The arguments of a command, its name first.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a>(&'a [*mut raw::RedisModuleString]);

impl<'a> Args<'a> {
    /// # Safety
    /// `argv` must point to `argc` live strings that outlive `'a`.
    pub(crate) unsafe fn new(argv: *mut *mut raw::RedisModuleString, argc: c_int) -> Self {
        let len = usize::try_from(argc).unwrap_or(0);
        if argv.is_null() || len == 0 {
            return Self(&[]);
        }
        // SAFETY: promised by the caller.
        Self(unsafe { std::slice::from_raw_parts(argv, len) })
    }

    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(self, index: usize) -> Option<Str<'a>> {
        self.0.get(index).map(|raw| Str(*raw, PhantomData))
    }

    pub(crate) fn bytes(self, index: usize) -> &'a [u8] {
        self.get(index).map_or(&[], Str::bytes)
    }

    /// The arguments from `from` on.
    pub(crate) fn rest(self, from: usize) -> Vec<&'a [u8]> {
        (from..self.len()).map(|index| self.bytes(index)).collect()
    }
}

/// A string of the server's, borrowed. An array of them is what the server takes for arguments.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Str<'a>(*mut raw::RedisModuleString, PhantomData<&'a ()>);

impl<'a> Str<'a> {
    /// # Safety
    /// `string` must be a live string that outlives `'a`.
    pub(crate) unsafe fn new(string: *const raw::RedisModuleString) -> Self {
        Self(string.cast_mut(), PhantomData)
    }

    pub(crate) fn raw(self) -> *mut raw::RedisModuleString {
        self.0
    }

    /// The same string, kept beyond the callback that was given it.
    pub(crate) fn hold(self) -> OwnedStr {
        // SAFETY: a live string; without a context it is ours to free.
        OwnedStr(unsafe { api!(RedisModule_HoldString(ptr::null_mut(), self.0)) })
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: a live string; what is returned lives as long as it.
        unsafe {
            let start = api!(RedisModule_StringPtrLen(self.0, &raw mut len));
            if start.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(start.cast(), len)
            }
        }
    }
}

/// A string of the server's that is ours.
pub(crate) struct OwnedStr(*mut raw::RedisModuleString);

impl OwnedStr {
    /// A string made with a null context, which nobody else will free.
    pub(super) fn of(raw: *mut raw::RedisModuleString) -> Self {
        Self(raw)
    }

    pub(crate) fn borrow(&self) -> Str<'_> {
        Str(self.0, PhantomData)
    }

    pub(crate) fn raw(&self) -> *mut raw::RedisModuleString {
        self.0
    }

    /// Gives it to the server to free.
    pub(crate) fn into_raw(self) -> *mut raw::RedisModuleString {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for OwnedStr {
    fn drop(&mut self) {
        // SAFETY: made with a null context, and freed only here.
        unsafe { api!(RedisModule_FreeString(ptr::null_mut(), self.0)) }
    }
}

/// The words of a call, some of which are made for it.
pub(crate) struct Argv<'a> {
    all: Vec<Str<'a>>,
    made: Vec<OwnedStr>,
}

impl<'a> Argv<'a> {
    /// Room for so many words, and for so many that are made.
    pub(crate) fn with_room(words: usize, made: usize) -> Self {
        Self {
            all: Vec::with_capacity(words),
            made: Vec::with_capacity(made),
        }
    }

    pub(crate) fn lend(&mut self, word: Str<'a>) {
        self.all.push(word);
    }

    pub(crate) fn give(&mut self, word: OwnedStr) {
        // What it points to stays where it is, and goes when this does; nobody is lent it for longer.
        self.all.push(Str(word.0, PhantomData));
        self.made.push(word);
    }

    pub(crate) fn all(&self) -> &[Str<'_>] {
        &self.all
    }
}

/// Borrows them all.
pub(crate) fn borrowed(all: &[OwnedStr]) -> Vec<Str<'_>> {
    all.iter().map(OwnedStr::borrow).collect()
}

/// The name of an event.
#[derive(Clone, Copy)]
pub(crate) struct Event<'a>(*const c_char, PhantomData<&'a ()>);

impl Event<'_> {
    /// # Safety
    /// `name` must be a C string that outlives it.
    pub(crate) unsafe fn new(name: *const c_char) -> Self {
        Self(name, PhantomData)
    }

    /// Whether it is that event.
    #[inline]
    pub(crate) fn is(self, name: &CStr) -> bool {
        let mut bytes = name.to_bytes_with_nul().iter().enumerate();
        // SAFETY: a C string, as promised to `new`: of the bytes before this one none was its end, since all were those of `name`.
        bytes.all(|(at, byte)| unsafe { *self.0.add(at) } as u8 == *byte)
    }
}

/// A string that is made once and used in many calls.
pub(crate) struct Constant(OwnedStr);

// SAFETY: the server counts references to it without locks, and only on its main thread, where all calls are made.
unsafe impl Send for Constant {}
// SAFETY: as above.
unsafe impl Sync for Constant {}

impl Constant {
    pub(crate) fn new(text: &str) -> Self {
        // SAFETY: a null context is allowed for making strings.
        Self(unsafe { Ctx::new(ptr::null_mut()) }.string(text.as_bytes()))
    }

    pub(crate) fn get(&self) -> Str<'_> {
        self.0.borrow()
    }
}
