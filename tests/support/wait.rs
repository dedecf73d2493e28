//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// Far beyond what anything takes on a slow and busy machine: reaching it is a failure.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns when `condition` holds; fails the test with `what` when it has not within a minute.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        holds_within(LIMIT, condition),
        "gave up after {LIMIT:?} waiting until {what}"
    );
}

pub(crate) fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(Duration::from_millis(3));
    }
}
