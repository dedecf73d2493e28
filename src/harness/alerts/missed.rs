//! How many alerts were trimmed from a stream before the group came to them.
//!
//! A stream counts what was ever added to it, so what is no longer in it can be counted too. A group counts what it was given;
//! but some servers (Redis 7, Valkey 8.0) do not count what was trimmed in between, and would have the same gap found again
//! and again. So a gap that was found is noted in the group.

use redis::{ConnectionLike, RedisError, Value};

use super::entries::{EntryId, pairs};
use crate::alert::bytes;

/// Where a group stands.
struct Group {
    /// Newest entry it was given.
    last: EntryId,
    /// Entries of the stream up to that one, if that is known.
    read: u64,
    consumers: u64,
}

/// Entries that are no longer in a stream.
fn gone(stream: &[(&Value, &Value)]) -> Option<u64> {
    let number = |name: &str| number(stream, name);
    Some(number("entries-added")?.saturating_sub(number("length")?))
}

/// Entries no longer in a stream, for a group that is made now: it has not missed them.
pub(super) fn before(
    connection: &mut dyn ConnectionLike,
    stream: &str,
) -> Result<Option<u64>, RedisError> {
    let info = ask(connection, &["XINFO", "STREAM", stream])?;
    Ok(info.as_ref().and_then(|info| gone(&pairs(info))))
}

/// Entries that were trimmed before the group was given them, but for the first `counted` of the stream; and how many of the
/// stream are counted now. Nothing where the server cannot or may not tell.
pub(super) fn count(
    connection: &mut dyn ConnectionLike,
    stream: &str,
    group: &str,
    counted: u64,
) -> Result<(u64, u64), RedisError> {
    let nothing = Ok((0, counted));
    // In this order: what is added and trimmed in between has been missed too.
    let groups = ask(connection, &["XINFO", "GROUPS", stream])?;
    let info = ask(connection, &["XINFO", "STREAM", stream])?;
    let (Some(groups), Some(info)) = (groups, info) else {
        return nothing;
    };
    let info = pairs(&info);
    let (Some(at), Some(gone)) = (standing(&groups, group), gone(&info)) else {
        return nothing;
    };
    let first = info
        .iter()
        .find(|(name, _)| bytes(name) == Some(b"first-entry"))
        .and_then(|(_, entry)| EntryId::of(entry));
    let known = at.read.max(counted);
    if first.is_some_and(|first| first <= at.last) || gone <= known {
        return nothing;
    }
    if at.consumers <= 1 {
        let (last, read) = (at.last.to_string(), gone.to_string());
        let note = [
            "XGROUP",
            "SETID",
            stream,
            group,
            &last,
            "ENTRIESREAD",
            &read,
        ];
        ask(connection, &note)?;
    }
    Ok((gone - known, gone))
}

fn standing(groups: &Value, name: &str) -> Option<Group> {
    let Value::Array(groups) = groups else {
        return None;
    };
    groups.iter().find_map(|group| {
        let group = pairs(group);
        let field = |name: &str| {
            let mut fields = group.iter();
            fields.find(|(field, _)| bytes(field) == Some(name.as_bytes()))
        };
        if bytes(field("name")?.1) != Some(name.as_bytes()) {
            return None;
        }
        Some(Group {
            last: EntryId::parse(bytes(field("last-delivered-id")?.1)?)?,
            read: number(&group, "entries-read")?,
            consumers: number(&group, "consumers")?,
        })
    })
}

fn number(pairs: &[(&Value, &Value)], name: &str) -> Option<u64> {
    let mut pairs = pairs.iter();
    match pairs.find(|(field, _)| bytes(field) == Some(name.as_bytes()))? {
        (_, Value::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// What the server says; nothing if it refuses, since the alerts matter more than their number.
fn ask(connection: &mut dyn ConnectionLike, words: &[&str]) -> Result<Option<Value>, RedisError> {
    let (name, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut command = redis::cmd(name);
    command.arg(arguments);
    match command.query(connection) {
        Ok(reply) => Ok(Some(reply)),
        Err(error) if matches!(error.code(), Some("ERR" | "NOPERM" | "NOGROUP")) => Ok(None),
        Err(error) => Err(error),
    }
}
