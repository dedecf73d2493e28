//! Numbers at the end of the range and keys of any bytes are taken like all others.

use anomaly_tests::{Server, args, bytes, field, float, int, list, text};
use redis::Value;

#[test]
fn the_smallest_and_the_largest_numbers_are_taken_and_archived_bit_for_bit() {
    let server = Server::start();
    let values = [
        5e-324,
        -5e-324,
        1e-310,
        2.2250738585072014e-308,
        1.7e308,
        -1.7e308,
        f64::MAX,
        f64::MIN,
        -0.0,
        0.1 + 0.2,
    ];
    for (at, value) in (0i64..).zip(values) {
        assert_eq!(
            text(&server.cmd(&args!["ANOMALY.ADD", "s", at, format!("{value:e}")])),
            "warmup"
        );
    }
    let samples = list(&server.cmd(&["TS.RANGE", "ts:{s}", "-", "+"]));
    let archived: Vec<f64> = samples
        .iter()
        .map(|sample| float(&list(sample)[1]))
        .collect();
    assert_eq!(archived, values);
    // and figures made from them stay numbers
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "*",
        "zscore",
        "3",
        "window",
        "5",
        "rate",
        "1",
        "recent",
        "10",
    ]);
    for (at, value) in (100i64..).zip(values.iter().cycle().take(40)) {
        let reply = server.cmd(&args![
            "ANOMALY.ADD",
            "s",
            at,
            format!("{value:e}"),
            "EXPLAIN"
        ]);
        let score = float(&field(&reply, "score"));
        assert!((0.0..=1.0).contains(&score), "{value:e}: {reply:?}");
    }
    let info = format!("{:?}", server.cmd(&["ANOMALY.INFO", "s"])).to_lowercase();
    assert!(
        !info.contains("nan") && !info.contains("\"inf") && !info.contains("\"-inf"),
        "{info}"
    );
}

#[test]
fn any_bytes_are_a_key() {
    let server = Server::start();
    let long = vec![b'k'; 1 << 20];
    let keys: [&[u8]; 9] = [
        b"",
        b" ",
        b"a b\r\nc\0d",
        "fühler:°C".as_bytes(),
        b"\xff\xfe",
        b"{}",
        b"a}b",
        b"{tag}:x",
        &long,
    ];
    for key in keys {
        let name = key[..key.len().min(20)].escape_ascii();
        assert_eq!(
            text(&server.cmd(&args!["ANOMALY.ADD", key, 1000, 50])),
            "warmup",
            "{name}"
        );
        let info = server.cmd(&args!["ANOMALY.INFO", key]);
        assert_eq!(int(&field(&info, "readings")), 1, "{name}");
        let series = bytes(&field(&info, "series"));
        let samples = list(&server.cmd(&args!["TS.RANGE", series, "-", "+"]));
        assert_eq!(samples.len(), 1, "{name}");
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
        assert_eq!(
            text(&server.cmd(&args!["ANOMALY.ADD", key, 2000, 50])),
            "warning",
            "{name}"
        );
        server.cmd(&["ANOMALY.CONFIG", "DEL", "*"]);
        assert_eq!(server.cmd(&args!["DEL", key]), Value::Int(1));
    }
    let mut sensors = list(&server.cmd(&["XRANGE", "anomaly:alerts", "-", "+"]));
    sensors.truncate(2 * keys.len());
    assert_eq!(sensors.len(), 2 * keys.len(), "each fires and is resolved");
}
