//! A Redis server that cannot outlive this process.
//!
//! Its parent is a shell that holds the reading end of a pipe; we hold the writing end and never write. However this
//! process ends, by Ctrl-C, a panic or SIGKILL, the kernel closes our end, the shell's `read` returns, and the shell kills
//! the server and removes its directory. Cleaning up in `Drop` alone would not survive a SIGKILL, and a signal at the
//! parent's death (`PR_SET_PDEATHSIG`) comes at the death of the starting *thread*.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::server::Server;
use crate::stop::Stop;
use crate::tls::Tls;

/// `$1` is the directory, the rest the server's command line. Standard error: the server's last words.
/// What the shell itself has to say goes nowhere: written to a pipe that nobody reads, it would end the shell too early.
const LEASH: &str = r#"
dir=$1
shift
exec 3<&0 4>&2 </dev/null 2>/dev/null
"$@" 3<&- 4>&- >"$dir/output" 2>&1 &
server=$!
(read -r _ <&3; kill -9 "$server") 4>&- &
leash=$!
exec 3<&-
wait "$server"
status=$?
kill -9 "$leash"
tail -n 3 "$dir/output" >&4
rm -rf -- "$dir"
exit "$status"
"#;

const START: Duration = Duration::from_secs(20);
/// Between asking the system for a free port and the server taking it, another process may.
const PORTS_TRIED: usize = 5;

/// The server and its leash; dropping it ends the server.
pub(crate) struct PrivateServer {
    pub(crate) server: Server,
    pub(crate) port: u16,
    shell: Child,
    leash: Option<ChildStdin>,
    /// Removed by the shell, and once more here should the shell have failed.
    _dir: TempDir,
}

impl PrivateServer {
    /// Starts the server with these modules, and lines of redis.conf beside its own, and waits until it answers.
    pub(crate) fn start(
        program: &Path,
        modules: &[&Path],
        settings: &[String],
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let mut lines = settings.to_vec();
        for path in modules {
            let path = path
                .canonicalize()
                .with_context(|| format!("cannot find {}", path.display()))?;
            let path = path.to_str().context("a module's path must be UTF-8")?;
            lines.push(format!("loadmodule {}", quoted(path)));
        }
        for _ in 0..PORTS_TRIED {
            let mut private = Self::spawn(program, &lines)?;
            match private.wait(stop)? {
                Started::Answers => return Ok(private),
                Started::PortTaken => {}
            }
        }
        bail!("no free port was found on the loopback interface")
    }

    fn spawn(program: &Path, lines: &[String]) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("anomaly-")
            .tempdir()
            .context("cannot make a directory")?;
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = port.context("cannot find a free port")?.port();
        let conf = dir.path().join("redis.conf");
        let mut text = format!(
            "bind 127.0.0.1\nport {port}\nsave \"\"\nappendonly no\ndir {}\n",
            quoted(&dir.path().to_string_lossy())
        );
        for line in lines {
            text += line;
            text.push('\n');
        }
        fs::write(&conf, text).context("cannot write to a new directory")?;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", LEASH, "anomaly"])
            .args([dir.path(), program, &conf])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A process group of its own: Ctrl-C is for us, the server must stay for the summary.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        let leash = shell.stdin.take();
        let server = Server::new(&format!("redis://127.0.0.1:{port}"), &Tls::default())?;
        Ok(Self {
            server,
            port,
            shell,
            leash,
            _dir: dir,
        })
    }

    fn wait(&mut self, stop: &Stop) -> anyhow::Result<Started> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline && !stop.requested() {
            if self
                .shell
                .try_wait()
                .context("cannot ask for the server's state")?
                .is_some()
            {
                let mut output = String::new();
                if let Some(mut words) = self.shell.stderr.take() {
                    let _ = words.read_to_string(&mut output);
                }
                if output.contains("Address already in use") {
                    return Ok(Started::PortTaken);
                }
                bail!("the server did not start; it said: {}", last_words(&output));
            }
            if let Ok(mut connection) = self.server.try_connect()
                && redis::cmd("PING").exec(&mut connection).is_ok()
            {
                return Ok(Started::Answers);
            }
            thread::sleep(Duration::from_millis(20));
        }
        if stop.requested() {
            bail!("stopped before the server answered");
        }
        bail!("the server did not answer within {} s", START.as_secs())
    }
}

enum Started {
    Answers,
    PortTaken,
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        drop(self.leash.take());
        // The shell ends as soon as the server is dead, which is at once. Its directory goes after it, with `dir`.
        let _ = self.shell.wait();
    }
}

/// The end of a log on one line.
fn last_words(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    crate::terminal::harmless(lines.join(" / ").as_bytes())
}

/// A string as redis.conf reads it, also with spaces and quotation marks in it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::{PrivateServer, last_words, quoted};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn when_the_pipe_closes_the_server_dies_and_its_directory_goes() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("a server");
        let pid = dir.path().join("pid");
        fs::write(
            &program,
            format!("#!/bin/sh\necho $$ >'{}'\nexec sleep 600\n", pid.display()),
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut private = PrivateServer::spawn(&program, &[]).unwrap();
        while fs::read_to_string(&pid).unwrap_or_default().is_empty() {
            std::thread::yield_now();
        }
        // What SIGKILL leaves of us: nobody reads the shell's messages, and the writing end is closed.
        drop(private.shell.stderr.take());
        drop(private.leash.take());
        private.shell.wait().unwrap();
        assert!(!private._dir.path().exists());
        let pid = fs::read_to_string(&pid).unwrap();
        assert!(!std::path::Path::new("/proc").join(pid.trim()).exists());
    }

    #[test]
    fn paths_are_quoted_for_redis_conf() {
        assert_eq!(quoted("/a b/\"c\"\\d"), r#""/a b/\"c\"\\d""#);
    }

    #[test]
    fn a_server_that_fails_is_quoted_on_one_line() {
        assert_eq!(last_words("one\n\n  two \x1b\n"), "one / two \\u{1b}");
        assert_eq!(last_words(""), "");
    }
}
