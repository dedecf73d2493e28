//! However clients and replicas are connected, with or without TimeSeries, the same happens: over TLS, with I/O threads, in RESP2
//! and RESP3.

use std::process::Command;

use anomaly_tests::{
    Args, Builder, Certificates, Server, args, assert_same, call_many, error, field, free_port,
    list, redis_cli, text, timeseries,
};

/// Commands by `redis-cli --tls`, one call for each: their replies are told apart by that.
fn over_tls(certificates: &Certificates, port: u16, resp: &str, commands: &[&str]) -> Vec<String> {
    commands
        .iter()
        .map(|command| {
            let output = Command::new(redis_cli())
                .args([
                    "--tls",
                    "-h",
                    "127.0.0.1",
                    resp,
                    "-p",
                    &port.to_string(),
                    "--cacert",
                ])
                .arg(certificates.ca())
                .args(command.split(' '))
                .output()
                .expect("redis-cli starts");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && said.is_empty(),
                "{command}: {said}"
            );
            String::from_utf8(output.stdout)
                .expect("UTF-8")
                .trim()
                .to_owned()
        })
        .collect()
}

#[test]
fn over_tls_readings_are_judged_watched_archived_and_replicated() {
    let certificates = Certificates::new();
    let [first, second] = [free_port(), free_port()];
    let tls = |port| Server::builder().tls(port, &certificates.ca(), &certificates.get("server"));
    let master = tls(first).start();
    let replica = tls(second)
        .config(format!("replicaof 127.0.0.1 {first}"))
        .start();
    master.replica_in_sync(&replica);
    for (resp, at) in [("-2", 1000), ("-3", 5000)] {
        let replies = over_tls(
            &certificates,
            first,
            resp,
            &[
                "ANOMALY.CONFIG SET * max 10 clear 1",
                "ANOMALY.WATCH SET raw",
                &format!("ANOMALY.ADD s {at} 5"),
                &format!("ANOMALY.ADD s {} 50", at + 1000),
                &format!("ANOMALY.MADD s {} 5 t {at} 50", at + 2000),
                &format!("XADD raw * id d temperature 99 ts {at}"),
                &format!("ANOMALY.ADD t {} 5", at + 1000),
                &format!("ANOMALY.BACKTEST s - + max {}", 20),
            ],
        );
        assert_eq!(replies[..2], ["OK", "OK"]);
        assert_eq!(replies[2..4], ["normal", "warning"]);
        assert!(
            replies[4].contains("normal") && replies[4].contains("warning"),
            "{replies:?}"
        );
        assert_eq!(replies[6], "normal");
        assert!(replies[7].contains("episodes"), "{}", replies[7]);
    }
    let info = master.info("anomaly");
    assert_eq!(
        (&info["anomaly_readings"][..], &info["anomaly_archived"][..]),
        ("12", "12")
    );
    assert_eq!(master.stream("anomaly:alerts").len(), 9);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
    assert!(master.info("replication")["connected_slaves"] == "1");
    let sessions = text(&master.cmd(&["CLIENT", "LIST", "TYPE", "replica"]));
    assert!(
        sessions.contains(&format!("laddr=127.0.0.1:{first}")),
        "the replica came over TLS: {sessions}"
    );
}

/// Commands of several clients at once, in RESP2 and RESP3, each of a sensor of its own.
fn from_many_clients(server: &Server) {
    let clients: i64 = 8;
    std::thread::scope(|scope| {
        for client in 0..clients {
            scope.spawn(move || {
                let mut connection = if client % 2 == 0 {
                    server.conn()
                } else {
                    server.resp3()
                };
                for round in 0..20i64 {
                    let all: Vec<Args> = (0..100)
                        .map(|n| {
                            let (at, value) = (
                                (round * 100 + n) * 1000,
                                if n % 10 == 0 { 50 } else { n % 7 },
                            );
                            match n % 3 {
                                0 => args![
                                    "XADD",
                                    "raw",
                                    "*",
                                    "id",
                                    client,
                                    "t",
                                    value,
                                    "ts",
                                    at + 1
                                ],
                                1 => args![
                                    "ANOMALY.MADD",
                                    format!("m:{client}"),
                                    at,
                                    value,
                                    format!("n:{client}"),
                                    at,
                                    value
                                ],
                                _ => args![
                                    "ANOMALY.ADD",
                                    format!("s:{client}"),
                                    at,
                                    value,
                                    "EXPLAIN"
                                ],
                            }
                        })
                        .collect();
                    for (reply, command) in call_many(&mut connection, &all).iter().zip(&all) {
                        assert_eq!(error(reply), None, "{command:?}");
                    }
                }
            });
        }
    });
    let readings = |key: String| text(&field(&server.cmd(&["ANOMALY.INFO", &key]), "readings"));
    for client in 0..clients {
        assert_eq!(readings(format!("s:{client}")), (20 * 33).to_string());
        assert_eq!(readings(format!("m:{client}")), (20 * 33).to_string());
        assert_eq!(
            readings(format!("sensor:{client}:t")),
            (20 * 34).to_string()
        );
    }
}

fn with_io_threads(builder: Builder) -> Server {
    let server = builder.config("io-threads 4").start();
    assert_eq!(
        text(&list(&server.cmd(&["CONFIG", "GET", "io-threads"]))[1]),
        "4"
    );
    server
}

fn rules(server: &Server) {
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "10", "clear", "1"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw"]);
}

#[test]
fn with_io_threads_many_clients_of_both_protocols_lose_nothing() {
    let master = with_io_threads(Server::builder());
    let replica = with_io_threads(Server::builder().replica_of(&master));
    master.replica_in_sync(&replica);
    rules(&master);
    from_many_clients(&master);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
}

#[test]
fn without_timeseries_the_same_is_judged_as_with_it() {
    let with = timeseries().is_some();
    assert!(with, "this test compares with RedisTimeSeries");
    let [one, other] = [Server::builder(), Server::builder().without_timeseries()].map(|builder| {
        let server = builder.start();
        rules(&server);
        server
    });
    let replica = Server::builder()
        .without_timeseries()
        .replica_of(&other)
        .start();
    other.replica_in_sync(&replica);
    let mut replies = Vec::new();
    for server in [&one, &other] {
        let all: Vec<Args> = (0..200)
            .map(|n| {
                args![
                    "ANOMALY.ADD",
                    format!("judged:{}", n % 5),
                    n * 1000,
                    if n % 11 == 0 { 50 } else { n % 7 },
                    "EXPLAIN"
                ]
            })
            .collect();
        replies.push(call_many(&mut server.conn(), &all));
        from_many_clients(server);
    }
    assert_eq!(replies[0], replies[1]);
    for key in ["judged:1", "m:3", "sensor:5:t"] {
        assert_eq!(one.digest(key), other.digest(key), "{key}");
    }
    let told =
        |server: &Server, name: &str| server.info("anomaly")[&format!("anomaly_{name}")].clone();
    assert_eq!(told(&other, "archive"), "missing");
    assert_eq!(
        (told(&other, "archived"), told(&other, "archive_failures")),
        ("0".into(), "0".into())
    );
    for name in [
        "readings",
        "alerts_firing",
        "alerts_resolved",
        "sensors",
        "open_episodes",
    ] {
        assert_eq!(told(&one, name), told(&other, name), "{name}");
    }
    other.replica_in_sync(&replica);
    assert_same(&replica.picture(), &other.picture());
}
