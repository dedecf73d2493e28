//! A reading without a time of its own has that of its entry's id, which is known without a look into the stream as long as
//! nothing can have raised the stream's last id beyond the clock. Whatever raises it, however it does, is noticed.

use anomaly_tests::{
    Args, Builder, Server, args, c_module, call, call_many, error, field, int, list, text,
    wait_until,
};

fn watching(builder: Builder) -> Server {
    let server = builder.start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "1000"]);
    server.cmd(&["ANOMALY.WATCH", "SET", "raw*"]);
    server
}

fn ms(id: &str) -> i64 {
    id.split('-').next().unwrap().parse().unwrap()
}

/// Adds a reading of a device of its own, and sees that it has the time of its entry's id, which is returned.
#[track_caller]
fn add(server: &Server, stream: &str, what: &str) -> i64 {
    let device = format!("{}:{what}", int(&server.cmd(&["INCR", "devices"])));
    let mut connection = server.conn();
    let id = text(&call(
        &mut connection,
        &["XADD", stream, "*", "id", &device, "t", "1"],
    ));
    let info = server.cmd(&["ANOMALY.INFO", &format!("sensor:{device}:t")]);
    assert_eq!(int(&field(&info, "last")), ms(&id), "{what}");
    ms(&id)
}

fn looks(server: &Server) -> u32 {
    server.info("stats")["keyspace_hits"].parse().unwrap()
}

/// How often streams are looked into while that many entries come.
fn looks_for(server: &Server, entries: usize) -> u32 {
    let before = looks(server);
    let mut connection = server.conn();
    for n in 0..entries {
        let value = n.to_string();
        call(
            &mut connection,
            &["XADD", "raw:looks", "*", "id", "d", "t", &value],
        );
    }
    looks(server) - before
}

fn ahead(server: &Server) -> i64 {
    let time = list(&server.cmd(&["TIME"]));
    int(&time[0]) * 1000 + 300_000
}

/// Each leaves a stream `raw:…` with that last id, in the future.
fn ways(stream: &str, id: &str) -> Vec<(&'static str, Vec<Args>)> {
    let elsewhere = args!["XADD", "other", id, "f", "1"];
    vec![
        (
            "XADD",
            vec![args!["XADD", stream, id, "id", "future", "t", "1"]],
        ),
        (
            "XADD of a time of its own",
            vec![args!["XADD", stream, id, "id", "f", "t", "1", "ts", "5"]],
        ),
        (
            "XADD of a bad entry",
            vec![args!["XADD", stream, id, "nothing", "x"]],
        ),
        (
            "XADD trimmed away",
            vec![args!["XADD", stream, "MAXLEN", 0, id, "id", "f", "t", "1"]],
        ),
        (
            "MULTI",
            vec![
                args!["MULTI"],
                args!["XADD", stream, id, "id", "future", "t", "1"],
                args!["XDEL", stream, id],
                args!["EXEC"],
            ],
        ),
        (
            "EVAL",
            vec![args![
                "EVAL",
                "redis.call('XADD', KEYS[1], ARGV[1], 'id', 'future', 't', 1) redis.call('XTRIM', KEYS[1], 'MAXLEN', 0)",
                1,
                stream,
                id
            ]],
        ),
        ("XSETID", vec![args!["XSETID", stream, id]]),
        (
            "RENAME",
            vec![elsewhere.clone(), args!["RENAME", "other", stream]],
        ),
        (
            "RENAMENX",
            vec![
                elsewhere.clone(),
                args!["DEL", stream],
                args!["RENAMENX", "other", stream],
            ],
        ),
        (
            "COPY",
            vec![
                elsewhere.clone(),
                args!["COPY", "other", stream, "REPLACE"],
                args!["DEL", "other"],
            ],
        ),
        (
            "MOVE",
            vec![
                args!["DEL", stream],
                args!["SELECT", 1],
                args!["XADD", stream, id, "id", "elsewhere", "t", "1"],
                args!["MOVE", stream, 0],
                args!["SELECT", 0],
            ],
        ),
        (
            "SWAPDB",
            vec![
                args!["SELECT", 1],
                args!["XADD", stream, id, "nothing", "x"],
                args!["SELECT", 0],
                args!["XADD", stream, "*", "id", "before", "t", "1"],
                args!["XADD", stream, "*", "id", "before", "t", "1"],
                args!["SWAPDB", 0, 1],
            ],
        ),
        (
            "another database",
            vec![
                args!["XADD", stream, id, "id", "future", "t", "1"],
                args!["SELECT", 1],
                args!["XADD", stream, "*", "id", "elsewhere", "t", "1"],
                args!["XADD", stream, "*", "id", "elsewhere", "t", "1"],
                args!["SELECT", 0],
            ],
        ),
        (
            "DEBUG RELOAD",
            vec![
                elsewhere.clone(),
                args!["RENAME", "other", stream],
                args!["SAVE"],
                args!["DEL", stream],
                args!["XADD", stream, "*", "id", "lost", "t", "1"],
                args!["DEBUG", "RELOAD", "NOSAVE"],
            ],
        ),
        (
            "a watch that comes and goes",
            vec![
                args!["ANOMALY.WATCH", "DEL", "raw*"],
                args!["XADD", stream, id, "id", "unwatched", "t", "1"],
                args!["ANOMALY.WATCH", "SET", "raw*"],
            ],
        ),
    ]
}

#[test]
fn a_reading_has_the_time_of_its_id_whatever_has_raised_the_last_one() {
    let server = watching(Server::builder());
    let id = format!("{}-3", ahead(&server));
    let ways_of = |n: usize| ways(&format!("raw:{n}"), &id);
    for n in 0..ways_of(0).len() {
        let (what, commands) = ways_of(n).swap_remove(n);
        let stream = format!("raw:{n}");
        for _ in 0..3 {
            assert!(add(&server, &stream, what) < ms(&id));
        }
        for (reply, command) in call_many(&mut server.conn(), &commands)
            .iter()
            .zip(&commands)
        {
            assert_eq!(error(reply), None, "{what}: {command:?}");
        }
        for _ in 0..3 {
            assert_eq!(add(&server, &stream, what), ms(&id), "{what} raises it");
        }
        server.cmd(&["DEL", &stream]);
        for _ in 0..3 {
            assert!(add(&server, &stream, what) < ms(&id), "{what}");
        }
    }
}

#[test]
fn a_restored_stream_brings_its_last_id() {
    let server = watching(Server::builder());
    let id = format!("{}-3", ahead(&server));
    server.cmd(&["XADD", "other", &id, "f", "1"]);
    let dump = anomaly_tests::bytes(&server.cmd(&["DUMP", "other"]));
    add(&server, "raw", "before");
    add(&server, "raw", "before");
    let restore: [&[u8]; 5] = [b"RESTORE", b"raw", b"0", &dump, b"REPLACE"];
    server.cmd(&restore);
    assert_eq!(add(&server, "raw", "after"), ms(&id));
}

#[test]
fn a_promoted_replica_does_not_go_by_what_it_knew_as_a_master() {
    let master = watching(Server::builder());
    let server = watching(Server::builder());
    let id = format!("{}-3", ahead(&server));
    add(&server, "raw", "before");
    add(&server, "raw", "before");
    master.cmd(&["XADD", "raw", &id, "id", "future", "t", "1"]);
    server.cmd(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    wait_until("the replica has joined", || {
        server.info("replication")["master_link_status"] == "up"
    });
    server.cmd(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(add(&server, "raw", "after"), ms(&id));
    assert_eq!(add(&server, "raw", "after"), ms(&id));
}

#[test]
fn streams_are_not_looked_into_where_the_id_is_known() {
    let server = watching(Server::builder().config("anomaly.archive off"));
    let info = server.info("server");
    let (version, known) = match info.get("valkey_version") {
        Some(version) => (version, version.starts_with("8.")),
        None => {
            let version = &info["redis_version"];
            let known = ["7.", "8.0."]
                .iter()
                .any(|known| version.starts_with(known));
            (version, known)
        }
    };
    looks_for(&server, 2);
    // As monitors do: it loads none.
    server.cmd(&["MODULE", "LIST"]);
    assert_eq!(
        looks_for(&server, 20),
        if known { 0 } else { 20 },
        "{version}"
    );
}

/// A module that adds to streams behind everybody's back.
#[test]
fn where_another_module_may_add_in_silence_ids_are_read() {
    for at_run_time in [false, true] {
        let builder = Server::builder().config("anomaly.archive off");
        let library = c_module("tests/last_ids/silent.c", builder.path());
        let server = if at_run_time {
            watching(builder)
        } else {
            watching(builder.config(format!("loadmodule {library}")))
        };
        add(&server, "raw", "before");
        add(&server, "raw", "before");
        if at_run_time {
            server.cmd(&["MODULE", "LOAD", &library]);
        }
        let future = ahead(&server);
        for _ in 0..2 {
            add(&server, "raw", "with another module");
        }
        server.cmd(&["silent.add", "raw", &future.to_string()]);
        assert_eq!(add(&server, "raw", "after"), future, "{at_run_time}");
        assert_eq!(looks_for(&server, 10), 10, "{at_run_time}");
    }
}

#[test]
fn under_traffic_every_reading_has_the_time_of_its_id() {
    let server = watching(Server::builder());
    let entries = std::thread::scope(|threads| {
        let producers: Vec<_> = (0..4)
            .map(|producer| {
                let server = &server;
                threads.spawn(move || {
                    let mut connection = server.conn();
                    let mut ids = Vec::new();
                    for round in 0..40 {
                        let commands: Vec<_> = (0..25)
                            .map(|n| {
                                let (stream, device) =
                                    (format!("raw:{}", n % 2), format!("{producer}:{round}:{n}"));
                                args!["XADD", stream, "MAXLEN", "~", 50, "*", "id", device, "t", n]
                            })
                            .collect();
                        for (n, id) in call_many(&mut connection, &commands).iter().enumerate() {
                            ids.push((format!("sensor:{producer}:{round}:{n}:t"), ms(&text(id))));
                        }
                    }
                    ids
                })
            })
            .collect();
        producers
            .into_iter()
            .flat_map(|producer| producer.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(entries.len(), 4000);
    let infos: Vec<_> = entries
        .iter()
        .map(|(sensor, _)| args!["ANOMALY.INFO", sensor])
        .collect();
    for (info, (sensor, at)) in call_many(&mut server.conn(), &infos).iter().zip(entries) {
        assert_eq!(int(&field(info, "last")), at, "{sensor}");
    }
}
