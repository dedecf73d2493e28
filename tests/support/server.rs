//! A running server.

use crate::builder::{Builder, answers};
use crate::call::{call, try_call};
use crate::dir::Dir;
use crate::process::Process;
use crate::wait::{holds_within, wait_until};
use crate::{artifact, entries, text};
use redis::{Connection, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, thread};

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM: it saves if it is configured to.
    Term,
    /// SHUTDOWN SAVE: writes an RDB file whatever is configured.
    Save,
    /// SHUTDOWN NOSAVE: leaves the files as they are.
    NoSave,
    /// SIGKILL.
    Kill9,
}

/// A server of this test alone, killed when dropped. If the test fails, the end of its log is printed.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    dir: Arc<Dir>,
    port: u16,
    process: Process,
    own: Mutex<Option<Own>>,
}

/// The connection that [`Server::cmd`] uses.
struct Own(Connection);

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

impl Server {
    /// The server under test with RedisTimeSeries and the module.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Anything else.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(program: PathBuf, dir: Arc<Dir>, port: u16, process: Process) -> Self {
        Self {
            program,
            dir,
            port,
            process,
            own: Mutex::new(None),
        }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address for a client.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Where its files are.
    pub fn dir(&self) -> &Arc<Dir> {
        &self.dir
    }

    /// Everything it said, since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join(&format!("server-{}.log", self.port))).unwrap_or_default()
    }

    /// A new connection, RESP2.
    pub fn conn(&self) -> Connection {
        self.connect(&self.url())
    }

    /// A new connection, RESP3.
    pub fn resp3(&self) -> Connection {
        self.connect(&format!("{}/?protocol=resp3", self.url()))
    }

    fn connect(&self, url: &str) -> Connection {
        let client = redis::Client::open(url).expect("a valid address");
        client
            .get_connection()
            .unwrap_or_else(|e| panic!("{url} takes no connection: {e}"))
    }

    /// The reply (RESP2) to a command; an error reply fails the test. Bytes and, with [`args!`](crate::args), numbers are
    /// possible arguments.
    pub fn cmd<A: AsRef<[u8]>>(&self, args: &[A]) -> Value {
        call(
            &mut self.own().get_or_insert_with(|| Own(self.conn())).0,
            args,
        )
    }

    /// The reply (RESP2) to a command, or the text of the error reply.
    pub fn try_cmd<A: AsRef<[u8]>>(&self, args: &[A]) -> Result<Value, String> {
        try_call(
            &mut self.own().get_or_insert_with(|| Own(self.conn())).0,
            args,
        )
    }

    /// The text of the error that a command must give.
    pub fn refuses<A: AsRef<[u8]>>(&self, args: &[A]) -> String {
        self.try_cmd(args).expect_err("an error reply was expected")
    }

    fn own(&self) -> MutexGuard<'_, Option<Own>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fields of a section of INFO.
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        let lines = text(&self.cmd(&["INFO", section]));
        lines
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    }

    /// All entries of a stream: ids and fields.
    pub fn stream(&self, key: &str) -> Vec<(String, Vec<(String, String)>)> {
        entries(&self.cmd(&["XRANGE", key, "-", "+"]))
    }

    /// DEBUG DIGEST-VALUE of a key.
    pub fn digest(&self, key: impl AsRef<[u8]>) -> String {
        text(&crate::list(&self.cmd(&[b"DEBUG", b"DIGEST-VALUE".as_slice(), key.as_ref()]))[0])
    }

    /// A command that runs the `anomaly` binary against this server.
    pub fn anomaly(&self) -> Command {
        let mut command = artifact::anomaly();
        command.env("REDIS_URL", self.url());
        command
    }

    /// Sends a signal by name: `STOP`, `CONT`, `USR1`.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Whether its process has ended.
    pub fn ended(&mut self) -> bool {
        self.process.exited().is_some()
    }

    /// Ends it and waits until it is gone.
    pub fn stop(&mut self, how: Stop) {
        let said = match how {
            Stop::Kill9 => return self.process.kill(),
            Stop::Term => {
                self.signal("TERM");
                None
            }
            Stop::Save => Some("SAVE"),
            Stop::NoSave => Some("NOSAVE"),
        };
        if let Some(word) = said {
            // The good reply is none: the connection closes.
            match redis::cmd("SHUTDOWN")
                .arg(word)
                .query::<Value>(&mut self.conn())
            {
                Err(e) if e.is_io_error() || e.is_connection_dropped() => {}
                other => panic!("SHUTDOWN {word}: {other:?}"),
            }
        }
        let process = &mut self.process;
        wait_until("the server has ended", || process.exited().is_some());
    }

    /// SIGKILL; see [`start_again`](Self::start_again).
    pub fn kill9(&mut self) {
        self.stop(Stop::Kill9);
    }

    /// Starts a stopped server: same port, same files, same configuration. Waits until it answers.
    pub fn start_again(&mut self) {
        let (dir, log) = (
            self.dir.path(),
            self.dir.join(&format!("server-{}.log", self.port)),
        );
        *self.own() = None;
        let mut said = self.log().len();
        for _ in 0..100 {
            self.process = Process::spawn(&self.program, &self.config_file(), dir, &log);
            let Err(refused) = answers(&mut self.process, self.port, &log) else {
                return;
            };
            // A child that a killed server has forked a moment ago may still hold its port.
            let now = refused.log.get(said..).unwrap_or_default();
            assert!(
                now.contains("Address already in use"),
                "the server did not start again ({})",
                refused.status
            );
            said = refused.log.len();
            thread::sleep(Duration::from_millis(50));
        }
        panic!("port {} is not given back", self.port);
    }

    /// [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub fn restart(&mut self, how: Stop) {
        self.stop(how);
        self.start_again();
    }

    /// Its configuration file, for a change before it is started again.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join(&format!("redis-{}.conf", self.port))
    }

    /// As the free [`wait_until`], but a server that has ended fails the test at once.
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let alive = || Path::new("/proc").join(self.pid().to_string()).exists();
        wait_until(what, || {
            assert!(alive(), "the server ended while waiting until {what}");
            condition()
        });
    }

    /// Whether this server leaves a client in the other database after MOVE and COPY with DB, and passes on what follows
    /// there, as soon as any module listens to keyspace events: Valkey 8.1.0 and 8.1.1 do, with RedisTimeSeries alone too.
    /// Says loudly that the test leaves it out.
    pub fn moves_wrongly(&self) -> bool {
        let version = self.info("server").remove("valkey_version");
        let wrong = version.filter(|version| ["8.1.0", "8.1.1"].contains(&version.as_str()));
        if let Some(version) = &wrong {
            eprintln!(
                "SKIPPED: MOVE and COPY to another database, after which Valkey {version} leaves the client there"
            );
        }
        wrong.is_some()
    }

    /// Waits until `replica` has everything that this server has replicated so far.
    pub fn replica_in_sync(&self, replica: &Server) {
        let mut last = BTreeMap::new();
        let reached = holds_within(Duration::from_secs(60), || {
            let offset = |info: &BTreeMap<String, String>, name: &str| {
                info.get(name).and_then(|n| n.parse::<u64>().ok())
            };
            let sent = offset(&self.info("replication"), "master_repl_offset");
            last = replica.info("replication");
            let up = last
                .get("master_link_status")
                .is_some_and(|status| status == "up");
            up && sent.is_some() && offset(&last, "slave_repl_offset") >= sent
        });
        assert!(reached, "the replica did not catch up: {last:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!(
                "---- the end of the log of the server on port {} ----\n{tail}\n----",
                self.port
            );
        }
    }
}
