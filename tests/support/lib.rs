//! Support for the server suite: real servers with the module in them, and what is needed to talk to them.
//!
//! ```no_run
//! use anomaly_tests::{args, text, Server};
//! let server = Server::start(); // Redis with RedisTimeSeries and the module as built now
//! assert_eq!(text(&server.cmd(&["ANOMALY.ADD", "s", "1000", "21.5"])), "warmup");
//! assert_eq!(text(&server.cmd(&args!["ANOMALY.ADD", "s", 2000, 21.6])), "warmup");
//! ```
//!
//! No server outlives its test: dropping it kills it, and so does the end of the test process, however it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support: a failure here is a failed test, and saying so at once is the point"
)]

mod artifact;
mod builder;
mod call;
mod cluster;
mod dir;
mod picture;
mod port;
mod process;
mod program;
mod reply;
mod server;
mod setup;
mod tls;
mod wait;

pub use artifact::{anomaly, c_module, module};
pub use builder::{Builder, Refused};
pub use call::{__argument, Args, call, call_many, try_call};
pub use cluster::three_masters;
pub use dir::Dir;
pub use picture::{Picture, assert_same};
pub use port::free_port;
pub use program::{Program, alert_ids};
pub use reply::{bytes, entries, error, field, float, int, is_nil, list, pairs, text};
pub use server::{Server, Stop};
pub use setup::{bootstrap, checkout, fetched_server, redis_cli, redis_server, timeseries};
pub use tls::{Certificate, Certificates};
pub use wait::wait_until;
