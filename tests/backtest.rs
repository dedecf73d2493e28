//! BACKTEST: what a rule would have done with the archived readings, and how little others notice of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{iter, thread};

use anomaly_tests::{
    Args, Server, Stop, args, bytes, call, call_many, error, field, int, is_nil, list, pairs, text,
    try_call,
};
use redis::{Connection, Value};

/// Values around 20 with excursions of several lengths and heights, the same for the same seed.
fn value(seed: i64, i: i64) -> f64 {
    let noise = ((i * 7919 + seed * 104_729) % 1009) as f64 / 504.5 - 1.0;
    let event = match (i + seed * 13) % 97 {
        40..=44 => 12.0,
        60 => -25.5,
        n @ 80..=92 => (n - 79) as f64 * 4.0,
        _ => 0.0,
    };
    20.0 + noise + event
}

/// Feeds a sensor by ADD, one reading a second.
fn feed(connection: &mut Connection, key: &str, seed: i64, n: i64) {
    let adds: Vec<Args> = (1..=n)
        .map(|i| args!["ANOMALY.ADD", key, i * 1000, value(seed, i)])
        .collect();
    for reply in call_many(connection, &adds) {
        assert_eq!(error(&reply), None);
    }
}

/// Fills the series of a sensor, which is none yet, with samples of a second each.
fn fill(server: &Server, key: &str, n: i64) {
    let script = "for n = ARGV[1], ARGV[2] do \
                  redis.call('TS.ADD', KEYS[1], n * 1000, n % 1000 == 0 and 50 or n % 7, 'CHUNK_SIZE', 1024) end";
    for first in (1..=n).step_by(50_000) {
        let last = (first + 49_999).min(n);
        server.cmd(&args![
            "EVAL",
            script,
            1,
            format!("ts:{{{key}}}"),
            first,
            last
        ]);
    }
}

fn set(server: &Server, pattern: &str, settings: &str) {
    let words = settings.split(' ');
    let command: Vec<&str> = ["ANOMALY.CONFIG", "SET", pattern]
        .into_iter()
        .chain(words)
        .collect();
    server.cmd(&command);
}

fn words(line: &str) -> Vec<&str> {
    iter::once("ANOMALY.BACKTEST")
        .chain(line.split(' '))
        .collect()
}

fn backtest(server: &Server, line: &str) -> Value {
    server.cmd(&words(line))
}

fn refused(server: &Server, line: &str) -> String {
    server.refuses(&words(line))
}

fn count(report: &Value, name: &str) -> i64 {
    int(&field(report, name))
}

/// Start, end, severity and reason.
type Row = (i64, Option<i64>, String, String);

fn rows(report: &Value) -> Vec<Row> {
    let row = |found: &Value| {
        let end = field(found, "end");
        (
            count(found, "start"),
            (!is_nil(&end)).then(|| int(&end)),
            text(&field(found, "severity")),
            text(&field(found, "reason")),
        )
    };
    list(&field(report, "list")).iter().map(row).collect()
}

/// What the alerts stream tells of a sensor: a row for each episode, with severity and reason of its gravest alert.
fn told(server: &Server, sensor: &str) -> Vec<Row> {
    let mut order = vec![];
    let mut seen: BTreeMap<String, Row> = BTreeMap::new();
    for (_, fields) in server.stream("anomaly:alerts") {
        let of = |name: &str| {
            let found = fields.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        if of("sensor") != sensor {
            continue;
        }
        let row = seen.entry(of("episode")).or_insert_with(|| {
            order.push(of("episode"));
            (
                of("start").parse().unwrap(),
                None,
                String::new(),
                String::new(),
            )
        });
        match of("event").as_str() {
            "resolved" => row.1 = Some(of("ts").parse().unwrap()),
            "firing" | "escalated" => (row.1, row.2, row.3) = (None, of("severity"), of("reason")),
            _ => {}
        }
    }
    order.into_iter().map(|name| seen[&name].clone()).collect()
}

#[test]
fn it_tells_the_episodes_that_the_alerts_told() {
    let server = Server::start();
    let mut connection = server.conn();
    let sensors = [
        ("default", "unit V budget 60000 warmup 30"),
        (
            "limits",
            "max 25 critical-max 45 min 0 clear-margin 1 unit °C",
        ),
        ("window", "zscore 4 window 10 for 2 clear 2 learn no"),
        ("cooldown", "max 25 cooldown 60000 repeat 5000"),
        ("several", "rate 3 zscore 5 direction high"),
        ("robust", "mad 5 window 50 clear 1"),
        ("weighted", "ewma 4 alpha 0.1 cusum 9"),
    ];
    for (key, settings) in sensors {
        set(&server, key, settings);
        feed(&mut connection, key, 1, 1500);
    }
    for (key, _) in sensors {
        let live = told(&server, key);
        assert!(live.len() > 5, "{key}: {live:?}");
        let mut resp3 = server.resp3();
        for report in [
            backtest(&server, &format!("{key} - +")),
            call(&mut resp3, &words(&format!("{key} - +"))),
        ] {
            assert_eq!(rows(&report), live, "{key}");
            assert_eq!(count(&report, "readings"), 1500);
            assert_eq!(count(&report, "episodes"), live.len() as i64);
            let kinds = pairs(&field(&report, "kinds"));
            let sum: i64 = kinds.iter().map(|(_, n)| int(n)).sum();
            assert_eq!(sum, live.len() as i64, "{kinds:?}");
            let ended = live
                .iter()
                .map(|row| row.1.unwrap_or(1_500_000) - row.0)
                .sum();
            let alarm = count(&report, "alarm");
            if key == "cooldown" {
                // Where it was reopened silently and told of later, the silence between is none.
                assert!(0 < alarm && alarm <= ended, "{alarm} of {ended}");
            } else {
                assert_eq!(alarm, ended);
            }
        }
    }
}

#[test]
fn readings_before_the_range_teach_and_do_not_count() {
    let server = Server::start();
    set(&server, "s", "zscore 3");
    feed(&mut server.conn(), "s", 2, 1500);
    let whole = backtest(&server, "s - +");
    let part = backtest(&server, "s 700000 1200000");
    assert_eq!(count(&part, "readings"), 501);
    let inside: Vec<Row> = rows(&whole)
        .into_iter()
        .filter(|row| row.0 <= 1_200_000 && row.1.is_none_or(|end| end >= 700_000))
        .map(|row| (row.0, row.1.filter(|end| *end <= 1_200_000), row.2, row.3))
        .collect();
    assert!(inside.len() > 5 && inside.len() < rows(&whole).len());
    assert_eq!(rows(&part), inside);
    let none = backtest(&server, "s 5000000 +");
    assert_eq!((count(&none, "readings"), rows(&none).len()), (0, 0));
    // Both ends are included.
    assert_eq!(count(&backtest(&server, "s 5000 5000"), "readings"), 1);
    assert_eq!(count(&backtest(&server, "s 5001 5999"), "readings"), 0);
}

#[test]
fn a_candidate_lies_over_the_sensors_own_rule_and_diff_shows_both() {
    let server = Server::start();
    set(&server, "*", "max 25 unit V");
    set(&server, "s", "clear 1");
    feed(&mut server.conn(), "s", 1, 500);
    let current = backtest(&server, "s - +");
    assert!(rows(&current)[0].3.contains("V is above the limit 25"));
    let candidate = backtest(&server, "s - + max 45");
    assert!(rows(&candidate)[0].3.contains("V is above the limit 45"));
    assert!(count(&candidate, "episodes") < count(&current, "episodes"));
    for line in ["s - + DIFF max 45", "s - + max 45 diff"] {
        let both = backtest(&server, line);
        assert_eq!(pairs(&both).len(), 2);
        assert_eq!(field(&both, "candidate"), candidate, "{line}");
        assert_eq!(field(&both, "current"), current);
    }
    // As CONFIG SET of the key would make it.
    let inherit = backtest(&server, "s - + clear inherit");
    assert_ne!(inherit, current);
    set(&server, "s", "clear inherit");
    assert_eq!(backtest(&server, "s - +"), inherit);
    let off = backtest(&server, "s - + enabled no");
    assert_eq!((count(&off, "readings"), count(&off, "episodes")), (500, 0));
}

#[test]
fn match_replays_every_sensor_that_matches_and_adds_up() {
    let server = Server::start();
    let mut connection = server.conn();
    set(&server, "*", "max 25 clear 1");
    set(&server, "rack:9", "archive no");
    for i in 1..=9i64 {
        feed(&mut connection, &format!("rack:{i}"), i, 100 + 50 * i);
    }
    feed(&mut connection, "other", 1, 300);
    server.cmd(&["SET", "rack:text", "x"]);
    server.cmd(&["TS.CREATE", "rack:series"]);
    let many = backtest(&server, "match rack:* - +");
    assert_eq!((count(&many, "sensors"), count(&many, "skipped")), (8, 1));
    let each = pairs(&field(&many, "each"));
    assert_eq!(each.len(), 8);
    let mut sums = [0; 3];
    let mut before = i64::MAX;
    for (key, report) in &each {
        let alone = backtest(&server, &format!("{key} - +"));
        for (sum, name) in sums.iter_mut().zip(["readings", "episodes", "alarm"]) {
            assert_eq!(count(report, name), count(&alone, name), "{key} {name}");
            *sum += count(&alone, name);
        }
        let all = rows(&alone);
        assert_eq!(rows(report), all[..all.len().min(10)]);
        assert!(count(report, "episodes") <= before, "the most first");
        before = count(report, "episodes");
    }
    let total = field(&many, "total");
    assert_eq!(
        ["readings", "episodes", "alarm"].map(|name| count(&total, name)),
        sums
    );
    let both = backtest(&server, "MATCH rack:* - + DIFF max 1000");
    let total = field(&both, "total");
    assert_eq!(count(&field(&total, "candidate"), "episodes"), 0);
    assert_eq!(count(&field(&total, "current"), "episodes"), sums[1]);
    let nothing = backtest(&server, "MATCH nothing:* - + DIFF");
    assert_eq!(count(&nothing, "sensors"), 0);
    assert_eq!(pairs(&field(&nothing, "total")).len(), 2);
}

#[test]
fn a_gap_between_readings_is_a_silence() {
    let server = Server::start();
    let mut connection = server.conn();
    // Every minute, then nothing for two hours, then every minute.
    for minute in (1..30i64).chain(150..180) {
        call(
            &mut connection,
            &args!["ANOMALY.ADD", "s", minute * 60_000, 20],
        );
    }
    let report = backtest(&server, "s - + max 25 nodata 600000 clear 1");
    let reason = "no reading for 15 min";
    assert_eq!(count(&field(&report, "kinds"), "nodata"), 1);
    let (start, end, severity, why) = rows(&report).remove(0);
    assert_eq!((start, end), (29 * 60_000, Some(150 * 60_000)));
    assert!(severity == "critical" && why.contains(reason), "{why}");
    assert_eq!(count(&backtest(&server, "s - + max 25"), "episodes"), 0);
}

#[test]
fn of_many_sensors_a_hundred_are_told() {
    let server = Server::start();
    let adds: Vec<Args> = (0..250i64)
        .flat_map(|i| (1..=i % 5 + 1).map(move |at| args!["ANOMALY.ADD", format!("s:{i}"), at, i]))
        .collect();
    call_many(&mut server.conn(), &adds);
    let many = backtest(&server, "MATCH s:* - + max 199");
    assert_eq!(count(&many, "sensors"), 250);
    assert_eq!(count(&field(&many, "total"), "episodes"), 50);
    assert_eq!(count(&field(&many, "total"), "readings"), 750);
    let each = pairs(&field(&many, "each"));
    assert_eq!(each.len(), 100);
    assert!(
        each[..50]
            .iter()
            .all(|(_, report)| count(report, "episodes") == 1)
    );
}

#[test]
fn more_sensors_than_are_kept_in_mind_are_refused() {
    let server = Server::start();
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "off"]);
    let sensors: Vec<i64> = (0..=100_000).collect();
    let adds: Vec<Args> = sensors
        .chunks(1000)
        .map(|some| {
            let readings = some.iter().flat_map(|i| args![format!("s:{i}"), 1, 1]);
            args!["ANOMALY.MADD"].into_iter().chain(readings).collect()
        })
        .collect();
    call_many(&mut server.conn(), &adds);
    let why = refused(&server, "MATCH s:* - +");
    assert!(
        why.starts_with("ERR 'MATCH'") && why.contains("more than 100000 sensors"),
        "{why}"
    );
    assert!(!running(&server));
    let many = backtest(&server, "MATCH s:1* - +");
    assert_eq!(
        (count(&many, "sensors"), count(&many, "skipped")),
        (0, 11_112)
    );
    drop(send(&server, "MATCH s:[1-9]* - +"));
    is_over(&server);
    println!(
        "the longest slice: {} us",
        server.info("anomaly")["anomaly_backtest_longest_usec"]
    );
}

#[test]
fn a_long_list_ends_and_its_count_does_not() {
    let server = Server::start();
    let n = 4000i64;
    let adds: Vec<Args> = (1..=n)
        .map(|i| args!["ANOMALY.ADD", "s", i, if i % 2 == 0 { 9 } else { 1 }])
        .collect();
    call_many(&mut server.conn(), &adds);
    let report = backtest(&server, "s - + max 5 clear 1");
    assert_eq!(count(&report, "episodes"), 2000);
    let all = rows(&report);
    assert_eq!((all.len(), all[999].0), (1000, 2000));
    // The next ones are those of a later range.
    let next = backtest(&server, "s 2002 + max 5 clear 1");
    assert_eq!(rows(&next)[0].0, 2002);
    assert_eq!(count(&next, "episodes"), 1000);
}

#[test]
fn it_changes_nothing() {
    let server = Server::builder().aof().start();
    let replica = Server::builder().replica_of(&server).start();
    let mut connection = server.conn();
    set(&server, "*", "max 25");
    for key in ["a", "b"] {
        feed(&mut connection, key, 3, 300);
    }
    server.replica_in_sync(&replica);
    let look = || {
        let mut info = server.info("anomaly");
        info.retain(|name, _| !name.contains("backtest") && !name.contains("usec"));
        let offset = server.info("replication")["master_repl_offset"].clone();
        (
            text(&server.cmd(&["DEBUG", "DIGEST"])),
            info,
            offset,
            server.stream("anomaly:alerts"),
        )
    };
    let before = look();
    // Between them the replica is told to acknowledge now and then, which is no command.
    backtest(&server, "a - + DIFF max 21 window 500 recent 100 zscore 2");
    backtest(&server, "MATCH * - + rate 1");
    let after = look();
    assert_eq!(
        (&after.0, &after.1, &after.3),
        (&before.0, &before.1, &before.3)
    );
    let sent = |offset: &str| offset.parse::<i64>().unwrap();
    assert!(sent(&after.2) - sent(&before.2) <= 14, "a PING at most");
    assert_eq!(server.info("anomaly")["anomaly_backtests"], "2");
    assert_eq!(server.info("anomaly")["anomaly_backtest_running"], "0");
}

#[test]
fn a_replica_answers_too_and_alike() {
    let master = Server::start();
    let replica = Server::builder().replica_of(&master).start();
    set(&master, "s", "max 25");
    feed(&mut master.conn(), "s", 1, 500);
    master.replica_in_sync(&replica);
    let line = "s - + DIFF zscore 3";
    assert_eq!(backtest(&replica, line), backtest(&master, line));
    let many = "MATCH * - +";
    assert_eq!(backtest(&replica, many), backtest(&master, many));
}

#[test]
fn what_is_not_there_is_nil_or_an_error_that_says_what_is_missing() {
    let server = Server::start();
    let mut connection = server.conn();
    assert!(is_nil(&backtest(&server, "s - +")));
    set(&server, "dark", "archive no");
    feed(&mut connection, "dark", 1, 10);
    let why = refused(&server, "dark - +");
    assert!(
        why.contains("no series 'ts:{dark}'") && why.contains("'archive'"),
        "{why}"
    );
    server.cmd(&["SET", "text", "x"]);
    assert!(refused(&server, "text - +").starts_with("WRONGTYPE "));
    server.cmd(&["SET", "ts:{odd}", "x"]);
    let why = refused(&server, "odd - +");
    assert!(
        why.starts_with("WRONGTYPE series 'ts:{odd}' cannot be read: "),
        "{why}"
    );
    // A sensor that is gone leaves its series: it is replayed by the rules of its name.
    set(&server, "gone", "max 25");
    feed(&mut connection, "gone", 1, 300);
    let before = backtest(&server, "gone - +");
    server.cmd(&["DEL", "gone"]);
    assert_eq!(backtest(&server, "gone - +"), before);
    assert_eq!(count(&backtest(&server, "MATCH gone - +"), "sensors"), 0);
    // So is a series in which there is nothing.
    server.cmd(&["TS.CREATE", "ts:{empty}"]);
    assert_eq!(count(&backtest(&server, "empty - +"), "readings"), 0);
}

#[test]
fn without_timeseries_there_is_nothing_to_replay() {
    let server = Server::builder().without_timeseries().start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    for line in ["s - +", "MATCH * - +", "none - +"] {
        let why = refused(&server, line);
        assert!(
            why.starts_with("ERR ") && why.contains("TimeSeries is not loaded"),
            "{why}"
        );
    }
}

#[test]
fn a_bad_argument_is_named_and_runs_nothing() {
    let server = Server::start();
    feed(&mut server.conn(), "s", 1, 10);
    for (line, part) in [
        ("s x +", "'from' cannot be 'x'"),
        ("s - yesterday", "'to' cannot be 'yesterday'"),
        (
            "s 9 3",
            "'to' cannot be '3': expected a time not before 'from'",
        ),
        ("s -5 +", "'from' cannot be '-5'"),
        (
            "MATCH * -",
            "'MATCH' must be followed by a pattern, from and to",
        ),
        ("s - + max", "'max' must be followed by"),
        ("s - + maxi 3", "did you mean 'max'"),
        ("s - + max soon", "setting 'max' cannot be 'soon'"),
        (
            "s - + min 5 max 3",
            "setting 'min' (5) must not be above 'max' (3)",
        ),
        (
            "MATCH * - + min 5 max 3",
            "setting 'min' (5) must not be above 'max' (3)",
        ),
        ("s - + DIFF DIFF", "'DIFF' must not be given twice"),
        ("s - + zscore -1", "setting 'zscore'"),
    ] {
        let why = refused(&server, line);
        assert!(
            why.starts_with("ERR ") && why.contains(part),
            "{line}: {why}"
        );
    }
    let why = server.refuses(&["ANOMALY.BACKTEST", "s", "-"]);
    assert!(why.contains("wrong number of arguments"), "{why}");
    let odd = server.refuses(&[&b"ANOMALY.BACKTEST"[..], b"s", b"\xff\r\n\0", b"+"]);
    assert!(odd.contains("'from'") && !odd.contains('\n'), "{odd}");
    assert_eq!(server.info("anomaly")["anomaly_backtests"], "0");
    assert_eq!(text(&server.cmd(&["PING"])), "PONG");
}

#[test]
fn keys_of_any_bytes_are_replayed() {
    let server = Server::start();
    let mut connection = server.conn();
    for key in [&b"\xff\0\r\n"[..], b"a*[b]?\\", b"{tag}:x", b""] {
        for at in 1..=5i64 {
            call(&mut connection, &args!["ANOMALY.ADD", key, at, at]);
        }
        let report = call(
            &mut connection,
            &args!["ANOMALY.BACKTEST", key, "-", "+", "max", 4],
        );
        let figures = ["readings", "episodes"].map(|name| count(&report, name));
        assert_eq!(figures, [5, 1], "{key:?}");
    }
    let all = call(
        &mut connection,
        &["ANOMALY.BACKTEST", "MATCH", "*", "-", "+"],
    );
    assert_eq!(count(&all, "sensors"), 4);
    let Value::Array(each) = field(&all, "each") else {
        panic!("{all:?}");
    };
    let mut names: Vec<_> = each.chunks(2).map(|pair| bytes(&pair[0])).collect();
    names.sort();
    assert_eq!(names, [&b""[..], b"a*[b]?\\", b"{tag}:x", b"\xff\0\r\n"]);
}

#[test]
fn in_a_transaction_or_script_it_is_refused() {
    let server = Server::start();
    feed(&mut server.conn(), "s", 1, 10);
    let mut connection = server.conn();
    call(&mut connection, &["MULTI"]);
    call(&mut connection, &words("s - +"));
    call(&mut connection, &["ANOMALY.INFO", "s"]);
    let replies = list(&call(&mut connection, &["EXEC"]));
    let why = error(&replies[0]).expect("no waiting in MULTI");
    assert!(why.starts_with("ERR ANOMALY.BACKTEST waits"), "{why}");
    assert_eq!(count(&replies[1], "readings"), 10);
    let script = "return redis.call('ANOMALY.BACKTEST', 's', '-', '+')";
    let why = server.refuses(&["EVAL", script, "0"]);
    assert!(why.contains("ANOMALY.BACKTEST waits"), "{why}");
    assert_eq!(server.info("anomaly")["anomaly_backtests"], "0");
}

#[test]
fn who_may_not_read_the_series_gets_no_backtest_of_it() {
    let server = Server::start();
    let mut admin = server.conn();
    for key in ["sensor:1", "sensor:2", "other"] {
        feed(&mut admin, key, 1, 50);
    }
    let user = |name: &str, rights: &[&str]| {
        let common = ["ACL", "SETUSER", name, "on", "nopass", "+@anomaly", "+auth"];
        server.cmd(&[&common[..], rights].concat());
        let mut user = server.conn();
        call(&mut user, &["AUTH", name, "any"]);
        user
    };
    let mut no_series = user("a", &["~sensor:*"]);
    let why = try_call(&mut no_series, &words("sensor:1 - +")).unwrap_err();
    assert!(
        why.starts_with("NOPERM ") && why.contains("'ts:{sensor:1}'"),
        "{why}"
    );
    let many = call(&mut no_series, &words("MATCH * - +"));
    assert_eq!((count(&many, "sensors"), count(&many, "skipped")), (0, 0));
    let mut reader = user("b", &["%R~sensor:1", "%R~ts:{sensor:1}"]);
    assert_eq!(
        count(&call(&mut reader, &words("sensor:1 - +")), "readings"),
        50
    );
    for key in ["sensor:2", "other", "none"] {
        let why = try_call(&mut reader, &words(&format!("{key} - +"))).unwrap_err();
        assert!(why.starts_with("NOPERM "), "{key}: {why}");
    }
    let many = call(&mut reader, &words("MATCH * - +"));
    assert_eq!(count(&many, "sensors"), 1);
    assert_eq!(pairs(&field(&many, "each"))[0].0, "sensor:1");
    let mut writer = user("c", &["%W~sensor:1", "%W~ts:*"]);
    assert!(try_call(&mut writer, &words("sensor:1 - +")).is_err());
}

/// Sends a backtest without waiting for its reply; it is under way when this returns.
fn send(server: &Server, line: &str) -> Connection {
    let mut connection = server.conn();
    let mut command = redis::Cmd::new();
    for word in words(line) {
        command.arg(word);
    }
    connection
        .send_packed_command(&command.get_packed_command())
        .unwrap();
    server.wait_until("the backtest is under way", || running(server));
    connection
}

fn running(server: &Server) -> bool {
    server.info("anomaly")["anomaly_backtest_running"] == "1"
}

fn is_over(server: &Server) {
    server.wait_until("the backtest is over", || !running(server));
}

/// The error reply that a client that waits gets.
fn failed(connection: &mut Connection) -> String {
    let reply = connection.recv_response().unwrap();
    error(&reply).unwrap_or_else(|| panic!("{reply:?}"))
}

fn blocked_id(server: &Server) -> String {
    let clients = text(&server.cmd(&["CLIENT", "LIST"]));
    let line = clients
        .lines()
        .find(|line| line.contains("anomaly.backtest"));
    let id = line.expect("somebody waits").split(' ').next().unwrap();
    id.trim_start_matches("id=").to_owned()
}

#[test]
fn one_runs_at_a_time_and_one_whose_client_is_gone_ends() {
    let server = Server::start();
    let n = 1_000_000;
    fill(&server, "s", n);
    let waiting = send(&server, "s - +");
    let why = refused(&server, "s - +");
    assert!(
        why.starts_with("ERR ANOMALY.BACKTEST is running already"),
        "{why}"
    );
    assert!(
        is_nil(&server.cmd(&["ANOMALY.INFO", "s"])),
        "others are served"
    );
    let slices = || -> u64 {
        server.info("anomaly")["anomaly_backtest_slices"]
            .parse()
            .unwrap()
    };
    let before = slices();
    drop(waiting);
    is_over(&server);
    // All of it takes about a thousand.
    assert!(slices() - before < 300, "{before} {}", slices());
    // Killed, and unblocked in both ways.
    let mut killed = send(&server, "s - +");
    server.cmd(&["CLIENT", "KILL", "ID", &blocked_id(&server)]);
    is_over(&server);
    assert!(killed.recv_response().is_err());
    for (how, expected) in [
        (
            "TIMEOUT",
            "ERR ANOMALY.BACKTEST was stopped by CLIENT UNBLOCK",
        ),
        ("ERROR", "UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        let mut unblocked = send(&server, "s - +");
        let id = blocked_id(&server);
        assert_eq!(int(&server.cmd(&["CLIENT", "UNBLOCK", &id, how])), 1);
        assert_eq!(failed(&mut unblocked), expected);
        is_over(&server);
        // The connection goes on, and gets replies to what it asks from now on.
        assert_eq!(text(&call(&mut unblocked, &["PING"])), "PONG");
    }
    let mut last = send(&server, "s - + max 40");
    let report = last.recv_response().unwrap();
    assert_eq!(
        (count(&report, "readings"), count(&report, "episodes")),
        (n, n / 1000)
    );
}

#[test]
fn a_series_that_goes_midway_is_an_error() {
    let server = Server::start();
    for how in [
        &["DEL", "ts:{s}"][..],
        &["FLUSHALL"],
        &["RENAME", "ts:{s}", "x"],
    ] {
        fill(&server, "s", 300_000);
        let mut waiting = send(&server, "s - +");
        server.cmd(how);
        let why = failed(&mut waiting);
        assert!(
            why.starts_with("ERR series 'ts:{s}' cannot be read: "),
            "{how:?}: {why}"
        );
        is_over(&server);
        server.cmd(&["FLUSHALL"]);
    }
    // Of many, it is one that was skipped.
    fill(&server, "s", 300_000);
    server.cmd(&["ANOMALY.ADD", "s", "400000000", "1"]);
    feed(&mut server.conn(), "t", 1, 10);
    let mut waiting = send(&server, "MATCH * - +");
    server.cmd(&["DEL", "ts:{s}"]);
    let many = waiting.recv_response().unwrap();
    assert_eq!((count(&many, "sensors"), count(&many, "skipped")), (1, 1));
}

#[test]
fn readings_and_rules_that_come_meanwhile_do_no_harm() {
    let server = Server::start();
    fill(&server, "s", 300_000);
    set(&server, "s", "max 40");
    let mut waiting = send(&server, "s - 300000000");
    set(&server, "s", "max 1");
    let adds: Vec<Args> = (0..2000i64)
        .map(|i| args!["ANOMALY.ADD", "s", 300_001_000 + i * 1000, 9])
        .collect();
    call_many(&mut server.conn(), &adds);
    let report = waiting.recv_response().unwrap();
    let figures = ["readings", "episodes"].map(|name| count(&report, name));
    assert_eq!(figures, [300_000, 300], "the rule as it was when it began");
}

#[test]
fn a_change_of_role_ends_it_and_shutdowns_and_kills_are_no_trouble() {
    let mut server = Server::builder().aof().start();
    fill(&server, "s", 500_000);
    let mut waiting = send(&server, "s - +");
    let other = Server::start();
    server.cmd(&args!["REPLICAOF", "127.0.0.1", other.port()]);
    assert!(failed(&mut waiting).starts_with("UNBLOCKED "));
    server.cmd(&["REPLICAOF", "NO", "ONE"]);
    is_over(&server);
    for how in [Stop::NoSave, Stop::Term, Stop::Kill9] {
        if is_nil(&server.cmd(&["ANOMALY.BACKTEST", "s", "-", "0"])) {
            fill(&server, "s", 500_000);
        }
        let before = text(&server.cmd(&["DEBUG", "DIGEST"]));
        let _waiting = send(&server, "s - +");
        server.restart(how);
        assert_eq!(text(&server.cmd(&["DEBUG", "DIGEST"])), before, "{how:?}");
    }
    let log = server.log();
    assert!(
        !log.contains("BUG REPORT") && !log.contains("panic"),
        "{log}"
    );
}

#[test]
fn a_save_in_the_middle_is_no_trouble() {
    let server = Server::start();
    fill(&server, "s", 500_000);
    let mut waiting = send(&server, "s - + max 40");
    server.cmd(&["SAVE"]);
    server.cmd(&["BGSAVE"]);
    let report = waiting.recv_response().unwrap();
    assert_eq!(count(&report, "episodes"), 500);
    server.wait_until("it is saved", || {
        server.info("persistence")["rdb_bgsave_in_progress"] == "0"
    });
    assert_eq!(server.info("persistence")["rdb_last_bgsave_status"], "ok");
}

#[test]
fn a_panic_in_it_is_an_error_reply_and_nothing_more() {
    let server = Server::start();
    feed(&mut server.conn(), "s", 1, 100);
    server.cmd(&["ANOMALY._PANIC", "ts:{s}"]);
    assert_eq!(
        refused(&server, "s - +"),
        "ERR internal error in the anomaly module: see the server's log"
    );
    assert!(
        server
            .log()
            .contains("provoked by ANOMALY._PANIC in a backtest")
    );
    assert_eq!(count(&backtest(&server, "s - +"), "readings"), 100);
}

#[test]
fn a_series_of_large_chunks_is_refused_since_reading_it_would_hold_others_up() {
    let server = Server::start();
    server.cmd(&["TS.CREATE", "ts:{s}", "CHUNK_SIZE", "1048576"]);
    fill(&server, "s", 120_000);
    let why = refused(&server, "s - +");
    assert!(
        why.starts_with("ERR series 'ts:{s}' can have 4194304 samples in a chunk"),
        "{why}"
    );
}

/// A chunk's size in bytes tells little of how many samples it holds: readings that do not change take two bits each.
#[test]
fn a_series_is_refused_by_what_a_chunk_can_hold_not_by_its_average() {
    let server = Server::start();
    // Few samples so far, and none alike.
    for (size, encoding, taken) in [
        ("1024", "COMPRESSED", true),
        ("4096", "COMPRESSED", true),
        ("16384", "COMPRESSED", true),
        ("262144", "COMPRESSED", false),
        ("262144", "UNCOMPRESSED", true),
    ] {
        server.cmd(&[
            "TS.CREATE",
            "ts:{s}",
            "ENCODING",
            encoding,
            "CHUNK_SIZE",
            size,
        ]);
        feed(&mut server.conn(), "s", 1, 300);
        if taken {
            assert_eq!(
                count(&backtest(&server, "s - +"), "readings"),
                300,
                "{size}"
            );
        } else {
            let why = refused(&server, "s - +");
            assert!(why.contains("with a CHUNK_SIZE of 16384 bytes"), "{why}");
        }
        server.cmd(&["FLUSHALL"]);
    }
    // The largest that is taken, full of what is the worst.
    server.cmd(&["TS.CREATE", "ts:{s}", "CHUNK_SIZE", "16384"]);
    let same = "for n = ARGV[1], ARGV[2] do redis.call('TS.ADD', KEYS[1], n * 1000, 7) end";
    for first in (1..200_000i64).step_by(50_000) {
        server.cmd(&args!["EVAL", same, 1, "ts:{s}", first, first + 49_999]);
    }
    assert_eq!(count(&backtest(&server, "s - +"), "readings"), 200_000);
    let slices = &server.info("anomaly")["anomaly_backtest_longest_usec"];
    println!("the longest slice: {slices} us");
}

#[test]
fn a_key_of_another_type_in_the_place_of_a_series_is_a_wrongtype() {
    let server = Server::start();
    server.cmd(&["SET", "ts:{s}", "no series"]);
    let why = refused(&server, "s - +");
    assert!(
        why.starts_with("WRONGTYPE series 'ts:{s}' cannot be read: ") && !why.contains("ERR"),
        "{why}"
    );
}

#[test]
fn on_a_cluster_the_series_is_in_the_sensors_slot() {
    let server = Server::builder().cluster().start();
    let mut connection = server.conn();
    for key in ["s", "{rack}:t"] {
        feed(&mut connection, key, 1, 100);
        assert_eq!(
            count(&backtest(&server, &format!("{key} - +")), "readings"),
            100
        );
    }
    assert_eq!(count(&backtest(&server, "MATCH * - +"), "sensors"), 2);
}

/// The word MATCH is no key: its slot is not this node's, and nobody is sent away for it.
#[test]
fn on_a_cluster_a_key_goes_to_its_node_and_match_covers_this_one() {
    let server = Server::builder()
        .cluster_node()
        .config("cluster-require-full-coverage no")
        .start();
    let slot = |key: &str| int(&server.cmd(&["CLUSTER", "KEYSLOT", key]));
    let elsewhere = slot("MATCH");
    server.cmd(&args!["CLUSTER", "ADDSLOTSRANGE", 0, elsewhere - 1]);
    server.cmd(&args!["CLUSTER", "ADDSLOTSRANGE", elsewhere + 1, 16383]);
    server.wait_until("the cluster is up", || {
        text(&server.cmd(&["CLUSTER", "INFO"])).contains("state:ok")
    });
    feed(&mut server.conn(), "s", 1, 10);
    assert_eq!(count(&backtest(&server, "MATCH * - +"), "sensors"), 1);
    assert_eq!(count(&backtest(&server, "s - +"), "readings"), 10);
    let why = refused(&server, "{MATCH}:t - +");
    assert!(why.starts_with("CLUSTERDOWN "), "{why}");
}

#[test]
fn another_database_is_another_set_of_sensors() {
    let server = Server::start();
    let mut connection = server.conn();
    call(&mut connection, &["SELECT", "1"]);
    feed(&mut connection, "s", 1, 20);
    let report = call(&mut connection, &words("s - +"));
    assert_eq!(count(&report, "readings"), 20);
    let many = call(&mut connection, &words("MATCH * - +"));
    assert_eq!(count(&many, "sensors"), 1);
    assert!(is_nil(&backtest(&server, "s - +")));
    assert_eq!(count(&backtest(&server, "MATCH * - +"), "sensors"), 0);
}

/// The 90th and 99th percentile of PING, asked about a thousand times a second as long as `busy` holds.
fn pings(connection: &mut Connection, mut busy: impl FnMut(usize) -> bool) -> [Duration; 2] {
    let mut took = Vec::new();
    while busy(took.len()) {
        thread::sleep(Duration::from_micros(900));
        let start = Instant::now();
        call(connection, &["PING"]);
        took.push(start.elapsed());
    }
    took.sort();
    [90, 99].map(|percent| took[took.len() * percent / 100])
}

#[test]
fn a_million_readings_are_replayed_while_others_go_on() {
    let server = Server::start();
    let n = 1_000_000;
    fill(&server, "s", n);
    let mut pinging = server.conn();
    let [idle, idle_p99] = pings(&mut pinging, |asked| asked < 1000);
    let counted = |name: &str| -> u64 {
        let info = server.info("anomaly");
        info[&format!("anomaly_backtest_{name}")].parse().unwrap()
    };
    // The best of three, since on a shared machine others take the processor in the midst of a slice.
    let attempts = (0..3).map(|_| {
        let (held, slices) = (counted("usec"), counted("slices"));
        let start = Instant::now();
        let mut waiting = send(&server, "s - + DIFF max 40");
        let reader = thread::spawn(move || waiting.recv_response().unwrap());
        let [busy, p99] = pings(&mut pinging, |_| !reader.is_finished());
        let took = start.elapsed();
        let both = reader.join().unwrap();
        assert_eq!(count(&field(&both, "candidate"), "episodes"), n / 1000);
        assert_eq!(count(&field(&both, "current"), "readings"), n);
        let (held, slices) = (counted("usec") - held, counted("slices") - slices);
        println!(
            "{n} readings in {:.1} s; PING p90 {idle:?} p99 {idle_p99:?} idle, p90 {busy:?} p99 {p99:?} meanwhile; {slices} slices of {} us",
            took.as_secs_f64(),
            held / slices,
        );
        assert!(slices > 300, "{slices}");
        (busy, held / slices)
    });
    let (busy, slice): (Vec<Duration>, Vec<u64>) = attempts.unzip();
    println!("the longest slice: {} us", counted("longest_usec"));
    assert!(slice.iter().any(|us| *us < 500), "{slice:?}");
    let limit = idle.max(Duration::from_micros(300)) * 10;
    assert!(
        busy.iter().any(|p90| *p90 <= limit),
        "{busy:?} above {limit:?}"
    );
}
