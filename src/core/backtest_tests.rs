use super::*;
use crate::alert::Alert;
use crate::testing::{KEY, Noise, Sensor, at, changes, reading};

fn replay(settings: &str, from: i64, readings: &[(i64, f64)]) -> Report {
    let sensor = Sensor::new(settings);
    let rules = candidate(&sensor.rules, KEY, &[]).unwrap();
    let mut replay = Replay::new(KEY, rules, at(from), LISTED);
    for (ms, value) in readings {
        replay.take(reading(*ms, *value));
    }
    replay.finish()
}

/// Start, end and severity of each episode.
fn told(report: &Report) -> Vec<(i64, Option<i64>, Severity)> {
    let row = |found: &Found| {
        let end = found.end.map(Timestamp::millis);
        (found.start.millis(), end, found.severity)
    };
    report.list.iter().map(row).collect()
}

/// Start, end, severity and reason.
type Row = (i64, Option<i64>, String, String);

/// What the alerts of a live sensor tell: a row for each episode, with severity and reason of its gravest alert.
fn live(settings: &str, readings: &[(i64, f64)]) -> Vec<Row> {
    let mut sensor = Sensor::new(settings);
    let mut seen: Vec<(String, Row)> = vec![];
    for (ms, value) in readings {
        let outcome = sensor.add(*ms, *value);
        let profile = sensor.profile();
        let alert = Alert::of_outcome(KEY, reading(*ms, *value), &outcome, &profile, None);
        let Some(alert) = alert else { continue };
        let text = |name: &str| {
            let field = alert.fields.iter().find(|(n, _)| *n == name).unwrap();
            String::from_utf8(field.1.clone()).unwrap()
        };
        let (episode, start) = (text("episode"), text("start").parse().unwrap());
        if seen.last().is_none_or(|(name, _)| *name != episode) {
            seen.push((episode, (start, None, String::new(), String::new())));
        }
        let entry = &mut seen.last_mut().unwrap().1;
        match alert.event {
            Event::Resolved => entry.1 = Some(*ms),
            Event::Firing | Event::Escalated => {
                (entry.1, entry.2, entry.3) = (None, text("severity"), text("reason"));
            }
            _ => {}
        }
    }
    seen.into_iter().map(|(_, entry)| entry).collect()
}

/// Noise with excursions of several lengths and heights.
fn eventful(n: i64) -> Vec<(i64, f64)> {
    let mut noise = Noise(7);
    let mut readings = vec![];
    for i in 0..n {
        let event = match i % 97 {
            40..=44 => 12.0,
            60 => -25.0,
            80..=92 => (i % 97 - 79) as f64 * 4.0,
            _ => 0.0,
        };
        readings.push((i * 1000, 20.0 + noise.next() + event));
    }
    readings
}

#[test]
fn a_replay_of_all_readings_tells_the_episodes_that_live_alerts_told() {
    let readings = eventful(1500);
    for settings in [
        "zscore 3",
        "zscore 4 window 10 for 2 clear 2 learn no",
        "max 25 critical-max 40 clear-margin 1",
        "max 25 cooldown 60000 repeat 5000",
        "max 25 critical-max 40 cooldown 30000 clear 2",
        "rate 3 zscore 5 direction high",
        "mad 5 window 20",
        "ewma 4 alpha 0.2",
        "cusum 8 learn no",
        "stuck 3000 max 30 mindev 0.5",
        "enabled no",
    ] {
        let report = replay(settings, 0, &readings);
        let ours: Vec<_> = report
            .list
            .iter()
            .map(|found| {
                let end = found.end.map(Timestamp::millis);
                let severity = found.severity.word().to_owned();
                (found.start.millis(), end, severity, found.reason.clone())
            })
            .collect();
        assert_eq!(ours, live(settings, &readings), "{settings}");
        assert_eq!(report.tally.readings, 1500);
        assert_eq!(report.tally.episodes, ours.len() as u64);
        assert_eq!(ours.is_empty(), settings == "enabled no", "{settings}");
    }
}

#[test]
fn readings_before_the_range_teach_and_do_not_count() {
    let readings = eventful(1500);
    let settings = "zscore 3";
    let whole = replay(settings, 0, &readings);
    let part = replay(settings, 1_000_000, &readings);
    assert_eq!(part.tally.readings, 500);
    let later: Vec<Found> = whole
        .list
        .iter()
        .filter(|found| found.end.is_none_or(|end| end >= at(1_000_000)))
        .cloned()
        .collect();
    assert!(!later.is_empty() && later.len() < whole.list.len());
    assert_eq!(part.list, later);
}

#[test]
fn time_in_alarm_is_that_part_of_the_episodes_that_lies_in_the_range() {
    let readings: Vec<(i64, f64)> = (0..20)
        .map(|i| (i * 1000, if (3..8).contains(&i) { 30.0 } else { 20.0 }))
        .collect();
    // Abnormal from 3 s on, resolved by the third normal reading at 10 s.
    for (from, alarm, episodes) in [
        (0, 7000, 1),
        (5000, 5000, 1),
        (10_000, 0, 1),
        (10_001, 0, 0),
    ] {
        let report = replay("max 25", from, &readings);
        let tally = &report.tally;
        assert_eq!((tally.alarm, tally.episodes), (alarm, episodes), "{from}");
        assert_eq!(tally.kinds[Kind::Range as usize], episodes);
    }
    let report = replay("max 25", 0, &readings);
    assert_eq!(told(&report), [(3000, Some(10_000), Severity::Warning)]);
    let open = replay("max 25", 0, &readings[..7]);
    assert_eq!(told(&open), [(3000, None, Severity::Warning)]);
    assert_eq!((open.tally.alarm, open.list[0].readings), (3000, 4));
}

#[test]
fn an_episode_is_told_with_its_worst_reading_also_one_before_it_fired() {
    let readings = [
        (0, 20.0),
        (1000, 39.0),
        (2000, 30.0),
        (3000, 31.0),
        (4000, 20.0),
    ];
    let report = replay("max 25 for 2 clear 1", 0, &readings);
    let found = &report.list[0];
    assert_eq!((found.value, found.readings), (39.0, 4));
    assert_eq!(
        (found.start, found.end, found.side),
        (at(1000), Some(at(4000)), Side::High)
    );
    assert_eq!(
        found.reason,
        "30 is above the limit 25; 2 of 2 readings abnormal"
    );
    // A run that did not become an episode leaves nothing behind.
    let interrupted = [(0, 99.0), (1000, 20.0), (2000, 30.0), (3000, 31.0)];
    let report = replay("max 25 for 2", 0, &interrupted);
    assert_eq!(report.list[0].value, 31.0);
}

#[test]
fn an_episode_that_escalates_is_told_as_what_it_became() {
    let readings = [(0, 20.0), (1000, 30.0), (2000, 45.0), (3000, 30.0)];
    let report = replay("max 25 critical-max 40", 0, &readings);
    let found = &report.list[0];
    assert_eq!((found.severity, found.value), (Severity::Critical, 45.0));
    assert_eq!(found.reason, "45 is above the limit 25 (critical at 40)");
}

#[test]
fn an_episode_reopened_in_the_cooldown_is_one_and_its_silence_is_no_alarm() {
    let value = |i: i64| {
        if i == 2 || (6..12).contains(&i) {
            30.0
        } else {
            20.0
        }
    };
    let readings: Vec<(i64, f64)> = (0..20).map(|i| (i * 1000, value(i))).collect();
    // Fires at 2 s, resolved at 3 s, reopened silently at 6 s, told of again at 8 s when the cooldown is over.
    let report = replay("max 25 clear 1 cooldown 5000", 0, &readings);
    assert_eq!(told(&report), [(2000, Some(12_000), Severity::Warning)]);
    assert_eq!((report.tally.episodes, report.tally.alarm), (1, 5000));
    assert_eq!(live("max 25 clear 1 cooldown 5000", &readings).len(), 1);
}

#[test]
fn a_gap_between_readings_is_a_silence() {
    let minute = |m: i64| (m * 60_000, 20.0);
    // Every minute, then nothing for half an hour, then every minute.
    let readings: Vec<_> = (0..10).chain(40..50).map(minute).collect();
    let settings = "max 25 nodata 300000 critical 3 clear 2";
    let report = replay(settings, 0, &readings);
    let found = &report.list[0];
    assert_eq!(report.list.len(), 1);
    assert_eq!(
        (found.kind, found.severity),
        (Kind::Nodata, Severity::Critical)
    );
    assert_eq!(
        (found.start, found.end),
        (at(9 * 60_000), Some(at(41 * 60_000)))
    );
    assert_eq!(report.tally.kinds[Kind::Nodata as usize], 1);
    assert_eq!((report.tally.readings, found.value), (20, 20.0));
    // One no longer than is allowed is none, and a reading on the very instant is in time.
    assert!(replay("nodata 1860000", 0, &readings).list.is_empty());
    assert_eq!(replay("nodata 1800000", 0, &readings).list.len(), 1);
    // What came before the range does not count, and a silence after the last reading is not told of.
    assert!(replay(settings, 41 * 60_000 + 1, &readings).list.is_empty());
    assert!(replay(settings, 0, &readings[..10]).list.is_empty());
}

#[test]
fn a_silence_in_a_cooldown_is_told_of_when_that_is_over() {
    let all = [(0, 20.0), (10_000, 20.0), (1_000_000_000_000, 20.0)];
    let settings = "max 25 clear 1 nodata 1000 repeat 1000 cooldown 100000";
    // Resolved at 10 s, silent again from 11 s on, told of from 110 s on.
    let report = replay(settings, 0, &all);
    let end = Some(1_000_000_000_000);
    assert_eq!(told(&report), [(0, end, Severity::Critical)]);
    let alarm = 10_000 + (1_000_000_000_000 - 110_000);
    assert_eq!(report.tally.alarm, alarm);
}

#[test]
fn a_sensor_that_was_forgotten_begins_anew() {
    let mut readings: Vec<(i64, f64)> = (0..40).map(|i| (i * 1000, (i % 2) as f64)).collect();
    readings.push((40_000, 50.0));
    readings.extend((1000..1040).map(|i| (i * 1000, (i % 2) as f64)));
    readings.push((1_040_000, 50.0));
    let report = replay("zscore 3 expire 60000", 0, &readings);
    assert_eq!(
        told(&report),
        [
            (40_000, Some(100_000), Severity::Critical),
            (1_040_000, None, Severity::Critical)
        ]
    );
    assert_eq!(report.tally.readings, 82);
    // Not forgotten, the old spread makes the new one's first readings no warm-up.
    let kept = replay("zscore 3", 0, &readings);
    assert_eq!(kept.list[0].end, Some(at(1_002_000)));
}

#[test]
fn what_is_listed_is_bounded_and_what_is_counted_is_not() {
    let sensor = Sensor::new("max 25 clear 1");
    let rules = candidate(&sensor.rules, KEY, &[]).unwrap();
    let mut replay = Replay::new(KEY, rules, at(0), 3);
    for i in 0..100 {
        replay.take(reading(i * 1000, if i % 2 == 0 { 30.0 } else { 20.0 }));
    }
    let report = replay.finish();
    assert_eq!((report.list.len(), report.tally.episodes), (3, 50));
    assert_eq!(report.list[2].start, at(4000));
}

#[test]
fn a_candidate_lies_over_the_rules_of_the_sensor() {
    let sensor = Sensor::new("max 25 unit V");
    let run = |settings: &str| {
        let rules = candidate(&sensor.rules, KEY, &changes(settings)).unwrap();
        let mut replay = Replay::new(KEY, rules, at(0), LISTED);
        for (ms, value) in [(0, 28.0), (1000, 35.0)] {
            replay.take(reading(ms, value));
        }
        replay.finish()
    };
    assert_eq!(run("").list[0].reason, "28 V is above the limit 25");
    assert_eq!(run("max 30").list[0].reason, "35 V is above the limit 30");
    assert_eq!(run("max inherit").tally.episodes, 1);
    assert_eq!(run("max 40").tally.episodes, 0);
    assert_eq!(run("max -").tally.episodes, 0);
}

#[test]
fn of_many_sensors_those_with_the_most_episodes_are_told() {
    let report = |episodes: u64| Report {
        tally: Tally {
            readings: 10,
            episodes,
            alarm: episodes * 100,
            ..Tally::default()
        },
        list: vec![],
    };
    let mut fleet = Fleet::new(true);
    let n = 2 * TOLD as u64;
    for i in 0..n {
        // In an order of no meaning; every number comes twice.
        let episodes = (i * 7919 % n) / 2;
        let sides = Sides {
            candidate: report(episodes),
            current: Some(report(1)),
        };
        fleet.add(format!("s{i:03}").as_bytes(), sides);
    }
    assert_eq!((fleet.sensors, fleet.top.len()), (n, TOLD));
    let all: u64 = (0..n).map(|i| i / 2).sum();
    assert_eq!(fleet.total.candidate.episodes, all);
    assert_eq!(fleet.total.candidate.readings, 10 * n);
    assert_eq!(fleet.total.candidate.alarm, 100 * all);
    assert_eq!(fleet.total.current.as_ref().unwrap().episodes, n);
    let told: Vec<u64> = fleet
        .top
        .iter()
        .map(|(_, sides)| sides.candidate.tally.episodes)
        .collect();
    assert_eq!((told[0], told[1]), (99, 99));
    assert!(told.is_sorted_by(|a, b| a >= b) && told[TOLD - 1] == 50);
    let pairs = fleet.top.chunks(2);
    assert!(pairs.into_iter().all(|pair| pair[0].0 < pair[1].0));
}
