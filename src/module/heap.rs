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
        // The server's is given fresh memory for what is large, which need not be cleared.
        // SAFETY: reads a function pointer that the server set.
        let Some(calloc) = (unsafe { raw::RedisModule_Calloc }) else {
            // SAFETY: the caller's promise about the layout is passed on.
            let new = unsafe { self.alloc(layout) };
            if !new.is_null() {
                // SAFETY: it is that large.
                unsafe { new.write_bytes(0, layout.size()) };
            }
            return new;
        };
        BYTES.fetch_add(layout.size(), Relaxed);
        // SAFETY: any size is allowed; as with `alloc` a size that is a multiple of the alignment is aligned.
        unsafe { calloc(1, layout.size().next_multiple_of(layout.align())) }.cast()
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise about pointer and layout is passed on.
        unsafe { RedisAlloc.dealloc(ptr, layout) }
    }
}
