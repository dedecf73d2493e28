//! The server suite: the module and the `anomaly` binary against real servers, one file per behaviour area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod add;
mod conf;
mod config;
mod config_refused;
mod examples;
mod extremes;
mod house;
mod loading;
mod order;
mod refused;
mod replicas;
mod replication;
mod rules;
mod series;
