//! The protocol as a benchmark needs it: commands encoded before the clock starts, replies counted and not kept.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::terminal::harmless;

/// Bytes asked of the kernel at once.
const ROOM: usize = 256 * 1024;

/// Appends a command as the server reads it.
pub(crate) fn command(to: &mut Vec<u8>, words: &[&[u8]]) {
    count(to, b'*', words.len());
    for word in words {
        count(to, b'$', word.len());
        to.extend_from_slice(word);
        to.extend_from_slice(b"\r\n");
    }
}

/// `*3\r\n`, `$5\r\n`.
fn count(to: &mut Vec<u8>, kind: u8, number: usize) {
    to.push(kind);
    let mut digits = [0; 20];
    let mut rest = number;
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        used += 1;
        if rest == 0 {
            break;
        }
    }
    to.extend(digits.iter().skip(digits.len() - used));
    to.extend_from_slice(b"\r\n");
}

/// The commands of one run on one connection, in the batches that are sent together.
#[derive(Default)]
pub(crate) struct Work {
    /// The commands, one after another.
    pub(crate) bytes: Vec<u8>,
    /// Where each batch ends.
    pub(crate) ends: Vec<usize>,
    /// Replies that a batch gets.
    pub(crate) commands: u64,
    /// The anomalies in it: batch, device or key, time.
    pub(crate) spikes: Vec<(usize, String, i64)>,
}

impl Work {
    /// The commands of one batch.
    pub(crate) fn batch(&self, index: usize) -> Option<&[u8]> {
        let end = *self.ends.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.bytes.get(start..end)
    }
}

/// A connection: what comes in is counted in place.
pub(crate) struct Line {
    stream: TcpStream,
    replies: Replies,
    sent: Instant,
    next: usize,
}

/// The longest wait for a reply. Machines that others share have been seen to stand still for more than a minute.
pub(crate) const MOST: Duration = Duration::from_secs(180);

impl Line {
    pub(crate) fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("the server went away")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MOST))?;
        stream.set_write_timeout(Some(MOST))?;
        let (replies, sent) = (Replies::new(), Instant::now());
        Ok(Self {
            stream,
            replies,
            sent,
            next: 0,
        })
    }

    /// Sends bytes and waits for that many replies.
    pub(crate) fn exchange(&mut self, bytes: &[u8], commands: u64) -> anyhow::Result<()> {
        self.stream
            .write_all(bytes)
            .context("the server went away")?;
        self.wait(commands)
    }

    fn wait(&mut self, commands: u64) -> anyhow::Result<()> {
        while self.replies.done < commands {
            let got = self.replies.read(&mut self.stream);
            if got.context("the server went away")? == 0 {
                bail!("the server closed a connection");
            }
        }
        self.replies.done -= commands;
        if let Some(error) = &self.replies.error {
            bail!("the server refused a command of the benchmark: {error}");
        }
        Ok(())
    }

    /// Sends the next batch, if there is one; `next` is beyond the end once nothing is awaited any more.
    fn advance(&mut self, work: &Work) -> anyhow::Result<()> {
        self.next += 1;
        if let Some(batch) = work.batch(self.next - 1) {
            self.sent = Instant::now();
            let sent = self.stream.write_all(batch);
            sent.context("the server went away")?;
        }
        Ok(())
    }
}

/// Sends each connection its work, a batch at a time, the connections in turn, so that the server always has some waiting.
/// Gives the nanoseconds from sending a batch to having read its last reply.
pub(crate) fn drive(lines: &mut [Line], works: &[Work]) -> anyhow::Result<Vec<u32>> {
    let batches = works.iter().map(|work| work.ends.len()).sum();
    let mut took = Vec::with_capacity(batches);
    let mut pairs: Vec<(&mut Line, &Work)> = lines.iter_mut().zip(works).collect();
    for (line, work) in &mut pairs {
        line.next = 0;
        line.advance(work)?;
    }
    while took.len() < batches {
        for (line, work) in &mut pairs {
            if line.next > work.ends.len() {
                continue;
            }
            line.wait(work.commands)?;
            let elapsed: Duration = line.sent.elapsed();
            took.push(u32::try_from(elapsed.as_nanos()).unwrap_or(u32::MAX));
            line.advance(work)?;
        }
    }
    Ok(took)
}

/// Counts replies in a stream of bytes. Nothing is kept but the first error.
struct Replies {
    buffer: Box<[u8]>,
    /// Bytes of the buffer that hold the beginning of a line.
    kept: usize,
    /// Bytes of a bulk string that are still to come, its line end included.
    skip: usize,
    /// Values of the reply under way that are still to come.
    items: u64,
    /// Replies that are complete and were not waited for yet.
    done: u64,
    error: Option<String>,
}

impl Replies {
    fn new() -> Self {
        Self {
            buffer: vec![0; ROOM].into(),
            kept: 0,
            skip: 0,
            items: 0,
            done: 0,
            error: None,
        }
    }

    /// Reads once and counts; the number of bytes, 0 at the end of the stream.
    fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let room = buffer.get_mut(self.kept..).unwrap_or_default();
        let got = from.read(room);
        if let Ok(got) = got {
            let all = self.kept + got;
            self.kept = self.take(buffer.get(..all).unwrap_or_default());
            buffer.copy_within(all - self.kept..all, 0);
        }
        self.buffer = buffer;
        got
    }

    /// Counts what is complete; the number of bytes at the end that are not.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        loop {
            if self.skip > 0 {
                let step = self.skip.min(rest.len());
                rest = rest.get(step..).unwrap_or_default();
                self.skip -= step;
                if self.skip > 0 {
                    return 0;
                }
                self.item();
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return rest.len();
            };
            let (line, after) = rest.split_at(end + 1);
            rest = after;
            self.line(line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        match line.first() {
            Some(b'$') => match number(line) {
                Some(length) => self.skip = length + 2,
                None => self.item(),
            },
            Some(b'*') => {
                self.items = self.items.max(1) + number(line).unwrap_or(0) as u64;
                self.item();
            }
            Some(b'-') => {
                let text = || harmless(line.get(1..).unwrap_or_default().trim_ascii_end());
                self.error.get_or_insert_with(text);
                self.item();
            }
            _ => self.item(),
        }
    }

    /// A value is complete.
    fn item(&mut self) {
        self.items = self.items.max(1) - 1;
        if self.items == 0 {
            self.done += 1;
        }
    }
}

/// The number of a line like `$12\r\n`; `None` for a nil.
fn number(line: &[u8]) -> Option<usize> {
    let digits = line.get(1..line.len().saturating_sub(2))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Replies, command};

    #[test]
    fn a_command_is_encoded_as_the_server_reads_it() {
        let mut bytes = Vec::new();
        command(&mut bytes, &[b"SET", b"key", b"0123456789ab"]);
        assert_eq!(
            bytes,
            b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$12\r\n0123456789ab\r\n"
        );
        bytes.clear();
        command(&mut bytes, &[b""]);
        assert_eq!(bytes, b"*1\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let all = b"+OK\r\n:12\r\n$5\r\na\r\nbc\r\n$-1\r\n*3\r\n+normal\r\n*2\r\n:1\r\n$1\r\nx\r\n+late\r\n*0\r\n*-1\r\n$0\r\n\r\n+OK\r\n";
        for size in 1..all.len() {
            let mut replies = Replies::new();
            for mut chunk in all.chunks(size) {
                while !chunk.is_empty() {
                    replies.read(&mut chunk).unwrap();
                }
            }
            assert_eq!((replies.done, replies.items, replies.kept), (9, 0, 0));
            assert_eq!(replies.error, None);
        }
    }

    #[test]
    fn an_error_anywhere_in_a_reply_is_seen() {
        let mut replies = Replies::new();
        replies
            .read(&mut &b"*2\r\n+normal\r\n-ERR no\r\n+OK\r\n-ERR later\r\n"[..])
            .unwrap();
        assert_eq!(
            (replies.done, replies.error.as_deref()),
            (3, Some("ERR no"))
        );
    }
}
