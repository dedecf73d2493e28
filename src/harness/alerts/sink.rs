//! Where alerts are written: standard output and, if asked for, a log file.

use std::io::{self, Write as _};

use anyhow::Context as _;

use super::log::Log;
use super::{Args, Format};
use crate::alert::Alert;
use crate::terminal::stdout_takes_colour;

/// Writes one alert at a time; once `write` returns, the alert has left this process.
pub(crate) struct Sink {
    format: Format,
    colour: bool,
    log: Option<Log>,
}

impl Sink {
    pub(crate) fn open(args: &Args) -> anyhow::Result<Self> {
        let log = match &args.log_file {
            None => None,
            Some(path) => {
                let log = Log::open(path, args.rotate_bytes, args.rotate_keep);
                Some(log.with_context(|| format!("cannot open the log file {}", path.display()))?)
            }
        };
        Ok(Self {
            format: args.format,
            colour: stdout_takes_colour(),
            log,
        })
    }

    /// The lines written last, before a restart.
    pub(crate) fn tail(&self) -> anyhow::Result<Vec<String>> {
        self.log.as_ref().map_or(Ok(Vec::new()), |log| {
            log.tail().context("cannot read the log file")
        })
    }

    /// Standard output first: the ids in the file decide after a crash what is not shown again.
    pub(crate) fn write(&mut self, stream: &str, alert: &Alert) -> anyhow::Result<()> {
        let line = self.line(stream, alert, self.colour);
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()?;
        if self.log.is_some() {
            let line = self.line(stream, alert, false);
            if let Some(log) = &mut self.log {
                log.write_line(&line).context("cannot write the log file")?;
            }
        }
        Ok(())
    }

    fn line(&self, stream: &str, alert: &Alert, colour: bool) -> String {
        match self.format {
            Format::Text => alert.line(colour),
            Format::Json => alert.json(stream),
        }
    }
}
