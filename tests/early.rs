//! Readings of a stream's entry whose sensors are all known are taken in while the XADD is still under way. Nobody can tell, but
//! by the clock.

use anomaly_tests::{
    Server, Stop, args, assert_same, c_module, call, call_many, field, int, is_nil, list, text,
};

/// A server that watches `raw`, and has seen an entry of each of these devices before.
fn knowing(devices: &[&str]) -> Server {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    for device in devices {
        for _ in 0..3 {
            add(&server, &["id", device, "temp", "5", "hum", "5"]);
        }
    }
    server
}

fn add(server: &Server, fields: &[&str]) -> String {
    text(&server.cmd(&[&["XADD", "raw", "*"], fields].concat()))
}

/// Readings of a sensor so far, those of one millisecond included.
fn readings(server: &Server, sensor: &str) -> i64 {
    let info = server.cmd(&["ANOMALY.INFO", sensor]);
    ["readings", "late", "duplicates"]
        .map(|name| int(&field(&info, name)))
        .iter()
        .sum()
}

/// Sensor, event and source of each alert.
fn alerts(server: &Server) -> Vec<[String; 3]> {
    let alerts = server.stream("anomaly:alerts");
    let value = |fields: &[(String, String)], name: &str| {
        let field = fields.iter().find(|field| field.0 == name);
        field.map(|field| field.1.clone()).unwrap_or_default()
    };
    alerts
        .iter()
        .map(|(_, fields)| ["sensor", "event", "source"].map(|name| value(fields, name)))
        .collect()
}

fn alert(sensor: &str, event: &str, id: &str) -> [String; 3] {
    [sensor.into(), event.into(), format!("raw {id}")]
}

#[test]
fn an_alert_of_a_known_sensor_tells_its_own_entry() {
    let server = knowing(&["d"]);
    let first = add(&server, &["id", "d", "temp", "50", "hum", "5"]);
    let second = add(&server, &["id", "d", "temp", "5", "hum", "60"]);
    // Of this one only the second reading is told of.
    let third = add(&server, &["id", "d", "temp", "5", "hum", "5"]);
    let expected = [
        alert("sensor:d:temp", "firing", &first),
        alert("sensor:d:temp", "resolved", &second),
        alert("sensor:d:hum", "firing", &second),
        alert("sensor:d:hum", "resolved", &third),
    ];
    assert_eq!(alerts(&server), expected);
    for sensor in ["sensor:d:temp", "sensor:d:hum"] {
        assert_eq!(readings(&server, sensor), 6);
    }
}

#[test]
fn known_sensors_are_read_in_whatever_way_their_watch_says() {
    for (watch, bad, good, sensor) in [
        (
            "METRIC m VALUE v",
            "id d m temp v 50",
            "v 5 m temp id d",
            "sensor:d:temp",
        ),
        (
            "VALUES 1 t KEY $device/$stream/$device",
            "t 50 id d u 1",
            "t 5 id d u 1",
            "d/raw/d",
        ),
        (
            "JSON p",
            r#"p {"id":"d","t":50}"#,
            r#"p {"t":5,"id":"d"}"#,
            "sensor:d:t",
        ),
        ("KEY $stream", "n 50", "n 5", "raw"),
    ] {
        let server = Server::start();
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
        let watch = format!(
            "ANOMALY.WATCH SET stream {}",
            watch.replace("$stream", "s:$stream")
        );
        let sensor = sensor.replace("raw", "s:stream");
        server.cmd(&watch.split(' ').collect::<Vec<_>>());
        let add = |fields: &str| {
            let fields: Vec<&str> = fields.split(' ').collect();
            text(&server.cmd(&[&["XADD", "stream", "*"], &fields[..]].concat()))
        };
        // The second entry with these names finds its sensor known.
        for _ in 0..3 {
            add(good);
        }
        let ids = [add(bad), add(good)];
        let expected: Vec<_> = ids
            .iter()
            .zip(["firing", "resolved"])
            .map(|(id, event)| [sensor.clone(), event.into(), format!("stream {id}")])
            .collect();
        assert_eq!(alerts(&server), expected, "{watch}");
        assert_eq!(readings(&server, &sensor), 5, "{watch}");
        assert_eq!(
            server.info("anomaly")["anomaly_dead_letters"],
            "0",
            "{watch}"
        );
    }
}

#[test]
fn an_entry_with_a_new_sensor_is_taken_in_whole_and_in_its_order() {
    let server = knowing(&["d"]);
    let id = add(
        &server,
        &["id", "d", "temp", "50", "new", "50", "hum", "50"],
    );
    let fired = ["temp", "new", "hum"].map(|metric| {
        let sensor = format!("sensor:d:{metric}");
        alert(&sensor, "firing", &id)
    });
    assert_eq!(alerts(&server), fired);
    let counted = ["temp", "new", "hum"].map(|metric| {
        let sensor = format!("sensor:d:{metric}");
        readings(&server, &sensor)
    });
    assert_eq!(counted, [4, 1, 4]);
}

#[test]
fn what_is_bad_in_an_entry_of_known_sensors_is_buried_alone() {
    let server = knowing(&["d"]);
    add(&server, &["id", "d", "temp", "inf", "hum", "50"]);
    let far = "99999999999999";
    add(&server, &["id", "d", "temp", "50", "ts", far]);
    let dead = server.stream("anomaly:dead");
    let reasons: Vec<&str> = dead
        .iter()
        .map(|(_, fields)| fields[2].1.as_str())
        .collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons[0].contains("not a finite number"), "{reasons:?}");
    assert!(
        reasons[1].contains("ahead of the server's clock"),
        "{reasons:?}"
    );
    assert_eq!(readings(&server, "sensor:d:temp"), 3);
    assert_eq!(readings(&server, "sensor:d:hum"), 4);
    assert_eq!(alerts(&server).len(), 1);
}

#[test]
fn a_panic_in_a_known_sensor_resets_it_and_buries_its_reading() {
    let server = knowing(&["d", "other"]);
    add(&server, &["id", "d", "temp", "50"]);
    server.cmd(&["ANOMALY._PANIC", "sensor:d:temp"]);
    add(&server, &["id", "d", "temp", "50", "hum", "6"]);
    let left = int(&field(
        &server.cmd(&["ANOMALY.INFO", "sensor:d:temp"]),
        "readings",
    ));
    assert_eq!(left, 0);
    assert_eq!(readings(&server, "sensor:d:hum"), 4);
    let dead = server.stream("anomaly:dead");
    assert_eq!(dead.len(), 1);
    assert!(dead[0].1[2].1.contains("internal error"), "{dead:?}");
    let events: Vec<_> = alerts(&server)
        .into_iter()
        .map(|[_, event, _]| event)
        .collect();
    assert_eq!(events, ["firing", "resolved"]);
    let id = add(&server, &["id", "d", "temp", "50"]);
    assert_eq!(
        alerts(&server).last(),
        Some(&alert("sensor:d:temp", "firing", &id))
    );
}

#[test]
fn each_reading_of_known_sensors_is_archived_once_however_many_come() {
    let server = knowing(&["d"]);
    let id = add(&server, &["id", "d", "temp", "5"]);
    let start: i64 = id.split('-').next().unwrap().parse().unwrap();
    // More than wait for one another, and no command between them that could look.
    let entries: Vec<_> = (1..=500)
        .map(|at| {
            args![
                "XADD",
                "raw",
                "*",
                "id",
                "d",
                "temp",
                at % 10,
                "ts",
                start + at
            ]
        })
        .collect();
    for reply in call_many(&mut server.conn(), &entries) {
        assert!(!is_nil(&reply));
    }
    let samples = list(&server.cmd(&args!["TS.RANGE", "ts:{sensor:d:temp}", start + 1, "+"]));
    let found: Vec<(i64, String)> = samples
        .iter()
        .map(|sample| {
            let sample = list(sample);
            (int(&sample[0]) - start, text(&sample[1]))
        })
        .collect();
    let expected: Vec<(i64, String)> = (1..=500).map(|at| (at, (at % 10).to_string())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_transaction_that_watches_a_known_sensor_fails_when_an_entry_changes_it() {
    let server = knowing(&["d"]);
    let mut other = server.conn();
    call(&mut other, &["WATCH", "sensor:d:temp"]);
    add(&server, &["id", "d", "temp", "5"]);
    call(&mut other, &["MULTI"]);
    call(&mut other, &["PING"]);
    assert!(is_nil(&call(&mut other, &["EXEC"])));
}

#[test]
fn whoever_hears_is_told_of_the_readings_of_known_sensors() {
    let mut server = Server::builder().aof().start();
    let replica = Server::builder().replica_of(&server).start();
    server.replica_in_sync(&replica);
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    for at in 0..50i64 {
        let value = if at % 20 == 19 { "50" } else { "5" };
        let ts = (1_754_300_000_000 + at).to_string();
        add(&server, &["id", "d", "temp", value, "ts", &ts]);
    }
    server.replica_in_sync(&replica);
    let picture = server.picture();
    assert_same(&replica.picture(), &picture);
    server.restart(Stop::NoSave);
    assert_same(&server.picture(), &picture);
    assert_eq!(readings(&replica, "sensor:d:temp"), 50);
}

/// A stream expires in the midst of the XADD that adds to it, upon which another module adds to one that is watched as well.
#[test]
fn an_entry_that_came_before_is_read_before() {
    let builder = Server::builder();
    let library = c_module("tests/early/loud.c", builder.path());
    let server = builder.config(format!("loadmodule {library}")).start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw*"]);
    server.cmd(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
    let add = |at: i64| {
        let at = (1_754_300_000_000 + at).to_string();
        let entry = ["id", "d", "temp", "5", "ts", &at];
        server.cmd(&[&["XADD", "raw:short", "*"], &entry[..]].concat());
    };
    (1..=3).for_each(add);
    let now = || {
        let time = list(&server.cmd(&["TIME"]));
        int(&time[0]) * 1000 + int(&time[1]) / 1000
    };
    let then = now() + 20;
    server.cmd(&args!["PEXPIREAT", "raw:short", then]);
    server.wait_until("its time is over", || now() > then);
    // One second before this one is that of the other module.
    add(2000);
    assert_eq!(int(&server.cmd(&["XLEN", "raw:short"])), 1);
    assert_eq!(int(&server.cmd(&["XLEN", "raw"])), 1);
    let info = server.cmd(&["ANOMALY.INFO", "sensor:d:temp"]);
    let counts = ["readings", "late"].map(|name| int(&field(&info, name)));
    assert_eq!(counts, [5, 0]);
}
