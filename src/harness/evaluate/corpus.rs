//! Labelled recordings on disk, laid out as the Numenta Anomaly Benchmark lays out its own.
//!
//! ```text
//! data/<category>/<file>.csv      a header with the columns timestamp and value
//! labels/combined_windows.json    {"<category>/<file>.csv": [[first, last], …], …}
//! ```
//!
//! Unlike a replay, an evaluation does not pass over a line that it cannot read: scores are only worth comparing when
//! they are of the same rows.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use csv::ReaderBuilder;
use jiff::tz::TimeZone;

use crate::moment;
use crate::terminal::note;

/// A row of a file, as it stands there and as it is read.
pub(crate) struct Row {
    /// The timestamp's own text, to be written again.
    pub(crate) time: String,
    /// The value's.
    pub(crate) text: String,
    /// Unix milliseconds.
    pub(crate) at: i64,
    pub(crate) value: f64,
}

/// A file with its windows.
pub(crate) struct Recording {
    /// `category/file.csv`
    pub(crate) name: String,
    pub(crate) rows: Vec<Row>,
    /// First and last row of each stretch that is labelled anomalous, in order.
    pub(crate) windows: Vec<(usize, usize)>,
}

impl Recording {
    pub(crate) fn category(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// Reads all files that have labels, by name.
pub(crate) fn read(dir: &Path) -> anyhow::Result<Vec<Recording>> {
    let labels = labels(dir).with_context(|| format!("--nab {}", dir.display()))?;
    let mut recordings = Vec::new();
    let mut missing = 0;
    for (name, windows) in labels {
        let path = dir.join("data").join(&name);
        if path.is_file() {
            recordings.push(recording(name, &path, &windows)?);
        } else {
            missing += 1;
        }
    }
    if recordings.is_empty() {
        bail!(
            "--nab {}: none of the files that labels/combined_windows.json names is in data/",
            dir.display()
        );
    }
    if missing > 0 {
        note(format_args!(
            "anomaly: {missing} labelled files are not in data/; scored without them"
        ));
    }
    Ok(recordings)
}

/// First and last instant of each window, by file.
type Labels = BTreeMap<String, Vec<(String, String)>>;

fn labels(dir: &Path) -> anyhow::Result<Labels> {
    let path = dir.join("labels").join("combined_windows.json");
    let text = fs::read_to_string(&path)
        .context("cannot read labels/combined_windows.json, which says what is an anomaly")?;
    let labels: Labels = serde_json::from_str(&text).context(
        "labels/combined_windows.json is not {\"category/file.csv\": [[first, last], …]}",
    )?;
    let strays = |name: &&String| {
        let parts: Vec<&str> = name.split('/').collect();
        parts.len() != 2 || parts.iter().any(|part| ["", ".", ".."].contains(part))
    };
    if let Some(name) = labels.keys().find(strays) {
        bail!("labels/combined_windows.json: {name:?} is not a category and a file");
    }
    Ok(labels)
}

fn recording(name: String, path: &Path, windows: &[(String, String)]) -> anyhow::Result<Recording> {
    let rows = rows(path).with_context(|| path.display().to_string())?;
    // A window's edge is told to the second; where several rows share it, the first is meant.
    let mut first_at = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        first_at.entry(row.at.div_euclid(1000)).or_insert(index);
    }
    let edge = |text: &str| {
        let at = moment::parse(text, &TimeZone::UTC).map(|at| at.div_euclid(1000));
        let row = at.and_then(|at| first_at.get(&at)).copied();
        row.ok_or_else(|| anyhow!("{name}: the window's edge {text:?} is no row of the file"))
    };
    let mut spans = Vec::new();
    for (first, last) in windows {
        let span = (edge(first)?, edge(last)?);
        if span.0 > span.1 {
            bail!("{name}: the window {first:?} to {last:?} ends before it begins");
        }
        spans.push(span);
    }
    spans.sort_unstable();
    Ok(Recording {
        name,
        rows,
        windows: spans,
    })
}

fn rows(path: &Path) -> anyhow::Result<Vec<Row>> {
    let mut reader = ReaderBuilder::new().flexible(true).from_path(path)?;
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let found = header
            .iter()
            .position(|cell| cell.trim_start_matches('\u{feff}').trim() == name);
        found.ok_or_else(|| anyhow!("the first line names no column `{name}`"))
    };
    let (time, value) = (column("timestamp")?, column("value")?);
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |column: usize| record.get(column).unwrap_or_default().trim();
        let (time, text) = (cell(time), cell(value));
        let at = moment::parse(time, &TimeZone::UTC)
            .ok_or_else(|| anyhow!("line {line}: {time:?} is not a time"))?;
        let value = text.parse().ok().filter(|value: &f64| value.is_finite());
        let value = value.ok_or_else(|| anyhow!("line {line}: {text:?} is not a finite number"))?;
        rows.push(Row {
            time: time.to_owned(),
            text: text.to_owned(),
            at,
            value,
        });
    }
    Ok(rows)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::read;
    use std::fs;

    fn corpus(csv: &str, labels: &str) -> anyhow::Result<Vec<super::Recording>> {
        let dir = tempfile::tempdir().unwrap();
        for part in ["data/plant", "labels"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        fs::write(dir.path().join("data/plant/pump.csv"), csv).unwrap();
        fs::write(dir.path().join("labels/combined_windows.json"), labels).unwrap();
        read(dir.path())
    }

    const CSV: &str =
        "timestamp,value\n2014-04-01 00:00:00,1.50\n2014-04-01 00:05:00,2\n2014-04-01 00:05:00,3\n";

    #[test]
    fn rows_keep_their_text_and_windows_become_rows() {
        let labels =
            r#"{"plant/pump.csv": [["2014-04-01 00:00:00.000000", "2014-04-01 00:05:00.000000"]]}"#;
        let corpus = corpus(CSV, labels).unwrap();
        let pump = &corpus[0];
        assert_eq!(
            (pump.name.as_str(), pump.category()),
            ("plant/pump.csv", "plant")
        );
        assert_eq!(pump.windows, [(0, 1)]);
        assert_eq!(
            (pump.rows[0].text.as_str(), pump.rows[0].value),
            ("1.50", 1.5)
        );
        assert_eq!(pump.rows[1].at - pump.rows[0].at, 300_000);
    }

    #[test]
    fn what_cannot_be_scored_is_refused_and_named() {
        let whole = r#"{"plant/pump.csv": []}"#;
        for (csv, labels, said) in [
            ("timestamp,degrees\n", whole, "no column `value`"),
            (
                "timestamp,value\n2014-04-01 00:00:00,\n",
                whole,
                "line 2: \"\" is not a finite number",
            ),
            (
                "timestamp,value\nyesterday,1\n",
                whole,
                "line 2: \"yesterday\" is not a time",
            ),
            (CSV, "[]", "combined_windows.json is not"),
            (CSV, r#"{"plant/valve.csv": []}"#, "none of the files"),
            (CSV, r#"{"../pump.csv": []}"#, "not a category and a file"),
            (
                CSV,
                r#"{"plant/pump.csv": [["2014-04-02", "2014-04-03"]]}"#,
                "\"2014-04-02\" is no row",
            ),
        ] {
            let wrong = format!("{:#}", corpus(csv, labels).err().unwrap());
            assert!(wrong.contains(said), "{wrong}");
        }
    }
}
