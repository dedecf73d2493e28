//! The one way a reading enters: ADD, MADD, watched streams and what replication and files replay all come through here.
//!
//! The order is fixed: check, open, take in, archive, replicate, alert, notify. Nothing that can fail stands between the
//! change of the model and its replication; a series that cannot be written is no failure of the reading.

mod batch;
mod early;
mod reset;

use std::ffi::c_int;
use std::sync::Arc;

use anomaly_core::alert::{Alert, Source};
use anomaly_core::model::Outcome;
use anomaly_core::reading::When;
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Model, Profile, Reading, key};

use crate::audience::Situation;
use crate::effects::{Archived, Policy, Words};
use crate::known::Sought;
use crate::samples::Waits;
use crate::server::{Ctx, Key, Mode, Str};
use crate::state::{State, lend, with};
use crate::{datatype, effects, fence, hook, moving, samples, silence};

pub(crate) use batch::Batch;
pub(crate) use early::{Due, Early};
use reset::broken;
pub(crate) use reset::reset;

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
    pub(crate) source: Option<&'a Source<'a>>,
    /// The verdict is to be explained.
    pub(crate) explain: bool,
}

/// A reading that was taken in: the model has changed, and what follows from it is due. As an [`Outcome`], it is filled.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) reading: Reading,
    /// When it arrived, where the rules ask for that.
    arrival: Option<Timestamp>,
    /// It is to be written to the series.
    archive: bool,
    /// It came after all readings before it.
    newest: bool,
    /// Its sensor was made for it.
    is_first: bool,
    /// What it was judged by, where more is to be said of it than its verdict.
    pub(crate) profile: Option<Arc<Profile>>,
}

impl Taken {
    fn is_archived(&self) -> bool {
        self.archive && effects::archives()
    }
}

/// What all readings of a command have in common.
#[derive(Clone, Copy)]
struct Command {
    ctx: Ctx,
    situation: Situation,
    db: c_int,
    now: Timestamp,
    /// It brings one reading.
    is_single: bool,
}

impl Command {
    #[inline(always)]
    fn of(ctx: Ctx, readings: usize) -> Self {
        Self {
            ctx,
            situation: Situation::of(ctx),
            db: ctx.db(),
            now: ctx.now(),
            is_single: readings == 1,
        }
    }
}

/// Takes in a reading of a client's, decides what it means and does what follows.
pub(crate) fn decide(
    ctx: Ctx,
    given: &Given<'_>,
    outcome: &mut Outcome,
    taken: &mut Taken,
) -> Result<(), Error> {
    let command = Command::of(ctx, 1);
    if let Err(error) = judge(&command, given, outcome, taken) {
        return broken(ctx, given, taken.is_first, error);
    }
    follow(ctx, command.situation, given, taken, outcome);
    Ok(())
}

/// Does what follows from a reading.
#[inline]
fn follow(ctx: Ctx, situation: Situation, given: &Given<'_>, taken: &Taken, outcome: &Outcome) {
    let heard = situation.hears(ctx);
    let archived = if taken.archive {
        archive_if_due(ctx, situation, given, taken, heard)
    } else {
        Archived::No
    };
    if heard {
        pass_on(ctx, given, taken, archived);
    } else if given.source.is_none() {
        count_as_change(ctx);
    }
    if outcome.transition.is_some() {
        tell(ctx, given, taken, outcome);
    }
}

/// What can be refused, and the change of the model.
#[inline(always)]
fn judge(
    command: &Command,
    given: &Given<'_>,
    outcome: &mut Outcome,
    taken: &mut Taken,
) -> Result<(), Error> {
    let Command {
        ctx,
        situation,
        db,
        now,
        ..
    } = *command;
    let name = given.sensor.bytes();
    let mut state = lend();
    let sought = state
        .known
        .seek(situation, db, name, now, command.is_single);
    let (cluster, max_future) = (state.cluster, state.settings.max_future);
    drop(state);
    if cluster {
        check_slot(name)?;
    }
    let at = given.when.resolve(now, max_future)?;
    let value = given.value;
    taken.reading = Reading { at, value };
    let mut key = None;
    let model = match sought.known() {
        Some(model) => model,
        None => open(ctx, given, cluster, &sought, &mut key, taken)?,
    };
    take(ctx, given, (db, name), Some(now), model, outcome, taken)
}

/// On a cluster what belongs to a sensor must lie in its slot.
#[inline(never)]
fn check_slot(sensor: &[u8]) -> Result<(), Error> {
    with(|state| key::check_slot(&state.settings.alerts_key, sensor))
}

/// The model of a sensor that is not known, a new one where there is none and may be one.
#[inline(never)]
fn open<'a>(
    ctx: Ctx,
    given: &Given<'_>,
    cluster: bool,
    sought: &Sought<'_>,
    key: &'a mut Option<Key>,
    taken: &mut Taken,
) -> Result<&'a mut Model, Error> {
    admit(ctx, given)?;
    if cluster {
        moving::check_reading(ctx, given.sensor, taken.reading)?;
    }
    let (model, is_new) = sought.open(ctx, given.sensor, key)?;
    taken.is_first = is_new;
    Ok(model)
}

/// Refuses a sensor that is not there and must not be created.
fn admit(ctx: Ctx, given: &Given<'_>) -> Result<(), Error> {
    let (sensor, name) = (given.sensor, given.sensor.bytes());
    samples::settle_before(name);
    if with(|state| state.writes(name)) && !Key::exists(ctx, sensor) {
        return Err(Error::Reserved { key: name.to_vec() });
    }
    if given.source.is_some() {
        check_room(ctx, sensor)?;
    }
    Ok(())
}

fn words<'a>(ctx: Ctx, given: &Given<'a>, taken: &Taken) -> Words<'a> {
    Words::new(
        ctx,
        given.sensor,
        taken.reading,
        given.at_word.filter(|_| given.when != When::Now),
        given.value_word,
        given.source,
    )
}

/// Writes a reading to its series, where it is to be.
fn archive(ctx: Ctx, given: &Given<'_>, taken: &Taken) -> Archived {
    if !taken.is_archived() {
        return Archived::No;
    }
    samples::settle();
    let profile = taken.profile.as_deref();
    effects::archive(ctx, &words(ctx, given, taken), by(taken), profile)
}

/// What decides where the series has a sample of that very time.
fn by(taken: &Taken) -> Policy {
    if taken.newest {
        Policy::OfSeries
    } else {
        Policy::Last
    }
}

/// The same, but the sample may wait for others where nothing is against that.
#[inline(never)]
fn archive_if_due(
    ctx: Ctx,
    situation: Situation,
    given: &Given<'_>,
    taken: &Taken,
    heard: bool,
) -> Archived {
    if situation.is_pressed(ctx) {
        archive(ctx, given, taken)
    } else {
        archive_in_time(ctx, given, taken, heard)
    }
}

/// The same, but the sample may wait for others.
fn archive_in_time(ctx: Ctx, given: &Given<'_>, taken: &Taken, heard: bool) -> Archived {
    let waits = taken
        .is_archived()
        .then(|| put_off(ctx, given, taken, heard, false));
    match waits.flatten() {
        Some(waits) => {
            waits.settle();
            Archived::Yes
        }
        None => archive(ctx, given, taken),
    }
}

/// Has the sample of a reading wait for others, if it is the newest of a series that exists. Whoever hears is told that
/// it is there: with them as here it can only fail for what the series is. But to create one is told apart.
///
/// What a master sends does not wait if the series can expire. It has not until the master says so; but by this server's
/// clock it may have, and then only the master's own commands see it.
fn put_off(ctx: Ctx, given: &Given<'_>, taken: &Taken, heard: bool, sent: bool) -> Option<Waits> {
    if !taken.newest || !samples::may(ctx) {
        return None;
    }
    let words = words(ctx, given, taken);
    let series = words.series();
    let lasts = || {
        let key = Key::open(ctx, series.borrow(), Mode::Look);
        !key.is_empty() && !key.expires()
    };
    let exists = match (sent, heard) {
        (true, _) => lasts(),
        (false, heard) => heard && Key::exists(ctx, series.borrow()),
    };
    if heard && !exists {
        return None;
    }
    Some(samples::wait(ctx, words, series, exists))
}

/// Passes a reading on to whoever hears.
fn pass_on(ctx: Ctx, given: &Given<'_>, taken: &Taken, archived: Archived) {
    let words = words(ctx, given, taken);
    effects::replicate(ctx, &words, archived, taken.arrival);
}

/// Has the server count a reading of a command as a change, for `save`, where nobody hears: by passing the command on, which
/// goes nowhere, and unlike `_apply` costs nothing then. An entry of a stream was itself such a change.
fn count_as_change(ctx: Ctx) {
    ctx.replicate_verbatim();
}

/// Writes the alert of a reading, if there is one.
fn tell(ctx: Ctx, given: &Given<'_>, taken: &Taken, outcome: &Outcome) {
    let source = given.source;
    let (Some(_), Some(profile)) = (&outcome.transition, &taken.profile) else {
        return;
    };
    let (name, reading) = (given.sensor.bytes(), taken.reading);
    let source = source.map(|source| Source {
        id: source.id.or_else(|| hook::newest_id(ctx, source.stream)),
        ..*source
    });
    if let Some(alert) = Alert::of_outcome(name, reading, outcome, profile, source.as_ref()) {
        effects::tell(ctx, given.sensor, &alert);
    }
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
    given: &Given<'_>,
    at: Timestamp,
    arrival: Option<Timestamp>,
    archived: bool,
) -> Result<(), Error> {
    let situation = Situation::of(ctx);
    let (mut outcome, mut taken) = (Outcome::default(), Taken::default());
    taken.reading = Reading {
        at,
        value: given.value,
    };
    let (name, db, now) = (given.sensor.bytes(), ctx.db(), ctx.now());
    let sought = with(|state| state.known.seek(situation, db, name, now, true));
    let mut key = None;
    let model = match sought.known() {
        Some(model) => model,
        None => sought.open(ctx, given.sensor, &mut key)?.0,
    };
    take(
        ctx,
        given,
        (db, name),
        arrival,
        model,
        &mut outcome,
        &mut taken,
    )?;
    if archived {
        let may = !situation.is_pressed(ctx);
        let waits = may.then(|| put_off(ctx, given, &taken, true, true));
        match waits.flatten() {
            Some(waits) => waits.settle(),
            None => {
                samples::settle();
                let profile = taken.profile.as_deref();
                effects::archive(ctx, &words(ctx, given, &taken), by(&taken), profile);
            }
        }
    }
    if let Some((event, _)) = &outcome.transition {
        effects::notify(ctx, given.sensor, *event);
    }
    Ok(())
}

/// The change of the model of the sensor at that place, and nothing else. The arrival is noted where the rules ask for it.
fn take(
    ctx: Ctx,
    given: &Given<'_>,
    (db, name): (c_int, &[u8]),
    arrival: Option<Timestamp>,
    model: &mut Model,
    outcome: &mut Outcome,
    taken: &mut Taken,
) -> Result<(), Error> {
    let mut timed = false;
    let reading = taken.reading;
    let done = fence::caught(|| {
        with(|state| {
            #[cfg(debug_assertions)]
            state.panic_if_asked(name);
            let was_open = model.alarm.open().is_some();
            model.take_in(name, reading, &mut state.rules, given.explain, outcome);
            if outcome.is_plain {
                state.counts.readings += 1;
            } else {
                timed = see_to(
                    state,
                    given,
                    (db, name),
                    arrival,
                    was_open,
                    model,
                    outcome,
                    taken,
                );
            }
            taken.archive = outcome.archive;
            taken.newest = outcome.newest.is_some_and(|newest| newest.at < reading.at);
        });
    });
    if timed {
        silence::wake(ctx);
    }
    ctx.modified(given.sensor);
    match done {
        Some(()) => Ok(()),
        None => Err(Error::Broken),
    }
}

/// What few readings need: the state is to know of their sensor's episode or of when they arrived, or more is to be said of them. Whether a
/// timer was set.
#[inline(never)]
#[expect(
    clippy::too_many_arguments,
    reason = "it is a part of `take`, apart from what all readings need"
)]
fn see_to(
    state: &mut State,
    given: &Given<'_>,
    (db, name): (c_int, &[u8]),
    arrival: Option<Timestamp>,
    was_open: bool,
    model: &mut Model,
    outcome: &Outcome,
    taken: &mut Taken,
) -> bool {
    state.counts.count(outcome);
    // Not only with a transition: what was reopened silently also ends silently.
    if was_open != model.alarm.open().is_some() {
        state.track(db, name, model);
    }
    let profile = model.judged_by(&state.rules);
    let arrival = arrival.filter(|_| profile.is_some_and(|profile| profile.listens()));
    // A series that is created, an alert and an explanation need it.
    let wanted = outcome.newest.is_none() || outcome.transition.is_some() || given.explain;
    taken.profile = profile.filter(|_| wanted).map(Arc::clone);
    taken.arrival = arrival;
    let Some(now) = arrival else {
        return false;
    };
    model.set_arrived(now);
    if model.timer != 0 {
        return false;
    }
    state.time(db, name, model, Timestamp::ZERO, now);
    true
}
