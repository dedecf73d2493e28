//! The section `anomaly` of INFO.

use std::ffi::{CString, c_int, c_ulonglong};
#[cfg(debug_assertions)]
use std::sync::atomic::Ordering;

use anomaly_core::episode::Event;
use redis_module::raw;

use crate::datatype::totals;
use crate::fence::guard;
#[cfg(debug_assertions)]
use crate::server::SHORTENED;
use crate::server::{Ctx, OK, api};
use crate::settings::Archive;
use crate::state::with;

pub(crate) fn register(ctx: Ctx) -> Result<(), String> {
    // SAFETY: a live context and a callback of the type the server expects.
    let status = unsafe { api!(RedisModule_RegisterInfoFunc(ctx.raw(), Some(section))) };
    if status == OK {
        Ok(())
    } else {
        Err("the server refused the INFO section".into())
    }
}

unsafe extern "C" fn section(info: *mut raw::RedisModuleInfoCtx, _: c_int) {
    guard((), || {
        // SAFETY: the server gives a live info context; an empty name makes the section `anomaly`.
        if unsafe { api!(RedisModule_InfoAddSection(info, c"".as_ptr())) } != OK {
            return;
        }
        let text = |name: &str, value: &str| {
            let (name, value) = (
                CString::new(name).unwrap_or_default(),
                CString::new(value).unwrap_or_default(),
            );
            // SAFETY: a live info context and two C strings, which are copied.
            unsafe {
                api!(RedisModule_InfoAddFieldCString(
                    info,
                    name.as_ptr(),
                    value.as_ptr()
                ))
            };
        };
        let count = |name: &str, value: u64| {
            let name = CString::new(name).unwrap_or_default();
            // SAFETY: a live info context and a C string, which is copied.
            unsafe {
                api!(RedisModule_InfoAddFieldULongLong(
                    info,
                    name.as_ptr(),
                    value as c_ulonglong
                ))
            };
        };
        let (sensors, bytes) = totals();
        text("version", env!("CARGO_PKG_VERSION"));
        count("sensors", sensors);
        with(|state| {
            let counts = &state.counts;
            count("readings", counts.readings);
            count("warnings", counts.warnings);
            count("criticals", counts.criticals);
            count("late", counts.late);
            count("duplicates", counts.duplicates);
            count("refused", counts.refused);
            for (event, n) in Event::ALL.iter().zip(counts.alerts) {
                count(&format!("alerts_{}", event.word()), n);
            }
            if state.cluster {
                count("alert_streams", state.alert_streams.len() as u64);
            }
            count("alerts_failed", counts.alert_failures);
            count("suppressed", counts.suppressed);
            count("dead_letters", counts.dead_letters);
            text(
                "archive",
                match (state.settings.archive, state.series_missing) {
                    (Archive::Off, _) => "off",
                    (_, true) => "missing",
                    (_, false) => "on",
                },
            );
            count("archived", counts.archived);
            count("archive_failures", counts.archive_failures);
            count("archive_usec", counts.settled_nanoseconds / 1000);
            count("watched_streams", state.streams.watched() as u64);
            count("watches", state.watches.list().len() as u64);
            count("backlog_streams", state.cursors.len() as u64);
            count(
                "backlog_read",
                state.cursors.values().map(|cursor| cursor.read).sum(),
            );
            count("timed_sensors", state.timers.len() as u64);
            count("timer_looks", counts.looks);
            count("forgotten", counts.forgotten);
            count("rules", state.rules.list().len() as u64);
            count("open_episodes", state.open.len() as u64);
            count("bytes", bytes);
            #[cfg(debug_assertions)]
            {
                count("known", state.known.found());
                count("quiet", u64::from(state.quiet));
                count("replies_shortened", SHORTENED.load(Ordering::Relaxed));
            }
            count("hook_usec", counts.hook_microseconds());
            count("backtests", counts.backtests);
            count("backtest_running", u64::from(state.backtest.is_some()));
            count("backtest_slices", counts.backtest.count());
            count("backtest_usec", counts.backtest.microseconds());
            count("backtest_longest_usec", counts.backtest.longest());
            count("add_usec", counts.add_microseconds());
            text("timer_slices", &counts.timers.line());
            text("backlog_slices", &counts.backlog.line());
            text("backtest_slice_times", &counts.backtest.line());
        });
    });
}
