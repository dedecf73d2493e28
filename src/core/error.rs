//! The one error type. The text users see is made here and nowhere else.

use std::fmt;

use crate::text::{duration, number, shown};

/// Why a request was refused. A refused request has changed nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// A timestamp that is no integer of 0 to `i64::MAX`.
    Timestamp {
        /// What was given.
        given: Vec<u8>,
    },
    /// A timestamp too far ahead of the server's clock.
    Future {
        /// What was given.
        given: i64,
        /// How far ahead it is, in milliseconds.
        ahead: i64,
        /// How far ahead it may be.
        max_future: u64,
    },
    /// A value that is no number.
    Value {
        /// What was given.
        given: Vec<u8>,
    },
    /// NaN, an infinity, or a number beyond ±1.8e308.
    NotFinite {
        /// What was given.
        given: Vec<u8>,
    },
    /// An argument where only certain words may stand.
    Argument {
        /// What was given.
        given: Vec<u8>,
        /// What would be right.
        expected: &'static str,
    },
    /// An argument without the value that belongs to it.
    Incomplete {
        /// The name that stands alone.
        name: Vec<u8>,
        /// What must follow.
        expected: &'static str,
    },
    /// An option that was given before.
    Twice {
        /// The option.
        name: Vec<u8>,
    },
    /// An option that only goes together with another.
    Without {
        /// The option that was given.
        name: &'static str,
        /// The one it lacks.
        other: &'static str,
    },
    /// The end of a range of time that is no time, or a range that ends before it begins.
    Range {
        /// Which end.
        name: &'static str,
        /// What was given.
        given: Vec<u8>,
        /// What would be right.
        expected: &'static str,
    },
    /// A backtest where no client may wait.
    CannotWait,
    /// A backtest is going on.
    Busy,
    /// CLIENT UNBLOCK ended the waiting for a reply.
    Stopped {
        /// The command whose reply it was.
        command: &'static str,
    },
    /// No thread for a backtest.
    NoThread {
        /// What the system says.
        why: String,
    },
    /// Series are needed, and the server has none.
    NoTimeSeries,
    /// A sensor without a series.
    NoSeries {
        /// The key it would have.
        series: Vec<u8>,
    },
    /// A series that cannot be read.
    Unreadable {
        /// Its key.
        series: Vec<u8>,
        /// What TimeSeries says.
        why: String,
    },
    /// A series that cannot be read in small parts.
    LargeChunks {
        /// Its key.
        series: Vec<u8>,
        /// Samples that one of its chunks can hold.
        samples: u64,
        /// How many there may be.
        most: u64,
    },
    /// A series that the user may not read.
    SeriesPermission {
        /// Its key.
        series: Vec<u8>,
    },
    /// A pattern that more sensors match than one backtest takes.
    TooManyMatch {
        /// How many it takes.
        most: usize,
    },
    /// Two options that exclude each other.
    Excluded {
        /// The one.
        name: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A field's name or a key template that is empty or too long.
    Length {
        /// The option it belongs to.
        name: &'static str,
    },
    /// VALUES with no field, or with too many.
    Values,
    /// A key template with a variable that does not exist.
    Template {
        /// What stands after the dollar sign.
        word: Vec<u8>,
    },
    /// On a cluster: a key template whose keys could leave the slot of their stream.
    TemplateSlot {
        /// The streams' pattern.
        pattern: Vec<u8>,
    },
    /// No setting has that name.
    UnknownSetting {
        /// What was given.
        given: Vec<u8>,
        /// The nearest name there is.
        nearest: &'static str,
    },
    /// A setting cannot take that value.
    SettingValue {
        /// The setting.
        name: &'static str,
        /// What was given.
        given: Vec<u8>,
        /// What would be right.
        expected: String,
    },
    /// Two limits that contradict each other.
    Limits {
        /// The one that must be the smaller.
        low: (&'static str, f64),
        /// The one that must be the larger.
        high: (&'static str, f64),
    },
    /// A pattern that is empty or too long.
    Pattern,
    /// A JSON document that cannot be imported.
    Document {
        /// Where in it and why.
        why: String,
    },
    /// A stored model that is damaged or from a later version.
    Payload {
        /// What is wrong with it.
        why: &'static str,
    },
    /// The key holds another type.
    WrongType,
    /// On a cluster: the series or the alerts of that key would live in another slot.
    CrossSlot {
        /// The key.
        key: Vec<u8>,
    },
    /// On a cluster: the slot is moving, and a key that is needed may be on the other node.
    TryAgain {
        /// The sensor.
        key: Vec<u8>,
    },
    /// A command that only the server's own replication and loading may use.
    Internal,
    /// A watched stream may create no more sensors.
    TooManySensors {
        /// How many there may be.
        most: u64,
    },
    /// A key that the module writes to itself.
    Reserved {
        /// The key.
        key: Vec<u8>,
    },
    /// There is no memory for more.
    OutOfMemory,
    /// A panic was caught while the model was changed: it has been reset.
    Broken,
    /// An internal command from a version this one does not know.
    Version {
        /// What was given.
        given: Vec<u8>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timestamp { given } => {
                write!(
                    f,
                    "ERR timestamp '{}' is not *, nor an integer of Unix milliseconds from 0",
                    shown(given)
                )
            }
            Self::Future {
                given,
                ahead,
                max_future,
            } => write!(
                f,
                "ERR timestamp '{given}' is {} ahead of the server's clock, more than anomaly.max-future allows ({max_future} ms): give Unix milliseconds",
                duration(*ahead)
            ),
            Self::Value { given } => write!(f, "ERR value '{}' is not a number", shown(given)),
            Self::NotFinite { given } => {
                write!(
                    f,
                    "ERR value '{}' is not a finite number (at most 1.7976931348623157e308)",
                    shown(given)
                )
            }
            Self::Argument { given, expected } => {
                write!(
                    f,
                    "ERR unexpected argument '{}': expected {expected}",
                    shown(given)
                )
            }
            Self::Incomplete { name, expected } => {
                write!(f, "ERR '{}' must be followed by {expected}", shown(name))
            }
            Self::Twice { name } => write!(f, "ERR '{}' must not be given twice", shown(name)),
            Self::Without { name, other } => {
                write!(f, "ERR '{name}' needs '{other}': give both, or neither")
            }
            Self::CannotWait => f.write_str(
                "ERR ANOMALY.BACKTEST waits for its outcome, which a client in MULTI, a script or a function cannot: send it alone",
            ),
            Self::Busy => f.write_str(
                "ERR ANOMALY.BACKTEST is running already, and there is one at a time: try again when it is over",
            ),
            Self::Stopped { command } => write!(f, "ERR {command} was stopped by CLIENT UNBLOCK"),
            Self::NoThread { why } => {
                write!(f, "ERR ANOMALY.BACKTEST got no thread: {}", shown(why.as_bytes()))
            }
            Self::NoTimeSeries => f.write_str(
                "ERR ANOMALY.BACKTEST needs the archived readings of sensors, and TimeSeries is not loaded",
            ),
            Self::NoSeries { series } => write!(
                f,
                "ERR key has no series '{}': its readings were not archived (see the setting 'archive' and INFO anomaly)",
                shown(series)
            ),
            Self::Unreadable { series, why } => {
                let (code, why) = coded(why);
                write!(
                    f,
                    "{code} series '{}' cannot be read: {}",
                    shown(series),
                    shown(why.as_bytes())
                )
            }
            Self::LargeChunks {
                series,
                samples,
                most,
            } => write!(
                f,
                "ERR series '{}' can have {samples} samples in a chunk, and reading one would hold other clients up: at most {most}, as with a CHUNK_SIZE of 16384 bytes",
                shown(series)
            ),
            Self::SeriesPermission { series } => write!(
                f,
                "NOPERM No permissions to read the series '{}' of that key",
                shown(series)
            ),
            Self::TooManyMatch { most } => write!(
                f,
                "ERR 'MATCH' pattern is that of more than {most} sensors: give a narrower one"
            ),
            Self::Range {
                name,
                given,
                expected,
            } => write!(
                f,
                "ERR '{name}' cannot be '{}': expected {expected}",
                shown(given)
            ),
            Self::Excluded { name, other } => write!(
                f,
                "ERR '{name}' excludes '{other}': give METRIC and VALUE, or VALUES"
            ),
            Self::Length { name } => write!(f, "ERR '{name}' must be followed by 1 to 1024 bytes"),
            Self::Values => f.write_str("ERR 'VALUES' must be followed by 1 to 1000 fields"),
            Self::Template { word } => write!(
                f,
                "ERR 'KEY' has an unknown variable '${}': expected $device, $metric, $stream, $tag, or $$ for a dollar sign",
                shown(word)
            ),
            Self::TemplateSlot { pattern } => write!(
                f,
                "CROSSSLOT 'KEY' can make keys outside the slot of the streams '{}': its first brace must open {{$tag}}, as in sensor:{{$tag}}:$device:$metric, and a stream's name have no stray brace",
                shown(pattern)
            ),
            Self::UnknownSetting { given, nearest } => write!(
                f,
                "ERR unknown setting '{}': did you mean '{nearest}'? ANOMALY.CONFIG HELP lists them",
                shown(given)
            ),
            Self::SettingValue {
                name,
                given,
                expected,
            } => {
                write!(
                    f,
                    "ERR setting '{name}' cannot be '{}': expected {expected}",
                    shown(given)
                )
            }
            Self::Limits { low, high } => write!(
                f,
                "ERR setting '{}' ({}) must not be above '{}' ({})",
                low.0,
                number(low.1),
                high.0,
                number(high.1)
            ),
            Self::Pattern => f.write_str("ERR pattern must be 1 to 1024 bytes"),
            Self::Document { why } => write!(f, "ERR document cannot be imported: {why}"),
            Self::Payload { why } => write!(f, "ERR stored model cannot be read: {why}"),
            Self::WrongType => {
                f.write_str("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            Self::CrossSlot { key } => write!(
                f,
                "CROSSSLOT key '{}' cannot have its series and alerts in its own slot: use a key without a stray brace, such as {{device}}:metric",
                shown(key)
            ),
            Self::TryAgain { key } => write!(
                f,
                "TRYAGAIN the slot of key '{}' is moving, and its series or alerts may be on the other node: send it again",
                shown(key)
            ),
            Self::TooManySensors { most } => write!(
                f,
                "ERR the sensor is new, and anomaly.max-sensors allows watched streams no more than {most}"
            ),
            Self::Reserved { key } => write!(
                f,
                "ERR key '{}' is where alerts or dead letters are written: use another for a sensor",
                shown(key)
            ),
            Self::OutOfMemory => {
                f.write_str("OOM command not allowed when used memory > 'maxmemory'.")
            }
            Self::Broken => f.write_str(
                "ERR internal error: the sensor's model was reset, see the server's log",
            ),
            Self::Internal => {
                f.write_str("ERR internal command: only replication and loading may use it")
            }
            Self::Version { given } => write!(
                f,
                "ERR internal command of version '{}', which this version does not know: upgrade replicas before masters",
                shown(given)
            ),
        }
    }
}

impl std::error::Error for Error {}

/// An error text of another command as its code, where that is a standard one, and the rest.
fn coded(text: &str) -> (&str, &str) {
    let text = text.strip_prefix("ERR ").unwrap_or(text);
    match text.split_once(' ') {
        Some((code @ ("WRONGTYPE" | "NOPERM" | "OOM" | "CROSSSLOT"), rest)) => (code, rest),
        _ => ("ERR", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_timeseries_says_of_a_series_has_one_code_and_it_comes_first() {
        for (why, told) in [
            (
                "WRONGTYPE Operation against a key",
                "WRONGTYPE series 's' cannot be read: Operation against a key",
            ),
            (
                "ERR WRONGTYPE Operation against a key",
                "WRONGTYPE series 's' cannot be read: Operation against a key",
            ),
            (
                "ERR TSDB: the key does not exist",
                "ERR series 's' cannot be read: TSDB: the key does not exist",
            ),
            ("no code", "ERR series 's' cannot be read: no code"),
        ] {
            let error = Error::Unreadable {
                series: b"s".to_vec(),
                why: why.into(),
            };
            assert_eq!(error.to_string(), told);
        }
    }
}
