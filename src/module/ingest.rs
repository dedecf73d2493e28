//! The one way a reading enters: ADD, MADD, watched streams and what replication and files replay all come through here.
//!
//! The order is fixed: check, open, take in, archive, replicate, alert, notify. Nothing that can fail stands between the
//! change of the model and its replication; a series that cannot be written is no failure of the reading.

use std::sync::Arc;

use anomaly_core::alert::{Alert, End, Source};
use anomaly_core::model::{Outcome, Verdict};
use anomaly_core::reading::When;
use anomaly_core::units::Timestamp;
use anomaly_core::{Error, Profile, Reading, key};

use crate::audience::Audience;
use crate::effects::{Archived, Policy, Words};
use crate::known::Sought;
use crate::server::{Ctx, Flags, Key, Mode, Str};
use crate::state::with;
use crate::{datatype, effects, fence, hook, moving, samples, silence};

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

/// A reading that was taken in: the model has changed, and what follows from it is due.
pub(crate) struct Taken<'a> {
    given: Given<'a>,
    pub(crate) reading: Reading,
    /// When it arrived, where the rules ask for that.
    arrival: Option<Timestamp>,
    /// It is to be written to the series.
    archive: bool,
    /// It came after all readings before it.
    newest: bool,
    /// What it was judged by, where more is to be said of it than its verdict.
    pub(crate) profile: Option<Arc<Profile>>,
}

impl Taken<'_> {
    fn is_archived(&self) -> bool {
        self.archive && effects::archives()
    }
}

/// Takes in a reading of a client's, decides what it means and does what follows.
pub(crate) fn decide<'a>(
    ctx: Ctx,
    given: Given<'a>,
    outcome: &mut Outcome,
) -> Result<Taken<'a>, Error> {
    let flags = ctx.asked();
    let taken = judge(ctx, flags, given, outcome).or_else(|error| broken(ctx, given, error))?;
    let heard = Audience::hears(ctx, flags);
    let archived = if flags.is_pressed() {
        archive(ctx, &taken)
    } else {
        archive_in_time(ctx, &taken, outcome, heard)
    };
    if heard {
        pass_on(ctx, &taken, archived);
    } else if given.source.is_none() {
        count_as_change(ctx);
    }
    tell(ctx, &taken, outcome);
    Ok(taken)
}

/// Samples of one command that need not wait for those of others: to write them at once costs less then.
const ENOUGH: usize = 16;

/// Readings of one command, each taken in when it is given; what follows from them is done for many at once.
pub(crate) struct Batch<'a> {
    ctx: Ctx,
    flags: Flags,
    outcome: Outcome,
    taken: Vec<Taken<'a>>,
    /// Outcomes of which more is to be said, by the position of their reading.
    told: Vec<(usize, Outcome)>,
}

impl<'a> Batch<'a> {
    /// Room for so many readings.
    pub(crate) fn new(ctx: Ctx, readings: usize) -> Self {
        Self {
            ctx,
            flags: ctx.asked(),
            outcome: Outcome::default(),
            taken: Vec::with_capacity(readings),
            told: Vec::new(),
        }
    }

    /// Takes in a reading and decides what it means; what follows is yet to be done.
    pub(crate) fn take(&mut self, given: Given<'a>) -> Result<Verdict, Error> {
        let taken = match judge(self.ctx, self.flags, given, &mut self.outcome) {
            Err(error) => {
                self.settle();
                broken(self.ctx, given, error)?
            }
            taken => taken?,
        };
        if self.outcome.transition.is_some() {
            self.told.push((self.taken.len(), self.outcome.clone()));
        }
        self.taken.push(taken);
        Ok(self.outcome.verdict)
    }

    /// Does what follows from the readings so far: samples first, then for each what is passed on and told of.
    pub(crate) fn settle(&mut self) {
        let (ctx, flags) = (self.ctx, self.flags);
        let heard = Audience::hears(ctx, flags);
        let together = flags.is_pressed() || self.taken.len() >= ENOUGH;
        let archived = if together { self.archive() } else { Vec::new() };
        let (mut archived, mut told) = (archived.into_iter(), self.told.drain(..).peekable());
        let quiet = Outcome::default();
        for (at, taken) in self.taken.drain(..).enumerate() {
            let outcome = told.next_if(|(reading, _)| *reading == at);
            let outcome = outcome.as_ref().map_or(&quiet, |(_, outcome)| outcome);
            let archived = if together {
                archived.next().unwrap_or(Archived::No)
            } else {
                archive_in_time(ctx, &taken, outcome, heard)
            };
            if heard {
                pass_on(ctx, &taken, archived);
            } else {
                count_as_change(ctx);
            }
            tell(ctx, &taken, outcome);
        }
    }

    /// Readings in a row that are the newest of series which exist go to TimeSeries together, the others one by one.
    fn archive(&self) -> Vec<Archived> {
        samples::settle();
        let mut archived = Vec::with_capacity(self.taken.len());
        let together = |taken: &Taken<'_>| taken.is_archived() && taken.newest;
        for run in self.taken.chunk_by(|a, b| together(a) == together(b)) {
            let done = if run.len() > 1 && run.first().is_some_and(together) {
                let all: Vec<_> = run.iter().map(|taken| words(self.ctx, taken)).collect();
                let series: Vec<_> = all.iter().map(Words::series).collect();
                let samples = series.iter().zip(&all);
                effects::archive_all(
                    self.ctx,
                    samples.map(|(series, words)| [series.borrow(), words.at(), words.value()]),
                )
            } else {
                Vec::new()
            };
            let mut done = done.into_iter();
            archived.extend(run.iter().map(|taken| match done.next() {
                Some(true) => Archived::Yes,
                _ => archive(self.ctx, taken),
            }));
        }
        archived
    }
}

/// What can be refused, and the change of the model.
fn judge<'a>(
    ctx: Ctx,
    flags: Flags,
    given: Given<'a>,
    outcome: &mut Outcome,
) -> Result<Taken<'a>, Error> {
    let Given {
        sensor,
        when,
        value,
        ..
    } = given;
    let (name, db, now) = (sensor.bytes(), ctx.db(), ctx.now());
    let (at, sought, cluster) = with(|state| {
        if state.cluster {
            key::check_slot(&state.settings.alerts_key, name)?;
        }
        let at = when.resolve(now, state.settings.max_future)?;
        let sought = state.known.seek(flags, db, name, now);
        Ok::<_, Error>((at, sought, state.cluster))
    })?;
    let reading = Reading { at, value };
    if !sought.is_known() {
        admit(ctx, &given)?;
        if cluster {
            moving::check_reading(ctx, sensor, reading)?;
        }
    }
    take(ctx, given, reading, Some(now), sought, outcome)
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

/// What follows from an error of [`judge`]. A model that broke is reset, here and on every replica, whose models went on:
/// whatever it holds now is not to be trusted.
fn broken<'a>(ctx: Ctx, given: Given<'a>, error: Error) -> Result<Taken<'a>, Error> {
    if let Error::Broken = error {
        reset(ctx, given.sensor)?;
    }
    Err(error)
}

fn words<'a>(ctx: Ctx, taken: &Taken<'a>) -> Words<'a> {
    let given = &taken.given;
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
fn archive(ctx: Ctx, taken: &Taken<'_>) -> Archived {
    if !taken.is_archived() {
        return Archived::No;
    }
    samples::settle();
    effects::archive(ctx, &words(ctx, taken), by(taken), taken.profile.as_deref())
}

/// What decides where the series has a sample of that very time.
fn by(taken: &Taken<'_>) -> Policy {
    if taken.newest {
        Policy::OfSeries
    } else {
        Policy::Last
    }
}

/// The same, but the sample may wait for others.
fn archive_in_time(ctx: Ctx, taken: &Taken<'_>, outcome: &Outcome, heard: bool) -> Archived {
    if taken.is_archived() && put_off(ctx, taken, outcome, heard, false) {
        return Archived::Yes;
    }
    archive(ctx, taken)
}

/// Has the sample of a reading wait for others, if it is the newest of a series that exists, and raises no alert. Whoever
/// hears is told that it is there: with them as here it can only fail for what the series is. But to create one is told apart.
///
/// What a master sends does not wait if the series can expire. It has not until the master says so; but by this server's
/// clock it may have, and then only the master's own commands see it.
fn put_off(ctx: Ctx, taken: &Taken<'_>, outcome: &Outcome, heard: bool, sent: bool) -> bool {
    if !taken.newest || outcome.transition.is_some() {
        return false;
    }
    let words = words(ctx, taken);
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
        return false;
    }
    samples::wait(ctx, &words, series, exists, taken.reading);
    true
}

/// Passes a reading on to whoever hears.
fn pass_on(ctx: Ctx, taken: &Taken<'_>, archived: Archived) {
    effects::replicate(ctx, &words(ctx, taken), archived, taken.arrival);
}

/// Has the server count a reading of a command as a change, for `save`, where nobody hears: by passing the command on, which
/// goes nowhere, and unlike `_apply` costs nothing then. An entry of a stream was itself such a change.
fn count_as_change(ctx: Ctx) {
    ctx.replicate_verbatim();
}

/// Writes the alert of a reading, if there is one.
fn tell(ctx: Ctx, taken: &Taken<'_>, outcome: &Outcome) {
    let source = taken.given.source;
    let (Some(_), Some(profile)) = (&outcome.transition, &taken.profile) else {
        return;
    };
    let (name, reading) = (taken.given.sensor.bytes(), taken.reading);
    let source = source.map(|source| Source {
        id: source.id.or_else(|| hook::newest_id(ctx, source.stream)),
        ..*source
    });
    if let Some(alert) = Alert::of_outcome(name, reading, outcome, profile, source.as_ref()) {
        effects::tell(ctx, taken.given.sensor, &alert);
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
    given: Given<'_>,
    at: Timestamp,
    arrival: Option<Timestamp>,
    archived: bool,
) -> Result<(), Error> {
    let (flags, mut outcome) = (ctx.asked(), Outcome::default());
    let reading = Reading {
        at,
        value: given.value,
    };
    let (name, db, now) = (given.sensor.bytes(), ctx.db(), ctx.now());
    let sought = with(|state| state.known.seek(flags, db, name, now));
    let taken = take(ctx, given, reading, arrival, sought, &mut outcome)?;
    let waits = archived && !flags.is_pressed() && put_off(ctx, &taken, &outcome, true, true);
    if archived && !waits {
        samples::settle();
        let profile = taken.profile.as_deref();
        effects::archive(ctx, &words(ctx, &taken), by(&taken), profile);
    }
    if let Some((event, _)) = &outcome.transition {
        effects::notify(ctx, given.sensor, *event);
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
fn take<'a>(
    ctx: Ctx,
    given: Given<'a>,
    reading: Reading,
    arrival: Option<Timestamp>,
    sought: Sought,
    outcome: &mut Outcome,
) -> Result<Taken<'a>, Error> {
    let sensor = given.sensor;
    let (name, db) = (sensor.bytes(), ctx.db());
    let mut key = None;
    let model = sought.open(ctx, sensor, &mut key)?;
    let mut timed = false;
    let taken = fence::caught(|| {
        with(|state| {
            #[cfg(debug_assertions)]
            state.panic_if_asked(name);
            let was_open = model.alarm.open().is_some();
            model.take_in(name, reading, &mut state.rules, given.explain, outcome);
            state.counts.count(outcome);
            // Not only with a transition: what was reopened silently also ends silently.
            if was_open != model.alarm.open().is_some() {
                state.track(db, name, model);
            }
            let profile = model.judged_by(&state.rules);
            let arrival = arrival.filter(|_| profile.is_some_and(|profile| profile.listens()));
            // A series that is created, an alert and an explanation need it.
            let wanted = outcome.newest.is_none() || outcome.transition.is_some() || given.explain;
            let profile = profile.filter(|_| wanted).map(Arc::clone);
            if let Some(now) = arrival {
                model.set_arrived(now);
                if model.timer == 0 {
                    state.time(db, name, model, Timestamp::ZERO, now);
                    timed = true;
                }
            }
            Taken {
                given,
                reading,
                arrival,
                archive: outcome.archive,
                newest: outcome.newest.is_some_and(|newest| newest.at < reading.at),
                profile,
            }
        })
    });
    if timed {
        silence::wake(ctx);
    }
    ctx.modified(sensor);
    taken.ok_or(Error::Broken)
}
