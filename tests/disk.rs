//! A disk that takes no more: the server refuses writes as Redis does, or goes on, and nothing disagrees afterwards.

use std::process::Command;

use crate::once::alerts_agree;
use anomaly_tests::{Server, Stop, args, assert_same, call_many, error, field, int, list};

/// The largest size of the server's files, in bytes; more is refused as a full disk refuses.
fn limit(server: &Server, bytes: &str) {
    let done = Command::new("prlimit")
        .args([
            format!("--pid={}", server.pid()),
            format!("--fsize={bytes}:"),
        ])
        .status()
        .expect("prlimit (util-linux) can be started");
    assert!(done.success());
}

/// Readings that fire and resolve by turns; how many were taken.
fn load(server: &Server, from: i64, n: i64) -> usize {
    let all: Vec<_> = (from..from + n)
        .map(|i| {
            args![
                "ANOMALY.ADD",
                format!("s:{}", i % 7),
                i * 100,
                (i / 7 % 4) * 5
            ]
        })
        .collect();
    let replies = call_many(&mut server.conn(), &all);
    replies
        .iter()
        .filter(|reply| error(reply).is_none())
        .count()
}

/// Readings of the model, samples of the series.
fn agree(server: &Server) {
    for n in 0..7 {
        let sensor = format!("s:{n}");
        let readings = int(&field(&server.cmd(&["ANOMALY.INFO", &sensor]), "readings"));
        let samples = server.cmd(&["TS.RANGE", &format!("ts:{{{sensor}}}"), "-", "+"]);
        assert_eq!(list(&samples).len() as i64, readings, "{sensor}");
    }
    alerts_agree(server);
}

fn ruled(server: &Server) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
}

#[test]
fn a_full_disk_makes_the_server_refuse_readings_and_nothing_disagrees() {
    let mut master = Server::builder()
        .config("appendonly yes")
        .config("appendfsync everysec")
        .start();
    let replica = Server::builder().replica_of(&master).start();
    ruled(&master);
    master.replica_in_sync(&replica);
    assert_eq!(load(&master, 1, 700), 700);
    limit(&master, "200000");
    let mut from = 1000;
    master.wait_until("readings are refused", || {
        from += 700;
        load(&master, from, 700) == 0
    });
    assert!(
        master
            .refuses(&["ANOMALY.ADD", "s:1", "*", "1"])
            .starts_with("MISCONF ")
    );
    agree(&master);
    limit(&master, "unlimited");
    master.wait_until("readings are taken again", || {
        from += 700;
        load(&master, from, 700) == 700
    });
    agree(&master);
    master.replica_in_sync(&replica);
    let before = master.picture();
    assert_same(&replica.picture(), &before);
    master.restart(Stop::Term);
    assert_same(&master.picture(), &before);
    agree(&master);
}

#[test]
fn a_directory_that_cannot_be_written_makes_the_server_refuse_readings_until_it_can() {
    let server = Server::builder()
        .config("save 3600 1")
        .config("enable-protected-configs yes")
        .start();
    ruled(&server);
    assert_eq!(load(&server, 1, 700), 700);
    let before = server.picture();
    let saved = |status: &str| {
        server.cmd(&["BGSAVE"]);
        server.wait_until("the save has ended", || {
            let info = server.info("persistence");
            info["rdb_bgsave_in_progress"] == "0" && info["rdb_last_bgsave_status"] == status
        });
    };
    // Nobody, not even root, can make files there.
    server.cmd(&["CONFIG", "SET", "dir", "/proc"]);
    saved("err");
    assert_eq!(load(&server, 1000, 70), 0);
    assert_same(&server.picture(), &before);
    server.cmd(&args![
        "CONFIG",
        "SET",
        "dir",
        server.dir().path().to_str().unwrap()
    ]);
    saved("ok");
    assert_eq!(load(&server, 1000, 70), 70);
    agree(&server);
}
