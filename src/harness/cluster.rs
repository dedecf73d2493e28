//! The nodes of a cluster, as one of them tells.

use std::collections::HashMap;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, ConnectionLike, RedisError, Value, from_redis_value};

use crate::server::Server;

/// What a node is called by those who connect to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Addresses,
    /// The host name that it announces, if it does: certificates are made out to names rather than to addresses.
    Hosts,
}

/// Where the masters are, in the order of their addresses; `None` if the server is no member of a cluster.
///
/// # Errors
/// What the server says of CLUSTER NODES, but for a server without cluster mode.
pub(crate) fn masters(
    connection: &mut dyn ConnectionLike,
    names: Names,
) -> Result<Option<Vec<(String, u16)>>, RedisError> {
    match redis::cmd("CLUSTER")
        .arg("NODES")
        .query::<String>(connection)
    {
        Ok(nodes) => Ok(Some(parse(&nodes, names))),
        Err(error)
            if error
                .detail()
                .is_some_and(|detail| detail.contains("cluster support disabled")) =>
        {
            Ok(None)
        }
        Err(error) if error.code() == Some("NOPERM") && stands_alone(connection) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the server is no member of a cluster, as it tells every user.
fn stands_alone(connection: &mut dyn ConnectionLike) -> bool {
    let told: Result<HashMap<String, Value>, RedisError> = redis::cmd("HELLO").query(connection);
    let mode = told.ok().and_then(|mut told| told.remove("mode"));
    mode.and_then(|mode| from_redis_value::<String>(mode).ok())
        .is_some_and(|mode| mode != "cluster")
}

/// `id host:port@bus[,name] flags master ping pong epoch link slots…` of each node. The host is empty where a node does not
/// yet know its own.
pub(crate) fn parse(nodes: &str, names: Names) -> Vec<(String, u16)> {
    of_lines(nodes.lines(), names, &["fail", "noaddr", "handshake"])
}

/// The same, but those that have slots, also if they are gone: nobody has taken their place yet. A node joins without any, and
/// a client that knows of the others by their slots does not notice when it gets some.
pub(crate) fn serving(nodes: &str, names: Names) -> Vec<(String, u16)> {
    let serving = nodes.lines().filter(|line| {
        let slots = line.split(' ').skip(8);
        slots.into_iter().any(|slot| !slot.starts_with('['))
    });
    of_lines(serving, names, &["noaddr", "handshake"])
}

fn of_lines<'a>(
    nodes: impl Iterator<Item = &'a str>,
    names: Names,
    without: &[&str],
) -> Vec<(String, u16)> {
    let mut masters: Vec<(String, u16)> = nodes
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (address, flags) = (words.next()?, words.next()?);
            let (place, aside) = address.split_once('@').unwrap_or((address, ""));
            let (mut host, port) = place.rsplit_once(':')?;
            // After the bus port: the host name, and from some servers more, as `word=value`.
            let name = aside.split(',').nth(1);
            if let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('='))
                && names == Names::Hosts
            {
                host = name;
            }
            let mut flags = flags.split(',');
            let serves = flags.clone().any(|flag| flag == "master");
            let left_out = flags.any(|flag| without.contains(&flag));
            (serves && !left_out).then_some((host.to_owned(), port.parse().ok()?))
        })
        .collect();
    masters.sort();
    masters
}

impl Server {
    /// The server at that address, with the same user and encryption.
    pub(crate) fn at(&self, host: &str, port: u16) -> anyhow::Result<Self> {
        Self::open(self.info_at(host, port), self.certificates().cloned())
    }

    /// Whether it answers and serves its slots, each of connecting and answering in that time. After a start it takes a node a
    /// while to be one of its cluster again. A user who may not ask is told that it does.
    pub(crate) fn serves(&self, within: Duration) -> Result<bool, RedisError> {
        let mut connection = self.connect_within(within)?;
        let info = redis::cmd("CLUSTER")
            .arg("INFO")
            .query::<String>(&mut connection);
        match info {
            Ok(info) => Ok(info.contains("cluster_state:ok")),
            Err(error) if error.code() == Some("NOPERM") => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What the other nodes of its cluster are called.
    pub(crate) fn names(&self) -> Names {
        match self.certificates() {
            Some(_) => Names::Hosts,
            None => Names::Addresses,
        }
    }

    /// The host of a node: a node that does not yet know its own is where we found it.
    pub(crate) fn host_of(&self, told: &str) -> String {
        let own = self.address();
        let own = own.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        if told.is_empty() { own } else { told }.to_owned()
    }

    /// How to connect to it.
    pub(crate) fn info_at(&self, host: &str, port: u16) -> ConnectionInfo {
        let known = self.info();
        let host = self.host_of(host);
        let address = match known.addr().clone() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure,
                tls_params,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        known.clone().set_addr(address)
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, parse, serving};

    #[test]
    fn masters_that_serve_are_told_from_replicas_and_the_dead() {
        let nodes = "a 10.0.0.2:7001@17001 master - 0 0 2 connected 5461-10922\n\
            b 10.0.0.1:7000@17000,name myself,master - 0 0 1 connected 0-5460 [93->-a]\n\
            c 10.0.0.3:7002@17002 slave b 0 0 3 connected\n\
            d 10.0.0.4:7003@17003 master,fail - 0 0 3 disconnected\n\
            e fd00::1:7004@17004,,shard-id=x master - 0 0 4 connected\n\
            f 10.0.0.5:7005@17005 master,fail - 0 0 5 disconnected 10923-16383\n";
        let found = parse(nodes, Names::Addresses);
        let expected = [("10.0.0.1", 7000), ("10.0.0.2", 7001), ("fd00::1", 7004)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
        let found = serving(nodes, Names::Addresses);
        let expected = [("10.0.0.1", 7000), ("10.0.0.2", 7001), ("10.0.0.5", 7005)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
        let found = parse(nodes, Names::Hosts);
        let expected = [("10.0.0.2", 7001), ("fd00::1", 7004), ("name", 7000)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
    }
}
