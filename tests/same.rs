//! Whatever the traffic, every server that should hold the same does: the master, its replica, the replica's replica, a
//! replica that came late, and the master after each way to write its data down and read it again.
//!
//! `ANOMALY_SAME_SEED` runs one seed; `make soak` runs `ANOMALY_SOAK_SEEDS` of them, from
//! `ANOMALY_SOAK_FIRST` on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use std::{env, thread};

use anomaly_tests::{
    Picture, Server, Stop, args, assert_same, bytes, call, call_many, error, field, int, list, text,
};

#[path = "same/traffic.rs"]
mod traffic;

use traffic::Mixed;

/// Half of what is tried in a seed depends on its number.
struct Variant {
    preamble: bool,
    diskless: bool,
    /// The late replica archives nothing of its own.
    replica_archives: bool,
}

impl Variant {
    fn of(seed: u64) -> Self {
        Self {
            preamble: seed % 4 != 3,
            diskless: seed & 1 == 0,
            replica_archives: !seed.is_multiple_of(3),
        }
    }

    /// RedisTimeSeries 1.12.2 rewrites the series of database 0 in the place of all others if there is no preamble.
    fn databases(&self) -> u64 {
        if self.preamble { 3 } else { 1 }
    }

    fn master(&self) -> Server {
        let yes = |on: bool| if on { "yes" } else { "no" };
        Server::builder()
            .aof()
            .config(format!("aof-use-rdb-preamble {}", yes(self.preamble)))
            .config(format!("repl-diskless-sync {}", yes(self.diskless)))
            .config("min-replicas-to-write 9")
            // Some entries are of a megabyte: a replica that was away is to come back without a full resync.
            .config("repl-backlog-size 64mb")
            .start()
    }

    fn replica_of(&self, master: &Server) -> Server {
        let load = if self.diskless { "swapdb" } else { "disabled" };
        let replica = Server::builder()
            .config(format!("repl-diskless-load {load}"))
            .config("appendonly no");
        let replica = if self.replica_archives {
            replica
        } else {
            replica.module_args(&["archive", "off"])
        };
        replica.replica_of(master).start()
    }
}

/// A server that lacks the replicas it wants takes no writes and misses nobody: nothing of ours changes by itself.
fn freeze(server: &Server, yes: bool) {
    let wanted = if yes { "9" } else { "0" };
    server.cmd(&["CONFIG", "SET", "min-replicas-to-write", wanted]);
}

/// Traffic, and then some time in which silent sensors may be missed and others expire. Ends frozen.
fn send(traffic: &mut Mixed, server: &Server, commands: usize) {
    freeze(server, false);
    traffic.send(server, commands);
    thread::sleep(Duration::from_millis(150));
    freeze(server, true);
}

/// The picture of a frozen server once every key is gone that is to expire soon.
fn settled(server: &Server) -> Picture {
    let connection = &mut server.conn();
    server.wait_until("what expires has expired", || {
        (0..3).all(|db| {
            call(connection, &args!["SELECT", db]);
            let keys = list(&call(connection, &["KEYS", "*"]));
            let ttls: Vec<_> = keys.iter().map(|key| args!["PTTL", bytes(key)]).collect();
            let ttls = call_many(connection, &ttls);
            let there = int(&call(connection, &["DBSIZE"]));
            // Far ahead, or none.
            let stays = |ttl: i64| ttl == -1 || ttl > 60_000;
            ttls.iter().all(|ttl| stays(int(ttl))) && keys.len() as i64 == there
        })
    });
    server.picture()
}

fn rewritten(server: &Server) {
    server.wait_until("the file is rewritten", || {
        let info = server.info("persistence");
        info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
    });
    assert_eq!(
        server.info("persistence")["aof_last_bgrewrite_status"],
        "ok"
    );
}

/// The episodes that the server knows to be open: a model that was loaded must have been noticed.
fn open(server: &Server) -> BTreeSet<(i64, String)> {
    list(&server.cmd(&["ANOMALY.ALERTS"]))
        .iter()
        .map(|row| (int(&field(row, "db")), text(&field(row, "episode"))))
        .collect()
}

fn stat(server: &Server, name: &str) -> i64 {
    server.info("stats")[name].parse().unwrap()
}

fn linked(replica: &Server) {
    replica.wait_until("the link is up", || {
        replica.info("replication")["master_link_status"] == "up"
    });
}

/// Returns how many episodes were open when a replica was promoted.
fn run(seed: u64) -> usize {
    let start = Instant::now();
    let variant = Variant::of(seed);
    let mut master = variant.master();
    let mut traffic = Mixed::new(seed, variant.databases(), !master.moves_wrongly());
    let replica = variant.replica_of(&master);
    let chained = variant.replica_of(&replica);
    linked(&chained);
    freeze(&master, false);
    traffic.prepare(&master);
    send(&mut traffic, &master, 150);
    master.replica_in_sync(&replica);
    // A partial resynchronisation, in the midst of it.
    master.cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
    send(&mut traffic, &master, 150);
    let expected = settled(&master);
    master.replica_in_sync(&replica);
    let partial = stat(&master, "sync_partial_ok");
    assert!(partial >= 1, "the replica came back by a full resync");
    let known = open(&master);
    let late = variant.replica_of(&master);
    for (name, server) in [("replica", &replica), ("late replica", &late)] {
        linked(server);
        master.replica_in_sync(server);
        println!("seed {seed}: {name}");
        assert_same(&server.picture(), &expected);
        assert_eq!(open(server), known);
    }
    replica.replica_in_sync(&chained);
    println!("seed {seed}: chained replica");
    assert_same(&chained.picture(), &expected);
    assert_eq!(open(&chained), known);

    println!("seed {seed}: append-only file");
    master.restart(Stop::Kill9);
    assert_same(&master.picture(), &expected);
    assert_eq!(open(&master), known);

    println!("seed {seed}: rewritten append-only file");
    send(&mut traffic, &master, 60);
    master.cmd(&["BGREWRITEAOF"]);
    send(&mut traffic, &master, 60);
    rewritten(&master);
    let expected = settled(&master);
    let known = open(&master);
    master.restart(Stop::Kill9);
    assert_same(&master.picture(), &expected);
    assert_eq!(open(&master), known);

    println!("seed {seed}: RDB file");
    // A replica that comes back may be given a file of its own just now.
    master.wait_until("it has saved", || master.try_cmd(&["SAVE"]).is_ok());
    let restored = Server::builder()
        .config("min-replicas-to-write 9")
        .dir(master.dir())
        .start();
    assert_same(&restored.picture(), &expected);
    assert_eq!(open(&restored), known);
    drop(restored);

    println!("seed {seed}: promotion");
    freeze(&master, false);
    Mixed::without_timers(&master);
    send(&mut traffic, &master, 40);
    freeze(&master, false);
    Mixed::without_timers(&master);
    linked(&late);
    let before = settled(&master);
    master.replica_in_sync(&late);
    assert_same(&late.picture(), &before);
    late.cmd(&["REPLICAOF", "NO", "ONE"]);
    if !variant.replica_archives {
        late.cmd(&["CONFIG", "SET", "anomaly.archive", "auto"]);
    }
    let known = open(&late);
    assert_eq!(known, open(&master));
    let probes = traffic.probes();
    let [old, new] = [&master, &late].map(|server| call_many(&mut server.conn(), &probes));
    for ((old, new), probe) in old.iter().zip(&new).zip(&probes) {
        assert_eq!(new, old, "{probe:?}");
    }
    // A string may lie where a sensor was; most are still there.
    let judged = old.iter().filter(|reply| error(reply).is_none()).count();
    assert!(2 * judged > probes.len(), "{judged} of {}", probes.len());
    assert_eq!(
        events(&late, variant.databases()),
        events(&master, variant.databases())
    );
    println!(
        "seed {seed}: {} keys, {} open, {:.1} s",
        expected.len(),
        known.len(),
        start.elapsed().as_secs_f32()
    );
    known.len()
}

/// Each alert without its entry's id, by database: two masters have two clocks.
fn events(server: &Server, databases: u64) -> BTreeMap<u64, Vec<Vec<(String, String)>>> {
    let mut all = BTreeMap::new();
    for db in 0..databases {
        server.cmd(&args!["SELECT", db]);
        let alerts = server.stream("anomaly:alerts");
        all.insert(db, alerts.into_iter().map(|(_, fields)| fields).collect());
    }
    server.cmd(&args!["SELECT", 0]);
    all
}

fn run_all(seeds: impl Iterator<Item = u64>) {
    let seeds: Vec<u64> = match env::var("ANOMALY_SAME_SEED") {
        Ok(seed) => vec![seed.parse().expect("ANOMALY_SAME_SEED is a number")],
        Err(_) => seeds.collect(),
    };
    let promoted_with_open: usize = seeds.into_iter().map(run).sum();
    assert_ne!(
        promoted_with_open, 0,
        "no replica was promoted in the middle of an episode"
    );
}

#[test]
fn all_servers_agree_after_random_traffic() {
    run_all(0..10);
}

#[test]
fn all_servers_agree_after_other_random_traffic() {
    run_all(10..20);
}

#[test]
#[ignore = "make soak: minutes"]
fn soak_all_servers_agree_after_random_traffic() {
    let number = |name: &str, otherwise: u64| {
        env::var(name).map_or(otherwise, |n| n.parse().expect("a number"))
    };
    let first = number("ANOMALY_SOAK_FIRST", 1000);
    run_all(first..first + number("ANOMALY_SOAK_SEEDS", 500));
}
