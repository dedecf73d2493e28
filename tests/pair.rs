//! Two masters of a cluster, for tests of what is sent from one to the other.

use anomaly_tests::{Args, Server, args, call_many, field, int, list, pairs, text};

/// CLUSTER SETSLOT. On Valkey the replicas must have heard of it within two seconds, which takes longer on a busy machine.
pub(crate) fn set_slot<A: AsRef<[u8]>>(node: &Server, words: &[A]) {
    let mut command: Vec<&[u8]> = vec![b"CLUSTER", b"SETSLOT"];
    command.extend(words.iter().map(AsRef::as_ref));
    node.wait_until("the replicas have heard of it", || {
        match node.try_cmd(&command) {
            Ok(_) => true,
            Err(error) if error.starts_with("NOREPLICAS") => false,
            Err(error) => panic!("{error}"),
        }
    });
}

/// Two masters, half of the slots each, and perhaps a replica of each.
pub(crate) struct Pair {
    pub(crate) nodes: [Server; 2],
    pub(crate) replicas: Vec<Server>,
    pub(crate) ids: [String; 2],
}

impl Pair {
    pub(crate) fn start() -> Self {
        let nodes = [(), ()].map(|()| Server::builder().cluster_node().start());
        let ids = [&nodes[0], &nodes[1]].map(|node| text(&node.cmd(&["CLUSTER", "MYID"])));
        for (at, (from, to)) in [(0, 8191), (8192, 16383)].into_iter().enumerate() {
            nodes[at].cmd(&args!["CLUSTER", "SET-CONFIG-EPOCH", at + 1]);
            nodes[at].cmd(&args!["CLUSTER", "ADDSLOTSRANGE", from, to]);
        }
        let bus = pairs(&nodes[0].cmd(&["CONFIG", "GET", "cluster-port"]));
        let bus = text(&bus[0].1);
        nodes[1].cmd(&args!["CLUSTER", "MEET", "127.0.0.1", nodes[0].port(), bus]);
        for node in &nodes {
            node.wait_until("the cluster is up", || {
                text(&node.cmd(&["CLUSTER", "INFO"])).contains("cluster_state:ok")
            });
        }
        Self {
            nodes,
            replicas: Vec::new(),
            ids,
        }
    }

    /// With a replica of each, as Valkey has them hear of SETSLOT before it is done.
    pub(crate) fn with_replicas() -> Self {
        let mut pair = Self::start();
        let bus = pairs(&pair.nodes[0].cmd(&["CONFIG", "GET", "cluster-port"]));
        let bus = text(&bus[0].1);
        for id in &pair.ids {
            let replica = Server::builder().cluster_node().start();
            replica.cmd(&args![
                "CLUSTER",
                "MEET",
                "127.0.0.1",
                pair.nodes[0].port(),
                bus
            ]);
            replica.wait_until("it knows its master", || {
                replica.try_cmd(&["CLUSTER", "REPLICATE", id]).is_ok()
            });
            pair.replicas.push(replica);
        }
        for ((node, id), replica) in pair.nodes.iter().zip(&pair.ids).zip(&pair.replicas) {
            node.replica_in_sync(replica);
            node.wait_until("it knows its replica", || {
                let info = node.info("replication");
                let is_online = info
                    .get("slave0")
                    .is_some_and(|line| line.contains("state=online"));
                is_online && list(&node.cmd(&["CLUSTER", "REPLICAS", id])).len() == 1
            });
        }
        pair
    }

    pub(crate) fn slot(&self, key: &str) -> i64 {
        int(&self.nodes[0].cmd(&["CLUSTER", "KEYSLOT", key]))
    }

    /// A stream of that node, with a tag of its own. They are read in the order of their names.
    pub(crate) fn stream(&self, node: usize, name: &str) -> String {
        let mut names = (0..).map(|n| format!("raw:{name}{{{name}.{n}}}"));
        let found = names.find(|name| (self.slot(name) >= 8192) == (node == 1));
        found.expect("one of them")
    }

    pub(crate) fn fill(&self, node: usize, stream: &str, times: std::ops::Range<i64>) {
        let mut connection = self.nodes[node].conn();
        let all: Vec<i64> = times.collect();
        for some in all.chunks(10_000) {
            let entry = |at: &i64| args!["XADD", stream, format!("{at}-0"), "t", at % 100];
            let entries: Vec<Args> = some.iter().map(entry).collect();
            for (reply, at) in call_many(&mut connection, &entries).iter().zip(some) {
                assert_eq!(text(reply), format!("{at}-0"));
            }
        }
    }

    pub(crate) fn watch(&self, node: usize) {
        let words = ["ANOMALY.WATCH", "SET", "raw:*", "KEY", "s:{$tag}"];
        self.nodes[node].cmd(&[&words[..], &["FROM", "0"]].concat());
    }

    pub(crate) fn is_unread(&self, node: usize, stream: &str) -> bool {
        let watch = self.nodes[node].cmd(&["ANOMALY.WATCH", "GET", "raw:*"]);
        format!("{watch:?}").contains(&format!("{stream:?}"))
    }

    pub(crate) fn is_to_be_read(&self, node: usize, stream: &str) {
        self.nodes[node].wait_until("it is found", || self.is_unread(node, stream));
    }

    pub(crate) fn set_slot(&self, node: usize, key: &str, words: &[&str]) {
        let slot = self.slot(key).to_string();
        set_slot(&self.nodes[node], &[&[&slot[..]], words].concat());
    }

    /// Two watched streams of the first node with so many entries, that are yet to be read, the first of them first.
    pub(crate) fn one_behind_the_other(&self, first: i64, second: i64) -> (String, String) {
        let streams = (self.stream(0, "1"), self.stream(0, "2"));
        self.fill(0, &streams.0, 1..first + 1);
        self.fill(0, &streams.1, 1..second + 1);
        self.watch(1);
        self.watch(0);
        self.is_to_be_read(0, &streams.1);
        streams
    }

    /// Moves the slot of a stream, at once and the stream first.
    pub(crate) fn move_slot(&self, from: usize, stream: &str, meanwhile: impl FnOnce(&Server)) {
        self.set_slot(1 - from, stream, &["IMPORTING", &self.ids[from]]);
        self.set_slot(from, stream, &["MIGRATING", &self.ids[1 - from]]);
        self.send(from, stream);
        meanwhile(&self.nodes[1 - from]);
        self.send_rest(from, stream);
    }

    /// The words that send a key to the other node.
    pub(crate) fn migrate(&self, from: usize, key: &str) -> Args {
        args![
            "MIGRATE",
            "127.0.0.1",
            self.nodes[1 - from].port(),
            key,
            0,
            5000
        ]
    }

    pub(crate) fn send(&self, from: usize, key: &str) {
        assert_eq!(text(&self.nodes[from].cmd(&self.migrate(from, key))), "OK");
    }

    /// The keys of a slot that are there.
    pub(crate) fn keys(&self, node: usize, of: &str) -> Vec<String> {
        let all = args!["CLUSTER", "GETKEYSINSLOT", self.slot(of), 1000];
        list(&self.nodes[node].cmd(&all)).iter().map(text).collect()
    }

    /// Sends what is still there of a slot, and has both nodes say whose it is.
    pub(crate) fn send_rest(&self, from: usize, of: &str) {
        for key in self.keys(from, of) {
            self.send(from, &key);
        }
        let (source, target) = (&self.nodes[from], &self.nodes[1 - from]);
        for node in [1 - from, from] {
            self.set_slot(node, of, &["NODE", &self.ids[1 - from]]);
        }
        // Or the next move could be undone by what the other node still says of this one.
        let epochs = |node: &Server| {
            let nodes = text(&node.cmd(&["CLUSTER", "NODES"]));
            let epoch = |line: &str| line.split(' ').nth(6).map(str::to_owned);
            let mut epochs: Vec<_> = nodes
                .lines()
                .map(|line| (line[..40].to_owned(), epoch(line)))
                .collect();
            epochs.sort();
            epochs
        };
        source.wait_until("both know who has the slot", || {
            epochs(source) == epochs(target)
        });
    }

    /// All entries were read, in order, and the stream is as it was.
    pub(crate) fn is_read_once(&self, node: usize, stream: &str, count: i64) {
        let server = &self.nodes[node];
        server.wait_until("all is read", || !self.is_unread(node, stream));
        let sensor = format!("s:{}", &stream[stream.find('{').unwrap()..]);
        let info = server.cmd(&["ANOMALY.INFO", &sensor]);
        let read = ["readings", "late", "duplicates"].map(|name| int(&field(&info, name)));
        assert_eq!(read, [count, 0, 0], "{stream}");
        let groups = server.cmd(&["XINFO", "GROUPS", stream]);
        assert!(list(&groups).is_empty(), "nothing is left in the stream");
    }
}
