//! A cluster of masters.

use crate::builder::Builder;
use crate::server::Server;
use crate::{args, list, text};

/// Starts three nodes and has them share the slots: `{b}` is in the first one's, `{c}` in the second's, `{a}` in the third's.
/// The others meet the first one at `door`, its port unless it speaks TLS with them. Each waits until it knows all.
pub fn three_masters(builders: [Builder; 3], door: Option<u16>) -> Vec<Server> {
    let nodes: Vec<Server> = builders
        .into_iter()
        .map(|builder| builder.cluster_node().start())
        .collect();
    let slots = [(0, 5460), (5461, 10922), (10923, 16383)];
    for (at, (node, (from, to))) in nodes.iter().zip(slots).enumerate() {
        node.cmd(&args!["CLUSTER", "SET-CONFIG-EPOCH", at + 1]);
        node.cmd(&args!["CLUSTER", "ADDSLOTSRANGE", from, to]);
        if at > 0 {
            let bus = nodes[0].cmd(&["CONFIG", "GET", "cluster-port"]);
            let bus = text(&list(&bus)[1]);
            let door = door.unwrap_or(nodes[0].port());
            node.cmd(&args!["CLUSTER", "MEET", "127.0.0.1", door, bus]);
        }
    }
    for node in &nodes {
        node.wait_until("the cluster is up", || {
            let info = text(&node.cmd(&["CLUSTER", "INFO"]));
            let told = text(&node.cmd(&["CLUSTER", "NODES"]));
            let known = told.lines().filter(|line| line.ends_with(char::is_numeric));
            info.contains("cluster_state:ok") && known.count() == 3
        });
    }
    nodes
}
