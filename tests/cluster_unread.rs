//! What of a watched stream is yet to be read goes with it from node to node, whatever else the nodes have to read.
//!
//! Every entry's id is its reading's time, so a reading that overtook another would make that one late.

use anomaly_tests::{Server, args, call_many, field, int, is_nil, list, pairs, text};

use crate::pair::Pair;

/// Entries of a stream that is read first, so many that it takes longer than the moves of another.
const LONG: i64 = 100_000;
const SHORT: i64 = 2000;

#[test]
fn a_stream_that_leaves_while_another_is_read_is_read_where_it_arrives() {
    let pair = Pair::start();
    let (first, second) = pair.one_behind_the_other(LONG, SHORT);
    pair.move_slot(0, &second, |target| {
        let (asking, at) = (args!["ASKING"], SHORT + 1);
        let entry = args!["XADD", &second, format!("{at}-0"), "t", 1];
        let replies = call_many(&mut target.conn(), &[asking, entry]);
        assert_eq!(text(&replies[1]), format!("{at}-0"));
    });
    pair.is_read_once(1, &second, SHORT + 1);
    // Where it was not read before it left, it is not read again when it comes back.
    assert!(pair.is_unread(0, &first), "too fast for this test");
    pair.move_slot(1, &second, |_| ());
    pair.is_read_once(0, &second, SHORT + 1);
}

#[test]
fn a_stream_that_goes_on_before_it_could_be_read_is_read_where_it_ends_up() {
    let pair = Pair::start();
    let busy = [0, 1].map(|node| pair.stream(node, "1"));
    let stream = pair.stream(0, "2");
    pair.fill(0, &stream, 1..SHORT + 1);
    for node in [1, 0] {
        pair.fill(node, &busy[node], 1..LONG + 1);
        pair.watch(node);
        pair.is_to_be_read(node, &busy[node]);
    }
    pair.is_to_be_read(0, &stream);
    // There, back and there again: neither node comes to it.
    let mut next = SHORT + 1;
    for from in [0, 1, 0] {
        pair.move_slot(from, &stream, |_| ());
        pair.fill(1 - from, &stream, next..next + 10);
        next += 10;
    }
    for node in [0, 1] {
        assert!(pair.is_unread(node, &busy[node]), "too fast for this test");
    }
    pair.is_read_once(1, &stream, next - 1);
}

#[test]
fn a_stream_that_stays_after_all_and_leaves_later_is_read_where_it_arrives() {
    let pair = Pair::start();
    let stream = pair.stream(0, "1");
    pair.fill(0, &stream, 1..LONG + 1);
    pair.watch(1);
    pair.watch(0);
    pair.is_to_be_read(0, &stream);
    let noted = || !list(&pair.nodes[0].cmd(&["XINFO", "GROUPS", &stream])).is_empty();
    pair.set_slot(0, &stream, &["MIGRATING", &pair.ids[1]]);
    pair.nodes[0].wait_until("it is noted how far it was read", noted);
    pair.set_slot(0, &stream, &["STABLE"]);
    pair.nodes[0].wait_until("it is read on", || !noted());
    assert!(pair.is_unread(0, &stream), "too fast for this test");
    pair.move_slot(0, &stream, |_| ());
    pair.is_read_once(1, &stream, LONG);
}

#[test]
fn nothing_is_read_while_the_cluster_is_down_and_everything_after() {
    let pair = Pair::start();
    let stream = pair.stream(0, "1");
    pair.nodes[0].cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "98", "clear", "1"]);
    pair.fill(0, &stream, 1..LONG + 1);
    pair.watch(0);
    pair.is_to_be_read(0, &stream);
    let state = |is: &str| {
        let says = format!("cluster_state:{is}");
        pair.nodes[0].wait_until(&says, || {
            text(&pair.nodes[0].cmd(&["CLUSTER", "INFO"])).contains(&says)
        });
    };
    // One slot is nobody's.
    let slot = if pair.slot(&stream) == 0 { 1 } else { 0 };
    pair.nodes[0].cmd(&args!["CLUSTER", "DELSLOTS", slot]);
    state("fail");
    let left = || {
        format!(
            "{:?}",
            pair.nodes[0].cmd(&["ANOMALY.WATCH", "GET", "raw:*"])
        )
    };
    let before = left();
    assert!(before.contains(&stream), "too fast for this test");
    let events = |node: &Server| {
        node.info("stats")["eventloop_cycles"]
            .parse::<u64>()
            .unwrap()
    };
    let began = events(&pair.nodes[0]);
    pair.nodes[0].wait_until("timers have run", || events(&pair.nodes[0]) > began + 200);
    assert_eq!(left(), before);
    pair.nodes[0].cmd(&args!["CLUSTER", "ADDSLOTS", slot]);
    state("ok");
    pair.is_read_once(0, &stream, LONG);
    let series = format!("ts:s:{}", &stream[stream.find('{').unwrap()..]);
    let samples = pairs(&pair.nodes[0].cmd(&["TS.INFO", &series]));
    let total = samples.iter().find(|(name, _)| name == "totalSamples");
    assert_eq!(int(&total.unwrap().1), LONG);
    for (name, value) in &pair.nodes[0].info("anomaly") {
        assert!(!name.contains("fail") || value == "0", "{name} {value}");
    }
}

/// Keys that a search has to walk over: it takes longer than the moves.
const KEYS: &str = "500000";

fn is_searching(pair: &Pair, node: usize) -> bool {
    let watch = pair.nodes[node].cmd(&["ANOMALY.WATCH", "GET", "raw:*"]);
    format!("{watch:?}").contains("searching")
}

#[test]
fn a_stream_that_leaves_while_it_is_searched_for_is_read_where_it_arrives() {
    let pair = Pair::start();
    let streams: Vec<String> = (0..5).map(|n| pair.stream(0, &n.to_string())).collect();
    for stream in &streams {
        pair.fill(0, stream, 1..SHORT + 1);
    }
    pair.nodes[0].cmd(&["DEBUG", "POPULATE", KEYS, "key", "5"]);
    pair.watch(1);
    pair.watch(0);
    let (gone, back) = (&streams[1], &streams[3]);
    pair.move_slot(0, gone, |_| ());
    pair.move_slot(0, back, |_| ());
    pair.is_read_once(1, gone, SHORT);
    // Where it comes back to, it is found no second time.
    pair.is_read_once(1, back, SHORT);
    assert!(is_searching(&pair, 0), "too fast for this test");
    pair.move_slot(1, back, |_| ());
    for (n, stream) in streams.iter().enumerate().filter(|(n, _)| *n != 1) {
        pair.nodes[0].wait_until("all are found", || !is_searching(&pair, 0));
        pair.is_read_once(0, stream, SHORT);
        assert!(!pair.keys(0, stream).is_empty(), "{n}");
    }
}

#[test]
fn a_stream_that_arrives_while_it_is_searched_for_is_not_read_again() {
    let pair = Pair::start();
    let stream = pair.stream(0, "1");
    pair.fill(0, &stream, 1..SHORT + 1);
    pair.watch(0);
    let sensor = format!("s:{}", &stream[stream.find('{').unwrap()..]);
    pair.nodes[0].wait_until("it is read", || {
        let info = pair.nodes[0].cmd(&["ANOMALY.INFO", &sensor]);
        !is_nil(&info) && int(&field(&info, "readings")) == SHORT
    });
    pair.nodes[1].cmd(&["DEBUG", "POPULATE", KEYS, "key", "5"]);
    pair.watch(1);
    pair.move_slot(0, &stream, |target| {
        let (asking, at) = (args!["ASKING"], SHORT + 1);
        let entry = args!["XADD", &stream, format!("{at}-0"), "t", 1];
        let replies = call_many(&mut target.conn(), &[asking, entry]);
        assert_eq!(text(&replies[1]), format!("{at}-0"));
    });
    assert!(is_searching(&pair, 1), "too fast for this test");
    pair.nodes[1].wait_until("all are found", || !is_searching(&pair, 1));
    pair.is_read_once(1, &stream, SHORT + 1);
}
