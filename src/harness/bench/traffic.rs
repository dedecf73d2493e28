//! What a reading sends on: bytes to the append-only file and to each replica. And what a node of a cluster takes for one, alone
//! and with two others at work.

use serde::Serialize;

use crate::bench::host::{Host, Parts};
use crate::bench::load::{Fleet, Kind, Size};
use crate::bench::wire::drive;
use crate::moment::now_ms;
use crate::stop::Stop;

const SENSORS: usize = 1000;
const KEPT: &str = "zscore 3 window 30 archive yes";
const NOT_KEPT: &str = "zscore 3 window 30 archive no";
#[rustfmt::skip]
const CASES: [(&str, Kind, &str); 6] = [
    ("SET", Kind::Set, ""),
    ("XADD with a time", Kind::Xadd { timed: true }, ""),
    ("ADD", Kind::Add, NOT_KEPT),
    ("ADD + series", Kind::Add, KEPT),
    ("MADD(50) + series", Kind::Madd { keys: 50, each: 1 }, KEPT),
    ("XADD with a time, scored and archived", Kind::Xadd { timed: true }, KEPT),
];
const SIZE: Size = Size {
    connections: 1,
    pipeline: 20,
    batches: 100,
};

/// Bytes for one reading of 1,000 sensors that have all been seen before.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Traffic {
    pub(crate) what: &'static str,
    pub(crate) file: f64,
    pub(crate) replica: f64,
}

pub(crate) fn measure(parts: &Parts, stop: &Stop) -> anyhow::Result<Vec<Traffic>> {
    let mut all = Vec::new();
    for (what, kind, rule) in CASES {
        if parts.timeseries.is_none() && rule == KEPT {
            continue;
        }
        let lines = [
            "appendonly yes",
            "appendfsync no",
            "auto-aof-rewrite-percentage 0",
        ];
        let mut host = Host::start(parts, true, &lines.map(String::from), stop)?;
        let mut replica = Host::start(parts, true, &[], stop)?;
        let port = host.private.port.to_string();
        replica.send::<()>(&["REPLICAOF", "127.0.0.1", &port])?;
        while replica.info::<String>("replication", "master_link_status")? != "up" {
            anyhow::ensure!(!stop.requested(), "stopped");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        if !rule.is_empty() {
            if matches!(kind, Kind::Xadd { .. }) {
                host.ask::<()>("ANOMALY.WATCH SET b00")?;
            }
            host.ask::<()>(&format!("ANOMALY.CONFIG SET * {rule}"))?;
        }
        let mut fleet = Fleet::new(kind, "b00", SENSORS, now_ms() - 24 * 3600 * 1000);
        let before = {
            drive(host.lines(1)?, &fleet.works(SIZE))?;
            bytes(&mut host)?
        };
        drive(host.lines(1)?, &fleet.works(SIZE))?;
        let after = bytes(&mut host)?;
        let readings = (SIZE.pipeline * SIZE.batches * kind.readings()) as f64;
        all.push(Traffic {
            what,
            file: (after.0 - before.0) as f64 / readings,
            replica: (after.1 - before.1) as f64 / readings,
        });
    }
    Ok(all)
}

/// Of the append-only file, and of the replication stream, so far.
fn bytes(host: &mut Host) -> anyhow::Result<(u64, u64)> {
    Ok((
        host.info("persistence", "aof_current_size")?,
        host.info("replication", "master_repl_offset")?,
    ))
}

/// Nanoseconds of processor time per reading of each node of a cluster.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Nodes {
    pub(crate) what: &'static str,
    /// Each node while the two others are idle.
    pub(crate) alone: Vec<f64>,
    /// Each node while all three are loaded.
    pub(crate) together: Vec<f64>,
}

/// A tag for each node: it has the tag's slot, and no other.
const TAGS: [&str; 3] = ["{a1}", "{a2}", "{a3}"];

/// Three nodes that know of one another. Each reads sensors of its own, all of one slot.
pub(crate) fn cluster(parts: &Parts, stop: &Stop) -> anyhow::Result<Vec<Nodes>> {
    let mut nodes = Vec::new();
    for _ in TAGS {
        let lines = ["cluster-enabled yes", "cluster-require-full-coverage no"];
        nodes.push(Host::start(parts, true, &lines.map(String::from), stop)?);
    }
    // What a node needs of the others is nothing: each has the slot of its own tag, and serves it.
    for (node, tag) in nodes.iter_mut().zip(TAGS) {
        let slot: u64 = node.send(&["CLUSTER", "KEYSLOT", tag])?;
        node.send::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()])?;
        while node
            .send::<String>(&["CLUSTER", "INFO"])?
            .contains("cluster_state:fail")
        {
            anyhow::ensure!(!stop.requested(), "stopped");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    let ports: Vec<String> = nodes
        .iter()
        .map(|node| node.private.port.to_string())
        .collect();
    if let Some(first) = nodes.first_mut() {
        for port in ports.iter().skip(1) {
            first.send::<()>(&["CLUSTER", "MEET", "127.0.0.1", port])?;
        }
    }
    let kept = if parts.timeseries.is_some() {
        KEPT
    } else {
        NOT_KEPT
    };
    let cases = [
        ("ADD", Kind::Add, NOT_KEPT, "n"),
        ("ADD + series", Kind::Add, kept, "k"),
    ];
    let size = Size {
        connections: 4,
        pipeline: 32,
        batches: 600,
    };
    let mut all = Vec::new();
    for (what, kind, rule, letter) in cases {
        let mut fleets = Vec::new();
        for (node, tag) in nodes.iter_mut().zip(TAGS) {
            let prefix = format!("{letter}{tag}");
            node.ask::<()>(&format!("ANOMALY.CONFIG SET {letter}* {rule}"))?;
            node.lines(size.connections)?;
            let mut fleet = Fleet::new(kind, &prefix, 3200, now_ms() - 24 * 3600 * 1000);
            drive(node.lines(size.connections)?, &fleet.works(size))?;
            fleets.push(fleet);
        }
        let readings = (size.connections * size.pipeline * size.batches) as f64;
        let mut alone = Vec::new();
        for (node, fleet) in nodes.iter_mut().zip(&mut fleets) {
            alone.push(load(node, fleet, size)? / readings);
        }
        let together = std::thread::scope(|scope| {
            let running: Vec<_> = nodes
                .iter_mut()
                .zip(&mut fleets)
                .map(|(node, fleet)| scope.spawn(move || load(node, fleet, size)))
                .collect();
            running
                .into_iter()
                .map(|thread| match thread.join() {
                    Ok(spent) => Ok(spent? / readings),
                    Err(_) => anyhow::bail!("a thread of the client panicked"),
                })
                .collect::<anyhow::Result<Vec<f64>>>()
        })?;
        all.push(Nodes {
            what,
            alone,
            together,
        });
    }
    Ok(all)
}

/// Nanoseconds of processor time for one run.
fn load(node: &mut Host, fleet: &mut Fleet, size: Size) -> anyhow::Result<f64> {
    let works = fleet.works(size);
    let before = node.process.spent()?.main;
    drive(node.lines(size.connections)?, &works)?;
    Ok((node.process.spent()?.main - before) as f64)
}
