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
#[inline(always)]
#[must_use]
pub fn judge(value: f64, profile: &Profile, crossed: Crossed) -> Judgement {
    let Limits {
        min,
        max,
        critical_min,
        critical_max,
        half_width,
        margin,
    } = profile.limits;
    let (low, high) = (min.or(critical_min), max.or(critical_max));
    let watches = |side| profile.direction.watches(side);
    let found = |edge: Edge| {
        if watches(edge.side) {
            edge.judge(value, half_width, margin)
        } else {
            None
        }
    };
    let above = found(Edge {
        side: Side::High,
        warning: max,
        critical: critical_max,
        crossed: crossed.high,
    });
    let below = found(Edge {
        side: Side::Low,
        warning: min,
        critical: critical_min,
        crossed: crossed.low,
    });
    let finding = match (above, below) {
        (Some(above), Some(below))
            if (below.severity, below.ratio) > (above.severity, above.ratio) =>
        {
            below
        }
        (Some(found), _) | (None, Some(found)) => found,
        (None, None) => return Judgement::Skipped,
    };
    Judgement::Scored(Finding {
        lower: low.filter(|_| watches(Side::Low)),
        upper: high.filter(|_| watches(Side::High)),
        ..finding
    })
}

impl Edge {
    #[inline(always)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;
    use crate::testing::Sensor;

    fn found(settings: &str, value: f64) -> Finding {
        Sensor::new(settings).ask(0, value).finding.unwrap()
    }

    #[test]
    fn a_reading_on_the_limit_is_normal_and_the_very_next_number_is_not() {
        for limit in [28.0, 0.0, -5.0, 1e-310, 1.7e308, -1e300] {
            for (settings, beyond) in [
                (format!("max {limit:?}"), f64::next_up(limit)),
                (format!("min {limit:?}"), f64::next_down(limit)),
                (format!("critical-max {limit:?}"), f64::next_up(limit)),
                (format!("min {limit:?} max {limit:?}"), f64::next_up(limit)),
            ] {
                let on = found(&settings, limit);
                assert_eq!((on.severity, on.score()), (None, 0.5), "{settings}");
                let next = found(&settings, beyond);
                assert!(
                    next.severity.is_some() && next.score() > 0.5,
                    "{settings}: {next:?}"
                );
            }
        }
    }

    #[test]
    fn every_limit_has_its_own_side_and_severity() {
        let settings = "critical-min 5 min 10 max 28 critical-max 35";
        for (value, severity, side, threshold) in [
            (4.9, Some(Severity::Critical), Side::Low, 5.0),
            (5.0, Some(Severity::Warning), Side::Low, 10.0),
            (9.9, Some(Severity::Warning), Side::Low, 10.0),
            (10.0, None, Side::None, 10.0),
            (20.0, None, Side::None, 28.0),
            (28.0, None, Side::None, 28.0),
            (28.1, Some(Severity::Warning), Side::High, 28.0),
            (35.0, Some(Severity::Warning), Side::High, 28.0),
            (35.1, Some(Severity::Critical), Side::High, 35.0),
        ] {
            let f = found(settings, value);
            assert_eq!(
                (f.severity, f.side, f.threshold),
                (severity, side, threshold),
                "{value}"
            );
            assert_eq!(
                (f.expected, f.lower, f.upper),
                (None, Some(10.0), Some(28.0))
            );
        }
    }

    #[test]
    fn a_critical_limit_alone_knows_no_warning() {
        assert_eq!(
            found("critical-max 35", 35.1).severity,
            Some(Severity::Critical)
        );
        assert_eq!(found("critical-max 35", 34.9).severity, None);
    }

    #[test]
    fn with_two_limits_the_middle_scores_zero_and_with_one_the_far_side_does() {
        assert_eq!(found("min 10 max 30", 20.0).score(), 0.0);
        assert_eq!(found("min 10 max 30", 25.0).ratio, 0.5);
        assert_eq!(found("max 30", -1e9).score(), 0.0);
        assert_eq!(found("max 0", 1.0).ratio, 2.0, "a limit of 0 has no size");
    }

    #[test]
    fn limits_on_a_side_that_is_not_watched_are_not_there() {
        let f = found("min 10 max 28 direction high", 5.0);
        assert_eq!(
            (f.severity, f.lower, f.upper),
            (None, None, Some(28.0)),
            "5 is not within 10 to 28"
        );
        let outcome = Sensor::new("max 28 direction low").ask(0, 99.0);
        assert_eq!((outcome.verdict, outcome.finding), (Verdict::Normal, None));
    }
}
