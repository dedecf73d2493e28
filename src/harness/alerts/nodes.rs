//! The alert streams of a cluster: one for each hash tag, on whatever node its slot is. A node that is gone is told of, left out
//! and asked again, while the others are followed on.

use std::time::{Duration, Instant};

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, ConnectionAddr, RedisError, TlsMode, Value, from_redis_value};

use super::Outage;
use crate::alert::bytes;
use crate::cluster;
use crate::server::{REPLY, Server, plain};

/// How often something is asked: a redirection or two are usual while slots move.
const TRIES: u32 = 3;
/// For a node that was gone when last asked: the others wait meanwhile.
const CONNECT: Duration = Duration::from_secs(1);

/// Host and port of a node.
pub(super) type Address = (String, u16);

/// A node that is gone, and has slots that nobody else has.
pub(crate) struct Away {
    address: Address,
    outage: Outage,
    ask_at: Instant,
}

/// Connections to all masters; commands go where their key is, also after a slot has moved.
pub(crate) struct Nodes<'a> {
    server: &'a Server,
    /// Masters that have slots, as the connection knows them; none before they were looked for.
    serving: Vec<Address>,
    /// Kept by whoever connects again, so that a node is told of once.
    away: &'a mut Vec<Away>,
    /// Whether to do without a node that is gone.
    go_on: bool,
    pub(super) connection: ClusterConnection,
}

impl<'a> Nodes<'a> {
    pub(crate) fn connect(
        server: &'a Server,
        masters: &[Address],
        away: &'a mut Vec<Away>,
        go_on: bool,
    ) -> Result<Self, RedisError> {
        let connection = connect(server, masters)?;
        Ok(Self {
            server,
            serving: Vec::new(),
            away,
            go_on,
            connection,
        })
    }

    /// Whether a node is gone at this time.
    pub(super) fn is_away(&self, address: &Address) -> bool {
        self.away.iter().any(|away| away.address == *address)
    }

    /// Goes on without a node, if that is what the error means and there are others; whether it does.
    pub(super) fn lose(&mut self, address: &Address, error: &RedisError) -> bool {
        let gone = error.is_io_error()
            || error.kind() == redis::ErrorKind::ClusterConnectionNotFound
            || error.code() == Some("LOADING");
        let others = self.serving.iter().filter(|node| *node != address);
        let others: Vec<Address> = others.filter(|node| !self.is_away(node)).cloned().collect();
        if !self.go_on || !gone || others.is_empty() {
            return false;
        }
        // A connection that hangs goes with the others.
        match connect(self.server, &others) {
            Ok(connection) => self.connection = connection,
            Err(_) => return false,
        }
        if !self.is_away(address) {
            let mut outage = Outage::default();
            let ask_at = Instant::now() + outage.patience(&shown(address), &plain(error));
            self.away.push(Away {
                address: address.clone(),
                outage,
                ask_at,
            });
        }
        true
    }

    /// The alert streams there are now on all masters, new ones included, and which node has each.
    pub(super) fn streams(&mut self) -> Result<Vec<(String, Address)>, RedisError> {
        let told = self.topology()?;
        let serving: Vec<Address> = cluster::serving(&told, self.server.names())
            .into_iter()
            .map(|(host, port)| (self.server.host_of(&host), port))
            .collect();
        if serving != self.serving && !serving.is_empty() {
            // Who has no slots any more is not waited for.
            self.away.retain(|away| serving.contains(&away.address));
            self.serving = serving;
            self.connection = connect(self.server, &self.there())?;
        }
        let mut found = Vec::new();
        for address in self.serving.clone() {
            if self.is_away(&address) && !self.came_back(&address) {
                continue;
            }
            match self.listed(&address) {
                Ok(names) => found.extend(names.into_iter().map(|name| (name, address.clone()))),
                Err(error) if self.lose(&address, &error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.there().is_empty() {
            return Err(RedisError::from((
                redis::ErrorKind::Io,
                "no node of the cluster answers",
            )));
        }
        Ok(found)
    }

    /// Nodes that serve and are not gone.
    fn there(&self) -> Vec<Address> {
        let serving = self.serving.iter();
        let there = serving.filter(|address| !self.is_away(address));
        there.cloned().collect()
    }

    /// CLUSTER NODES of the first node that answers.
    fn topology(&mut self) -> Result<String, RedisError> {
        let mut nodes = redis::cmd("CLUSTER");
        nodes.arg("NODES");
        for address in self.there() {
            match self.ask(&address, &nodes) {
                Ok(told) => return from_redis_value(told).map_err(RedisError::from),
                Err(error) if self.lose(&address, &error) => {}
                Err(error) => return Err(error),
            }
        }
        let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let told = self.connection.route_command(&nodes, any)?;
        from_redis_value(told).map_err(RedisError::from)
    }

    fn listed(&mut self, address: &Address) -> Result<Vec<String>, RedisError> {
        let mut list = redis::cmd("ANOMALY.ALERTS");
        list.arg("STREAMS");
        let Value::Array(names) = self.ask(address, &list)? else {
            return Ok(Vec::new());
        };
        let name = |name: &Value| String::from_utf8(bytes(name)?.to_vec()).ok();
        Ok(names.iter().filter_map(name).collect())
    }

    fn ask(&mut self, (host, port): &Address, command: &Cmd) -> Result<Value, RedisError> {
        let node = SingleNodeRoutingInfo::ByAddress {
            host: host.clone(),
            port: *port,
        };
        self.connection
            .route_command(command, RoutingInfo::SingleNode(node))
    }

    /// Asks a node that is gone, if it is time to.
    fn came_back(&mut self, address: &Address) -> bool {
        let server = self.server;
        let Some(at) = self.away.iter().position(|away| away.address == *address) else {
            return true;
        };
        let Some(away) = self.away.get_mut(at) else {
            return true;
        };
        if Instant::now() < away.ask_at {
            return false;
        }
        let answer = server
            .at(&address.0, address.1)
            .ok()
            .map(|node| node.serves(CONNECT));
        match answer {
            Some(Ok(true)) => {
                away.outage.over(&shown(address));
                self.away.remove(at);
                true
            }
            _ => {
                away.ask_at = Instant::now() + away.outage.patience(&shown(address), "");
                false
            }
        }
    }
}

fn shown((host, port): &Address) -> String {
    format!("{host}:{port}")
}

fn connect(server: &Server, masters: &[(String, u16)]) -> Result<ClusterConnection, RedisError> {
    let at = |(host, port): &(String, u16)| server.info_at(host, *port);
    // What does not come to rights at once is an outage, which is told of and waited for. The library's own 16 tries would
    // go on for minutes without a word: the whole time of a reply each, or waiting between them for up to ten minutes.
    let mut builder = ClusterClient::builder(masters.iter().map(at))
        .response_timeout(REPLY / TRIES)
        .retries(TRIES - 1)
        .min_retry_wait(100)
        .max_retry_wait(1000);
    // Nodes that are found later are none of these, and are connected to by what the builder knows.
    if let (ConnectionAddr::TcpTls { insecure, .. }, Some(certificates)) =
        (server.info().addr(), server.certificates())
    {
        let mode = if *insecure {
            TlsMode::Insecure
        } else {
            TlsMode::Secure
        };
        builder = builder.tls(mode).certs(certificates.clone());
    }
    builder.build()?.get_connection()
}
