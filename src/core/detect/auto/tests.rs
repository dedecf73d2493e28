//! The contract of the detectors (see `detect/contract.rs`) for `auto`. Its statistic has no closed form: where the others
//! are asked at a deviation that is known to be at the threshold, here that deviation is looked for.

use super::*;
use crate::command::info;
use crate::detect::Detail;
use crate::episode::Event;
use crate::model::{Outcome, Verdict};
use crate::reason;
use crate::testing::{KEY, Noise, Sensor, at, get, names, reading};
use crate::units::Severity;

const MINUTE: i64 = 60_000;

/// A sensor that has read so many readings of noise around 20, one a minute.
fn noisy(settings: &str, readings: i64) -> Sensor {
    let mut sensor = Sensor::new(settings);
    let mut noise = Noise(11);
    for i in 0..readings {
        sensor.add(i * MINUTE, 20.0 + noise.next());
    }
    sensor
}

const READ: i64 = 300;

fn now(sensor: &mut Sensor, deviation: f64) -> Outcome {
    let expected = sensor.ask(READ * MINUTE, 20.0).finding.unwrap().expected;
    sensor.ask(READ * MINUTE, expected.unwrap() + deviation)
}

fn fires(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Warning | Verdict::Critical)
}

/// The smallest deviation to that side whose statistic is `times` the threshold.
fn at_ratio(sensor: &mut Sensor, side: f64, times: f64) -> f64 {
    let (mut inside, mut beyond) = (0.0, 1e6);
    for _ in 0..200 {
        let middle = (inside + beyond) / 2.0;
        if now(sensor, side * middle).finding.unwrap().ratio > times {
            beyond = middle;
        } else {
            inside = middle;
        }
    }
    beyond
}

#[test]
fn the_boundary_is_one_half_and_the_band_ends_there() {
    let mut sensor = noisy("auto on", READ);
    for side in [1.0, -1.0] {
        let unit = at_ratio(&mut sensor, side, 1.0);
        let beyond = now(&mut sensor, side * unit);
        assert!(fires(&beyond) && beyond.score() > 0.5, "{beyond:?}");
        assert!((beyond.score() - 0.5).abs() < 1e-6);
        let inside = now(&mut sensor, side * unit * 0.9999);
        assert!(
            inside.verdict == Verdict::Normal && inside.score() < 0.5,
            "{inside:?}"
        );
        let found = inside.finding.unwrap();
        let edge = if side > 0.0 { found.upper } else { found.lower };
        let reach = (edge.unwrap() - found.expected.unwrap()).abs();
        assert!((reach / unit - 1.0).abs() < 1e-3, "{reach} {unit}");
    }
}

#[test]
fn the_score_rises_with_the_deviation_on_both_sides() {
    let mut sensor = noisy("auto on", READ);
    for side in [1.0, -1.0] {
        let unit = at_ratio(&mut sensor, side, 1.0);
        let scores: Vec<f64> = [0.5, 1.0, 1.1, 1.5, 3.0, 10.0, 1e3, 1e6]
            .map(|times| now(&mut sensor, side * unit * times).score())
            .into();
        assert!(scores.windows(2).all(|p| p[0] < p[1]), "{scores:?}");
        assert!(*scores.last().unwrap() < 1.0);
    }
    assert!(now(&mut sensor, 0.0).score() < 0.5);
}

#[test]
fn a_statistic_is_critical_at_the_factor() {
    for (settings, factor) in [("auto on", 1.5), ("auto on critical 2", 2.0)] {
        let mut sensor = noisy(settings, READ);
        let unit = at_ratio(&mut sensor, 1.0, factor);
        let severity =
            |sensor: &mut Sensor, deviation| now(sensor, deviation).finding.unwrap().severity;
        assert_eq!(
            severity(&mut sensor, unit * 1.0001),
            Some(Severity::Critical)
        );
        assert_eq!(
            severity(&mut sensor, unit * 0.9999),
            Some(Severity::Warning)
        );
    }
}

#[test]
fn nothing_fires_before_the_warmup_is_over_and_the_readings_needed_count_down() {
    for (settings, needed) in [
        ("auto on", WARMUP),
        ("auto on warmup 12", 12),
        ("auto on warmup 200", 200),
    ] {
        let mut sensor = Sensor::new(settings);
        let mut noise = Noise(5);
        for i in 0..needed {
            let outcome = sensor.add(i64::from(i) * 1000, 7.0 + 1e-3 * noise.next());
            assert_eq!(
                (outcome.verdict, outcome.needed, outcome.score()),
                (Verdict::Warmup, needed - i, 0.0),
                "{settings}"
            );
        }
        let first = sensor.add(i64::from(needed) * 1000, 1e6);
        assert!(
            fires(&first) && first.transition.is_some(),
            "{settings} {first:?}"
        );
    }
}

#[test]
fn direction_watches_the_side_it_names() {
    for (settings, up, down) in [
        ("auto on direction both", true, true),
        ("auto on direction high", true, false),
        ("auto on direction low", false, true),
    ] {
        let mut sensor = noisy(settings, READ);
        for (deviation, expected) in [(50.0, up), (-50.0, down)] {
            let outcome = now(&mut sensor, deviation);
            assert_eq!(fires(&outcome), expected, "{settings} {deviation}");
            assert_eq!(outcome.score() > 0.5, expected);
            let found = outcome.finding.unwrap();
            assert_eq!((found.upper.is_some(), found.lower.is_some()), (up, down));
        }
    }
}

#[test]
fn deviations_below_mindev_never_fire() {
    let mut sensor = noisy("auto on mindev 30", READ);
    for side in [1.0, -1.0] {
        assert!(!fires(&now(&mut sensor, side * 29.999)));
        assert!(now(&mut sensor, side * 29.999).score() < 0.5);
        assert!(fires(&now(&mut sensor, side * 30.001)));
    }
}

/// Noise with events, one reading a minute.
fn eventful(seed: u64) -> Vec<(i64, f64)> {
    let mut noise = Noise(seed);
    (0..2000)
        .map(|i| {
            let event = match i % 400 {
                300 => 9.0,
                350..360 => -4.0,
                _ => 0.0,
            };
            (i * MINUTE, 20.0 + noise.next() + event)
        })
        .collect()
}

fn verdicts(readings: impl Iterator<Item = (i64, f64)>) -> Vec<Verdict> {
    let mut sensor = Sensor::new("auto on");
    readings
        .map(|(ms, value)| sensor.add(ms, value).verdict)
        .collect()
}

#[test]
fn verdicts_do_not_depend_on_the_unit_or_the_level() {
    for seed in 0..5 {
        let plain = verdicts(eventful(seed).into_iter());
        assert!(
            plain
                .iter()
                .filter(|v| **v != Verdict::Normal && **v != Verdict::Warmup)
                .count()
                >= 5
        );
        for (scale, offset) in [
            (1e-9, 0.0),
            (1e9, 0.0),
            (1024.0, 0.0),
            (-1.0, 0.0),
            (1.0, 1e6),
            (1e-300, 0.0),
            (1e300, 0.0),
        ] {
            let moved = eventful(seed)
                .into_iter()
                .map(|(ms, x)| (ms, (x + offset) * scale));
            let differ = verdicts(moved)
                .iter()
                .zip(&plain)
                .filter(|(a, b)| a != b)
                .count();
            assert!(differ <= 2, "×{scale} +{offset}: {differ} differ");
        }
    }
}

#[test]
fn an_event_fires_once_and_holds_its_episode_until_readings_are_normal_again() {
    let mut sensor = noisy("auto on clear 3", READ);
    let mut noise = Noise(23);
    let mut events = vec![];
    for i in 0..200 {
        let event = if i < 40 { 8.0 } else { 0.0 };
        let outcome = sensor.add((READ + i) * MINUTE, 20.0 + noise.next() + event);
        assert_eq!(outcome.score() > 0.5, fires(&outcome), "{outcome:?}");
        if let Some((event, _)) = outcome.transition {
            events.push((i, event));
        }
    }
    assert_eq!(events.first().unwrap(), &(0, Event::Firing));
    let resolved = events
        .iter()
        .find(|(_, event)| *event == Event::Resolved)
        .unwrap();
    assert!(resolved.0 >= 42, "{events:?}");
    assert_eq!(
        events.iter().filter(|(_, e)| *e == Event::Firing).count(),
        1
    );
}

#[test]
fn with_for_as_many_readings_in_a_row_must_be_abnormal() {
    let mut sensor = noisy("auto on for 3", READ);
    let fired: Vec<bool> = (0..5)
        .map(|i| sensor.add((READ + i) * MINUTE, 60.0).transition.is_some())
        .collect();
    assert_eq!(fired, [false, false, true, false, false]);
}

#[test]
fn with_learn_no_abnormal_readings_do_not_move_the_baseline() {
    for (settings, moves) in [("auto on learn no", false), ("auto on learn yes", true)] {
        let mut sensor = noisy(settings, READ);
        let before = sensor.model.auto.as_ref().cloned().unwrap();
        for i in 0..20 {
            sensor.add((READ + i) * MINUTE, 500.0);
        }
        let after = sensor.model.auto.as_ref().unwrap();
        assert_eq!(after.tracks != before.tracks, moves, "{settings}");
        assert_eq!(after.profile != before.profile, moves, "{settings}");
    }
}

#[test]
fn a_sensor_that_never_changed_fires_on_its_first_change_and_learns_to_live_with_it() {
    let mut sensor = Sensor::new("auto on");
    for i in 0..1440 {
        assert!(!fires(&sensor.add(i * MINUTE, 7.3)));
    }
    let found = sensor.add(1440 * MINUTE, 7.31);
    assert!(fires(&found), "{found:?}");
    let mut noise = Noise(3);
    let mut alarms = 0;
    for i in 1441..4000 {
        let outcome = sensor.add(i * MINUTE, 7.3 + 0.1 * noise.next());
        alarms += i32::from(matches!(outcome.transition, Some((Event::Firing, _))));
    }
    assert!(alarms <= 3, "{alarms}");
    assert!(sensor.model.alarm.open().is_none());
}

#[test]
fn a_noisy_sensor_that_is_stuck_is_found_and_said_to_be() {
    let mut sensor = noisy("auto on", 2880);
    let mut said = String::new();
    for i in 0..60 {
        let at = (2880 + i) * MINUTE;
        let outcome = sensor.add(at, 20.1);
        if outcome
            .transition
            .as_ref()
            .is_some_and(|(e, _)| *e == Event::Firing)
        {
            said = reason::of_outcome(reading(at, 20.1), &outcome, &sensor.profile());
        }
    }
    assert_eq!(said, "20.1: the signal varies far less than it used to");
}

#[test]
fn what_is_usual_at_a_time_of_day_is_learnt_and_told() {
    let mut sensor = Sensor::new("auto on unit °C");
    let mut noise = Noise(9);
    let day = 1440;
    let value = |i: i64| if i % day < day / 2 { 10.0 } else { 30.0 };
    for i in 0..10 * day + 200 {
        sensor.add(i * MINUTE, value(i) + noise.next());
    }
    // The morning's value in the afternoon is not unusual of late, but it is at this time of the day.
    let at = (10 * day + 1000) * MINUTE;
    let outcome = sensor.ask(at, 10.0);
    let found = outcome.finding.unwrap();
    assert!(fires(&outcome) && found.side == Side::Low, "{found:?}");
    assert!((found.expected.unwrap() - 30.0).abs() < 0.5, "{found:?}");
    let said = reason::of_outcome(reading(at, 10.0), &outcome, &sensor.profile());
    assert!(
        said.starts_with("10 °C is far from the ")
            && said.contains(" usual at this time of day (±0."),
        "{said}"
    );
    let same = sensor.ask((10 * day + 200) * MINUTE, 10.0);
    assert_eq!(same.verdict, Verdict::Normal);
    let said = reason::of_outcome(reading(0, 10.0), &same, &sensor.profile());
    assert!(said.starts_with("10 °C is unremarkable: "), "{said}");
}

#[test]
fn a_reading_is_said_to_be_far_only_where_it_lies_outside_its_own_band() {
    let mut far = 0;
    for seed in 0..40 {
        let mut sensor = Sensor::new("auto on budget 86400000");
        let mut noise = Noise(seed);
        for i in 0..3000 {
            // Now and then it lies higher for a while, by more each time.
            let more = if i % 500 > 440 { (i / 500) as f64 } else { 0.0 };
            let value = 20.0 + more + noise.next();
            let outcome = sensor.ask(i * MINUTE, value);
            sensor.add(i * MINUTE, value);
            let Some(found) = outcome.finding.filter(|_| fires(&outcome)) else {
                continue;
            };
            let said = reason::of_finding(value, &found, &sensor.profile());
            let inside = found.lower.unwrap() <= value && value <= found.upper.unwrap();
            if said.contains(" is far from ") {
                assert!(!inside, "{said}: {found:?}");
                far += 1;
            }
            // The same finding at a reading that is as usual: what is odd then are those before.
            let usual = found.expected.unwrap();
            let said = reason::of_finding(usual, &found, &sensor.profile());
            assert!(!said.contains(" is far from "), "{said}");
        }
    }
    assert!(far > 20, "{far}");
}

#[test]
fn another_season_begins_another_profile_and_keeps_the_rest() {
    let mut sensor = noisy("auto on", READ);
    let before = sensor.model.auto.as_ref().cloned().unwrap();
    sensor.set("season 3600000");
    sensor.add(READ * MINUTE, 20.0);
    let after = sensor.model.auto.as_ref().unwrap();
    assert_eq!(after.profile.readings.iter().filter(|n| **n > 0).count(), 1);
    assert_eq!(after.readings, before.readings + 1);
}

#[test]
fn a_repeated_reading_changes_nothing_but_its_counter() {
    let mut sensor = noisy("auto on", READ);
    let newest = sensor.model.newest().unwrap();
    let (before, count) = (sensor.stored(), sensor.model.duplicates);
    sensor.add(newest.at.millis(), newest.value);
    sensor.model.duplicates = count;
    assert_eq!(sensor.stored(), before);
}

#[test]
fn a_longer_budget_takes_more_to_fire() {
    let thresholds = ["86400000", "2592000000", "31536000000"].map(|budget| {
        let mut sensor = noisy(&format!("auto on budget {budget}"), READ);
        now(&mut sensor, 1.0).finding.unwrap().threshold
    });
    assert!(
        thresholds[0] < thresholds[1] && thresholds[1] < thresholds[2],
        "{thresholds:?}"
    );
}

#[test]
fn info_tells_expected_value_band_and_threshold() {
    let mut sensor = noisy("auto on", READ);
    let profile = sensor.profile();
    let told = info::reply(KEY, &sensor.model, &profile, at(READ * MINUTE), 0);
    let auto = get(get(&told, "detectors"), "auto");
    assert_eq!(
        names(auto),
        [
            "score",
            "threshold",
            "warm",
            "needed",
            "expected",
            "lower",
            "upper"
        ]
    );
    let numbers = crate::testing::doubles(auto);
    assert_eq!(numbers.len(), 5, "{auto:?}");
    assert!(numbers[3] < numbers[2] && numbers[2] < numbers[4]);
}

#[test]
fn it_takes_the_bytes_that_are_documented() {
    assert_eq!(size_of::<Auto>(), BYTES);
    let sensor = noisy("auto on", READ);
    assert!(sensor.model.bytes() <= 1024, "{}", sensor.model.bytes());
    assert!(matches!(
        sensor.model.auto.as_ref().unwrap().judge(
            reading(0, 1.0),
            None,
            &Sensor::new("").profile()
        ),
        Judgement::Scored(Finding {
            detail: Detail::Learnt { .. },
            ..
        })
    ));
}

/// Bytes on the heap for each sensor, beside the model itself.
const BYTES: usize = 808;

#[test]
fn after_the_first_change_of_a_sensor_that_stood_still_it_says_that_it_is_new() {
    let mut sensor = Sensor::new("auto on");
    for i in 0..2000 {
        sensor.add(i * 60_000, 20.0);
    }
    assert_eq!(sensor.add(2000 * 60_000, 25.0).verdict, Verdict::Critical);
    let mut noise = Noise(5);
    for i in 2001..2119 {
        let outcome = sensor.add(i * 60_000, 20.0 + noise.next());
        assert_eq!(outcome.verdict, Verdict::Warmup, "{i}");
        assert_eq!(i64::from(outcome.needed), 2119 - i, "{i}");
    }
    let warm = sensor.add(2119 * 60_000, 20.0 + noise.next());
    assert_eq!(warm.verdict, Verdict::Normal);
    assert_eq!(sensor.add(2120 * 60_000, 60.0).verdict, Verdict::Critical);
}
