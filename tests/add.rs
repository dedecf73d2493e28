//! ANOMALY.ADD and ANOMALY.MADD: every verdict, what EXPLAIN says, a bad item among good ones.

use anomaly_tests::{Server, args, call, error, field, float, int, list, text};
use redis::Value;

fn add(server: &Server, at: i64, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", "s", at, value]))
}

fn rule(server: &Server, settings: &[&str]) {
    let mut command = vec!["ANOMALY.CONFIG", "SET", "s"];
    command.extend(settings);
    server.cmd(&command);
}

fn samples(server: &Server) -> Vec<(i64, f64)> {
    let all = list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
    all.iter()
        .map(|sample| (int(&list(sample)[0]), float(&list(sample)[1])))
        .collect()
}

#[test]
fn every_verdict_is_a_simple_string() {
    let server = Server::start();
    rule(
        &server,
        &["max", "10", "critical-max", "20", "zscore", "1000000000"],
    );
    let verdicts = [
        (1000, 5.0, "normal"),
        (2000, 15.0, "warning"),
        (3000, 25.0, "critical"),
        (2500, 25.0, "late"),
        (3000, 25.0, "duplicate"),
    ];
    for (at, value, verdict) in verdicts {
        let reply = server.cmd(&args!["ANOMALY.ADD", "s", at, value]);
        assert_eq!(reply, Value::SimpleString(verdict.into()));
    }
    let reply = server.cmd(&["ANOMALY.ADD", "unruled", "1000", "5"]);
    assert_eq!(reply, Value::SimpleString("warmup".into()));
}

#[test]
fn without_a_rule_a_sensor_is_watched_by_what_it_has_learnt_itself() {
    let server = Server::start();
    let value = |i: i64| (i * 7919 % 101) as f64 / 100.0;
    for i in 0..120 {
        assert_eq!(add(&server, i * 1000, value(i)), "warmup", "reading {i}");
    }
    for i in 120..150 {
        assert_eq!(add(&server, i * 1000, value(i)), "normal", "reading {i}");
    }
    assert_eq!(add(&server, 150_000, 90.0), "critical");
}

#[test]
fn with_zscore_a_reading_that_many_deviations_off_the_last_thirty_is_abnormal() {
    let server = Server::start();
    rule(&server, &["zscore", "3"]);
    for i in 0..30 {
        assert_eq!(add(&server, i, (i % 2) as f64), "warmup", "reading {i}");
    }
    assert_eq!(add(&server, 30, 1.0), "normal");
    assert_eq!(add(&server, 31, 2.3), "warning");
    assert_eq!(add(&server, 32, 90.0), "critical");
}

const EXPLAINED: [&str; 13] = [
    "verdict",
    "score",
    "kind",
    "direction",
    "value",
    "expected",
    "lower",
    "upper",
    "threshold",
    "event",
    "episode",
    "timestamp",
    "reason",
];

#[test]
fn explain_is_a_map_on_resp3_and_flat_pairs_on_resp2_with_the_same_fields_in_the_same_order() {
    let server = Server::start();
    rule(&server, &["max", "10"]);
    let at = |at: i64| args!["ANOMALY.ADD", "s", at, 5, "explain"];
    let Value::Map(map) = call(&mut server.resp3(), &at(1000)) else {
        panic!("RESP3 has maps");
    };
    let Value::Array(flat) = server.cmd(&at(2000)) else {
        panic!("RESP2 has none");
    };
    let names: Vec<String> = map.iter().map(|(name, _)| text(name)).collect();
    assert_eq!(names, EXPLAINED);
    assert_eq!(
        flat.iter().step_by(2).map(text).collect::<Vec<_>>(),
        EXPLAINED
    );
    assert_eq!(
        (&map[4].1, &flat[9]),
        (&Value::Double(5.0), &Value::BulkString(b"5".into()))
    );
    assert_eq!(
        (&map[11].1, &flat[23]),
        (&Value::Int(1000), &Value::Int(2000))
    );
    assert_eq!((&map[5].1, &flat[11]), (&Value::Nil, &Value::Nil));
}

#[test]
fn explain_tells_what_decided() {
    let server = Server::start();
    rule(
        &server,
        &["max", "28", "critical-max", "30", "min", "8", "unit", "°C"],
    );
    let reply = server.cmd(&["ANOMALY.ADD", "s", "1000", "31.9", "EXPLAIN"]);
    let is = |name: &str| text(&field(&reply, name));
    let said = ["verdict", "kind", "direction", "event", "reason"].map(is);
    let reason = "31.9 °C is above the limit 28 (critical at 30)";
    assert_eq!(said, ["critical", "range", "high", "firing", reason]);
    let figures = ["value", "lower", "upper", "threshold"].map(|name| float(&field(&reply, name)));
    assert_eq!(figures, [31.9, 8.0, 28.0, 30.0]);
    let score = float(&field(&reply, "score"));
    assert!(score > 0.5 && score < 1.0, "{score}");
    let alert = &server.stream("anomaly:alerts")[0].1;
    assert_eq!(alert[3], ("episode".into(), is("episode")));
}

#[test]
fn explain_says_why_a_reading_was_not_scored() {
    let server = Server::start();
    rule(&server, &["zscore", "3"]);
    add(&server, 5000, 1.0);
    let reason = |at: i64, value: f64| {
        let reply = server.cmd(&args!["ANOMALY.ADD", "s", at, value, "EXPLAIN"]);
        text(&field(&reply, "reason"))
    };
    assert_eq!(
        reason(4000, 1.0),
        "older than the newest reading (5000): archived, not scored"
    );
    assert_eq!(
        reason(5000, 1.0),
        "the newest reading (5000) again: only counted"
    );
    assert_eq!(
        reason(6000, 1.0),
        "not enough readings yet: 29 more needed, this one included"
    );
    rule(&server, &["enabled", "no"]);
    assert_eq!(
        reason(7000, 1.0),
        "the rule says enabled no: archived, not scored"
    );
    rule(&server, &["enabled", "yes", "zscore", "off", "auto", "off"]);
    assert_eq!(reason(8000, 1.0), "no detector is on");
}

/// However many there are, wherever one is that is not normal, and whoever asks: a list that is all normal is sent as a whole.
#[test]
fn madd_replies_to_each_reading_in_its_place() {
    let server = Server::start();
    rule(&server, &["max", "10"]);
    let mut at = 0;
    let mut madd = |abnormal: Option<usize>, readings: usize| {
        let mut words = args!["ANOMALY.MADD"];
        for place in 0..readings {
            at += 1000;
            words.extend(args!["s", at, if abnormal == Some(place) { 11 } else { 5 }]);
        }
        words
    };
    let verdict = |abnormal: Option<usize>, place: usize| {
        let word = if abnormal == Some(place) {
            "warning"
        } else {
            "normal"
        };
        Value::SimpleString(word.into())
    };
    for mut connection in [server.conn(), server.resp3()] {
        for readings in [1, 2, 50, 64, 65, 127, 128, 129, 300] {
            for abnormal in [
                None,
                None,
                Some(0),
                Some(readings / 2),
                Some(readings - 1),
                None,
            ] {
                let expected: Vec<Value> = (0..readings).map(|at| verdict(abnormal, at)).collect();
                let replies = call(&mut connection, &madd(abnormal, readings));
                assert_eq!(
                    list(&replies),
                    expected,
                    "{readings}, abnormal: {abnormal:?}"
                );
                if readings != 50 {
                    continue;
                }
                call(&mut connection, &["MULTI"]);
                call(&mut connection, &madd(abnormal, readings));
                let done = list(&call(&mut connection, &["EXEC"]));
                assert_eq!(list(&done[0]), expected, "EXEC, abnormal: {abnormal:?}");
                let script = "return redis.call(unpack(ARGV))";
                let words = [args!["EVAL", script, 1, "s"], madd(abnormal, readings)].concat();
                let replies = call(&mut connection, &words);
                assert_eq!(list(&replies), expected, "EVAL, abnormal: {abnormal:?}");
            }
        }
    }
}

#[test]
fn a_bad_item_of_madd_is_an_error_in_its_place_and_stops_nothing() {
    let server = Server::start();
    server.cmd(&["SET", "text", "x"]);
    let madd = [
        "ANOMALY.MADD",
        "s",
        "1000",
        "1",
        "s",
        "2000",
        "bad",
        "text",
        "3000",
        "1",
        "s",
        "-4",
        "1",
        "s",
        "5000",
        "1",
        "s",
        "5000",
        "1",
        "t",
        "1",
        "1",
    ];
    let replies = list(&server.cmd(&madd));
    let said: Vec<String> = replies
        .iter()
        .map(|r| error(r).unwrap_or_else(|| text(r)))
        .collect();
    let expected = [
        "warmup",
        "ERR value 'bad' is not a number",
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR timestamp '-4' is not *, nor an integer of Unix milliseconds from 0",
        "warmup",
        "duplicate",
        "warmup",
    ];
    assert_eq!(said, expected);
    assert_eq!(samples(&server), [(1000, 1.0), (5000, 1.0)]);
    assert_eq!(server.info("anomaly")["anomaly_refused"], "3");
}
