//! Which columns of a recording are read, and whether its first line is a header.

use std::str::FromStr;

use anyhow::bail;
use csv::StringRecord;
use jiff::tz::TimeZone;

use crate::moment;

/// Names under which recordings have their timestamps, the likeliest first.
const TIMES: [&str; 6] = ["timestamp", "ts", "time", "datetime", "date", "date_time"];
const VALUES: [&str; 6] = ["value", "val", "reading", "measurement", "temperature", "y"];

/// Where a column is: by name, or by number from 1.
#[derive(Clone, Debug, PartialEq)]
enum Column {
    Name(String),
    Number(usize),
}

/// The two columns that are read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Columns {
    time: Column,
    value: Column,
}

impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let column = |name: &str| match name.parse() {
            Ok(0) => Err(String::from("columns are numbered from 1")),
            Ok(number) => Ok(Column::Number(number)),
            Err(_) if name.is_empty() => Err(String::from("a column's name is empty")),
            Err(_) => Ok(Column::Name(name.to_owned())),
        };
        match text.split(',').collect::<Vec<_>>().as_slice() {
            [time, value] => Ok(Self {
                time: column(time.trim())?,
                value: column(value.trim())?,
            }),
            _ => Err(format!(
                "{text:?} is not two columns, like timestamp,value or 1,2"
            )),
        }
    }
}

/// What the first line tells about the others.
#[derive(Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) time: usize,
    pub(super) value: usize,
    pub(super) header: bool,
}

impl Layout {
    pub(super) fn find(
        first: &StringRecord,
        columns: Option<&Columns>,
        zone: &TimeZone,
    ) -> anyhow::Result<Self> {
        let named = |name: &str| {
            first
                .iter()
                .position(|field| field.trim().eq_ignore_ascii_case(name))
        };
        let Some(columns) = columns else {
            let any = |names: [&str; 6]| names.into_iter().find_map(named);
            let (time, value) = (any(TIMES), any(VALUES));
            // One of the two by name, the other by its place: `timestamp,cpu_load`.
            let time = time
                .or_else(|| value.map(|value| usize::from(value == 0)))
                .unwrap_or(0);
            let value = value.unwrap_or(usize::from(time == 0));
            return Ok(Self {
                time,
                value,
                header: !is_time(first, time, zone),
            });
        };
        let place = |column: &Column| match column {
            Column::Number(number) => Ok(number - 1),
            Column::Name(name) => match named(name) {
                Some(index) => Ok(index),
                None => {
                    let there: Vec<&str> = first.iter().map(str::trim).collect();
                    bail!(
                        "no column is named {name:?}; the first line is {}",
                        there.join(",")
                    )
                }
            },
        };
        let (time, value) = (place(&columns.time)?, place(&columns.value)?);
        let by_name = matches!(
            (&columns.time, &columns.value),
            (Column::Name(_), _) | (_, Column::Name(_))
        );
        Ok(Self {
            time,
            value,
            header: by_name || !is_time(first, time, zone),
        })
    }
}

/// A header's first line has no time where the times are. A value that is not a number does not make a header: it may be
/// one bad reading.
fn is_time(first: &StringRecord, column: usize, zone: &TimeZone) -> bool {
    first
        .get(column)
        .is_some_and(|field| moment::parse(field, zone).is_some())
}
