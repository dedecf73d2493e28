//! The alert streams of a cluster: one for each hash tag, on whatever node its slot is.

use redis::cluster::{ClusterClient, ClusterConnection};
use redis::cluster_routing::{
    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo, SingleNodeRoutingInfo,
};
use redis::{ConnectionAddr, RedisError, TlsMode, Value, from_redis_value};

use crate::alert::bytes;
use crate::cluster;
use crate::server::{REPLY, Server};

/// How often something is asked: a redirection or two are usual while slots move.
const TRIES: u32 = 3;

/// Connections to all masters; commands go where their key is, also after a slot has moved.
pub(crate) struct Nodes<'a> {
    server: &'a Server,
    /// Masters that have slots, as the connection knows them; none before they were looked for.
    serving: Vec<(String, u16)>,
    pub(super) connection: ClusterConnection,
}

impl<'a> Nodes<'a> {
    pub(crate) fn connect(
        server: &'a Server,
        masters: Vec<(String, u16)>,
    ) -> Result<Self, RedisError> {
        let connection = connect(server, &masters)?;
        Ok(Self {
            server,
            serving: Vec::new(),
            connection,
        })
    }

    /// The alert streams there are now on all masters, new ones included.
    pub(super) fn streams(&mut self) -> Result<Vec<String>, RedisError> {
        let mut nodes = redis::cmd("CLUSTER");
        nodes.arg("NODES");
        let any = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
        let told: String = from_redis_value(self.connection.route_command(&nodes, any)?)?;
        let serving = cluster::serving(&told, self.server.names());
        if serving != self.serving && !serving.is_empty() {
            self.connection = connect(self.server, &serving)?;
            self.serving = serving;
        }
        let all = RoutingInfo::MultiNode((
            MultipleNodeRoutingInfo::AllMasters,
            Some(ResponsePolicy::CombineArrays),
        ));
        let mut list = redis::cmd("ANOMALY.ALERTS");
        list.arg("STREAMS");
        let Value::Array(names) = self.connection.route_command(&list, all)? else {
            return Ok(Vec::new());
        };
        let name = |name: &Value| String::from_utf8(bytes(name)?.to_vec()).ok();
        Ok(names.iter().filter_map(name).collect())
    }
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
