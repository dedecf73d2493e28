//! The server suite: the module and the `anomaly` binary against real servers, one file per behaviour area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod conf;
mod examples;
mod house;
mod loading;
mod replicas;
mod replication;
