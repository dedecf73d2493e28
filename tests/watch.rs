//! ANOMALY.WATCH: what is set is what is told, everywhere and after everything, and the most specific watch reads a stream.

use anomaly_tests::{
    Builder, Server, Stop, args, assert_same, bytes, call, int, is_nil, list, pairs, text, try_call,
};
use redis::Value;

fn watch(server: &Server, words: &[&str]) {
    let reply = server.cmd(&[&["ANOMALY.WATCH", "SET"], words].concat());
    assert_eq!(reply, Value::Okay);
}

/// What a watch sets, as words.
fn told(map: &Value) -> Vec<String> {
    let mut words = Vec::new();
    for (name, value) in pairs(map) {
        words.push(name);
        match &value {
            Value::Array(_) => words.extend(list(&value).iter().map(text)),
            one => words.push(text(one)),
        }
    }
    words
}

fn get(server: &Server, pattern: &str) -> Vec<String> {
    told(&server.cmd(&["ANOMALY.WATCH", "GET", pattern]))
}

fn patterns(server: &Server) -> Vec<String> {
    let rows = list(&server.cmd(&["ANOMALY.WATCH", "LIST"]));
    let shown = |row| bytes(&list(row)[0]).escape_ascii().to_string();
    rows.iter().map(shown).collect()
}

fn add(server: &Server, stream: &str, fields: &[&str]) {
    server.cmd(&[&["XADD", stream, "*"], fields].concat());
}

fn exists(server: &Server, key: &str) -> bool {
    int(&server.cmd(&["EXISTS", key])) == 1
}

#[test]
fn a_watch_is_told_as_it_was_set() {
    let server = Server::start();
    watch(&server, &["plain"]);
    assert!(get(&server, "plain").is_empty());
    watch(
        &server,
        &[
            "named",
            "value",
            "v",
            "Metric",
            "m",
            "key",
            "$stream:$$",
            "json",
            "j",
            "TIME",
            "t",
            "device",
            "d",
        ],
    );
    let all = [
        "device",
        "d",
        "time",
        "t",
        "metric",
        "m",
        "value",
        "v",
        "json",
        "j",
        "key",
        "$stream:$$",
    ];
    assert_eq!(get(&server, "named"), all);
    watch(&server, &["listed", "VALUES", "3", "a", "b", "DEVICE"]);
    assert_eq!(get(&server, "listed"), ["values", "a", "b", "DEVICE"]);
    let mut resp3 = server.resp3();
    let map = call(&mut resp3, &["ANOMALY.WATCH", "GET", "named"]);
    assert!(matches!(map, Value::Map(_)), "{map:?}");
}

#[test]
fn setting_a_watch_again_replaces_it_as_a_whole() {
    let server = Server::start();
    watch(&server, &["s", "DEVICE", "d", "TIME", "t"]);
    watch(&server, &["s", "TIME", "u"]);
    assert_eq!(get(&server, "s"), ["time", "u"]);
    assert_eq!(patterns(&server), ["s"]);
}

#[test]
fn watches_are_listed_least_specific_first_and_deleted_one_by_one() {
    let server = Server::start();
    assert!(patterns(&server).is_empty());
    for pattern in ["raw:rack:1", "*", "raw:*", "raw:rack:*"] {
        watch(&server, &[pattern]);
    }
    let all = ["*", "raw:*", "raw:rack:*", "raw:rack:1"];
    assert_eq!(patterns(&server), all);
    let del = |pattern| int(&server.cmd(&["ANOMALY.WATCH", "DEL", pattern]));
    assert_eq!([del("raw:*"), del("raw:*"), del("raw")], [1, 0, 0]);
    assert!(is_nil(&server.cmd(&["ANOMALY.WATCH", "GET", "raw:*"])));
    assert_eq!(patterns(&server), ["*", "raw:rack:*", "raw:rack:1"]);
}

#[test]
fn help_shows_every_subcommand_and_option() {
    let server = Server::start();
    let lines = list(&server.cmd(&["ANOMALY.WATCH", "HELP"]));
    let lines: Vec<String> = lines.iter().map(text).collect();
    assert!(
        lines[0].starts_with("ANOMALY.WATCH <subcommand>"),
        "{}",
        lines[0]
    );
    for word in [
        "SET ", "GET ", "LIST", "DEL ", "HELP", "DEVICE ", "TIME ", "METRIC ", "VALUES ", "JSON ",
        "KEY ", "FROM ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(word)), "{word}");
    }
}

#[test]
fn a_watch_that_cannot_be_is_refused_with_the_argument_and_changes_nothing() {
    let server = Server::start();
    watch(&server, &["s", "DEVICE", "d"]);
    let long = "x".repeat(1025);
    let cases: [(&[&str], &str); 22] = [
        (
            &["DEVICE"],
            "'DEVICE' must be followed by the name of a field",
        ),
        (
            &["DEVICE", ""],
            "'DEVICE' must be followed by 1 to 1024 bytes",
        ),
        (
            &["TIME", &long],
            "'TIME' must be followed by 1 to 1024 bytes",
        ),
        (&["METRIC", "m"], "'METRIC' needs 'VALUE'"),
        (&["VALUE", "v"], "'VALUE' needs 'METRIC'"),
        (
            &["METRIC", "m", "VALUE", "v", "VALUES", "1", "a"],
            "'METRIC' excludes 'VALUES'",
        ),
        (
            &["VALUE", "v", "VALUES", "1", "a"],
            "'VALUE' excludes 'VALUES'",
        ),
        (&["VALUES"], "'VALUES' must be followed by"),
        (&["VALUES", "0"], "'VALUES' must be followed by"),
        (&["VALUES", "-1", "a"], "'VALUES' must be followed by"),
        (&["VALUES", "1001", "a"], "'VALUES' must be followed by"),
        (&["VALUES", "2", "a"], "'VALUES' must be followed by"),
        (
            &["VALUES", "99999999999999999999", "a"],
            "'VALUES' must be followed by",
        ),
        (&["VALUES", "2", "a", "a"], "'a' must not be given twice"),
        (
            &["JSON", "a", "json", "b"],
            "'json' must not be given twice",
        ),
        (&["KEY", ""], "'KEY' must be followed by 1 to 1024 bytes"),
        (&["KEY", "$devise"], "unknown variable '$devise'"),
        (&["KEY", "$"], "unknown variable '$'"),
        (&["FROM"], "'FROM' must be followed by the id of an entry"),
        (
            &["FROM", "yesterday"],
            "'FROM' must be followed by the id of an entry",
        ),
        (
            &["FROM", "0", "FROM", "0"],
            "'FROM' must not be given twice",
        ),
        (
            &["COLOUR", "red"],
            "unexpected argument 'COLOUR': expected DEVICE field",
        ),
    ];
    for (options, why) in cases {
        let error = server.refuses(&[&["ANOMALY.WATCH", "SET", "s"], options].concat());
        assert!(
            error.starts_with("ERR ") && error.contains(why),
            "{options:?}: {error}"
        );
    }
    for pattern in ["", &long] {
        let error = server.refuses(&["ANOMALY.WATCH", "SET", pattern]);
        assert!(
            error.starts_with("ERR pattern must be 1 to 1024 bytes"),
            "{error}"
        );
    }
    for short in [
        &["ANOMALY.WATCH"][..],
        &["ANOMALY.WATCH", "SET"],
        &["ANOMALY.WATCH", "GET"],
        &["ANOMALY.WATCH", "DEL", "a", "b"],
        &["ANOMALY.WATCH", "LIST", "x"],
        &["ANOMALY.WATCH", "NO"],
    ] {
        assert!(server.refuses(short).starts_with("ERR "), "{short:?}");
    }
    assert_eq!(patterns(&server), ["s"]);
    assert_eq!(get(&server, "s"), ["device", "d"]);
}

#[test]
fn the_most_specific_pattern_reads_a_stream_alone() {
    let server = Server::start();
    watch(&server, &["*", "KEY", "any:$metric"]);
    watch(&server, &["raw:*", "KEY", "raw:$metric"]);
    watch(&server, &["raw:1", "KEY", "one:$metric"]);
    for (stream, metric) in [("other", "a"), ("raw:2", "b"), ("raw:1", "c")] {
        add(&server, stream, &[metric, "5"]);
    }
    let sensors = ["any:a", "raw:b", "one:c"];
    assert!(sensors.iter().all(|sensor| exists(&server, sensor)));
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "3");
    server.cmd(&["ANOMALY.WATCH", "DEL", "raw:1"]);
    add(&server, "raw:1", &["d", "5"]);
    assert!(exists(&server, "raw:d"), "the next one takes over");
    server.cmd(&["ANOMALY.WATCH", "DEL", "raw:*"]);
    server.cmd(&["ANOMALY.WATCH", "DEL", "*"]);
    add(&server, "raw:1", &["e", "5"]);
    assert_eq!(server.info("anomaly")["anomaly_sensors"], "4");
}

#[test]
fn watches_are_one_for_all_databases_and_sensors_stay_in_their_streams() {
    let server = Server::start();
    let mut second = server.conn();
    call(&mut second, &["SELECT", "2"]);
    call(
        &mut second,
        &["ANOMALY.WATCH", "SET", "s", "KEY", "$metric"],
    );
    assert_eq!(patterns(&server), ["s"]);
    add(&server, "s", &["a", "5"]);
    call(&mut second, &["XADD", "s", "*", "b", "5"]);
    assert!(exists(&server, "a") && !exists(&server, "b"));
    assert_eq!(int(&call(&mut second, &["EXISTS", "a", "b", "ts:{b}"])), 2);
    let script = "redis.call('SELECT', 1) redis.call('XADD', 's', '*', 'c', 5)";
    server.cmd(&["EVAL", script, "0"]);
    call(&mut second, &["SELECT", "1"]);
    assert_eq!(int(&call(&mut second, &["EXISTS", "c", "ts:{c}"])), 2);
    server.cmd(&["FLUSHALL"]);
    assert_eq!(patterns(&server), ["s"], "as functions do, watches survive");
}

/// Watches of every kind, also such as are no text.
fn set_many(server: &Server) {
    watch(server, &["raw:*"]);
    watch(
        server,
        &[
            "pair", "METRIC", "m", "VALUE", "v", "DEVICE", "d", "TIME", "t",
        ],
    );
    watch(server, &["doc", "JSON", "j", "KEY", "$stream:$$:$metric"]);
    let odd: [&[u8]; 8] = [
        b"ANOMALY.WATCH",
        b"SET",
        b"odd\xff\r\n",
        b"VALUES",
        b"2",
        b"a\xfe",
        b"b",
        b"DEVICE",
    ];
    server.cmd(&[&odd[..], &[b"\xc3\x28"]].concat());
}

/// What `set_many` sets is there, and works.
fn still_watching(server: &Server) {
    let list = server.cmd(&["ANOMALY.WATCH", "LIST"]);
    let twin = Server::builder().without_timeseries().start();
    set_many(&twin);
    assert_eq!(list, twin.cmd(&["ANOMALY.WATCH", "LIST"]));
    add(server, "doc", &["j", r#"{"x":5}"#]);
    assert!(exists(server, "doc:$:x"));
}

#[test]
fn watches_are_exported_and_imported() {
    let (one, two) = (Server::start(), Server::start());
    set_many(&one);
    let document = text(&one.cmd(&["ANOMALY.CONFIG", "EXPORT"]));
    watch(&two, &["mine"]);
    two.cmd(&["ANOMALY.CONFIG", "IMPORT", &document]);
    assert_eq!(patterns(&two).len(), 5);
    two.cmd(&["ANOMALY.CONFIG", "IMPORT", &document, "REPLACE"]);
    assert_eq!(text(&two.cmd(&["ANOMALY.CONFIG", "EXPORT"])), document);
    still_watching(&two);
}

#[test]
fn a_document_with_one_bad_watch_is_refused_as_a_whole() {
    let server = Server::start();
    watch(&server, &["s"]);
    for bad in [
        r#"{"pattern":"b","metric":"m"}"#,
        r#"{"pattern":"b","key":"$x"}"#,
        r#"{"pattern":"b","values":[]}"#,
        r#"{"pattern":"b","values":"a"}"#,
        r#"{"pattern":"b","colour":"red"}"#,
        r#"{"pattern":""}"#,
        r#"{"device":"d"}"#,
        "7",
    ] {
        let document = format!(
            r#"{{"version":1,"rules":[{{"pattern":"r","settings":{{"max":1}}}}],"watches":[{{"pattern":"a"}},{bad}]}}"#
        );
        let error = server.refuses(&["ANOMALY.CONFIG", "IMPORT", &document, "REPLACE"]);
        assert!(
            error.starts_with("ERR document cannot be imported: "),
            "{bad}: {error}"
        );
    }
    assert_eq!(patterns(&server), ["s"]);
    assert!(is_nil(&server.cmd(&["ANOMALY.CONFIG", "GET", "r"])));
}

fn survives(builder: Builder, rewrite: bool, how: Stop) {
    let mut server = builder.start();
    set_many(&server);
    if rewrite {
        server.cmd(&["BGREWRITEAOF"]);
        server.wait_until("the file is rewritten", || {
            let info = server.info("persistence");
            info["aof_rewrite_in_progress"] == "0" && info["aof_rewrite_scheduled"] == "0"
        });
        assert_eq!(
            server.info("persistence")["aof_last_bgrewrite_status"],
            "ok"
        );
    }
    let before = server.picture();
    server.restart(how);
    assert_same(&server.picture(), &before);
    still_watching(&server);
}

#[test]
fn watches_are_in_the_rdb_file() {
    survives(Server::builder(), false, Stop::Save);
}

#[test]
fn watches_are_in_the_append_only_file_rewritten_or_not() {
    survives(Server::builder().aof(), false, Stop::Kill9);
    survives(Server::builder().aof(), true, Stop::Kill9);
    let plain = || Server::builder().aof().config("aof-use-rdb-preamble no");
    survives(plain(), false, Stop::Kill9);
    survives(plain(), true, Stop::Kill9);
}

#[test]
fn replicas_have_the_masters_watches_and_no_others() {
    let (master, replica) = (Server::start(), Server::start());
    watch(&replica, &["stale"]);
    set_many(&master);
    replica.cmd(&args!["REPLICAOF", "127.0.0.1", master.port()]);
    master.replica_in_sync(&replica);
    assert_same(&replica.picture(), &master.picture());
    watch(&master, &["late"]);
    master.cmd(&["ANOMALY.WATCH", "DEL", "pair"]);
    master.replica_in_sync(&replica);
    assert_eq!(patterns(&replica), patterns(&master));
    assert!(
        replica
            .refuses(&["ANOMALY.WATCH", "SET", "x"])
            .starts_with("READONLY ")
    );
    assert!(
        replica
            .refuses(&["ANOMALY.WATCH", "DEL", "late"])
            .starts_with("READONLY ")
    );
    assert!(patterns(&replica).contains(&"late".to_owned()));
}

#[test]
fn watches_need_a_right_and_a_producer_needs_none_of_ours() {
    let server = Server::start();
    watch(&server, &["raw"]);
    let user = |name: &str, rights: &[&str]| {
        let base = ["ACL", "SETUSER", name, "on", "nopass", "+auth"];
        server.cmd(&[&base[..], rights].concat());
        let mut user = server.conn();
        call(&mut user, &["AUTH", name, "any"]);
        user
    };
    let mut producer = user("producer", &["+xadd", "~raw"]);
    call(&mut producer, &["XADD", "raw", "*", "id", "d", "t", "5"]);
    assert!(exists(&server, "sensor:d:t") && exists(&server, "ts:{sensor:d:t}"));
    for words in [
        &["ANOMALY.WATCH", "LIST"][..],
        &["ANOMALY.WATCH", "SET", "*"],
    ] {
        let error = try_call(&mut producer, words).unwrap_err();
        assert!(error.starts_with("NOPERM "), "{error}");
    }
    let mut reader = user("reader", &["+@read"]);
    call(&mut reader, &["ANOMALY.WATCH", "LIST"]);
    call(&mut reader, &["ANOMALY.WATCH", "GET", "raw"]);
    for words in [
        &["ANOMALY.WATCH", "DEL", "raw"][..],
        &["ANOMALY.WATCH", "SET", "*"],
    ] {
        let error = try_call(&mut reader, words).unwrap_err();
        assert!(error.starts_with("NOPERM "), "{error}");
    }
    let mut ours = user("ours", &["+@anomaly"]);
    call(&mut ours, &["ANOMALY.WATCH", "SET", "other"]);
    for words in [
        &["ANOMALY._BACKLOG", "DONE", "raw"][..],
        &["XADD", "raw", "*", "a", "1"],
    ] {
        let error = try_call(&mut ours, words).unwrap_err();
        assert!(error.starts_with("NOPERM "), "{error}");
    }
    assert_eq!(
        patterns(&server),
        ["raw", "other"].map(String::from).to_vec()
    );
}
