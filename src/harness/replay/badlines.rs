//! Lines that could not be read: the first few on stderr, all in a file if asked for.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::recording::Bad;
use crate::terminal::{harmless, note, thousands};

/// Shown at the end; more would bury the summary.
const SHOWN: usize = 10;

pub(crate) struct BadLines {
    count: u64,
    shown: Vec<String>,
    file: Option<BufWriter<File>>,
}

impl BadLines {
    pub(crate) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("cannot write {}", path.display()))
        };
        let file = path.map(create).transpose()?.map(BufWriter::new);
        Ok(Self {
            count: 0,
            shown: Vec::new(),
            file,
        })
    }

    pub(crate) fn note(&mut self, path: &str, bad: &Bad) -> anyhow::Result<()> {
        self.count += 1;
        let text = harmless(format!("{path}:{}: {}", bad.line, bad.reason).as_bytes());
        if let Some(file) = &mut self.file {
            writeln!(file, "{text}").context("cannot write the bad lines")?;
        }
        if self.shown.len() < SHOWN {
            self.shown.push(text);
        }
        Ok(())
    }

    /// Says what there was. On stderr, so that the summary stays a table.
    pub(crate) fn close(mut self) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            file.flush().context("cannot write the bad lines")?;
        }
        if self.count == 0 {
            return Ok(());
        }
        let lines = if self.count == 1 { "line" } else { "lines" };
        note(format_args!(
            "{} {lines} could not be read:",
            thousands(self.count)
        ));
        for line in &self.shown {
            note(format_args!("  {line}"));
        }
        if self.count > self.shown.len() as u64 && self.file.is_none() {
            note(format_args!(
                "  … and {} more: --bad FILE keeps all",
                thousands(self.count - self.shown.len() as u64)
            ));
        }
        Ok(())
    }
}
