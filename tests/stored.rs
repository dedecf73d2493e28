//! What earlier versions have written is read by this one: DUMP payloads, RDB files and append-only files, with all that
//! models and rules of their time could hold.
//!
//! `corpus/FORM.json` was written by a module that stored models in that form, on Valkey 8.0, whose files every server of the
//! matrix loads. Files there are never changed; a new form gets a file of its own, written by
//! `ANOMALY_CORPUS=FORM cargo test -p anomaly-tests --test server -- --ignored stored::writes_what_is_stored`.

use std::{env, fs, path::PathBuf};

use anomaly_tests::{Args, Builder, Server, Stop, args, bytes, checkout, field, list, pairs, text};
use serde_json::{Value, json};

/// Each form that a released module, or one in use, has written.
const FORMS: [&str; 3] = ["model-1", "model-2", "model-3"];

/// Rules by pattern. Those of the first form's time are known to all later ones.
const RULES: [(&str, &[&str]); 5] = [
    (
        "limit:*",
        &[
            "max",
            "10",
            "critical-max",
            "20",
            "for",
            "2",
            "clear",
            "2",
            "clear-margin",
            "1",
            "unit",
            "°C",
            "recent",
            "6",
            "auto",
            "off",
        ],
    ),
    (
        "cool:*",
        &[
            "min", "-5", "clear", "1", "cooldown", "600000", "auto", "off",
        ],
    ),
    (
        "stat:*",
        &["zscore", "3", "window", "8", "learn", "no", "auto", "off"],
    ),
    ("rate:*", &["rate", "4", "direction", "high", "auto", "off"]),
    ("off:*", &["enabled", "no", "auto", "off"]),
];
/// What came with the second form.
const LATER: [(&str, &[&str]); 3] = [
    (
        "more:*",
        &[
            "mad", "4", "ewma", "3", "cusum", "5", "stuck", "90000", "window", "9", "warmup", "6",
        ],
    ),
    (
        "auto:*",
        &["auto", "on", "season", "60000", "budget", "100000"],
    ),
    (
        "dead:*",
        &["nodata", "86400000", "expire", "172800000", "max", "50"],
    ),
];

fn file(form: &str) -> PathBuf {
    checkout().join("tests/corpus").join(format!("{form}.json"))
}

fn bare() -> Builder {
    Server::builder()
        .without_timeseries()
        .module_args(&["archive", "off"])
}

fn sensors(form: &str) -> Vec<String> {
    let of = |rules: &[(&str, &[&str])]| -> Vec<String> {
        rules
            .iter()
            .map(|(pattern, _)| pattern.replace('*', "1"))
            .collect()
    };
    let mut all = of(&RULES);
    all.extend(["limit:acked", "limit:pending", "limit:{tag}", "stat:new"].map(String::from));
    if form != FORMS[0] {
        all.extend(of(&LATER));
    }
    all
}

/// Readings of a sensor until it is left in a state of its own.
fn readings(sensor: &str) -> Vec<(i64, f64)> {
    let steady = match sensor {
        "stat:new" => 3,
        "auto:1" => 150,
        _ => 20,
    };
    let mut all: Vec<(i64, f64)> = (0..steady)
        .map(|i| (i * 1000, (i % 5) as f64 * 0.7))
        .collect();
    // Late ones and a duplicate.
    all.extend([(1500, 3.0), (500, 4.0), all[all.len() - 1]]);
    let then: &[f64] = match sensor {
        "limit:1" => &[12.0, 13.0, 25.0],
        "limit:acked" => &[12.0, 13.0, 14.0, 8.0],
        "limit:pending" | "limit:{tag}" => &[12.0],
        "cool:1" => &[-9.0, 2.0],
        "stat:1" | "more:1" | "auto:1" => &[60.0, 61.0, 1.0],
        "rate:1" | "dead:1" => &[55.0, 90.0],
        _ => &[],
    };
    all.extend((200..).zip(then).map(|(i, value)| (i * 1000, *value)));
    all
}

/// Readings that come after: what they get is told by the version that wrote the file too.
fn next(sensor: &str) -> Vec<Args> {
    [(300, 0.7), (301, 30.0), (302, 31.0), (303, 1.4), (304, 0.7)]
        .map(|(i, value)| args!["ANOMALY.ADD", sensor, i * 1000, value, "EXPLAIN"])
        .into()
}

/// A value of a reply as text.
fn kept(reply: &redis::Value) -> String {
    match reply {
        redis::Value::Nil => "-".into(),
        other => text(other),
    }
}

/// The reply to an ADD with EXPLAIN, as text.
fn judged(server: &Server, add: &Args) -> String {
    let all = pairs(&server.cmd(add));
    let all: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("{name}={}", kept(value)))
        .collect();
    all.join(", ")
}

/// What an INFO of the sensor tells: later versions append fields, and some go by the clock.
fn known(server: &Server, sensor: &str) -> Value {
    let info = server.cmd(&["ANOMALY.INFO", sensor]);
    let mut all = serde_json::Map::new();
    for name in [
        "readings",
        "late",
        "duplicates",
        "first",
        "last",
        "value",
        "mean",
        "stddev",
        "verdict",
    ] {
        all.insert(name.into(), kept(&field(&info, name)).into());
    }
    let episode = field(&info, "episode");
    for (name, value) in pairs(&episode) {
        if [
            "state", "id", "severity", "kind", "started", "readings", "acked_by",
        ]
        .contains(&name.as_str())
        {
            all.insert(format!("episode {name}"), kept(&value).into());
        }
    }
    Value::Object(all)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn corpus(form: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(form)).unwrap()).unwrap()
}

#[test]
#[ignore = "writes tests/corpus, once for each form"]
fn writes_what_is_stored() {
    let form = env::var("ANOMALY_CORPUS").expect("ANOMALY_CORPUS names the form");
    assert!(!file(&form).exists(), "what is there is never changed");
    let mut server = bare().aof().config("aof-use-rdb-preamble no").start();
    let mut rules: Vec<(&str, &[&str])> = RULES.into();
    if form != FORMS[0] {
        rules.extend(LATER);
    }
    for (pattern, settings) in rules {
        server.cmd(&[&["ANOMALY.CONFIG", "SET", pattern], settings].concat());
    }
    server.cmd(&["ANOMALY.WATCH", "SET", "raw:*", "KEY", "$stream:$metric"]);
    let sensors = sensors(&form);
    for sensor in &sensors {
        for (at, value) in readings(sensor) {
            server.cmd(&args!["ANOMALY.ADD", sensor, at, value]);
        }
    }
    server.cmd(&[
        "ANOMALY.ACK",
        "limit:acked",
        "BY",
        "olga",
        "COMMENT",
        "on my way",
    ]);
    let mut all = Vec::new();
    for (n, sensor) in sensors.iter().enumerate() {
        server.cmd(&["CONFIG", "SET", "rdbcompression", ["yes", "no"][n % 2]]);
        all.push(json!({
            "sensor": sensor,
            "dump": hex(&bytes(&server.cmd(&["DUMP", sensor]))),
            "known": known(&server, sensor),
        }));
    }
    server.cmd(&["SAVE"]);
    let path = |name: &str| server.dir().join(name);
    let rdb = hex(&fs::read(path("dump.rdb")).unwrap());
    let commands = fs::read_to_string(path("appendonlydir/appendonly.aof.1.incr.aof")).unwrap();
    let exported = text(&server.cmd(&["ANOMALY.CONFIG", "EXPORT"]));
    server.cmd(&["BGREWRITEAOF"]);
    server.wait_until("the file is rewritten", || {
        server
            .dir()
            .join("appendonlydir/appendonly.aof.2.base.aof")
            .exists()
    });
    let rewritten =
        hex(&fs::read(server.dir().join("appendonlydir/appendonly.aof.2.base.aof")).unwrap());
    for sensor in &mut all {
        let replies: Vec<Value> = next(sensor["sensor"].as_str().unwrap())
            .iter()
            .map(|add| judged(&server, add).into())
            .collect();
        sensor["next"] = replies.into();
    }
    let whole = json!({
        "server": text(&server.cmd(&["INFO", "server"])).lines().find(|l| l.contains("_version")),
        "exported": exported, "sensors": all, "rdb": rdb, "commands": commands, "rewritten": rewritten,
    });
    fs::create_dir_all(file(&form).parent().unwrap()).unwrap();
    fs::write(
        file(&form),
        serde_json::to_string_pretty(&whole).unwrap() + "\n",
    )
    .unwrap();
    server.stop(Stop::Kill9);
}

/// As text, but for what a later version may keep in single precision.
#[track_caller]
fn alike(now: &Value, then: &Value, what: &str) {
    let (now, then) = (now.as_object().unwrap(), then.as_object().unwrap());
    for (name, then) in then {
        let now = &now[name];
        let number = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap();
        if ["mean", "stddev"].contains(&name.as_str()) {
            let (now, then) = (number(now), number(then));
            assert!(
                (now - then).abs() <= 1e-6 * then.abs(),
                "{what} {name}: {now}, {then} then"
            );
        } else {
            assert_eq!(now, then, "{what} {name}");
        }
    }
}

/// Every sensor is what it was when the file was written, and judges the next readings as the version that wrote it did.
#[track_caller]
fn goes_on(server: &Server, form: &str, corpus: &Value) {
    let all = corpus["sensors"].as_array().unwrap();
    assert_eq!(all.len(), sensors(form).len());
    for sensor in all {
        let name = sensor["sensor"].as_str().unwrap();
        alike(
            &known(server, name),
            &sensor["known"],
            &format!("{form} {name}"),
        );
    }
    for sensor in all {
        let name = sensor["sensor"].as_str().unwrap();
        for (add, then) in next(name).iter().zip(sensor["next"].as_array().unwrap()) {
            let now = judged(server, add);
            if name.starts_with("auto:") {
                // Up to the third form `auto` had one expert less: it begins anew, or judges an older log by its own lights.
                assert!(now.contains("verdict="), "{form} {name}: {now}");
                continue;
            }
            assert_eq!(now, *then, "{form} {name}: {add:?}");
        }
    }
}

#[track_caller]
fn has_the_rules(server: &Server, corpus: &Value) {
    let exported = text(&server.cmd(&["ANOMALY.CONFIG", "EXPORT"]));
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    assert_eq!(read(&exported), read(corpus["exported"].as_str().unwrap()));
}

#[test]
fn dumped_sensors_of_every_version_are_restored_and_go_on() {
    for form in FORMS {
        let corpus = corpus(form);
        let server = bare().start();
        server.cmd(&[
            "ANOMALY.CONFIG",
            "IMPORT",
            corpus["exported"].as_str().unwrap(),
        ]);
        for sensor in corpus["sensors"].as_array().unwrap() {
            let (name, dump) = (sensor["sensor"].as_str().unwrap(), unhex(&sensor["dump"]));
            server.cmd(&args!["RESTORE", name, 0, dump]);
        }
        let open = list(&server.cmd(&["ANOMALY.ALERTS"])).len();
        assert!(open >= 3, "open episodes come with their sensors: {open}");
        goes_on(&server, form, &corpus);
    }
}

#[test]
fn rdb_files_of_every_version_are_loaded_and_go_on() {
    for form in FORMS {
        let corpus = corpus(form);
        let builder = bare();
        fs::write(builder.path().join("dump.rdb"), unhex(&corpus["rdb"])).unwrap();
        let server = builder.start();
        has_the_rules(&server, &corpus);
        goes_on(&server, form, &corpus);
    }
}

fn append_only(file: &[u8]) -> Server {
    let builder = bare().aof();
    let dir = builder.path().join("appendonlydir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("appendonly.aof.1.base.aof"), file).unwrap();
    let manifest = "file appendonly.aof.1.base.aof seq 1 type b\n";
    fs::write(dir.join("appendonly.aof.manifest"), manifest).unwrap();
    builder.start()
}

#[test]
fn append_only_files_of_every_version_are_loaded_and_go_on() {
    for form in FORMS {
        let corpus = corpus(form);
        let commands = corpus["commands"].as_str().unwrap().as_bytes().to_vec();
        for file in [commands, unhex(&corpus["rewritten"])] {
            let server = append_only(&file);
            has_the_rules(&server, &corpus);
            goes_on(&server, form, &corpus);
        }
    }
}
