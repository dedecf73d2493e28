//! Following the alert streams of many nodes: they are looked for again and again, and read one by one, since they are in
//! different slots.

use std::time::{Duration, Instant};

use redis::{Connection, ConnectionLike};

use super::consumer::{Consumer, Read, Source, Trouble};
use super::nodes::Nodes;
use crate::stop::Stop;

/// Time between two looks at all streams when nothing was new.
const POLL: Duration = Duration::from_millis(100);
/// Time between two looks for nodes and streams.
const LOOK: Duration = Duration::from_secs(1);

impl Consumer<'_> {
    /// As [`follow`](Self::follow) on a cluster. `home` holds the consumer's name.
    pub(crate) fn follow_nodes(
        &mut self,
        mut home: Connection,
        mut nodes: Nodes<'_>,
        stop: &Stop,
        connected: impl FnOnce(),
    ) -> Result<(), Trouble> {
        self.take_name(&mut home)?;
        for source in &mut self.sources {
            source.fresh = true;
        }
        self.join(&mut nodes, stop)?;
        connected();
        let (mut look_at, mut claim_at) = (Instant::now() + LOOK, Instant::now());
        while !stop.requested() && !self.enough() {
            if Instant::now() >= look_at {
                self.join(&mut nodes, stop)?;
                look_at = Instant::now() + LOOK;
            }
            let mut waiting = false;
            if Instant::now() >= claim_at {
                for index in 0..self.sources.len() {
                    waiting |= self.with(&mut nodes, index, |all, connection| {
                        all.leftovers_in(connection, index)
                    })?;
                }
                if !waiting {
                    claim_at = Instant::now() + self.claim_interval();
                }
            }
            for index in 0..self.sources.len() {
                if self.enough() {
                    break;
                }
                let read = Read::New { block: false };
                waiting |= self.with(&mut nodes, index, |all, connection| {
                    all.read(connection, index..index + 1, read)
                })?;
            }
            if !waiting {
                if self.args.once {
                    break;
                }
                stop.sleep_until(Instant::now() + POLL);
            }
        }
        Ok(())
    }

    /// Finds streams that are not yet followed, and joins the groups of those that are new or whose node was gone: what was
    /// under way there is shown first.
    fn join(&mut self, nodes: &mut Nodes<'_>, stop: &Stop) -> Result<(), Trouble> {
        if self.args.finds_streams() {
            let begun = self.looked;
            for (stream, node) in nodes.streams()? {
                let mut known = self.sources.iter_mut();
                if let Some(source) = known.find(|source| source.stream == stream) {
                    source.node = Some(node);
                } else {
                    let mut source = Source::new(stream);
                    source.joined = begun; // all of a stream that came later is news, whatever `--from` says
                    source.node = Some(node);
                    self.sources.push(source);
                }
            }
        }
        for index in 0..self.sources.len() {
            if self.sources.get(index).is_none_or(|source| !source.fresh) {
                continue;
            }
            let joined = self.alone_with(nodes, index, |all, connection| {
                all.ensure_group(connection, index)?;
                while !stop.requested()
                    && !all.enough()
                    && all.read(connection, index..index + 1, Read::Own)?
                {}
                Ok(true)
            })?;
            if let (Some(source), true) = (self.sources.get_mut(index), joined) {
                source.fresh = false;
            }
        }
        self.looked = true;
        Ok(())
    }

    /// Does something with a stream that is joined; nothing while its node is gone.
    fn with(
        &mut self,
        nodes: &mut Nodes<'_>,
        index: usize,
        act: impl FnOnce(&mut Self, &mut dyn ConnectionLike) -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        match self.sources.get(index) {
            Some(source) if !source.fresh => self.alone_with(nodes, index, act),
            _ => Ok(false),
        }
    }

    /// The same for any stream. Where its node turns out to be gone, its streams are to be joined anew.
    fn alone_with(
        &mut self,
        nodes: &mut Nodes<'_>,
        index: usize,
        act: impl FnOnce(&mut Self, &mut dyn ConnectionLike) -> Result<bool, Trouble>,
    ) -> Result<bool, Trouble> {
        let node = self
            .sources
            .get(index)
            .and_then(|source| source.node.clone());
        if node.as_ref().is_some_and(|node| nodes.is_away(node)) {
            return Ok(false);
        }
        let (error, about) = match act(self, &mut nodes.connection) {
            Err(Trouble::Server(error, about)) => (error, about),
            other => return other,
        };
        let Some(node) = node.filter(|node| nodes.lose(node, &error)) else {
            return Err(Trouble::Server(error, about));
        };
        for source in &mut self.sources {
            source.fresh |= source.node.as_ref() == Some(&node);
        }
        Ok(false)
    }
}
