//! Access rights: who may do what with which sensors.

use anomaly_tests::{Server, assert_same, call, field, int, list, text, try_call};
use redis::{Connection, Value};
use std::collections::BTreeSet;

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

/// `%R~`: what a user may not read is not told of, by whatever way the user asks.
#[test]
fn open_episodes_are_told_to_those_who_may_read_the_sensor() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "5"]);
    for sensor in ["hall:1", "hall:2", "lab:1", "roof:1"] {
        server.cmd(&["ANOMALY.ADD", sensor, "*", "9"]);
    }
    let reads = [
        "+anomaly.alerts",
        "+eval",
        "+multi",
        "+exec",
        "%R~hall:*",
        "%W~lab:*",
    ];
    let mut reader = user(&server, "reader", &reads);
    let mut all = user(&server, "all", &["+anomaly.alerts", "+eval", "allkeys"]);
    let sensors = |reply: &Value| -> Vec<String> {
        let rows = list(reply);
        rows.iter().map(|row| text(&field(row, "sensor"))).collect()
    };
    let ask = ["ANOMALY.ALERTS"];
    assert_eq!(sensors(&call(&mut reader, &ask)), ["hall:1", "hall:2"]);
    let one = call(
        &mut reader,
        &["ANOMALY.ALERTS", "COUNT", "1", "MATCH", "*:1"],
    );
    assert_eq!(sensors(&one), ["hall:1"]);
    let none = call(&mut reader, &["ANOMALY.ALERTS", "MATCH", "lab:*"]);
    assert!(sensors(&none).is_empty());
    assert_eq!(sensors(&call(&mut all, &ask)).len(), 4);
    // The sensors of a reply that a script flattens.
    let script = [
        "EVAL",
        "local all = {} for _, row in ipairs(redis.call('ANOMALY.ALERTS')) do all[#all + 1] = row[2] end return all",
        "0",
    ];
    let told = |reply: &Value| -> Vec<String> { list(reply).iter().map(text).collect() };
    assert_eq!(told(&call(&mut reader, &script)), ["hall:1", "hall:2"]);
    assert_eq!(told(&call(&mut all, &script)).len(), 4);
    call(&mut reader, &["MULTI"]);
    call(&mut reader, &ask);
    let done = list(&call(&mut reader, &["EXEC"]));
    assert_eq!(sensors(&done[0]), ["hall:1", "hall:2"]);
    // The stream is a key as any other.
    let streams = ["ANOMALY.ALERTS", "STREAMS"];
    assert!(list(&call(&mut reader, &streams)).is_empty());
    assert_eq!(told(&call(&mut all, &streams)), ["anomaly:alerts"]);
    server.cmd(&["ACL", "SETUSER", "reader", "%R~anomaly:alerts"]);
    assert_eq!(told(&call(&mut reader, &streams)), ["anomaly:alerts"]);
}

/// All there are, by whatever way: alone, in a transaction, by a script, by a function, on either protocol.
#[test]
fn internal_commands_are_refused_to_every_client() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let commands = [
        &["ANOMALY._APPLY", "1", "s", "4000", "1", "1"][..],
        &["ANOMALY._LOAD", "s", "x"],
        &["ANOMALY._BACKLOG", "DONE", "raw"],
        &["ANOMALY._SILENT", "1", "s", "1", "1"],
        &["ANOMALY._VERDICT", "normal", "0"],
    ];
    let all = server.cmd(&["COMMAND", "LIST", "FILTERBY", "MODULE", "anomaly"]);
    let internal: BTreeSet<String> = list(&all)
        .iter()
        .map(|name| text(name).to_uppercase())
        .filter(|name| name.contains("._") && name != "ANOMALY._PANIC")
        .collect();
    assert_eq!(
        internal,
        commands.map(|words| words[0].to_owned()).into(),
        "no other"
    );
    let library = "#!lua name=l\nredis.register_function('f', function(keys, args) return redis.call(unpack(args)) end)";
    server.cmd(&["FUNCTION", "LOAD", library]);
    let before = server.picture();
    for mut connection in [server.conn(), server.resp3()] {
        let mut refuses = |command: &[&str]| {
            let why = try_call(&mut connection, command).expect_err("it is refused");
            assert!(why.contains("internal command"), "{command:?}: {why}");
        };
        for words in commands {
            refuses(words);
            let script = ["EVAL", "return redis.call(unpack(ARGV))", "1", "s"];
            refuses(&[&script[..], words].concat());
            refuses(&[&["FCALL", "f", "1", "s"][..], words].concat());
        }
        for words in commands {
            call(&mut connection, &["MULTI"]);
            call(&mut connection, words);
            let done = list(&call(&mut connection, &["EXEC"]));
            let why = anomaly_tests::error(&done[0]).expect("it is refused");
            assert!(why.contains("internal command"), "{words:?}: {why}");
        }
    }
    assert_same(&server.picture(), &before);
}

/// A name with a line of a log in it stays on the line that it is told on, whatever goes wrong with it.
#[test]
fn nothing_that_goes_wrong_writes_a_line_of_somebody_elses_into_the_log() {
    let forged = "x\n1:M 01 Jan 2026 00:00:00.000 * FORGED\r\u{1b}[31m";
    let server = Server::builder()
        .config("anomaly.max-sensors 1")
        .aof()
        .start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "5"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "*"]);
    for setting in ["anomaly.alerts-key", "anomaly.dead-key"] {
        server.cmd(&["CONFIG", "SET", setting, forged]);
    }
    // No alert, no dead letter and no series can be written, and no more sensors be made.
    server.cmd(&["SET", forged, "mine"]);
    server.cmd(&["SET", &format!("ts:{{s{forged}}}"), "mine"]);
    server.cmd(&["ANOMALY.ADD", &format!("s{forged}"), "*", "9"]);
    server.cmd(&[
        "XADD",
        &format!("raw{forged}"),
        "*",
        "id",
        forged,
        forged,
        "9",
    ]);
    server.cmd(&["XADD", &format!("raw{forged}"), "*", forged, "9"]);
    let _ = server.try_cmd(&["CONFIG", "SET", "anomaly.archive", forged]);
    let _ = server.try_cmd(&["ANOMALY.BACKTEST", &format!("s{forged}"), "-", "+"]);
    let dump = server.cmd(&["DUMP", &format!("s{forged}")]);
    let mut dump = anomaly_tests::bytes(&dump);
    let middle = dump.len() / 2;
    dump[middle] ^= 0xff;
    let _ = server.try_cmd(&[b"RESTORE".to_vec(), forged.into(), b"0".to_vec(), dump]);
    let log = server.log();
    assert!(log.matches("could not be").count() >= 2, "{log}");
    for line in log.lines() {
        assert!(
            !line.contains("FORGED") || !line.starts_with("1:M"),
            "{line}"
        );
    }
    assert!(!log.contains('\u{1b}'), "{log}");
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
