//! What a server is started with.

use crate::artifact::module;
use crate::dir::Dir;
use crate::process::Process;
use crate::server::Server;
use crate::setup::{redis_server, timeseries};
use crate::wait::holds_within;
use crate::{port, text};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A server to be started: by default the one under test with RedisTimeSeries and the module, in a directory of its own,
/// without persistence.
#[derive(Debug)]
#[must_use = "start() starts it"]
pub struct Builder {
    program: PathBuf,
    dir: Arc<Dir>,
    lines: Vec<String>,
    module: Option<Vec<String>>,
    timeseries: bool,
    cluster: bool,
    own_slots: bool,
}

/// Why a server did not start.
#[derive(Debug)]
pub struct Refused {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it said.
    pub log: String,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            program: redis_server().to_owned(),
            dir: Arc::new(Dir::new()),
            lines: Vec::new(),
            module: Some(Vec::new()),
            timeseries: true,
            cluster: false,
            own_slots: false,
        }
    }
}

impl Builder {
    /// Another server program, see [`fetched_server`](crate::fetched_server).
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// A line of redis.conf: `maxmemory 10mb`, `anomaly.archive off`.
    pub fn config(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Arguments of our `loadmodule`.
    pub fn module_args(mut self, args: &[&str]) -> Self {
        self.module = Some(args.iter().map(|&arg| arg.to_owned()).collect());
        self
    }

    /// Without our module.
    pub fn without_module(mut self) -> Self {
        self.module = None;
        self
    }

    /// Without RedisTimeSeries.
    pub fn without_timeseries(mut self) -> Self {
        self.timeseries = false;
        self
    }

    /// With an append-only file.
    pub fn aof(self) -> Self {
        self.config("appendonly yes").config("appendfsync no")
    }

    /// As a replica of `master`. See [`Server::replica_in_sync`].
    pub fn replica_of(self, master: &Server) -> Self {
        self.config(format!("replicaof 127.0.0.1 {}", master.port()))
    }

    /// Its directory, for a file that it is to find there.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// In a directory that other servers use too, before or after: their files are found.
    pub fn dir(mut self, dir: &Arc<Dir>) -> Self {
        self.dir = Arc::clone(dir);
        self
    }

    /// In cluster mode, with all slots: a cluster of one.
    pub fn cluster(mut self) -> Self {
        (self.cluster, self.own_slots) = (true, true);
        self
    }

    /// In cluster mode, without slots: to be met and given some.
    pub fn cluster_node(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Server {
        let program = self.program.clone();
        self.try_start().unwrap_or_else(|refused| {
            panic!(
                "{} did not start ({}):\n{}",
                program.display(),
                refused.status,
                refused.log
            )
        })
    }

    /// As [`start`](Self::start), but a server that ends instead of answering is an answer too.
    pub fn try_start(self) -> Result<Server, Refused> {
        let mut refused = None;
        for _ in 0..10 {
            match self.attempt() {
                // another process took the port since it was found free
                Err(e) if e.log.contains("Address already in use") => refused = Some(e),
                other => return other,
            }
        }
        Err(refused.expect("ten attempts"))
    }

    fn attempt(&self) -> Result<Server, Refused> {
        let port = port::free_port();
        let dir = self.dir.path();
        let config = dir.join(format!("redis-{port}.conf"));
        let log = dir.join(format!("server-{port}.log"));
        fs::write(&config, self.text(port)).expect("the configuration can be written");
        let mut process = Process::spawn(&self.program, &config, dir, &log);
        answers(&mut process, port, &log)?;
        let server = Server::new(self.program.clone(), Arc::clone(&self.dir), port, process);
        if self.own_slots {
            server.cmd(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
            server.wait_until("the cluster is up", || {
                text(&server.cmd(&["CLUSTER", "INFO"])).contains("state:ok")
            });
        }
        Ok(server)
    }

    fn text(&self, port: u16) -> String {
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".into(),
            format!("dir {}", quoted(self.dir.path())),
            "save \"\"".into(),
            "repl-diskless-sync-delay 0".into(),
        ];
        if major(&self.program) >= 7 {
            lines.extend([
                "enable-debug-command yes".into(),
                "enable-module-command yes".into(),
            ]);
        }
        if self.cluster {
            let config = format!("cluster-config-file nodes-{port}.conf");
            lines.extend([
                "cluster-enabled yes".into(),
                config,
                format!("cluster-port {}", port::free_port()),
            ]);
        }
        if self.timeseries {
            let file = timeseries().expect("this test needs RedisTimeSeries: name its file by REDIS_TIMESERIES (make) or ANOMALY_TIMESERIES");
            lines.push(format!("loadmodule {}", quoted(&self.beside(file))));
        }
        if let Some(args) = &self.module {
            lines.push(format!(
                "loadmodule {} {}",
                quoted(&self.beside(module())),
                args.join(" ")
            ));
        }
        lines.extend(self.lines.iter().cloned());
        lines.join("\n") + "\n"
    }

    /// The file by a link in the server's directory: CONFIG REWRITE writes paths of modules unquoted, and a checkout's may
    /// have a space.
    fn beside(&self, file: &Path) -> PathBuf {
        let link = self
            .dir
            .join(&file.file_name().expect("a file").to_string_lossy());
        match symlink(file, &link) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                panic!("cannot make {}: {error}", link.display())
            }
            _ => link,
        }
    }
}

/// Waits until the server answers PING (which a server that loads data does not) or has ended.
pub(crate) fn answers(process: &mut Process, port: u16, log: &Path) -> Result<(), Refused> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a valid address");
    let mut ended = None;
    let reached = holds_within(Duration::from_secs(120), || {
        ended = process.exited();
        let pong = || {
            client
                .get_connection()
                .and_then(|mut c| redis::cmd("PING").query::<String>(&mut c))
        };
        ended.is_some() || pong().is_ok()
    });
    let said = || fs::read_to_string(log).unwrap_or_default();
    assert!(
        reached,
        "the server on port {port} does not answer:\n{}",
        said()
    );
    match ended {
        Some(status) => Err(Refused {
            status,
            log: said(),
        }),
        None => Ok(()),
    }
}

/// A path as redis.conf wants it.
pub(crate) fn quoted(path: &Path) -> String {
    let path = path.to_str().expect("paths are UTF-8");
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The server's major version: a line of redis.conf that it does not know would keep it from starting.
fn major(program: &Path) -> u32 {
    static KNOWN: OnceLock<Mutex<HashMap<PathBuf, u32>>> = OnceLock::new();
    let mut known = KNOWN
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    *known.entry(program.to_owned()).or_insert_with(|| {
        let output = Command::new(program).arg("--version").output();
        let output = output.unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        let number = version
            .split("v=")
            .nth(1)
            .and_then(|v| v.split('.').next())
            .and_then(|v| v.parse().ok());
        number.unwrap_or_else(|| panic!("{} is no Redis: {version}", program.display()))
    })
}
