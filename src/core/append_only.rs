//! An append-only file, as far as it is looked at: whether it ends within a transaction, and where that begins.

use std::mem;

/// What is longer is no line of such a file.
const LONGEST_LINE: usize = 1024;
/// So much is kept of a command's only word: enough to tell MULTI and EXEC, and their line's end.
const LONGEST_WORD: usize = 8;

/// Follows the commands of an append-only file, of which it is given one piece after the other.
#[derive(Debug, Default)]
pub struct Transactions {
    /// Bytes seen, and where the command begins that they end in.
    at: u64,
    begins: u64,
    /// A line that is not whole yet.
    line: Vec<u8>,
    /// Words of the command that are yet to come, and bytes of the next of them, with its line's end.
    words: u64,
    left: u64,
    /// The command has no other word than this.
    alone: bool,
    word: Vec<u8>,
    /// Where the transaction begins that is not over.
    open: Option<u64>,
    /// This is no such file.
    unlike: bool,
}

impl Transactions {
    /// The next piece.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first().filter(|_| !self.unlike) {
            if self.left > 0 {
                bytes = self.read_word(bytes);
                continue;
            }
            bytes = rest;
            self.at += 1;
            self.line.push(*byte);
            if *byte == b'\n' {
                self.end_line();
            } else if self.line.len() > LONGEST_LINE {
                self.unlike = true;
            }
        }
    }

    /// Where the transaction begins that the file ends in; `None` where it ends in none, in the midst of a command, or is no such
    /// file.
    #[must_use]
    pub fn unfinished(&self) -> Option<u64> {
        let whole = !self.unlike && self.words == 0 && self.line.is_empty();
        self.open.filter(|_| whole)
    }

    fn read_word<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (now, rest) = bytes.split_at(here);
        if self.alone {
            let room = LONGEST_WORD.saturating_sub(self.word.len());
            self.word.extend(now.iter().take(room));
        }
        (self.at, self.left) = (self.at + here as u64, self.left - here as u64);
        if self.left == 0 {
            self.words -= 1;
            if self.words == 0 {
                self.end_command();
            }
        }
        rest
    }

    fn end_line(&mut self) {
        let line = mem::take(&mut self.line);
        let number =
            |digits: &[u8]| -> Option<u64> { std::str::from_utf8(digits).ok()?.parse().ok() };
        match (self.words, line.trim_ascii_end()) {
            // When it was written, for whoever wants to go back to some time.
            (0, [b'#', ..]) => self.begins = self.at,
            (0, [b'*', digits @ ..]) => {
                self.words = number(digits).unwrap_or(0);
                self.alone = self.words == 1;
                self.unlike = self.words == 0;
                self.word.clear();
            }
            (1.., [b'$', digits @ ..]) => match number(digits).and_then(|len| len.checked_add(2)) {
                Some(len) => self.left = len,
                None => self.unlike = true,
            },
            _ => self.unlike = true,
        }
    }

    fn end_command(&mut self) {
        if self.alone && self.word.eq_ignore_ascii_case(b"MULTI\r\n") {
            self.open.get_or_insert(self.begins);
        } else if self.alone && self.word.eq_ignore_ascii_case(b"EXEC\r\n") {
            self.open = None;
        }
        self.begins = self.at;
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a failure here is a failed test")]
mod tests {
    use super::Transactions;
    use proptest::prelude::*;

    fn command(words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend(format!("${}\r\n", word.len()).bytes());
            bytes.extend(*word);
            bytes.extend(b"\r\n");
        }
        bytes
    }

    fn unfinished(bytes: &[u8], piece: usize) -> Option<u64> {
        let mut file = Transactions::default();
        bytes.chunks(piece).for_each(|piece| file.read(piece));
        file.unfinished()
    }

    /// Whole commands, and where each ends.
    fn file() -> (Vec<u8>, Vec<usize>) {
        let like_one: &[u8] = b"*1\r\n$5\r\nMULTI\r\n*1\r\n$4\r\nEXEC\r\n";
        let all = [
            command(&[b"SELECT", b"0"]),
            command(&[b"SET", b"MULTI", like_one]),
            [b"#TS:1700000000\r\n".to_vec(), command(&[b"multi"])].concat(),
            command(&[b"SET", b"EXEC", b""]),
            command(&[b"DEL", like_one]),
            command(&[b"EXEC"]),
            command(&[b"MULTI"]),
            command(&[b"SET", b"a", &[b'x'; 3000]]),
            command(&[b"exec"]),
        ];
        let mut ends = vec![0];
        for one in &all {
            ends.push(ends[ends.len() - 1] + one.len());
        }
        (all.concat(), ends)
    }

    #[test]
    fn a_file_that_ends_between_a_transactions_commands_tells_where_that_begins() {
        let (bytes, ends) = file();
        // The line of the time stays.
        let first = (ends[2] + b"#TS:1700000000\r\n".len()) as u64;
        for (end, since) in ends.iter().zip([
            None,
            None,
            None,
            Some(first),
            Some(first),
            Some(first),
            None,
            Some(ends[6] as u64),
            Some(ends[6] as u64),
            None,
        ]) {
            for piece in [1, 7, 4096] {
                assert_eq!(unfinished(&bytes[..*end], piece), since, "{end} {piece}");
            }
        }
    }

    #[test]
    fn a_file_that_ends_in_the_midst_of_a_command_tells_nothing() {
        let (bytes, ends) = file();
        for end in (0..bytes.len()).filter(|end| !ends.contains(end)) {
            // Where a time is all that follows, nothing of a command is missing.
            assert_eq!(unfinished(&bytes[..end], 64), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn whatever_it_is_given_it_ends(bytes in prop::collection::vec(prop::sample::select(b"*$#123\r\nMULTIEXEC".to_vec()), 0..300)) {
            let _ = unfinished(&bytes, 16);
        }
    }
}
