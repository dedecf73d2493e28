use proptest::prelude::*;

use super::*;
use crate::detect::Auto;
use crate::silence::Silence;
use crate::testing::{KEY, Sensor, any_value, at, cases, reading};

/// One model for each shape that the stored form can take, made by readings alone.
fn stories() -> Vec<(&'static str, Sensor)> {
    let told = |settings: &str, readings: &[(i64, f64)]| {
        let mut sensor = Sensor::new(settings);
        for (ms, value) in readings {
            sensor.add(*ms, *value);
        }
        sensor
    };
    let mut acked = told(
        "zscore 3 window 5 max 28 critical-max 35 rate 100 recent 3 for 2",
        &[
            (1000, 20.0),
            (2000, 20.5),
            (2000, 20.5),
            (3000, 19.5),
            (1500, 19.0),
            (4000, 20.25),
            (5000, 19.75),
            (6000, 20.0),
            (7000, 31.0),
            (8000, 36.5),
            (7500, 20.0),
            (7600, 20.0),
        ],
    );
    acked.model.alarm.acknowledge(b"eva\xff").unwrap();
    let alarmed = [(1000, 36.0), (2000, 20.0), (3000, 36.0)];
    let limits = "max 28 critical-max 35 clear 1 cooldown 60000";
    vec![
        ("empty", Sensor::new("")),
        ("acked", acked),
        (
            "pending",
            told(
                "min -5 for 3 window 4",
                &[(1000, 1e-310), (2000, -1.7e308), (3000, -6.0)],
            ),
        ),
        ("cooling", told(limits, &alarmed[..2])),
        ("silent", told(limits, &alarmed)),
    ]
}

/// What version 2 has beside that.
fn later_stories() -> Vec<(&'static str, Sensor)> {
    let on = "zscore 3 mad 3 ewma 3 cusum 4 stuck 5000 nodata 60000 window 5 warmup 4";
    let told = |readings: &[f64]| {
        let mut sensor = Sensor::new(on);
        for (second, value) in (1..).zip(readings) {
            sensor.add(second * 1000, *value);
        }
        sensor.model.arrived = at(1_754_300_000_123);
        sensor
    };
    vec![
        ("warming", told(&[20.0, 20.5])),
        (
            "statistics",
            told(&[20.0, 20.5, 19.5, 20.25, 19.75, 20.0, 20.0]),
        ),
        // The cumulative sum is in alarm, and learns the next level.
        (
            "shifted",
            told(&[20.0, 20.5, 19.5, 20.25, 19.75, 31.0, 31.5, 31.5]),
        ),
        ("learnt", {
            let mut sensor = Sensor::new("auto on warmup 6 season 20000 stuck 5000");
            let values = [20.0, 20.5, 19.5, 20.25, 19.75, 20.0, 90.0, 91.5];
            for (second, value) in (1..).zip(values) {
                sensor.add(second * 1000, value);
            }
            sensor
        }),
    ]
}

fn all_stories() -> Vec<(&'static str, Sensor)> {
    stories().into_iter().chain(later_stories()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] * 16 + pair[1]) as u8)
        .collect()
}

/// What version 1 wrote. These files are never changed; another version gets files of its own.
const CORPUS: [(&str, &str); 5] = [
    ("empty", include_str!("corpus/model-v1-empty.hex")),
    ("acked", include_str!("corpus/model-v1-acked.hex")),
    ("pending", include_str!("corpus/model-v1-pending.hex")),
    ("cooling", include_str!("corpus/model-v1-cooling.hex")),
    ("silent", include_str!("corpus/model-v1-silent.hex")),
];

/// What version 2 wrote.
const CORPUS_2: [(&str, &str); 9] = [
    ("empty", include_str!("corpus/model-v2-empty.hex")),
    ("acked", include_str!("corpus/model-v2-acked.hex")),
    ("pending", include_str!("corpus/model-v2-pending.hex")),
    ("cooling", include_str!("corpus/model-v2-cooling.hex")),
    ("silent", include_str!("corpus/model-v2-silent.hex")),
    ("warming", include_str!("corpus/model-v2-warming.hex")),
    ("statistics", include_str!("corpus/model-v2-statistics.hex")),
    ("shifted", include_str!("corpus/model-v2-shifted.hex")),
    ("learnt", include_str!("corpus/model-v2-learnt.hex")),
];

/// What version 3 wrote.
const CORPUS_3: [(&str, &str); 9] = [
    ("empty", include_str!("corpus/model-v3-empty.hex")),
    ("acked", include_str!("corpus/model-v3-acked.hex")),
    ("pending", include_str!("corpus/model-v3-pending.hex")),
    ("cooling", include_str!("corpus/model-v3-cooling.hex")),
    ("silent", include_str!("corpus/model-v3-silent.hex")),
    ("warming", include_str!("corpus/model-v3-warming.hex")),
    ("statistics", include_str!("corpus/model-v3-statistics.hex")),
    ("shifted", include_str!("corpus/model-v3-shifted.hex")),
    ("learnt", include_str!("corpus/model-v3-learnt.hex")),
];

/// What version 4 writes.
const CORPUS_4: [(&str, &str); 9] = [
    ("empty", include_str!("corpus/model-v4-empty.hex")),
    ("acked", include_str!("corpus/model-v4-acked.hex")),
    ("pending", include_str!("corpus/model-v4-pending.hex")),
    ("cooling", include_str!("corpus/model-v4-cooling.hex")),
    ("silent", include_str!("corpus/model-v4-silent.hex")),
    ("warming", include_str!("corpus/model-v4-warming.hex")),
    ("statistics", include_str!("corpus/model-v4-statistics.hex")),
    ("shifted", include_str!("corpus/model-v4-shifted.hex")),
    ("learnt", include_str!("corpus/model-v4-learnt.hex")),
];

fn pinned_4(name: &str) -> Vec<u8> {
    unhex(CORPUS_4.iter().find(|(n, _)| *n == name).unwrap().1)
}

fn pinned_2(name: &str) -> Vec<u8> {
    unhex(CORPUS_2.iter().find(|(n, _)| *n == name).unwrap().1)
}

fn pinned(name: &str) -> Vec<u8> {
    unhex(CORPUS.iter().find(|(n, _)| *n == name).unwrap().1)
}

/// Versions before 3 kept a sum of squares: what it gives may differ in the last bit of single precision.
fn deviate_alike(loaded: &mut Model, made: &Model) {
    let (a, b) = (loaded.deviation, made.deviation);
    assert!((a - b).abs() <= 2.0 * f32::EPSILON * b, "{a} is not {b}");
    loaded.deviation = b;
}

#[test]
fn models_of_version_1_load_and_go_on() {
    for ((name, mut made), (file, text)) in stories().into_iter().zip(CORPUS) {
        assert_eq!(name, file);
        let mut loaded = Sensor {
            model: load(&unhex(text)).unwrap(),
            rules: std::mem::take(&mut made.rules),
        };
        // Version 1 knew no arrivals: the newest reading stands for its own.
        assert_eq!(
            loaded.model.arrived,
            loaded.model.newest().map_or(at(0), |newest| newest.at)
        );
        loaded.model.arrived = made.model.arrived;
        deviate_alike(&mut loaded.model, &made.model);
        let on = loaded.add(90_000, 36.0);
        std::mem::swap(&mut made.rules, &mut loaded.rules);
        assert_eq!(on, made.add(90_000, 36.0), "{name}");
        assert_eq!(loaded.stored(), made.stored(), "{name}");
    }
}

#[test]
fn what_a_model_of_version_1_knew_is_still_known() {
    let acked = load(&pinned("acked")).unwrap();
    assert_eq!(
        (acked.readings(), acked.late, acked.duplicates),
        (8, 3, 1),
        "the counters"
    );
    assert_eq!(acked.streak.length, 2);
    assert_eq!(
        (acked.first, acked.newest()),
        (Some(at(1000)), Some(reading(8000, 36.5)))
    );
    assert_eq!(
        (acked.verdict(), acked.scores().len()),
        (Verdict::Critical, 3)
    );
    assert_eq!(acked.window.as_ref().unwrap().len(), 5);
    let recent: Vec<_> = acked.recent.as_ref().unwrap().readings().copied().collect();
    assert_eq!(
        recent,
        [
            reading(6000, 20.0),
            reading(7000, 31.0),
            reading(8000, 36.5)
        ]
    );
    let episode = acked.alarm.open().unwrap();
    assert_eq!(
        (episode.start, episode.severity, episode.alerts),
        (at(7000), Severity::Critical, 2)
    );
    assert_eq!(episode.acked_by.as_deref(), Some(&b"eva\xff"[..]));
    assert!(episode.crossed.high && !episode.crossed.low);
    let phase = |name: &str| {
        let model = load(&pinned(name)).unwrap();
        model.alarm.episode.as_ref().map(|episode| episode.phase)
    };
    assert_eq!(phase("cooling"), Some(Phase::Cooling(at(62_000))));
    assert_eq!(phase("silent"), Some(Phase::Silent(at(62_000))));
    assert_eq!(phase("pending"), None);
    assert_eq!(load(&pinned("pending")).unwrap().alarm.abnormal_run, 2);
    assert_eq!(load(&pinned("empty")).unwrap().readings(), 0);
}

#[test]
fn models_of_versions_2_and_3_load_and_go_on() {
    let corpora = CORPUS_2.into_iter().zip(all_stories());
    for ((file, text), (name, mut made)) in corpora.chain(CORPUS_3.into_iter().zip(all_stories())) {
        assert_eq!(name, file);
        let mut loaded = Sensor {
            model: load(&unhex(text)).unwrap(),
            rules: std::mem::take(&mut made.rules),
        };
        deviate_alike(&mut loaded.model, &made.model);
        if let Some(auto) = made.model.auto.as_mut() {
            // Its `auto` had one expert less and begins anew; all else is kept.
            *auto = Auto::default();
            auto.fit(20_000);
            assert_eq!(loaded.model.auto.as_ref(), Some(&Auto::default()));
        }
        let on = loaded.add(90_000, 36.0);
        std::mem::swap(&mut made.rules, &mut loaded.rules);
        assert_eq!(on, made.add(90_000, 36.0), "{name}");
        assert_eq!(loaded.stored(), made.stored(), "{name}");
    }
}

#[test]
fn what_a_model_of_version_2_knew_is_still_known() {
    let statistics = load(&pinned_2("statistics")).unwrap();
    assert_eq!(
        (statistics.changed, statistics.arrived),
        (Some(at(6000)), at(1_754_300_000_123))
    );
    assert_eq!(statistics.ewma.as_ref().unwrap().seen, 7);
    assert_eq!(statistics.window.as_ref().unwrap().median(), 20.0);
    let cusum = |name| load(&pinned_2(name)).unwrap().cusum.clone().unwrap();
    assert_eq!(cusum("statistics").level.readings, 7);
    assert_eq!(cusum("statistics").next, Level::default());
    let shifted = cusum("shifted");
    assert_eq!((shifted.level.readings, shifted.next.readings), (5, 3));
    assert_eq!((shifted.above, shifted.below), (6.0, 0.0));
    let learnt = load(&pinned_2("learnt")).unwrap();
    assert_eq!(
        (learnt.readings(), learnt.newest()),
        (8, Some(reading(8000, 91.5)))
    );
    assert!(learnt.alarm.episode.as_ref().unwrap().kind == Kind::Auto);
}

#[test]
fn what_a_model_of_version_4_knew_is_still_known() {
    let learnt = load(&pinned_4("learnt")).unwrap();
    let auto = learnt.auto.as_ref().unwrap();
    assert_eq!((auto.readings, auto.anchor, auto.unit), (8, 20.0, 0.5));
    assert_eq!((auto.interval, auto.season), (1000.0, 20_000));
    assert!(learnt.alarm.episode.as_ref().unwrap().kind == Kind::Auto);
}

#[test]
fn the_stored_form_is_that_of_its_version() {
    assert_eq!(
        VERSION, 4,
        "a new version needs its own corpus, beside this"
    );
    for (name, sensor) in all_stories() {
        assert_eq!(
            hex(&sensor.stored()),
            hex(&pinned_4(name)),
            "{name}: the form has changed without a new version"
        );
    }
}

#[test]
fn a_truncated_or_lengthened_model_is_refused() {
    for (name, sensor) in all_stories() {
        let stored = sensor.stored();
        assert!(load(&stored).is_ok());
        for end in 0..stored.len() {
            assert!(
                matches!(load(&stored[..end]), Err(Error::Payload { .. })),
                "{name} cut at {end}"
            );
        }
        for more in [&[0][..], &[1], &stored] {
            let longer = [&stored, more].concat();
            assert!(
                matches!(load(&longer), Err(Error::Payload { .. })),
                "{name} lengthened"
            );
        }
    }
}

#[test]
fn another_version_is_refused() {
    for version in [0, VERSION + 1, 255] {
        let mut stored = Sensor::new("").stored();
        stored[0] = version;
        let refused = load(&stored).unwrap_err().to_string();
        assert!(refused.contains("version"), "{refused}");
    }
}

/// Damaged bytes are refused, or taken for exactly the model that they would be the stored form of; and such a model
/// works and can be stored again, or a hostile RESTORE would make the next RDB file unreadable.
fn survives(damaged: &[u8]) {
    let Ok(model) = load(damaged) else {
        return;
    };
    if damaged.first() == Some(&VERSION) {
        assert_eq!(save(&model), damaged, "it saves what it was loaded from");
    }
    let values = [20.0, 20.0, -1.7e308, 1e-310, 99.0, 20.0, 1.7e308];
    let steps: Vec<_> = (0..).map(|i| 1000 * i.min(1)).zip(values).collect();
    for settings in [
        "zscore 3 window 5 max 28 rate 1 recent 3 for 2 repeat 1000 cooldown 1000 clear 1",
        "zscore 3 window 2 recent 50 learn no",
        "mad 3 ewma 3 cusum 4 stuck 1000 window 5 warmup 0",
        "mad 3 ewma 3 alpha 1 cusum 1e300 drift 0 stuck 1 window 9 learn no critical 1000000",
        "auto on warmup 2 season 20000",
        "enabled no",
    ] {
        goes_on(&model, settings, &steps);
    }
}

/// The model takes in readings, each so many ms after the one before: whatever it is asked is finite, and what it becomes
/// can be loaded.
fn goes_on(model: &Model, settings: &str, steps: &[(i64, f64)]) {
    let mut sensor = Sensor::new(settings);
    sensor.model = model.clone();
    let mut now = model.newest().map_or(0, |newest| newest.at.millis());
    for (step, value) in steps {
        now = now.saturating_add(*step).max(0);
        let outcome = sensor.add(now, *value);
        let profile = sensor.profile();
        let told = [
            crate::command::info::reply(KEY, &sensor.model, &profile, at(0), 0),
            crate::command::add::explained(reading(now, *value), &outcome, &profile),
        ];
        for told in &told {
            let numbers = crate::testing::doubles(told);
            assert!(numbers.iter().all(|x| x.is_finite()), "{told:?}");
            assert!(!format!("{told:?}").contains("NaN"), "{told:?}");
        }
        let alert =
            crate::alert::Alert::of_outcome(KEY, reading(now, *value), &outcome, &profile, None);
        assert_eq!(alert.is_some(), outcome.transition.is_some());
        let stored = sensor.stored();
        let loaded = load(&stored).map(|model| save(&model));
        assert_eq!(
            loaded.as_ref(),
            Ok(&stored),
            "{settings}: {:?}",
            sensor.model
        );
    }
    sensor.model.alarm.acknowledge(b"x");
    assert!(load(&sensor.stored()).is_ok());
}

#[test]
fn every_single_flipped_bit_is_refused_or_harmless() {
    let corpus = CORPUS.iter().map(|(_, text)| unhex(text));
    let made = all_stories().into_iter().map(|(_, sensor)| sensor.stored());
    for stored in made.chain(corpus) {
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            survives(&damaged);
        }
    }
}

/// Rules under which every detector is on somewhere.
const ALL_ON: [&str; 4] = [
    "auto on warmup 2 season 20000",
    "auto on warmup 2 season 20000 learn no budget 3600000 for 2 clear 1 mindev 1e300",
    "zscore 3 mad 3 ewma 3 cusum 4 rate 1 stuck 1000 nodata 60000 window 5 warmup 2 recent 3",
    "mad 1e300 ewma 1e300 alpha 1 cusum 1e300 drift 0 window 2 warmup 0 learn no critical 1000000 max 1e308",
];

/// The awkward numbers, as they are stored.
fn extremes() -> Vec<Vec<u8>> {
    let singles = [
        0.0,
        1e-45,
        1e-30,
        1.0,
        1e7,
        1e16,
        1e19,
        1e30,
        1e32,
        -1e32,
        f32::MAX,
    ];
    let doubles = [
        0.0,
        5e-324,
        1e-30,
        1e30,
        1e32,
        -1e32,
        1e154,
        1e300,
        f64::MAX,
        f64::MIN,
    ];
    let counts = [1, 1 << 31, u64::MAX >> 1, u64::MAX];
    let singles = singles.iter().map(|x| x.to_le_bytes().to_vec());
    let doubles = doubles.iter().map(|x| x.to_le_bytes().to_vec());
    let counts = counts.iter().map(|x| x.to_le_bytes().to_vec());
    singles.chain(doubles).chain(counts).collect()
}

fn overwritten(stored: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in stored.iter_mut().skip(at).zip(with) {
        *byte = *new;
    }
}

/// The mean of the shape's odds is squared. The server could not start again from what this became.
#[test]
fn a_mean_of_auto_whose_square_is_beyond_all_bounds_is_refused_or_stays_loadable() {
    for mean in [1e15, 1e16, 1e19, 1e30, 1e32] {
        let mut model = load(&pinned_4("learnt")).unwrap();
        let auto = model.auto.as_mut().unwrap();
        {
            let odds = &mut auto.tracks.odds;
            (odds.mean, odds.variance) = ([mean; 4], [0.0; 4]);
        }
        (auto.readings, auto.varied) = (1000, 1000);
        assert_eq!(load(&save(&model)).is_ok(), mean <= 1e16, "{mean}");
        survives(&save(&model));
        // Nor does it go beyond by itself.
        goes_on(
            &load(&pinned_4("learnt")).unwrap(),
            ALL_ON[0],
            &[(1, f64::MAX), (1, f64::MIN), (1, 0.0)],
        );
    }
}

#[test]
fn a_stored_model_with_any_number_overwritten_is_refused_or_stays_loadable() {
    let steps = [(1000, f64::MAX), (0, 5e-324), (1, 20.0)];
    let (mut taken, mut refused) = (0, 0);
    for (name, text) in CORPUS_4 {
        let stored = unhex(text);
        for place in 1..stored.len() {
            for with in extremes() {
                let mut damaged = stored.clone();
                overwritten(&mut damaged, place, &with);
                let Ok(model) = load(&damaged) else {
                    refused += 1;
                    continue;
                };
                taken += 1;
                let settings = ALL_ON[if name == "learnt" {
                    place % 2
                } else {
                    2 + place % 2
                }];
                goes_on(&model, settings, &steps);
            }
        }
    }
    assert!(
        taken > 5000 && refused > 5000,
        "{taken} taken, {refused} refused"
    );
}

#[test]
fn what_no_model_can_have_written_is_refused() {
    fn window(model: &mut Model) -> &mut Window {
        model.window.as_mut().unwrap()
    }
    fn recent(model: &mut Model) -> &mut Recent {
        model.recent.as_mut().unwrap()
    }
    type Damage = fn(&mut Model);
    let damages: [(&str, Damage); 23] = [
        ("mean", |m| m.mean = f64::NAN),
        ("deviation", |m| m.deviation = -1.0),
        ("one score", |m| m.scores.as_mut().unwrap()[1] = 2.0),
        ("ten scores", |m| m.scores = Some(vec![0.0; 10].into())),
        ("streak", |m| m.streak.length = LateStreak::LONGEST + 1),
        ("first", |m| m.first = None),
        ("newest", |m| m.newest = None),
        ("readings", |m| m.readings = 0),
        ("infinite value", |m| {
            m.newest.as_mut().unwrap().value = f64::INFINITY;
        }),
        ("window of one", |m| window(m).capacity = 1),
        ("window too long", |m| {
            window(m).capacity = LONGEST as u16 + 1
        }),
        ("next beyond", |m| window(m).next = 5),
        ("next of a window not full", |m| window(m).capacity = 50),
        ("seen too few", |m| window(m).seen = 4),
        ("distance", |m| window(m).distances[0] = f32::INFINITY),
        ("squares", |m| window(m).squares = f64::NEG_INFINITY),
        ("peak", |m| window(m).peak = -1.0),
        ("changed later than read", |m| {
            m.changed = Some(at(8001));
        }),
        ("ewma of no number", |m| {
            m.ewma = Some(Box::new(Ewma {
                variance: f64::NAN,
                ..Ewma::default()
            }));
        }),
        ("ewma below nothing", |m| {
            m.ewma = Some(Box::new(Ewma {
                variance: -1.0,
                ..Ewma::default()
            }));
        }),
        ("cusum below nothing", |m| {
            m.cusum = Some(Box::new(Cusum {
                below: -1.0,
                ..Cusum::default()
            }));
        }),
        ("recent too long", |m| recent(m).capacity = LONGEST + 1),
        ("recent too full", |m| recent(m).capacity = 2),
    ];
    for (what, damage) in damages {
        let mut model = load(&pinned("acked")).unwrap();
        damage(&mut model);
        assert!(
            matches!(load(&save(&model)), Err(Error::Payload { .. })),
            "{what}"
        );
    }
}

#[test]
fn blocks_that_are_unknown_out_of_order_or_without_a_window_are_refused() {
    let stored = Sensor::new("").stored();
    let (end, body) = stored.split_last().unwrap();
    assert_eq!(*end, NO_MORE);
    let ewma = [&[2][..], &[0; 20]].concat();
    let with = |blocks: &[&[u8]]| load(&[body, &blocks.concat(), &[NO_MORE]].concat());
    assert!(with(&[&ewma]).is_ok());
    for (what, blocks) in [
        ("twice", &[&ewma[..], &ewma][..]),
        (
            "after a later one",
            &[&[&[3][..], &[0; 56]].concat(), &ewma],
        ),
        ("unknown", &[&[99]]),
        ("order of no window", &[&[&[1][..], &[0; 8]].concat()]),
    ] {
        assert!(matches!(with(blocks), Err(Error::Payload { .. })), "{what}");
    }
}

#[test]
fn counters_at_their_end_do_not_run_over() {
    let (_, sensor) = stories().swap_remove(1);
    let mut model = sensor.model;
    (model.readings, model.turns) = (u32::MAX, u32::MAX);
    (model.late, model.duplicates) = (u32::MAX, u32::MAX);
    model.window.as_mut().unwrap().seen = u32::MAX;
    model.recent.as_mut().unwrap().seen = u64::MAX;
    (model.alarm.abnormal_run, model.alarm.episodes) = (u32::MAX, u32::MAX);
    let episode = model.alarm.episode.as_mut().unwrap();
    (episode.readings, episode.normal_run, episode.alerts) = (u32::MAX, u32::MAX, u32::MAX);
    survives(&save(&model));
    let mut late = Sensor::new("");
    late.model = load(&save(&model)).unwrap();
    assert_eq!(late.add(0, 1.0).verdict, Verdict::Late);
    assert_eq!(late.add(8000, 36.5).verdict, Verdict::Duplicate);
    assert!(load(&late.stored()).is_ok());
}

fn settings() -> impl Strategy<Value = String> {
    let some = |all: &[&'static str]| prop::sample::select(all.to_vec());
    (
        some(&[
            "max 28",
            "zscore 2 window 4",
            "rate 5",
            "min 0 max 28 zscore 3 rate 9",
            "mad 3 window 4",
            "max 28 nodata 1000 expire 5000",
            "ewma 3 cusum 4 warmup 5",
            "zscore 3 mad 4 ewma 2 rate 9 cusum 4 stuck 1000 window 6 warmup 3",
            "",
        ]),
        some(&["", "recent 1", "recent 7"]),
        some(&[
            "",
            "for 2 clear 1",
            "clear 2 cooldown 5000",
            "clear 1 cooldown 60000 repeat 1000",
            "enabled no",
        ]),
        some(&["", "learn no", "clear-margin 2"]),
    )
        .prop_map(|(a, b, c, d)| format!("{a} {b} {c} {d}"))
}

/// A model after readings under one rule, then under another, with an acknowledgement between.
fn models() -> impl Strategy<Value = Sensor> {
    let value = prop_oneof![3 => 15.0..40.0f64, 1 => any_value()];
    let readings = || prop::collection::vec((-2000..4000i64, value.clone()), 0..40);
    (
        settings(),
        readings(),
        any::<bool>(),
        settings(),
        readings(),
    )
        .prop_map(|(first, before, ack, second, after)| {
            let mut sensor = Sensor::new(&first);
            let mut now = 100_000_i64;
            let mut reads = |sensor: &mut Sensor, readings: Vec<(i64, f64)>| {
                for (step, value) in readings {
                    now = (now + step).max(0);
                    sensor.add(now, value);
                }
            };
            reads(&mut sensor, before);
            if ack {
                let silence = Silence {
                    at: sensor
                        .model
                        .newest()
                        .map_or(at(0), |newest| newest.at)
                        .plus(2000),
                    ms: 2000,
                };
                sensor.model.silent(KEY, silence, &mut sensor.rules);
                sensor.model.alarm.acknowledge(b"eva");
            }
            sensor.rules.clear();
            sensor.set(&second);
            reads(&mut sensor, after);
            sensor
        })
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn a_model_loads_as_it_was_saved(sensor in models()) {
        let stored = sensor.stored();
        let loaded = load(&stored).unwrap();
        prop_assert_eq!(&save(&loaded), &stored);
        prop_assert_eq!(&*loaded, &*sensor.model, "what most lack");
        prop_assert_eq!(&loaded.window, &sensor.model.window);
        prop_assert_eq!(
            (loaded.readings, loaded.newest, loaded.first, loaded.last, loaded.mean, loaded.deviation),
            (sensor.model.readings, sensor.model.newest, sensor.model.first, sensor.model.last, sensor.model.mean, sensor.model.deviation)
        );
        prop_assert!(loaded.bytes() <= sensor.model.bytes());
    }

    #[test]
    fn damaged_bytes_are_refused_or_harmless(sensor in models(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut stored = sensor.stored();
        for (index, byte) in damage {
            let at = index.index(stored.len());
            stored[at] = byte;
        }
        survives(&stored);
    }

    #[test]
    fn a_damaged_model_that_loads_stays_loadable_whatever_it_reads_next(
        stored in prop::sample::select(CORPUS.iter().chain(&CORPUS_2).chain(&CORPUS_3).chain(&CORPUS_4).map(|(_, text)| unhex(text)).collect::<Vec<_>>()),
        // Three of four are of auto, which keeps most.
        learnt in 0..4u8,
        numbers in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(extremes())), 0..4),
        bits in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        settings in prop::sample::select(ALL_ON.to_vec()),
        readings in prop::collection::vec((prop::sample::select(vec![0, 1, 1000, 20_000, 1 << 40, -5000]), any_value()), 0..30),
        back in any::<bool>(),
        after in prop::collection::vec(any_value(), 5),
    ) {
        let mut stored = if learnt > 0 { pinned_4("learnt") } else { stored };
        for (index, with) in numbers {
            let place = index.index(stored.len() - 1) + 1;
            overwritten(&mut stored, place, &with);
        }
        for bit in bits {
            let bit = 8 + bit.index(stored.len() * 8 - 8);
            stored[bit / 8] ^= 1 << (bit % 8);
        }
        if let Ok(model) = load(&stored) {
            let mut steps = readings;
            if back {
                steps.push((i64::MIN, 7.0));
                steps.extend((0..35).map(|i| (1, f64::from(i))));
            }
            steps.extend(after.into_iter().map(|value| (1, value)));
            goes_on(&model, settings, &steps);
        }
    }

    #[test]
    fn any_bytes_whatever_are_read_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
        }
        survives(&bytes);
    }
}

#[test]
fn the_random_models_meet_every_shape_of_an_alarm() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = [false; 6];
    for _ in 0..400 {
        let model = models().new_tree(&mut runner).unwrap().current().model;
        let episode = model.alarm.episode.as_deref();
        for (seen, now) in seen.iter_mut().zip([
            model.recent.is_some(),
            model.alarm.abnormal_run > 0,
            episode.is_some_and(|e| e.acked_by.is_some()),
            episode.is_some_and(|e| e.phase == Phase::Firing),
            episode.is_some_and(|e| matches!(e.phase, Phase::Silent(_))),
            episode.is_some_and(|e| matches!(e.phase, Phase::Cooling(_))),
        ]) {
            *seen |= now;
        }
    }
    assert_eq!(seen, [true; 6]);
}
