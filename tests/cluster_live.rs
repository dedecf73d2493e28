//! A cluster of three masters and three replicas, attacked: wrong nodes, a master killed, slots moved under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anomaly_tests::{Args, Server, args, int, list, text};
use redis::Value;
use redis::cluster::{ClusterClient, ClusterConnection};

use crate::pair::set_slot;

struct Cluster {
    nodes: Vec<Server>,
    ids: Vec<String>,
}

impl Cluster {
    /// Three masters with a third of the slots each, and a replica of each.
    fn start() -> Self {
        let node = || {
            Server::builder()
                .cluster_node()
                .config("cluster-node-timeout 2000")
                .config("cluster-replica-validity-factor 0")
                .start()
        };
        let nodes: Vec<Server> = (0..6).map(|_| node()).collect();
        let ids: Vec<String> = nodes
            .iter()
            .map(|node| text(&node.cmd(&["CLUSTER", "MYID"])))
            .collect();
        let cluster = Self { nodes, ids };
        for (epoch, node) in cluster.nodes.iter().enumerate() {
            node.cmd(&args!["CLUSTER", "SET-CONFIG-EPOCH", epoch + 1]);
            if epoch > 0 {
                cluster.meet(node);
            }
        }
        for (at, (from, to)) in [(0, 5460), (5461, 10922), (10923, 16383)]
            .iter()
            .enumerate()
        {
            cluster.nodes[at].cmd(&args!["CLUSTER", "ADDSLOTSRANGE", *from, *to]);
        }
        for at in 0..3 {
            let replica = &cluster.nodes[at + 3];
            replica.wait_until("the replica knows its master", || {
                replica
                    .try_cmd(&["CLUSTER", "REPLICATE", &cluster.ids[at]])
                    .is_ok()
            });
        }
        cluster.settled(&cluster.nodes.iter().collect::<Vec<_>>(), 6);
        for at in 0..3 {
            cluster.nodes[at].replica_in_sync(&cluster.nodes[at + 3]);
        }
        cluster
    }

    /// A busy machine may hold a node up: the others wait for it.
    fn be_patient(&self) {
        for node in &self.nodes {
            node.cmd(&["CONFIG", "SET", "cluster-node-timeout", "60000"]);
        }
    }

    fn meet(&self, node: &Server) {
        let first = &self.nodes[0];
        let bus = text(&first.cmd(&["CONFIG", "GET", "cluster-port"]).clone_second());
        node.cmd(&args!["CLUSTER", "MEET", "127.0.0.1", first.port(), bus]);
    }

    /// Waits until these nodes know that many and are up.
    fn settled(&self, nodes: &[&Server], known: usize) {
        for node in nodes {
            node.wait_until("the cluster is up", || {
                let info = text(&node.cmd(&["CLUSTER", "INFO"]));
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{known}"))
            });
        }
    }

    fn client(&self) -> ClusterConnection {
        let urls: Vec<String> = self.nodes.iter().map(|n| n.url()).collect();
        ClusterClient::builder(urls)
            .retries(30)
            .max_retry_wait(50)
            .response_timeout(Duration::from_secs(2))
            .connection_timeout(Duration::from_secs(1))
            .build()
            .unwrap()
            .get_connection()
            .unwrap()
    }

    fn slot(&self, key: &str) -> i64 {
        int(&self.nodes[0].cmd(&["CLUSTER", "KEYSLOT", key]))
    }

    fn masters(&self) -> &[Server] {
        &self.nodes[..3]
    }

    fn rules(&self, settings: &[&str]) {
        for node in self.masters() {
            node.cmd(&[&["ANOMALY.CONFIG", "SET", "*"], settings].concat());
        }
    }

    /// The master that serves a slot.
    fn owner(&self, slot: i64) -> usize {
        (0..3)
            .find(|at| {
                let slots = list(&self.nodes[*at].cmd(&["CLUSTER", "SLOTS"]));
                slots.iter().any(|range| {
                    let range = list(range);
                    (int(&range[0])..=int(&range[1])).contains(&slot)
                        && int(&list(&range[2])[1]) == i64::from(self.nodes[*at].port())
                })
            })
            .expect("a master")
    }

    /// Moves a slot key by key; `between` runs after each key.
    fn reshard(&self, slot: i64, to: usize, order: Order, mut between: impl FnMut()) -> usize {
        let from = self.owner(slot);
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        set_slot(target, &args![slot, "IMPORTING", &self.ids[from]]);
        set_slot(source, &args![slot, "MIGRATING", &self.ids[to]]);
        let mut moved = 0;
        loop {
            let mut keys: Vec<String> =
                list(&source.cmd(&args!["CLUSTER", "GETKEYSINSLOT", slot, 100]))
                    .iter()
                    .map(text)
                    .collect();
            keys.sort_by_key(|key| {
                let companion = key.starts_with("ts:") || key.starts_with("anomaly:");
                match order {
                    Order::SensorsFirst => companion,
                    Order::CompanionsFirst => !companion,
                    Order::StreamFirst => !key.starts_with("raw:"),
                    Order::StreamLast => key.starts_with("raw:"),
                }
            });
            let Some(key) = keys.first() else { break };
            let reply = source.try_cmd(&args!["MIGRATE", "127.0.0.1", target.port(), key, 0, 5000]);
            reply.unwrap_or_else(|error| panic!("MIGRATE {key}: {error}"));
            moved += 1;
            between();
        }
        for node in [target, source, &self.nodes[3 - from - to]] {
            set_slot(node, &args![slot, "NODE", &self.ids[to]]);
        }
        moved
    }

    /// `anomaly ARGUMENTS` against a node: exit code, output, errors.
    fn anomaly(&self, node: usize, arguments: &[&str]) -> (i32, String, String) {
        let output = self.nodes[node].anomaly().args(arguments).output().unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

/// A program that ends with its test, however that ends.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    SensorsFirst,
    CompanionsFirst,
    StreamFirst,
    StreamLast,
}

trait Second {
    fn clone_second(&self) -> Value;
}

impl Second for Value {
    fn clone_second(&self) -> Value {
        match self {
            Value::Array(parts) => parts[1].clone(),
            Value::Map(pairs) => pairs[0].1.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn send(client: &mut ClusterConnection, args: &Args) -> Result<Value, redis::RedisError> {
    let mut command = redis::cmd(std::str::from_utf8(&args[0]).unwrap());
    for argument in &args[1..] {
        command.arg(argument);
    }
    command.query(client)
}

/// Sends until it is taken: a slot may move, a master be away.
fn insist(client: &mut ClusterConnection, args: &Args) -> Value {
    let since = Instant::now();
    loop {
        match send(client, args) {
            Ok(reply) => return reply,
            Err(error) if since.elapsed() > Duration::from_secs(40) => panic!("{error}"),
            Err(error) => {
                let code = error.code().unwrap_or("");
                assert!(
                    !["ERR", "CROSSSLOT", "WRONGTYPE"].contains(&code),
                    "{error}"
                );
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

#[test]
fn the_wrong_node_says_moved_and_the_right_one_serves_all_of_the_slot() {
    let cluster = Cluster::start();
    cluster.rules(&["max", "10"]);
    let mut client = cluster.client();
    for number in 0..12 {
        let key = format!("rack{number}");
        let slot = cluster.slot(&key);
        let owner = cluster.owner(slot);
        let wrong = cluster.nodes[(owner + 1) % 3].refuses(&["ANOMALY.ADD", &key, "*", "50"]);
        let moved = format!("MOVED {slot} 127.0.0.1:{}", cluster.nodes[owner].port());
        assert_eq!(wrong, moved);
        insist(&mut client, &args!["ANOMALY.ADD", &key, "*", 50]);
        let mut here: Vec<String> =
            list(&cluster.nodes[owner].cmd(&args!["CLUSTER", "GETKEYSINSLOT", slot, 10]))
                .iter()
                .map(text)
                .collect();
        here.sort();
        let expected = [
            format!("anomaly:alerts:{{{key}}}"),
            key.clone(),
            format!("ts:{{{key}}}"),
        ];
        assert_eq!(here, expected);
    }
    // One alert stream for each sensor without a hash tag; one for all that share one.
    for number in 0..12 {
        insist(
            &mut client,
            &args!["ANOMALY.ADD", format!("{{hall}}:{number}"), "*", 50],
        );
    }
    let streams: usize = cluster
        .masters()
        .iter()
        .map(|node| list(&node.cmd(&["ANOMALY.ALERTS", "STREAMS"])).len())
        .sum();
    assert_eq!(streams, 12 + 1);
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn slots_move_under_load_and_nothing_is_lost_or_split() {
    let cluster = Cluster::start();
    cluster.be_patient();
    cluster.rules(&["max", "10", "clear", "1"]);
    let tags = ["a", "b", "c"];
    let stop = AtomicBool::new(false);
    let moves = AtomicUsize::new(0);
    let mut moved = 0;
    let (mut taken, mut tried_again) = (BTreeMap::new(), 0);
    thread::scope(|scope| {
        // However this ends: the scope waits for the writers.
        let _ends_them = Ends(&stop);
        let writers: Vec<_> = tags
            .iter()
            .map(|tag| {
                let (cluster, stop, moves) = (&cluster, &stop, &moves);
                scope.spawn(move || {
                    let mut client = cluster.client();
                    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
                    let mut round = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        // Sensors that fire, and with each move a few that are new: no more, or a slow machine has ever more
                        // keys to move.
                        for number in 0..8 {
                            let key = if number < 6 {
                                format!("{{{tag}}}:{number}")
                            } else {
                                format!("{{{tag}}}:{number}:{}", moves.load(Ordering::Relaxed))
                            };
                            let value = if (round + number) % 7 < 2 { 50 } else { 5 };
                            insist(
                                &mut client,
                                &args!["ANOMALY.ADD", &key, 1000 * round, value],
                            );
                            *taken.entry(key).or_default() += 1;
                        }
                    }
                    taken
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(300));
        for round in 0..6 {
            for tag in tags {
                let slot = cluster.slot(tag);
                let to = (cluster.owner(slot) + 1) % 3;
                let order = if round % 2 == 0 {
                    Order::SensorsFirst
                } else {
                    Order::CompanionsFirst
                };
                moved += cluster.reshard(slot, to, order, || {
                    moves.store(moved + 1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(2));
                });
                thread::sleep(Duration::from_millis(20));
            }
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            taken.extend(writer.join().unwrap());
        }
    });
    let mut client = cluster.client();
    for (key, count) in &taken {
        let info = insist(&mut client, &args!["ANOMALY.INFO", key]);
        let of = |name: &str| int(&anomaly_tests::field(&info, name)) as u64;
        // A reply that a reconnection swallowed is sent again: a duplicate or late, never a reading more.
        assert_eq!(of("readings"), *count, "{key}");
        let series = anomaly_tests::text(&anomaly_tests::field(&info, "series"));
        let samples = list(&insist(&mut client, &args!["TS.RANGE", series, "-", "+"]));
        assert_eq!(samples.len() as u64, *count, "{key}");
    }
    // The alerts of each sensor alternate: firing, resolved, firing… with none missing, none twice, none of a deletion.
    for tag in tags {
        let stream = insist(
            &mut client,
            &args!["XRANGE", format!("anomaly:alerts:{{{tag}}}"), "-", "+"],
        );
        let mut open: BTreeSet<String> = BTreeSet::new();
        let entries = anomaly_tests::entries(&stream);
        assert!(entries.len() > 10, "{}", entries.len());
        for (_, fields) in entries {
            let of = |name: &str| fields.iter().find(|(n, _)| n == name).unwrap().1.clone();
            let (sensor, event, reason) = (of("sensor"), of("event"), of("reason"));
            match event.as_str() {
                "firing" => assert!(open.insert(sensor.clone()), "{sensor} fired twice"),
                "resolved" => {
                    assert!(open.remove(&sensor), "{sensor} was resolved twice");
                    assert!(!reason.contains("deleted"), "{sensor}: {reason}");
                }
                _ => {}
            }
        }
        let slot = cluster.slot(tag);
        let holders = cluster
            .masters()
            .iter()
            .filter(|node| int(&node.cmd(&args!["CLUSTER", "COUNTKEYSINSLOT", slot])) > 0);
        assert_eq!(holders.count(), 1, "the keys of {tag} are on one node");
    }
    for node in cluster.masters() {
        let info = node.info("anomaly");
        for (name, value) in &info {
            if name.contains("fail") {
                assert_eq!(value, "0", "{name}");
            }
        }
        let errors = node.info("errorstats");
        tried_again += errors.get("errorstat_TRYAGAIN").map_or(0, |count| {
            count.trim_start_matches("count=").parse().unwrap()
        });
    }
    let readings: u64 = taken.values().sum();
    eprintln!(
        "{readings} readings of {} sensors, {moved} keys moved, TRYAGAIN {tried_again} times",
        taken.len()
    );
    assert!(tried_again > 0, "the test did not meet what it is about");
}

/// What a watched stream holds, and what became of it.
fn every_entry_was_read_once(client: &mut ClusterConnection, stream: &str) -> (u64, u64) {
    let all = insist(client, &args!["XRANGE", stream, "-", "+"]);
    let all = anomaly_tests::entries(&all);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut good, mut bad) = (0, BTreeSet::new());
    for (id, fields) in &all {
        let of = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| &v[..]);
        match of("id") {
            None => assert!(bad.insert(id.clone())),
            Some(device) => {
                for metric in ["t", "h"].iter().filter(|metric| of(metric).is_some()) {
                    let key = format!("sensor:{{{stream}}}:{device}:{metric}");
                    let at = of("ts").unwrap().to_owned();
                    expected.entry(key).or_default().push(at);
                    good += 1;
                }
            }
        }
    }
    for (key, times) in &expected {
        let info = insist(client, &args!["ANOMALY.INFO", key]);
        let of = |name: &str| int(&anomaly_tests::field(&info, name)) as u64;
        let distinct: BTreeSet<&String> = times.iter().collect();
        assert_eq!(of("late"), 0, "{key}: in order");
        assert_eq!(of("readings"), distinct.len() as u64, "{key}");
        assert_eq!(
            of("readings") + of("duplicates"),
            times.len() as u64,
            "{key}"
        );
        let series = format!("ts:{key}");
        let samples = list(&insist(client, &args!["TS.RANGE", &series, "-", "+"]));
        assert_eq!(samples.len(), distinct.len(), "{series}");
    }
    let dead = format!("anomaly:dead:{{{stream}}}");
    let dead = insist(client, &args!["XRANGE", dead, "-", "+"]);
    let dead = anomaly_tests::entries(&dead);
    let ids: BTreeSet<String> = dead.iter().map(|(_, fields)| fields[1].1.clone()).collect();
    assert_eq!(
        (ids, dead.len()),
        (bad.clone(), bad.len()),
        "what cannot be read, once"
    );
    let groups = insist(client, &args!["XINFO", "GROUPS", stream]);
    assert!(list(&groups).is_empty(), "nothing is left in the stream");
    (good, bad.len() as u64)
}

#[test]
fn slots_of_watched_streams_move_under_load_and_every_entry_is_read_once() {
    let cluster = Cluster::start();
    cluster.be_patient();
    cluster.rules(&["max", "10", "clear", "1"]);
    for node in cluster.masters() {
        node.cmd(&["ANOMALY.WATCH", "SET", "raw:*"]);
    }
    let streams = ["raw:a", "raw:b", "raw:c"];
    let stop = AtomicBool::new(false);
    let moves = AtomicUsize::new(0);
    let (mut waited_here, mut waited_there) = (0, 0);
    thread::scope(|scope| {
        let _ends_them = Ends(&stop);
        let writers: Vec<_> = streams
            .iter()
            .map(|stream| {
                let (cluster, stop, moves) = (&cluster, &stop, &moves);
                scope.spawn(move || {
                    let mut client = cluster.client();
                    let mut round = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        for number in 0..4 {
                            // Devices that fire, a new one in each move, and at times an entry that nobody can read.
                            let device = match number {
                                3 => format!("new{}", moves.load(Ordering::Relaxed)),
                                _ => format!("d{number}"),
                            };
                            let value = if (round + number) % 7 < 2 { 50 } else { 5 };
                            let mut entry = args!["XADD", stream, "*", "ts", 1000 * round];
                            entry.extend(args!["id", device, "t", value, "h", 5]);
                            insist(&mut client, &entry);
                        }
                        if round.is_multiple_of(25) {
                            insist(&mut client, &args!["XADD", stream, "*", "t", 5]);
                        }
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(200));
        for order in [
            Order::SensorsFirst,
            Order::StreamFirst,
            Order::CompanionsFirst,
            Order::StreamLast,
        ] {
            for stream in streams {
                let slot = cluster.slot(stream);
                let from = cluster.owner(slot);
                let to = (from + 1) % 3;
                let mut keys = 0;
                cluster.reshard(slot, to, order, || {
                    thread::sleep(Duration::from_millis(2));
                    keys += 1;
                    if keys == 5 {
                        moves.fetch_add(1, Ordering::Relaxed);
                    }
                    let waits = |node: usize| {
                        let watch = cluster.nodes[node].cmd(&["ANOMALY.WATCH", "GET", "raw:*"]);
                        u64::from(format!("{watch:?}").contains("backlog"))
                    };
                    waited_here += waits(from);
                    waited_there += waits(to);
                });
                thread::sleep(Duration::from_millis(20));
            }
        }
        stop.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
    });
    for node in cluster.masters() {
        node.wait_until("what waited is read", || {
            let watch = node.cmd(&["ANOMALY.WATCH", "GET", "raw:*"]);
            !format!("{watch:?}").contains("backlog")
        });
        for (name, value) in &node.info("anomaly") {
            assert!(!name.contains("fail") || value == "0", "{name} {value}");
        }
        assert!(
            !node.log().contains("could not be written"),
            "{}",
            node.log()
        );
    }
    let mut client = cluster.client();
    let (mut readings, mut dead) = (0, 0);
    for stream in streams {
        let (good, bad) = every_entry_was_read_once(&mut client, stream);
        (readings, dead) = (readings + good, dead + bad);
        let slot = cluster.slot(stream);
        let holders = cluster
            .masters()
            .iter()
            .filter(|node| int(&node.cmd(&args!["CLUSTER", "COUNTKEYSINSLOT", slot])) > 0);
        assert_eq!(holders.count(), 1, "the keys of {stream} are on one node");
    }
    eprintln!(
        "{readings} readings, {dead} dead letters; entries were seen to wait {waited_here} times on the node a slot left and {waited_there} times where it came to"
    );
    assert!(
        waited_here > 0 && waited_there > 0,
        "the test did not meet what it is about"
    );
}

#[test]
fn a_document_is_pushed_to_every_master_and_verified() {
    let cluster = Cluster::start();
    let dir = anomaly_tests::Dir::new();
    let file = dir.join("rules.json");
    let document = r#"{"version":1,"rules":[{"pattern":"*","settings":{"max":10}}],"watches":[{"pattern":"raw:*"}]}"#;
    std::fs::write(&file, document).unwrap();
    let file = file.to_str().unwrap();
    // Asked of a replica, too, it finds the masters.
    let (code, out, err) = cluster.anomaly(4, &["config", "push", file]);
    assert_eq!((code, out.lines().count()), (0, 3), "{out}{err}");
    for node in cluster.masters() {
        let line = format!(
            "127.0.0.1:{}: imported and verified, 1 rules, 1 watches",
            node.port()
        );
        assert!(out.contains(&line), "{out}");
        assert_eq!(list(&node.cmd(&["ANOMALY.CONFIG", "LIST"])).len(), 1);
    }
    let (code, out, _) = cluster.anomaly(0, &["config", "push", file]);
    assert_eq!(
        (code, out.matches(": unchanged, ").count()),
        (0, 3),
        "{out}"
    );
    // A master that refuses is named, the others are served, and the exit code says so.
    cluster.nodes[1].cmd(&["ACL", "SETUSER", "default", "-anomaly.config"]);
    cluster.nodes[0].cmd(&["ANOMALY.CONFIG", "SET", "x", "max", "1"]);
    let (code, out, err) = cluster.anomaly(0, &["config", "push", file, "--replace"]);
    assert_eq!(code, 1);
    let refused = format!("127.0.0.1:{}: FAILED: NOPERM", cluster.nodes[1].port());
    assert!(
        out.contains(&refused) && err.contains("1 of 3 nodes"),
        "{out}{err}"
    );
    assert_eq!(
        list(&cluster.nodes[0].cmd(&["ANOMALY.CONFIG", "LIST"])).len(),
        1
    );
    // What cannot be imported is refused before any node is asked.
    std::fs::write(
        dir.join("bad.json"),
        r#"{"version":1,"rules":[{"pattern":"*","settings":{"mex":10}}]}"#,
    )
    .unwrap();
    for (name, why) in [("bad.json", "mex"), ("none.json", "cannot be read")] {
        let path = dir.join(name);
        let (code, out, err) = cluster.anomaly(0, &["config", "push", path.to_str().unwrap()]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("FILE '") && err.contains(why), "{err}");
    }
}

/// The line of docs/guide/cluster.md.
#[test]
fn the_documented_line_sets_rules_on_every_master() {
    let cluster = Cluster::start();
    let beside = || {
        anomaly_tests::redis_server()
            .with_file_name("redis-cli")
            .into()
    };
    let cli = std::env::var_os("ANOMALY_REDIS_CLI").unwrap_or_else(beside);
    let document = r#"{"version":1,"rules":[{"pattern":"*","settings":{"max":10,"unit":"°C"}}],"watches":[{"pattern":"raw:*"}]}"#;
    let output = std::process::Command::new(cli)
        .args(["--cluster", "call"])
        .arg(format!("127.0.0.1:{}", cluster.nodes[1].port()))
        .args(["ANOMALY.CONFIG", "IMPORT", document])
        .arg("--cluster-only-masters")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(said.matches(": OK").count(), 3, "{said}");
    for node in cluster.masters() {
        let exported = text(&node.cmd(&["ANOMALY.CONFIG", "EXPORT"]));
        assert_eq!(exported, document);
    }
}

#[test]
fn a_node_that_joins_while_alerts_are_followed_is_followed_too() {
    let cluster = Cluster::start();
    let dir = anomaly_tests::Dir::new();
    let shown = dir.join("shown");
    let mut consumer = Killed(
        cluster.nodes[0]
            .anomaly()
            .args(["alerts", "--format", "json"])
            .stdout(std::fs::File::create(&shown).unwrap())
            .spawn()
            .unwrap(),
    );
    let shows = |sensor: &str| {
        let text = std::fs::read_to_string(&shown).unwrap();
        let quoted = format!("\"sensor\":\"{sensor}\"");
        text.lines().filter(|line| line.contains(&quoted)).count()
    };
    cluster.rules(&["max", "10"]);
    let mut client = cluster.client();
    insist(&mut client, &args!["ANOMALY.ADD", "{early}:t", "*", 50]);
    anomaly_tests::wait_until("the first is shown", || shows("{early}:t") == 1);
    let late = Server::builder().cluster_node().start();
    cluster.meet(&late);
    let nodes: Vec<&Server> = cluster.nodes.iter().chain([&late]).collect();
    cluster.settled(&nodes, 7);
    late.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    let (slot, id) = (cluster.slot("late"), text(&late.cmd(&["CLUSTER", "MYID"])));
    let from = cluster.owner(slot);
    let importing = args!["CLUSTER", "SETSLOT", slot, "IMPORTING", &cluster.ids[from]];
    late.cmd(&importing);
    let migrating = args!["CLUSTER", "SETSLOT", slot, "MIGRATING", &id];
    cluster.nodes[from].cmd(&migrating);
    for node in [&late].into_iter().chain(cluster.masters()) {
        node.cmd(&args!["CLUSTER", "SETSLOT", slot, "NODE", &id]);
    }
    late.wait_until("it serves the slot", || {
        late.try_cmd(&["ANOMALY.ADD", "{late}:t", "*", "50"])
            .is_ok()
    });
    anomaly_tests::wait_until("that of the new node is shown", || shows("{late}:t") == 1);
    assert!(consumer.0.try_wait().unwrap().is_none(), "it goes on");
}

#[test]
fn every_alert_of_every_node_is_shown_although_a_master_dies_under_load() {
    let mut cluster = Cluster::start();
    cluster.rules(&["max", "10", "clear", "1"]);
    let dir = anomaly_tests::Dir::new();
    let shown = dir.join("shown");
    let mut consumer = Killed(
        cluster.nodes[0]
            .anomaly()
            .args(["alerts", "--format", "json"])
            .stdout(std::fs::File::create(&shown).unwrap())
            .stderr(std::fs::File::create(dir.join("errors")).unwrap())
            .spawn()
            .unwrap(),
    );
    let seen = || -> BTreeSet<String> {
        let text = std::fs::read_to_string(&shown).unwrap();
        let id = |line: &str| {
            let json: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(json["id"].as_str()?.to_owned())
        };
        text.lines().filter_map(id).collect()
    };
    let stop = AtomicBool::new(false);
    let urls: Vec<String> = cluster.nodes[1..].iter().map(|n| n.url()).collect();
    let mut writer = cluster.client();
    let promoted = cluster.nodes[3].port();
    let (dead, rest) = cluster.nodes.split_at_mut(1);
    let mut rounds = 0_u64;
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                // New tags, so new streams, all the time and on all nodes.
                for number in 0..30 {
                    let key = format!("{{{number}.{}}}:t", round / 40);
                    let value = if (round + number) % 4 == 0 { 50 } else { 5 };
                    let reading = args!["ANOMALY.ADD", key, 1000 * round, value];
                    while send(&mut writer, &reading).is_err() {
                        thread::sleep(Duration::from_millis(50));
                        if let Ok(again) =
                            ClusterClient::new(urls.clone()).unwrap().get_connection()
                        {
                            writer = again;
                        }
                    }
                }
                thread::sleep(Duration::from_millis(5));
            }
            round
        });
        anomaly_tests::wait_until("alerts are shown", || seen().len() > 50);
        dead[0].kill9();
        rest[2].wait_until("its replica is promoted", || {
            rest[2].info("replication")["role"] == "master"
        });
        let before = seen().len();
        anomaly_tests::wait_until("alerts are shown again", || seen().len() > before + 50);
        stop.store(true, Ordering::Relaxed);
        rounds = load.join().unwrap();
    });
    assert_eq!(rest[2].port(), promoted);
    let mut written = BTreeSet::new();
    let mut nodes = 0;
    for node in [&rest[0], &rest[1], &rest[2]] {
        let streams = list(&node.cmd(&["ANOMALY.ALERTS", "STREAMS"]));
        nodes += usize::from(!streams.is_empty());
        for stream in streams {
            for (_, fields) in node.stream(&text(&stream)) {
                written.insert(
                    fields
                        .iter()
                        .find(|(name, _)| name == "id")
                        .unwrap()
                        .1
                        .clone(),
                );
            }
        }
    }
    assert_eq!(nodes, 3);
    anomaly_tests::wait_until("every alert is shown", || written.is_subset(&seen()));
    assert!(consumer.0.try_wait().unwrap().is_none(), "it goes on");
    drop(consumer);
    let lines = std::fs::read_to_string(&shown).unwrap().lines().count();
    eprintln!(
        "{rounds} rounds, {} alerts written, {lines} lines shown",
        written.len()
    );
}
