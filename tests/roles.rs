//! docs/guide/access.md, row by row: the rights are taken out of the document, and each role may do what its row says and
//! nothing else of all that is tried.
//!
//! A little above 500 lines, of which a third is the table of what is tried.

use anomaly_tests::{
    Dir, Program, Server, Stop, anomaly, args, assert_same, call, checkout, list, text, try_call,
    wait_until,
};
use redis::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

/// Who, the alternatives of rights, and what the row says of them.
struct Row {
    who: String,
    rights: Vec<Vec<String>>,
    told: String,
}

fn guide() -> String {
    fs::read_to_string(checkout().join("docs/guide/access.md")).unwrap()
}

/// The text between backticks; a bar is written `\|` in a table.
fn code(text: &str) -> Vec<Vec<String>> {
    let spans = text.split('`').skip(1).step_by(2);
    spans
        .map(|span| span.replace("\\|", "|"))
        .map(|span| span.split(' ').map(String::from).collect())
        .collect()
}

fn rows() -> Vec<Row> {
    let guide = guide();
    let table = guide
        .lines()
        .skip_while(|line| !line.starts_with("| who |"));
    let rows = table.skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        Row {
            who: cells[0].trim().into(),
            rights: code(cells[1]),
            told: cells[2].into(),
        }
    })
    .collect()
}

fn row(who: &str) -> Row {
    let found = rows().into_iter().find(|row| row.who == who);
    found.unwrap_or_else(|| panic!("no row of {who}"))
}

/// Makes the user as the document does, `on` and with a password.
fn make(server: &Server, name: &str, rights: &[String]) {
    let mut set: Vec<String> = ["ACL", "SETUSER", name, "reset", "on", ">secret"]
        .map(String::from)
        .into();
    set.extend_from_slice(rights);
    server.cmd(&set);
}

fn client(server: &Server, name: &str) -> Connection {
    let mut connection = server.conn();
    call(&mut connection, &["AUTH", name, "secret"]);
    connection
}

fn url(server: &Server, name: &str) -> String {
    format!("redis://{name}:secret@127.0.0.1:{}", server.port())
}

/// What is tried, by name.
fn attempts() -> BTreeMap<&'static str, Vec<&'static str>> {
    let document = r#"{"rules":[{"pattern":"x","settings":{"max":4}}]}"#;
    let mut all: BTreeMap<&str, Vec<&str>> = [
        ("add", "ANOMALY.ADD sensor:1 * 5"),
        ("explain", "ANOMALY.ADD sensor:1 * 5 EXPLAIN"),
        ("add elsewhere", "ANOMALY.ADD other * 5"),
        ("add to a series", "ANOMALY.ADD ts:{sensor:1} * 5"),
        ("madd", "ANOMALY.MADD sensor:1 * 5"),
        ("info", "ANOMALY.INFO sensor:1"),
        ("info elsewhere", "ANOMALY.INFO other"),
        ("ack", "ANOMALY.ACK sensor:1 BY me"),
        ("ack elsewhere", "ANOMALY.ACK other"),
        ("reset", "ANOMALY.RESET sensor:1"),
        ("reset elsewhere", "ANOMALY.RESET other"),
        ("alerts", "ANOMALY.ALERTS"),
        ("alert streams", "ANOMALY.ALERTS STREAMS"),
        ("backtest", "ANOMALY.BACKTEST sensor:1 - + max 7"),
        ("config set", "ANOMALY.CONFIG SET x max 4"),
        ("config get", "ANOMALY.CONFIG GET *"),
        ("config list", "ANOMALY.CONFIG LIST"),
        ("config del", "ANOMALY.CONFIG DEL x"),
        ("config export", "ANOMALY.CONFIG EXPORT"),
        ("config resolve", "ANOMALY.CONFIG RESOLVE sensor:1"),
        ("config resolve elsewhere", "ANOMALY.CONFIG RESOLVE other"),
        ("watch set", "ANOMALY.WATCH SET x:*"),
        ("watch get", "ANOMALY.WATCH GET raw:*"),
        ("watch list", "ANOMALY.WATCH LIST"),
        ("watch del", "ANOMALY.WATCH DEL x:*"),
        ("produce", "XADD raw:1 * device_id d t 5"),
        ("produce elsewhere", "XADD rawer:1 * device_id d t 5"),
        ("forge an alert", "XADD anomaly:alerts * event firing"),
        ("read alerts", "XREAD STREAMS anomaly:alerts 0"),
        ("list alerts", "XRANGE anomaly:alerts - +"),
        ("count alerts", "XLEN anomaly:alerts"),
        (
            "make a group",
            "XGROUP CREATE anomaly:alerts mine 0 MKSTREAM",
        ),
        (
            "read as a group",
            "XREADGROUP GROUP g me STREAMS anomaly:alerts >",
        ),
        ("take over", "XAUTOCLAIM anomaly:alerts g me 0 0-0"),
        ("acknowledge", "XACK anomaly:alerts g 1-1"),
        ("inspect alerts", "XINFO STREAM anomaly:alerts"),
        ("destroy a group", "XGROUP DESTROY anomaly:alerts g"),
        ("remove an alert", "XDEL anomaly:alerts 1-1"),
        ("trim alerts", "XTRIM anomaly:alerts MAXLEN 1"),
        ("delete alerts", "DEL anomaly:alerts"),
        ("read dead letters", "XRANGE anomaly:dead - +"),
        ("delete a sensor", "DEL sensor:1"),
        ("rename a sensor", "RENAME sensor:1 sensor:2"),
        ("dump a sensor", "DUMP sensor:1"),
        ("expire a sensor", "EXPIRE sensor:1 100"),
        ("read a series", "TS.RANGE ts:{sensor:1} - +"),
        ("write a series", "TS.ADD ts:{sensor:1} * 5"),
        ("server settings", "CONFIG SET anomaly.max-future 600000"),
        ("server settings read", "CONFIG GET anomaly.*"),
        ("server info", "INFO anomaly"),
        ("who is connected", "CLIENT LIST"),
        ("users", "ACL LIST"),
        ("script", "EVAL return(1) 0"),
        ("keys", "SCAN 0"),
        ("apply", "ANOMALY._APPLY 1 sensor:1 4000 1 1"),
        ("load a model", "ANOMALY._LOAD sensor:1 x"),
    ]
    .into_iter()
    .map(|(name, words)| (name, words.split(' ').collect()))
    .collect();
    all.insert("config import", vec!["ANOMALY.CONFIG", "IMPORT", document]);
    all
}

/// What is not to be tried for real.
const HARMFUL: [(&str, &[&str]); 7] = [
    ("pause all clients", &["CLIENT", "PAUSE", "1000"]),
    ("kill clients", &["CLIENT", "KILL", "TYPE", "normal"]),
    ("flush", &["FLUSHALL"]),
    ("shut down", &["SHUTDOWN"]),
    ("become a replica", &["REPLICAOF", "no", "one"]),
    ("unload us", &["MODULE", "UNLOAD", "anomaly"]),
    ("make users", &["ACL", "SETUSER", "me", "+@all"]),
];

/// Everything that is tried is there.
fn prepare(server: &Server) {
    server.cmd(&[
        "ANOMALY.CONFIG",
        "IMPORT",
        r#"{"rules":[{"pattern":"*","settings":{"max":4}}],"watches":[{"pattern":"raw:*"}]}"#,
        "REPLACE",
    ]);
    for sensor in ["sensor:1", "other"] {
        server.cmd(&["DEL", sensor, &format!("ts:{{{sensor}}}")]);
        server.cmd(&["ANOMALY.ADD", sensor, "*", "9"]);
    }
    let _ = server.try_cmd(&["XGROUP", "CREATE", "anomaly:alerts", "g", "0"]);
    let _ = server.try_cmd(&["XGROUP", "DESTROY", "anomaly:alerts", "mine"]);
    server.cmd(&["XADD", "raw:1", "*", "bad", "entry"]);
}

/// What of all that is tried a user may do. What is refused changes nothing.
fn may(server: &Server, rights: &[String]) -> BTreeSet<&'static str> {
    make(server, "role", rights);
    let mut user = client(server, "role");
    let mut may = BTreeSet::new();
    for (name, words) in attempts() {
        prepare(server);
        let before = server.picture();
        let refused = match try_call(&mut user, &words) {
            Ok(_) => false,
            Err(why) => why.starts_with("NOPERM ") || why.contains("internal command"),
        };
        if refused {
            assert_same(&server.picture(), &before);
        } else {
            may.insert(name);
        }
    }
    for (name, words) in HARMFUL {
        let dry = [&["ACL", "DRYRUN", "role"][..], words].concat();
        if text(&server.cmd(&dry)) == "OK" {
            may.insert(name);
        }
    }
    may
}

fn assert_may(server: &Server, who: &str, rights: &[String], expected: &[&str]) {
    let (may, expected) = (may(server, rights), expected.iter().copied().collect());
    let more: BTreeSet<_> = may.difference(&expected).collect();
    let less: BTreeSet<_> = expected.difference(&may).collect();
    assert!(
        more.is_empty() && less.is_empty(),
        "{who} {rights:?} may also {more:?} and may not {less:?}"
    );
}

/// What an administrator of the whole server may do.
const RUNS_IT: [&str; 13] = [
    "become a replica",
    "config del",
    "config import",
    "config set",
    "kill clients",
    "make users",
    "pause all clients",
    "server settings",
    "server settings read",
    "shut down",
    "unload us",
    "users",
    "who is connected",
];

#[test]
fn each_role_may_do_what_its_row_says_and_nothing_else() {
    let server = Server::start();
    let watches = ["watch del", "watch set"];
    let expected: &[(&str, &[&[&str]])] = &[
        ("a device", &[&["add", "explain"]]),
        ("a producer", &[&["produce"]]),
        ("a reader", &[&READS]),
        (
            "a follower of alerts",
            &[&[
                "acknowledge",
                "inspect alerts",
                "make a group",
                "read as a group",
                "take over",
                "who is connected",
            ]],
        ),
        (
            "a spectator",
            &[&["count alerts", "list alerts", "read alerts"]],
        ),
        (
            "an operator",
            &[&["ack", "alert streams", "alerts", "info", "reset"]],
        ),
        (
            "an administrator",
            &[
                &[&RUNS_IT[..], &watches].concat(),
                &[&RUNS_IT[..], &watches, &["flush", "server info"]].concat(),
                &[
                    "config del",
                    "config export",
                    "config get",
                    "config import",
                    "config list",
                    "config set",
                    "watch del",
                    "watch get",
                    "watch list",
                    "watch set",
                ],
            ],
        ),
    ];
    let rows = rows();
    let named: Vec<&str> = rows.iter().map(|row| row.who.as_str()).collect();
    assert_eq!(
        named,
        expected.iter().map(|(who, _)| *who).collect::<Vec<_>>()
    );
    for (row, (who, expected)) in rows.iter().zip(expected) {
        assert_eq!(row.rights.len(), expected.len(), "{who}");
        for (rights, expected) in row.rights.iter().zip(*expected) {
            assert_may(&server, who, rights, expected);
        }
    }
}

const READS: [&str; 11] = [
    "alert streams",
    "alerts",
    "config export",
    "config get",
    "config list",
    "config resolve",
    "dump a sensor",
    "info",
    "keys",
    "watch get",
    "watch list",
];

/// The words of a row that say what else there is to give.
fn also(row: &Row, first: &str) -> Vec<String> {
    let found = code(&row.told).into_iter().find(|words| words[0] == first);
    found.unwrap_or_else(|| panic!("no `{first} …` in the row of {}", row.who))
}

#[test]
fn what_a_row_names_besides_gives_just_that() {
    let server = Server::start();
    let with = |row: &Row, more: &[String]| [&row.rights[0][..], more].concat();
    let device = row("a device");
    let madd = with(&device, &also(&device, "+anomaly.madd"));
    assert_may(&server, "a device", &madd, &["add", "explain", "madd"]);
    let reader = row("a reader");
    make(
        &server,
        "analyst",
        &with(&reader, &also(&reader, "%R~ts:*")),
    );
    prepare(&server);
    call(&mut client(&server, "analyst"), &attempts()["backtest"]);
    let series = with(&reader, &also(&reader, "+ts.range"));
    let expected = [&READS[..], &["backtest", "read a series"]].concat();
    assert_may(&server, "a reader", &series, &expected);
    // All of ours but what is for administrators, to all keys.
    let administrator = row("an administrator");
    let mut others = code(&administrator.told)
        .into_iter()
        .find(|words| words.len() == 2 && words[0] == "+@anomaly")
        .expect("what others are to be given");
    others.push("allkeys".into());
    make(&server, "other", &others);
    let mut other = client(&server, "other");
    for refused in [
        "config set",
        "config del",
        "config import",
        "watch set",
        "watch del",
    ] {
        let why = try_call(&mut other, &attempts()[refused]).expect_err("no right to it");
        assert!(why.starts_with("NOPERM "), "{refused}: {why}");
    }
    for allowed in [
        "config list",
        "watch list",
        "add",
        "info",
        "alerts",
        "reset",
    ] {
        call(&mut other, &attempts()[allowed]);
    }
}

#[test]
fn the_example_makes_a_device_whose_readings_are_archived_and_raise_alerts() {
    let server = Server::start();
    server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "4"]);
    let guide = guide();
    let example = guide.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.starts_with(&["ACL", "SETUSER"]).then_some(words)
    });
    let example = example.expect("an example");
    server.cmd(&example);
    let password = example.iter().find_map(|word| word.strip_prefix('>'));
    let mut device = server.conn();
    call(&mut device, &["AUTH", example[2], password.unwrap()]);
    call(&mut device, &["ANOMALY.ADD", "sensor:1", "*", "9"]);
    assert_eq!(server.stream("anomaly:alerts").len(), 1);
    assert_eq!(text(&server.cmd(&["EXISTS", "ts:{sensor:1}"])), "1");
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn program(url: &str, words: &[&str]) -> Command {
    let mut command = anomaly();
    command.args(["--url", url]).args(words);
    command
}

#[test]
fn the_program_needs_no_more_than_its_role() {
    let (server, dir) = (Server::start(), Dir::new());
    make(&server, "administrator", &row("an administrator").rights[2]);
    let rules = dir.join("rules.json");
    let document =
        r#"{"rules":[{"pattern":"*","settings":{"max":4}}],"watches":[{"pattern":"raw:*"}]}"#;
    fs::write(&rules, document).unwrap();
    let push = ["config", "push", rules.to_str().unwrap()];
    let pushed = succeeds(&mut program(&url(&server, "administrator"), &push));
    assert!(
        pushed.ends_with("imported and verified, 1 rules, 1 watches\n"),
        "{pushed}"
    );

    make(&server, "device", &row("a device").rights[0]);
    make(&server, "producer", &row("a producer").rights[0]);
    let load = ["load", "--rate", "max", "--count", "20", "--sensors", "2"];
    succeeds(&mut program(&url(&server, "device"), &load));
    let csv = dir.join("pump.csv");
    fs::write(&csv, "time,value\n1700000000,2\n1700000001,9\n").unwrap();
    let replay = ["replay", csv.to_str().unwrap(), "--key", "sensor:{file}"];
    succeeds(&mut program(&url(&server, "device"), &replay));
    let before = server.info("anomaly")["anomaly_readings"].clone();
    assert_eq!(before, (2 * 20 + 2).to_string());
    let produce = [
        &load[..],
        &["--via", "xadd", "--stream", "raw:1", "--device", "p-{n}"],
    ]
    .concat();
    succeeds(&mut program(&url(&server, "producer"), &produce));
    assert_eq!(
        server.info("anomaly")["anomaly_readings"],
        (4 * 20 + 2).to_string()
    );
    let refused = program(&url(&server, "producer"), &load).output().unwrap();
    assert!(!refused.status.success());

    make(&server, "follower", &row("a follower of alerts").rights[0]);
    let shown = succeeds(&mut program(
        &url(&server, "follower"),
        &["alerts", "--once"],
    ));
    let written = server.stream("anomaly:alerts").len();
    assert!(written > 0);
    assert_eq!(shown.lines().count(), written);
    assert_eq!(
        text(&list(&server.cmd(&["XPENDING", "anomaly:alerts", "anomaly"]))[0]),
        "0"
    );
}

/// Also without the right to see who else is connected, or to name a connection: then by a name of its own.
#[test]
fn a_follower_goes_on_with_its_rights_when_its_server_was_away() {
    let rights = row("a follower of alerts").rights.remove(0);
    let fewer: Vec<String> = rights
        .iter()
        .filter(|right| !right.starts_with("+client|"))
        .cloned()
        .collect();
    assert_eq!(fewer.len() + 3, rights.len());
    for rights in [rights, fewer] {
        let dir = Dir::new();
        let users = dir.join("users.acl");
        let line = format!(
            "user follower on >secret {}\nuser default on nopass +@all ~* &*\n",
            rights.join(" ")
        );
        fs::write(&users, line).unwrap();
        let mut server = Server::builder()
            .aof()
            .config(format!("aclfile \"{}\"", users.display()))
            .start();
        server.cmd(&["ANOMALY.CONFIG", "SET", "*", "max", "4"]);
        server.cmd(&["ANOMALY.ADD", "sensor:1", "*", "9"]);
        let follower = Program::start(&mut program(&url(&server, "follower"), &["alerts"]));
        wait_until("it is shown", || follower.shown().lines().count() == 1);
        server.stop(Stop::Kill9);
        wait_until("it says so", || follower.said().contains("lost Redis"));
        server.start_again();
        server.cmd(&["ANOMALY.ADD", "sensor:2", "*", "9"]);
        wait_until("the next is shown", || {
            follower.shown().lines().count() == 2
        });
        assert!(follower.said().contains("is back"), "{}", follower.said());
    }
}

#[test]
fn on_a_cluster_a_follower_and_an_administrator_need_what_their_rows_add() {
    let server = Server::builder().cluster().start();
    let dir = Dir::new();
    let rules = dir.join("rules.json");
    fs::write(
        &rules,
        r#"{"rules":[{"pattern":"*","settings":{"max":4}}]}"#,
    )
    .unwrap();
    let push = ["config", "push", rules.to_str().unwrap()];
    let administrator = row("an administrator");
    make(&server, "administrator", &administrator.rights[2]);
    let refused = program(&url(&server, "administrator"), &push)
        .output()
        .unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("does not tell its nodes: NOPERM"), "{said}");
    let more = also(&administrator, "+cluster|nodes");
    make(
        &server,
        "administrator",
        &[&administrator.rights[2][..], &more].concat(),
    );
    succeeds(&mut program(&url(&server, "administrator"), &push));

    for tag in ["a", "b"] {
        server.cmd(&args!["ANOMALY.ADD", format!("sensor:{{{tag}}}"), "*", 9]);
    }
    let follower = row("a follower of alerts");
    make(&server, "follower", &follower.rights[0]);
    let once = ["alerts", "--once"];
    let refused = program(&url(&server, "follower"), &once).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("is a node of a cluster, whose others this user may not ask for"),
        "{said}"
    );
    let more = also(&follower, "+anomaly.alerts");
    make(
        &server,
        "follower",
        &[&follower.rights[0][..], &more].concat(),
    );
    let shown = succeeds(&mut program(&url(&server, "follower"), &once));
    assert_eq!(shown.lines().count(), 2, "{shown}");
}
