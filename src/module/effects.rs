//! Performs what an outcome asks for, in the one order: archive, replicate, alert, notify.

use std::ffi::CStr;

use anomaly_core::alert::Alert;
use anomaly_core::episode::Event;
use anomaly_core::text::number;
use anomaly_core::{Profile, Reading, key};

use crate::server::{Called, Ctx, Key, OwnedStr, Str};
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

/// Writes a reading to the sensor's series; whether it is there now. A failure is counted, and the first of each kind is
/// logged; the verdict stands.
pub(crate) fn archive(ctx: Ctx, sensor: &[u8], reading: Reading, profile: &Profile) -> bool {
    let series = ctx.string(&key::series(sensor));
    let created = Key::exists(ctx, series.borrow());
    let mut args = vec![
        series,
        ctx.string(reading.at.millis().to_string().as_bytes()),
        ctx.string(number(reading.value).as_bytes()),
        ctx.string(b"ON_DUPLICATE"),
        ctx.string(b"LAST"),
    ];
    if !created {
        let words = [
            "RETENTION",
            &profile.retention.to_string(),
            "CHUNK_SIZE",
            &profile.chunk_size.to_string(),
            "DUPLICATE_POLICY",
            "LAST",
        ];
        args.extend(words.iter().map(|word| ctx.string(word.as_bytes())));
        if !sensor.is_empty() {
            args.extend(
                [&b"LABELS"[..], b"sensor", &key::label(sensor)].map(|word| ctx.string(word)),
            );
        }
    }
    match ctx.call(c"TS.ADD", false, &args) {
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
pub(crate) const APPLY_VERSION: &[u8] = b"1";
/// A reading of [`replicate`] that is in the series.
pub(crate) const ARCHIVED: &[u8] = b"1";

/// Passes a reading on to replicas and the AOF, with everything resolved: they run the same model on it and decide
/// nothing. About 70 bytes.
pub(crate) fn replicate(ctx: Ctx, sensor: &[u8], reading: Reading, archived: bool) {
    let args = [
        ctx.string(APPLY_VERSION),
        ctx.string(sensor),
        ctx.string(reading.at.millis().to_string().as_bytes()),
        ctx.string(number(reading.value).as_bytes()),
        ctx.string(if archived { ARCHIVED } else { b"0" }),
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
    match ctx.call(c"XADD", true, &args) {
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
