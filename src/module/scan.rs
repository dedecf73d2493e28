//! A walk over the whole keyspace, for the rare question that nothing else can answer.

use std::collections::BTreeSet;
use std::ffi::c_void;
use std::time::Instant;

use redis_module::raw;

use crate::datatype;
use crate::fence::guard;
use crate::server::{Ctx, Str, api};

/// A walk over the keys of a database, which can be interrupted. A key that is there all the time is visited.
pub(crate) struct Walk {
    cursor: *mut raw::RedisModuleScanCursor,
    found: BTreeSet<Vec<u8>>,
}

struct Visit<'a> {
    visit: &'a mut dyn FnMut(&[u8], *mut raw::RedisModuleKey),
}

impl Walk {
    pub(crate) fn new() -> Self {
        // SAFETY: takes no arguments; freed by `Drop`.
        let cursor = unsafe { api!(RedisModule_ScanCursorCreate()) };
        Self {
            cursor,
            found: BTreeSet::new(),
        }
    }

    /// Walks on in the selected database until `end`; whether it is over.
    pub(crate) fn go_on(&mut self, ctx: Ctx, end: Instant, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.gather(ctx, end, |name, _| wanted(name))
    }

    /// The same for keys that hold a model.
    pub(crate) fn go_on_sensors(
        &mut self,
        ctx: Ctx,
        end: Instant,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> bool {
        self.gather(ctx, end, |name, key| {
            wanted(name) && datatype::holds_model(key)
        })
    }

    fn gather(
        &mut self,
        ctx: Ctx,
        end: Instant,
        wanted: impl Fn(&[u8], *mut raw::RedisModuleKey) -> bool,
    ) -> bool {
        let mut found = std::mem::take(&mut self.found);
        let over = loop {
            let over = self.visit(ctx, |name, key| {
                if wanted(name, key) {
                    found.insert(name.to_vec());
                }
            });
            if over || Instant::now() >= end {
                break over;
            }
        };
        self.found = found;
        over
    }

    /// Walks over a few keys more, which must not be changed meanwhile; whether it is over.
    pub(crate) fn step(&mut self, ctx: Ctx, mut visit: impl FnMut(&[u8])) -> bool {
        self.visit(ctx, |name, _| visit(name))
    }

    fn visit(&mut self, ctx: Ctx, mut visit: impl FnMut(&[u8], *mut raw::RedisModuleKey)) -> bool {
        let mut visit = Visit { visit: &mut visit };
        let data = (&raw mut visit).cast();
        // SAFETY: a live context and cursor; `on_key` gets back the pointer to `visit`, which lives meanwhile.
        unsafe { api!(RedisModule_Scan(ctx.raw(), self.cursor, Some(on_key), data)) == 0 }
    }

    /// How many were wanted so far.
    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The names that were wanted.
    pub(crate) fn found(mut self) -> BTreeSet<Vec<u8>> {
        std::mem::take(&mut self.found)
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed only here.
        unsafe { api!(RedisModule_ScanCursorDestroy(self.cursor)) }
    }
}

unsafe extern "C" fn on_key(
    _: *mut raw::RedisModuleCtx,
    name: *mut raw::RedisModuleString,
    key: *mut raw::RedisModuleKey,
    visit: *mut c_void,
) {
    guard((), || {
        // SAFETY: the server passes on the pointer that `visit` gave, and the live name of a key.
        let (visit, name) = unsafe { (&mut *visit.cast::<Visit<'_>>(), Str::new(name)) };
        (visit.visit)(name.bytes(), key);
    });
}
