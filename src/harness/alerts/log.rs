//! A log file that is rotated by size and never torn.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// How far back ids are looked for. Only what was not yet acknowledged can come again, so this is generous.
const TAIL: u64 = 1 << 20;

/// Appends lines; `path` is the current file, `path.1` the one before it.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    /// A line that would make the file larger than this goes to a new one.
    limit: u64,
    keep: u32,
}

impl Log {
    pub(crate) fn open(path: &Path, limit: u64, keep: u32) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        let mut log = Self {
            path: path.to_owned(),
            file,
            size,
            limit,
            keep,
        };
        if !log.ends_with_newline()? {
            // A crash of the machine left half a line: ours must not grow onto it.
            log.append(b"\n")?;
        }
        Ok(log)
    }

    /// The lines at the end of this file and of the one before, oldest first.
    pub(crate) fn tail(&self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for path in [self.numbered(1), self.path.clone()] {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let size = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
            for line in BufReader::new(file).split(b'\n') {
                lines.push(String::from_utf8_lossy(&line?).into_owned());
            }
        }
        Ok(lines)
    }

    /// Appends one line in a single write, so that being killed cannot tear it. The operating system has it when this
    /// returns; it reaches the disk when the system sees fit, as the server's own AOF does by default.
    pub(crate) fn write_line(&mut self, line: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        if self.size > 0 && self.size + bytes.len() as u64 > self.limit {
            self.rotate()?;
        }
        self.append(&bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.keep == 0 {
            self.file.set_len(0)?;
            self.size = 0;
            return Ok(());
        }
        for number in (1..self.keep).rev() {
            rename_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        rename_if_there(&self.path, &self.numbered(1))?;
        self.file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }

    fn ends_with_newline(&mut self) -> io::Result<bool> {
        if self.size == 0 {
            return Ok(true);
        }
        self.file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        self.file.read_exact(&mut last)?;
        Ok(last == *b"\n")
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Log;
    use std::fs;

    #[test]
    fn rotation_keeps_the_newest_files_and_every_line_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.log");
        let mut log = Log::open(&path, 25, 2).unwrap();
        for number in 0..10 {
            log.write_line(&format!("line {number:04}")).unwrap();
        }
        drop(log);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("alerts.log"), "line 0008\nline 0009\n");
        assert_eq!(read("alerts.log.1"), "line 0006\nline 0007\n");
        assert_eq!(read("alerts.log.2"), "line 0004\nline 0005\n");
        assert!(!dir.path().join("alerts.log.3").exists());
    }

    #[test]
    fn a_line_longer_than_the_limit_gets_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.log");
        let mut log = Log::open(&path, 5, 1).unwrap();
        log.write_line("first and long").unwrap();
        log.write_line("second and long").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second and long\n");
    }

    #[test]
    fn nothing_is_kept_where_nothing_shall_be_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.log");
        let mut log = Log::open(&path, 10, 0).unwrap();
        for number in 0..5 {
            log.write_line(&format!("line {number}")).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reopening_appends_reads_the_tail_and_closes_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.log");
        fs::write(dir.path().join("alerts.log.1"), "older\n").unwrap();
        fs::write(&path, "whole\nto").unwrap();
        let mut log = Log::open(&path, 1000, 2).unwrap();
        assert_eq!(log.tail().unwrap(), ["older", "whole", "to"]);
        log.write_line("next").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nto\nnext\n");
    }
}
