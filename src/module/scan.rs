//! A walk over the whole keyspace, for the rare question that nothing else can answer.

use std::ffi::c_void;

use redis_module::raw;

use crate::fence::guard;
use crate::server::{Ctx, Str, api};

/// The names of all keys of the selected database that are wanted. Takes time in proportion to the keys there are.
pub(crate) fn keys(ctx: Ctx, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    struct Search<'a> {
        wanted: &'a dyn Fn(&[u8]) -> bool,
        found: Vec<Vec<u8>>,
    }
    unsafe extern "C" fn visit(
        _: *mut raw::RedisModuleCtx,
        name: *mut raw::RedisModuleString,
        _: *mut raw::RedisModuleKey,
        search: *mut c_void,
    ) {
        guard((), || {
            // SAFETY: the server passes on the pointer to `search` below, which lives until the scan is over, and the
            // live name of a key.
            let (search, name) = unsafe { (&mut *search.cast::<Search<'_>>(), Str::new(name)) };
            if (search.wanted)(name.bytes()) {
                search.found.push(name.bytes().to_vec());
            }
        });
    }
    let mut search = Search {
        wanted: &wanted,
        found: Vec::new(),
    };
    // SAFETY: the cursor is used between its making and its end; `visit` has the type the server expects.
    unsafe {
        let cursor = api!(RedisModule_ScanCursorCreate());
        while api!(RedisModule_Scan(
            ctx.raw(),
            cursor,
            Some(visit),
            (&raw mut search).cast()
        )) == 1
        {}
        api!(RedisModule_ScanCursorDestroy(cursor));
    }
    search.found.sort();
    search.found.dedup();
    search.found
}
