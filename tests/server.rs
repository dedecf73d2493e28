//! The server suite: the module and the `anomaly` binary against real servers, one file per behaviour area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod add;
mod alerts;
mod conf;
mod config;
mod config_refused;
mod endings;
mod episodes;
mod examples;
mod extremes;
mod house;
mod keyspace_events;
mod loading;
mod open_episodes;
mod order;
mod refused;
mod replicas;
mod replication;
mod rules;
mod series;
