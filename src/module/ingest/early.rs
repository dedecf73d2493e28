//! Readings of watched streams that are taken in before their command is over (docs/adr/0014).

use std::ffi::c_int;

use anomaly_core::model::Outcome;
use anomaly_core::reading::When;
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Reading};

use super::{Given, Taken, broken, follow, put_off, take};
use crate::audience::Situation;
use crate::known::Sought;
use crate::samples::Waits;
use crate::server::Ctx;
use crate::state::lend;
use crate::{fence, samples};

/// What lets a reading be taken in while the command that brings it is not over yet: the sensor is known, so that no key need be
/// opened, and nothing of what follows has to be written then. See [`crate::hook`].
pub(crate) struct Early {
    situation: Situation,
    db: c_int,
    now: Timestamp,
    max_future: u64,
}

impl Early {
    /// Nobody hears, no entry waits, and what follows may wait. Only of a client's own command: one of a transaction or of a
    /// script is pressed, which is not asked for where all is quiet.
    ///
    /// An entry waits that came before, in the same command. Those that come by another command are none of them: it would have been
    /// seen after this one, whose words would be gone. But another module may add to a stream by `RM_StreamAdd`, which
    /// is no command, and tell of it itself, for instance of the end of a key that expires as the command looks it up.
    pub(crate) fn may(ctx: Ctx, db: c_int, now: Timestamp) -> Option<Self> {
        let situation = Situation::of(ctx);
        match situation {
            Situation::Quiet => {
                #[cfg(debug_assertions)]
                ctx.check_that_nothing_presses();
            }
            Situation::Any(flags) => {
                if flags.is_pressed() || flags.can_lose_keys() || situation.hears(ctx) {
                    return None;
                }
            }
        }
        let state = lend();
        let may = !state.cluster && state.captured.is_empty();
        may.then(|| Self {
            situation,
            db,
            now,
            max_future: state.settings.max_future,
        })
    }

    /// Where the sensor of a reading is, if it is known and nothing can be said against the reading.
    pub(crate) fn seek<'a>(&self, sensor: &'a [u8], reading: Reading) -> Option<Sought<'a>> {
        When::At(reading.at)
            .resolve(self.now, self.max_future)
            .ok()?;
        let known = &mut lend().known;
        let sought = known.seek(self.situation, self.db, sensor, self.now, true);
        sought.is_known().then_some(sought)
    }

    /// Takes in a reading of such a sensor. What follows from it is due when the command is over, unless there is nothing:
    /// `None`.
    pub(crate) fn take(
        &self,
        ctx: Ctx,
        given: &Given<'_>,
        reading: Reading,
        sought: Sought<'_>,
    ) -> Option<Due> {
        // What is left undone by a panic is a dead letter, as it is of a reading that is taken in later.
        let taken = fence::caught(|| self.take_in(ctx, given, reading, sought));
        taken.unwrap_or_else(|| Some(Due::of(Err(Error::Broken))))
    }

    fn take_in(
        &self,
        ctx: Ctx,
        given: &Given<'_>,
        reading: Reading,
        sought: Sought<'_>,
    ) -> Option<Due> {
        let (mut outcome, mut taken) = (Outcome::default(), Taken::default());
        let place = (sought.db, sought.key);
        let Some(model) = sought.known() else {
            return Some(Due::of(Err(Error::Internal)));
        };
        taken.reading = reading;
        let now = Some(self.now);
        let done = take(ctx, given, place, now, model, &mut outcome, &mut taken);
        if let Err(error) = done {
            return Some(Due::of(Err(error)));
        }
        if outcome.transition.is_none() {
            if !taken.is_archived() {
                return None;
            }
            match put_off(ctx, given, &taken, false, false) {
                Some(Waits::Yes) => return None,
                Some(Waits::Full) if ctx.after_this(samples::on_full) => return None,
                _ => {}
            }
        }
        Some(Due::of(Ok((taken, outcome))))
    }
}

/// What follows from a reading that was taken in early.
pub(crate) struct Due(Box<Result<(Taken, Outcome), Error>>);

impl Due {
    #[cold]
    fn of(what: Result<(Taken, Outcome), Error>) -> Self {
        Self(Box::new(what))
    }

    /// Does it, now that the command is over.
    pub(crate) fn follow(&self, ctx: Ctx, given: &Given<'_>) -> Result<(), Error> {
        match &*self.0 {
            Ok((taken, outcome)) => {
                follow(ctx, Situation::of(ctx), given, taken, outcome);
                Ok(())
            }
            Err(error) => broken(ctx, given, false, error.clone()),
        }
    }
}
