//! Everything that servers must agree on, in a form that can be compared and read.

use crate::{Server, args, bytes, call, field, int, list, text, try_call};
use redis::Connection;
use std::collections::BTreeMap;

/// See [`Server::picture`].
pub type Picture = BTreeMap<String, Vec<String>>;

/// Fails the test with what differs, and only that.
#[track_caller]
pub fn assert_same(now: &Picture, expected: &Picture) {
    let empty = Vec::new();
    let mut differences = Vec::new();
    for key in now
        .keys()
        .chain(expected.keys().filter(|key| !now.contains_key(*key)))
    {
        let (a, b) = (
            now.get(key).unwrap_or(&empty),
            expected.get(key).unwrap_or(&empty),
        );
        let at = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at));
        differences.extend(at.map(|at| {
            format!(
                "{key}, line {at}:\n  {:?}\n  expected {:?}",
                a.get(at),
                b.get(at)
            )
        }));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Databases that are looked at: tests use no others.
const DATABASES: i64 = 3;

impl Server {
    /// What every server of a replication chain, and each of them after a restart, must hold alike: by database and key
    /// the digest of each model, the samples and labels of each series, the entries of each stream, times to live; and
    /// all rules.
    pub fn picture(&self) -> Picture {
        let connection = &mut self.conn();
        let mut picture = BTreeMap::new();
        let rules = call(connection, &["ANOMALY.CONFIG", "EXPORT"]);
        picture.insert("rules".to_owned(), vec![text(&rules)]);
        for db in 0..DATABASES {
            if try_call(connection, &args!["SELECT", db]).is_err() {
                continue; // a cluster has one
            }
            for key in list(&call(connection, &["KEYS", "*"])) {
                let key = bytes(&key);
                let seen = look(connection, &key);
                picture.insert(format!("{db} {}", key.escape_ascii()), seen);
            }
        }
        picture
    }
}

fn look(connection: &mut Connection, key: &[u8]) -> Vec<String> {
    let kind = text(&call(connection, &args!["TYPE", key]));
    let until = int(&call(connection, &args!["PEXPIRETIME", key]));
    let mut seen = vec![kind.clone(), format!("until {until}")];
    match kind.as_str() {
        "TSDB-TYPE" => seen.extend(series(connection, key)),
        "stream" => {
            let all = call(connection, &args!["XRANGE", key, "-", "+"]);
            seen.extend(list(&all).iter().map(|entry| format!("{entry:?}")));
        }
        _ => {
            let digest = call(connection, &args!["DEBUG", "DIGEST-VALUE", key]);
            seen.push(text(&list(&digest)[0]));
        }
    }
    seen
}

/// How it was created, and the samples.
fn series(connection: &mut Connection, key: &[u8]) -> Vec<String> {
    let info = call(connection, &args!["TS.INFO", key]);
    let made = ["labels", "retentionTime", "chunkSize", "duplicatePolicy"];
    let mut seen: Vec<String> = made
        .iter()
        .map(|name| format!("{name} {:?}", field(&info, name)))
        .collect();
    for sample in list(&call(connection, &args!["TS.RANGE", key, "-", "+"])) {
        let parts = list(&sample);
        seen.push(format!("{} {}", int(&parts[0]), text(&parts[1])));
    }
    seen
}
