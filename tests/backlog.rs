//! WATCH … FROM: what a stream holds already is read too, in order, whatever happens meanwhile, and others hardly notice.
//!
//! Every entry's id is its reading's time, so a reading that overtook another would make that one late.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anomaly_tests::{
    Server, Stop, args, assert_same, call, call_many, field, int, is_nil, list, pairs, text,
};
use redis::{Connection, Value};

/// Adds the entries with these times to a stream.
fn fill(connection: &mut Connection, stream: &str, times: std::ops::Range<i64>) {
    let all: Vec<_> = times.collect();
    for some in all.chunks(10_000) {
        let entries: Vec<_> = some
            .iter()
            .map(|at| args!["XADD", stream, format!("{at}-0"), "t", at % 100])
            .collect();
        for (reply, at) in call_many(connection, &entries).iter().zip(some) {
            assert_eq!(text(reply), format!("{at}-0"));
        }
    }
}

fn watch(server: &Server, pattern: &str, from: &str) {
    server.cmd(&[
        "ANOMALY.WATCH",
        "SET",
        pattern,
        "KEY",
        "s:$stream",
        "FROM",
        from,
    ]);
}

/// `[readings, late, duplicates, first, last]` of what was read from a stream.
fn read(server: &Server, stream: &str) -> [i64; 5] {
    let info = server.cmd(&["ANOMALY.INFO", &format!("s:{stream}")]);
    if is_nil(&info) {
        return [0; 5];
    }
    ["readings", "late", "duplicates", "first", "last"].map(|name| int(&field(&info, name)))
}

/// The parts of the backlog that WATCH GET shows.
fn left(server: &Server, pattern: &str) -> Vec<Value> {
    backlog(&server.cmd(&["ANOMALY.WATCH", "GET", pattern]))
}

fn backlog(watch: &Value) -> Vec<Value> {
    let watch = pairs(watch);
    let backlog = watch.iter().find(|(name, _)| name == "backlog");
    backlog.map_or_else(Vec::new, |(_, parts)| list(parts))
}

fn is_over(server: &Server, pattern: &str) {
    server.wait_until("everything is read", || left(server, pattern).is_empty());
    assert_eq!(server.info("anomaly")["anomaly_backlog_streams"], "0");
}

/// Waits until some of the stream is read; there must be more.
fn midway(server: &Server, stream: &str, all: i64) -> i64 {
    server.wait_until("reading has begun", || read(server, stream)[0] > 0);
    let readings = read(server, stream)[0];
    assert!(readings < all, "too fast to be met midway");
    readings
}

#[test]
fn a_stream_is_read_from_its_beginning_or_from_an_id_on() {
    let server = Server::start();
    fill(&mut server.conn(), "a", 1000..3000);
    for (from, first) in [
        ("0", 1000),
        ("-", 1000),
        ("1000-0", 1000),
        ("1000-1", 1001),
        ("2500", 2500),
    ] {
        watch(&server, "a", from);
        is_over(&server, "a");
        assert_eq!(
            read(&server, "a"),
            [3000 - first, 0, 0, first, 2999],
            "{from}"
        );
        let samples = list(&server.cmd(&["TS.RANGE", "ts:{s:a}", "-", "+"]));
        assert_eq!(samples.len() as i64, 3000 - first);
        server.cmd(&["DEL", "s:a", "ts:{s:a}"]);
    }
    watch(&server, "a", "3000");
    is_over(&server, "a");
    assert_eq!(read(&server, "a"), [0; 5]);
    fill(&mut server.conn(), "a", 3000..3001);
    assert_eq!(read(&server, "a"), [1, 0, 0, 3000, 3000]);
}

#[test]
fn a_glob_reads_all_its_streams_and_nothing_else() {
    let server = Server::start();
    let mut connection = server.conn();
    for stream in ["raw:1", "raw:2", "raw:3", "other"] {
        fill(&mut connection, stream, 1..101);
    }
    call(&mut connection, &["SET", "raw:text", "x"]);
    call(
        &mut connection,
        &["XGROUP", "CREATE", "raw:empty", "g", "$", "MKSTREAM"],
    );
    call(&mut connection, &["SELECT", "1"]);
    fill(&mut connection, "raw:1", 1..11);
    watch(&server, "raw:*", "0");
    is_over(&server, "raw:*");
    for stream in ["raw:1", "raw:2", "raw:3"] {
        assert_eq!(read(&server, stream), [100, 0, 0, 1, 100], "{stream}");
    }
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "3");
    assert_eq!(server.info("anomaly")["anomaly_dead_letters"], "0");
    // FROM means the selected database.
    call(
        &mut connection,
        &[
            "ANOMALY.WATCH",
            "SET",
            "raw:*",
            "KEY",
            "s:$stream",
            "FROM",
            "0",
        ],
    );
    is_over(&server, "raw:*");
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "4");
}

#[test]
fn newer_entries_do_not_overtake_older_ones() {
    let server = Server::start();
    let mut connection = server.conn();
    fill(&mut connection, "a", 1..20_001);
    watch(&server, "a", "0");
    fill(&mut connection, "a", 20_001..25_001);
    is_over(&server, "a");
    fill(&mut connection, "a", 25_001..26_001);
    assert_eq!(read(&server, "a"), [26_000, 0, 0, 1, 26_000]);
}

#[test]
fn streams_that_come_to_be_during_the_search_are_read_too() {
    let server = Server::start();
    let mut connection = server.conn();
    let filler: Vec<_> = (0..200_000)
        .map(|n| args!["SET", format!("key:{n}"), n])
        .collect();
    call_many(&mut connection, &filler);
    watch(&server, "raw:*", "0");
    let streams = 300;
    for n in 0..streams {
        fill(&mut connection, &format!("raw:{n}"), 1..4);
    }
    assert!(
        !left(&server, "raw:*").is_empty(),
        "the search was over before"
    );
    is_over(&server, "raw:*");
    for n in 0..streams {
        assert_eq!(
            read(&server, &format!("raw:{n}")),
            [3, 0, 0, 1, 3],
            "raw:{n}"
        );
    }
}

#[test]
fn a_stream_with_a_watch_of_its_own_is_not_read_again() {
    let server = Server::start();
    let mut connection = server.conn();
    call(
        &mut connection,
        &["ANOMALY.WATCH", "SET", "raw:1", "KEY", "s:$stream"],
    );
    fill(&mut connection, "raw:1", 1..101);
    fill(&mut connection, "raw:2", 1..101);
    let filler: Vec<_> = (0..100_000)
        .map(|n| args!["SET", format!("key:{n}"), n])
        .collect();
    call_many(&mut connection, &filler);
    watch(&server, "raw:*", "0");
    fill(&mut connection, "raw:1", 101..201);
    is_over(&server, "raw:*");
    assert_eq!(read(&server, "raw:1"), [200, 0, 0, 1, 200]);
    assert_eq!(read(&server, "raw:2"), [100, 0, 0, 1, 100]);
}

#[test]
fn progress_is_told_while_there_is_some() {
    let server = Server::start();
    fill(&mut server.conn(), "a", 1..50_001);
    watch(&server, "a", "0");
    midway(&server, "a", 50_000);
    let info = server.info("anomaly");
    let parts = left(&server, "a");
    assert_eq!(info["anomaly_backlog_streams"], "1");
    let done: i64 = info["anomaly_backlog_read"].parse().unwrap();
    let (read_so_far, next) = (
        int(&field(&parts[0], "read")),
        text(&field(&parts[0], "next")),
    );
    assert!(0 < done && done <= read_so_far && read_so_far < 50_000);
    assert_eq!(text(&field(&parts[0], "stream")), "a");
    assert_eq!(next, format!("{read_so_far}-1"));
    assert_eq!(int(&field(&parts[0], "db")), 0);
    is_over(&server, "a");
    assert_eq!(read(&server, "a"), [50_000, 0, 0, 1, 50_000]);
}

#[test]
fn the_end_of_the_watch_is_the_end_of_it() {
    let server = Server::start();
    let mut connection = server.conn();
    fill(&mut connection, "a", 1..50_001);
    watch(&server, "a", "0");
    midway(&server, "a", 50_000);
    server.cmd(&["ANOMALY.WATCH", "DEL", "a"]);
    let then = read(&server, "a");
    assert_eq!(server.info("anomaly")["anomaly_backlog_streams"], "0");
    fill(&mut connection, "a", 50_001..60_001);
    assert_eq!(read(&server, "a"), then);
    // Set again without FROM it reads what comes.
    call(
        &mut connection,
        &["ANOMALY.WATCH", "SET", "a", "KEY", "s:$stream"],
    );
    fill(&mut connection, "a", 60_001..60_002);
    assert_eq!(read(&server, "a")[0], then[0] + 1);
}

#[test]
fn a_stream_that_is_gone_midway_is_no_trouble() {
    let server = Server::start();
    let mut connection = server.conn();
    for stream in ["a", "b"] {
        fill(&mut connection, stream, 1..30_001);
    }
    watch(&server, "?", "0");
    midway(&server, "a", 30_000);
    call(&mut connection, &["DEL", "a"]);
    call(&mut connection, &["SET", "b", "no stream"]);
    is_over(&server, "?");
    fill(&mut connection, "a", 40_001..40_011);
    assert_eq!(read(&server, "a")[4], 40_010);
}

fn goes_on_after(how: Stop, config: &str) {
    let mut server = Server::builder()
        .config(config)
        .config("appendfsync always")
        .start();
    let all = 60_000;
    fill(&mut server.conn(), "a", 1..all + 1);
    watch(&server, "a", "0");
    for _ in 0..3 {
        let before = midway(&server, "a", all);
        server.restart(how);
        let after = read(&server, "a");
        assert!(
            before <= after[0] && after[1..3] == [0, 0],
            "{before} {after:?}"
        );
    }
    fill(&mut server.conn(), "a", all + 1..all + 101);
    is_over(&server, "a");
    assert_eq!(read(&server, "a"), [all + 100, 0, 0, 1, all + 100]);
    assert_eq!(
        list(&server.cmd(&["TS.RANGE", "ts:{s:a}", "-", "+"])).len() as i64,
        all + 100
    );
}

#[test]
fn a_killed_server_goes_on_where_it_was() {
    goes_on_after(Stop::Kill9, "appendonly yes");
}

#[test]
fn a_server_that_was_saved_goes_on_where_it_was() {
    goes_on_after(Stop::Save, "appendonly no");
}

#[test]
fn a_replica_follows_and_goes_on_when_it_is_promoted() {
    let mut master = Server::start();
    let early = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&early);
    let all = 150_000;
    fill(&mut master.conn(), "a", 1..all + 1);
    watch(&master, "a", "0");
    midway(&master, "a", all);
    let late = Server::builder().replica_of(&master).start();
    early.wait_until("it follows", || read(&early, "a")[0] > 0);
    // While it loads what its master has sent it answers nothing else.
    late.wait_until("the link is up", || {
        late.info("replication")["master_link_status"] == "up"
    });
    late.wait_until("it follows", || read(&late, "a")[0] > 0);
    assert!(!left(&early, "a").is_empty() && !left(&late, "a").is_empty());
    master.kill9();
    for promoted in [&early, &late] {
        let before = read(promoted, "a")[0];
        assert!(before < all, "too fast to be met midway");
        promoted.cmd(&["REPLICAOF", "NO", "ONE"]);
        fill(&mut promoted.conn(), "a", all + 1..all + 101);
        is_over(promoted, "a");
        assert_eq!(read(promoted, "a"), [all + 100, 0, 0, 1, all + 100]);
    }
    let of_sensor = |server: &Server| {
        let mut picture = server.picture();
        picture.retain(|key, _| key.contains("s:a"));
        picture
    };
    assert_same(&of_sensor(&early), &of_sensor(&late));
}

/// The 99th percentiles of PING at each of the servers, asked in turn about a thousand times a second (a client that asks at
/// once again would meet each slice with one question only, however long it is), as long as `busy` holds: medians over
/// stretches of half a second, since other processes disturb some of them.
fn ping_p99(connections: [Connection; 2], mut busy: impl FnMut(usize) -> bool) -> [Duration; 2] {
    let mut asked = connections.map(|connection| (connection, Vec::new()));
    while busy(asked[0].1.len()) {
        for (connection, took) in &mut asked {
            thread::sleep(Duration::from_micros(900));
            let start = Instant::now();
            call(connection, &["PING"]);
            took.push(start.elapsed());
        }
    }
    asked.map(|(_, mut took)| {
        let p99 = |stretch: &mut [Duration]| {
            stretch.sort();
            stretch[stretch.len() * 99 / 100]
        };
        let mut stretches: Vec<Duration> = took.chunks_mut(500).map(p99).collect();
        stretches.sort();
        stretches[stretches.len() / 2]
    })
}

#[test]
fn a_million_entries_are_read_in_order_while_others_go_on() {
    let server = Server::start();
    let mut connection = server.conn();
    let all = 1_000_000;
    // A script fills it in a second; a producer adds to it afterwards.
    let script =
        "for n = ARGV[1], ARGV[2] do redis.call('XADD', KEYS[1], n .. '-0', 't', n % 100) end";
    for begin in (1..=all).step_by(50_000) {
        call(
            &mut connection,
            &args!["EVAL", script, 1, "a", begin, begin + 49_999],
        );
    }
    // Asked meanwhile too: what disturbs this machine disturbs both.
    let idle = Server::start();
    let pinging = [server.conn(), idle.conn()];
    let start = Instant::now();
    watch(&server, "a", "0");
    let over = AtomicBool::new(false);
    let ([busy, idle], newest) = thread::scope(|scope| {
        let producer = scope.spawn(|| {
            let mut connection = server.conn();
            let mut at = all;
            while !over.load(Ordering::Relaxed) {
                at += 1;
                fill(&mut connection, "a", at..at + 1);
                thread::sleep(Duration::from_millis(1)); // a thousand entries a second
            }
            at
        });
        let mut asking = server.conn();
        let mut going_on = |n: usize| {
            // Asked rarely, so that asking is no load.
            !n.is_multiple_of(100)
                || !backlog(&call(&mut asking, &["ANOMALY.WATCH", "GET", "a"])).is_empty()
        };
        let busy = ping_p99(pinging, &mut going_on);
        over.store(true, Ordering::Relaxed);
        (busy, producer.join().unwrap())
    });
    is_over(&server, "a");
    let ratio = busy.as_secs_f64() / idle.as_secs_f64();
    println!(
        "{newest} entries in {:.1} s; PING p99 {idle:?} idle, {busy:?} meanwhile: {ratio:.1} times",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(read(&server, "a"), [newest, 0, 0, 1, newest]);
    // Wall clock on a shared machine: far more than the three times that are promised, and of no less than a slice.
    let limit = idle.max(Duration::from_micros(200)) * 10;
    assert!(busy <= limit, "{busy:?} is above {limit:?}");
}

/// Each slice is a transaction of its own.
#[test]
fn many_streams_are_found_in_many_slices() {
    const STREAMS: usize = 20_000;
    let server = Server::builder().aof().start();
    let entries: Vec<_> = (0..STREAMS)
        .map(|n| args!["XADD", format!("raw:{n}"), "1-0", "t", 1])
        .collect();
    call_many(&mut server.conn(), &entries);
    server.cmd(&["CONFIG", "SET", "anomaly.archive", "off"]);
    watch(&server, "raw:*", "0");
    is_over(&server, "raw:*");
    assert_eq!(
        server.info("anomaly")["anomaly_readings"],
        STREAMS.to_string()
    );
    let file = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let written = std::fs::read(file).unwrap();
    let (mut found, mut most) = (0, 0);
    for line in String::from_utf8_lossy(&written).lines() {
        match line {
            "MULTI" | "EXEC" => found = 0,
            "AT" => found += 1,
            _ => {}
        }
        most = most.max(found);
    }
    assert!(
        (1..2000).contains(&most),
        "{most} of {STREAMS} in one slice"
    );
}
