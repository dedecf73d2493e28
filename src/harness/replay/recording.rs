//! A CSV file as a sequence of readings, each line either a row or a reason why not.
//!
//! One line is one record here: read as CSV over the whole file, a single stray quotation mark would swallow all that
//! follows as one field, and blank lines would put the line numbers out.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use anyhow::Context as _;
use csv::{ReaderBuilder, StringRecord};
use jiff::tz::TimeZone;

use super::columns::{Columns, Layout};
use crate::moment;

/// One reading of the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) value: f64,
}

/// A line that is not a reading.
#[derive(Debug, PartialEq)]
pub(crate) struct Bad {
    pub(crate) line: u64,
    pub(crate) reason: String,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    Row(Row),
    Bad(Bad),
}

/// An open file.
pub(crate) struct Recording {
    /// As given, for messages.
    pub(crate) path: String,
    /// The file's name without its extension.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: u64,
    reader: BufReader<File>,
    /// Bytes read so far.
    pub(crate) position: u64,
    line: u64,
    zone: TimeZone,
    time: usize,
    value: usize,
    /// The first line, where it is data and not a header.
    first: Option<Fields>,
}

/// The fields of a line, or why there are none.
type Fields = Result<StringRecord, &'static str>;

impl Recording {
    /// Opens the file and finds its columns.
    pub(crate) fn open(
        path: &Path,
        columns: Option<&Columns>,
        zone: &TimeZone,
    ) -> anyhow::Result<Self> {
        let shown = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        let size = file
            .metadata()
            .with_context(|| format!("cannot open {shown}"))?
            .len();
        let name = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let mut recording = Self {
            path: shown,
            name,
            size,
            reader: BufReader::new(file),
            position: 0,
            line: 0,
            zone: zone.clone(),
            time: 0,
            value: 1,
            first: None,
        };
        let first = recording
            .fields()
            .with_context(|| format!("cannot read {}", recording.path))?;
        let header = match &first {
            Some(Ok(first)) => {
                let layout =
                    Layout::find(first, columns, zone).with_context(|| recording.path.clone())?;
                (recording.time, recording.value) = (layout.time, layout.value);
                layout.header
            }
            _ => false,
        };
        recording.first = first.filter(|_| !header);
        Ok(recording)
    }

    /// The next line, `None` at the end. An error of the disk ends it, a line that is not text does not.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        let fields = match self.first.take() {
            Some(first) => Some(first),
            None => self.fields()?,
        };
        Ok(fields.map(|fields| {
            match fields
                .map_err(String::from)
                .and_then(|record| self.row(&record))
            {
                Ok(row) => Line::Row(row),
                Err(reason) => Line::Bad(Bad {
                    line: self.line,
                    reason,
                }),
            }
        }))
    }

    /// The fields of the next line that is not blank.
    fn fields(&mut self) -> io::Result<Option<Fields>> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = self.reader.read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.position += read as u64;
            self.line += 1;
            if !bytes.trim_ascii().is_empty() {
                break;
            }
        }
        let text = std::str::from_utf8(bytes.trim_ascii_end()).map_err(|_| "not UTF-8 text");
        // Spreadsheets put a byte order mark before the first name.
        Ok(Some(text.and_then(|text| {
            split(text.trim_start_matches('\u{feff}'))
        })))
    }

    fn row(&self, record: &StringRecord) -> Result<Row, String> {
        let field = |index: usize| {
            let field = record.get(index).map(str::trim);
            field.ok_or_else(|| {
                format!(
                    "{} columns, but column {} is needed",
                    record.len(),
                    index + 1
                )
            })
        };
        let (time, value) = (field(self.time)?, field(self.value)?);
        let at =
            moment::parse(time, &self.zone).ok_or_else(|| format!("{time:?} is not a time"))?;
        let value = number(value).ok_or_else(|| format!("{value:?} is not a finite number"))?;
        Ok(Row { at, value })
    }
}

fn split(line: &str) -> Fields {
    if !line.contains('"') {
        return Ok(line.split(',').collect());
    }
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(line.len())
        .from_reader(line.as_bytes());
    let mut record = StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => Ok(record),
        _ => Err("not CSV"),
    }
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Bad, Columns, Line, Recording, Row};
    use jiff::tz::TimeZone;
    use std::io::Write;

    fn lines_of(text: &[u8], columns: Option<&str>) -> anyhow::Result<Vec<Line>> {
        let mut file = tempfile::Builder::new()
            .prefix("pump")
            .suffix(".csv")
            .tempfile()
            .unwrap();
        file.write_all(text).unwrap();
        let columns: Option<Columns> = columns.map(|columns| columns.parse().unwrap());
        let mut recording = Recording::open(file.path(), columns.as_ref(), &TimeZone::UTC)?;
        assert!(recording.name.starts_with("pump") && !recording.name.ends_with(".csv"));
        let mut lines = Vec::new();
        while let Some(line) = recording.next().unwrap() {
            lines.push(line);
        }
        Ok(lines)
    }

    fn row(at: i64, value: f64) -> Line {
        Line::Row(Row { at, value })
    }

    fn bad(line: u64, reason: &str) -> Line {
        Line::Bad(Bad {
            line,
            reason: reason.to_owned(),
        })
    }

    #[test]
    fn a_header_is_recognised_and_its_absence_too() {
        let both = [row(1_000_000, 1.5), row(2_000_000, 2.5)];
        for text in [
            "timestamp,value\n1000,1.5\n2000,2.5\n",
            "1000,1.5\n2000,2.5",
            "\u{feff}Value,Time\r\n1.5,1000\r\n2.5,2000\r\n",
            "when,what\n1000,1.5\n2000,2.5\n",
            "\u{feff}1000,1.5\n2000,2.5\n",
            "time,load\n1000,1.5\n2000,2.5\n",
            "cpu,timestamp\n1.5,1000\n2.5,2000\n",
        ] {
            assert_eq!(lines_of(text.as_bytes(), None).unwrap(), both, "{text:?}");
        }
    }

    #[test]
    fn columns_are_named_or_numbered() {
        let text = b"id,when,degrees\n7,1000,1.5\n";
        for columns in ["when,degrees", "2,3", "When,3"] {
            assert_eq!(
                lines_of(text, Some(columns)).unwrap(),
                [row(1_000_000, 1.5)],
                "{columns}"
            );
        }
        assert_eq!(
            lines_of(b"7,1000,1.5\n", Some("2,3")).unwrap(),
            [row(1_000_000, 1.5)]
        );
        let error = lines_of(text, Some("when,fahrenheit")).unwrap_err();
        assert!(
            format!("{error:#}")
                .contains("no column is named \"fahrenheit\"; the first line is id,when,degrees")
        );
        for wrong in ["1", "0,1", "1,2,3", ",2"] {
            assert!(wrong.parse::<Columns>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn bad_lines_have_their_number_and_a_reason_and_do_not_end_the_file() {
        let text = b"timestamp,value\n1000,1\nsoon,2\n3000\n\n4000,nan\n5000,\n\xff\xfe,6\n\"7000,7\n\"7000\",7\r\n";
        assert_eq!(
            lines_of(text, None).unwrap(),
            [
                row(1_000_000, 1.0),
                bad(3, "\"soon\" is not a time"),
                bad(4, "1 columns, but column 2 is needed"),
                bad(6, "\"nan\" is not a finite number"),
                bad(7, "\"\" is not a finite number"),
                bad(8, "not UTF-8 text"),
                bad(9, "1 columns, but column 2 is needed"),
                row(7_000_000, 7.0),
            ]
        );
    }

    #[test]
    fn a_bad_value_in_the_first_line_is_not_a_header() {
        assert_eq!(
            lines_of(b"1000,broken\n2000,2\n", None).unwrap(),
            [
                bad(1, "\"broken\" is not a finite number"),
                row(2_000_000, 2.0)
            ]
        );
        assert_eq!(lines_of(b"", None).unwrap(), []);
    }
}
