//! `ANOMALY.RESET key`

use super::{Access, Arg, Keys, Spec, write};

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "1, or 0 if there is no such sensor",
    access: Access::WriteAlways,
    fast: true,
    keys: Keys::One(1),
    ..write(
        "anomaly.reset",
        "Forgets what the model of a sensor has learnt; its series stays",
        2,
        &[Arg::key()],
    )
};
