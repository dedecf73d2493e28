//! The module and the binary, as the sources stand now.
//!
//! `cargo test` does not build a crate that is only a cdylib, so the suite builds it, once for each test process: cargo
//! decides what is fresh, a stale module is never tested.

use crate::setup::{build_environment, checkout};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, ffi::OsString};

/// `libredis_anomaly.so` of the dev profile, or what `ANOMALY_MODULE` names.
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| match env::var_os("ANOMALY_MODULE") {
        Some(path) => path.into(),
        None => build("redis-anomaly", "redis_anomaly"),
    })
}

/// A command that runs the `anomaly` binary of the dev profile.
pub fn anomaly() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BINARY.get_or_init(|| build("anomaly", "anomaly")))
}

/// Another module, built from the source in C at that place in the checkout and put into a directory. Where it is.
pub fn c_module(source: &str, dir: &Path) -> String {
    let source = checkout().join(source);
    let name = source.file_stem().expect("a file").to_string_lossy();
    let library = dir.join(format!("{name}.so"));
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .output()
        .expect("cc can be started");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    library.to_str().expect("paths are UTF-8").to_owned()
}

/// Builds `package` and tells where cargo put the file of its target.
fn build(package: &str, target: &str) -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .args([
            "build",
            "--locked",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "-p",
            package,
        ])
        .current_dir(checkout())
        .envs(
            build_environment()
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "cargo build -p {package} failed, see above"
    );
    let messages = String::from_utf8(output.stdout).expect("cargo prints JSON");
    let file = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .find_map(|message: Value| {
            let ours =
                message["reason"] == "compiler-artifact" && message["target"]["name"] == target;
            let kind = &message["target"]["kind"][0];
            let file = if kind == "cdylib" {
                &message["filenames"][0]
            } else {
                &message["executable"]
            };
            file.as_str().filter(|_| ours).map(PathBuf::from)
        });
    file.unwrap_or_else(|| panic!("cargo build -p {package} made no {target}"))
}
