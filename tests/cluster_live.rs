//! A cluster of three masters and three replicas, attacked: wrong nodes, a master killed, slots moved under load.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anomaly_tests::{Args, Server, args, int, list, text};
use redis::Value;
use redis::cluster::{ClusterClient, ClusterConnection};

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
        target.cmd(&args![
            "CLUSTER",
            "SETSLOT",
            slot,
            "IMPORTING",
            &self.ids[from]
        ]);
        source.cmd(&args![
            "CLUSTER",
            "SETSLOT",
            slot,
            "MIGRATING",
            &self.ids[to]
        ]);
        let mut moved = 0;
        loop {
            let mut keys: Vec<String> =
                list(&source.cmd(&args!["CLUSTER", "GETKEYSINSLOT", slot, 100]))
                    .iter()
                    .map(text)
                    .collect();
            keys.sort_by_key(|key| {
                (key.starts_with("ts:") || key.starts_with("anomaly:"))
                    == (order == Order::SensorsFirst)
            });
            let Some(key) = keys.first() else { break };
            let reply = source.try_cmd(&args!["MIGRATE", "127.0.0.1", target.port(), key, 0, 5000]);
            reply.unwrap_or_else(|error| panic!("MIGRATE {key}: {error}"));
            moved += 1;
            between();
        }
        for node in [target, source] {
            node.cmd(&args!["CLUSTER", "SETSLOT", slot, "NODE", &self.ids[to]]);
        }
        self.nodes[3 - from - to].cmd(&args!["CLUSTER", "SETSLOT", slot, "NODE", &self.ids[to]]);
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    SensorsFirst,
    CompanionsFirst,
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
    cluster.rules(&["max", "10", "clear", "1"]);
    let tags = ["a", "b", "c"];
    let stop = AtomicBool::new(false);
    let mut moved = 0;
    let (mut taken, mut tried_again) = (BTreeMap::new(), 0);
    thread::scope(|scope| {
        // However this ends: the scope waits for the writers.
        let _ends_them = Ends(&stop);
        let writers: Vec<_> = tags
            .iter()
            .map(|tag| {
                let (cluster, stop) = (&cluster, &stop);
                scope.spawn(move || {
                    let mut client = cluster.client();
                    let mut taken: BTreeMap<String, u64> = BTreeMap::new();
                    let mut round = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        round += 1;
                        // Sensors that fire, and always a few that are new.
                        for number in 0..8 {
                            let key = if number < 6 {
                                format!("{{{tag}}}:{number}")
                            } else {
                                format!("{{{tag}}}:{number}:{}", round / 50)
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
                moved +=
                    cluster.reshard(slot, to, order, || thread::sleep(Duration::from_millis(2)));
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

#[test]
fn every_alert_of_every_node_is_shown_although_a_master_dies_under_load() {
    let mut cluster = Cluster::start();
    cluster.rules(&["max", "10", "clear", "1"]);
    let dir = anomaly_tests::Dir::new();
    let shown = dir.join("shown");
    let mut consumer = cluster.nodes[0]
        .anomaly()
        .args(["alerts", "--format", "json"])
        .stdout(std::fs::File::create(&shown).unwrap())
        .stderr(std::fs::File::create(dir.join("errors")).unwrap())
        .spawn()
        .unwrap();
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
    assert!(consumer.try_wait().unwrap().is_none(), "it goes on");
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    let lines = std::fs::read_to_string(&shown).unwrap().lines().count();
    eprintln!(
        "{rounds} rounds, {} alerts written, {lines} lines shown",
        written.len()
    );
}
