//! The one way a reading enters: ADD, MADD, watched streams and what replication and files replay all come through here.
//!
//! The order is fixed: check, open, take in, archive, replicate, alert, notify. Nothing that can fail stands between the
//! change of the model and its replication; a series that cannot be written is no failure of the reading.

use std::sync::Arc;

use anomaly_core::alert::{Alert, End, Source};
use anomaly_core::model::Outcome;
use anomaly_core::reading::When;
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Profile, Reading, key};

use crate::effects::{Archived, Words};
use crate::server::{Ctx, Key, Mode, Str};
use crate::state::with;
use crate::{datatype, effects, fence, hook, moving, silence};

/// A reading that was taken in.
pub(crate) struct Taken {
    pub(crate) reading: Reading,
    pub(crate) outcome: Outcome,
    pub(crate) profile: Arc<Profile>,
    /// When it arrived, where the rules ask for that.
    pub(crate) arrival: Option<Timestamp>,
}

/// A reading as a client gives it: what its arguments say, and the arguments.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) sensor: Str<'a>,
    pub(crate) when: When,
    pub(crate) value: f64,
    /// The word for the time, if it came with one.
    pub(crate) at_word: Option<Str<'a>>,
    /// The word for the value, if it came with one.
    pub(crate) value_word: Option<Str<'a>>,
    /// Where it was read, if it was not given by a command.
    pub(crate) source: Option<Source<'a>>,
}

/// Takes in a reading of a client's, decides what it means and does what follows.
pub(crate) fn decide(ctx: Ctx, given: Given<'_>) -> Result<Taken, Error> {
    let Given {
        sensor,
        when,
        value,
        at_word,
        value_word,
        source,
    } = given;
    let (name, now) = (sensor.bytes(), ctx.now());
    let (at, reserved) = with(|state| {
        if state.cluster {
            key::check_slot(&state.settings.alerts_key, name)?;
        }
        let at = when.resolve(now, state.settings.max_future)?;
        Ok::<_, Error>((at, state.writes(name)))
    })?;
    if reserved && !Key::exists(ctx, sensor) {
        return Err(Error::Reserved { key: name.to_vec() });
    }
    if source.is_some() {
        check_room(ctx, sensor)?;
    }
    moving::check_reading(ctx, sensor, Reading { at, value })?;
    let taken = match take(ctx, sensor, Reading { at, value }, Some(now)) {
        Err(Error::Broken) => {
            // Here and on every replica, whose models went on: whatever it holds now is not to be trusted.
            reset(ctx, sensor)?;
            return Err(Error::Broken);
        }
        taken => taken?,
    };
    let Taken {
        reading,
        outcome,
        profile,
        arrival,
    } = &taken;
    let at_word = at_word.filter(|_| when != When::Now);
    let words = Words::new(ctx, sensor, *reading, at_word, value_word, source);
    let archived = if outcome.archive && effects::archives() {
        effects::archive(ctx, &words, profile)
    } else {
        Archived::No
    };
    effects::replicate(ctx, &words, archived, *arrival);
    let source = source.map(|source| Source {
        id: source.id.or_else(|| {
            let told = outcome.transition.is_some();
            told.then(|| hook::newest_id(ctx, source.stream)).flatten()
        }),
        ..source
    });
    if let Some(alert) = Alert::of_outcome(name, *reading, outcome, profile, source.as_ref()) {
        effects::tell(ctx, sensor, &alert);
    }
    Ok(taken)
}

/// A watched stream may create no more sensors than the setting allows: one wrong device name each would fill the memory.
fn check_room(ctx: Ctx, sensor: Str<'_>) -> Result<(), Error> {
    let most = with(|state| state.settings.max_sensors);
    if most == 0 || datatype::totals().0 < most || Key::exists(ctx, sensor) {
        return Ok(());
    }
    Err(Error::TooManySensors { most })
}

/// Takes in a reading that a master or a file says was taken in; its alert comes on its own.
pub(crate) fn apply(
    ctx: Ctx,
    given: Given<'_>,
    at: Timestamp,
    arrival: Option<Timestamp>,
    archived: bool,
) -> Result<(), Error> {
    let Given {
        sensor,
        value,
        at_word,
        value_word,
        source,
        ..
    } = given;
    let reading = Reading { at, value };
    let taken = take(ctx, sensor, reading, arrival)?;
    if archived {
        let words = Words::new(ctx, sensor, reading, at_word, value_word, source);
        effects::archive(ctx, &words, &taken.profile);
    }
    if let Some((event, _)) = &taken.outcome.transition {
        effects::notify(ctx, sensor, *event);
    }
    Ok(())
}

/// Forgets what the model of a sensor has learnt, and resolves its open episode; whether there is such a sensor.
pub(crate) fn reset(ctx: Ctx, sensor: Str<'_>) -> Result<bool, Error> {
    let (name, db) = (sensor.bytes(), ctx.db());
    let mut key = Key::open(ctx, sensor, Mode::Change);
    let Some(model) = datatype::model(&mut key)? else {
        return Ok(false);
    };
    let ended = fence::caught(|| {
        with(|state| {
            let profile = model.profile(name, &mut state.rules);
            Alert::of_end(name, model, &profile, End::Reset)
        })
    });
    model.reset();
    with(|state| {
        state.track(db, name, model);
        state.time(db, name, model, Timestamp::ZERO, ctx.now());
    });
    ctx.modified(sensor);
    ctx.replicate(c"ANOMALY.RESET", &[sensor]);
    if let Some(alert) = ended.flatten() {
        effects::tell(ctx, sensor, &alert);
    }
    Ok(true)
}

/// The change of the model, and nothing else. The arrival is noted where the rules ask for it.
fn take(
    ctx: Ctx,
    sensor: Str<'_>,
    reading: Reading,
    arrival: Option<Timestamp>,
) -> Result<Taken, Error> {
    let (name, db) = (sensor.bytes(), ctx.db());
    let mut key = Key::open(ctx, sensor, Mode::Change);
    let model = datatype::model_or_new(&mut key)?;
    let mut timed = false;
    let taken = fence::caught(|| {
        with(|state| {
            #[cfg(debug_assertions)]
            state.panic_if_asked(name);
            let was_open = model.alarm.open().is_some();
            let outcome = model.ingest(name, reading, &mut state.rules);
            state.counts.count(&outcome);
            // Not only with a transition: what was reopened silently also ends silently.
            if was_open != model.alarm.open().is_some() {
                state.track(db, name, model);
            }
            let profile = model.profile(name, &mut state.rules);
            let arrival = arrival.filter(|_| profile.listens());
            if let Some(now) = arrival {
                model.arrived = now;
                if model.timer == 0 {
                    state.time(db, name, model, Timestamp::ZERO, now);
                    timed = true;
                }
            }
            Taken {
                reading,
                outcome,
                profile,
                arrival,
            }
        })
    });
    if timed {
        silence::wake(ctx);
    }
    ctx.modified(sensor);
    taken.ok_or(Error::Broken)
}
