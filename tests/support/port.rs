//! Loopback ports that nobody else uses.

use std::net::TcpListener;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which the kernel gives ports to outgoing connections: a port of that range can be taken by any
/// client between the moment it is found free and the moment the server binds it.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

/// A free port, never the same twice in a test process. Another process may still be faster: starting a server retries.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU32> = OnceLock::new();
    // test processes that run at once start at different places
    let next = NEXT.get_or_init(|| AtomicU32::new(process::id().wrapping_mul(7919)));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = u16::try_from(port).expect("the range is below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!(
        "no free loopback port between {FIRST} and {}",
        FIRST + COUNT
    );
}
