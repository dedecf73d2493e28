//! Why: one sentence a person understands.

use crate::detect::{Detail, Finding, Kind};
use crate::episode::{Episode, Event};
use crate::model::{Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::text::{count, duration, number, resolved, rounded};
use crate::units::Side;

/// Why a reading got its verdict, or its transition.
#[must_use]
pub fn of_outcome(reading: Reading, outcome: &Outcome, profile: &Profile) -> String {
    match (&outcome.transition, &outcome.finding) {
        (Some((Event::Resolved, episode)), Some(finding)) => {
            of_return(reading, finding, episode, profile)
        }
        (Some((Event::Resolved, episode)), None) => {
            format!(
                "no detector is on any more; {}",
                of_length(episode, reading)
            )
        }
        (Some((Event::Firing, episode)), Some(finding)) if profile.for_readings > 1 => {
            let run = profile.for_readings.min(episode.readings);
            format!(
                "{}; {run} of {run} readings abnormal",
                of_finding(reading.value, finding, profile)
            )
        }
        (Some((Event::Repeat, episode)), Some(finding)) => {
            let since = duration(reading.at.since(episode.start).max(0));
            format!(
                "{}; still abnormal after {since}",
                of_finding(reading.value, finding, profile)
            )
        }
        (_, Some(finding)) => of_finding(reading.value, finding, profile),
        (_, None) => of_unjudged(reading, outcome, profile),
    }
}

fn of_unjudged(reading: Reading, outcome: &Outcome, profile: &Profile) -> String {
    let newest = outcome.newest.map_or(0, |newest| newest.at.millis());
    match outcome.verdict {
        Verdict::Late => format!("older than the newest reading ({newest}): archived, not scored"),
        Verdict::Duplicate => format!("the newest reading ({newest}) again: only counted"),
        Verdict::Warmup => format!("not enough readings yet: {} more needed", outcome.needed),
        _ if !profile.enabled => "the rule says enabled no: archived, not scored".into(),
        _ => match Kind::BUILT.iter().any(|kind| kind.is_on(profile)) {
            true => format!(
                "no detector can judge a second reading of one instant ({})",
                reading.at.millis()
            ),
            false => "no detector is on".into(),
        },
    }
}

fn of_return(reading: Reading, finding: &Finding, episode: &Episode, profile: &Profile) -> String {
    let run = episode.normal_run;
    format!(
        "{}; {run} of {run} readings normal, {}",
        of_finding(reading.value, finding, profile),
        of_length(episode, reading)
    )
}

fn of_length(episode: &Episode, reading: Reading) -> String {
    let (after, peak) = (
        duration(reading.at.since(episode.start).max(0)),
        rounded(episode.peak, 3),
    );
    format!("over after {after}, peak score {peak}")
}

/// What a detector found of a value.
#[must_use]
pub fn of_finding(value: f64, finding: &Finding, profile: &Profile) -> String {
    let unit = &profile.unit;
    let space = if unit.is_empty() { "" } else { " " };
    let said = format!("{}{space}{unit}", number(value));
    match finding.detail {
        Detail::Limit {
            warning,
            critical,
            held_by_margin,
        } => of_limit(
            &said,
            finding,
            warning,
            critical,
            held_by_margin,
            profile.limits.margin,
        ),
        Detail::Deviation {
            deviations,
            unit: sd,
            readings,
        } => {
            let mean = finding.expected.unwrap_or_default();
            let of = format!("of the last {}", count(readings as u64, "reading"));
            match finding.side {
                Side::None => format!("{said} is the mean {of}"),
                side if deviations.is_finite() => format!(
                    "{said} is {} sd {} the mean {} {of}",
                    rounded(deviations, 2.max(deviations.log10().max(0.0) as usize + 1)),
                    above(side),
                    resolved(mean, sd)
                ),
                side => format!(
                    "{said} is {} {}, the value {of} without exception",
                    above(side),
                    number(mean)
                ),
            }
        }
        Detail::Change { per_second } => {
            let moved = match finding.side {
                Side::High => "rose",
                Side::Low => "fell",
                Side::None => return format!("{said} has not changed"),
            };
            let speed = rounded(per_second.abs(), 3);
            let limit = number(finding.threshold);
            // Not the severity: what `direction` or `mindev` lets pass is no less fast.
            let than = if per_second.abs() > finding.threshold {
                "more than"
            } else {
                "within"
            };
            format!(
                "{said}: it {moved} by {speed}{space}{unit} per second, {than} the allowed {limit}"
            )
        }
    }
}

fn of_limit(
    said: &str,
    found: &Finding,
    warning: Option<f64>,
    critical: Option<f64>,
    held: bool,
    margin: f64,
) -> String {
    if found.severity.is_none() {
        return match (found.lower, found.upper) {
            (Some(low), Some(high)) => format!(
                "{said} is within the limits {} to {}",
                number(low),
                number(high)
            ),
            (Some(low), None) => format!("{said} is not below the limit {}", number(low)),
            (None, Some(high)) => format!("{said} is not above the limit {}", number(high)),
            (None, None) => format!("{said} is within the limits"),
        };
    }
    let limit = number(warning.or(critical).unwrap_or(found.threshold));
    if held {
        return format!(
            "{said} is inside the limit {limit} again, but not by the margin {}",
            number(margin)
        );
    }
    let side = above(found.side);
    match (warning, critical) {
        (Some(_), Some(critical)) => format!(
            "{said} is {side} the limit {limit} (critical at {})",
            number(critical)
        ),
        (None, Some(_)) => format!("{said} is {side} the critical limit {limit}"),
        _ => format!("{said} is {side} the limit {limit}"),
    }
}

fn above(side: Side) -> &'static str {
    match side {
        Side::High => "above",
        Side::Low => "below",
        Side::None => "at",
    }
}
