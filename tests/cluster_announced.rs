//! A slot is on the move as soon as a node is told of it: Valkey does what SETSLOT says only when the replicas have heard of
//! it, a transaction when it is executed.

use anomaly_tests::{args, call, call_many, error, field, int, list, text, try_call};
use redis::Connection;

use crate::pair::Pair;

/// Entries of a stream that is read first, so many that it takes longer than the moves of another.
const LONG: i64 = 100_000;
const SHORT: i64 = 2000;

/// What Valkey takes SETSLOT to wait for at most; Redis waits for nothing and knows no such word.
fn timeout(pair: &Pair, ms: &'static str) -> Vec<&'static str> {
    let waits = pair.nodes[0].info("server").contains_key("valkey_version");
    if waits { vec!["TIMEOUT", ms] } else { vec![] }
}

/// A rule that makes each reading fire or resolve.
fn rules(pair: &Pair) {
    for node in &pair.nodes {
        node.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    }
}

fn tag(pair: &Pair, name: &str) -> String {
    let stream = pair.stream(0, name);
    stream[stream.find('{').unwrap()..].to_owned()
}

/// Has SETSLOT sent on a connection of its own while the replica is stopped: done on Redis, on Valkey it waits.
fn announce(pair: &Pair, key: &str, words: &[&str]) -> (Connection, bool) {
    let node = &pair.nodes[0];
    pair.replicas[0].signal("STOP");
    let mut connection = node.conn();
    let slot = pair.slot(key).to_string();
    let mut command = redis::cmd("CLUSTER");
    command.arg("SETSLOT").arg(&slot).arg(words);
    let waits = !words.is_empty() && node.info("server").contains_key("valkey_version");
    connection
        .send_packed_command(&command.get_packed_command())
        .unwrap();
    node.wait_until("it was seen", || {
        let blocked = node.info("clients")["blocked_clients"] != "0";
        let nodes = text(&node.cmd(&["CLUSTER", "NODES"]));
        blocked || nodes.contains(&format!("[{slot}->-"))
    });
    (connection, waits)
}

fn again(reply: Result<redis::Value, String>) {
    let refused = reply.expect_err("it must be sent again");
    assert!(
        refused.starts_with("TRYAGAIN ") || refused.starts_with("ASK "),
        "{refused}"
    );
}

#[test]
fn nothing_is_made_twice_of_a_slot_whose_move_was_announced() {
    let pair = Pair::with_replicas();
    rules(&pair);
    let (node, tag) = (&pair.nodes[0], tag(&pair, "x"));
    let [one, two] = ["1", "2"].map(|n| format!("{tag}:{n}"));
    for key in [&one, &two] {
        node.cmd(&["ANOMALY.ADD", key, "1000", "5"]);
    }
    let gone = format!("{tag}:gone");
    for key in [&one, &gone] {
        node.cmd(&["ANOMALY.ADD", key, "2000", "50"]);
    }
    pair.set_slot(1, &tag, &["IMPORTING", &pair.ids[0]]);
    let words = [&["MIGRATING", &pair.ids[1]], &timeout(&pair, "30000")[..]].concat();
    let (mut connection, _) = announce(&pair, &tag, &words);
    for key in [format!("ts:{one}"), format!("anomaly:alerts:{tag}")] {
        pair.send(0, &key);
    }
    let add = |key: &str, at: i64, value: i64| node.try_cmd(&args!["ANOMALY.ADD", key, at, value]);
    again(add(&one, 3000, 5));
    again(add(&two, 2000, 50));
    again(add(&format!("{tag}:new"), 1000, 5));
    assert_eq!(
        add(&two, 2000, 5).map(|reply| text(&reply)),
        Ok("normal".into()),
        "all that it needs is here"
    );
    // Its `resolved` would be.
    assert_eq!(int(&node.cmd(&["DEL", &gone])), 1);
    pair.replicas[0].signal("CONT");
    assert_eq!(text(&connection.recv_response().unwrap()), "OK");
    // From now on it is as it is on Redis.
    again(add(&one, 3000, 5));
    pair.send_rest(0, &tag);
    let target = &pair.nodes[1];
    target.cmd(&["ANOMALY.ADD", &one, "3000", "5"]);
    for (key, count) in [(&one, 3), (&two, 2)] {
        let info = target.cmd(&["ANOMALY.INFO", key]);
        assert_eq!(int(&field(&info, "readings")), count, "{key}");
        let samples = list(&target.cmd(&["TS.RANGE", &format!("ts:{key}"), "-", "+"]));
        assert_eq!(samples.len() as i64, count, "{key}");
    }
    let alerts = target.stream(&format!("anomaly:alerts:{tag}"));
    let events: Vec<&str> = alerts.iter().map(|(_, fields)| &fields[1].1[..]).collect();
    assert_eq!(events, ["firing", "firing", "resolved"]);
}

#[test]
fn what_is_unread_goes_with_a_stream_that_is_sent_as_soon_as_its_move_is_announced() {
    let pair = Pair::with_replicas();
    let (first, second) = pair.one_behind_the_other(LONG, SHORT);
    pair.set_slot(1, &second, &["IMPORTING", &pair.ids[0]]);
    let words = [&["MIGRATING", &pair.ids[1]], &timeout(&pair, "30000")[..]].concat();
    let (mut connection, _) = announce(&pair, &second, &words);
    pair.send(0, &second);
    pair.replicas[0].signal("CONT");
    assert_eq!(text(&connection.recv_response().unwrap()), "OK");
    assert!(pair.is_unread(0, &first), "too fast for this test");
    pair.send_rest(0, &second);
    pair.is_read_once(1, &second, SHORT);
}

/// Between the answer to SETSLOT and what follows there is no time at all.
#[test]
fn what_is_unread_goes_with_a_stream_that_is_sent_right_after_the_answer() {
    let pair = Pair::with_replicas();
    let first = pair.stream(0, "1");
    pair.fill(0, &first, 1..LONG + 1);
    let streams: Vec<String> = (0..20).map(|n| pair.stream(0, &format!("2.{n}"))).collect();
    for stream in &streams {
        pair.fill(0, stream, 1..11);
    }
    pair.watch(1);
    pair.watch(0);
    streams
        .iter()
        .for_each(|stream| pair.is_to_be_read(0, stream));
    for stream in &streams {
        pair.set_slot(1, stream, &["IMPORTING", &pair.ids[0]]);
        let slot = pair.slot(stream);
        let announced = args!["CLUSTER", "SETSLOT", slot, "MIGRATING", &pair.ids[1]];
        let sent = pair.migrate(0, stream);
        let replies = call_many(&mut pair.nodes[0].conn(), &[announced, sent]);
        assert_eq!(replies.iter().map(text).collect::<Vec<_>>(), ["OK"; 2]);
    }
    assert!(pair.is_unread(0, &first), "too fast for this test");
    for stream in &streams {
        pair.send_rest(0, stream);
        pair.is_read_once(1, stream, 10);
    }
}

#[test]
fn a_move_that_was_announced_and_failed_leaves_everything_as_it_was() {
    let pair = Pair::with_replicas();
    let stream = pair.stream(0, "1");
    pair.fill(0, &stream, 1..LONG + 1);
    pair.watch(0);
    pair.is_to_be_read(0, &stream);
    let words = [&["MIGRATING", &pair.ids[1]], &timeout(&pair, "300")[..]].concat();
    let (mut connection, waits) = announce(&pair, &stream, &words);
    let noted = || !list(&pair.nodes[0].cmd(&["XINFO", "GROUPS", &stream])).is_empty();
    assert!(
        noted() || !pair.is_unread(0, &stream),
        "it is noted at once"
    );
    let reply = connection.recv_response().unwrap();
    pair.replicas[0].signal("CONT");
    if waits {
        let refused = error(&reply).unwrap_or_else(|| panic!("{reply:?}"));
        assert!(refused.starts_with("NOREPLICAS"), "{refused}");
    } else {
        pair.set_slot(0, &stream, &["STABLE"]);
    }
    pair.is_read_once(0, &stream, LONG);
    let tag = &stream[stream.find('{').unwrap()..];
    pair.nodes[0].cmd(&["ANOMALY.ADD", &format!("{tag}:new"), "*", "5"]);
}

#[test]
fn a_move_that_a_transaction_begins_is_noticed_however_long_it_waits_to_be_executed() {
    let pair = Pair::start();
    rules(&pair);
    let (node, tag) = (&pair.nodes[0], tag(&pair, "x"));
    let key = format!("{tag}:1");
    let mut at = 0;
    let mut add = || {
        at += 1000;
        node.try_cmd(&args!["ANOMALY.ADD", &key, at, 5])
    };
    add().unwrap();
    pair.set_slot(1, &tag, &["IMPORTING", &pair.ids[0]]);
    let mut connection = node.conn();
    call(&mut connection, &["MULTI"]);
    let words = args![
        "CLUSTER",
        "SETSLOT",
        pair.slot(&tag),
        "MIGRATING",
        &pair.ids[1]
    ];
    call(&mut connection, &words);
    let began = std::time::Instant::now();
    node.wait_until("time passes", || {
        add().unwrap();
        began.elapsed().as_millis() > 2800
    });
    call(&mut connection, &["EXEC"]);
    pair.send(0, &format!("ts:{key}"));
    again(add());
    pair.send_rest(0, &tag);
}

#[test]
fn what_is_unread_goes_with_a_stream_that_is_sent_in_the_transaction_that_begins_the_move() {
    let pair = Pair::start();
    let (first, second) = pair.one_behind_the_other(LONG, SHORT);
    pair.set_slot(1, &second, &["IMPORTING", &pair.ids[0]]);
    let begin = args![
        "CLUSTER",
        "SETSLOT",
        pair.slot(&second),
        "MIGRATING",
        &pair.ids[1]
    ];
    let all = [
        args!["MULTI"],
        begin,
        pair.migrate(0, &second),
        args!["EXEC"],
    ];
    let replies = call_many(&mut pair.nodes[0].conn(), &all);
    let done: Vec<String> = list(&replies[3]).iter().map(text).collect();
    assert_eq!(done, ["OK", "OK"]);
    assert!(pair.is_unread(0, &first), "too fast for this test");
    pair.send_rest(0, &second);
    pair.is_read_once(1, &second, SHORT);
}

#[test]
fn who_may_not_move_slots_cannot_announce_it_either() {
    let pair = Pair::start();
    let (node, tag) = (&pair.nodes[0], tag(&pair, "x"));
    node.cmd(&[
        "ACL", "SETUSER", "eva", "on", ">x", "~*", "+@all", "-cluster",
    ]);
    let mut connection = node.conn();
    call(&mut connection, &["AUTH", "eva", "x"]);
    call(&mut connection, &["MULTI"]);
    let words = args![
        "CLUSTER",
        "SETSLOT",
        pair.slot(&tag),
        "MIGRATING",
        &pair.ids[1]
    ];
    let refused = try_call(&mut connection, &words).unwrap_err();
    assert!(refused.starts_with("NOPERM"), "{refused}");
    node.cmd(&["ANOMALY.ADD", &format!("{tag}:new"), "*", "5"]);
    // Nor one who may, and whose announcement was refused, as long as something else is waited for.
    let mut connection = node.conn();
    let words = args!["CLUSTER", "SETSLOT", pair.slot(&tag), "MIGRATING", "nobody"];
    try_call(&mut connection, &words).unwrap_err();
    let wait = redis::cmd("BLPOP")
        .arg(format!("{tag}:list"))
        .arg(0)
        .get_packed_command();
    connection.send_packed_command(&wait).unwrap();
    node.wait_until("it waits", || {
        node.info("clients")["blocked_clients"] == "1"
    });
    node.cmd(&["ANOMALY.ADD", &format!("{tag}:newer"), "*", "5"]);
}
