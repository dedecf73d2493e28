//! The module's settings are Redis configs and arguments of `loadmodule`.

use anomaly_tests::{Server, Stop, pairs, text};

fn get(server: &Server, name: &str) -> String {
    text(&pairs(&server.cmd(&["CONFIG", "GET", &format!("anomaly.{name}")]))[0].1)
}

fn set(server: &Server, name: &str, value: &str) -> Result<(), String> {
    server
        .try_cmd(&["CONFIG", "SET", &format!("anomaly.{name}"), value])
        .map(|_| ())
}

const OTHERS: [(&str, &str); 6] = [
    ("alerts-key", "alarms"),
    ("alerts-maxlen", "5"),
    ("archive", "off"),
    ("dead-key", "graves"),
    ("max-future", "1"),
    ("max-sensors", "9"),
];

#[test]
fn settings_have_the_documented_defaults() {
    let server = Server::start();
    let told = OTHERS.map(|(name, _)| get(&server, name));
    assert_eq!(
        told,
        [
            "anomaly:alerts",
            "100000",
            "auto",
            "anomaly:dead",
            "600000",
            "0"
        ]
    );
}

#[test]
fn settings_are_changed_while_running_and_a_rewritten_configuration_keeps_them() {
    let mut server = Server::start();
    for (name, value) in OTHERS {
        set(&server, name, value).unwrap();
        assert_eq!(get(&server, name), value);
    }
    server.cmd(&["CONFIG", "REWRITE"]);
    server.restart(Stop::NoSave);
    assert_eq!(
        OTHERS.map(|(name, _)| get(&server, name)),
        OTHERS.map(|(_, value)| value.to_owned())
    );
}

#[test]
fn a_value_that_cannot_be_is_refused_and_changes_nothing() {
    let server = Server::start();
    for (name, value, why) in [
        ("alerts-key", "", "not empty"),
        ("dead-key", "a\0b", "without NUL"),
        ("alerts-maxlen", "-1", "between 0 and"),
        ("max-future", "x", "integer"),
        ("max-sensors", "1.5", "integer"),
        ("archive", "maybe", "auto, required, off"),
    ] {
        let before = get(&server, name);
        let refused = set(&server, name, value).expect_err(name);
        assert!(refused.contains(why) && refused.contains(name), "{refused}");
        assert_eq!(get(&server, name), before);
    }
}

#[test]
fn arguments_of_loadmodule_are_settings() {
    let args: Vec<&str> = OTHERS
        .iter()
        .flat_map(|(name, value)| [*name, *value])
        .collect();
    let server = Server::builder().module_args(&args).start();
    assert_eq!(
        OTHERS.map(|(name, _)| get(&server, name)),
        OTHERS.map(|(_, value)| value.to_owned())
    );
    let server = Server::builder()
        .module_args(&["anomaly.max-future", "77"])
        .start();
    assert_eq!(get(&server, "max-future"), "77");
}

#[test]
fn a_line_of_the_configuration_goes_before_an_argument() {
    let server = Server::builder()
        .config("anomaly.max-future 5")
        .module_args(&["max-future", "77"])
        .start();
    assert_eq!(get(&server, "max-future"), "5");
}

#[test]
fn bad_arguments_refuse_to_load_with_one_clear_line() {
    for (args, why) in [
        (&["max-future"][..], "argument 'max-future' has no value"),
        (
            &["max-future", "soon"],
            "argument 'max-future' cannot be 'soon': expected a whole number from 0 to 3155760000000",
        ),
        (
            &["max-sensors", "-1"],
            "argument 'max-sensors' cannot be '-1': expected a whole number from 0",
        ),
        (
            &["archive", "maybe"],
            "argument 'archive' cannot be 'maybe': expected auto, required or off",
        ),
        (
            &["max-futur", "1"],
            "unknown argument 'max-futur': expected alerts-key, alerts-maxlen, archive, dead-key, max-future or max-sensors",
        ),
        (
            &["alerts-key", "\"\""],
            "argument 'alerts-key' cannot be '': expected a key",
        ),
    ] {
        let refused = Server::builder()
            .module_args(args)
            .try_start()
            .expect_err("a bad argument");
        let lines: Vec<&str> = refused
            .log
            .lines()
            .filter(|line| line.contains("<anomaly>"))
            .collect();
        assert_eq!(lines.len(), 1, "{}", refused.log);
        assert!(
            lines[0].contains(&format!("not loaded: {why}")),
            "{}",
            lines[0]
        );
        assert_eq!(refused.status.code(), Some(1));
    }
}

#[test]
fn the_module_cannot_be_unloaded_while_its_type_is_in_use_and_says_so() {
    let server = Server::start();
    server.cmd(&["ANOMALY.ADD", "s", "1000", "1"]);
    let refused = server.refuses(&["MODULE", "UNLOAD", "anomaly"]);
    assert!(
        refused.contains("exports one or more module-side data types"),
        "{refused}"
    );
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", "s", "2000", "1"])),
        "warmup"
    );
}
