//! What the server tells of our commands: names, arity, flags, keys, categories and documentation.

use anomaly_tests::{Server, field, int, list, pairs, text};
use redis::Value;

/// Name, arity, flags, first key, last key, step, categories: as COMMAND INFO tells them.
type Row = (&'static str, i64, &'static str, [i64; 3], &'static str);

const COMMANDS: [Row; 22] = [
    (
        "anomaly.add",
        -4,
        "denyoom fast module write",
        [1, 1, 1],
        "@anomaly @fast @write",
    ),
    (
        "anomaly.madd",
        -4,
        "denyoom module write",
        [1, -1, 3],
        "@anomaly @slow @write",
    ),
    (
        "anomaly.info",
        2,
        "module readonly",
        [1, 1, 1],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.alerts",
        -1,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.backtest",
        -4,
        "blocking module movablekeys no_mandatory_keys readonly",
        [1, 1, 1],
        "@anomaly @blocking @read @slow",
    ),
    (
        "anomaly.ack",
        -2,
        "denyoom fast module write",
        [1, 1, 1],
        "@anomaly @fast @write",
    ),
    (
        "anomaly.reset",
        2,
        "fast module write",
        [1, 1, 1],
        "@anomaly @fast @write",
    ),
    ("anomaly.config", -2, "module", [0, 0, 0], "@anomaly @slow"),
    (
        "anomaly.config|set",
        -5,
        "denyoom module write",
        [0, 0, 0],
        "@admin @anomaly @dangerous @slow",
    ),
    (
        "anomaly.config|get",
        3,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.config|resolve",
        3,
        "module readonly",
        [2, 2, 1],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.config|list",
        2,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.config|del",
        3,
        "module write",
        [0, 0, 0],
        "@admin @anomaly @dangerous @slow",
    ),
    (
        "anomaly.config|export",
        2,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.config|import",
        -3,
        "denyoom module write",
        [0, 0, 0],
        "@admin @anomaly @dangerous @slow",
    ),
    (
        "anomaly.config|help",
        2,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    ("anomaly.watch", -2, "module", [0, 0, 0], "@anomaly @slow"),
    (
        "anomaly.watch|set",
        -3,
        "denyoom module write",
        [0, 0, 0],
        "@admin @anomaly @dangerous @slow",
    ),
    (
        "anomaly.watch|get",
        3,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.watch|list",
        2,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
    (
        "anomaly.watch|del",
        3,
        "module write",
        [0, 0, 0],
        "@admin @anomaly @dangerous @slow",
    ),
    (
        "anomaly.watch|help",
        2,
        "module readonly",
        [0, 0, 0],
        "@anomaly @read @slow",
    ),
];

fn words(reply: &Value) -> String {
    let mut words: Vec<String> = list(reply).iter().map(text).collect();
    words.sort();
    words.join(" ")
}

#[test]
fn the_server_knows_every_command_as_it_is_documented() {
    let server = Server::start();
    for (name, arity, flags, keys, categories) in COMMANDS {
        let info = list(&list(&server.cmd(&["COMMAND", "INFO", name]))[0]);
        assert_eq!((text(&info[0]), int(&info[1])), (name.to_owned(), arity));
        assert_eq!(words(&info[2]), flags, "{name}");
        assert_eq!([3, 4, 5].map(|i| int(&info[i])), keys, "{name}");
        assert_eq!(words(&info[6]), categories, "{name}");
    }
}

#[test]
fn there_are_no_other_commands_for_clients() {
    let server = Server::start();
    let all = list(&server.cmd(&["COMMAND", "LIST", "FILTERBY", "MODULE", "anomaly"]));
    let mut names: Vec<String> = all
        .iter()
        .map(text)
        .filter(|name| !name.contains("._"))
        .collect();
    names.sort();
    let mut known: Vec<&str> = COMMANDS.iter().map(|row| row.0).collect();
    known.retain(|name| names.iter().any(|n| n.contains('|')) || !name.contains('|'));
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn every_command_is_documented() {
    let server = Server::start();
    for (name, ..) in COMMANDS {
        let docs = server.cmd(&["COMMAND", "DOCS", name]);
        let (told, doc) = pairs(&docs).remove(0);
        assert_eq!(told, name);
        for field_name in ["summary", "since", "complexity"] {
            assert!(
                !text(&field(&doc, field_name)).is_empty(),
                "{name} {field_name}"
            );
        }
        assert_eq!(text(&field(&doc, "since")), "0.1.0");
        assert_eq!(text(&field(&doc, "group")), "module");
        if text(&field(&doc, "complexity")).contains('N') {
            assert!(
                text(&field(&doc, "complexity")).contains("with "),
                "{name} says what N is"
            );
        }
    }
}

#[test]
fn the_documentation_has_the_arguments() {
    let server = Server::start();
    let arguments = |name: &str| {
        let docs = server.cmd(&["COMMAND", "DOCS", name]);
        let all = list(&field(&pairs(&docs)[0].1, "arguments"));
        all.iter()
            .map(|argument| {
                format!(
                    "{}:{}",
                    text(&field(argument, "name")),
                    text(&field(argument, "type"))
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        arguments("anomaly.backtest").join(" "),
        "what:oneof from:string to:string diff:pure-token setting:block"
    );
    let add = [
        "key:key",
        "timestamp-or-now:oneof",
        "value:double",
        "explain:pure-token",
    ];
    assert_eq!(arguments("anomaly.add"), add);
    assert_eq!(arguments("anomaly.madd"), ["reading:block"]);
    let watch = "stream-pattern:pattern device:string time:string values:oneof json:string template:string id:string";
    assert_eq!(arguments("anomaly.watch|set").join(" "), watch);
    assert_eq!(
        arguments("anomaly.config|set"),
        ["pattern:pattern", "setting:block"]
    );
    assert_eq!(
        arguments("anomaly.ack"),
        ["key:key", "name:string", "text:string"]
    );
    assert_eq!(
        arguments("anomaly.config|import"),
        ["json:string", "replace:pure-token"]
    );
    assert_eq!(
        arguments("anomaly.watch|set"),
        [
            "stream-pattern:pattern",
            "device:string",
            "time:string",
            "values:oneof",
            "json:string",
            "template:string",
            "id:string"
        ]
    );
}

#[test]
fn the_server_finds_the_keys_of_a_command() {
    let server = Server::start();
    for (command, keys) in [
        (&["ANOMALY.ADD", "s", "1", "2"][..], "s"),
        (
            &["ANOMALY.MADD", "a", "1", "2", "b", "1", "2", "a", "2", "3"],
            "a b a",
        ),
        (&["ANOMALY.INFO", "s"], "s"),
        (&["ANOMALY.ACK", "s", "BY", "x"], "s"),
        (&["ANOMALY.RESET", "s"], "s"),
        (&["ANOMALY.CONFIG", "RESOLVE", "s"], "s"),
        (&["ANOMALY.BACKTEST", "s", "-", "+", "max", "5"], "s"),
        (&["ANOMALY.BACKTEST", "match", "s", "-", "+"], ""),
    ] {
        let found = list(&server.cmd(&[&["COMMAND", "GETKEYS"], command].concat()));
        assert_eq!(
            found.iter().map(text).collect::<Vec<_>>().join(" "),
            keys,
            "{command:?}"
        );
    }
    let refused = server.refuses(&["COMMAND", "GETKEYS", "ANOMALY.CONFIG", "GET", "pattern"]);
    assert!(refused.contains("no key arguments"), "{refused}");
}
