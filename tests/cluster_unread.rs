//! What of a watched stream is yet to be read goes with it from node to node, whatever else the nodes have to read.
//!
//! Every entry's id is its reading's time, so a reading that overtook another would make that one late.

use anomaly_tests::{Args, Server, args, call_many, field, int, list, pairs, text};

/// Entries of a stream that is read first, so many that it takes longer than the moves of another.
const LONG: i64 = 100_000;
const SHORT: i64 = 2000;

/// Two nodes, half of the slots each.
pub(crate) struct Pair {
    pub(crate) nodes: [Server; 2],
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
        Self { nodes, ids }
    }

    fn slot(&self, key: &str) -> i64 {
        int(&self.nodes[0].cmd(&["CLUSTER", "KEYSLOT", key]))
    }

    /// A stream of that node, with a tag of its own. They are read in the order of their names.
    pub(crate) fn stream(&self, node: usize, name: &str) -> String {
        let mut names = (0..).map(|n| format!("raw:{name}{{{name}.{n}}}"));
        let found = names.find(|name| (self.slot(name) >= 8192) == (node == 1));
        found.expect("one of them")
    }

    fn fill(&self, node: usize, stream: &str, times: std::ops::Range<i64>) {
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

    fn watch(&self, node: usize) {
        let words = ["ANOMALY.WATCH", "SET", "raw:*", "KEY", "s:{$tag}"];
        self.nodes[node].cmd(&[&words[..], &["FROM", "0"]].concat());
    }

    fn is_unread(&self, node: usize, stream: &str) -> bool {
        let watch = self.nodes[node].cmd(&["ANOMALY.WATCH", "GET", "raw:*"]);
        format!("{watch:?}").contains(&format!("{stream:?}"))
    }

    fn is_to_be_read(&self, node: usize, stream: &str) {
        self.nodes[node].wait_until("it is found", || self.is_unread(node, stream));
    }

    fn set_slot(&self, node: usize, stream: &str, words: &[&str]) {
        let slot = self.slot(stream).to_string();
        self.nodes[node].cmd(&[&["CLUSTER", "SETSLOT", &slot], words].concat());
    }

    /// Moves the slot of a stream, at once and the stream first.
    fn move_slot(&self, from: usize, stream: &str, meanwhile: impl FnOnce(&Server)) {
        let (source, target) = (&self.nodes[from], &self.nodes[1 - from]);
        self.set_slot(1 - from, stream, &["IMPORTING", &self.ids[from]]);
        self.set_slot(from, stream, &["MIGRATING", &self.ids[1 - from]]);
        let send = |key: &str| {
            source.cmd(&args!["MIGRATE", "127.0.0.1", target.port(), key, 0, 5000]);
        };
        send(stream);
        meanwhile(target);
        let rest = args!["CLUSTER", "GETKEYSINSLOT", self.slot(stream), 100];
        list(&source.cmd(&rest))
            .iter()
            .for_each(|key| send(&text(key)));
        for node in [1 - from, from] {
            self.set_slot(node, stream, &["NODE", &self.ids[1 - from]]);
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
    fn is_read_once(&self, node: usize, stream: &str, count: i64) {
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

#[test]
fn a_stream_that_leaves_while_another_is_read_is_read_where_it_arrives() {
    let pair = Pair::start();
    let (first, second) = (pair.stream(0, "1"), pair.stream(0, "2"));
    pair.fill(0, &first, 1..LONG + 1);
    pair.fill(0, &second, 1..SHORT + 1);
    pair.watch(1);
    pair.watch(0);
    pair.is_to_be_read(0, &second);
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
