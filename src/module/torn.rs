//! An append-only file that a crash has cut off in the midst of a transaction.
//!
//! A server that finds an incomplete transaction at the end of its file takes it back as a whole, but not where the crash has cut a
//! command in two: then it takes back that command alone, and leaves the transaction open (Redis up to 8.2 and Valkey 8, at
//! least). What it writes from then on is, for its next start, a part of that transaction: what was cut off comes back by halves, and
//! transactions that were acknowledged are lost. A reading is a transaction of its own, so this finishes what the server has begun.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anomaly_core::append_only::Transactions;

use crate::server::Ctx;

/// The file that is read last, to which the server adds, and its length before it was read.
static LAST: Mutex<Option<(PathBuf, u64)>> = Mutex::new(None);

/// The server is about to read its append-only file.
pub(crate) fn remember(ctx: Ctx) {
    let found = last_file(ctx).and_then(|path| {
        let len = path.metadata().ok()?.len();
        Some((path, len))
    });
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = found;
}

/// It has, and has yet to open it to add to it.
pub(crate) fn mend(ctx: Ctx) {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some((path, len)) = last else {
        return;
    };
    if !path.metadata().is_ok_and(|now| now.len() < len) {
        return;
    }
    match take_back(&path) {
        Ok(Some((from, to))) => ctx.warn(&format!(
            "the append-only file {} was cut off in the midst of a transaction, of which the server has left a part: that is taken \
             back as well, {from} bytes down to {to}",
            path.display()
        )),
        Ok(None) => {}
        Err(error) => ctx.warn(&format!(
            "the append-only file {} was cut off, and whether within a transaction cannot be told ({error}): redis-check-aof tells it",
            path.display()
        )),
    }
}

/// Takes an unfinished transaction off the end of a file; its length before and after.
fn take_back(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut commands = Transactions::default();
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        commands.read(piece.get(..read).unwrap_or_default());
    }
    let Some(begins) = commands.unfinished() else {
        return Ok(None);
    };
    let len = file.metadata()?.len();
    file.set_len(begins)?;
    file.sync_all()?;
    Ok(Some((len, begins)))
}

/// The last of the files that the manifest names; the server's working directory is where they are.
fn last_file(ctx: Ctx) -> Option<PathBuf> {
    let dir = PathBuf::from(setting(ctx, b"appenddirname")?);
    let manifest = dir.join(format!("{}.manifest", setting(ctx, b"appendfilename")?));
    let manifest = std::fs::read_to_string(manifest).ok()?;
    let last = manifest.lines().last()?;
    let (name, rest) = last.strip_prefix("file ")?.split_once(" seq ")?;
    let name = name.trim_matches('"');
    // A base file holds no transactions. Redis 8 has more to say behind that.
    let kind = rest.split(' ').skip_while(|word| *word != "type").nth(1);
    (kind == Some("i")).then(|| dir.join(name))
}

fn setting(ctx: Ctx, name: &[u8]) -> Option<String> {
    let (get, name) = (ctx.string(b"GET"), ctx.string(name));
    ctx.call_and_read(c"CONFIG", &[get.borrow(), name.borrow()], |reply| {
        // Name and value, each after a line with its length.
        let value = reply.split(|byte| *byte == b'\n').nth(4)?;
        Some(String::from_utf8_lossy(value.trim_ascii_end()).into_owned())
    })
}
