//! Traffic with everything in it that could make two servers differ.

use anomaly_tests::{Args, Server, args, call, call_many, error, int, wait_until};

/// One round; rounds with other numbers go on from it.
pub(crate) fn round(server: &Server, round: i64) {
    round_in(server, round, &[0, 1]);
    move_between_databases(server, at(round));
}

/// The same, but only in these databases.
pub(crate) fn round_in(server: &Server, round: i64, databases: &[i64]) {
    let base = at(round);
    for &db in databases {
        let mut all = vec![args!["SELECT", db]];
        all.extend(rules(round));
        all.extend(readings(base));
        all.extend(episodes(base));
        all.extend(keys(base));
        all.extend(transactions(base, db));
        all.extend(changed_rules(base));
        send(server, &all);
    }
    expiry(server, base);
}

fn at(round: i64) -> i64 {
    1_700_000_000_000 + round * 100_000_000
}

/// Only `*`: the server's clock decides, so only one server may be asked.
pub(crate) fn live(server: &Server) {
    let all: Vec<Args> = (0..60)
        .map(|i| args!["ANOMALY.MADD", "live", "*", i % 7, "live:limit", "*", i])
        .collect();
    send(server, &all);
}

fn send(server: &Server, commands: &[Args]) {
    let replies = call_many(&mut server.conn(), commands);
    for (reply, command) in replies.iter().zip(commands) {
        assert_eq!(error(reply), None, "{command:?}");
    }
}

fn add(key: &str, at: i64, value: f64) -> Args {
    args!["ANOMALY.ADD", key, at, value]
}

fn rules(round: i64) -> Vec<Args> {
    let limits = "limit:*".to_owned();
    vec![
        args![
            "ANOMALY.CONFIG",
            "SET",
            limits,
            "max",
            10,
            "critical-max",
            20,
            "for",
            2,
            "clear",
            2,
            "clear-margin",
            1,
            "cooldown",
            30_000,
            "repeat",
            20_000,
            "unit",
            "°C",
            "recent",
            5
        ],
        args![
            "ANOMALY.CONFIG",
            "SET",
            "live:limit",
            "max",
            10 + round,
            "nodata",
            3_600_000,
            "expire",
            7_200_000
        ],
        args![
            "ANOMALY.CONFIG",
            "SET",
            "stat:*",
            "mad",
            4,
            "window",
            9,
            "ewma",
            4,
            "cusum",
            6,
            "stuck",
            20_000,
            "warmup",
            8
        ],
        args![
            "ANOMALY.CONFIG",
            "SET",
            "z:*",
            "zscore",
            3,
            "window",
            20,
            "learn",
            "no",
            "rate",
            4
        ],
        args![
            "ANOMALY.CONFIG",
            "SET",
            "quiet",
            "archive",
            "no",
            "chunk-size",
            128
        ],
        args!["ANOMALY.CONFIG", "SET", b"bin\xff*".as_slice(), "max", 1],
    ]
}

fn readings(base: i64) -> Vec<Args> {
    let mut all = Vec::new();
    for i in 0..80 {
        let wave = (i as f64 / 5.0).sin() + 0.37 * (i % 3) as f64;
        let value = if i % 37 == 36 { wave + 40.0 } else { wave };
        let at = base + i * 1000;
        all.push(args![
            "ANOMALY.MADD",
            "z:1",
            at,
            value,
            "stat:1",
            at,
            value,
            "plain",
            at,
            -value,
            "quiet",
            at,
            value,
            "bad",
            at,
            "x"
        ]);
        if i % 9 == 5 {
            all.push(add("z:1", at - 2500, 3.0)); // late
            all.push(add("plain", at, -value)); // duplicate
            all.push(add("plain", at, value + 0.1)); // the same instant, another value
        }
    }
    let extremes = [1e-310, -0.0, 1.7e308, -1.7e308, 0.1 + 0.2, 1e22];
    all.extend(
        (0..)
            .zip(extremes)
            .map(|(i, x)| add("extreme", base + i * 10, x)),
    );
    // a clock that was set back
    all.extend((0..40).map(|i| add("back", base + 50_000_000 + i, i as f64)));
    all.extend((0..40).map(|i| add("back", base + i * 3, i as f64)));
    all.push(args!["ANOMALY.ADD", b"bin\xff\0 \r\n".as_slice(), base, 5]);
    all.push(args!["ANOMALY.ADD", "", base, 5]);
    all
}

/// Fires, is repeated, escalates, is acknowledged, is resolved, is reopened silently, and fires again.
fn episodes(base: i64) -> Vec<Args> {
    let mut all = Vec::new();
    for sensor in [
        "limit:1",
        "limit:2",
        "limit:reset",
        "limit:deleted",
        "limit:{tag}:renamed",
    ] {
        let values = [5, 12, 13, 14, 14, 25, 9, 8, 8, 13, 13, 8, 8, 13, 13, 13];
        all.extend(
            (0..)
                .zip(values)
                .map(|(i, x)| add(sensor, base + i * 11_000, f64::from(x))),
        );
    }
    all.push(args![
        "ANOMALY.ACK",
        "limit:2",
        "BY",
        "olga",
        "COMMENT",
        "on my way"
    ]);
    all.push(args!["ANOMALY.ACK", "limit:2"]);
    all
}

fn keys(base: i64) -> Vec<Args> {
    vec![
        args!["ANOMALY.RESET", "limit:reset"],
        args!["DEL", "limit:deleted"],
        args!["RENAME", "limit:{tag}:renamed", "z:renamed"],
        add("z:renamed", base + 200_000, 50.0),
        args!["COPY", "limit:2", "limit:copied", "REPLACE"],
        add("limit:copied", base + 200_000, 15.0),
        add("limit:copied", base + 201_000, 15.0),
        args!["EXPIRE", "limit:copied", 100_000],
        args!["UNLINK", "quiet"],
        args!["SET", "limit:reset", "text"],
        args!["DEL", "limit:reset"],
    ]
}

fn transactions(base: i64, db: i64) -> Vec<Args> {
    let script = "for i = 1, 6 do redis.call('ANOMALY.ADD', KEYS[1], ARGV[1] + i, i * 4) end \
        redis.call('ANOMALY.CONFIG', 'SET', 'scripted', 'max', '7')";
    vec![
        args!["MULTI"],
        add("limit:multi", base + db, 15.0),
        args!["ANOMALY.ADD", "limit:multi", base + 1000, 15, "EXPLAIN"],
        args!["ANOMALY.ACK", "limit:multi"],
        args!["ANOMALY.MADD", "live", "*", 5, "live", "*", 6],
        args!["DEL", "limit:multi"],
        add("limit:multi", base + 2000, 15.0),
        add("limit:multi", base + 3000, 15.0),
        args!["RENAME", "limit:multi", "limit:multi2"],
        args!["EXEC"],
        args!["EVAL", script, 1, "limit:script", base],
    ]
}

/// Rules that change between two readings, by each of the three ways.
fn changed_rules(base: i64) -> Vec<Args> {
    let document =
        r#"{"rules":[{"pattern":"plain","settings":{"zscore":2.5,"window":12,"for":2}}]}"#;
    let mut all = vec![
        args![
            "ANOMALY.CONFIG",
            "SET",
            "z:*",
            "window",
            7,
            "rate",
            "inherit"
        ],
        args!["ANOMALY.CONFIG", "DEL", "limit:*"],
        args!["ANOMALY.CONFIG", "IMPORT", document],
    ];
    for i in 0..20 {
        let at = base + 300_000 + i * 1000;
        let value = if i == 15 { 90.0 } else { (i % 4) as f64 };
        all.push(args![
            "ANOMALY.MADD",
            "z:1",
            at,
            value,
            "plain",
            at,
            value,
            "limit:1",
            at,
            value
        ]);
    }
    all.push(args!["ANOMALY.CONFIG", "SET", "limit:*", "max", 2]);
    all.push(add("limit:1", base + 400_000, 3.0));
    all
}

fn expiry(server: &Server, base: i64) {
    let mut connection = server.conn();
    call(&mut connection, &add("limit:expiring", base, 50.0));
    call(&mut connection, &args!["PEXPIRE", "limit:expiring", 1]);
    wait_until("the sensor has expired", || {
        int(&call(&mut connection, &["EXISTS", "limit:expiring"])) == 0
    });
}

fn move_between_databases(server: &Server, base: i64) {
    if server.moves_wrongly() {
        return;
    }
    send(
        server,
        &[
            add("limit:moved", base, 50.0),
            args!["MOVE", "limit:moved", 2],
            args!["SELECT", 2],
            add("limit:moved", base + 1, 51.0),
            args!["ANOMALY.RESET", "limit:moved"],
            args!["DEL", "limit:moved"],
        ],
    );
}
