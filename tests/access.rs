//! Access rights: who may do what with which sensors.

use anomaly_tests::{Server, assert_same, call, field, int, list, text, try_call};
use redis::Connection;

#[test]
fn there_is_a_category_of_our_own_by_which_rights_are_given() {
    let server = Server::start();
    server.cmd(&[
        "ACL",
        "SETUSER",
        "sensor",
        "on",
        "nopass",
        "+@anomaly",
        "+auth",
        "~sensor:*",
    ]);
    let mut user = server.conn();
    call(&mut user, &["AUTH", "sensor", "any"]);
    for allowed in [
        &["ANOMALY.ADD", "sensor:1", "1000", "1"][..],
        &[
            "ANOMALY.MADD",
            "sensor:1",
            "2000",
            "1",
            "sensor:2",
            "1",
            "1",
        ],
        &["ANOMALY.CONFIG", "SET", "*", "max", "5"],
        &["ANOMALY.INFO", "sensor:1"],
        &["ANOMALY.ALERTS"],
    ] {
        assert!(try_call(&mut user, allowed).is_ok(), "{allowed:?}");
    }
    for refused in [
        &["ANOMALY.ADD", "other", "1000", "1"][..],
        &["ANOMALY.MADD", "sensor:1", "3000", "1", "other", "1", "1"],
        &["ANOMALY.INFO", "other"],
        &["ANOMALY.CONFIG", "RESOLVE", "other"],
        &["ANOMALY._APPLY", "1", "sensor:1", "4000", "1", "1"],
        &["ANOMALY._LOAD", "sensor:1", "x"],
        &["GET", "sensor:1"],
        &["TS.GET", "ts:{sensor:1}"],
    ] {
        let why = try_call(&mut user, refused).expect_err("no right to it");
        assert!(why.starts_with("NOPERM "), "{refused:?}: {why}");
    }
    let info = server.cmd(&["ANOMALY.INFO", "sensor:1"]);
    assert_eq!(
        int(&field(&info, "readings")),
        2,
        "a refused MADD added nothing"
    );
    assert_eq!(
        int(&server.cmd(&["EXISTS", "ts:{sensor:1}"])),
        1,
        "the series needs no right of the user's"
    );
}

#[test]
fn readers_may_read_and_not_write() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    server.cmd(&[
        "ACL", "SETUSER", "reader", "on", "nopass", "+@read", "+auth", "~*",
    ]);
    let mut user = server.conn();
    call(&mut user, &["AUTH", "reader", "any"]);
    for allowed in [
        &["ANOMALY.INFO", "s"][..],
        &["ANOMALY.ALERTS"],
        &["ANOMALY.CONFIG", "LIST"],
    ] {
        assert!(try_call(&mut user, allowed).is_ok(), "{allowed:?}");
    }
    for refused in [
        &["ANOMALY.ADD", "s", "2000", "1"][..],
        &["ANOMALY.RESET", "s"],
        &["ANOMALY.CONFIG", "DEL", "*"],
    ] {
        assert!(
            try_call(&mut user, refused).is_err_and(|why| why.starts_with("NOPERM ")),
            "{refused:?}"
        );
    }
}

/// A client of a new user with these rights.
fn user(server: &Server, name: &str, rights: &[&str]) -> Connection {
    let base = ["ACL", "SETUSER", name, "on", "nopass", "+auth"];
    server.cmd(&[&base[..], rights].concat());
    let mut user = server.conn();
    call(&mut user, &["AUTH", name, "any"]);
    user
}

#[test]
fn who_may_only_add_to_some_sensors_can_do_nothing_else() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "5"]);
    let mut device = user(&server, "device", &["+anomaly.add", "~sensor:*"]);
    call(&mut device, &["ANOMALY.ADD", "sensor:1", "1000", "9"]);
    assert_eq!(
        server.stream("anomaly:alerts").len(),
        1,
        "its alert is written"
    );
    let before = server.picture();
    let all = server.cmd(&["COMMAND", "LIST", "FILTERBY", "MODULE", "anomaly"]);
    let mut tried = 0;
    for name in list(&all).iter().map(text) {
        if name == "anomaly.add" || ["anomaly.config", "anomaly.watch"].contains(&name.as_str()) {
            continue;
        }
        let mut command: Vec<&str> = name.split('|').collect();
        command.extend(["sensor:1"; 8]);
        let arity = int(&list(&list(&server.cmd(&["COMMAND", "INFO", &name]))[0])[1]);
        if arity > 0 {
            command.truncate(arity as usize);
        }
        let why = try_call(&mut device, &command).expect_err("no right to it");
        assert!(why.starts_with("NOPERM "), "{command:?}: {why}");
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    for refused in [
        &["ANOMALY.ADD", "other", "1000", "1"][..],
        &["ANOMALY.ADD", "ts:{sensor:1}", "1000", "1"],
        &["ANOMALY.ADD", "anomaly:alerts", "1000", "1"],
        &["XADD", "anomaly:alerts", "*", "event", "firing"],
        &["DEL", "sensor:1"],
        &["TS.ADD", "ts:{sensor:1}", "2000", "1"],
    ] {
        let why = try_call(&mut device, refused).expect_err("no right to it");
        assert!(why.starts_with("NOPERM "), "{refused:?}: {why}");
    }
    assert_same(&server.picture(), &before);
}

/// They hold for every key, and a watch writes sensors where its template says: a right to keys is no right to them.
#[test]
fn rules_and_watches_are_for_administrators() {
    let server = Server::start();
    let administers = [
        &["ANOMALY.CONFIG", "SET", "*", "max", "5"][..],
        &["ANOMALY.CONFIG", "IMPORT", "{\"rules\":[]}"],
        &["ANOMALY.CONFIG", "DEL", "*"],
        &["ANOMALY.WATCH", "SET", "raw"],
        &["ANOMALY.WATCH", "DEL", "raw"],
    ];
    for (name, rights) in [
        ("writer", &["+@read", "+@write", "~*"][..]),
        ("careful", &["+@all", "-@dangerous", "~*"]),
        ("no-admin", &["+@all", "-@admin", "~*"]),
        ("ours-without", &["+@anomaly", "-@admin", "~*"]),
    ] {
        let mut user = user(&server, name, rights);
        for command in administers {
            let why = try_call(&mut user, command).expect_err("no right to it");
            assert!(why.starts_with("NOPERM "), "{name} {command:?}: {why}");
        }
        call(&mut user, &["ANOMALY.CONFIG", "LIST"]);
        call(&mut user, &["ANOMALY.WATCH", "LIST"]);
        call(&mut user, &["ANOMALY.ADD", "s", "*", "1"]);
    }
    for (name, rights) in [
        ("admin", &["+@admin"][..]),
        ("dangerous", &["+@dangerous"]),
        ("ours", &["+@anomaly"]),
        ("named", &["+anomaly.config", "+anomaly.watch"]),
    ] {
        let mut user = user(&server, name, rights);
        for command in administers {
            call(&mut user, command);
        }
    }
}

#[test]
fn internal_commands_are_refused_to_every_client() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let before = server.picture();
    for command in [
        &["ANOMALY._APPLY", "1", "s", "4000", "1", "1"][..],
        &["ANOMALY._LOAD", "s", "x"],
        &["ANOMALY._BACKLOG", "DONE", "raw"],
        &["ANOMALY._SILENT", "1", "s", "1", "1"],
        &[
            "EVAL",
            "return redis.call('ANOMALY._LOAD', KEYS[1], 'x')",
            "1",
            "s",
        ],
    ] {
        let why = server.refuses(command);
        assert!(why.contains("internal command"), "{command:?}: {why}");
    }
    assert_same(&server.picture(), &before);
}

/// Words that would be more than text to a shell, a terminal, a log, a protocol or a filter of TimeSeries.
#[test]
fn what_readings_rules_and_documents_say_stays_text() {
    let server = Server::start();
    let nasty = "x\r\n*1\r\n$8\r\nFLUSHALL\r\n\u{1b}[2J'\"$(reboot)`id`,(a=b)%0a{}";
    server.cmd(&["SET", "bystander", "untouched"]);
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "5", "unit", "$(id)"]);
    let document = format!(
        "{{\"rules\":[{{\"pattern\":{:?},\"settings\":{{\"max\":4}}}}]}}",
        "*x*"
    );
    server.cmd(&["ANOMALY.CONFIG", "IMPORT", &document]);
    let _ = server.try_cmd(&["ANOMALY.CONFIG", "IMPORT", &format!("{{\"{nasty}")]);
    let _ = server.try_cmd(&["ANOMALY.CONFIG", "SET", nasty, nasty, nasty]);
    let _ = server.try_cmd(&["ANOMALY.CONFIG", "SET", nasty, "max", "3", "unit", nasty]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw:*"]);
    server.cmd(&["ANOMALY.ADD", nasty, "*", "9"]);
    server.cmd(&["ANOMALY.ACK", nasty, "BY", nasty, "COMMENT", nasty]);
    server.cmd(&["XADD", "raw:1", "*", "id", nasty, nasty, "9"]);
    server.cmd(&[
        "XADD",
        &format!("raw:{nasty}"),
        "*",
        "id",
        nasty,
        "t",
        nasty,
    ]);
    let sensor = format!("sensor:{nasty}:{nasty}");
    let mut expected = vec![
        "anomaly:alerts".to_owned(),
        "anomaly:dead".into(),
        "bystander".into(),
        "raw:1".into(),
        format!("raw:{nasty}"),
        nasty.into(),
        sensor.clone(),
    ];
    // A key with a tag keeps it; this one's braces are empty.
    expected.extend([format!("ts:{{{nasty}}}"), format!("ts:{{{sensor}}}")]);
    let mut keys: Vec<String> = list(&server.cmd(&["KEYS", "*"])).iter().map(text).collect();
    keys.sort();
    expected.sort();
    assert_eq!(keys, expected);
    assert_eq!(text(&server.cmd(&["GET", "bystander"])), "untouched");
    let alerts = server.stream("anomaly:alerts");
    let sensors: Vec<&str> = alerts
        .iter()
        .flat_map(|(_, fields)| fields.iter().filter(|(name, _)| name == "sensor"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(sensors, [nasty, nasty, &sensor]);
    let labels = list(&field(
        &server.cmd(&["TS.INFO", &format!("ts:{{{sensor}}}")]),
        "labels",
    ));
    assert_eq!(
        labels.len(),
        4,
        "sensor, device, metric, stream, and none of the reading's making"
    );
    let log = server.log();
    assert!(!log.contains('\u{1b}') && !log.contains("\n*1"), "{log}");
}
