//! Where the servers are: what the environment names (as `make test` does), else what `scripts/bootstrap.sh` fetches.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::{env, str};

/// Everything the set-up decides.
struct Setup {
    server: PathBuf,
    timeseries: Option<PathBuf>,
    /// what the build of the module needs besides cargo: where libclang is
    build: Vec<(&'static str, String)>,
}

/// The root of this checkout.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the checkout")
}

/// The server under test.
pub fn redis_server() -> &'static Path {
    &setup().server
}

/// The client that belongs to the set-up, which speaks TLS.
pub fn redis_cli() -> PathBuf {
    match filled("ANOMALY_REDIS_CLI") {
        Some(program) => program.into(),
        None => cache().join("redis74/bin/redis-cli"),
    }
}

/// `redistimeseries.so`, unless the server given by the user has none.
pub fn timeseries() -> Option<&'static Path> {
    setup().timeseries.as_deref()
}

/// One of the other servers of `scripts/bootstrap.sh`: `redis6`, `redis7`, `redis8`, `redis82`, `valkey80`, `valkey81`,
/// `valkey9`. None if it was
/// not fetched, unless `ANOMALY_MATRIX` is set, as `make test-matrix` does: then it is.
pub fn fetched_server(part: &str) -> Option<PathBuf> {
    let program = cache().join(part).join("bin/redis-server");
    if filled("ANOMALY_MATRIX").is_some() {
        let output = bootstrap(&[part], &[]);
        assert!(
            output.status.success(),
            "bootstrap.sh {part}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    program.exists().then_some(program)
}

/// Runs `scripts/bootstrap.sh` with these parts and additions to the environment.
pub fn bootstrap(parts: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(checkout().join("scripts/bootstrap.sh"))
        .args(parts)
        .envs(variables.iter().copied())
        .current_dir(checkout())
        .output()
        .expect("scripts/bootstrap.sh can be started")
}

pub(crate) fn build_environment() -> &'static [(&'static str, String)] {
    &setup().build
}

fn cache() -> PathBuf {
    checkout().join(env::var_os("BOOTSTRAP_CACHE").unwrap_or_else(|| ".cache".into()))
}

fn setup() -> &'static Setup {
    static SETUP: OnceLock<Setup> = OnceLock::new();
    SETUP.get_or_init(|| match filled("ANOMALY_REDIS_SERVER") {
        Some(server) => {
            let timeseries = filled("ANOMALY_TIMESERIES").map(PathBuf::from);
            Setup {
                server: server.into(),
                timeseries,
                build: Vec::new(),
            }
        }
        None => fetched(),
    })
}

fn filled(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

fn fetched() -> Setup {
    let output = bootstrap(&["default"], &[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    const NAMES: [&str; 4] = [
        "ANOMALY_REDIS_SERVER",
        "ANOMALY_TIMESERIES",
        "LIBCLANG_PATH",
        "BINDGEN_EXTRA_CLANG_ARGS",
    ];
    let values = NAMES.map(|name| {
        let script = format!(r#". "$1" && printf %s "${{{name}:-}}""#);
        let output = Command::new("/bin/sh")
            .args(["-c", &script, "sh"])
            .arg(cache().join("env"))
            .output();
        let output = output.expect("/bin/sh starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        str::from_utf8(&output.stdout)
            .expect("paths are UTF-8")
            .to_owned()
    });
    let [server, timeseries, libclang, clang_args] = values;
    let build = [
        ("LIBCLANG_PATH", libclang),
        ("BINDGEN_EXTRA_CLANG_ARGS", clang_args),
    ];
    Setup {
        server: server.into(),
        timeseries: Some(timeseries)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        build: build
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
    }
}
