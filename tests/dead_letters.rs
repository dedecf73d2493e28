//! What cannot be read from a watched stream is kept with its reason, and the producer never notices.

use anomaly_tests::{Server, int, text};
use redis::Value;

fn watching(pattern: &str, options: &[&str]) -> Server {
    let server = Server::start();
    server.cmd(&[&["ANOMALY.WATCH", "SET", pattern], options].concat());
    server
}

/// Adds an entry; its id, which XADD always replies.
#[track_caller]
fn add(server: &Server, stream: &str, fields: &[&str]) -> String {
    text(&server.cmd(&[&["XADD", stream, "*"], fields].concat()))
}

#[track_caller]
fn sensors(server: &Server, expected: &[&str]) {
    let there = server.info("anomaly")["anomaly_sensors"].clone();
    assert_eq!(there, expected.len().to_string());
    for sensor in expected {
        assert!(
            server.cmd(&["ANOMALY.INFO", sensor]) != Value::Nil,
            "{sensor}"
        );
    }
}

/// Adds one bad entry: there must be one dead letter more, with all that is known and a reason in these words.
#[track_caller]
fn buries(server: &Server, stream: &str, fields: &[&str], payload: &str, reason: &str) {
    let before = server.stream("anomaly:dead").len();
    let id = add(server, stream, fields);
    let dead = server.stream("anomaly:dead");
    assert_eq!(dead.len(), before + 1, "{fields:?}");
    let names: Vec<&str> = dead[before]
        .1
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["stream", "id", "reason", "payload"]);
    let values: Vec<&str> = dead[before]
        .1
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!([values[0], values[1], values[3]], [stream, &id, payload]);
    assert!(values[2].contains(reason), "{}", values[2]);
    assert!(!values[2].starts_with("ERR "), "{}", values[2]);
    let counted = &server.info("anomaly")["anomaly_dead_letters"];
    assert_eq!(*counted, dead.len().to_string());
}

#[test]
fn an_entry_that_cannot_be_read_is_kept_whole_with_the_reason() {
    let server = watching("raw", &[]);
    let cases: [(&[&str], &str, &str); 6] = [
        (&["temp", "5"], r#"{"temp":"5"}"#, "names no device"),
        (
            &["id", "", "temp", "5"],
            r#"{"id":"","temp":"5"}"#,
            "is empty",
        ),
        (
            &["id", "d", "time", "yesterday", "temp", "5"],
            r#"{"id":"d","time":"yesterday","temp":"5"}"#,
            "'yesterday', which is no time",
        ),
        (
            &["id", "d", "temp", "warm"],
            r#"{"id":"d","temp":"warm"}"#,
            "no field that is a number",
        ),
        (
            &["id", "7", "ts", "1754300000"],
            r#"{"id":"7","ts":"1754300000"}"#,
            "no field that is a number",
        ),
        (
            &["id", "d", "ts", "2025-07-28T10:00:00", "temp", "5"],
            r#"{"id":"d","ts":"2025-07-28T10:00:00","temp":"5"}"#,
            "without a zone",
        ),
    ];
    for (fields, payload, reason) in cases {
        buries(&server, "raw", fields, payload, reason);
    }
    sensors(&server, &[]);
    assert_eq!(int(&server.cmd(&["XLEN", "raw"])), 6);
}

#[test]
fn a_field_that_holds_no_json_object_is_a_dead_letter() {
    let server = watching("raw", &["JSON", "data"]);
    for (data, reason) in [
        ("{", "does not hold a JSON object"),
        ("5", "does not hold a JSON object"),
        ("[1]", "does not hold a JSON object"),
        ("{}", "no device"),
        (r#"{"id":"d","t":"x"}"#, "no field that is a number"),
    ] {
        let payload = serde_json::json!({ "data": data }).to_string();
        buries(&server, "raw", &["data", data], &payload, reason);
    }
    let other = r#"{"id":"d","t":"5"}"#;
    buries(
        &server,
        "raw",
        &["id", "d", "t", "5"],
        other,
        "no field 'data'",
    );
    let nested = "[".repeat(100_000);
    add(&server, "raw", &["data", &nested]);
    sensors(&server, &[]);
}

#[test]
fn a_bad_metric_is_buried_alone_and_the_others_are_read() {
    let server = watching("raw", &[]);
    let fields = ["id", "d", "a", "1", "b", "nan", "c", "3"];
    let payload = r#"{"id":"d","a":"1","b":"nan","c":"3"}"#;
    buries(&server, "raw", &fields, payload, "b: ");
    sensors(&server, &["sensor:d:a", "sensor:d:c"]);
    server.cmd(&["SET", "sensor:e:b", "mine"]);
    let fields = ["id", "e", "a", "1", "b", "2", "c", "3"];
    let payload = r#"{"id":"e","a":"1","b":"2","c":"3"}"#;
    buries(&server, "raw", &fields, payload, "WRONGTYPE");
    assert_eq!(text(&server.cmd(&["GET", "sensor:e:b"])), "mine");
    sensors(
        &server,
        &["sensor:d:a", "sensor:d:c", "sensor:e:a", "sensor:e:c"],
    );
}

#[test]
fn a_clock_that_is_ahead_does_not_make_the_sensor_deaf() {
    let server = watching("raw", &[]);
    let fields = ["id", "d", "ts", "4102444800", "t", "5"];
    let payload = r#"{"id":"d","ts":"4102444800","t":"5"}"#;
    buries(&server, "raw", &fields, payload, "anomaly.max-future");
    server.cmd(&["CONFIG", "SET", "anomaly.max-future", "3155760000000"]);
    add(&server, "raw", &fields);
    sensors(&server, &["sensor:d:t"]);
}

#[test]
fn bytes_that_are_no_text_are_kept_readable() {
    let server = watching("raw*", &[]);
    let stream: &[u8] = b"raw\xff\r\n";
    let xadd: [&[u8]; 7] = [
        b"XADD",
        stream,
        b"*",
        b"t\xff",
        b"x\r\n\0",
        b"t\xff",
        b"\xc3\x28",
    ];
    server.cmd(&xadd);
    let dead = server.cmd(&["XRANGE", "anomaly:dead", "-", "+"]);
    let fields = anomaly_tests::list(&anomaly_tests::list(&anomaly_tests::list(&dead)[0])[1]);
    assert_eq!(anomaly_tests::bytes(&fields[1]), stream);
    let payload: serde_json::Value = serde_json::from_str(&text(&fields[7])).unwrap();
    assert_eq!(payload.as_object().unwrap().len(), 2, "{payload}");
}

#[test]
fn watched_streams_create_no_more_sensors_than_allowed_and_the_log_says_so_once() {
    let server = watching("raw", &[]);
    server.cmd(&["CONFIG", "SET", "anomaly.max-sensors", "3"]);
    for (n, device) in ["a", "b", "c", "d", "e", "a", "c"].iter().enumerate() {
        add(
            &server,
            "raw",
            &["id", device, "t", "5", "ts", &(1000 + n).to_string()],
        );
    }
    sensors(&server, &["sensor:a:t", "sensor:b:t", "sensor:c:t"]);
    assert_eq!(server.info("anomaly")["anomaly_readings"], "5");
    assert_eq!(server.stream("anomaly:dead").len(), 2);
    assert_eq!(
        server.log().matches("may create no more sensors").count(),
        1
    );
    server.cmd(&["ANOMALY.ADD", "by:hand", "*", "5"]);
    server.cmd(&["DEL", "sensor:a:t", "by:hand"]);
    add(&server, "raw", &["id", "d", "t", "5"]);
    sensors(&server, &["sensor:b:t", "sensor:c:t", "sensor:d:t"]);
}

#[test]
fn dead_letters_go_to_the_stream_that_is_set_and_are_bounded() {
    let server = watching("raw", &[]);
    server.cmd(&["CONFIG", "SET", "anomaly.dead-key", "graves"]);
    server.cmd(&["CONFIG", "SET", "anomaly.alerts-maxlen", "50"]);
    for _ in 0..400 {
        add(&server, "raw", &["t", "5"]);
    }
    let kept = int(&server.cmd(&["XLEN", "graves"]));
    assert!((50..250).contains(&kept), "{kept}");
    assert_eq!(int(&server.cmd(&["EXISTS", "anomaly:dead"])), 0);
    assert_eq!(server.info("anomaly")["anomaly_dead_letters"], "400");
}

#[test]
fn a_dead_letter_that_cannot_be_written_does_not_trouble_the_producer() {
    let server = watching("raw", &[]);
    server.cmd(&["SET", "anomaly:dead", "mine"]);
    for _ in 0..3 {
        add(&server, "raw", &["t", "5"]);
    }
    assert_eq!(text(&server.cmd(&["GET", "anomaly:dead"])), "mine");
    assert_eq!(
        server
            .log()
            .matches("dead letter could not be written")
            .count(),
        1
    );
}
