//! The allocator: the server's own, so that `maxmemory` sees every byte, and counted, so that INFO can tell them.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use redis_module::alloc::RedisAlloc;
use redis_module::raw;

/// The server's allocator with a count of the bytes it holds for us.
pub(crate) struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes the module holds.
pub(crate) fn bytes() -> usize {
    BYTES.load(Relaxed)
}

// SAFETY: every call is passed on unchanged; the count is beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { RedisAlloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // What is large is fresh memory, which the server's allocator need not clear.
        // SAFETY: reads a function pointer, which the server set before anything is allocated. Any size is allowed; as with `alloc`
        // a size that is a multiple of the alignment is aligned.
        unsafe {
            let Some(calloc) = raw::RedisModule_Calloc else {
                return std::ptr::null_mut();
            };
            BYTES.fetch_add(layout.size(), Relaxed);
            calloc(1, layout.size().next_multiple_of(layout.align())).cast()
        }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise about pointer and layout is passed on.
        unsafe { RedisAlloc.dealloc(ptr, layout) }
    }
}
