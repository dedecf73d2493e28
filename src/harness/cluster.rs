//! The nodes of a cluster, as one of them tells.

use std::collections::HashMap;

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
    of_lines(nodes.lines(), names)
}

/// The same, but only masters that have slots: a node joins without any, and a client that knows of the others by their slots
/// does not notice when it gets some.
pub(crate) fn serving(nodes: &str, names: Names) -> Vec<(String, u16)> {
    let serving = nodes.lines().filter(|line| {
        let slots = line.split(' ').skip(8);
        slots.into_iter().any(|slot| !slot.starts_with('['))
    });
    of_lines(serving, names)
}

fn of_lines<'a>(nodes: impl Iterator<Item = &'a str>, names: Names) -> Vec<(String, u16)> {
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
            let gone = ["fail", "noaddr", "handshake"];
            let mut flags = flags.split(',');
            let serves = flags.clone().any(|flag| flag == "master");
            let lost = flags.any(|flag| gone.contains(&flag));
            (serves && !lost).then_some((host.to_owned(), port.parse().ok()?))
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

    /// What the other nodes of its cluster are called.
    pub(crate) fn names(&self) -> Names {
        match self.certificates() {
            Some(_) => Names::Hosts,
            None => Names::Addresses,
        }
    }

    /// How to connect to it.
    pub(crate) fn info_at(&self, host: &str, port: u16) -> ConnectionInfo {
        let known = self.info();
        let own = known.addr().to_string();
        let own = own.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        let host = if host.is_empty() { own } else { host }.to_owned();
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
            e fd00::1:7004@17004,,shard-id=x master - 0 0 4 connected\n";
        let found = parse(nodes, Names::Addresses);
        let expected = [("10.0.0.1", 7000), ("10.0.0.2", 7001), ("fd00::1", 7004)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
        let found = serving(nodes, Names::Addresses);
        let expected = [("10.0.0.1", 7000), ("10.0.0.2", 7001)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
        let found = parse(nodes, Names::Hosts);
        let expected = [("10.0.0.2", 7001), ("fd00::1", 7004), ("name", 7000)];
        assert_eq!(found, expected.map(|(host, port)| (host.to_owned(), port)));
    }
}
