//! Why: one sentence a person understands.

use crate::detect::{Centre, Detail, Finding, Kind, Oddity};
use crate::episode::{Episode, Event};
use crate::model::{Outcome, Verdict};
use crate::profile::Profile;
use crate::reading::Reading;
use crate::text::{count, duration, lasting, number, resolved, rounded};
use crate::units::Side;

/// Why a reading got its verdict, or its transition.
#[must_use]
pub fn of_outcome(reading: Reading, outcome: &Outcome, profile: &Profile) -> String {
    match (&outcome.transition, &outcome.finding) {
        (Some((Event::Resolved, episode)), found) => {
            match outcome.own.as_ref().or(found.as_ref()) {
                Some(finding) => of_return(reading, finding, episode, profile),
                None => format!(
                    "no detector is on any more; {}",
                    of_length(episode, reading)
                ),
            }
        }
        (Some((Event::Firing, episode)), Some(finding))
            if profile.for_readings > 1 && finding.kind != Kind::Nodata =>
        {
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
        Verdict::Warmup => format!(
            "not enough readings yet: {} more needed, this one included",
            outcome.needed
        ),
        _ if !profile.enabled => "the rule says enabled no: archived, not scored".into(),
        _ => match Kind::JUDGING.iter().any(|kind| profile.has(*kind)) {
            true => format!(
                "no detector can judge a second reading of one instant ({})",
                reading.at.millis()
            ),
            false if profile.has(Kind::Nodata) => "no detector of values is on, only nodata".into(),
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
            from,
        } => of_deviation(&said, finding, deviations, sd, from),
        Detail::Sum { sum, unit: sd } => of_sum(&said, finding, sum, sd),
        Detail::Silence { ms: None } => format!("{said} has arrived: there is data again"),
        Detail::Silence { ms: Some(ms) } => format!(
            "no reading for {}, longer than the allowed {}; the last was {said}",
            lasting(ms),
            lasting(finding.threshold as i64)
        ),
        Detail::Unchanged { ms } => of_unchanged(&said, finding, ms),
        Detail::Learnt {
            odd, noise, ratio, ..
        } => {
            let inside = finding.lower.is_none_or(|lower| value >= lower)
                && finding.upper.is_none_or(|upper| value <= upper);
            of_learnt(&said, finding, odd, noise, ratio, inside, profile)
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

fn of_deviation(said: &str, finding: &Finding, deviations: f64, sd: f64, from: Centre) -> String {
    let last = |readings: usize| format!("of the last {}", count(readings as u64, "reading"));
    let (name, of, unit, more) = match from {
        Centre::Mean { readings } => ("mean", last(readings), "sd", ""),
        Centre::Median {
            readings,
            alike: true,
        } => (
            "median",
            last(readings),
            "sd",
            ", most of which are equal to it",
        ),
        Centre::Median { readings, .. } => ("median", last(readings), "robust sd", ""),
        Centre::WeightedMean => ("weighted mean", "of the past".into(), "sd", ""),
    };
    let centre = finding.expected.unwrap_or_default();
    match finding.side {
        Side::None => format!("{said} is the {name} {of}"),
        side if deviations.is_finite() => format!(
            "{said} is {} {unit} {} the {name} {} {of}{more}",
            multiple(deviations),
            above(side),
            resolved(centre, sd)
        ),
        side => format!(
            "{said} is {} {}, the value {of} without exception",
            above(side),
            number(centre)
        ),
    }
}

fn of_sum(said: &str, finding: &Finding, sum: f64, sd: f64) -> String {
    let (mean, side) = (finding.expected.unwrap_or_default(), above(finding.side));
    let mean = resolved(mean, sd);
    if finding.side == Side::None {
        return format!("{said}: no drift away from the mean {mean}");
    }
    if sum.is_infinite() {
        return format!("{said} is {side} {mean}, the value of all readings before");
    }
    let (sum, allowed) = (multiple(sum), number(finding.threshold));
    // As in the case of a change: not the severity.
    let than = if finding.ratio > 1.0 {
        "more than"
    } else {
        "within"
    };
    format!(
        "{said}: deviations {side} the mean {mean} add up to {sum} sd, {than} the allowed {allowed}"
    )
}

fn of_learnt(
    said: &str,
    finding: &Finding,
    odd: Oddity,
    noise: f64,
    ratio: f64,
    inside: bool,
    profile: &Profile,
) -> String {
    const DAY: u64 = 86_400_000;
    let usual = |seasonal: bool| match (seasonal, profile.season) {
        (true, DAY) => "usual at this time of day",
        (true, _) => "usual at this point of the cycle",
        (false, _) => "usual of late",
    };
    let expected = resolved(finding.expected.unwrap_or_default(), noise);
    let noise_said = rounded(noise, 2);
    match odd {
        // What is odd are the readings of late, and this one only as the last of them.
        Oddity::Value { seasonal } if ratio > 1.0 && inside => format!(
            "{said} is near the {expected} {} (±{noise_said}), but the readings before it were far from what was usual then",
            usual(seasonal)
        ),
        Oddity::Value { seasonal } if ratio > 1.0 => format!(
            "{said} is far from the {expected} {} (±{noise_said})",
            usual(seasonal)
        ),
        _ if ratio <= 1.0 => format!("{said} is unremarkable: {expected} is usual (±{noise_said})"),
        Oddity::Value { .. } | Oddity::Course => format!(
            "{said}: the signal takes another course than it used to ({expected} is usual, ±{noise_said})"
        ),
        Oddity::Level { from, to } => format!(
            "{said}: the level has moved from {} to {}",
            resolved(from, noise),
            resolved(to, noise)
        ),
        Oddity::Calm => format!("{said}: the signal varies far less than it used to"),
        Oddity::Lively => format!("{said}: the signal varies far more than it used to"),
        Oddity::Novel => format!(
            "{said}: the signal has not been in such a state before ({expected} is usual, ±{noise_said})"
        ),
    }
}

fn of_unchanged(said: &str, finding: &Finding, ms: Option<i64>) -> String {
    let allowed = lasting(finding.threshold as i64);
    match ms {
        None => format!("{said} has just changed"),
        Some(ms) if finding.ratio > 1.0 => format!(
            "{said} for {}, longer than the allowed {allowed} without any change",
            lasting(ms)
        ),
        Some(ms) => format!(
            "{said} for {}, within the allowed {allowed} without any change",
            lasting(ms)
        ),
    }
}

/// A multiple with two digits, or all before the point.
fn multiple(x: f64) -> String {
    rounded(x, 2.max(x.log10().max(0.0) as usize + 1))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Sensor, reading};

    /// The sentence for the last of these readings.
    fn said(settings: &str, readings: &[(i64, f64)]) -> String {
        let mut sensor = Sensor::new(settings);
        let mut said = String::new();
        for (ms, value) in readings {
            let outcome = sensor.add(*ms, *value);
            said = of_outcome(reading(*ms, *value), &outcome, &sensor.profile());
        }
        said
    }

    #[test]
    fn limits_are_told_with_the_side_and_the_unit() {
        let all = "critical-min 5 min 10 max 28 critical-max 35 unit °C";
        for (settings, value, expected) in [
            (all, 31.9, "31.9 °C is above the limit 28 (critical at 35)"),
            (all, 36.0, "36 °C is above the limit 28 (critical at 35)"),
            (all, 7.5, "7.5 °C is below the limit 10 (critical at 5)"),
            (all, 20.0, "20 °C is within the limits 10 to 28"),
            ("max 28", 31.0, "31 is above the limit 28"),
            ("min 10", 1.0, "1 is below the limit 10"),
            ("max 28", 28.0, "28 is not above the limit 28"),
            ("min 10", 10.0, "10 is not below the limit 10"),
            ("critical-max 35", 40.0, "40 is above the critical limit 35"),
            (
                "min 10 max 28 direction high",
                5.0,
                "5 is not above the limit 28",
            ),
            ("max 28 direction low", 99.0, "no detector is on"),
        ] {
            assert_eq!(said(settings, &[(0, value)]), expected);
        }
        let margin = "max 28 clear-margin 1";
        assert_eq!(
            said(margin, &[(0, 31.0), (1000, 27.5)]),
            "27.5 is inside the limit 28 again, but not by the margin 1"
        );
    }

    #[test]
    fn deviations_are_told_in_standard_deviations() {
        let past: Vec<(i64, f64)> = (0..5)
            .map(|i| (i * 1000, [-1.0, -1.0, 1.0, 1.0, 0.0][i as usize]))
            .collect();
        let then = |value| [&past[..], &[(5000, value)]].concat();
        let settings = "zscore 3 window 5 unit V";
        assert_eq!(
            said(settings, &then(4.8)),
            "4.8 V is 4.8 sd above the mean 0 of the last 5 readings"
        );
        assert_eq!(
            said(settings, &then(-123.4)),
            "-123.4 V is 123 sd below the mean 0 of the last 5 readings"
        );
        assert_eq!(
            said(settings, &then(0.0)),
            "0 V is the mean of the last 5 readings"
        );
        let still: Vec<(i64, f64)> = (0..6)
            .map(|i| (i * 1000, if i < 5 { 7.0 } else { 7.5 }))
            .collect();
        assert_eq!(
            said(settings, &still),
            "7.5 V is above 7, the value of the last 5 readings without exception"
        );
        assert_eq!(
            said(settings, &past[..2]),
            "not enough readings yet: 4 more needed, this one included"
        );
    }

    #[test]
    fn the_centre_that_a_value_deviates_from_is_named() {
        let seconds = |values: &[f64]| -> Vec<(i64, f64)> {
            (0..)
                .map(|second| second * 1000)
                .zip(values.iter().copied())
                .collect()
        };
        let unit_five = [-1.0, -1.0, 1.0, 1.0, 0.0];
        let then = |past: &[f64], value: f64| seconds(&[past, &[value]].concat());
        let mad = "mad 3 window 5 unit V";
        assert_eq!(
            said(mad, &then(&unit_five, 4.8)),
            "4.8 V is 3.2 robust sd above the median 0 of the last 5 readings"
        );
        assert_eq!(
            said(mad, &then(&unit_five, 0.0)),
            "0 V is the median of the last 5 readings"
        );
        assert_eq!(
            said(mad, &then(&[7.0, 7.0, 7.0, 7.0, 8.0], 9.0)),
            "9 V is 4.5 sd above the median 7 of the last 5 readings, most of which are equal to it"
        );
        assert_eq!(
            said(mad, &then(&[7.0; 5], 6.5)),
            "6.5 V is below 7, the value of the last 5 readings without exception"
        );
        let ewma = "ewma 3 alpha 0.5 warmup 2";
        assert_eq!(
            said(ewma, &then(&[-1.0, 1.0], -4.8)),
            "-4.8 is 4.8 sd below the weighted mean 0 of the past"
        );
        assert_eq!(
            said(ewma, &then(&[7.0; 5], 7.5)),
            "7.5 is above 7, the value of the past without exception"
        );
    }

    #[test]
    fn sums_are_told_with_the_mean_they_drift_away_from() {
        let drifts = |values: &[f64]| {
            let past = [-5.0, 5.0].into_iter().chain([0.0; 48]);
            let all: Vec<(i64, f64)> = (0..)
                .map(|second| second * 1000)
                .zip(past.chain(values.iter().copied()))
                .collect();
            said("cusum 5 drift 0 learn no unit °C", &all)
        };
        assert_eq!(
            drifts(&[4.0, 1.5]),
            "1.5 °C: deviations above the mean 0.1 add up to 5.3 sd, more than the allowed 5"
        );
        assert_eq!(
            drifts(&[-3.0]),
            "-3 °C: deviations below the mean 0 add up to 3 sd, within the allowed 5"
        );
        assert_eq!(drifts(&[0.0]), "0 °C: no drift away from the mean 0");
        let still: Vec<(i64, f64)> = (0..51)
            .map(|i| (i * 1000, if i < 50 { 7.0 } else { 8.0 }))
            .collect();
        assert_eq!(
            said("cusum 5", &still),
            "8 is above 7, the value of all readings before"
        );
    }

    #[test]
    fn standing_still_is_told_with_its_time() {
        let stuck = |ms: i64, value: f64| {
            let settings = "stuck 10800000 auto off unit °C";
            said(settings, &[(0, 21.4), (ms, value)])
        };
        assert_eq!(
            stuck(10_920_000, 21.4),
            "21.4 °C for 3 h 2 min, longer than the allowed 3 h without any change"
        );
        assert_eq!(
            stuck(300_000, 21.4),
            "21.4 °C for 5 min, within the allowed 3 h without any change"
        );
        assert_eq!(stuck(300_000, 21.5), "21.5 °C has just changed");
    }

    #[test]
    fn changes_are_told_per_second_and_are_never_called_allowed_when_they_are_not() {
        let moved = |settings: &str, value| said(settings, &[(0, 10.0), (2000, value)]);
        assert_eq!(
            moved("rate 1 unit °C", 34.0),
            "34 °C: it rose by 12 °C per second, more than the allowed 1"
        );
        assert_eq!(
            moved("rate 1", 9.0),
            "9: it fell by 0.5 per second, within the allowed 1"
        );
        assert_eq!(moved("rate 1", 10.0), "10 has not changed");
        assert_eq!(
            moved("rate 1 direction high", -10.0),
            "-10: it fell by 10 per second, more than the allowed 1"
        );
    }

    #[test]
    fn transitions_say_how_many_readings_and_how_long() {
        let limits = "max 28 for 2 clear 2 repeat 60000";
        let abnormal = [(0, 31.0), (60_000, 32.0)];
        assert_eq!(
            said(limits, &abnormal),
            "32 is above the limit 28; 2 of 2 readings abnormal"
        );
        let repeated = [&abnormal[..], &[(120_000, 33.0)]].concat();
        assert_eq!(
            said(limits, &repeated),
            "33 is above the limit 28; still abnormal after 2 min"
        );
        let over = [&abnormal[..], &[(120_000, 20.0), (180_000, 21.0)]].concat();
        assert_eq!(
            said(limits, &over),
            "21 is not above the limit 28; 2 of 2 readings normal, over after 3 min, peak score 0.533"
        );
    }

    #[test]
    fn what_was_not_judged_is_told_too() {
        assert_eq!(
            said("max 28", &[(5000, 1.0), (4000, 1.0)]),
            "older than the newest reading (5000): archived, not scored"
        );
        assert_eq!(
            said("max 28", &[(5000, 1.0), (5000, 1.0)]),
            "the newest reading (5000) again: only counted"
        );
        assert_eq!(
            said("enabled no", &[(5000, 1.0)]),
            "the rule says enabled no: archived, not scored"
        );
        assert_eq!(said("auto off", &[(5000, 1.0)]), "no detector is on");
        assert_eq!(
            said("rate 1", &[(5000, 1.0), (5000, 2.0)]),
            "no detector can judge a second reading of one instant (5000)"
        );
    }
}
