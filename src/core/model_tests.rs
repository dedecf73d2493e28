use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::detect::Kind;
use crate::ranks::Ranks;
use crate::testing::{KEY, Sensor, any_value, at, cases, reading};

fn rises(sensor: &mut Sensor, from: i64, n: i64) {
    for i in 0..n {
        sensor.add((from + i) * 1000, (i % 7) as f64);
    }
}

#[test]
fn a_reading_older_than_the_newest_is_archived_and_not_scored() {
    let mut sensor = Sensor::new("max 28");
    sensor.add(5000, 20.0);
    let before = sensor.model.clone();
    let late = sensor.add(4999, 99.0);
    assert_eq!(
        (late.verdict, late.archive, late.finding, late.transition),
        (Verdict::Late, true, None, None)
    );
    let after = &sensor.model;
    assert_eq!(
        (after.late, after.readings(), after.duplicates),
        (before.late + 1, before.readings(), before.duplicates)
    );
    assert_eq!(
        (after.newest, &after.alarm, after.mean, after.last),
        (before.newest, &before.alarm, before.mean, before.last)
    );
}

#[test]
fn the_newest_reading_again_is_only_counted() {
    let mut sensor = Sensor::new("max 28");
    sensor.add(5000, 31.0);
    for n in 1..4 {
        let again = sensor.add(5000, 31.0);
        assert_eq!(
            (again.verdict, again.archive, again.transition),
            (Verdict::Duplicate, false, None)
        );
        assert_eq!((sensor.model.duplicates, sensor.model.readings()), (n, 1));
    }
}

#[test]
fn the_newest_timestamp_with_another_value_is_scored_and_replaces_the_newest() {
    let mut sensor = Sensor::new("max 28 rate 1");
    sensor.add(5000, 20.0);
    let other = sensor.add(5000, 31.0);
    assert_eq!(
        (other.verdict, other.archive),
        (Verdict::Warning, true),
        "by its limit; `rate` skips it"
    );
    assert_eq!(
        (sensor.model.readings, sensor.model.newest()),
        (2, Some(reading(5000, 31.0)))
    );
    assert_eq!(
        sensor.add(5000, 20.0).verdict,
        Verdict::Normal,
        "the first value is not the newest any more"
    );
    let risen = sensor.add(6000, 21.5).finding.unwrap();
    assert_eq!(
        (risen.kind, risen.expected),
        (Kind::Rate, Some(20.0)),
        "`rate` goes on from the last value"
    );
}

#[test]
fn alone_rate_calls_a_second_value_of_one_instant_normal() {
    let mut sensor = Sensor::new("rate 1");
    sensor.add(5000, 20.0);
    let other = sensor.add(5000, 1e6);
    assert_eq!(
        (other.verdict, other.score(), other.finding),
        (Verdict::Normal, 0.0, None)
    );
}

#[test]
fn thirty_late_readings_in_a_row_are_stragglers_and_the_next_shows_a_clock_set_back() {
    let mut sensor = Sensor::new("zscore 3 window 5");
    rises(&mut sensor, 1000, 10);
    for i in 0..30 {
        assert_eq!(sensor.add(i, 3.0).verdict, Verdict::Late, "{i}");
    }
    let on = sensor.add(30, 3.0);
    assert_eq!(
        (on.verdict, sensor.model.newest(), on.archive),
        (Verdict::Normal, Some(reading(30, 3.0)), true)
    );
    assert_eq!(sensor.add(31, 3.0).verdict, Verdict::Normal, "it goes on");
    assert_eq!(sensor.add(31, 3.0).verdict, Verdict::Duplicate);
    assert_eq!((sensor.model.late, sensor.model.readings), (30, 12));
    assert_eq!(sensor.model.first, Some(at(1_000_000)));
}

#[test]
fn a_reading_in_order_ends_a_row_of_late_ones() {
    for (ms, value) in [(2_000_000, 4.0), (1_000_000, 3.0)] {
        let mut sensor = Sensor::new("");
        sensor.add(1_000_000, 3.0);
        for i in 0..30 {
            sensor.add(i, 3.0);
        }
        sensor.add(ms, value);
        assert_eq!(sensor.add(31, 3.0).verdict, Verdict::Late);
    }
}

#[test]
fn changed_rules_take_effect_at_the_next_reading_on_every_server_alike() {
    for (before, after) in [
        ("max 28", "max 25"),
        ("zscore 3 window 20", "window 5"),
        ("zscore 3 window 5", "window 20"),
        ("zscore 3 recent 9", "recent 4"),
        ("zscore 3", "zscore off rate 1"),
        ("zscore 3", "rate 1 max 100 recent 5"),
        ("zscore 3 rate 1 max 100", "enabled no"),
        ("rate 1", "zscore 3 window 5"),
    ] {
        let mut master = Sensor::new(before);
        rises(&mut master, 0, 40);
        let untouched = master.stored();
        master.set(after);
        assert_eq!(master.stored(), untouched, "{after}: not before a reading");

        // A replica that loads the model now, with the rules as they are now, of another history.
        let mut replica = Sensor::new("mindev 1");
        replica.set("mindev inherit");
        replica.set(before);
        replica.set(after);
        replica.model = codec::load(&untouched).unwrap();
        let [one, two] = [&mut master, &mut replica].map(|s| (s.add(40_000, 26.0), s.stored()));
        assert_eq!(one, two, "{after}");

        let mut fresh = Sensor::new(before);
        fresh.set(after);
        let (old, new) = (master.profile(), fresh.profile());
        assert_eq!(
            format!("{old:?}"),
            format!("{new:?}"),
            "{after}: as if set so from the start"
        );
        for i in 41..80 {
            assert_eq!(
                master.add(i * 1000, (i % 5) as f64),
                replica.add(i * 1000, (i % 5) as f64)
            );
        }
    }
    let mut sensor = Sensor::new("max 28");
    sensor.add(0, 26.0);
    sensor.set("max 25");
    assert_eq!(sensor.add(1000, 26.0).verdict, Verdict::Warning);
}

#[test]
fn a_renamed_sensor_goes_by_the_rules_of_its_new_name() {
    let mut sensor = Sensor::new("max 28");
    sensor
        .rules
        .set(b"other", &crate::testing::changes("max 10"))
        .unwrap();
    sensor.add(0, 20.0);
    sensor.model.renamed();
    let under = |model: &mut Model, rules: &mut Rules| {
        model.ingest(b"other", reading(1000, 20.5), rules).verdict
    };
    assert_eq!(
        under(&mut sensor.model, &mut sensor.rules),
        Verdict::Warning
    );
}

#[test]
fn looking_never_changes_what_is_stored() {
    let mut sensor = Sensor::new("zscore 3 window 5 recent 5");
    rises(&mut sensor, 0, 20);
    for settings in [
        "window 9",
        "recent 2",
        "zscore off max 1",
        "enabled no",
        "rate 2 max 1",
    ] {
        sensor.set(settings);
        let before = sensor.stored();
        let profile = sensor.profile();
        let told = crate::command::info::reply(KEY, &sensor.model, &profile, at(0), 0);
        assert!(matches!(told, crate::command::Reply::Map(_)));
        assert_eq!(sensor.stored(), before, "{settings}");
    }
}

#[test]
fn a_copy_has_learnt_the_same_and_has_no_open_episode() {
    let mut sensor = Sensor::new("zscore 3 window 5 max 28 cooldown 5000");
    rises(&mut sensor, 0, 20);
    assert!(sensor.add(20_000, 50.0).transition.is_some());
    let copy = sensor.model.copied();
    assert_eq!(copy.alarm.episode, None);
    assert_eq!(
        (
            &copy.window,
            copy.readings(),
            copy.mean,
            copy.alarm.episodes
        ),
        (
            &sensor.model.window,
            sensor.model.readings(),
            sensor.model.mean,
            1
        )
    );
    sensor
        .rules
        .set(b"other", &crate::testing::changes("max 1"))
        .unwrap();
    let mut source = sensor.model.clone();
    source.ingest(KEY, reading(21_000, 3.0), &mut sensor.rules);
    let by_name = source
        .copied()
        .ingest(b"other", reading(22_000, 3.0), &mut sensor.rules);
    assert_eq!(
        by_name.verdict,
        Verdict::Warning,
        "it goes by the rules of its own name"
    );
    let mut other = Sensor {
        model: copy,
        rules: std::mem::take(&mut sensor.rules),
    };
    for second in 21..40 {
        let told = other.add(second * 1000, 3.0);
        assert_eq!(told.transition, None, "it resolves nothing it never fired");
    }
    let fired = other
        .model
        .ingest(b"copy", reading(40_000, 50.0), &mut other.rules);
    assert_ne!(
        fired.transition.unwrap().1.sensor,
        crate::key::fingerprint(KEY)
    );
}

#[test]
fn a_window_that_grows_or_shrinks_keeps_its_newest_readings() {
    let mut sensor = Sensor::new("zscore 3 window 10");
    for i in 0..50 {
        sensor.add(i * 1000, i as f64);
    }
    let mean = |sensor: &mut Sensor| sensor.ask(99_000, 0.0).finding.unwrap().expected;
    assert_eq!(mean(&mut sensor), Some(44.5));
    sensor.set("window 4");
    assert_eq!(mean(&mut sensor), Some(47.5));
    sensor.add(50_000, 50.0);
    assert_eq!(mean(&mut sensor), Some(48.5));
    sensor.set("window 100");
    assert_eq!(mean(&mut sensor), Some(48.5), "what is gone is gone");
    sensor.add(51_000, 51.0);
    assert_eq!(mean(&mut sensor), Some(49.0), "and it grows from there");
}

#[test]
fn mean_and_deviation_are_of_all_readings_scored() {
    let mut sensor = Sensor::new("");
    let values = [3.0, 7.0, 7.0, 19.0];
    for (second, value) in (1..).zip(values) {
        sensor.add(second * 1000, value);
        sensor.add(second * 1000, value);
        if second > 1 {
            sensor.add(500, 1e9);
        }
    }
    assert_eq!((sensor.model.mean, sensor.model.readings), (9.0, 4));
    assert!((sensor.model.stddev() - 48f64.sqrt()).abs() < 1e-12);
    assert_eq!(Model::default().stddev(), 0.0);
}

#[test]
fn archiving_is_as_the_rule_says() {
    for (settings, archive) in [
        ("archive yes", true),
        ("archive no", false),
        ("enabled no", true),
    ] {
        assert_eq!(
            Sensor::new(settings).add(0, 1.0).archive,
            archive,
            "{settings}"
        );
    }
}

#[test]
fn a_disabled_sensor_is_not_scored() {
    let mut sensor = Sensor::new("max 28 zscore 3 enabled no");
    let outcome = sensor.add(0, 99.0);
    assert_eq!(
        (outcome.verdict, outcome.score(), outcome.transition),
        (Verdict::Normal, 0.0, None)
    );
}

#[test]
fn a_sensor_without_trouble_has_no_more_than_its_own_line_of_the_cache() {
    for (settings, bytes) in [
        ("max 28", 64),
        ("rate 50", 64),
        ("zscore 9", 64 + size_of::<Window>()),
        ("enabled no", 64),
    ] {
        let mut sensor = Sensor::new(settings);
        rises(&mut sensor, 0, 100);
        sensor.set("unit u");
        rises(&mut sensor, 100, 100);
        assert_eq!(sensor.model.bytes(), bytes, "{settings}");
        assert_eq!(codec::load(&sensor.stored()).unwrap().bytes(), bytes);
        // What it never had it is spared also when it is reset, renamed, copied and told of.
        sensor.model.renamed();
        sensor.model.reset();
        assert_eq!(sensor.model.copied().bytes(), 64);
    }
}

#[test]
fn mean_and_deviation_are_those_of_all_readings() {
    let mut sensor = Sensor::new("max 1e9");
    let values: Vec<f64> = (0..5000).map(|i| 1e6 + f64::from(i % 97) * 0.25).collect();
    for (i, value) in (0..).zip(&values) {
        sensor.add(i * 1000, *value);
        let n = i as f64 + 1.0;
        let all = &values[..=i as usize];
        let mean = all.iter().sum::<f64>() / n;
        let squares: f64 = all.iter().map(|x| (x - mean).powi(2)).sum();
        let naive = if n < 2.0 {
            0.0
        } else {
            (squares / (n - 1.0)).sqrt()
        };
        if i % 100 < 3 {
            let (mine, sd) = (sensor.model.mean(), sensor.model.stddev());
            assert!((mine - mean).abs() < 1e-6, "{i}: {mine} {mean}");
            assert!((sd - naive).abs() <= 1e-5 * naive, "{i}: {sd} {naive}");
        }
    }
}

#[test]
fn more_readings_than_32_bits_hold_are_counted() {
    let mut sensor = Sensor::new("max 28");
    rises(&mut sensor, 0, 3);
    sensor.model.readings = u32::MAX;
    rises(&mut sensor, 3, 2);
    assert_eq!(sensor.model.readings(), (1 << 32) + 1);
    let loaded = codec::load(&sensor.stored()).unwrap();
    assert_eq!(loaded.readings(), (1 << 32) + 1);
}

proptest! {
    #[test]
    fn a_verdict_and_a_score_are_kept_in_32_bits(score in 0.0..1.0f64, index in 0..4usize) {
        let verdict = Verdict::SCORED[index];
        for score in [score, 0.0, 0.5, 0.5 + f64::EPSILON, 1.0 - f64::EPSILON / 2.0] {
            let last = Last::new(verdict, score);
            prop_assert_eq!(last.verdict(), verdict);
            prop_assert!((last.score() - score).abs() < 1e-7 && last.score() < 1.0);
            prop_assert_eq!(last.score() > 0.5, score > 0.5);
        }
    }
}

#[test]
fn memory_is_bounded_by_the_rule_whatever_the_history() {
    let plain = size_of::<Model>();
    for (settings, most) in [
        ("max 28", plain),
        ("rate 5", plain),
        ("zscore 3", plain + size_of::<Window>()),
        (
            "zscore 3 rate 5 max 28",
            plain + size_of::<Window>() + 3 * 4,
        ),
        (
            "zscore 3 window 10000",
            plain + size_of::<Window>() + 10_000 * 4,
        ),
        (
            "mad 5",
            plain + size_of::<Window>() + size_of::<Ranks>() + 30 * 4 + 1,
        ),
        ("ewma 4", plain + size_of::<crate::detect::Ewma>()),
        ("cusum 6", plain + size_of::<crate::detect::Cusum>()),
        ("stuck 60000 nodata 60000 expire 90000 auto off", plain),
        (
            "max 28 recent 60",
            plain + size_of::<Recent>() + 60 * size_of::<Reading>(),
        ),
    ] {
        for history in ["", "zscore 3 window 9000 recent 9000 rate 1"] {
            let mut sensor = Sensor::new(settings);
            if !history.is_empty() {
                sensor = Sensor::new(history);
                rises(&mut sensor, 0, 12_000);
                sensor.set("zscore inherit rate inherit recent inherit window inherit unit u");
                sensor.set(settings);
            }
            rises(&mut sensor, 20_000, 12_000);
            let more = sensor.model.more.as_ref();
            assert!(more.is_none_or(|more| !more.is_none()));
            let most = most
                + more.map_or(0, |_| size_of::<More>())
                + more
                    .and_then(|more| more.alarm.episode.as_ref())
                    .map_or(0, |_| size_of::<crate::episode::Episode>());
            assert!(
                sensor.model.bytes() <= most,
                "{settings} after '{history}': {} > {most}",
                sensor.model.bytes()
            );
            let loaded = codec::load(&sensor.stored()).unwrap();
            assert!(
                loaded.bytes() <= most,
                "{settings} loaded: {} > {most}",
                loaded.bytes()
            );
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn every_reading_is_counted_exactly_once(steps in prop::collection::vec((-5..20i64, any_value()), 0..200), repeats in 0..3usize) {
        let mut sensor = Sensor::new("zscore 3 max 50");
        let (mut now, mut inputs) = (10_000_i64, 0);
        let mut seen = std::collections::HashMap::new();
        for (step, value) in steps {
            now = (now + step).max(0);
            for _ in 0..=repeats {
                *seen.entry(sensor.add(now, value).verdict.word()).or_insert(0) += 1;
                inputs += 1;
            }
        }
        let (readings, late, duplicates) = (sensor.model.readings(), sensor.model.late, sensor.model.duplicates);
        prop_assert_eq!(readings + u64::from(late + duplicates), inputs);
        let count = |word| seen.get(word).copied().unwrap_or(0);
        prop_assert_eq!((count("late"), count("duplicate")), (late, duplicates));
    }

    #[test]
    fn two_servers_that_read_the_same_hold_the_same_bytes(steps in prop::collection::vec((-5..20i64, any_value()), 0..100), change in 0..100usize) {
        // Rules that came to be in different ways, and a server that has looked at everything all the time.
        let (mut one, mut two) = (Sensor::new("zscore 2 window 7 recent 5"), Sensor::new("max 1"));
        two.set("max inherit recent 5 window 7");
        two.set("zscore 2");
        let mut now = 10_000_i64;
        for (i, (step, value)) in steps.into_iter().enumerate() {
            if i == change {
                one.set("window 3 rate 1 recent 0");
                two.set("recent 9 window 3");
                two.set("recent 0 rate 1");
            }
            now = (now + step).max(0);
            two.profile();
            prop_assert_eq!(one.add(now, value), two.add(now, value));
            prop_assert_eq!(one.stored(), two.stored());
        }
    }
}
