//! Append-only files that a crash has cut off within a transaction.

use std::fs;
use std::path::PathBuf;

use anomaly_tests::{Server, args, int, text};

/// The file that the server adds to.
fn file(server: &Server) -> PathBuf {
    server.dir().join("appendonlydir/appendonly.aof.1.incr.aof")
}

fn add(server: &Server, device: &str, at: i64) -> String {
    text(&server.cmd(&args![
        "XADD",
        "raw",
        "*",
        "device_id",
        device,
        "timestamp",
        at,
        "temp",
        20
    ]))
}

/// Entries of the stream, and samples of the series of each device: as many as there are readings.
fn held(server: &Server, devices: &[&str]) -> (i64, Vec<i64>) {
    let samples = |device: &&str| {
        let series = format!("ts:{{sensor:{device}:temp}}");
        match server.try_cmd(&["TS.INFO", &series]) {
            Ok(info) => int(&anomaly_tests::field(&info, "totalSamples")),
            Err(_) => 0,
        }
    };
    (
        int(&server.cmd(&["XLEN", "raw"])),
        devices.iter().map(samples).collect(),
    )
}

#[test]
fn what_is_acknowledged_after_a_crash_is_there_after_the_next_however_a_transaction_was_cut_off() {
    let mut server = Server::builder()
        .config("appendonly yes")
        .config("appendfsync always")
        .start();
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
    add(&server, "before", 1_700_000_000_000);
    let whole = fs::read(file(&server)).unwrap().len();
    add(&server, "cut", 1_700_000_000_000);
    server.kill9();
    let all = fs::read(file(&server)).unwrap();
    assert!(all.ends_with(b"\r\nEXEC\r\n") && all.len() > whole + 100);
    let mut mended = 0;
    for len in (whole..all.len()).step_by(23) {
        fs::write(file(&server), &all[..len]).unwrap();
        let said = server.log().len();
        server.start_again();
        mended += usize::from(server.log()[said..].contains("that is taken back as well"));
        assert_eq!(
            fs::read(file(&server)).unwrap().len(),
            whole,
            "cut at {len}"
        );
        let acknowledged = add(&server, "after", 1_700_000_000_000);
        server.kill9();
        let said = server.log().len();
        server.start_again();
        let log = &server.log()[said..];
        assert!(!log.contains("CRITICAL"), "cut at {len}: {log}");
        let held = held(&server, &["before", "cut", "after"]);
        assert_eq!(held, (2, vec![1, 0, 1]), "cut at {len}");
        let newest = server.stream("raw").pop().map(|(id, _)| id);
        assert_eq!(newest, Some(acknowledged));
        server.kill9();
    }
    // Some servers take all of it back themselves.
    let does = server_takes_back();
    assert_eq!(mended > 0, !does, "mended {mended} times");
}

/// Whether a server without the module takes back a transaction of which a crash has cut a command in two.
fn server_takes_back() -> bool {
    let mut server = Server::builder()
        .without_module()
        .config("appendonly yes")
        .config("appendfsync always")
        .start();
    server.cmd(&["SET", "before", "1"]);
    let whole = fs::read(file(&server)).unwrap().len();
    let mut connection = server.conn();
    redis::pipe()
        .atomic()
        .set("a", 1)
        .set("b", 1)
        .exec(&mut connection)
        .unwrap();
    server.kill9();
    let all = fs::read(file(&server)).unwrap();
    let tail = b"*1\r\n$4\r\nEXEC\r\n".len() + 5;
    fs::write(file(&server), &all[..all.len() - tail]).unwrap();
    server.start_again();
    fs::read(file(&server)).unwrap().len() == whole
}
