//! What a server of which nobody hears is kept in mind of: that ends with whoever begins to hear, and with other settings.

use anomaly_tests::{Server, Stop, args, assert_same, int, list, text};

fn quiet() -> Server {
    let server = Server::builder().config("appendfsync always").start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "100"]);
    for at in 1..=10 {
        add(&server, at);
    }
    server
}

fn add(server: &Server, at: i64) {
    server.cmd(&args!["ANOMALY.ADD", "s", at * 1000, at]);
}

fn rewritten(server: &Server) {
    server.wait_until("the file is written", || {
        let persistence = server.info("persistence");
        persistence["aof_rewrite_in_progress"] == "0"
            && persistence["aof_rewrite_scheduled"] == "0"
            && persistence["rdb_bgsave_in_progress"] == "0"
    });
}

/// Whatever is acknowledged from now on survives.
fn assert_survives(mut server: Server, at: i64) {
    add(&server, at);
    server.cmd(&["CONFIG", "REWRITE"]);
    let before = server.picture();
    server.restart(Stop::Kill9);
    assert_same(&server.picture(), &before);
    assert_eq!(int(&list(&server.cmd(&["TS.GET", "ts:{s}"]))[0]), at * 1000);
}

#[test]
fn readings_reach_an_append_only_file_that_is_switched_on_after_others() {
    let server = quiet();
    server.cmd(&["CONFIG", "SET", "appendonly", "yes"]);
    add(&server, 11);
    rewritten(&server);
    assert_survives(server, 12);
}

#[test]
fn readings_reach_an_append_only_file_that_has_to_wait_for_a_save() {
    let server = quiet();
    server.cmd(&["DEBUG", "POPULATE", "200000", "filler", "100"]);
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "20"]);
    server.cmd(&["BGSAVE"]);
    add(&server, 11);
    // No process begins with this one: the one that saves is still there.
    server.cmd(&["CONFIG", "SET", "appendonly", "yes"]);
    assert_eq!(server.info("persistence")["aof_rewrite_scheduled"], "1");
    add(&server, 12);
    server.cmd(&["CONFIG", "SET", "rdb-key-save-delay", "0"]);
    server.cmd(&["FLUSHDB"]);
    add(&server, 13);
    rewritten(&server);
    assert_survives(server, 14);
}

#[test]
fn readings_reach_an_append_only_file_that_is_switched_on_in_the_midst_of_a_transaction() {
    let server = quiet();
    let mut connection = server.conn();
    redis::pipe()
        .atomic()
        .cmd("ANOMALY.ADD")
        .arg(&["s", "11000", "11"])
        .cmd("CONFIG")
        .arg(&["SET", "appendonly", "yes"])
        .cmd("ANOMALY.ADD")
        .arg(&["s", "12000", "12"])
        .exec(&mut connection)
        .unwrap();
    rewritten(&server);
    assert_survives(server, 13);
}

#[test]
fn readings_reach_a_replica_that_joins_after_others() {
    let master = quiet();
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    add(&master, 11);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
    replica.cmd(&["REPLICAOF", "NO", "ONE"]);
    add(&replica, 12);
    let newest = list(&replica.cmd(&["TS.GET", "ts:{s}"]));
    assert_eq!(int(&newest[0]), 12_000);
}

#[test]
fn a_master_whose_last_replica_has_left_is_quiet_again_until_another_joins() {
    let master = quiet();
    let is_quiet = || master.info("anomaly")["anomaly_quiet"] == "1";
    if !is_quiet() {
        eprintln!("SKIPPED: nobody is taken for quiet on a server that was not looked at");
        return;
    }
    master.cmd(&["CONFIG", "SET", "repl-backlog-ttl", "3"]);
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    add(&master, 11);
    assert!(!is_quiet());
    drop(replica);
    master.wait_until("the replica has left", || {
        master.info("replication")["connected_slaves"] == "0"
    });
    // It leaves a backlog to come back to, for which this is.
    add(&master, 12);
    master.wait_until("the backlog is freed", || {
        master.info("replication")["repl_backlog_active"] == "0"
    });
    let mut at = 13;
    master.wait_until("nobody is passed anything", || {
        add(&master, at);
        at += 1;
        is_quiet()
    });
    let offset = || master.info("replication")["master_repl_offset"].clone();
    let before = offset();
    add(&master, at);
    assert_eq!(offset(), before);
    let replica = Server::builder().replica_of(&master).start();
    master.replica_in_sync(&replica);
    add(&master, at + 1);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}

#[test]
fn readings_of_a_server_that_may_evict_are_refused_as_ever_when_memory_is_out() {
    let server = quiet();
    server.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    add(&server, 11);
    server.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = server.refuses(&["ANOMALY.ADD", "s", "12000", "12"]);
    assert!(refused.starts_with("OOM"), "{refused}");
    server.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
    add(&server, 12);
}

#[test]
fn an_array_of_normal_verdicts_is_the_same_however_often_it_was_asked_for() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "100", "archive", "no"]);
    let madd = |from: i64, count: i64, last: &str| {
        let mut words = args!["ANOMALY.MADD"];
        for at in from..from + count - 1 {
            words.extend(args!["s", at, "1"]);
        }
        words.extend(args!["s", from + count - 1, last]);
        words
    };
    let mut at = 1;
    for mut connection in [server.conn(), server.resp3()] {
        for count in [
            1, 2, 2, 50, 1, 50, 256, 257, 256, 257, 255, 254, 253, 3000, 3000, 2, 7,
        ] {
            for (last, verdict) in [
                ("1", "normal"),
                ("x", ""),
                ("200", "warning"),
                ("1", "normal"),
            ] {
                let reply =
                    anomaly_tests::try_call(&mut connection, &madd(at, count, last)).unwrap();
                at += count;
                let mut said: Vec<String> = list(&reply)
                    .iter()
                    .map(|one| {
                        anomaly_tests::error(one).map_or_else(|| text(one), |_| String::new())
                    })
                    .collect();
                assert_eq!(said.pop().as_deref(), Some(verdict), "{count} {last}");
                assert_eq!(said, vec!["normal"; count as usize - 1], "{count} {last}");
            }
        }
    }
}
