//! The pure half of Redis Anomaly: a reading and the rules go in, a verdict and its effects come out as values.
//!
//! Data flows one way, and every way into the server (ADD, MADD, the stream hook, timers) takes it:
//!
//! ```text
//! arguments → command::Add → Reading → Model::ingest(Reading, Profile) → Outcome { verdict, effects }
//! ```
//!
//! Nothing here knows Redis, reads a clock or does I/O, so a replica that is fed the same readings and rules arrives at
//! the same bits.
#![forbid(unsafe_code)]

pub mod alert;
pub mod append_only;
pub mod backtest;
pub mod cache;
pub mod codec;
pub mod command;
pub mod deadlines;
pub mod detect;
pub mod document;
pub mod entry;
pub mod episode;
pub mod error;
pub mod glob;
mod ingest;
pub mod instant;
pub mod key;
pub mod kind;
pub mod late;
pub mod model;
pub mod more;
pub mod outcome;
pub mod plain;
pub mod profile;
pub mod ranks;
pub mod reading;
pub mod reason;
pub mod recent;
pub mod release;
pub mod rule;
pub mod setting;
pub mod shape;
pub mod silence;
pub mod stream_id;
mod succession;
pub mod template;
pub mod text;
pub mod units;
pub mod watch;
pub mod window;
pub mod written;
pub mod xadd;

#[cfg(test)]
mod testing;

pub use error::Error;
pub use model::Model;
pub use profile::Profile;
pub use reading::Reading;
pub use rule::Rules;
pub use stream_id::StreamId;
pub use watch::Watches;
