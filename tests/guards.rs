//! What keeps one mistake from costing everything.

use anomaly_tests::{Server, args, error, list, text};

#[test]
fn a_key_that_alerts_or_dead_letters_go_to_cannot_become_a_sensor() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    for key in ["anomaly:alerts", "anomaly:dead"] {
        let refused = server.refuses(&["ANOMALY.ADD", key, "*", "1"]);
        assert!(
            refused.starts_with("ERR key") && refused.contains(key),
            "{refused}"
        );
    }
    server.cmd(&["ANOMALY.ADD", "s", "*", "15"]);
    assert_eq!(server.stream("anomaly:alerts").len(), 1);
}

#[test]
fn what_is_no_stream_is_not_listed_as_one() {
    let server = Server::start();
    server.cmd(&["SET", "anomaly:alerts", "x"]);
    assert!(list(&server.cmd(&["ANOMALY.ALERTS", "STREAMS"])).is_empty());
}

#[test]
fn one_long_madd_cannot_pass_maxmemory_by_far() {
    let server = Server::start();
    let used = || server.info("memory")["used_memory"].parse::<u64>().unwrap();
    let mut words = args!["ANOMALY.MADD"];
    for n in 0..20_000 {
        words.extend(args![format!("sensor:{n}"), 1000, 1]);
    }
    server.cmd(&args!["CONFIG", "SET", "maxmemory", used() + 8_000_000]);
    let replies = list(&server.cmd(&words));
    let refused = replies.iter().filter_map(error).collect::<Vec<_>>();
    assert!(
        refused.iter().all(|text| text.starts_with("OOM ")),
        "{:?}",
        refused.first()
    );
    assert!(
        !refused.is_empty() && refused.len() < replies.len(),
        "{}",
        refused.len()
    );
    assert_eq!(text(&replies[0]), "warmup");
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(
        text(&server.cmd(&args!["ANOMALY.ADD", "sensor:19999", 1000, 1])),
        "warmup",
        "what was refused was not taken"
    );
}

#[test]
fn the_archive_cannot_be_required_where_there_is_none() {
    let server = Server::builder().without_timeseries().start();
    let refused = server.refuses(&["CONFIG", "SET", "anomaly.archive", "required"]);
    assert!(refused.contains("TimeSeries is not loaded"), "{refused}");
    assert_eq!(
        text(&list(&server.cmd(&["CONFIG", "GET", "anomaly.archive"]))[1]),
        "auto"
    );
}

#[test]
fn a_watched_stream_that_becomes_the_alerts_or_dead_letter_stream_is_read_no_more() {
    for setting in ["anomaly.alerts-key", "anomaly.dead-key"] {
        let server = Server::start();
        server.cmd(&["ANOMALY.WATCH", "SET", "*"]);
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
        let add = |stream: &str, value: &str| {
            server.cmd(&["XADD", stream, "*", "device_id", "d", "temperature", value])
        };
        add("own", "1");
        server.cmd(&["CONFIG", "SET", setting, "own"]);
        let before = server.info("anomaly")["anomaly_readings"].clone();
        add("own", "2");
        assert_eq!(
            server.info("anomaly")["anomaly_readings"],
            before,
            "{setting}"
        );
        // An alert and a dead letter: neither is a reading.
        add("other", "15");
        server.cmd(&["XADD", "other", "*", "device_id", "d", "temperature", "nan"]);
        let info = server.info("anomaly");
        let count = |name: &str| info[name].parse::<u64>().unwrap();
        assert_eq!(
            count("anomaly_readings"),
            before.parse::<u64>().unwrap() + 1,
            "{setting}"
        );
        assert_eq!(
            (
                count("anomaly_alerts_firing"),
                count("anomaly_dead_letters")
            ),
            (1, 1)
        );
    }
}
