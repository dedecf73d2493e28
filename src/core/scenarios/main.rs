//! The acceptance scenarios of the detectors: what users feel, as figures against bars.
//!
//! `make scenarios` runs them; see [`HELP`] for what can be chosen. One file each for what goes wrong (`clean`, `events`,
//! `trouble`, `upkeep`), on signals of `signal`, seen through a `sensor` that knows no more than a user does. A few seeds
//! of each run with the tests: a bar that is met there (`met.txt`) must stay met.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "not part of the library: a failure here is a failed measurement, and says so at once"
)]

mod clean;
mod dice;
mod events;
mod figure;
#[cfg(test)]
mod met;
mod options;
mod recording;
mod scenario;
mod sensor;
mod signal;
mod suite;
mod table;
mod trace;
mod trouble;
mod upkeep;

use std::process::ExitCode;

use crate::options::{HELP, Options};

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match Options::from_environment().and_then(|options| table::print(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => {
            eprintln!("scenarios: {wrong}");
            ExitCode::FAILURE
        }
    }
}
