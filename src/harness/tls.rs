//! TLS: which certificates are trusted and shown, and in words what is wrong when it does not come about.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use redis::{ClientTlsConfig, ConnectionAddr, RedisError, TlsCertificates};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, RootCertStore};

const HEADING: &str = "TLS (with rediss://)";

/// The certificates of a connection, by the names that redis-cli has for them; but for its `--key`, which is a sensor's here.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Tls {
    /// Trust the authorities whose certificates (PEM) are in this file, and not those of the system
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    cacert: Option<PathBuf>,

    /// Show the server this certificate (PEM), with those between it and its authority after it
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    cert: Option<PathBuf>,

    /// The private key of --cert (PEM, not encrypted), if it is not in that file
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    cert_key: Option<PathBuf>,

    /// Take whoever answers for the server: encrypted, but to anybody
    #[arg(long, global = true, help_heading = HEADING)]
    insecure: bool,
}

impl Tls {
    pub(crate) fn insecure(&self) -> bool {
        self.insecure
    }

    /// The first option that is given: it says nothing without TLS.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options = [
            ("--cacert", self.cacert.is_some()),
            ("--cert", self.cert.is_some()),
            ("--cert-key", self.cert_key.is_some()),
            ("--insecure", self.insecure),
        ];
        options
            .into_iter()
            .find_map(|(name, given)| given.then_some(name))
    }

    /// What the files hold.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold what it should, a certificate without its key or with another one.
    pub(crate) fn certificates(&self) -> anyhow::Result<TlsCertificates> {
        // Another library in this program may bring a second one: then rustls would not know which to take.
        let _ = default_provider().install_default();
        let root_cert = self.cacert.as_deref().map(authorities).transpose()?;
        let client_tls = match (&self.cert, &self.cert_key) {
            (Some(cert), key) => Some(identity(cert, key.as_deref())?),
            (None, Some(_)) => bail!("--cert-key needs --cert FILE, its certificate"),
            (None, None) => None,
        };
        Ok(TlsCertificates {
            client_tls,
            root_cert,
        })
    }
}

fn read(option: &str, path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{option} '{}' cannot be read", path.display()))
}

/// The certificates of a file, one at least.
fn chain(option: &str, path: &Path, pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let name = path.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("{option} '{name}' is no PEM file of certificates: {error}"))?;
    if chain.is_empty() {
        bail!("{option} '{name}' holds no certificate (-----BEGIN CERTIFICATE-----)");
    }
    Ok(chain)
}

fn authorities(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pem = read("--cacert", path)?;
    let mut store = RootCertStore::empty();
    for certificate in chain("--cacert", path, &pem)? {
        store.add(certificate).map_err(|error| {
            anyhow!(
                "--cacert '{}' holds a certificate that cannot be trusted: {error}",
                path.display()
            )
        })?;
    }
    Ok(pem)
}

fn identity(cert: &Path, key: Option<&Path>) -> anyhow::Result<ClientTlsConfig> {
    let client_cert = read("--cert", cert)?;
    let chain = chain("--cert", cert, &client_cert)?;
    let client_key = match key {
        Some(key) => read("--cert-key", key)?,
        None => client_cert.clone(),
    };
    let private = PrivateKeyDer::from_pem_slice(&client_key).map_err(|_| match key {
        Some(key) => anyhow!(
            "--cert-key '{}' holds no private key that can be read (-----BEGIN PRIVATE KEY-----, not an encrypted one)",
            key.display()
        ),
        None => anyhow!(
            "--cert '{}' does not hold its private key too: --cert-key FILE names it",
            cert.display()
        ),
    })?;
    let key = key.unwrap_or(cert).display();
    CertifiedKey::from_der(chain, private, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            anyhow!(
                "the private key in '{key}' is not that of --cert '{}'",
                cert.display()
            )
        }
        error => anyhow!("the private key in '{key}' cannot be used: {error}"),
    })?;
    Ok(ClientTlsConfig {
        client_cert,
        client_key,
    })
}

/// Why no connection came about, if TLS is the reason: that of the library where it says what to do, and else in our words.
pub(crate) fn explain(
    error: &RedisError,
    address: &ConnectionAddr,
    certificates: Option<&TlsCertificates>,
) -> Option<String> {
    let io = internal(error).and_then(|error| error.downcast_ref::<io::Error>());
    if let ConnectionAddr::Tcp(..) = address {
        // What comes from a server that awaits TLS is a TLS alert, or nothing.
        let closed = io.is_some_and(|io| {
            matches!(
                io.kind(),
                io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
            )
        });
        let gibberish = error.kind() == redis::ErrorKind::Parse;
        return (closed || gibberish).then(|| {
            String::from("what answers there does not speak Redis's protocol; if it speaks TLS, the URL is rediss://…")
        });
    }
    let ConnectionAddr::TcpTls { .. } = address else {
        return None;
    };
    let tls = io
        .and_then(|io| io.get_ref())
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    if let Some(tls) = tls {
        return Some(in_words(tls, certificates));
    }
    match io?.kind() {
        io::ErrorKind::WouldBlock => Some(String::from(
            "it takes the connection and does not answer; if that port is one without TLS, the URL is redis://…",
        )),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => Some(String::from(
            "it closes the connection instead of answering; if that port is one without TLS, the URL is redis://…",
        )),
        _ => None,
    }
}

fn internal(error: &RedisError) -> Option<&(dyn Error + Send + Sync + 'static)> {
    let inner = error.source()?;
    inner
        .downcast_ref::<Arc<dyn Error + Send + Sync>>()
        .map(|inner| &**inner)
}

fn in_words(error: &rustls::Error, certificates: Option<&TlsCertificates>) -> String {
    let own_authority = certificates.is_some_and(|given| given.root_cert.is_some());
    match error {
        rustls::Error::InvalidMessage(_) => String::from(
            "what answers there does not speak TLS; if that port is one without, the URL is redis://…",
        ),
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer | CertificateError::BadSignature if own_authority => {
                String::from("its certificate is signed by none of the authorities in --cacert")
            }
            CertificateError::UnknownIssuer => String::from(
                "its certificate is signed by no authority that this system trusts (--cacert FILE names another one)",
            ),
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                String::from(
                    "its certificate is that of an authority, which signs others and does not serve itself: \
                     sign one for the server with it (basicConstraints CA:FALSE)",
                )
            }
            wrong => wrong.to_string(),
        },
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::HandshakeFailure
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied),
        ) => {
            let shown = certificates.is_some_and(|given| given.client_tls.is_some());
            if shown {
                format!("it does not accept the certificate in --cert ({alert:?})")
            } else {
                format!(
                    "it wants a certificate of ours: --cert FILE and --cert-key FILE ({alert:?})"
                )
            }
        }
        error => error.to_string(),
    }
}
