//! The `anomaly` program while it runs.

use crate::dir::Dir;
use std::fs::{self, File};
use std::process::{Child, Command};

/// A program whose output and errors go to files; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    dir: Dir,
}

impl Program {
    /// Starts what [`anomaly`](crate::anomaly) gives, with arguments.
    pub fn start(command: &mut Command) -> Self {
        let dir = Dir::new();
        let file = |name| File::create(dir.join(name)).expect("a new file");
        let child = command
            .stdout(file("out"))
            .stderr(file("errors"))
            .spawn()
            .expect("the program starts");
        Self { child, dir }
    }

    /// Its output so far.
    pub fn shown(&self) -> String {
        fs::read_to_string(self.dir.join("out")).expect("its output is UTF-8")
    }

    /// Its errors and notes so far.
    pub fn said(&self) -> String {
        fs::read_to_string(self.dir.join("errors")).expect("its errors are UTF-8")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ids of alerts that were shown with `--format json`, in order; a line that is not whole yet is left out.
pub fn alert_ids(lines: &str) -> Vec<String> {
    let id = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(json["id"].as_str()?.to_owned())
    };
    lines.lines().filter_map(id).collect()
}
