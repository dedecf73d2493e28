//! Sensors of a node that may not serve them: their producers cannot be heard, so their silence means nothing.

use anomaly_tests::{Server, args, assert_same, int, text};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::pair::Pair;

/// Only `nodata`, and no second alert for its getting worse.
const ONLY: &str = "auto off critical 1000000";

fn set(server: &Server, words: &str) {
    let words = format!("ANOMALY.CONFIG SET {words}");
    server.cmd(&words.split(' ').collect::<Vec<_>>());
}

fn count(server: &Server, name: &str) -> u64 {
    let info = server.info("anomaly");
    info[&format!("anomaly_{name}")].parse().unwrap()
}

fn now(server: &Server) -> i64 {
    let time = anomaly_tests::list(&server.cmd(&["TIME"]));
    int(&time[0]) * 1000 + int(&time[1]) / 1000
}

fn passes(server: &Server, ms: i64) {
    let later = now(server) + ms;
    server.wait_until("time passes", || now(server) > later);
}

fn is(server: &Server, state: &str) {
    let says = format!("cluster_state:{state}");
    server.wait_until(&says, || {
        text(&server.cmd(&["CLUSTER", "INFO"])).contains(&says)
    });
}

fn nothing_failed(server: &Server) {
    assert_eq!(count(server, "alerts_failed"), 0);
    let log = server.log();
    assert!(!log.contains("could not be"), "{log}");
}

#[test]
fn nobody_is_missed_while_the_cluster_is_down_and_everybody_has_the_full_time_after() {
    let server = Server::builder()
        .cluster()
        .config("cluster-allow-reads-when-down yes")
        .start();
    set(&server, &format!("missed:* nodata 500 {ONLY}"));
    set(&server, "forgotten:* expire 600 max 10");
    server.cmd(&["ANOMALY.ADD", "missed:1", "*", "5"]);
    server.cmd(&["ANOMALY.ADD", "forgotten:1", "*", "50"]);
    // One slot is nobody's.
    server.cmd(&["CLUSTER", "DELSLOTS", "0"]);
    is(&server, "fail");
    let before = server.picture();
    passes(&server, 1500);
    assert_same(&server.picture(), &before);
    assert_eq!(
        (count(&server, "timed_sensors"), count(&server, "forgotten")),
        (2, 0)
    );
    nothing_failed(&server);
    server.cmd(&["CLUSTER", "ADDSLOTS", "0"]);
    let began = now(&server);
    is(&server, "ok");
    let missed = || !server.stream("anomaly:alerts:{missed:1}").is_empty();
    server.wait_until("it is missed", missed);
    assert!(now(&server) - began > 490, "it has its full time");
    server.wait_until("it is forgotten", || count(&server, "forgotten") == 1);
    let told = server.stream("anomaly:alerts:{forgotten:1}");
    let events: Vec<&str> = told.iter().map(|(_, fields)| &fields[1].1[..]).collect();
    assert_eq!(events, ["firing", "resolved"], "nothing is lost");
    nothing_failed(&server);
}

#[test]
fn a_sensor_in_a_slot_that_is_nobodys_waits_while_others_are_missed() {
    let server = Server::builder()
        .cluster()
        .config("cluster-require-full-coverage no")
        .config("cluster-allow-reads-when-down yes")
        .start();
    set(&server, &format!("missed:* nodata 400 {ONLY}"));
    set(&server, "forgotten:* expire 400 max 10");
    let slots = ["missed:1", "forgotten:1"]
        .map(|key| int(&server.cmd(&["CLUSTER", "KEYSLOT", key])).to_string());
    for key in ["missed:1", "forgotten:1", "missed:2"] {
        server.cmd(&["ANOMALY.ADD", key, "*", "5"]);
    }
    server.cmd(&["CLUSTER", "DELSLOTS", &slots[0], &slots[1]]);
    let told = |key: &str| server.try_cmd(&args!["XLEN", format!("anomaly:alerts:{{{key}}}")]);
    server.wait_until("the other one is missed", || {
        told("missed:2").is_ok_and(|len| int(&len) == 1)
    });
    passes(&server, 1500);
    assert_eq!(count(&server, "forgotten"), 0);
    nothing_failed(&server);
    server.cmd(&["CLUSTER", "ADDSLOTS", &slots[0], &slots[1]]);
    assert_eq!(told("missed:1").map(|len| int(&len)), Ok(0), "not at once");
    server.wait_until("it is missed", || {
        told("missed:1").is_ok_and(|len| int(&len) == 1)
    });
    server.wait_until("it is forgotten", || count(&server, "forgotten") == 1);
    nothing_failed(&server);
}

/// The other master cannot be reached for a while, so that this one does not know whether it has been replaced.
#[test]
fn a_node_that_is_cut_off_misses_nobody_who_goes_on_sending() {
    let pair = Pair::start();
    let [node, other] = &pair.nodes;
    for node in [node, other] {
        node.cmd(&["CONFIG", "SET", "cluster-node-timeout", "1000"]);
    }
    let tag = pair.stream(0, "x");
    let tag = &tag[tag.find('{').unwrap()..];
    set(node, "* nodata 800 expire 1500 auto off");
    let stop = AtomicBool::new(false);
    let refused = std::thread::scope(|threads| {
        let producers: Vec<_> = (0..10)
            .map(|n| {
                let (stop, mut connection) = (&stop, node.conn());
                threads.spawn(move || {
                    let (mut refused, add) =
                        (0, args!["ANOMALY.ADD", format!("{tag}:{n}"), "*", 1]);
                    while !stop.load(Relaxed) {
                        match anomaly_tests::try_call(&mut connection, &add) {
                            Ok(_) => {}
                            Err(error) => {
                                assert!(error.starts_with("CLUSTERDOWN"), "{error}");
                                refused += 1;
                            }
                        }
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    refused
                })
            })
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            node.wait_until("all send", || count(node, "timed_sensors") == 10);
            other.signal("STOP");
            is(node, "fail");
            passes(node, 2500);
            other.signal("CONT");
            is(node, "ok");
            let before = count(node, "readings");
            node.wait_until("they go on", || count(node, "readings") > before + 100);
        }));
        other.signal("CONT");
        stop.store(true, Relaxed);
        let refused: u32 = producers.into_iter().map(|one| one.join().unwrap()).sum();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        refused
    });
    assert!(refused > 0, "the test did not meet what it is about");
    assert_eq!(count(node, "forgotten"), 0);
    assert_eq!(count(node, "alerts_firing"), 0);
    nothing_failed(node);
    node.wait_until("now they are silent", || count(node, "forgotten") == 10);
}
