//! Certificates of the suite's own making, by openssl, and servers that speak TLS with them.

use crate::builder::{Builder, quoted};
use crate::dir::Dir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate and its private key, both PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub file: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Certificates of two days in a directory of their own.
#[derive(Debug)]
pub struct Certificates(Dir);

impl Certificates {
    /// With an authority `ca` and, signed by it, `server` for `localhost` and 127.0.0.1.
    #[allow(clippy::new_without_default, reason = "it starts another program")]
    pub fn new() -> Self {
        let made = Self(Dir::new());
        made.authority("ca");
        made.sign("ca", "server", "DNS:localhost,IP:127.0.0.1");
        made
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Certificate {
        let [file, key] = ["crt", "key"].map(|end| self.0.join(&format!("{name}.{end}")));
        Certificate { file, key }
    }

    /// The certificate of the authority `ca`.
    pub fn ca(&self) -> PathBuf {
        self.get("ca").file
    }

    /// Makes an authority.
    pub fn authority(&self, name: &str) -> Certificate {
        self.openssl(
            r#"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt""#,
            &[name],
        );
        self.get(name)
    }

    /// Has an authority sign a certificate for these alternative names (`DNS:…,IP:…`).
    pub fn sign(&self, authority: &str, name: &str, alternatives: &str) -> Certificate {
        self.openssl(
            r#"openssl req -newkey rsa:2048 -nodes -subj "/CN=$2" -keyout "$2.key" -out "$2.csr"
               printf 'subjectAltName=%s\n' "$3" >"$2.ext"
               openssl x509 -req -days 2 -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -extfile "$2.ext" -out "$2.crt""#,
            &[authority, name, alternatives],
        );
        self.get(name)
    }

    fn openssl(&self, script: &str, words: &[&str]) {
        let made = Command::new("/bin/sh")
            .args(["-ec", script, "sh"])
            .args(words)
            .current_dir(self.0.path())
            .output()
            .expect("/bin/sh starts");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(
            made.status.success(),
            "openssl (Debian: apt-get install openssl) made no certificate: {said}"
        );
    }
}

impl Builder {
    /// Speaks TLS too, at a port of its own and to its master, and asks clients for no certificate.
    pub fn tls(self, port: u16, authority: &Path, own: &Certificate) -> Self {
        self.config(format!("tls-port {port}"))
            .config(format!("tls-ca-cert-file {}", quoted(authority)))
            .config(format!("tls-cert-file {}", quoted(&own.file)))
            .config(format!("tls-key-file {}", quoted(&own.key)))
            .config("tls-auth-clients no")
            .config("tls-replication yes")
    }
}
