//! Fixed limits. They need no past, so they judge the very first reading.
//!
//! The ratio is 1 on the limit and grows by 1 for every half-width of the allowed range (with one limit only: for every
//! limit's own size) beyond it; with both limits it is the distance from the middle in half-widths.

use super::{Crossed, Detail, Finding, HIGHEST_RATIO, Judgement, Kind};
use crate::profile::{Limits, Profile};
use crate::units::{Severity, Side};

/// One side of the limits, mirrored so that beyond is always above.
struct Edge {
    side: Side,
    warning: Option<f64>,
    critical: Option<f64>,
    crossed: bool,
}

/// Judges a value by the fixed limits of a profile, of which at least one is on a side that is watched.
#[must_use]
pub fn judge(value: f64, profile: &Profile, crossed: Crossed) -> Judgement {
    let Limits {
        min,
        max,
        critical_min,
        critical_max,
        margin,
    } = profile.limits;
    let (low, high) = (min.or(critical_min), max.or(critical_max));
    let half_width = low
        .zip(high)
        .map(|(low, high)| high / 2.0 - low / 2.0)
        .filter(|w| *w > 0.0);
    let edges = [
        Edge {
            side: Side::High,
            warning: max,
            critical: critical_max,
            crossed: crossed.high,
        },
        Edge {
            side: Side::Low,
            warning: min,
            critical: critical_min,
            crossed: crossed.low,
        },
    ];
    edges
        .into_iter()
        .filter(|edge| profile.direction.watches(edge.side))
        .filter_map(|edge| edge.judge(value, half_width, margin))
        .map(|finding| Finding {
            lower: low.filter(|_| profile.direction.watches(Side::Low)),
            upper: high.filter(|_| profile.direction.watches(Side::High)),
            ..finding
        })
        .reduce(|a, b| {
            if (b.severity, b.ratio) > (a.severity, a.ratio) {
                b
            } else {
                a
            }
        })
        .map_or(Judgement::Skipped, Judgement::Scored)
}

impl Edge {
    fn judge(&self, value: f64, half_width: Option<f64>, margin: f64) -> Option<Finding> {
        let limit = self.warning.or(self.critical)?;
        let beyond = |limit: f64| {
            if self.side == Side::High {
                value - limit
            } else {
                limit - value
            }
        };
        let scale = half_width.unwrap_or(if limit == 0.0 { 1.0 } else { limit.abs() });
        let excess = beyond(limit) + if self.crossed { margin } else { 0.0 };
        let ratio = (1.0 + excess / scale).clamp(0.0, HIGHEST_RATIO);
        let critical = self.critical.filter(|critical| beyond(*critical) > 0.0);
        let severity = match critical {
            Some(_) => Some(Severity::Critical),
            None => (excess > 0.0).then_some(Severity::Warning),
        };
        Some(Finding {
            kind: Kind::Range,
            // Rounding must not move a reading across the boundary.
            ratio: if severity.is_some() {
                ratio.max(1.0 + f64::EPSILON)
            } else {
                ratio.min(1.0)
            },
            severity,
            side: if severity.is_some() {
                self.side
            } else {
                Side::None
            },
            threshold: critical.unwrap_or(limit),
            expected: None,
            lower: None,
            upper: None,
            detail: Detail::Limit {
                warning: self.warning,
                critical: self.critical,
                held_by_margin: severity.is_some() && beyond(limit) <= 0.0,
            },
        })
    }
}
