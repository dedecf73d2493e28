//! Performs what an outcome asks for, in the one order: archive, replicate, alert, notify.

use std::cell::OnceCell;
use std::ffi::CStr;

use anomaly_core::alert::{Alert, Source};
use anomaly_core::episode::Event;
use anomaly_core::stream_id::StreamId;
use anomaly_core::text::{is_plain, number, shown};
use anomaly_core::units::Timestamp;
use anomaly_core::written::Written;
use anomaly_core::{Profile, Reading, key};
use lazy_static::lazy_static;

use crate::server::{Argv, Called, Constant, Ctx, Key, OwnedStr, Str, borrowed};
use crate::settings::Archive;
use crate::state::with;
use crate::{keyspace, moving};

/// Whether TimeSeries is there.
pub(crate) fn series_available(ctx: Ctx) -> bool {
    // Without arguments it is refused for their number, unless there is no such command.
    !matches!(ctx.call(c"TS.ADD", &[]), Called::Missing)
}

/// What the log says of the archive when the module is loaded.
pub(crate) fn describe_archive(ctx: Ctx) -> &'static str {
    match with(|state| state.settings.archive) {
        Archive::Off => "archive off",
        _ if series_available(ctx) => "archiving with TimeSeries",
        _ => {
            with(|state| state.series_missing = true);
            "TimeSeries is not loaded: readings are scored, and archived once it is"
        }
    }
}

lazy_static! {
    static ref APPLY_1: Constant = Constant::new(APPLY_VERSION);
    static ref APPLY_2: Constant = Constant::new(APPLY_ARRIVAL);
    static ref YES: Constant = Constant::new(IN_SERIES);
    static ref NO: Constant = Constant::new("0");
    static ref ON_DUPLICATE: Constant = Constant::new("ON_DUPLICATE");
    static ref LAST: Constant = Constant::new("LAST");
}

/// A reading in words: its arguments where they can be passed on as they came, else made once, when first asked for.
pub(crate) struct Words<'a> {
    ctx: Ctx,
    pub(crate) sensor: Str<'a>,
    reading: Reading,
    at: Word<'a>,
    value: Word<'a>,
    source: Option<&'a Source<'a>>,
}

struct Word<'a> {
    given: Option<Str<'a>>,
    made: OnceCell<OwnedStr>,
}

impl<'a> Word<'a> {
    /// A word as it was given, if everybody reads it alike.
    fn new(given: Option<Str<'a>>, alike: fn(&[u8]) -> bool) -> Self {
        Self {
            given: given.filter(|given| alike(given.bytes())),
            made: OnceCell::new(),
        }
    }

    fn get(&self, make: impl FnOnce() -> OwnedStr) -> Str<'_> {
        self.given
            .unwrap_or_else(|| self.made.get_or_init(make).borrow())
    }

    fn into(self, words: &mut Argv<'a>, make: impl FnOnce() -> OwnedStr) {
        match self.given {
            Some(given) => words.lend(given),
            None => words.give(self.made.into_inner().unwrap_or_else(make)),
        }
    }

    fn into_owned(self, make: impl FnOnce() -> OwnedStr) -> OwnedStr {
        match self.given {
            Some(given) => given.hold(),
            None => self.made.into_inner().unwrap_or_else(make),
        }
    }
}

impl<'a> Words<'a> {
    /// The words of a reading that came with these arguments for time (if it was not `*`) and value, or with none.
    pub(crate) fn new(
        ctx: Ctx,
        sensor: Str<'a>,
        reading: Reading,
        at: Option<Str<'a>>,
        value: Option<Str<'a>>,
        source: Option<&'a Source<'a>>,
    ) -> Self {
        Self {
            ctx,
            sensor,
            reading,
            // TimeSeries takes no leading zeros.
            at: Word::new(at, |at| !at.starts_with(b"0")),
            value: Word::new(value, is_plain),
            source,
        }
    }

    pub(crate) fn source(&self) -> Option<&'a Source<'a>> {
        self.source
    }

    pub(crate) fn reading(&self) -> Reading {
        self.reading
    }

    /// The name of the sensor's series.
    pub(crate) fn series(&self) -> OwnedStr {
        key::with_series(self.sensor.bytes(), |name| self.ctx.string(name))
    }

    pub(crate) fn at(&self) -> Str<'_> {
        self.at.get(|| made_of_time(self.ctx, self.reading))
    }

    pub(crate) fn value(&self) -> Str<'_> {
        self.value.get(|| made_of_value(self.ctx, self.reading))
    }

    /// Time and value, to be kept. There may be a word for that time already.
    pub(crate) fn into_owned(self, at: Option<OwnedStr>) -> [OwnedStr; 2] {
        let (ctx, reading) = (self.ctx, self.reading);
        [
            at.unwrap_or_else(|| self.at.into_owned(|| made_of_time(ctx, reading))),
            self.value.into_owned(|| made_of_value(ctx, reading)),
        ]
    }

    /// Adds the words of its sample to those of a TS.MADD.
    pub(crate) fn into_sample(self, words: &mut Argv<'a>) {
        let (ctx, reading) = (self.ctx, self.reading);
        words.give(self.series());
        self.at.into(words, || made_of_time(ctx, reading));
        self.value.into(words, || made_of_value(ctx, reading));
    }
}

fn made_of_time(ctx: Ctx, reading: Reading) -> OwnedStr {
    ctx.integer(reading.at.millis())
}

fn made_of_value(ctx: Ctx, reading: Reading) -> OwnedStr {
    ctx.string(number(reading.value).as_bytes())
}

/// What became of a reading's sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Archived {
    /// It is not in the series.
    No,
    /// It is.
    Yes,
    /// It is, and the series was created for it.
    First,
}

/// What decides where a series has a sample of that very time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// The newer one stays.
    Last,
    /// What the series itself says; the newer one, where that is to refuse it. The sample is the newest of its sensor, so
    /// that the other is somebody else's. This is how TS.MADD does it, and so must whoever does it again, alone.
    OfSeries,
}

/// Writes a reading to the sensor's series. A failure is counted, and the first of each kind is
/// logged; the verdict stands.
///
/// The profile is that of the sensor; without one it is looked for, should the series have to be created.
pub(crate) fn archive(
    ctx: Ctx,
    words: &Words<'_>,
    policy: Policy,
    profile: Option<&Profile>,
) -> Archived {
    let series = words.series();
    let (at, value) = (words.at(), words.value());
    let add = [series.borrow(), at, value, ON_DUPLICATE.get(), LAST.get()];
    let exists = Key::exists(ctx, series.borrow());
    let called = if exists {
        match policy {
            Policy::Last => ctx.call(c"TS.ADD", &add),
            Policy::OfSeries => match ctx.call(c"TS.ADD", &add[..3]) {
                Called::Refused(_) => ctx.call(c"TS.ADD", &add),
                called => called,
            },
        }
    } else {
        let how = match profile {
            Some(profile) => creation(ctx, words, profile),
            None => {
                let profile = with(|state| state.rules.profile(words.sensor.bytes()));
                creation(ctx, words, &profile)
            }
        };
        ctx.call(c"TS.ADD", &[&add[..], &borrowed(&how)].concat())
    };
    match called {
        Called::Done | Called::Integer(_) => {
            with(|state| state.counts.archived += 1);
            if exists {
                Archived::Yes
            } else {
                Archived::First
            }
        }
        Called::Missing => {
            missing(ctx);
            Archived::No
        }
        Called::Refused(why) => {
            let sensor = shown(words.sensor.bytes());
            let what = format!("a reading of '{sensor}' could not be archived");
            failed(ctx, &what, &why);
            with(|state| state.counts.archive_failures += 1);
            Archived::No
        }
    }
}

/// Writes samples (series, time, value each) to series that exist, each the newest of its sensor: of each, whether it is known to
/// be there now. One that is not has yet to be written by [`archive`], which also tells why it cannot be.
///
/// What has a time of its own needs no word on duplicates: should somebody else have written a sample of that very time, the
/// series' own policy decides, and is LAST where we made it; where it refuses, [`archive`] overrules it.
pub(crate) fn archive_all(ctx: Ctx, samples: &[Str<'_>]) -> Written {
    let all = samples.len() / 3;
    let time = |at: usize| {
        samples
            .get(3 * at + 1)
            .map_or(&b""[..], |time| time.bytes())
    };
    let written = ctx.call_and_read(c"TS.MADD", samples, |reply| Written::read(reply, all, time));
    with(|state| state.counts.archived += written.count(all) as u64);
    written
}

/// What TS.ADD is told when it is about to create the series. TimeSeries refuses empty labels.
fn creation(ctx: Ctx, words: &Words<'_>, profile: &Profile) -> Vec<OwnedStr> {
    let (retention, chunk) = (
        profile.retention.to_string(),
        profile.chunk_size.to_string(),
    );
    let mut how: Vec<&[u8]> = vec![b"RETENTION", retention.as_bytes()];
    how.extend([
        &b"CHUNK_SIZE"[..],
        chunk.as_bytes(),
        b"DUPLICATE_POLICY",
        b"LAST",
    ]);
    let of = |pick: fn(&Source<'_>) -> Vec<u8>| words.source.map_or(vec![], pick);
    let labels: [(&[u8], Vec<u8>); 4] = [
        (b"sensor", key::label(words.sensor.bytes())),
        (b"device", of(|source| key::label(source.device))),
        (b"metric", of(|source| key::label(source.metric))),
        (b"stream", of(|source| key::label(source.stream))),
    ];
    let known = labels.iter().filter(|(_, value)| !value.is_empty());
    let known: Vec<&[u8]> = known.flat_map(|(name, value)| [*name, value]).collect();
    if !known.is_empty() {
        how.push(b"LABELS");
        how.extend(known);
    }
    how.into_iter().map(|word| ctx.string(word)).collect()
}

/// Whether readings are to be archived by this server's own decision.
pub(crate) fn archives() -> bool {
    with(|state| state.settings.archive != Archive::Off && !state.series_missing)
}

fn missing(ctx: Ctx) {
    with(|state| state.series_missing = true);
    failed(ctx, "readings are not archived", "TimeSeries is not loaded");
}

/// Logs the first failure of its kind.
pub(crate) fn failed(ctx: Ctx, what: &str, why: &str) {
    if with(|state| state.first_of_kind(why)) {
        ctx.warn(&format!(
            "{what}: {why} (later failures of this kind are only counted, see INFO anomaly)"
        ));
    }
}

/// Version of the internal command that [`replicate`] sends.
pub(crate) const APPLY_VERSION: &str = "1";
/// The same with the time of arrival.
pub(crate) const APPLY_ARRIVAL: &str = "2";
/// A reading of [`replicate`] that is in the series.
pub(crate) const IN_SERIES: &str = "1";
/// Before device, metric and stream, with the first reading of a series.
pub(crate) const LABELS: &[u8] = b"LABELS";

/// Passes a reading on to replicas and the AOF, with everything resolved: they run the same model on it and decide
/// nothing. About 70 bytes, and with the first reading of a series that comes from a stream its labels.
pub(crate) fn replicate(
    ctx: Ctx,
    words: &Words<'_>,
    archived: Archived,
    arrival: Option<Timestamp>,
) {
    keyspace::pass_on_rules_due(ctx);
    let in_series = if archived == Archived::No {
        NO.get()
    } else {
        YES.get()
    };
    let (at, value) = (words.at(), words.value());
    let arrival = arrival.map(|at| ctx.integer(at.millis()));
    let args = match &arrival {
        None => [APPLY_1.get(), words.sensor, at, value, in_series, NO.get()],
        Some(arrival) => {
            let arrival = arrival.borrow();
            [APPLY_2.get(), words.sensor, at, value, in_series, arrival]
        }
    };
    let args = match (&arrival, &args) {
        (None, [first @ .., _]) => first,
        (Some(_), all) => &all[..],
    };
    match words
        .source
        .as_ref()
        .filter(|_| archived == Archived::First)
    {
        None => ctx.replicate(c"ANOMALY._APPLY", args),
        Some(Source {
            device,
            metric,
            stream,
            ..
        }) => {
            let labels = [LABELS, device, metric, stream].map(|word| ctx.string(word));
            ctx.replicate(c"ANOMALY._APPLY", &[args, &borrowed(&labels)].concat());
        }
    }
}

/// Tells of a transition: the alert, if this server is the one to write it, and the keyspace event.
pub(crate) fn tell(ctx: Ctx, sensor: Str<'_>, alert: &Alert) {
    if ctx.decides() {
        write(ctx, sensor.bytes(), alert);
    }
    notify(ctx, sensor, alert.event);
}

/// Writes an alert and passes it on as it was written, id included.
fn write(ctx: Ctx, sensor: &[u8], alert: &Alert) {
    let stream = with(|state| key::alerts(&state.settings.alerts_key, sensor, state.cluster));
    let fields = alert.fields.iter().map(|(name, value)| (*name, &value[..]));
    // What is told of a deletion cannot be refused before.
    let called = match moving::check_alert(ctx, sensor) {
        Ok(()) => append(ctx, &stream, fields),
        Err(error) => Called::Refused(error.to_string()),
    };
    match called {
        Called::Refused(why) => {
            failed(ctx, "an alert could not be written", &why);
            with(|state| state.counts.alert_failures += 1);
        }
        _ => with(|state| state.counts.alerted(alert.event)),
    }
}

/// Adds an entry to a stream of ours, which keeps about so many as the setting says.
fn append<'a>(
    ctx: Ctx,
    stream: &[u8],
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Called {
    let maxlen = with(|state| state.settings.alerts_maxlen);
    let mut args: Vec<OwnedStr> = vec![ctx.string(stream)];
    if maxlen > 0 {
        args.extend(
            [&b"MAXLEN"[..], b"~", maxlen.to_string().as_bytes()].map(|word| ctx.string(word)),
        );
    }
    args.push(ctx.string(b"*"));
    args.extend(fields.flat_map(|(name, value)| [ctx.string(name.as_bytes()), ctx.string(value)]));
    ctx.call_and_replicate(c"XADD", &borrowed(&args))
}

/// Writes what could not be read from a watched stream to the dead letters.
pub(crate) fn bury(ctx: Ctx, stream: &[u8], id: StreamId, reason: &str, payload: &str) {
    let dead = with(|state| key::dead(&state.settings.dead_key, stream, state.cluster));
    let id = id.to_string();
    let fields = [
        ("stream", stream),
        ("id", id.as_bytes()),
        ("reason", reason.as_bytes()),
        ("payload", payload.as_bytes()),
    ];
    match append(ctx, &dead, fields.into_iter()) {
        Called::Refused(why) => failed(ctx, "a dead letter could not be written", &why),
        _ => with(|state| state.counts.dead_letters += 1),
    }
}

/// Tells keyspace subscribers of an episode's beginning and end.
pub(crate) fn notify(ctx: Ctx, sensor: Str<'_>, event: Event) {
    let name: &CStr = match event {
        Event::Firing => c"anomaly.firing",
        Event::Resolved => c"anomaly.resolved",
        Event::Escalated | Event::Repeat | Event::Ack => return,
    };
    ctx.notify(name, sensor);
}
