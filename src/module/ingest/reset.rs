//! A sensor that begins anew: because a client says so, or because its model broke.

use anomaly_core::Error;
use anomaly_core::alert::{Alert, End};
use anomaly_core::units::Timestamp;

use super::Given;
use crate::server::{Ctx, Key, Mode, Str};
use crate::state::with;
use crate::{datatype, effects, fence};

/// What follows from an error of [`judge`]. A model that broke is reset, here and on every replica, whose models went on:
/// whatever it holds now is not to be trusted. One that was made for the reading is taken away again: no replica has it.
#[cold]
pub(super) fn broken(
    ctx: Ctx,
    given: &Given<'_>,
    is_first: bool,
    error: Error,
) -> Result<(), Error> {
    if let Error::Broken = error {
        if is_first {
            unmake(ctx, given.sensor)?;
        } else {
            reset(ctx, given.sensor)?;
        }
    }
    Err(error)
}

/// Takes a sensor away that nobody has heard of yet.
fn unmake(ctx: Ctx, sensor: Str<'_>) -> Result<(), Error> {
    let mut key = Key::open(ctx, sensor, Mode::Change);
    if let Some(model) = datatype::model(&mut key)? {
        // Neither has anybody of an episode that the reading may have begun.
        model.reset();
        key.delete();
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
