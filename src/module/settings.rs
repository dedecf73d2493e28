//! The module's settings: Redis configs `anomaly.*`, also as `name value` pairs behind `loadmodule`.
//!
//! An argument of `loadmodule` becomes the setting's default, so a line in redis.conf goes before it and CONFIG REWRITE
//! writes only what was changed at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_longlong, c_void};
use std::ptr;

use anomaly_core::text::shown;
use redis_module::raw;

use crate::effects;
use crate::fence::guard;
use crate::server::{Args, Ctx, ERR, OK, OwnedStr, Str, api};
use crate::state::with;

/// Whether readings are written to series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Archive {
    /// Where TimeSeries is loaded.
    #[default]
    Auto,
    /// Always: without TimeSeries the module does not load.
    Required,
    /// Never.
    Off,
}

const ARCHIVE: [(&str, Archive); 3] = [
    ("auto", Archive::Auto),
    ("required", Archive::Required),
    ("off", Archive::Off),
];

/// The settings as they are now.
pub(crate) struct Settings {
    pub(crate) alerts_key: Vec<u8>,
    /// About so many entries are kept in the alerts stream; 0: all.
    pub(crate) alerts_maxlen: i64,
    pub(crate) dead_key: Vec<u8>,
    pub(crate) archive: Archive,
    /// How far ahead of the server's clock a reading may be, in ms.
    pub(crate) max_future: u64,
    /// Sensors that watched streams may bring the server to; 0: no limit.
    pub(crate) max_sensors: u64,
    /// What CONFIG GET of a text last gave: the server borrows it.
    lent: Option<OwnedStr>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            alerts_key: b"anomaly:alerts".into(),
            alerts_maxlen: 100_000,
            dead_key: b"anomaly:dead".into(),
            archive: Archive::Auto,
            max_future: 600_000,
            max_sensors: 0,
            lent: None,
        }
    }
}

const TEXTS: [&CStr; 2] = [c"alerts-key", c"dead-key"];
const NUMBERS: [(&CStr, c_longlong); 3] = [
    (c"alerts-maxlen", i64::MAX),
    (c"max-future", 3_155_760_000_000),
    (c"max-sensors", i64::MAX),
];
const CHOICE: &CStr = c"archive";

/// Registers all settings and reads their values.
pub(crate) fn register(ctx: Ctx, args: Args<'_>) -> Result<(), String> {
    apply_arguments(args)?;
    let failed = |name: &CStr| {
        format!(
            "the server refused the setting anomaly.{}",
            name.to_string_lossy()
        )
    };
    for name in TEXTS {
        let default = with(|state| {
            CString::new(text_of(&mut state.settings, name).clone()).unwrap_or_default()
        });
        // SAFETY: live context, C strings that the server copies, callbacks with the types it expects.
        let status = unsafe {
            api!(RedisModule_RegisterStringConfig(
                ctx.raw(),
                name.as_ptr(),
                default.as_ptr(),
                0,
                Some(get_text),
                Some(set_text),
                None,
                ptr::null_mut(),
            ))
        };
        (status == OK).then_some(()).ok_or_else(|| failed(name))?;
    }
    for (name, most) in NUMBERS {
        let default = with(|state| number(&mut state.settings, name));
        // SAFETY: as above.
        let status = unsafe {
            api!(RedisModule_RegisterNumericConfig(
                ctx.raw(),
                name.as_ptr(),
                default,
                0,
                0,
                most,
                Some(get_number),
                Some(set_number),
                None,
                ptr::null_mut(),
            ))
        };
        (status == OK).then_some(()).ok_or_else(|| failed(name))?;
    }
    let mut words: [*const c_char; 3] = [c"auto".as_ptr(), c"required".as_ptr(), c"off".as_ptr()];
    let default = with(|state| choice_index(state.settings.archive));
    // SAFETY: as above; the arrays have the three elements that are announced, and are copied.
    let status = unsafe {
        api!(RedisModule_RegisterEnumConfig(
            ctx.raw(),
            CHOICE.as_ptr(),
            default,
            0,
            words.as_mut_ptr(),
            [0, 1, 2].as_ptr(),
            3,
            Some(get_choice),
            Some(set_choice),
            None,
            ptr::null_mut(),
        ))
    };
    (status == OK).then_some(()).ok_or_else(|| failed(CHOICE))?;
    // SAFETY: a live context; all settings are registered.
    if unsafe { api!(RedisModule_LoadConfigs(ctx.raw())) } != OK {
        return Err("a setting anomaly.* has a value that cannot be taken".into());
    }
    if with(|state| state.settings.archive) == Archive::Required && !effects::series_available(ctx)
    {
        return Err(
            "anomaly.archive is required, but TimeSeries is not loaded: load it before this module, or set anomaly.archive auto".into()
        );
    }
    Ok(())
}

/// Takes `name value` pairs, with or without `anomaly.` before the name.
fn apply_arguments(args: Args<'_>) -> Result<(), String> {
    for index in (0..args.len()).step_by(2) {
        let given = args.bytes(index);
        let name = given.strip_prefix(b"anomaly.").unwrap_or(given);
        let value = args
            .get(index + 1)
            .ok_or_else(|| format!("argument '{}' has no value", shown(given)))?
            .bytes();
        let bad = |expected: &str| {
            format!(
                "argument '{}' cannot be '{}': expected {expected}",
                shown(given),
                shown(value)
            )
        };
        let text = std::str::from_utf8(value).unwrap_or_default();
        if let Some(known) = TEXTS.iter().find(|known| known.to_bytes() == name) {
            check_key(value).map_err(|expected| bad(&expected))?;
            with(|state| *text_of(&mut state.settings, known) = value.to_vec());
        } else if let Some((known, most)) =
            NUMBERS.iter().find(|(known, _)| known.to_bytes() == name)
        {
            let n = text.parse().ok().filter(|n| (0..=*most).contains(n));
            let n = n.ok_or_else(|| bad(&format!("a whole number from 0 to {most}")))?;
            with(|state| put_number(&mut state.settings, known, n));
        } else if name == CHOICE.to_bytes() {
            let choice = ARCHIVE
                .iter()
                .find(|(word, _)| *word == text)
                .ok_or_else(|| bad("auto, required or off"))?
                .1;
            with(|state| state.settings.archive = choice);
        } else {
            return Err(format!(
                "unknown argument '{}': expected alerts-key, alerts-maxlen, archive, dead-key, max-future or max-sensors, each with a value",
                shown(given)
            ));
        }
    }
    Ok(())
}

fn check_key(value: &[u8]) -> Result<(), String> {
    if value.is_empty() || value.contains(&0) {
        Err("a key without NUL bytes, not empty".into())
    } else {
        Ok(())
    }
}

fn text_of<'a>(settings: &'a mut Settings, name: &CStr) -> &'a mut Vec<u8> {
    if name == c"dead-key" {
        &mut settings.dead_key
    } else {
        &mut settings.alerts_key
    }
}

fn number(settings: &mut Settings, name: &CStr) -> c_longlong {
    match name.to_bytes() {
        b"max-future" => settings.max_future.cast_signed(),
        b"max-sensors" => settings.max_sensors.cast_signed(),
        _ => settings.alerts_maxlen,
    }
}

fn put_number(settings: &mut Settings, name: &CStr, n: c_longlong) {
    match name.to_bytes() {
        b"max-future" => settings.max_future = n.unsigned_abs(),
        b"max-sensors" => settings.max_sensors = n.unsigned_abs(),
        _ => settings.alerts_maxlen = n,
    }
}

fn choice_index(choice: Archive) -> c_int {
    ARCHIVE.iter().position(|(_, c)| *c == choice).unwrap_or(0) as c_int
}

/// The name of a setting without the module's: servers differ in whether they give it.
fn plain<'a>(name: *const c_char) -> &'a CStr {
    // SAFETY: the server gives the name under which the setting was registered, as a C string it keeps.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_bytes_with_nul().strip_prefix(b"anomaly.") {
        Some(rest) => CStr::from_bytes_with_nul(rest).unwrap_or(name),
        None => name,
    }
}

/// Refuses a value: the server frees the text.
fn refuse(error: *mut *mut raw::RedisModuleString, why: &str) -> c_int {
    // SAFETY: a null context is allowed for making strings; the server gives a place for the error.
    unsafe {
        if !error.is_null() {
            *error = Ctx::new(ptr::null_mut()).string(why.as_bytes()).into_raw();
        }
    }
    ERR
}

unsafe extern "C" fn get_text(name: *const c_char, _: *mut c_void) -> *mut raw::RedisModuleString {
    guard(ptr::null_mut(), || {
        let value = with(|state| text_of(&mut state.settings, plain(name)).clone());
        // SAFETY: a null context is allowed for making strings.
        let lent = unsafe { Ctx::new(ptr::null_mut()) }.string(&value);
        let raw = lent.raw();
        with(|state| state.settings.lent = Some(lent));
        raw
    })
}

unsafe extern "C" fn set_text(
    name: *const c_char,
    value: *mut raw::RedisModuleString,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard(ERR, || {
        // SAFETY: the server gives a live string.
        let value = unsafe { Str::new(value) }.bytes();
        if let Err(expected) = check_key(value) {
            return refuse(error, &format!("expected {expected}"));
        }
        with(|state| {
            *text_of(&mut state.settings, plain(name)) = value.to_vec();
            // Which streams are read depends on which ones the module writes.
            state.streams.clear();
            state.alert_streams.forget();
        });
        OK
    })
}

unsafe extern "C" fn get_number(name: *const c_char, _: *mut c_void) -> c_longlong {
    guard(0, || with(|state| number(&mut state.settings, plain(name))))
}

unsafe extern "C" fn set_number(
    name: *const c_char,
    value: c_longlong,
    _: *mut c_void,
    _: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard(ERR, || {
        with(|state| put_number(&mut state.settings, plain(name), value));
        OK
    })
}

unsafe extern "C" fn get_choice(_: *const c_char, _: *mut c_void) -> c_int {
    guard(0, || with(|state| choice_index(state.settings.archive)))
}

unsafe extern "C" fn set_choice(
    _: *const c_char,
    value: c_int,
    _: *mut c_void,
    error: *mut *mut raw::RedisModuleString,
) -> c_int {
    guard(ERR, || {
        let choice = ARCHIVE
            .get(value.unsigned_abs() as usize)
            .map_or(Archive::Auto, |(_, choice)| *choice);
        if choice == Archive::Required && with(|state| state.loaded && state.series_missing) {
            return refuse(error, "required, but TimeSeries is not loaded");
        }
        with(|state| state.settings.archive = choice);
        OK
    })
}
