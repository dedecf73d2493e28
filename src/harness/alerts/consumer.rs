//! The consumer group: own leftovers first, then leftovers of the dead, then what is new. `many` does it on a cluster.

use std::ops::Range;
use std::time::{Duration, Instant};

use redis::{Cmd, Connection, ConnectionLike, RedisError, Value};

use super::entries::{EntryId, newest, streams};
use super::missed;
use super::nodes::Address;
use super::seen::{Seen, id_in};
use super::sink::Sink;
use super::{Args, Begin, name};
use crate::alert::{Alert, bytes};
use crate::stop::Stop;
use crate::terminal::{harmless, note};

/// How long the server holds a read back when nothing is new; so much later a signal is noticed at worst.
const BLOCK: Duration = Duration::from_millis(500);
/// Read at a time. What is read and not yet shown when we die is shown first next time.
const READ: u64 = 100;

/// Why following broke off.
pub(crate) enum Trouble {
    /// The connection, or something that the server said, and of what: ` (stream …)`, or empty.
    Server(RedisError, String),
    /// The alert could not be written, and so was not acknowledged.
    Output(anyhow::Error),
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Server(error, String::new())
    }
}

impl Trouble {
    fn of(error: RedisError, streams: &str) -> Self {
        Self::Server(error, format!(" (stream {})", harmless(streams.as_bytes())))
    }
}

/// A stream and how far it was delivered to us.
pub(super) struct Source {
    pub(super) stream: String,
    /// On a cluster: the node that said it has it.
    pub(super) node: Option<Address>,
    /// On a cluster: its group is to be joined, and what was under way to be shown, before it is read.
    pub(super) fresh: bool,
    /// Its group was there, or was made: from now on a missing one means that somebody deleted it.
    pub(super) joined: bool,
    /// The newest entry seen: where the group goes on if it has to be made again.
    last: Option<EntryId>,
    claim_cursor: String,
    /// Entries may have been trimmed since we last looked.
    look_back: bool,
    /// The first so many entries of the stream were shown, or told of as missed.
    counted: u64,
}

impl Source {
    pub(super) fn new(stream: String) -> Self {
        Self {
            stream,
            node: None,
            fresh: true,
            joined: false,
            last: None,
            claim_cursor: String::from("0-0"),
            look_back: true,
            counted: 0,
        }
    }
}

/// Which entries a read asks for.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// Delivered to this consumer before and not acknowledged.
    Own,
    New {
        block: bool,
    },
}

/// One member of the group. On a cluster there is a source for each alerts stream, and they come and go.
pub(crate) struct Consumer<'a> {
    pub(super) args: &'a Args,
    pub(super) sources: Vec<Source>,
    sink: Sink,
    seen: Seen,
    name: String,
    shown: u64,
    repeats: u64,
    trimmed: u64,
    /// The streams of a cluster were looked for.
    pub(super) looked: bool,
}

impl<'a> Consumer<'a> {
    pub(crate) fn new(args: &'a Args, sink: Sink, cluster: bool) -> anyhow::Result<Self> {
        let mut seen = Seen::default();
        for line in sink.tail()? {
            id_in(&line).map(|id| seen.insert(id));
        }
        let found = cluster && args.finds_streams();
        let named = args.streams.iter().filter(|_| !found).cloned();
        let sources = named.map(Source::new).collect();
        Ok(Self {
            args,
            sources,
            sink,
            seen,
            name: String::new(),
            shown: 0,
            repeats: 0,
            trimmed: 0,
            looked: false,
        })
    }

    /// Whether there is anything to read, with or without the module.
    pub(crate) fn a_stream_exists(&self, connection: &mut dyn ConnectionLike) -> bool {
        let keys: Vec<&str> = self
            .sources
            .iter()
            .map(|source| source.stream.as_str())
            .collect();
        redis::cmd("EXISTS")
            .arg(keys)
            .query(connection)
            .unwrap_or(true)
    }

    /// Shows alerts until told to stop; `connected` is called once the server answers as it should.
    pub(crate) fn follow(
        &mut self,
        mut connection: Connection,
        stop: &Stop,
        connected: impl FnOnce(),
    ) -> Result<(), Trouble> {
        self.take_name(&mut connection)?;
        for index in 0..self.sources.len() {
            self.ensure_group(&mut connection, index)?;
        }
        connected();
        // What is shown is acknowledged, so the first of the leftovers is always the next.
        while !stop.requested()
            && !self.enough()
            && self.read(&mut connection, 0..self.sources.len(), Read::Own)?
        {}
        let mut claim_at = Instant::now();
        while !stop.requested() && !self.enough() {
            let mut waiting = false;
            if Instant::now() >= claim_at {
                waiting = self.leftovers_of_the_dead(&mut connection)?;
                if !waiting {
                    claim_at = Instant::now() + self.claim_interval();
                }
            }
            if !self.enough() {
                let block = !self.args.once && !waiting;
                waiting |=
                    self.read(&mut connection, 0..self.sources.len(), Read::New { block })?;
            }
            if self.args.once && !waiting {
                break;
            }
        }
        Ok(())
    }

    /// After an outage the name stays: what was under way is listed under it.
    pub(super) fn take_name(&mut self, connection: &mut Connection) -> Result<(), RedisError> {
        match &self.args.consumer {
            Some(name) => self.name.clone_from(name),
            None if self.name.is_empty() => self.name = name::claim(connection, &self.args.group)?,
            None => name::keep(connection, &self.args.group, &self.name)?,
        }
        Ok(())
    }

    pub(super) fn claim_interval(&self) -> Duration {
        Duration::from_millis((self.args.claim_after / 4).clamp(100, 10_000))
    }

    pub(super) fn enough(&self) -> bool {
        self.args.count.is_some_and(|count| self.shown >= count)
    }

    /// Never more than `--count` leaves to be shown: the others stay for somebody else.
    fn at_most(&self) -> u64 {
        self.args
            .count
            .map_or(READ, |count| READ.min(count.saturating_sub(self.shown)))
            .max(1)
    }

    /// One XREADGROUP over some of the streams; true if there was anything.
    pub(super) fn read(
        &mut self,
        connection: &mut dyn ConnectionLike,
        which: Range<usize>,
        read: Read,
    ) -> Result<bool, Trouble> {
        if let Read::New { .. } = read {
            for index in which.clone() {
                self.look_back(connection, index)?;
            }
        }
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(&self.args.group)
            .arg(&self.name)
            .arg("COUNT")
            .arg(self.at_most());
        if let Read::New { block: true } = read {
            command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
        }
        command.arg("STREAMS");
        let sources = self.sources.get(which).unwrap_or_default();
        for source in sources {
            command.arg(&source.stream);
        }
        for _ in sources {
            command.arg(match read {
                Read::Own => "0",
                Read::New { .. } => ">",
            });
        }
        let names: Vec<&str> = sources.iter().map(|s| s.stream.as_str()).collect();
        let names = names.join(", ");
        let Some(reply) = self.ask(connection, &command, &names)? else {
            return Ok(false);
        };
        let mut any = false;
        for (stream, entries) in streams(&reply) {
            let source = |source: &Source| source.stream.as_bytes() == stream;
            if let Some(index) = self.sources.iter().position(source) {
                any |= self.deliver(connection, index, entries)?;
                if let (Some(source), false) = (self.sources.get_mut(index), entries.is_empty()) {
                    source.look_back = true;
                }
            }
        }
        Ok(any)
    }

    /// Says how many alerts were trimmed before the group came to them: while we were away, or too slow.
    fn look_back(
        &mut self,
        connection: &mut dyn ConnectionLike,
        index: usize,
    ) -> Result<(), Trouble> {
        let source = self
            .sources
            .get_mut(index)
            .filter(|source| source.look_back);
        let Some(source) = source else {
            return Ok(());
        };
        let (missed, counted) =
            missed::count(connection, &source.stream, &self.args.group, source.counted)?;
        (source.counted, source.look_back) = (counted, false);
        self.trimmed += missed;
        if missed > 0 {
            note(format_args!(
                "anomaly: {missed} alerts were trimmed from {} before they could be shown (anomaly.alerts-maxlen)",
                harmless(source.stream.as_bytes())
            ));
        }
        Ok(())
    }

    /// XAUTOCLAIM, one step per stream and turn; true if there was anything or more is to be looked through.
    fn leftovers_of_the_dead(
        &mut self,
        connection: &mut dyn ConnectionLike,
    ) -> Result<bool, Trouble> {
        let mut any = false;
        for index in 0..self.sources.len() {
            any |= self.leftovers_in(connection, index)?;
        }
        Ok(any)
    }

    /// The same for one stream.
    pub(super) fn leftovers_in(
        &mut self,
        connection: &mut dyn ConnectionLike,
        index: usize,
    ) -> Result<bool, Trouble> {
        let mut any = false;
        let Some(source) = self.sources.get(index) else {
            return Ok(false);
        };
        let mut command = redis::cmd("XAUTOCLAIM");
        command
            .arg(&source.stream)
            .arg(&self.args.group)
            .arg(&self.name)
            .arg(self.args.claim_after);
        command
            .arg(&source.claim_cursor)
            .arg("COUNT")
            .arg(self.at_most());
        let stream = source.stream.clone();
        let Some(Value::Array(parts)) = self.ask(connection, &command, &stream)? else {
            return Ok(false);
        };
        let [cursor, Value::Array(entries), rest @ ..] = parts.as_slice() else {
            return Ok(false);
        };
        if let Some(source) = self.sources.get_mut(index) {
            source.claim_cursor =
                String::from_utf8_lossy(bytes(cursor).unwrap_or(b"0-0")).into_owned();
            any |= source.claim_cursor != "0-0";
        }
        // Entries that were trimmed while they waited are named here, and removed from the pending list.
        if let [Value::Array(gone), ..] = rest {
            self.trimmed += gone.len() as u64;
            any |= !gone.is_empty();
        }
        any |= self.deliver(connection, index, entries)?;
        Ok(any)
    }

    /// Writes, then acknowledges, `--batch` at a time; true if there was anything.
    fn deliver(
        &mut self,
        connection: &mut dyn ConnectionLike,
        index: usize,
        entries: &[Value],
    ) -> Result<bool, Trouble> {
        let Some(stream) = self.sources.get(index).map(|source| source.stream.clone()) else {
            return Ok(false);
        };
        for batch in entries.chunks(self.args.batch as usize) {
            let ids: Vec<EntryId> = batch.iter().filter_map(EntryId::of).collect();
            for entry in batch {
                self.show(&stream, entry)?;
            }
            if let Some(source) = self.sources.get_mut(index) {
                source.last = source.last.max(ids.iter().max().copied());
            }
            let mut acknowledge = redis::cmd("XACK");
            acknowledge.arg(&stream).arg(&self.args.group);
            for id in ids {
                acknowledge.arg(id.to_string());
            }
            self.ask(connection, &acknowledge, &stream)?;
        }
        Ok(!entries.is_empty())
    }

    fn show(&mut self, stream: &str, entry: &Value) -> Result<(), Trouble> {
        match Alert::from_entry(entry) {
            Some(Ok(alert)) => {
                if self.seen.insert(alert.id()) {
                    self.sink.write(stream, &alert).map_err(Trouble::Output)?;
                    self.shown += 1;
                } else {
                    self.repeats += 1;
                }
            }
            _ => self.trimmed += 1,
        }
        Ok(())
    }

    /// A query of `streams` whose group may be gone: then the group is made again, and there is no reply.
    fn ask(
        &mut self,
        connection: &mut dyn ConnectionLike,
        command: &Cmd,
        streams: &str,
    ) -> Result<Option<Value>, Trouble> {
        match command.query(connection) {
            Ok(reply) => Ok(Some(reply)),
            // UNBLOCKED: the stream was deleted while we waited on it.
            Err(error) if matches!(error.code(), Some("NOGROUP" | "UNBLOCKED")) => {
                for index in 0..self.sources.len() {
                    self.ensure_group(connection, index)?;
                }
                Ok(None)
            }
            Err(error) => Err(Trouble::of(error, streams)),
        }
    }

    /// Makes the group where it is missing: at first where `--from` says, later where we were.
    pub(super) fn ensure_group(
        &mut self,
        connection: &mut dyn ConnectionLike,
        index: usize,
    ) -> Result<(), Trouble> {
        let Some(source) = self.sources.get_mut(index) else {
            return Ok(());
        };
        let newest = newest(connection, &source.stream)
            .map_err(|error| Trouble::of(error, &source.stream))?;
        if newest < source.last {
            // The stream is a new one (deleted, FLUSHALL, a server that lost its data): all of it is news.
            self.seen.forget();
            source.last = None;
            source.counted = 0;
        }
        let from = match source.last {
            // Not `$`: what is added between our look at the stream and this command would be lost.
            None if !source.joined && self.args.from == Begin::New => newest.unwrap_or_default(),
            None => EntryId::default(),
            Some(last) => last,
        };
        let mut command = redis::cmd("XGROUP");
        command
            .arg("CREATE")
            .arg(&source.stream)
            .arg(&self.args.group)
            .arg(from.to_string());
        command.arg("MKSTREAM");
        if from == EntryId::default() {
            // What is gone already was not missed by a group that did not exist.
            let gone = if source.joined {
                Some(0)
            } else {
                missed::before(connection, &source.stream)?
            };
            if let Some(gone) = gone {
                command.arg("ENTRIESREAD").arg(gone);
            }
        }
        source.look_back = true;
        match command.exec(connection) {
            Ok(()) => source.last = Some(from),
            Err(error) if error.code() == Some("BUSYGROUP") => {}
            Err(error) => return Err(Trouble::of(error, &source.stream)),
        }
        source.joined = true;
        Ok(())
    }

    /// What a person should know of the run, on stderr.
    pub(crate) fn say_goodbye(&self) {
        if self.repeats > 0 {
            note(format_args!(
                "anomaly: not shown again, because their id had been shown before: {}",
                self.repeats
            ));
        }
        if self.trimmed > 0 {
            note(format_args!(
                "anomaly: {} alerts in all were trimmed before they could be shown (anomaly.alerts-maxlen)",
                self.trimmed
            ));
        }
    }
}
