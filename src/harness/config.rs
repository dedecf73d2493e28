//! `anomaly config push`: one document of rules and watches on every master.

use std::fs;
use std::path::PathBuf;

use anomaly_core::document::{self, Document};
use anomaly_core::rule::Rules;
use anomaly_core::watch::Watches;
use anyhow::{Context as _, anyhow, bail};
use redis::Connection;

use crate::cluster::{self, Names};
use crate::server::{Server, has_module, plain};

/// Rules and watches of a whole cluster
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Push(Push),
}

/// Import a document (that of ANOMALY.CONFIG EXPORT) on every master, and see by EXPORT that it is there
///
/// The masters are found by CLUSTER NODES; replicas follow their masters; a single server is served alike. One line is
/// printed for each node. The exit code is 0 only if every master has the document; run it again then, importing twice
/// changes nothing.
#[derive(clap::Args)]
struct Push {
    /// The document, as ANOMALY.CONFIG EXPORT gives it
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Also remove every rule and watch that is not in the document
    #[arg(long)]
    replace: bool,
}

pub(crate) fn run(server: &Server, args: &Args) -> anyhow::Result<()> {
    let Command::Push(args) = &args.command;
    let name = args.file.display();
    let text = fs::read(&args.file).with_context(|| format!("FILE '{name}' cannot be read"))?;
    // Before any node is touched.
    let given = document::import(&text).map_err(|error| {
        let why = error.to_string();
        anyhow!("FILE '{name}': {}", why.trim_start_matches("ERR "))
    })?;
    let mut first = server.connect_with_module()?;
    let masters = cluster::masters(&mut first, server.names()).map_err(|error| {
        anyhow!(
            "{} does not tell its nodes: {}",
            server.address(),
            plain(&error)
        )
    })?;
    let nodes = match masters {
        None => vec![server.clone()],
        Some(masters) => masters
            .iter()
            .map(|(host, port)| server.at(host, *port))
            .collect::<anyhow::Result<Vec<_>>>()?,
    };
    if nodes.is_empty() {
        bail!("{} knows of no master that is up", server.address());
    }
    let (mut asked, mut failed) = (0, 0);
    for node in &nodes {
        match push(node, &text, &given, args.replace) {
            // Who has just become a replica is still a master to some: it has what its own master has.
            Ok(None) => continue,
            Ok(Some(done)) => println!("{}: {done}", node.address()),
            Err(error) => {
                failed += 1;
                println!("{}: FAILED: {error:#}", node.address());
            }
        }
        asked += 1;
    }
    if failed > 0 {
        bail!("{failed} of {asked} nodes do not have the document");
    }
    if asked == 0 {
        bail!("{} knows of no master", server.address());
    }
    Ok(())
}

/// Imports and verifies; what was done, in words, or nothing on a replica.
fn push(
    node: &Server,
    text: &[u8],
    given: &Document,
    replace: bool,
) -> anyhow::Result<Option<String>> {
    let connection = &mut node.connect()?;
    if !has_module(connection).unwrap_or(true) {
        bail!("{}", node.no_module());
    }
    let before = export(connection)?;
    let mut import = redis::cmd("ANOMALY.CONFIG");
    import.arg("IMPORT").arg(text);
    if replace {
        import.arg("REPLACE");
    }
    match import.exec(connection) {
        Err(error) if error.code() == Some("READONLY") && in_cluster(connection) => {
            return Ok(None);
        }
        imported => imported.map_err(|error| anyhow!("{}", plain(&error)))?,
    }
    let (mut rules, mut watches) = (Rules::default(), Watches::default());
    if !replace {
        let before =
            document::import(before.as_bytes()).map_err(|error| anyhow!("EXPORT: {error}"))?;
        rules.import(before.rules, true);
        watches.import(before.watches, true);
    }
    rules.import(given.rules.clone(), replace);
    watches.import(given.watches.clone(), replace);
    let after = export(connection)?;
    if after != document::export(&rules, &watches) {
        bail!(
            "imported, but EXPORT gives something else: does somebody change rules at this time?"
        );
    }
    let counts = format!(
        "{} rules, {} watches",
        rules.list().len(),
        watches.list().len()
    );
    Ok(Some(if after == before {
        format!("unchanged, {counts}")
    } else {
        format!("imported and verified, {counts}")
    }))
}

/// Whether a node is one of a cluster, whose masters are all asked.
fn in_cluster(connection: &mut Connection) -> bool {
    cluster::masters(connection, Names::Addresses).is_ok_and(|masters| masters.is_some())
}

fn export(connection: &mut Connection) -> anyhow::Result<String> {
    redis::cmd("ANOMALY.CONFIG")
        .arg("EXPORT")
        .query(connection)
        .map_err(|error| anyhow!("{}", plain(&error)))
}
