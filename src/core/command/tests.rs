use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::alert::{Alert, End};
use crate::error::Error;
use crate::reason;
use crate::setting::Setting;
use crate::testing::{KEY, Sensor, at, cases, get, names, reading};

/// The words of a line, as a client sends them.
fn words(line: &str) -> Vec<&[u8]> {
    line.split_whitespace().map(str::as_bytes).collect()
}

/// Every command and subcommand, with the words that lead to it.
fn everything() -> Vec<(Vec<&'static str>, &'static Spec)> {
    let mut all = vec![];
    for spec in COMMANDS {
        all.push((vec![spec.name], spec));
        all.extend(
            spec.subcommands
                .iter()
                .map(|sub| (vec![spec.name, sub.name], sub)),
        );
    }
    all
}

/// How many words an argument takes at least.
fn least(arg: &Arg) -> i32 {
    let parts = arg.parts.iter().map(least);
    let inner = match arg.kind {
        ArgKind::Block => parts.sum(),
        ArgKind::OneOf => parts.min().unwrap(),
        _ => 1,
    };
    let token = i32::from(arg.token.is_some() && arg.kind != ArgKind::Token);
    if arg.optional { 0 } else { inner + token }
}

#[test]
fn names_are_unique_and_in_lower_case() {
    let all = everything();
    let distinct: HashSet<_> = all.iter().map(|(path, _)| path).collect();
    assert_eq!(distinct.len(), all.len());
    for (path, spec) in &all {
        assert_eq!(spec.name, spec.name.to_lowercase());
        assert!(path[0].starts_with("anomaly."), "{path:?}");
        let arguments: HashSet<_> = spec.args.iter().map(|arg| arg.name).collect();
        assert_eq!(arguments.len(), spec.args.len(), "{path:?}");
    }
}

#[test]
fn the_arity_is_what_the_arguments_take() {
    for (path, spec) in everything() {
        let words = path.len() as i32 + spec.args.iter().map(least).sum::<i32>();
        let exact = spec.args.iter().all(|arg| !arg.optional && !arg.multiple);
        let expected = match (spec.subcommands.is_empty(), exact) {
            (false, _) => -2,
            (true, true) => words,
            (true, false) => -words,
        };
        assert_eq!(spec.arity, expected, "{path:?}");
    }
}

#[test]
fn keys_are_where_the_arguments_say() {
    for (path, spec) in everything() {
        let is_key = |arg: Option<&Arg>| arg.is_some_and(|arg| arg.kind == ArgKind::Key);
        match spec.keys {
            Keys::None => assert!(!is_key(spec.args.first()), "{path:?}"),
            Keys::One(position) => {
                assert_eq!(position as usize, path.len(), "{path:?}");
                assert!(is_key(spec.args.first()), "{path:?}");
            }
            Keys::OneUnless(position, word) => {
                let first = spec.args.first().unwrap();
                assert_eq!(position as usize, path.len(), "{path:?}");
                assert!(is_key(first.parts.first()), "{path:?}");
                assert_eq!(first.parts[1].token, Some(word), "{path:?}");
            }
            Keys::Every(step) => {
                let block = spec.args.first().unwrap();
                assert!(block.multiple && is_key(block.parts.first()), "{path:?}");
                assert_eq!(least(block), step, "{path:?}");
            }
        }
    }
}

#[test]
fn every_command_says_what_it_does_since_when_and_at_what_cost() {
    for (path, spec) in everything() {
        assert!(
            spec.summary.len() > 10 && !spec.summary.ends_with('.'),
            "{path:?}"
        );
        assert!(!spec.complexity.is_empty() && spec.since == "0.1.0");
        assert!(
            spec.summary.is_ascii() && spec.complexity.is_ascii(),
            "{path:?}: COMMAND DOCS"
        );
    }
}

#[test]
fn the_syntax_is_as_documented() {
    let syntax = |path: &[&str]| {
        let all = everything();
        let (path, spec) = all.into_iter().find(|(p, _)| p == path).unwrap();
        spec.syntax((path.len() > 1).then(|| path[0]))
    };
    for line in [
        "ANOMALY.ADD key timestamp|* value [EXPLAIN]",
        "ANOMALY.MADD key timestamp|* value [key timestamp|* value …]",
        "ANOMALY.INFO key",
        "ANOMALY.ACK key [BY name] [COMMENT text]",
        "ANOMALY.BACKTEST key|MATCH pattern from to [DIFF] [name value …]",
        "ANOMALY.RESET key",
    ] {
        let name = line.split(' ').next().unwrap().to_lowercase();
        assert_eq!(syntax(&[&name]), line);
    }
    for line in [
        "ANOMALY.CONFIG SET pattern name value [name value …]",
        "ANOMALY.CONFIG GET pattern",
        "ANOMALY.CONFIG RESOLVE key",
        "ANOMALY.CONFIG LIST",
        "ANOMALY.CONFIG DEL pattern",
        "ANOMALY.CONFIG EXPORT",
        "ANOMALY.CONFIG IMPORT json [REPLACE]",
        "ANOMALY.CONFIG HELP",
    ] {
        let sub = line.split(' ').nth(1).unwrap().to_lowercase();
        assert_eq!(syntax(&["anomaly.config", &sub]), line);
    }
    for line in [
        "ANOMALY.WATCH SET stream-pattern [DEVICE field] [TIME field] [METRIC field VALUE field|VALUES n field [field …]] [JSON field] [KEY template] [FROM id]",
        "ANOMALY.WATCH GET stream-pattern",
        "ANOMALY.WATCH LIST",
        "ANOMALY.WATCH DEL stream-pattern",
        "ANOMALY.WATCH HELP",
    ] {
        let sub = line.split(' ').nth(1).unwrap().to_lowercase();
        assert_eq!(syntax(&["anomaly.watch", &sub]), line);
    }
    assert_eq!(
        syntax(&["anomaly.alerts"]),
        "ANOMALY.ALERTS [STREAMS|[MATCH pattern] [SEVERITY warning|critical] [COUNT n]]"
    );
}

/// The rows of the table of settings in the design: names and defaults.
fn documented(design: &str) -> Vec<(String, String)> {
    let section = design
        .split("\n## ")
        .find(|s| s.starts_with("3. "))
        .unwrap();
    let mut rows = vec![];
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let names: Vec<_> = cells[1].split('`').skip(1).step_by(2).collect();
        let defaults: Vec<_> = match cells[2] {
            "none (`-`)" | "per detector" => vec!["-"; names.len()],
            "\"\"" => vec![""],
            text if text.starts_with("on unless") => vec!["on"],
            text if names.len() > 1 => text.split(", ").collect(),
            text => vec![text],
        };
        assert_eq!(names.len(), defaults.len(), "{line}");
        rows.extend(
            names
                .iter()
                .zip(defaults)
                .map(|(name, default)| ((*name).to_owned(), default.to_owned())),
        );
        // `alpha` (0.05), `drift` k (0.5): parameters of the setting of that row.
        let meaning: Vec<_> = cells[3].split('`').skip(1).collect();
        for pair in meaning.chunks_exact(2) {
            let after = pair[1].trim_start_matches(" k");
            if let Some((default, _)) = after.strip_prefix(" (").and_then(|s| s.split_once(')')) {
                rows.push((pair[0].to_owned(), default.to_owned()));
            }
        }
    }
    rows
}

#[test]
fn settings_and_their_defaults_are_those_of_the_design() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/DESIGN.md");
    let Ok(design) = std::fs::read_to_string(path) else {
        eprintln!("NOT TESTED: the design is not at {path}");
        return;
    };
    let documented = documented(&design);
    assert!(documented.len() > 30, "{documented:?}");
    let ours: Vec<_> = Setting::ALL
        .iter()
        .map(|setting| setting.spec())
        .map(|spec| (spec.name.to_owned(), spec.default.to_owned()))
        .collect();
    for row in &documented {
        assert!(ours.contains(row), "{row:?} is not a setting of ours");
    }
    for row in &ours {
        assert!(documented.contains(row), "{row:?} is not in the design");
    }
}

#[test]
fn an_error_names_the_argument_and_says_what_would_be_right() {
    let add = |line: &str| {
        let words = words(line);
        add::Add::parse(words[0], words[1], words.get(2).copied()).unwrap_err()
    };
    let alerts = |line: &str| alerts::Query::parse(&words(line)).unwrap_err();
    let ack = |line: &str| ack::Ack::parse(&words(line)).unwrap_err();
    let set = |line: &str| config::changes(&words(line)).unwrap_err();
    let cases: Vec<(Error, &[&str])> = vec![
        (
            add("soon 1"),
            &["timestamp 'soon'", "integer of Unix milliseconds"],
        ),
        (add("-1 1"), &["timestamp '-1'", "from 0"]),
        (
            add("9223372036854775808 1"),
            &["timestamp '9223372036854775808'"],
        ),
        (add("* warm"), &["value 'warm'", "number"]),
        (add("1 nan"), &["value 'nan'", "finite number"]),
        (add("1 1e999"), &["value '1e999'", "1.7976931348623157e308"]),
        (add("1 2 EXPLODE"), &["'EXPLODE'", "expected EXPLAIN"]),
        (
            alerts("STREAM"),
            &[
                "'STREAM'",
                "STREAMS alone",
                "MATCH pattern",
                "SEVERITY warning|critical",
                "COUNT n",
            ],
        ),
        (alerts("STREAMS COUNT 3"), &["'STREAMS'"]),
        (alerts("MATCH"), &["'MATCH'", "a pattern"]),
        (
            alerts("SEVERITY bad"),
            &["'SEVERITY'", "warning or critical"],
        ),
        (alerts("COUNT 0"), &["'COUNT'", "whole number above 0"]),
        (alerts("MATCH a COUNT"), &["'COUNT'"]),
        (ack("eva"), &["'eva'", "BY name or COMMENT text"]),
        (ack("BY"), &["'BY'", "at most 1024 bytes"]),
        (set("max"), &["'max'", "value of the setting"]),
        (set("max 1 min"), &["'min'"]),
        (set("maxi 1"), &["'maxi'", "did you mean 'max'"]),
        (
            set("max high"),
            &["'max'", "'high'", "finite number, or - for none"],
        ),
        (
            set("window 1"),
            &["'window'", "'1'", "whole number from 2 to 10000"],
        ),
        (
            config::replaces(Some(b"REPLAC")).unwrap_err(),
            &["'REPLAC'", "expected REPLACE"],
        ),
        (
            crate::reading::When::parse(b"5000")
                .unwrap()
                .resolve(at(1000), 3000)
                .unwrap_err(),
            &[
                "timestamp '5000'",
                "4 s ahead",
                "anomaly.max-future",
                "3000 ms",
            ],
        ),
    ];
    for (error, parts) in cases {
        let text = error.to_string();
        assert!(text.starts_with("ERR "), "{text}");
        for part in parts {
            assert!(text.contains(part), "'{part}' is not in: {text}");
        }
    }
    let long = [b'x'; 1025];
    assert!(ack::Ack::parse(&[b"BY", &long]).is_err());
    assert!(ack::Ack::parse(&[b"BY", &long[1..]]).is_ok());
}

#[test]
fn arguments_are_read_in_any_case_and_order() {
    let add = add::Add::parse(b"*", b"1e3", Some(b"explain")).unwrap();
    assert_eq!(
        (add.when, add.value, add.explain),
        (crate::reading::When::Now, 1000.0, true)
    );
    assert!(!add::Add::item(b"5", b"1").unwrap().explain);
    let ack = ack::Ack::parse(&words("comment seen by eva")).unwrap();
    assert_eq!((ack.by, ack.comment), (b"eva".to_vec(), b"seen".to_vec()));
    assert_eq!(ack::Ack::parse(&[]), Ok(ack::Ack::default()));
    assert_eq!(
        alerts::Query::parse(&words("streams")),
        Ok(alerts::Query::Streams)
    );
    let alerts::Query::Open(filter) =
        alerts::Query::parse(&words("count 5 severity CRITICAL match s*")).unwrap()
    else {
        panic!("it asks for episodes");
    };
    assert_eq!(filter.count, Some(5));
    let mut sensor = Sensor::new("max 28 critical-max 35");
    sensor.add(0, 31.0);
    let wants = |sensor: &Sensor, key: &[u8]| filter.wants(key, sensor.model.alarm.open().unwrap());
    assert!(!wants(&sensor, KEY), "a warning is not asked for");
    sensor.add(1000, 36.0);
    assert!(wants(&sensor, KEY) && !wants(&sensor, b"other"));
    let changes = config::changes(&words("MAX 5 unit inherit")).unwrap();
    assert_eq!(
        changes
            .iter()
            .map(|(s, v)| (*s, v.is_some()))
            .collect::<Vec<_>>(),
        [(Setting::Max, true), (Setting::Unit, false)]
    );
    assert_eq!(
        (config::replaces(None), config::replaces(Some(b"replace"))),
        (Ok(false), Ok(true))
    );
}

const EXPLAIN: &str = "verdict score kind direction value expected lower upper threshold event episode timestamp reason";
const INFO: &str = "readings late duplicates first last value mean stddev score verdict episode detectors recent windows trend series bytes";

fn explain(sensor: &mut Sensor, ms: i64, value: f64) -> Reply {
    let outcome = sensor.add(ms, value);
    add::explained(reading(ms, value), &outcome, &sensor.profile())
}

fn told(sensor: &mut Sensor) -> Reply {
    let profile = sensor.profile();
    info::reply(KEY, &sensor.model, &profile, at(0), 777)
}

#[test]
fn explain_has_the_fields_of_the_design_whatever_the_verdict() {
    let mut sensor = Sensor::new("max 28 unit C");
    let fired = explain(&mut sensor, 5000, 31.0);
    for (reply, verdict) in [
        (fired.clone(), "warning"),
        (explain(&mut sensor, 5000, 31.0), "duplicate"),
        (explain(&mut sensor, 4000, 31.0), "late"),
        (explain(&mut sensor, 6000, 20.0), "normal"),
        (explain(&mut Sensor::new("zscore 3"), 6000, 20.0), "warmup"),
    ] {
        assert_eq!(names(&reply).join(" "), EXPLAIN);
        assert_eq!(get(&reply, "verdict"), &Reply::text(verdict));
    }
    let episode = sensor.model.alarm.open().unwrap().name();
    for (name, value) in [
        ("score", Reply::Double((31.0 / 28.0) / (1.0 + 31.0 / 28.0))),
        ("kind", Reply::text("range")),
        ("direction", Reply::text("high")),
        ("value", Reply::Double(31.0)),
        ("expected", Reply::Null),
        ("lower", Reply::Null),
        ("upper", Reply::Double(28.0)),
        ("threshold", Reply::Double(28.0)),
        ("event", Reply::text("firing")),
        ("episode", Reply::text(episode)),
        ("timestamp", Reply::Int(5000)),
        ("reason", Reply::text("31 C is above the limit 28")),
    ] {
        assert_eq!(get(&fired, name), &value, "{name}");
    }
}

#[test]
fn info_has_the_fields_of_the_design_for_a_sensor_of_any_age() {
    let mut sensor = Sensor::new("zscore 3 window 4 max 28 recent 3 clear 1 cooldown 9000");
    let new = told(&mut sensor);
    assert_eq!(names(&new).join(" "), INFO);
    for name in ["first", "last", "value", "mean", "stddev", "score", "trend"] {
        assert_eq!(
            get(&new, name),
            &Reply::Null,
            "{name} of a sensor never read"
        );
    }
    let state = |sensor: &mut Sensor| get(get(&told(sensor), "episode"), "state").clone();
    assert_eq!(state(&mut sensor), Reply::text("normal"));
    for (second, value) in [(1, 20.0), (2, 22.0), (3, 21.0), (4, 21.0), (5, 31.0)] {
        sensor.add(second * 1000, value);
    }
    sensor.add(5000, 31.0);
    sensor.add(1000, 31.0);
    let now = told(&mut sensor);
    assert_eq!(names(&now).join(" "), INFO);
    for (name, value) in [
        ("readings", Reply::Int(5)),
        ("late", Reply::Int(1)),
        ("duplicates", Reply::Int(1)),
        ("first", Reply::Int(1000)),
        ("last", Reply::Int(5000)),
        ("value", Reply::Double(31.0)),
        ("mean", Reply::Double(23.0)),
        ("verdict", Reply::text("critical")),
        (
            "recent",
            Reply::Array([21.0, 21.0, 31.0].map(Reply::Double).into()),
        ),
        ("series", Reply::text("ts:{sensor:1}")),
        ("bytes", Reply::Int(777)),
    ] {
        assert_eq!(get(&now, name), &value, "{name}");
    }
    let episode = get(&now, "episode");
    assert_eq!(
        names(episode).join(" "),
        "state severity kind started readings peak acked episode"
    );
    for (name, value) in [
        ("state", Reply::text("firing")),
        ("severity", Reply::text("critical")),
        ("kind", Reply::text("zscore")),
        ("started", Reply::Int(5000)),
        ("readings", Reply::Int(1)),
        ("acked", Reply::Null),
    ] {
        assert_eq!(get(episode, name), &value, "{name}");
    }
    let detectors = get(&now, "detectors");
    assert_eq!(names(detectors).join(" "), "range zscore");
    for name in ["range", "zscore"] {
        assert_eq!(
            names(get(detectors, name)).join(" "),
            "score threshold warm needed expected lower upper"
        );
    }
    assert_eq!(
        get(get(detectors, "zscore"), "threshold"),
        &Reply::Double(3.0)
    );
    assert_eq!(
        get(get(detectors, "zscore"), "expected"),
        &Reply::Double(23.75),
        "of the next reading"
    );
    let Reply::Double(score) = get(get(detectors, "range"), "score") else {
        panic!("a score is a number");
    };
    assert!(
        (score - (31.0 / 28.0) / (1.0 + 31.0 / 28.0)).abs() < 1e-6,
        "its own, not the highest: {score}"
    );
    for stretch in ["tumbling", "sliding"] {
        assert_eq!(
            names(get(get(&now, "windows"), stretch)).join(" "),
            "from count avg min max p99"
        );
    }
    assert_eq!(names(get(&now, "trend")).join(" "), "slope r2 direction");
    // The words for where an alarm stands.
    sensor.set("zscore off");
    sensor.add(6000, 20.0);
    assert_eq!(state(&mut sensor), Reply::text("cooldown"));
    sensor.add(7000, 31.0);
    assert_eq!(state(&mut sensor), Reply::text("silent"));
    let mut pending = Sensor::new("max 28 for 2");
    pending.add(0, 31.0);
    assert_eq!(state(&mut pending), Reply::text("pending"));
}

#[test]
fn info_tells_how_many_readings_a_detector_still_needs() {
    let mut sensor = Sensor::new("zscore 3 rate 1");
    for (readings, zscore, rate) in [(0, 30, 1), (1, 29, 0), (30, 0, 0)] {
        while sensor.model.readings() < readings {
            sensor.add(sensor.model.readings() as i64 * 1000, 1.0);
        }
        let info = told(&mut sensor);
        for (name, needed) in [("zscore", zscore), ("rate", rate)] {
            let detector = get(get(&info, "detectors"), name);
            assert_eq!(
                get(detector, "needed"),
                &Reply::Int(needed),
                "{name} after {readings}"
            );
            assert_eq!(
                get(detector, "warm"),
                &Reply::Int(i64::from(needed == 0)),
                "{name} after {readings}"
            );
        }
    }
}

#[test]
fn a_row_of_alerts_tells_the_open_episode() {
    let mut sensor = Sensor::new("max 28");
    sensor.add(5000, 31.0);
    let row = alerts::row(KEY, 3, &sensor.model, sensor.model.alarm.open().unwrap());
    assert_eq!(
        names(&row).join(" "),
        "sensor episode state severity kind direction started readings peak acked last value db"
    );
    assert_eq!(
        (get(&row, "sensor"), get(&row, "db")),
        (&Reply::text(KEY), &Reply::Int(3))
    );
}

#[test]
fn rules_are_told_as_they_are_written() {
    let mut sensor = Sensor::new("max 28.50 unit C");
    sensor
        .rules
        .set(KEY, &crate::testing::changes("max -"))
        .unwrap();
    assert_eq!(
        config::list(&sensor.rules),
        Reply::Array(vec![
            Reply::Array(vec![
                Reply::text("*"),
                Reply::map([("max", Reply::text("28.5")), ("unit", Reply::text("C"))])
            ]),
            Reply::Array(vec![
                Reply::text(KEY),
                Reply::map([("max", Reply::text("-"))])
            ]),
        ])
    );
    let resolved = config::resolved(KEY, &sensor.rules);
    let all: Vec<_> = Setting::ALL.iter().map(|s| s.spec().name).collect();
    assert_eq!(names(&resolved), all);
    for (name, value, from) in [
        ("max", "-", KEY),
        ("unit", "C", b"*"),
        ("for", "1", b"default"),
        ("auto", "on", b"default"),
    ] {
        assert_eq!(
            get(&resolved, name),
            &Reply::Array(vec![Reply::text(value), Reply::text(from)])
        );
    }
}

#[test]
fn help_shows_every_subcommand_and_every_setting() {
    let Reply::Array(lines) = config::help() else {
        panic!("help is lines");
    };
    let lines: Vec<String> = lines
        .iter()
        .map(|line| match line {
            Reply::Text(text) => String::from_utf8(text.clone()).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        lines[0],
        "ANOMALY.CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"
    );
    assert!(
        lines.contains(&"SET pattern name value [name value …]".to_owned()),
        "{lines:?}"
    );
    for setting in Setting::ALL {
        let head = format!("{} ", setting.spec().name);
        assert!(lines.iter().any(|line| line.starts_with(&head)), "{head}");
    }
}

/// All fields there are, in their order.
const ALERT: &str = "v event id episode sensor device metric severity kind direction ts start value unit expected lower upper score threshold rule reason source by comment";

fn fields(alert: &Alert) -> String {
    let names: Vec<_> = alert.fields.iter().map(|(name, _)| *name).collect();
    let mut order = ALERT.split(' ');
    for name in &names {
        assert!(
            order.any(|n| n == *name),
            "{name} is out of order in {names:?}"
        );
    }
    names.join(" ")
}

fn value(alert: &Alert, name: &str) -> String {
    let (_, value) = alert.fields.iter().find(|(n, _)| *n == name).unwrap();
    String::from_utf8(value.clone()).unwrap()
}

fn alert(sensor: &mut Sensor, ms: i64, x: f64) -> Option<Alert> {
    let outcome = sensor.add(ms, x);
    Alert::of_outcome(KEY, reading(ms, x), &outcome, &sensor.profile(), None)
}

#[test]
fn an_alert_has_the_fields_of_the_design_in_that_order() {
    let mut limits = Sensor::new("min 10 max 28 unit C");
    let fired = alert(&mut limits, 5000, 31.5).unwrap();
    assert_eq!(
        fields(&fired),
        "v event id episode sensor severity kind direction ts start value unit lower upper score threshold rule reason"
    );
    for (name, expected) in [
        ("v", "1"),
        ("event", "firing"),
        ("sensor", "sensor:1"),
        ("severity", "warning"),
        ("kind", "range"),
        ("direction", "high"),
        ("ts", "5000"),
        ("start", "5000"),
        ("value", "31.5"),
        ("unit", "C"),
        ("lower", "10"),
        ("upper", "28"),
        ("score", "0.581395349"),
        ("threshold", "28"),
        ("rule", "*"),
        ("reason", "31.5 C is above the limit 28"),
    ] {
        assert_eq!(value(&fired, name), expected, "{name}");
    }
    assert_eq!(value(&fired, "id"), value(&fired, "episode") + "-1");

    let mut by_default = Sensor::new("unit V");
    for i in 0..200 {
        by_default.add(i * 1000, (i % 2) as f64);
    }
    let fired = alert(&mut by_default, 200_000, -9.0).unwrap();
    assert_eq!(
        fields(&fired),
        "v event id episode sensor severity kind direction ts start value unit expected lower upper score threshold rule reason"
    );
    assert_eq!(
        (
            value(&fired, "rule"),
            value(&fired, "direction"),
            value(&fired, "kind")
        ),
        ("default".into(), "low".into(), "auto".into())
    );

    let profile = limits.profile();
    let acked = Alert::of_ack(
        KEY,
        &mut limits.model,
        &profile,
        at(7000),
        b"eva",
        b"on my way",
    )
    .unwrap();
    assert_eq!(
        fields(&acked),
        "v event id episode sensor severity kind direction ts start value unit score threshold rule reason by comment"
    );
    assert_eq!(
        (
            value(&acked, "by"),
            value(&acked, "comment"),
            value(&acked, "ts")
        ),
        ("eva".into(), "on my way".into(), "7000".into())
    );
    assert_eq!(value(&acked, "reason"), "acknowledged by eva");

    let ended = Alert::of_end(KEY, &mut limits.model, &profile, End::Reset).unwrap();
    assert_eq!(
        fields(&ended),
        "v event id episode sensor severity kind direction ts start value unit score threshold rule reason"
    );
    assert_eq!(
        (value(&ended, "event"), value(&ended, "id")),
        ("resolved".into(), value(&acked, "episode") + "-3")
    );
}

#[test]
fn the_rule_of_an_alert_is_the_one_that_set_the_detector() {
    let mut sensor = Sensor::new("min 10");
    // A more specific rule that only takes another limit away has set nothing.
    sensor
        .rules
        .set(KEY, &crate::testing::changes("max - unit C"))
        .unwrap();
    let fired = alert(&mut sensor, 0, 5.0).unwrap();
    assert_eq!(value(&fired, "rule"), "*");
    sensor
        .rules
        .set(KEY, &crate::testing::changes("min 11 max inherit"))
        .unwrap();
    sensor.add(1000, 20.0);
    sensor.add(2000, 20.0);
    let resolved = alert(&mut sensor, 3000, 20.0).unwrap();
    assert_eq!(value(&resolved, "rule"), "sensor:1");
}

#[test]
fn the_sentences_of_the_design_are_said_in_that_form() {
    let mut rack = Sensor::new("max 28 critical-max 30 unit °C");
    let outcome = rack.add(0, 31.9);
    assert_eq!(
        reason::of_outcome(reading(0, 31.9), &outcome, &rack.profile()),
        "31.9 °C is above the limit 28 (critical at 30)"
    );

    // Mean 60.1 and a deviation of 2.3: 71.2 lies 4.8 of them above.
    let mut pump = Sensor::new("zscore 3 for 3 learn no");
    let spread = 2.3 * (29f64 / 30.0).sqrt();
    for i in 0..30 {
        pump.add(i * 1000, 60.1 + if i % 2 == 0 { spread } else { -spread });
    }
    for i in 30..32 {
        assert_eq!(pump.add(i * 1000, 71.2).transition, None);
    }
    let outcome = pump.add(32_000, 71.2);
    assert_eq!(
        reason::of_outcome(reading(32_000, 71.2), &outcome, &pump.profile()),
        "71.2 is 4.8 sd above the mean 60.1 of the last 30 readings; 3 of 3 readings abnormal"
    );
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn no_argument_can_break_a_line_of_an_error(args in prop::collection::vec(prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::sample::select(vec!["max", "BY", "KEY", "VALUES", "FROM", "COUNT", "MATCH", "unit", "window", "SEVERITY"]).prop_map(|w| w.as_bytes().to_vec()),
    ], 3..4)) {
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        for error in [
            add::Add::parse(args[0], args[1], Some(args[2])).err(),
            ack::Ack::parse(&args).err(),
            alerts::Query::parse(&args).err(),
            config::changes(&args).err(),
            config::replaces(Some(args[0])).err(),
            crate::document::import(args[0]).err(),
            watch::parse_set(args[0], &args[1..], true).err(),
            watch::parse_set(b"s", &args, false).err(),
            backtest::Query::parse(&args).err(),
            backtest::Query::parse(&[args[0], b"-", b"+", args[1], args[2]]).err(),
        ].into_iter().flatten() {
            let text = error.to_string();
            let coded = text.starts_with("ERR ") || text.starts_with("CROSSSLOT ");
            prop_assert!(coded && !text.chars().any(char::is_control), "{text:?}");
            prop_assert!(text.len() < 1000);
        }
    }
}
