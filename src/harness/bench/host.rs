//! The benchmark's own servers, one for each place, started when a contestant needs it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use redis::{Connection, FromRedisValue, ToRedisArgs, Value};

use crate::alert::bytes;
use crate::bench::contestant::Place;
use crate::bench::cpu::Process;
use crate::bench::wire::Line;
use crate::private::PrivateServer;
use crate::server::plain;
use crate::stop::Stop;

/// What a server is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) server: PathBuf,
    pub(crate) module: PathBuf,
    pub(crate) timeseries: Option<PathBuf>,
    /// The module of the command that does nothing; `None` where there is no C compiler.
    pub(crate) floor: Option<PathBuf>,
    /// An interpreter that has redis and numpy.
    pub(crate) python: Option<PathBuf>,
}

/// A server, and what is needed to load and watch it.
pub(crate) struct Host {
    pub(crate) private: PrivateServer,
    pub(crate) process: Process,
    control: Connection,
    lines: Vec<Line>,
}

impl Host {
    /// With the module, or without.
    pub(crate) fn start(
        parts: &Parts,
        with_module: bool,
        settings: &[String],
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let own = with_module.then_some(&parts.module);
        let modules: Vec<&Path> = (parts.timeseries.iter())
            .chain(&parts.floor)
            .chain(own)
            .map(PathBuf::as_path)
            .collect();
        let private = PrivateServer::start(&parts.server, &modules, settings, stop)?;
        let mut control = private.server.connect()?;
        control.set_read_timeout(Some(crate::bench::wire::MOST))?;
        let pid = info(&mut control, "server", "process_id")?;
        Ok(Self {
            private,
            process: Process::new(pid),
            control,
            lines: Vec::new(),
        })
    }

    /// That many connections that are open already, or are from now on.
    pub(crate) fn lines(&mut self, count: usize) -> anyhow::Result<&mut [Line]> {
        while self.lines.len() < count {
            self.lines.push(Line::open(self.private.port)?);
        }
        self.lines.get_mut(..count).context("connections are open")
    }

    /// One command, its words separated by blanks.
    pub(crate) fn ask<T: FromRedisValue>(&mut self, words: &str) -> anyhow::Result<T> {
        self.send(&words.split(' ').collect::<Vec<_>>())
    }

    /// One command.
    pub(crate) fn send<T: FromRedisValue>(
        &mut self,
        words: &[impl ToRedisArgs],
    ) -> anyhow::Result<T> {
        let mut command = redis::Cmd::new();
        words.iter().for_each(|word| {
            command.arg(word);
        });
        match command.query(&mut self.control) {
            Ok(reply) => Ok(reply),
            Err(error) => bail!(
                "the server refused a command of the benchmark: {}",
                plain(&error)
            ),
        }
    }

    /// A number that an XINFO tells under that name, at the top or in the first map of its reply.
    pub(crate) fn number(&mut self, words: &[&str], name: &str) -> anyhow::Result<u64> {
        let reply: Value = self.send(words)?;
        let flat = match &reply {
            Value::Array(outer) => match outer.first() {
                Some(Value::Array(inner)) => inner,
                _ => outer,
            },
            _ => bail!("{words:?} was answered {reply:?}"),
        };
        let found = flat.chunks(2).find_map(|pair| match pair {
            [key, Value::Int(number)] if bytes(key) == Some(name.as_bytes()) => Some(*number),
            _ => None,
        });
        let number = found.with_context(|| format!("{words:?} does not tell {name}"))?;
        Ok(number.unsigned_abs())
    }

    /// A number that INFO tells.
    pub(crate) fn info<T: std::str::FromStr>(
        &mut self,
        section: &str,
        name: &str,
    ) -> anyhow::Result<T> {
        info(&mut self.control, section, name)
    }
}

fn info<T: std::str::FromStr>(
    control: &mut Connection,
    section: &str,
    name: &str,
) -> anyhow::Result<T> {
    let text: String = redis::cmd("INFO").arg(section).query(control)?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.trim().parse().ok())
        .with_context(|| format!("INFO {section} does not tell {name}"))
}

/// The servers of a benchmark. The second module of `--against` has servers of its own.
#[derive(Default)]
pub(crate) struct Hosts(HashMap<(Place, bool), Host>);

impl Hosts {
    /// The server of a place, started now if this is the first to ask for it.
    pub(crate) fn get(
        &mut self,
        (place, other): (Place, bool),
        parts: &Parts,
        stop: &Stop,
    ) -> anyhow::Result<&mut Host> {
        use std::collections::hash_map::Entry;
        match self.0.entry((place, other)) {
            Entry::Occupied(host) => Ok(host.into_mut()),
            Entry::Vacant(room) => {
                Ok(room.insert(Host::start(parts, place.has_module(), &[], stop)?))
            }
        }
    }

    /// The server of a place where somebody runs already.
    pub(crate) fn running(&mut self, place: (Place, bool)) -> anyhow::Result<&mut Host> {
        self.0
            .get_mut(&place)
            .context("its server was started before")
    }
}
