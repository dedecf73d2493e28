//! The server suite: the module and the `anomaly` binary against real servers, one file per behaviour area.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod access;
mod add;
mod alerts;
mod away;
mod backlog;
mod backtest;
mod benchmark;
mod bytes;
mod cluster;
mod cluster_announced;
mod cluster_live;
mod cluster_silence;
mod cluster_unread;
mod commands;
mod conf;
mod config;
mod config_refused;
mod consumer;
mod dead_letters;
mod disk;
mod dump;
mod early;
mod endings;
mod episodes;
mod evaluate;
mod examples;
mod extremes;
mod guards;
mod hook;
mod hostile;
mod house;
mod keyspace_events;
mod known;
mod last_ids;
mod limits;
mod loading;
mod long_runs;
mod memory;
mod newer;
mod once;
mod open_episodes;
mod order;
mod pair;
mod panics;
mod quiet;
mod refused;
mod replicas;
mod replication;
mod right_entry;
mod roles;
mod rules;
mod same;
mod samples;
mod samples_series;
mod series;
mod settings;
mod shapes;
mod short_cuts;
mod silence;
mod stored;
mod tls;
mod too_old;
mod torn;
mod transports;
mod watch;
