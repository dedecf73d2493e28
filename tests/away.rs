//! `anomaly alerts` while its server is gone for a while: killed, stopped, or somewhere behind a network that lets nothing through.
//! Every alert is seen, and a person who reads its errors is told twice: that it is lost, and that it is back.

use anomaly_tests::{
    Args, Program, Server, Stop, alert_ids, anomaly, args, free_port, int, list, text,
    three_masters, wait_until,
};
use redis::{Connection, ConnectionLike};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const OPEN: u8 = 0;
/// Nothing comes through, either way, and nobody is told: what was on its way arrives when it is open again.
const SILENT: u8 = 1;
/// As silent, but connections that there were are cut.
const CUT: u8 = 2;

/// A network between clients and a server.
struct Network {
    port: u16,
    state: Arc<AtomicU8>,
    /// Connections that were tried.
    tried: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Network {
    fn to(server: &Server) -> Self {
        let there = server.port();
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let network = Self {
            port,
            state: Arc::default(),
            tried: Arc::default(),
            over: Arc::default(),
        };
        let (state, tried, over) = (
            Arc::clone(&network.state),
            Arc::clone(&network.tried),
            Arc::clone(&network.over),
        );
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Ok((client, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                tried.fetch_add(1, Ordering::Relaxed);
                let (state, over) = (Arc::clone(&state), Arc::clone(&over));
                thread::spawn(move || carry(client, there, &state, &over));
            }
        });
        network
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn set(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
    }

    fn tried(&self) -> usize {
        self.tried.load(Ordering::Relaxed)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Both ways of one connection; it is made when the network lets it.
fn carry(client: TcpStream, there: u16, state: &Arc<AtomicU8>, over: &Arc<AtomicBool>) {
    client.set_nonblocking(false).unwrap();
    let through = || {
        while state.load(Ordering::Relaxed) != OPEN && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
    };
    through();
    let Ok(server) = TcpStream::connect(("127.0.0.1", there)) else {
        return;
    };
    let ways = [(&client, &server), (&server, &client)];
    thread::scope(|scope| {
        for (mut from, mut to) in ways {
            from.set_read_timeout(Some(Duration::from_millis(5)))
                .unwrap();
            scope.spawn(move || {
                let mut bytes = [0; 16384];
                loop {
                    let read = from.read(&mut bytes);
                    if state.load(Ordering::Relaxed) == CUT || over.load(Ordering::Relaxed) {
                        break;
                    }
                    match read {
                        Ok(0) => break,
                        Ok(n) => {
                            through();
                            if to.write_all(&bytes[..n]).is_err() {
                                break;
                            }
                        }
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                        Err(_) => break,
                    }
                }
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    });
}

fn follow(url: &str, words: &[&str]) -> Program {
    let mut command = anomaly();
    command.args(["--url", url, "alerts", "--format", "json"]);
    Program::start(command.args(words))
}

/// The ids of what is shown, each time that it is.
fn shown(follower: &Program) -> Vec<String> {
    alert_ids(&follower.shown())
}

/// That it told of one time without the server, once when it came and once when it ended, and of nothing else.
fn told_of_one_outage(follower: &Program) {
    let said = follower.said();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("anomaly: lost Redis at "), "{said}");
    assert!(lines[0].ends_with("; trying again"), "{said}");
    assert!(
        lines[1].starts_with("anomaly: Redis at ") && lines[1].ends_with(" is back"),
        "{said}"
    );
}

/// Producers whose every reading is an alert, and who go on whatever happens: what was not answered is sent again.
struct Producers {
    over: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicUsize>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Producers {
    /// One for each URL.
    fn start(urls: &[String]) -> Self {
        let over = Arc::<AtomicBool>::default();
        let answered: Vec<Arc<AtomicUsize>> = urls.iter().map(|_| Arc::default()).collect();
        let each = urls.iter().zip(&answered).enumerate();
        let threads = each.map(|(number, (url, answered))| {
            let (url, over, answered) = (url.clone(), Arc::clone(&over), Arc::clone(answered));
            thread::spawn(move || produce(&url, number, &over, &answered))
        });
        let threads = threads.collect();
        Self {
            over,
            answered,
            threads,
        }
    }

    fn answered(&self) -> Vec<usize> {
        let all = self.answered.iter();
        all.map(|answered| answered.load(Ordering::Relaxed))
            .collect()
    }

    /// Waits until each has sent so many more.
    fn go_on(&self, more: usize) {
        let before = self.answered();
        wait_until("the producers are answered", || {
            let now = self.answered();
            now.iter()
                .zip(&before)
                .all(|(now, before)| now >= &(before + more))
        });
    }

    /// How many readings there were.
    fn end(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        let sum = self.answered.clone();
        for thread in self.threads {
            thread.join().unwrap();
        }
        sum.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

fn produce(url: &str, number: usize, over: &AtomicBool, answered: &AtomicUsize) {
    let client = redis::Client::open(url).unwrap();
    let mut connection: Option<Connection> = None;
    let mut next = 0;
    while !over.load(Ordering::Relaxed) {
        let Some(open) = &mut connection else {
            connection = client
                .get_connection_with_timeout(Duration::from_secs(1))
                .ok();
            if let Some(fresh) = &connection {
                fresh
                    .set_read_timeout(Some(Duration::from_secs(2)))
                    .unwrap();
            }
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        let add: Args = args![
            "ANOMALY.ADD",
            format!("s{{{number}}}"),
            1000 * (next + 1),
            if next % 2 == 0 { 50 } else { 5 }
        ];
        let mut command = redis::Cmd::new();
        command.arg(add);
        match open.req_packed_command(&command.get_packed_command()) {
            Ok(redis::Value::SimpleString(_)) => {
                next += 1;
                answered.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
            _ => connection = None,
        }
    }
}

/// How a server is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Its process ended; back with its data.
    Killed,
    /// Its process ended; back without any: no stream, no group, no rule.
    Emptied,
    /// It ended behind a proxy, which takes connections and closes them.
    KilledBehind,
    /// Its process stands still: what connects waits.
    Stopped,
    /// The network lets nothing through, and then all that it held.
    Silent,
    /// The network lets nothing through; connections that there were are cut.
    Cut,
}

fn rules(server: &Server) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
}

fn written(server: &Server) -> BTreeSet<String> {
    let streams = list(&server.cmd(&["ANOMALY.ALERTS", "STREAMS"]));
    let entries = streams.iter().flat_map(|name| server.stream(&text(name)));
    entries.map(|(_, fields)| fields[2].1.clone()).collect()
}

/// Takes a server away from two consumers in two groups and from producers until `long_enough`, which is told whether both
/// have said so, and how many connections they have tried meanwhile; what was seen, in a line.
fn away(how: How, cluster: bool, mut long_enough: impl FnMut(bool, usize) -> bool) -> String {
    // The port of the network has to be known to a node of a cluster before it is started.
    let mut builder = Server::builder();
    if how != How::Emptied {
        builder = builder.aof();
    }
    if cluster {
        builder = builder.cluster();
    }
    let mut server = builder.start();
    rules(&server);
    let networks = [Network::to(&server), Network::to(&server)];
    let direct = matches!(how, How::Killed | How::Emptied | How::Stopped);
    if cluster && !direct {
        let port = networks[0].port.to_string();
        server.cmd(&["CONFIG", "SET", "cluster-announce-port", &port]);
    }
    let [followers, producers] = [0, 1].map(|at: usize| match direct {
        true => server.url(),
        false => networks[at].url(),
    });
    let mut urls = vec![producers; 3];
    if matches!(how, How::Silent | How::Cut) {
        urls.push(server.url()); // on the server's side of the network
    }
    let producers = Producers::start(&urls);
    let followers = [&[][..], &["--group", "audit"]].map(|words| follow(&followers, words));
    for follower in &followers {
        wait_until("alerts are shown", || shown(follower).len() > 100);
    }

    let (began, tried) = (Instant::now(), networks[0].tried());
    match how {
        How::Killed | How::Emptied | How::KilledBehind => server.stop(Stop::Kill9),
        How::Stopped => server.signal("STOP"),
        How::Silent => networks.iter().for_each(|network| network.set(SILENT)),
        How::Cut => networks.iter().for_each(|network| network.set(CUT)),
    }
    let noticed = || {
        followers
            .iter()
            .all(|follower| follower.said().contains("lost Redis"))
    };
    while !long_enough(noticed(), networks[0].tried() - tried) {
        assert!(
            began.elapsed() < Duration::from_secs(300),
            "{how:?}: it goes on and on"
        );
        thread::sleep(Duration::from_millis(10));
    }
    let (gone, tried) = (began.elapsed(), networks[0].tried() - tried);
    let before = followers.each_ref().map(|follower| shown(follower).len());
    match how {
        How::Killed | How::Emptied | How::KilledBehind => server.start_again(),
        How::Stopped => server.signal("CONT"),
        How::Silent | How::Cut => networks.iter().for_each(|network| network.set(OPEN)),
    }
    if how == How::Emptied {
        rules(&server);
    }
    let back = Instant::now();
    producers.go_on(50);
    let readings = producers.end();

    let all = written(&server);
    if how == How::Emptied {
        assert!(all.len() > 100, "{}", all.len());
    } else {
        assert_eq!(all.len(), readings, "each reading is an alert");
    }
    let mut again = Vec::new();
    for (follower, before) in followers.iter().zip(before) {
        wait_until("every alert is shown", || {
            let shown: BTreeSet<String> = match how {
                // The new server begins its episodes anew, so that ids come again.
                How::Emptied => shown(follower).into_iter().skip(before).collect(),
                _ => shown(follower).into_iter().collect(),
            };
            all.is_subset(&shown)
        });
        let shown = shown(follower);
        let unique: BTreeSet<&String> = shown.iter().collect();
        again.push(shown.len() - unique.len());
        told_of_one_outage(follower);
        for group in ["anomaly", "audit"] {
            wait_until("nothing is left unacknowledged", || {
                unacknowledged(&server, group) == 0
            });
        }
    }
    format!(
        "{how:?}{}: gone for {:.0} s, {tried} connections tried, all {} alerts shown {:.1} s after its return, {again:?} of them twice",
        if cluster { " (cluster)" } else { "" },
        gone.as_secs_f64(),
        all.len(),
        back.elapsed().as_secs_f64(),
    )
}

fn unacknowledged(server: &Server, group: &str) -> i64 {
    let streams = list(&server.cmd(&["ANOMALY.ALERTS", "STREAMS"]));
    let of = |stream| int(&list(&server.cmd(&["XPENDING", &text(stream), group]))[0]);
    streams.iter().map(of).sum()
}

#[test]
fn a_network_that_lets_nothing_through_is_said_once_and_tried_again_until_it_does() {
    thread::scope(|scope| {
        for cluster in [false, true] {
            scope.spawn(move || {
                // Each has given up a connection and tried another one since it was said.
                let mut since = None;
                away(How::Cut, cluster, |noticed, tried| {
                    noticed && tried >= *since.get_or_insert(tried) + 4
                });
            });
        }
    });
}

/// One master of three is killed, and no other takes its place; the others are written to all the while.
fn one_of_three_away(long_enough: Duration) -> String {
    let node = || {
        Server::builder()
            .aof()
            .config("cluster-require-full-coverage no")
            .config("cluster-node-timeout 2000")
    };
    let mut nodes = three_masters([node(), node(), node()], None);
    let tags = ["b", "c", "a"];
    nodes.iter().for_each(rules);
    // Asked for the nodes is one that stays.
    let follower = &follow(&nodes[1].url(), &[]);
    let add = |nodes: &[Server], at: usize, number: usize| {
        let sensor = format!("s{{{}}}", tags[at]);
        let value = if number.is_multiple_of(2) { 50 } else { 5 };
        nodes[at].cmd(&args!["ANOMALY.ADD", sensor, 1000 * (number + 1), value]);
    };
    for number in 0..100 {
        (0..3).for_each(|at| add(&nodes, at, number));
    }
    wait_until("alerts are shown", || shown(follower).len() == 300);
    nodes[0].stop(Stop::Kill9);
    let (began, mut number) = (Instant::now(), 100);
    while began.elapsed() < long_enough {
        (1..3).for_each(|at| add(&nodes, at, number));
        number += 1;
        thread::sleep(Duration::from_millis(50));
    }
    let gone = began.elapsed();
    let meanwhile: BTreeSet<String> = nodes[1..].iter().flat_map(written).collect();
    wait_until("those of the others are shown without it", || {
        let shown: BTreeSet<String> = shown(follower).into_iter().collect();
        meanwhile.is_subset(&shown)
    });
    nodes[0].start_again();
    let back = Instant::now();
    nodes[0].wait_until("it is one of the cluster again", || {
        text(&nodes[0].cmd(&["CLUSTER", "INFO"])).contains("cluster_state:ok")
    });
    (100..200).for_each(|number| add(&nodes, 0, number));
    let all: BTreeSet<String> = nodes.iter().flat_map(written).collect();
    assert_eq!(all.len(), 200 + 2 * number, "each reading is an alert");
    wait_until("every alert is shown", || {
        shown(follower).into_iter().collect::<BTreeSet<_>>() == all
    });
    told_of_one_outage(follower);
    format!(
        "one of three nodes: gone for {:.0} s, all {} of the others' alerts shown meanwhile, all {} alerts shown {:.1} s after its return, {} of them twice",
        gone.as_secs_f64(),
        meanwhile.len(),
        all.len(),
        back.elapsed().as_secs_f64(),
        shown(follower).len() - all.len(),
    )
}

#[test]
fn a_node_of_a_cluster_that_is_gone_keeps_nobody_from_seeing_the_alerts_of_the_others() {
    one_of_three_away(Duration::from_secs(6));
}

/// A whole minute, in every way that a server can be gone, at once.
#[test]
#[ignore = "takes two minutes"]
fn soak_a_server_that_is_gone_for_a_minute_costs_no_alert_and_two_lines() {
    let seconds = std::env::var("ANOMALY_SOAK_AWAY").map_or(65, |text| text.parse().unwrap());
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let line = one_of_three_away(Duration::from_secs(seconds));
            println!("{line}");
            results.lock().unwrap().push(line);
        });
        for cluster in [false, true] {
            for how in [
                How::Killed,
                How::Emptied,
                How::KilledBehind,
                How::Stopped,
                How::Silent,
                How::Cut,
            ] {
                if cluster && how == How::Emptied {
                    continue; // a node without its data has no slots either
                }
                let results = &results;
                scope.spawn(move || {
                    let (mut began, mut most) = (None, 0);
                    let line = away(how, cluster, |_, tried| {
                        most = tried;
                        let began = *began.get_or_insert_with(Instant::now);
                        began.elapsed() > Duration::from_secs(seconds)
                    });
                    // Of each of two: soon at first, then every five seconds.
                    let first = if cluster { 16 } else { 8 };
                    let bound = 2 * (first + seconds as usize / 5);
                    assert!(most <= bound, "{line}");
                    println!("{line}");
                    results.lock().unwrap().push(line);
                });
            }
        }
    });
    assert_eq!(results.into_inner().unwrap().len(), 12);
}
