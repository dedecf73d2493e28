//! Master, replicas and restarted servers agree: on models, series, alerts with their ids, and rules.

use anomaly_tests::{Builder, Server, Stop, assert_same, field, text};

#[path = "replication/traffic.rs"]
mod traffic;

fn both(server: &Server, round: i64) {
    traffic::round(server, round);
    traffic::live(server);
}

/// The traffic is worth something only if it does everything there is.
fn is_rich(server: &Server) {
    let info = server.info("anomaly");
    for name in [
        "readings",
        "warnings",
        "criticals",
        "late",
        "duplicates",
        "refused",
        "alerts_firing",
        "alerts_escalated",
        "alerts_repeat",
        "alerts_ack",
        "alerts_resolved",
        "suppressed",
        "archived",
        "rules",
        "open_episodes",
    ] {
        assert_ne!(info[&format!("anomaly_{name}")], "0", "{name}");
    }
    for name in ["archive_failures", "alerts_failed"] {
        assert_eq!(info[&format!("anomaly_{name}")], "0", "{name}");
    }
}

fn replica_of(master: &Server) -> Server {
    Server::builder().replica_of(master).start()
}

#[test]
fn replicas_hold_what_the_master_holds() {
    let master = Server::start();
    let replica = replica_of(&master);
    let chained = replica_of(&replica);
    both(&master, 0);
    is_rich(&master);
    let late = replica_of(&master);
    both(&master, 1);
    let expected = master.picture();
    for replica in [&replica, &late] {
        master.replica_in_sync(replica);
        assert_same(&replica.picture(), &expected);
    }
    replica.replica_in_sync(&chained);
    assert_same(&chained.picture(), &expected);
}

fn survives(builder: Builder, rewrite: bool, databases: &[i64]) {
    let mut server = builder.aof().start();
    traffic::round_in(&server, 0, databases);
    traffic::live(&server);
    if rewrite {
        server.cmd(&["BGREWRITEAOF"]);
        server.wait_until("the file is rewritten", || {
            let info = server.info("persistence");
            info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
        });
        let info = server.info("persistence");
        assert_eq!(info["aof_last_bgrewrite_status"], "ok");
        traffic::round_in(&server, 1, databases);
    }
    let before = server.picture();
    server.restart(Stop::Kill9);
    assert_same(&server.picture(), &before);
}

#[test]
fn an_append_only_file_brings_everything_back() {
    survives(Server::builder(), false, &[0, 1]);
}

#[test]
fn a_rewritten_append_only_file_brings_everything_back() {
    survives(Server::builder(), true, &[0, 1]);
}

#[test]
fn an_append_only_file_without_rdb_preamble_brings_everything_back() {
    survives(
        Server::builder().config("aof-use-rdb-preamble no"),
        false,
        &[0, 1],
    );
}

#[test]
fn a_rewritten_append_only_file_without_rdb_preamble_brings_everything_back() {
    // RedisTimeSeries 1.12.2 rewrites the series of database 0 in the place of all others.
    survives(
        Server::builder().config("aof-use-rdb-preamble no"),
        true,
        &[0],
    );
}

#[test]
fn an_rdb_file_brings_everything_back_and_the_server_goes_on_as_it_would_have() {
    let mut server = Server::start();
    let twin = replica_of(&server);
    both(&server, 0);
    let before = server.picture();
    server.restart(Stop::Save);
    assert_same(&server.picture(), &before);
    traffic::round(&server, 1);
    // the twin never restarted: what was not in the file would show
    server.wait_until("the replica has come back", || {
        twin.info("replication")["master_link_status"] == "up"
    });
    server.replica_in_sync(&twin);
    assert_same(&twin.picture(), &server.picture());
}

/// The commands of the append-only file, which are those that replicas get.
fn propagated(server: &Server) -> Vec<Vec<String>> {
    let file = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut commands) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let words = number(&mut rest, b'*');
        let word = |_| {
            let len = number(&mut rest, b'$');
            let (word, after) = rest.split_at(len);
            rest = &after[2..];
            String::from_utf8_lossy(word).into_owned()
        };
        commands.push((0..words).map(word).collect());
    }
    commands
}

fn number(rest: &mut &[u8], kind: u8) -> usize {
    let end = rest.iter().position(|b| *b == b'\r').unwrap();
    assert_eq!(rest[0], kind);
    let number = std::str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

fn names(commands: &[Vec<String>]) -> Vec<String> {
    commands
        .iter()
        .map(|words| words[0].to_uppercase())
        .collect()
}

#[test]
fn a_reading_and_its_alert_travel_in_one_transaction_with_everything_resolved() {
    let server = Server::builder().aof().start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "s", "max", "10"]);
    server.cmd(&["ANOMALY.ADD", "s", "*", "5"]);
    server.cmd(&["ANOMALY.ADD", "s", "*", "50"]);
    let all = propagated(&server);
    let expected = [
        "SELECT",
        "ANOMALY.CONFIG",
        "ANOMALY._APPLY",
        "MULTI",
        "ANOMALY._APPLY",
        "XADD",
        "EXEC",
    ];
    assert_eq!(names(&all), expected);
    let info = server.cmd(&["ANOMALY.INFO", "s"]);
    let last = text(&field(&info, "last"));
    assert_eq!(all[4], ["ANOMALY._APPLY", "1", "s", &last, "50", "1"]);
    let (id, fields) = &server.stream("anomaly:alerts")[0];
    assert_eq!(all[5][..4], ["XADD", "anomaly:alerts", "MAXLEN", "="]);
    let sent = &all[5][all[5].iter().position(|word| word == id).unwrap() + 1..];
    let flat: Vec<&String> = fields
        .iter()
        .flat_map(|(name, value)| [name, value])
        .collect();
    assert_eq!(sent.iter().collect::<Vec<_>>(), flat);
}

#[test]
fn the_end_of_a_sensor_and_its_alert_travel_in_one_transaction() {
    let server = Server::builder().aof().start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10"]);
    let after = |command: &[&str]| {
        server.cmd(&["ANOMALY.ADD", "s", "*", "50"]);
        let before = propagated(&server).len();
        server.cmd(command);
        names(&propagated(&server)[before..])
    };
    assert_eq!(after(&["DEL", "s"]), ["MULTI", "DEL", "XADD", "EXEC"]);
    assert_eq!(after(&["UNLINK", "s"]), ["MULTI", "UNLINK", "XADD", "EXEC"]);
    assert_eq!(
        after(&["ANOMALY.RESET", "s"]),
        ["MULTI", "ANOMALY.RESET", "XADD", "EXEC"]
    );
    assert_eq!(after(&["SET", "s", "1"]), ["MULTI", "SET", "XADD", "EXEC"]);
    server.cmd(&["DEL", "s"]);
    assert_eq!(
        after(&["ANOMALY.ACK", "s"]),
        ["MULTI", "ANOMALY.ACK", "XADD", "EXEC"]
    );
}
