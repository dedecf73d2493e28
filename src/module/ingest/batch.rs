//! The readings of one MADD: what follows from them is done for many at once.

use anomaly_core::Error;
use anomaly_core::model::{Outcome, Verdict};
use anomaly_core::written::Written;
use smallvec::SmallVec;

use super::{
    Command, Given, Taken, archive, archive_in_time, broken, count_as_change, judge, pass_on, tell,
    words,
};
use crate::effects::{self, Archived};
use crate::samples;
use crate::server::{Argv, Ctx};
use crate::state::lend;

/// Samples of one command that need not wait for those of others: to write them at once costs less then.
const ENOUGH: usize = 16;

/// Readings of one command, each taken in when it is given; what follows from them is done for many at once.
pub(crate) struct Batch<'a> {
    command: Command,
    /// Somebody hears of each reading.
    heard: bool,
    outcome: Outcome,
    taken: Vec<(Given<'a>, Taken)>,
    /// Outcomes of which more is to be said, by the position of their reading.
    told: Vec<(usize, Outcome)>,
}

impl<'a> Batch<'a> {
    /// Room for so many readings.
    pub(crate) fn new(ctx: Ctx, readings: usize) -> Self {
        let command = Command::of(ctx, readings);
        Self {
            command,
            heard: command.situation.hears(ctx),
            outcome: Outcome::default(),
            taken: Vec::with_capacity(readings),
            told: Vec::new(),
        }
    }

    /// Readings of these sensors are about to be taken in.
    pub(crate) fn expect<'k>(&self, sensors: impl Iterator<Item = &'k [u8]>) {
        let Command { situation, db, .. } = self.command;
        if !lend().known.knows_any(situation) {
            return;
        }
        // Names are the server's to give, and it may not be asked while the state is lent.
        let sensors: SmallVec<[&[u8]; 64]> = sensors.collect();
        // Many readings of one sensor wait for it once, whatever is done.
        if sensors.first() != sensors.get(1) {
            lend().known.expect(db, &sensors);
        }
    }

    /// Takes in a reading and decides what it means; what follows is yet to be done.
    pub(crate) fn take(&mut self, given: Given<'a>) -> Result<Verdict, Error> {
        let mut taken = Taken::default();
        if let Err(error) = judge(&self.command, &given, &mut self.outcome, &mut taken) {
            self.settle();
            broken(self.command.ctx, &given, taken.is_first, error)?;
        }
        let verdict = self.outcome.verdict;
        if self.outcome.transition.is_some() {
            self.told.push((self.taken.len(), self.outcome.clone()));
        } else if !self.heard && !taken.archive {
            count_as_change(self.command.ctx);
            return Ok(verdict);
        }
        self.taken.push((given, taken));
        Ok(verdict)
    }

    /// Does what follows from the readings so far: samples first, then for each what is passed on and told of.
    pub(crate) fn settle(&mut self) {
        let (Command { ctx, situation, .. }, heard) = (self.command, self.heard);
        let archives = effects::archives() && self.taken.iter().any(|(_, taken)| taken.archive);
        let together = self.taken.len() >= ENOUGH || situation.is_pressed(ctx);
        let archived = if archives && together {
            self.archive()
        } else {
            Vec::new()
        };
        if !heard && self.told.is_empty() && (together || !archives) {
            self.taken.drain(..).for_each(|_| count_as_change(ctx));
            return;
        }
        let (mut archived, mut told) = (archived.into_iter(), self.told.drain(..).peekable());
        let quiet = Outcome::default();
        for (at, (given, taken)) in self.taken.drain(..).enumerate() {
            let outcome = told.next_if(|(reading, _)| *reading == at);
            let outcome = outcome.as_ref().map_or(&quiet, |(_, outcome)| outcome);
            let archived = if together {
                archived.next().unwrap_or(Archived::No)
            } else {
                archive_in_time(ctx, &given, &taken, heard)
            };
            if heard {
                pass_on(ctx, &given, &taken, archived);
            } else {
                count_as_change(ctx);
            }
            tell(ctx, &given, &taken, outcome);
        }
    }

    /// Readings in a row that are the newest of series which exist go to TimeSeries together, the others one by one.
    fn archive(&self) -> Vec<Archived> {
        samples::settle();
        let mut archived = Vec::with_capacity(self.taken.len());
        let together = |taken: &Taken| taken.archive && taken.newest;
        for run in self.taken.chunk_by(|a, b| together(&a.1) == together(&b.1)) {
            let written = match run {
                [(_, first), _, ..] if together(first) => self.archive_all(run),
                _ => Written::default(),
            };
            let each = run.iter().enumerate();
            archived.extend(each.map(|(at, (given, taken))| {
                if written.has(at) {
                    Archived::Yes
                } else {
                    archive(self.command.ctx, given, taken)
                }
            }));
        }
        archived
    }

    fn archive_all(&self, run: &[(Given<'a>, Taken)]) -> Written {
        let mut samples = Argv::with_room(3 * run.len(), run.len());
        for (given, taken) in run {
            words(self.command.ctx, given, taken).into_sample(&mut samples);
        }
        effects::archive_all(self.command.ctx, samples.all())
    }
}
