//! Compiles the module of the commands that do nothing, or next to nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Its source, in C because it is the module API and nothing else.
const SOURCE: &str = include_str!("floor.c");

/// Compiles it into `dir`, with `$CC` or `cc`.
pub(crate) fn build(dir: &Path) -> anyhow::Result<PathBuf> {
    let (source, library) = (dir.join("floor.c"), dir.join("floor.so"));
    std::fs::write(&source, SOURCE).context("cannot write to a new directory")?;
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output();
    let output = output.with_context(|| format!("cannot start the C compiler {compiler:?}"))?;
    if !output.status.success() {
        bail!(
            "the C compiler failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(library)
}
