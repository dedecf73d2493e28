//! A consumer's name that survives a restart and is not shared.
//!
//! The obvious default, host and process id, is new after every restart: what the last run left under way would wait for
//! `--claim-after`, and dead names would pile up in the group. So the name is the host's, numbered, and the connection's
//! CLIENT SETNAME is the lock on it: when the process dies, the server closes the connection and the name is free.

use std::fs;

use redis::{Connection, RedisError};

/// More of them on one host are told apart by process id.
const NUMBERED: u32 = 64;

/// The first of `host`, `host-2`, `host-3`… that no connection of this group holds; holds it for `connection`.
pub(crate) fn claim(connection: &mut Connection, group: &str) -> Result<String, RedisError> {
    let host = host();
    for number in 1..=NUMBERED {
        let name = if number == 1 {
            host.clone()
        } else {
            format!("{host}-{number}")
        };
        match hold(connection, group, &name) {
            Ok(true) => return Ok(name),
            Ok(false) => {}
            Err(error) if matches!(error.code(), Some("NOPERM" | "ERR")) => break, // may not look at the clients
            Err(error) => return Err(error),
        }
    }
    Ok(format!("{host}-{}", std::process::id()))
}

/// Holds the name for a new connection, whoever else may hold it: the old connection may not be quite closed. A user who may
/// not name a connection has a name that no other takes.
pub(crate) fn keep(connection: &mut Connection, group: &str, name: &str) -> Result<(), RedisError> {
    match set(connection, group, name) {
        Err(error) if error.code() == Some("NOPERM") => Ok(()),
        other => other,
    }
}

fn set(connection: &mut Connection, group: &str, name: &str) -> Result<(), RedisError> {
    redis::cmd("CLIENT")
        .arg("SETNAME")
        .arg(title(group, name))
        .exec(connection)
}

fn title(group: &str, name: &str) -> String {
    plain(&format!("anomaly-alerts/{group}/{name}"))
}

/// Takes the name first and looks then, so that of two that start together at most one believes it is alone: the one
/// that connected first.
fn hold(connection: &mut Connection, group: &str, name: &str) -> Result<bool, RedisError> {
    set(connection, group, name)?;
    let title = title(group, name);
    let own: u64 = redis::cmd("CLIENT").arg("ID").query(connection)?;
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(connection)?;
    let older = clients.lines().any(|line| {
        let field = |name: &str| {
            line.split(' ')
                .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
        };
        field("name") == Some(title.as_str())
            && field("id")
                .and_then(|id| id.parse().ok())
                .is_some_and(|id: u64| id < own)
    });
    Ok(!older)
}

/// Client names may not hold spaces or control characters.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_ascii_graphic() {
                character
            } else {
                '_'
            }
        })
        .collect()
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_default();
    match name.trim() {
        "" => String::from("anomaly"),
        name => plain(name),
    }
}
