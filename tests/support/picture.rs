//! Everything that servers must agree on, in a form that can be compared and read.

use crate::{Args, Server, args, bytes, call, call_many, field, int, list, text, try_call};
use redis::{Connection, Value};
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
            let keys = list(&call(connection, &["KEYS", "*"]));
            let keys: Vec<Vec<u8>> = keys.iter().map(bytes).collect();
            for (key, seen) in keys.iter().zip(look(connection, &keys)) {
                picture.insert(format!("{db} {}", key.escape_ascii()), seen);
            }
        }
        picture
    }
}

/// What is seen of each key. Asked in two pipelines: a seed of random traffic has hundreds of keys, and is looked at often.
fn look(connection: &mut Connection, keys: &[Vec<u8>]) -> Vec<Vec<String>> {
    let first: Vec<Args> = keys
        .iter()
        .flat_map(|key| [args!["TYPE", key], args!["PEXPIRETIME", key]])
        .collect();
    let first = call_many(connection, &first);
    let kinds: Vec<String> = first.chunks(2).map(|pair| text(&pair[0])).collect();
    let then: Vec<Args> = keys
        .iter()
        .zip(&kinds)
        .flat_map(|(key, kind)| match kind.as_str() {
            "TSDB-TYPE" => vec![args!["TS.INFO", key], args!["TS.RANGE", key, "-", "+"]],
            "stream" => vec![args!["XRANGE", key, "-", "+"]],
            _ => vec![args!["DEBUG", "DIGEST-VALUE", key]],
        })
        .collect();
    let then = call_many(connection, &then);
    let mut then = then.iter();
    let mut all = Vec::new();
    for (kind, pair) in kinds.iter().zip(first.chunks(2)) {
        let mut seen = vec![kind.clone(), format!("until {}", int(&pair[1]))];
        let mut next = || then.next().expect("a reply for each command");
        match kind.as_str() {
            "TSDB-TYPE" => seen.extend(series(next(), next())),
            "stream" => seen.extend(list(next()).iter().map(|entry| format!("{entry:?}"))),
            _ => seen.push(text(&list(next())[0])),
        }
        all.push(seen);
    }
    all
}

/// How it was created, and the samples.
fn series(info: &Value, samples: &Value) -> Vec<String> {
    let made = ["labels", "retentionTime", "chunkSize", "duplicatePolicy"];
    let mut seen: Vec<String> = made
        .iter()
        .map(|name| format!("{name} {:?}", field(info, name)))
        .collect();
    for sample in list(samples) {
        let parts = list(&sample);
        seen.push(format!("{} {}", int(&parts[0]), text(&parts[1])));
    }
    seen
}
