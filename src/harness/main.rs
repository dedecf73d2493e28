//! The `anomaly` binary.
fn main() {}
