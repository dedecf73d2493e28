//! Finding the server and saying plainly what is wrong with it.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError,
    TlsCertificates, Value,
};

use crate::tls::{self, Tls};

const CONNECT: Duration = Duration::from_secs(5);
/// A reply that takes longer than this means that the server hangs; the longest commands sent here take milliseconds.
pub(crate) const REPLY: Duration = Duration::from_secs(30);

/// Where the server is; connections are made when they are needed.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    /// With TLS: who is trusted, and who we are.
    certificates: Option<TlsCertificates>,
}

impl Server {
    /// Understands the URL without connecting, and reads the files of certificates. The URL is never echoed: it may hold a
    /// password.
    pub(crate) fn new(url: &str, tls: &Tls) -> anyhow::Result<Self> {
        let info = url.into_connection_info().map_err(|error| {
            anyhow!("--url is not a Redis URL like redis://127.0.0.1:6379: {error}")
        })?;
        let ConnectionAddr::TcpTls {
            host,
            port,
            insecure,
            ..
        } = info.addr().clone()
        else {
            if let Some(option) = tls.given() {
                bail!("{option} is for servers that speak TLS: their --url begins with rediss://");
            }
            return Self::open(info, None);
        };
        let insecure = insecure || tls.insecure();
        let address = ConnectionAddr::TcpTls {
            host,
            port,
            insecure,
            tls_params: None,
        };
        Self::open(info.set_addr(address), Some(tls.certificates()?))
    }

    /// A server of which all is known.
    pub(crate) fn open(
        info: ConnectionInfo,
        certificates: Option<TlsCertificates>,
    ) -> anyhow::Result<Self> {
        let client = match certificates.clone() {
            Some(certificates) => Client::build_with_tls(info, certificates)?,
            None => Client::open(info)?,
        };
        Ok(Self {
            client,
            certificates,
        })
    }

    /// With TLS: who is trusted, and who we are.
    pub(crate) fn certificates(&self) -> Option<&TlsCertificates> {
        self.certificates.as_ref()
    }

    /// How to connect to it.
    pub(crate) fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// `host:port` or the socket's path.
    pub(crate) fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// One connection, with limits on connecting, writing and replies.
    pub(crate) fn try_connect(&self) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(CONNECT)?;
        connection.set_read_timeout(Some(REPLY))?;
        connection.set_write_timeout(Some(REPLY))?;
        Ok(connection)
    }

    /// One connection; it may take so long, and so may each reply.
    pub(crate) fn connect_within(&self, limit: Duration) -> Result<Connection, RedisError> {
        let connection = self.client.get_connection_with_timeout(limit)?;
        connection.set_read_timeout(Some(limit))?;
        connection.set_write_timeout(Some(limit))?;
        Ok(connection)
    }

    /// One connection, or one line that says what to do.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        self.try_connect().map_err(|error| {
            if let Some(why) = tls::explain(&error, self.info().addr(), self.certificates()) {
                anyhow!("cannot talk to Redis at {}: {why}", self.address())
            } else if error.is_io_error() {
                anyhow!(
                    "cannot reach Redis at {}: {}; is it running? (--url or REDIS_URL says where)",
                    self.address(),
                    plain(&error)
                )
            } else {
                anyhow!(
                    "Redis at {} refuses the connection: {}",
                    self.address(),
                    plain(&error)
                )
            }
        })
    }

    /// A connection to a server that has the module.
    pub(crate) fn connect_with_module(&self) -> anyhow::Result<Connection> {
        let mut connection = self.connect()?;
        if !has_module(&mut connection).context("cannot ask the server for its commands")? {
            bail!("{}", self.no_module());
        }
        Ok(connection)
    }

    /// What to say to somebody whose server lacks the module.
    pub(crate) fn no_module(&self) -> String {
        format!(
            "Redis at {} does not have the anomaly module: put `loadmodule /path/to/libredis_anomaly.so` into its redis.conf \
             and restart it",
            self.address()
        )
    }
}

/// Whether `ANOMALY.ADD` exists there. A user who may not ask is taken at their word.
pub(crate) fn has_module(connection: &mut Connection) -> Result<bool, RedisError> {
    let reply: Result<Value, RedisError> = redis::cmd("COMMAND")
        .arg("INFO")
        .arg("anomaly.add")
        .query(connection);
    match reply {
        Ok(Value::Array(commands)) => Ok(commands
            .first()
            .is_some_and(|command| *command != Value::Nil)),
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("NOPERM") => Ok(true),
        Err(error) => Err(error),
    }
}

/// A Redis error on one line: the server's own words, code first.
pub(crate) fn plain(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        // Which the system calls `Resource temporarily unavailable`.
        _ if error.is_timeout() => String::from("it does not answer in time"),
        _ => error.to_string(),
    };
    text.replace(['\r', '\n'], " ")
}
