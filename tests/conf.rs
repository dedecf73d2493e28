//! `redis.conf` at the root is what a user starts from: it boots, and what it says of the settings is true.

use anomaly_tests::{Server, checkout, field, list, module, pairs, text, timeseries};
use std::collections::BTreeMap;
use std::fs;

fn shipped() -> String {
    fs::read_to_string(checkout().join("redis.conf")).unwrap()
}

/// Boots the file with only the modules' places, the port and the directory changed.
fn boot(conf: &str) -> Server {
    let series = timeseries().expect("this test needs RedisTimeSeries");
    let places = BTreeMap::from([
        ("redistimeseries.so", series),
        ("libredis_anomaly.so", module()),
    ]);
    let mut builder = Server::builder().without_module().without_timeseries();
    let mut loaded = 0;
    for line in conf.lines() {
        let word = line.split(' ').next().unwrap();
        builder = match word {
            "port" | "dir" => continue,
            "loadmodule" => {
                let file = line.rsplit('/').next().unwrap();
                loaded += 1;
                builder.config(format!("loadmodule \"{}\"", places[file].display()))
            }
            _ => builder.config(line),
        };
    }
    assert_eq!(loaded, 2, "two lines to edit");
    builder.start()
}

fn modules(server: &Server) -> Vec<String> {
    let mut names: Vec<String> = list(&server.cmd(&["MODULE", "LIST"]))
        .iter()
        .map(|module| text(&field(module, "name")))
        .collect();
    names.sort();
    names
}

fn settings(server: &Server) -> BTreeMap<String, String> {
    let reply = server.cmd(&["CONFIG", "GET", "anomaly.*"]);
    pairs(&reply)
        .into_iter()
        .map(|(name, value)| (name, text(&value)))
        .collect()
}

/// The commented lines `# anomaly.name value`.
fn documented(conf: &str) -> BTreeMap<String, String> {
    let lines = conf.lines().filter_map(|line| line.strip_prefix("# "));
    let lines = lines
        .filter(|line| line.starts_with("anomaly."))
        .filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[test]
fn the_shipped_configuration_boots_with_both_modules() {
    let server = boot(&shipped());
    let names = modules(&server);
    assert!(
        names.contains(&"anomaly".to_owned()) && names.contains(&"timeseries".to_owned()),
        "{names:?}"
    );
    assert_eq!(
        text(&field(
            &server.cmd(&["CONFIG", "GET", "appendonly"]),
            "appendonly"
        )),
        "yes"
    );
    assert_eq!(
        text(&server.cmd(&["ANOMALY.ADD", "s", "1000", "1"])),
        "warmup"
    );
}

#[test]
fn the_shipped_configuration_documents_every_setting_with_its_default() {
    assert_eq!(documented(&shipped()), settings(&Server::start()));
}

#[test]
fn every_documented_setting_can_be_switched_on_as_it_is_written() {
    let conf = shipped().replace("\n# anomaly.", "\nanomaly.");
    assert!(documented(&conf).is_empty());
    let changed = conf.replace("\nanomaly.max-future 600000", "\nanomaly.max-future 1234");
    let mut expected = documented(&shipped());
    expected.insert("anomaly.max-future".into(), "1234".into());
    assert_eq!(settings(&boot(&changed)), expected);
}
