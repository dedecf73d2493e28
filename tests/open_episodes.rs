//! ANOMALY.ALERTS: the episodes that are open now, wherever their sensors have gone.

use anomaly_tests::{Server, Stop, args, call, field, int, list, text};
use redis::Value;

/// `a` and `b` are at a warning, `c` is critical, `d` in database 1, `normal` is not firing.
fn firing(builder: anomaly_tests::Builder) -> Server {
    let server = builder.start();
    server.cmd(&[
        "ANOMALY.CONFIG",
        "SET",
        "*",
        "max",
        "10",
        "critical-max",
        "20",
    ]);
    let mut connection = server.conn();
    for (db, key, value) in [
        (0, "a", 15),
        (0, "b", 15),
        (0, "c", 25),
        (1, "d", 15),
        (0, "normal", 5),
    ] {
        call(&mut connection, &args!["SELECT", db]);
        call(&mut connection, &args!["ANOMALY.ADD", key, 1000, value]);
    }
    server
}

fn start() -> Server {
    firing(Server::builder())
}

fn rows(server: &Server, words: &[&str]) -> Vec<Value> {
    list(&server.cmd(&[&["ANOMALY.ALERTS"], words].concat()))
}

/// Database and sensor of each row.
fn open(server: &Server, words: &[&str]) -> Vec<String> {
    let place = |row: &Value| format!("{} {}", int(&field(row, "db")), text(&field(row, "sensor")));
    rows(server, words).iter().map(place).collect()
}

const ALL: [&str; 4] = ["0 a", "0 b", "0 c", "1 d"];

#[test]
fn open_episodes_are_listed_with_what_an_operator_asks_first() {
    let server = start();
    server.cmd(&["ANOMALY.ADD", "c", "2000", "26"]);
    server.cmd(&["ANOMALY.ACK", "c", "BY", "olga"]);
    let row = &rows(&server, &["MATCH", "c"])[0];
    let told = [
        "sensor",
        "state",
        "severity",
        "kind",
        "direction",
        "started",
        "readings",
        "acked",
        "last",
        "value",
    ];
    let told = told.map(|name| text(&field(row, name)));
    assert_eq!(
        told,
        [
            "c", "firing", "critical", "range", "high", "1000", "2", "olga", "2000", "26"
        ]
    );
    let alert = &server.stream("anomaly:alerts")[0].1;
    assert_eq!(
        text(&field(&rows(&server, &["MATCH", "a"])[0], "episode")),
        alert[3].1
    );
    let map = call(&mut server.resp3(), &["ANOMALY.ALERTS"]);
    assert!(matches!(&list(&map)[0], Value::Map(_)), "{map:?}");
}

#[test]
fn open_episodes_are_chosen_by_pattern_severity_and_count() {
    let server = start();
    assert_eq!(open(&server, &[]), ALL);
    assert_eq!(open(&server, &["MATCH", "[bd]"]), ["0 b", "1 d"]);
    assert_eq!(open(&server, &["severity", "Critical"]), ["0 c"]);
    assert_eq!(
        open(&server, &["SEVERITY", "warning", "COUNT", "2"]),
        ["0 a", "0 b"]
    );
    assert_eq!(open(&server, &["COUNT", "3", "MATCH", "d"]), ["1 d"]);
    assert_eq!(server.info("anomaly")["anomaly_open_episodes"], "4");
}

#[test]
fn a_question_that_cannot_be_understood_is_refused() {
    let server = start();
    for words in [
        &["MATCH"][..],
        &["SEVERITY", "bad"],
        &["COUNT", "0"],
        &["COUNT", "-1"],
        &["COUNT", "x"],
        &["STREAMS", "x"],
        &["NOSUCH", "x"],
    ] {
        let refused = server.refuses(&[&["ANOMALY.ALERTS"], words].concat());
        assert!(
            refused.starts_with("ERR ") && refused.contains(words[0]),
            "{words:?}: {refused}"
        );
    }
}

#[test]
fn the_streams_are_those_there_are() {
    let server = Server::start();
    assert!(rows(&server, &["STREAMS"]).is_empty());
    let server = start();
    assert_eq!(
        rows(&server, &["streams"])
            .iter()
            .map(text)
            .collect::<Vec<_>>(),
        ["anomaly:alerts"]
    );
}

#[test]
fn open_episodes_are_known_after_a_restart() {
    for (builder, stop) in [
        (Server::builder(), Stop::Save),
        (Server::builder().aof(), Stop::Kill9),
        (
            Server::builder().aof().config("aof-use-rdb-preamble no"),
            Stop::Kill9,
        ),
    ] {
        let mut server = firing(builder);
        let before = rows(&server, &[]);
        server.restart(stop);
        assert_eq!(rows(&server, &[]), before);
        server.cmd(&["DEBUG", "RELOAD"]);
        assert_eq!(rows(&server, &[]), before);
    }
}

#[test]
fn open_episodes_are_known_after_a_rewrite_without_rdb_preamble() {
    let mut server = firing(Server::builder().aof().config("aof-use-rdb-preamble no"));
    server.cmd(&["BGREWRITEAOF"]);
    server.wait_until("it is rewritten", || {
        server.info("persistence")["aof_rewrite_in_progress"] == "0"
    });
    server.restart(Stop::Kill9);
    assert_eq!(open(&server, &[]), ALL);
}

#[test]
fn the_list_follows_keys_that_are_renamed_moved_deleted_and_restored() {
    let server = start();
    server.cmd(&["RENAME", "a", "z"]);
    assert_eq!(open(&server, &[]), ["0 b", "0 c", "0 z", "1 d"]);
    // On a connection of its own: Valkey 8.1.1 leaves it in the other database.
    call(&mut server.conn(), &["MOVE", "b", "1"]);
    assert_eq!(open(&server, &[]), ["0 c", "0 z", "1 b", "1 d"]);
    let dump = anomaly_tests::bytes(&server.cmd(&["DUMP", "z"]));
    server.cmd(&["DEL", "z"]);
    assert_eq!(open(&server, &[]), ["0 c", "1 b", "1 d"]);
    server.cmd(&args!["RESTORE", "restored", 0, dump]);
    assert_eq!(open(&server, &[]), ["0 c", "0 restored", "1 b", "1 d"]);
    for at in 2..5i64 {
        server.cmd(&args!["ANOMALY.ADD", "c", at * 1000, 5]);
    }
    assert_eq!(open(&server, &[]), ["0 restored", "1 b", "1 d"]);
}

#[test]
fn the_list_follows_databases_that_are_swapped_and_emptied() {
    let server = start();
    server.cmd(&["SWAPDB", "0", "1"]);
    assert_eq!(open(&server, &[]), ["0 d", "1 a", "1 b", "1 c"]);
    server.cmd(&["FLUSHDB"]);
    assert_eq!(open(&server, &[]), ["1 a", "1 b", "1 c"]);
    server.cmd(&["FLUSHALL", "ASYNC"]);
    assert!(open(&server, &[]).is_empty());
    let info = server.info("anomaly");
    assert_eq!(info["anomaly_open_episodes"], "0");
    server.wait_until("the background has freed them", || {
        server.info("anomaly")["anomaly_sensors"] == "0"
    });
}

#[test]
fn looking_changes_neither_models_nor_the_selected_database() {
    let server = start();
    server.cmd(&["SET", "here", "yes"]);
    let before = server.picture();
    rows(&server, &[]);
    server.cmd(&["ANOMALY.INFO", "a"]);
    assert_eq!(text(&server.cmd(&["GET", "here"])), "yes");
    anomaly_tests::assert_same(&server.picture(), &before);
}
