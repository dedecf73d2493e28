//! `ANOMALY.MADD key timestamp|* value [key timestamp|* value …]`

use super::add::WHEN;
use super::{Arg, ArgKind, Keys, Spec, write};

/// What it is.
pub const SPEC: Spec = Spec {
    reply: "an array of verdicts, an error in the place of each bad item",
    complexity: "O(N) with N readings",
    keys: Keys::Every(3),
    ..write(
        "anomaly.madd",
        "Adds several readings, of one sensor or many; a bad one is an error in its place and does not stop the others",
        -4,
        &[Arg::of(
            "reading",
            ArgKind::Block,
            &[Arg::key(), WHEN, Arg::new("value", ArgKind::Double)],
        )
        .multiple()],
    )
};
