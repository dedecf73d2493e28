//! Performs what an outcome asks for, in the one order: archive, replicate, alert, notify.

use std::ffi::CStr;

use anomaly_core::alert::Alert;
use anomaly_core::episode::Event;
use anomaly_core::text::number;
use anomaly_core::{Profile, Reading, key};
use lazy_static::lazy_static;

use crate::server::{Called, Constant, Ctx, Key, OwnedStr, Str, borrowed};
use crate::settings::Archive;
use crate::state::with;

/// Whether TimeSeries is there.
pub(crate) fn series_available(ctx: Ctx) -> bool {
    // Without arguments it is refused for their number, unless there is no such command.
    !matches!(ctx.call(c"TS.ADD", false, &[]), Called::Missing)
}

/// What the log says of the archive when the module is loaded.
pub(crate) fn describe_archive(ctx: Ctx) -> &'static str {
    match with(|state| state.settings.archive) {
        Archive::Off => "archive off",
        _ if series_available(ctx) => "archiving with TimeSeries",
        _ => {
            with(|state| state.series_missing = true);
            "TimeSeries is not loaded: readings are scored, but not archived"
        }
    }
}

lazy_static! {
    static ref APPLY_1: Constant = Constant::new(APPLY_VERSION);
    static ref YES: Constant = Constant::new(ARCHIVED);
    static ref NO: Constant = Constant::new("0");
    static ref ON_DUPLICATE: Constant = Constant::new("ON_DUPLICATE");
    static ref LAST: Constant = Constant::new("LAST");
}

/// A reading in words: its arguments where they can be passed on as they came, else made once for all calls.
pub(crate) struct Words<'a> {
    pub(crate) sensor: Str<'a>,
    at: Word<'a>,
    value: Word<'a>,
}

enum Word<'a> {
    Given(Str<'a>),
    Made(OwnedStr),
}

impl Word<'_> {
    fn get(&self) -> Str<'_> {
        match self {
            Self::Given(word) => *word,
            Self::Made(word) => word.borrow(),
        }
    }
}

impl<'a> Words<'a> {
    /// The words of a reading that came with these arguments for time (if it was not `*`) and value.
    pub(crate) fn new(
        ctx: Ctx,
        sensor: Str<'a>,
        reading: Reading,
        at: Option<Str<'a>>,
        value: Str<'a>,
    ) -> Self {
        let made = |text: String| Word::Made(ctx.string(text.as_bytes()));
        // TimeSeries takes no leading zeros.
        let at = at.filter(|at| !at.bytes().starts_with(b"0"));
        Self {
            sensor,
            at: at.map_or_else(|| made(reading.at.millis().to_string()), Word::Given),
            value: if is_plain(value.bytes()) {
                Word::Given(value)
            } else {
                made(number(reading.value))
            },
        }
    }
}

/// Whether a number is written so that everybody reads it alike: `-12.5`, not `+1`, `.5` or `1E5`.
fn is_plain(number: &[u8]) -> bool {
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let mut parts = digits.split(|byte| *byte == b'.');
    let is_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(is_digits)
        && parts.next().is_none_or(is_digits)
        && parts.next().is_none()
}

/// Writes a reading to the sensor's series; whether it is there now. A failure is counted, and the first of each kind is
/// logged; the verdict stands.
pub(crate) fn archive(ctx: Ctx, words: &Words<'_>, profile: &Profile) -> bool {
    let series = ctx.string(&key::series(words.sensor.bytes()));
    let (at, value) = (words.at.get(), words.value.get());
    let add = [series.borrow(), at, value, ON_DUPLICATE.get(), LAST.get()];
    let called = if Key::exists(ctx, series.borrow()) {
        ctx.call(c"TS.ADD", false, &add)
    } else {
        let how = creation(ctx, words.sensor.bytes(), profile);
        ctx.call(c"TS.ADD", false, &[&add[..], &borrowed(&how)].concat())
    };
    match called {
        Called::Done | Called::Integer(_) => {
            with(|state| state.counts.archived += 1);
            true
        }
        Called::Missing => {
            missing(ctx);
            false
        }
        Called::Refused(why) => {
            failed(ctx, "a reading could not be archived", &why);
            with(|state| state.counts.archive_failures += 1);
            false
        }
    }
}

/// What TS.ADD is told when it is about to create the series.
fn creation(ctx: Ctx, sensor: &[u8], profile: &Profile) -> Vec<OwnedStr> {
    let (retention, chunk) = (
        profile.retention.to_string(),
        profile.chunk_size.to_string(),
    );
    let mut words: Vec<&[u8]> = vec![b"RETENTION", retention.as_bytes()];
    words.extend([
        &b"CHUNK_SIZE"[..],
        chunk.as_bytes(),
        b"DUPLICATE_POLICY",
        b"LAST",
    ]);
    let label = key::label(sensor);
    if !label.is_empty() {
        words.extend([&b"LABELS"[..], b"sensor", &label]);
    }
    words.into_iter().map(|word| ctx.string(word)).collect()
}

/// Whether readings are to be archived by this server's own decision.
pub(crate) fn archives() -> bool {
    with(|state| state.settings.archive != Archive::Off && !state.series_missing)
}

fn missing(ctx: Ctx) {
    with(|state| state.series_missing = true);
    failed(
        ctx,
        "readings are no longer archived",
        "TimeSeries has been unloaded",
    );
}

/// Logs the first failure of its kind.
fn failed(ctx: Ctx, what: &str, why: &str) {
    if with(|state| state.first_of_kind(why)) {
        ctx.warn(&format!(
            "{what}: {why} (later failures of this kind are only counted, see INFO anomaly)"
        ));
    }
}

/// Version of the internal command that [`replicate`] sends.
pub(crate) const APPLY_VERSION: &str = "1";
/// A reading of [`replicate`] that is in the series.
pub(crate) const ARCHIVED: &str = "1";

/// Passes a reading on to replicas and the AOF, with everything resolved: they run the same model on it and decide
/// nothing. About 70 bytes.
pub(crate) fn replicate(ctx: Ctx, words: &Words<'_>, archived: bool) {
    let archived = if archived { YES.get() } else { NO.get() };
    let args = [
        APPLY_1.get(),
        words.sensor,
        words.at.get(),
        words.value.get(),
        archived,
    ];
    ctx.replicate(c"ANOMALY._APPLY", &args);
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
    let (stream, maxlen) = with(|state| {
        let base = &state.settings.alerts_key;
        (
            key::alerts(base, sensor, state.cluster),
            state.settings.alerts_maxlen,
        )
    });
    let mut args: Vec<OwnedStr> = vec![ctx.string(&stream)];
    if maxlen > 0 {
        args.extend(
            [&b"MAXLEN"[..], b"~", maxlen.to_string().as_bytes()].map(|word| ctx.string(word)),
        );
    }
    args.push(ctx.string(b"*"));
    for (name, value) in &alert.fields {
        args.extend([ctx.string(name.as_bytes()), ctx.string(value)]);
    }
    match ctx.call(c"XADD", true, &borrowed(&args)) {
        Called::Refused(why) => {
            failed(ctx, "an alert could not be written", &why);
            with(|state| state.counts.alert_failures += 1);
        }
        _ => with(|state| state.counts.alerted(alert.event)),
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
