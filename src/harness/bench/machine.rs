//! Where and of what a measurement is.

use std::fs;
use std::process::Command;

use redis::Value;
use serde::Serialize;

use crate::alert::bytes;
use crate::bench::host::Host;
use crate::bench::measure::client_threads;

/// What a figure means nothing without.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) day: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// Runnable tasks, averaged over the last minute before the first run: above 1, somebody else was at work.
    pub(crate) load_before: String,
    pub(crate) server: String,
    pub(crate) timeseries: String,
    pub(crate) module: String,
    pub(crate) commit: String,
    pub(crate) client_threads: usize,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let first = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = first("/proc/cpuinfo");
        let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = cpu
            .unwrap_or("unknown")
            .trim_start_matches([' ', '\t', ':']);
        let load = first("/proc/loadavg");
        Self {
            day: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            cpu: cpu.to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load.split(' ').next().unwrap_or_default().to_owned(),
            server: String::new(),
            timeseries: String::from("none"),
            module: String::new(),
            commit: commit(),
            client_threads: client_threads(),
        }
    }

    /// Asks a server with the module for versions.
    pub(crate) fn ask(&mut self, host: &mut Host) -> anyhow::Result<()> {
        let valkey: Option<String> = host.info("server", "valkey_version").ok();
        self.server = match valkey {
            Some(version) => format!("Valkey {version}"),
            None => format!("Redis {}", host.info::<String>("server", "redis_version")?),
        };
        self.module = host.info("anomaly", "anomaly_version")?;
        let modules: Value = host.send(&["MODULE", "LIST"])?;
        if let Value::Array(modules) = modules {
            for module in &modules {
                let Value::Array(pairs) = module else {
                    continue;
                };
                if let [_, name, _, Value::Int(version), ..] = pairs.as_slice()
                    && bytes(name) == Some(b"timeseries")
                {
                    let (major, minor) = (version / 10_000, version / 100 % 100);
                    self.timeseries = format!("{major}.{minor}.{}", version % 100);
                }
            }
        }
        Ok(())
    }

    /// One paragraph.
    pub(crate) fn text(&self) -> String {
        format!(
            "{}, commit {}: {}, RedisTimeSeries {}, module {}; {} with {} cores, Linux {}, load {} before; \
             the client has {} thread(s).",
            self.day,
            self.commit,
            self.server,
            self.timeseries,
            self.module,
            self.cpu,
            self.cores,
            self.kernel,
            self.load_before,
            self.client_threads
        )
    }
}

/// Of the directory that this is run in.
fn commit() -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    match git(&["rev-parse", "--short", "HEAD"]) {
        None => String::from("unknown"),
        Some(commit) => match git(&["status", "--porcelain", "--untracked-files=no"]) {
            Some(changes) if changes.is_empty() => commit,
            _ => format!("{commit} with changes"),
        },
    }
}
