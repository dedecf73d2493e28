//! `nodata` and `expire`: what the server does of its own accord about sensors that send nothing.

use anomaly_tests::{
    Args, Builder, Server, Stop, args, assert_same, bytes, call, call_many, field, float, int,
    is_nil, list, text,
};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

type Fields = Vec<(String, String)>;

fn value(fields: &Fields, name: &str) -> String {
    let found = fields.iter().find(|(n, _)| n == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {fields:?}"))
        .1
        .clone()
}

/// Event and sensor of each alert.
fn alerts(server: &Server) -> Vec<(String, String)> {
    let all = server.stream("anomaly:alerts");
    all.iter()
        .map(|(_, fields)| (value(fields, "event"), value(fields, "sensor")))
        .collect()
}

fn events(server: &Server) -> Vec<String> {
    alerts(server).into_iter().map(|(event, _)| event).collect()
}

fn count(server: &Server, name: &str) -> u64 {
    server.info("anomaly")[&format!("anomaly_{name}")]
        .parse()
        .unwrap()
}

fn set(server: &Server, words: &str) {
    let words = format!("ANOMALY.CONFIG SET {words}");
    server.cmd(&words.split(' ').collect::<Vec<_>>());
}

fn add(server: &Server, key: &str, value: f64) -> String {
    text(&server.cmd(&args!["ANOMALY.ADD", key, "*", value]))
}

fn now(server: &Server) -> i64 {
    let time = list(&server.cmd(&["TIME"]));
    int(&time[0]) * 1000 + int(&time[1]) / 1000
}

fn fires(server: &Server) {
    server.wait_until("it fires", || events(server).contains(&"firing".to_owned()));
}

/// Only `nodata`, and no second alert for its getting worse.
const ONLY: &str = "auto off critical 1000000";

#[test]
fn a_sensor_that_sends_nothing_fires_and_its_next_readings_resolve_it() {
    let server = Server::start();
    set(&server, &format!("* nodata 200 unit V {ONLY} clear 2"));
    let before = now(&server);
    add(&server, "s", 21.5);
    let read = now(&server);
    fires(&server);
    assert!(now(&server) - before > 200, "not before the time is over");
    let (_, fields) = server.stream("anomaly:alerts").pop().unwrap();
    let told = [
        "event",
        "kind",
        "severity",
        "direction",
        "value",
        "unit",
        "threshold",
        "rule",
    ];
    assert_eq!(
        told.map(|name| value(&fields, name)),
        [
            "firing", "nodata", "warning", "none", "21.5", "V", "200", "*"
        ]
    );
    let (start, at): (i64, i64) = (
        value(&fields, "start").parse().unwrap(),
        value(&fields, "ts").parse().unwrap(),
    );
    assert!(
        (before..=read).contains(&start) && at > start + 200,
        "{start} {at}"
    );
    let reason = value(&fields, "reason");
    assert!(
        reason.starts_with("no reading for ") && reason.contains("the last was 21.5 V"),
        "{reason}"
    );
    let row = &list(&server.cmd(&["ANOMALY.ALERTS"]))[0];
    assert_eq!(text(&field(row, "kind")), "nodata");

    add(&server, "s", 21.5);
    assert_eq!(events(&server), ["firing"], "clear is 2");
    add(&server, "s", 21.6);
    assert_eq!(events(&server), ["firing", "resolved"]);
    let (_, fields) = server.stream("anomaly:alerts").pop().unwrap();
    assert!(
        value(&fields, "reason")
            .starts_with("21.6 V has arrived: there is data again; 2 of 2 readings normal")
    );
    assert!(list(&server.cmd(&["ANOMALY.ALERTS"])).is_empty());
}

#[test]
fn it_escalates_at_the_factor_and_info_tells_how_long_it_has_been() {
    let server = Server::start();
    set(&server, "* nodata 100 critical 3");
    add(&server, "s", 1.0);
    server.wait_until("it is critical", || {
        events(&server) == ["firing", "escalated"]
    });
    let info = server.cmd(&["ANOMALY.INFO", "s"]);
    let nodata = field(&field(&info, "detectors"), "nodata");
    assert_eq!(float(&field(&nodata, "threshold")), 100.0);
    assert!(float(&field(&nodata, "score")) >= 0.75);
    assert_eq!(int(&field(&info, "readings")), 1);
    assert_eq!(
        text(&field(&field(&info, "episode"), "severity")),
        "critical"
    );
}

#[test]
fn sensors_that_go_on_sending_never_fire_whatever_they_send() {
    let server = Server::start();
    set(&server, &format!("* nodata 1500 {ONLY}"));
    add(&server, "dead", 1.0);
    let mut n = 0;
    server.wait_until("the dead one fires", || {
        n += 1;
        add(&server, "lively", f64::from(n));
        // One that sends the same again and again, and one that is late all the time, send.
        server.cmd(&args!["ANOMALY.ADD", "repeated", 1000, 5]);
        server.cmd(&args![
            "ANOMALY.ADD",
            "late",
            if n == 1 { 9000 } else { 1000 },
            5
        ]);
        !alerts(&server).is_empty()
    });
    assert_eq!(alerts(&server), [("firing".to_owned(), "dead".to_owned())]);
    assert_eq!(count(&server, "timed_sensors"), 4);
}

#[test]
fn the_alert_reaches_the_append_only_file_together_with_the_change() {
    let mut server = Server::builder().aof().start();
    set(&server, &format!("* nodata 100 {ONLY}"));
    add(&server, "s", 1.0);
    fires(&server);
    let before = server.picture();
    let written = std::fs::read(new_commands(&server)).unwrap();
    let written = String::from_utf8_lossy(&written);
    let commands: Vec<&str> = written
        .lines()
        .filter(|line| {
            ["MULTI", "ANOMALY._SILENT", "XADD", "EXEC", "ANOMALY._APPLY"].contains(line)
        })
        .collect();
    assert_eq!(
        commands,
        ["ANOMALY._APPLY", "MULTI", "ANOMALY._SILENT", "XADD", "EXEC"]
    );
    // What is read back is not decided again.
    server.restart(Stop::Kill9);
    assert_same(&server.picture(), &before);
}

/// A fleet of which one is dead when the server ends.
fn is_neither_flooded_nor_forgotten_after(builder: Builder, how: Stop) {
    let mut server = builder.start();
    set(&server, &format!("* nodata 3000 {ONLY}"));
    add(&server, "dead", 1.0);
    fires(&server);
    for n in 0..100 {
        add(&server, &format!("lively:{n}"), 1.0);
    }
    server.stop(how);
    // The server is down for longer than nodata.
    std::thread::sleep(std::time::Duration::from_millis(3100));
    server.start_again();
    let connection = &mut server.conn();
    let started = now(&server);
    while now(&server) < started + 1500 {
        for n in 0..99 {
            call(
                connection,
                &args!["ANOMALY.ADD", format!("lively:{n}"), "*", 1],
            );
        }
        let told = events(&server);
        assert!(
            told == ["firing"] || now(&server) > started + 2000,
            "nobody is held guilty for the time the server was down: {told:?}"
        );
    }
    // Now the one that stayed away is missed, and the one that was dead before is not told again.
    server.wait_until("the other one is missed", || events(&server).len() > 1);
    assert_eq!(
        alerts(&server)[..2],
        [
            ("firing".into(), "dead".into()),
            ("firing".into(), "lively:99".into())
        ]
    );
    let open = list(&server.cmd(&["ANOMALY.ALERTS"]));
    assert!(
        open.iter().any(|row| text(&field(row, "sensor")) == "dead"),
        "what was open stays open"
    );
}

#[test]
fn a_restart_from_an_rdb_file_neither_floods_nor_forgets() {
    is_neither_flooded_nor_forgotten_after(Server::builder(), Stop::Save);
}

#[test]
fn a_restart_from_an_append_only_file_neither_floods_nor_forgets() {
    is_neither_flooded_nor_forgotten_after(Server::builder().aof(), Stop::Kill9);
}

#[test]
fn replicas_decide_nothing_hold_the_same_and_take_over_when_promoted() {
    let master = Server::start();
    set(&master, &format!("* nodata 1500 {ONLY}"));
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    add(&master, "first", 1.0);
    fires(&master);
    master.replica_in_sync(&replica);
    assert_eq!(
        replica.stream("anomaly:alerts"),
        master.stream("anomaly:alerts")
    );
    assert_eq!(replica.digest("first"), master.digest("first"));
    add(&master, "second", 1.0);
    master.replica_in_sync(&replica);
    // The master is frozen: only the replica could decide, and it must not.
    master.signal("STOP");
    let from = Instant::now();
    while from.elapsed().as_millis() < 2000 {
        assert_eq!(alerts(&replica).len(), 1, "a replica decided");
    }
    assert_eq!(count(&replica, "timed_sensors"), 2);
    replica.cmd(&["REPLICAOF", "NO", "ONE"]);
    replica.wait_until("the promoted one misses the second", || {
        alerts(&replica).len() > 1
    });
    assert_eq!(alerts(&replica)[1], ("firing".into(), "second".into()));
    add(&replica, "first", 1.0);
    add(&replica, "first", 2.0);
    add(&replica, "first", 3.0);
    assert!(alerts(&replica).contains(&("resolved".into(), "first".into())));
    master.signal("CONT");
}

#[test]
fn a_replica_that_joins_later_knows_the_arrivals_and_the_timers() {
    let master = Server::start();
    set(&master, "* nodata 60000 expire 90000");
    for n in 0..50 {
        add(&master, &format!("s:{n}"), 1.0);
    }
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    replica.wait_until("it has looked through its keys", || {
        count(&replica, "timed_sensors") == 50
    });
    assert_same(&replica.picture(), &master.picture());
    add(&master, "s:7", 2.0);
    master.replica_in_sync(&replica);
    assert_eq!(replica.digest("s:7"), master.digest("s:7"));
}

#[test]
fn an_inactive_sensor_is_forgotten_with_its_episode_and_its_series_stays() {
    let server = Server::start();
    let replica = Server::builder().replica_of(&server).start();
    server.replica_in_sync(&replica);
    set(&server, "* expire 300 max 10");
    add(&server, "s", 5.0);
    add(&server, "alarmed", 15.0);
    server.wait_until("both are gone", || {
        int(&server.cmd(&["EXISTS", "s", "alarmed"])) == 0
    });
    assert_eq!(
        alerts(&server),
        [
            ("firing".into(), "alarmed".into()),
            ("resolved".into(), "alarmed".into())
        ]
    );
    let (_, fields) = server.stream("anomaly:alerts").pop().unwrap();
    let reason = value(&fields, "reason");
    assert!(
        reason.starts_with("the sensor sent nothing for as long as expire allows"),
        "{reason}"
    );
    assert_eq!(
        int(&server.cmd(&["EXISTS", "ts:{s}", "ts:{alarmed}"])),
        2,
        "the series stay"
    );
    assert_eq!(
        (count(&server, "forgotten"), count(&server, "timed_sensors")),
        (2, 0)
    );
    server.replica_in_sync(&replica);
    assert_same(&replica.picture(), &server.picture());
    assert_eq!(
        add(&server, "s", 5.0),
        "normal",
        "it may come back as a new one"
    );
    assert_eq!(
        int(&field(&server.cmd(&["ANOMALY.INFO", "s"]), "readings")),
        1
    );
}

#[test]
fn a_sensor_that_is_forgotten_while_it_is_missed_is_resolved_after_it_fired() {
    let server = Server::start();
    set(&server, &format!("* nodata 100 expire 400 {ONLY}"));
    add(&server, "s", 5.0);
    server.wait_until("it is gone", || events(&server).len() == 2);
    assert_eq!(events(&server), ["firing", "resolved"]);
    let told = server.stream("anomaly:alerts");
    let at = |n: usize| value(&told[n].1, "ts").parse::<i64>().unwrap();
    assert!(at(1) >= at(0), "{told:?}");
}

#[test]
fn a_sensor_that_sends_is_not_forgotten() {
    let server = Server::start();
    set(&server, "* expire 600 auto off");
    add(&server, "idle", 1.0);
    add(&server, "s", 1.0);
    server.wait_until("the idle one is gone", || {
        add(&server, "s", now(&server) as f64);
        int(&server.cmd(&["EXISTS", "idle"])) == 0
    });
    assert_eq!(int(&server.cmd(&["EXISTS", "s"])), 1);
}

#[test]
fn a_rule_that_comes_later_holds_for_sensors_that_are_silent_already_from_then_on() {
    let server = Server::start();
    set(&server, ONLY_LATER);
    for n in 0..2000 {
        server.cmd(&args!["ANOMALY.ADD", format!("s:{n}"), 1000, 5]);
    }
    server.cmd(&["SELECT", "2"]);
    server.cmd(&args!["ANOMALY.ADD", "elsewhere", 1000, 5]);
    server.cmd(&["SELECT", "0"]);
    assert_eq!(count(&server, "timed_sensors"), 0);
    set(&server, "* nodata 60000");
    server.wait_until("all are found", || count(&server, "timed_sensors") == 2001);
    // A time that becomes shorter is kept too.
    set(&server, "s:1999 nodata 300");
    server.wait_until("it fires", || !events(&server).is_empty());
    assert_eq!(alerts(&server), [("firing".into(), "s:1999".into())]);
    set(&server, "* nodata off");
    server.cmd(&["ANOMALY.CONFIG", "DEL", "s:1999"]);
    assert_eq!(count(&server, "open_episodes"), 1);
}
const ONLY_LATER: &str = "* auto off critical 1000000";

#[test]
fn what_was_sent_while_no_rule_asked_neither_fires_nor_is_forgotten_when_one_does_again() {
    let server = Server::start();
    set(&server, &format!("* nodata 600000 {ONLY}"));
    set(&server, "e* expire 600000");
    let send = || {
        for key in ["s", "e"] {
            add(&server, key, 1.0);
        }
    };
    send();
    assert_eq!(count(&server, "timed_sensors"), 2);
    set(&server, "* nodata off");
    set(&server, "e* expire off");
    send();
    set(&server, "e* expire 600000");
    set(&server, "* nodata 600000");
    // All are looked for before any is looked at.
    set(&server, "probe nodata 1");
    add(&server, "probe", 1.0);
    fires(&server);
    assert_eq!(alerts(&server), [("firing".into(), "probe".into())]);
    assert_eq!(int(&server.cmd(&["EXISTS", "s", "e"])), 2);
}

#[test]
fn timers_follow_a_sensor_where_it_goes() {
    let server = Server::start();
    set(&server, &format!("* nodata 600000 {ONLY}"));
    add(&server, "old", 1.0);
    server.cmd(&["RENAME", "old", "new"]);
    add(&server, "copied", 1.0);
    server.cmd(&["COPY", "copied", "copy"]);
    add(&server, "moved", 1.0);
    // On a connection of its own: Valkey 8.1.1 leaves it in the other database.
    call(&mut server.conn(), &["MOVE", "moved", "1"]);
    add(&server, "deleted", 1.0);
    server.cmd(&["DEL", "deleted"]);
    add(&server, "reset", 1.0);
    server.cmd(&["ANOMALY.RESET", "reset"]);
    add(&server, "overwritten", 1.0);
    server.cmd(&["SET", "overwritten", "x"]);
    assert_eq!(
        count(&server, "timed_sensors"),
        4,
        "new, copied, copy, moved"
    );
    set(&server, "* nodata 300");
    server.wait_until("three fire here", || events(&server).len() == 3);
    let mut sensors: Vec<String> = alerts(&server)
        .into_iter()
        .map(|(_, sensor)| sensor)
        .collect();
    sensors.sort();
    assert_eq!(
        sensors,
        ["copied", "copy", "new"],
        "a sensor that was reset has no reading to be missed"
    );
    server.cmd(&["SELECT", "1"]);
    server.wait_until("and one there", || events(&server).len() == 1);
    server.cmd(&["SWAPDB", "0", "1"]);
    server.cmd(&["FLUSHALL"]);
    assert_eq!(count(&server, "timed_sensors"), 0);
}

#[test]
fn sensors_deleted_and_made_again_leave_no_timers_behind() {
    let server = Server::start();
    set(&server, "* nodata 3600000");
    for _ in 0..500 {
        add(&server, "s", 1.0);
        server.cmd(&["DEL", "s"]);
    }
    add(&server, "s", 1.0);
    assert_eq!(count(&server, "timed_sensors"), 1);
}

#[test]
fn an_acknowledged_silence_stays_acknowledged_and_a_script_counts_as_any_client() {
    let server = Server::start();
    set(&server, &format!("* nodata 200 repeat 50 {ONLY}"));
    server.cmd(&args![
        "EVAL",
        "return redis.call('ANOMALY.ADD', KEYS[1], '*', '1')",
        1,
        "s"
    ]);
    server.wait_until("it is reminded of", || events(&server).len() > 2);
    assert_eq!(events(&server)[..2], ["firing", "repeat"]);
    assert_eq!(int(&server.cmd(&["ANOMALY.ACK", "s", "BY", "eva"])), 1);
    let told = events(&server).len();
    add(&server, "other", 1.0);
    server.wait_until("another one fires", || {
        alerts(&server).contains(&("firing".into(), "other".into()))
    });
    let of_s = alerts(&server)
        .into_iter()
        .skip(told)
        .filter(|(_, sensor)| sensor == "s");
    assert_eq!(of_s.count(), 0);
}

#[test]
fn nothing_is_decided_while_the_server_cannot_take_readings_in() {
    let server = Server::start();
    set(&server, &format!("* nodata 500 {ONLY}"));
    add(&server, "s", 1.0);
    // Until then no client can write.
    server.cmd(&["CLIENT", "PAUSE", "1500", "WRITE"]);
    let from = now(&server);
    while now(&server) < from + 1400 {
        assert!(events(&server).is_empty(), "missed while it could not send");
    }
    fires(&server);
    assert!(
        now(&server) > from + 1800,
        "its time begins when it could send again"
    );
}

/// Producers that each send every 50 ms, as long as the work goes on.
fn with_producers(server: &Server, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for n in 0..10 {
            let stop = &stop;
            threads.spawn(move || {
                let mut connection = server.conn();
                while !stop.load(Relaxed) {
                    call(
                        &mut connection,
                        &args!["ANOMALY.ADD", format!("p:{n}"), "*", 1],
                    );
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            server.wait_until("all send", || count(server, "timed_sensors") == 10);
            work();
        }));
        stop.store(true, Relaxed);
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_server_that_was_held_up_misses_nobody_who_sends() {
    let server = Server::start();
    set(&server, "* nodata 600 expire 900 auto off");
    with_producers(&server, || {
        server.cmd(&["DEBUG", "SLEEP", "1.2"]);
        server.signal("STOP");
        std::thread::sleep(Duration::from_millis(1200));
        server.signal("CONT");
        let before = count(&server, "readings");
        server.wait_until("they go on", || count(&server, "readings") > before + 100);
    });
    assert_eq!(count(&server, "forgotten"), 0);
    assert_eq!(events(&server), [""; 0]);
    server.wait_until("now they are silent", || count(&server, "forgotten") == 10);
}

#[test]
fn a_server_that_refuses_writes_forgets_nobody() {
    let server = Server::start();
    set(&server, "* nodata 300 expire 500 auto off");
    add(&server, "s", 1.0);
    server.cmd(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = server.refuses(&args!["ANOMALY.ADD", "s", "*", 1]);
    assert!(refused.starts_with("NOREPLICAS"), "{refused}");
    let later = now(&server) + 1500;
    server.wait_until("time passes", || now(&server) > later);
    assert_eq!((count(&server, "forgotten"), events(&server).len()), (0, 0));
    server.cmd(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    server.wait_until("it is forgotten now", || count(&server, "forgotten") == 1);
}

#[test]
fn what_is_restored_and_renamed_has_its_full_time() {
    let server = Server::start();
    add(&server, "w", 1.0);
    set(&server, &format!("n:* nodata 60000 {ONLY}"));
    add(&server, "n:1", 1.0);
    let payloads = ["w", "n:1"].map(|key| bytes(&server.cmd(&["DUMP", key])));
    server.cmd(&["DEL", "w", "n:1"]);
    set(&server, &format!("n:* nodata 400 {ONLY}"));
    let later = now(&server) + 800;
    server.wait_until("time passes", || now(&server) > later);
    server.cmd(&args!["RESTORE", "n:2", 0, payloads[1]]);
    server.cmd(&["RENAME", "n:2", "n:3"]);
    server.cmd(&args!["RESTORE", "w:1", 0, payloads[0]]);
    set(&server, &format!("w:* nodata 400 {ONLY}"));
    let began = now(&server);
    server.wait_until("they fire", || events(&server).len() == 2);
    for (_, alert) in server.stream("anomaly:alerts") {
        assert!(
            value(&alert, "reason").contains("no reading for"),
            "{alert:?}"
        );
    }
    assert!(
        now(&server) - began >= 390,
        "not before their time was over"
    );
}

#[test]
fn databases_that_are_swapped_while_sensors_are_looked_for_lose_none() {
    let server = Server::start();
    let mut connection = server.conn();
    set(&server, ONLY_LATER);
    let script = "for i = ARGV[1], ARGV[2] do redis.call('ANOMALY.ADD', 's:' .. i, 1000, 5) end";
    for db in 0..2 {
        call(&mut connection, &args!["SELECT", db]);
        for first in (0..30_000).step_by(10_000) {
            call(
                &mut connection,
                &args!["EVAL", script, 0, first, first + 9_999],
            );
        }
    }
    set(&server, "* nodata 3600000");
    server.wait_until("some are found", || count(&server, "timed_sensors") > 0);
    server.cmd(&["SWAPDB", "0", "1"]);
    server.wait_until("all are found", || {
        count(&server, "timed_sensors") == 60_000
    });
}

/// Episodes that were told of, and whether the last was told to be critical: on a busy server it may be from the start.
fn told(server: &Server) -> (usize, bool) {
    let alerts = server.stream("anomaly:alerts");
    let of = |(_, fields): &(String, Vec<(String, String)>), name: &str| {
        fields.iter().find(|(n, _)| n == name).unwrap().1.clone()
    };
    let fired = alerts.iter().filter(|alert| of(alert, "event") == "firing");
    let last = alerts.last().map(|alert| of(alert, "severity"));
    (fired.count(), last.as_deref() == Some("critical"))
}

#[test]
fn a_sensor_that_was_told_of_costs_no_more_looks_until_it_sends() {
    let server = Server::start();
    set(&server, "* nodata 100 auto off clear 1");
    add(&server, "s", 1.0);
    server.wait_until("all is told", || told(&server) == (1, true));
    server.wait_until("it is no longer timed", || {
        count(&server, "timed_sensors") == 0
    });
    add(&server, "s", 1.0);
    server.wait_until("it is missed again", || told(&server) == (2, true));
    assert_eq!(
        events(&server)
            .iter()
            .filter(|event| *event == "resolved")
            .count(),
        1
    );
}

#[test]
fn a_fleet_of_100_000_silent_sensors_is_never_looked_through() {
    const SENSORS: usize = 100_000;
    let server = Server::start();
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "off"]);
    set(&server, "* nodata 3600000 expire 7200000 auto off");
    set(&server, "watched nodata 100");
    let connection = &mut server.conn();
    for chunk in 0..SENSORS / 1000 {
        let words = |n: usize| args![format!("sensor:{}", chunk * 1000 + n), "*", 1];
        let mut command = args!["ANOMALY.MADD"];
        (0..1000).for_each(|n| command.extend(words(n)));
        call(connection, &command);
    }
    assert_eq!(count(&server, "timed_sensors"), SENSORS as u64);
    let before = count(&server, "timer_looks");
    // Readings put no deadline off by themselves.
    let again: Vec<Args> = (0..20_000)
        .map(|n| args!["ANOMALY.ADD", format!("sensor:{n}"), "*", 2])
        .collect();
    call_many(connection, &again);
    call(connection, &args!["ANOMALY.ADD", "watched", "*", 1]);
    fires(&server);
    let looks = count(&server, "timer_looks") - before;
    assert!(looks < 10, "{looks} looks for one sensor that was due");
}

#[test]
fn when_a_whole_fleet_falls_silent_others_are_still_served() {
    const SENSORS: usize = 20_000;
    let server = Server::start();
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "off"]);
    set(&server, &format!("sensor:* nodata 1 {ONLY}"));
    let connection = &mut server.conn();
    let mut command = args!["ANOMALY.MADD"];
    (0..SENSORS).for_each(|n| command.extend(args![format!("sensor:{n}"), "*", 1]));
    call(connection, &command);
    let mut worst = 0;
    server.wait_until("all are missed", || {
        for _ in 0..50 {
            let from = Instant::now();
            call(connection, &["PING"]);
            worst = worst.max(from.elapsed().as_millis());
        }
        int(&server.cmd(&["XLEN", "anomaly:alerts"])) as usize >= SENSORS
    });
    assert!(worst < 500, "a PING took {worst} ms");
    assert_eq!(count(&server, "open_episodes"), SENSORS as u64);
}

/// The file of new commands of an AOF.
fn new_commands(server: &Server) -> std::path::PathBuf {
    let files = std::fs::read_dir(server.dir().join("appendonlydir")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let found = paths.find(|path| path.to_string_lossy().ends_with(".incr.aof"));
    found.expect("an AOF has a file of new commands")
}

#[test]
fn readings_that_an_older_version_passed_on_without_arrival_are_missed_from_the_start_on() {
    let mut server = Server::builder().aof().start();
    set(&server, &format!("* nodata 500 {ONLY}"));
    server.stop(Stop::NoSave);
    let words = ["ANOMALY._APPLY", "1", "s", "1000", "21.5", "0"];
    let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
    let path = new_commands(&server);
    let before = std::fs::read(&path).unwrap();
    let with = [&before[..], format!("*6\r\n{}", words.concat()).as_bytes()].concat();
    std::fs::write(&path, with).unwrap();
    server.start_again();
    fires(&server);
    let (_, fields) = server.stream("anomaly:alerts").pop().unwrap();
    assert_eq!(value(&fields, "start"), "1000");
    let at: i64 = value(&fields, "ts").parse().unwrap();
    assert!(
        (1501..60_000).contains(&at),
        "the silence as it was counted: {at}"
    );
}

#[test]
fn clients_cannot_decide_a_silence_and_one_that_is_not_understood_is_refused() {
    let server = Server::start();
    add(&server, "s", 1.0);
    let refused = server.refuses(&["ANOMALY._SILENT", "1", "s", "1000", "5"]);
    assert!(refused.starts_with("ERR "), "{refused}");
    assert!(is_nil(&server.cmd(&["ANOMALY.INFO", "nobody"])));
    let refused = server.refuses(&["ANOMALY.CONFIG", "SET", "*", "nodata", "0"]);
    assert_eq!(
        refused,
        "ERR setting 'nodata' cannot be '0': expected milliseconds above 0, or off"
    );
}
