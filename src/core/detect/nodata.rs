//! No data: the time without a reading, by the clock of the server.
//!
//! The ratio is that time over `nodata`. No reading can show it: a timer of the server judges it (see
//! [`Model::silent`](crate::Model::silent)), and the next reading shows that it is over. `direction`, `mindev`, `warmup` and
//! `for` do not concern it.

use super::{Detail, Finding, HIGHEST_RATIO, Kind, severity};
use crate::profile::Profile;
use crate::units::Side;

/// Judges a time without a reading, in ms; `None`: one has just arrived.
#[must_use]
pub fn judge(ms: Option<i64>, profile: &Profile) -> Finding {
    let limit = profile.nodata.map_or(f64::INFINITY, |ms| ms as f64);
    let ratio = (ms.unwrap_or(0).max(0) as f64 / limit).min(HIGHEST_RATIO);
    Finding {
        kind: Kind::Nodata,
        ratio,
        severity: severity(ratio, profile),
        side: Side::None,
        threshold: limit,
        expected: None,
        lower: None,
        upper: None,
        detail: Detail::Silence { ms },
    }
}
