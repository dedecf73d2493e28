//! Four producers that know nothing of us, as they are: with at most one line of WATCH their entries are readings.

use anomaly_tests::{Server, field, float, int, list, text};

fn add(server: &Server, stream: &str, fields: &[&str]) -> i64 {
    let id = text(&server.cmd(&[&["XADD", stream, "*"], fields].concat()));
    id.split('-').next().unwrap().parse().unwrap()
}

/// A sensor has exactly this one reading, in its model and in its series.
#[track_caller]
fn holds(server: &Server, sensor: &str, at: i64, value: f64) {
    let info = server.cmd(&["ANOMALY.INFO", sensor]);
    let numbers = ["readings", "first", "last"].map(|name| int(&field(&info, name)));
    assert_eq!(numbers, [1, at, at], "{sensor}");
    assert_eq!(float(&field(&info, "value")), value, "{sensor}");
    assert_eq!(text(&field(&info, "verdict")), "warning", "{sensor}");
    let series = format!("ts:{{{sensor}}}");
    assert_eq!(text(&field(&info, "series")), series);
    let samples = list(&server.cmd(&["TS.RANGE", &series, "-", "+"]));
    let samples: Vec<(i64, f64)> = samples
        .iter()
        .map(list)
        .map(|sample| (int(&sample[0]), float(&sample[1])))
        .collect();
    assert_eq!(samples, [(at, value)], "{sensor}");
    let alerts = server.stream("anomaly:alerts");
    let of_this = |fields: &[(String, String)]| fields.contains(&("sensor".into(), sensor.into()));
    let alerts = alerts.iter().filter(|(_, fields)| of_this(fields));
    assert_eq!(alerts.count(), 1, "alerts of {sensor}");
}

/// Every value is abnormal, so that each shape shows the whole way to the alert.
fn server(watch: &[&str]) -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "0"]);
    server.cmd(&[&["ANOMALY.WATCH", "SET"], watch].concat());
    server
}

#[track_caller]
fn nothing_else(server: &Server, sensors: usize) {
    let info = server.info("anomaly");
    assert_eq!(info["anomaly_sensors"], sensors.to_string());
    assert_eq!(info["anomaly_dead_letters"], "0");
}

#[test]
fn a_device_a_temperature_and_a_time_in_seconds() {
    let server = server(&["raw_sensor_data"]);
    add(
        &server,
        "raw_sensor_data",
        &[
            "device_id",
            "inrow-ABC-1",
            "temperature",
            "22.5",
            "timestamp",
            "1754300000",
        ],
    );
    holds(
        &server,
        "sensor:inrow-ABC-1:temperature",
        1_754_300_000_000,
        22.5,
    );
    nothing_else(&server, 1);
}

#[test]
fn the_metrics_name_in_one_field_and_its_value_in_another() {
    let server = server(&["weather", "METRIC", "metric_type", "VALUE", "value"]);
    add(
        &server,
        "weather",
        &[
            "sensor_id",
            "weather-1",
            "metric_type",
            "humidity",
            "value",
            "61",
            "timestamp",
            "2025-07-28T10:00:00Z",
        ],
    );
    holds(
        &server,
        "sensor:weather-1:humidity",
        1_753_696_800_000,
        61.0,
    );
    nothing_else(&server, 1);
}

#[test]
fn a_json_object_in_a_field() {
    let server = server(&["gateway", "JSON", "data"]);
    let data = r#"{"device_id":"d1","temperature":21.4,"humidity":40.2,"pressure":1013}"#;
    let at = add(&server, "gateway", &["data", data]);
    for (metric, value) in [
        ("temperature", 21.4),
        ("humidity", 40.2),
        ("pressure", 1013.0),
    ] {
        holds(&server, &format!("sensor:d1:{metric}"), at, value);
    }
    nothing_else(&server, 3);
}

#[test]
fn the_device_in_the_streams_name() {
    let server = server(&["device:*", "KEY", "$stream:$metric"]);
    let at = add(&server, "device:7", &["temp", "21.4"]);
    holds(&server, "device:7:temp", at, 21.4);
    nothing_else(&server, 1);
}

#[test]
fn times_are_seconds_or_milliseconds_whole_or_decimal_or_rfc_3339_in_any_zone() {
    let server = server(&["s"]);
    for (n, (time, at)) in [
        ("1754300000", 1_754_300_000_000),
        ("1754300000.25", 1_754_300_000_250),
        ("1754300000250", 1_754_300_000_250),
        ("1754300000250.4", 1_754_300_000_250),
        ("99999999999", i64::MIN), // the last second: far ahead
        ("100000000000", 100_000_000_000),
        ("2025-07-28T10:00:00Z", 1_753_696_800_000),
        ("2025-07-28T12:00:00+02:00", 1_753_696_800_000),
        ("2025-07-28T05:30:00.5-04:30", 1_753_696_800_500),
    ]
    .into_iter()
    .enumerate()
    {
        let device = n.to_string();
        for name in ["timestamp", "ts", "time"] {
            let metric = format!("by_{name}");
            add(&server, "s", &["id", &device, &metric, "5", name, time]);
            let sensor = format!("sensor:{device}:{metric}");
            if at == i64::MIN {
                assert_eq!(server.cmd(&["ANOMALY.INFO", &sensor]), redis::Value::Nil);
            } else {
                holds(&server, &sensor, at, 5.0);
            }
        }
    }
}
