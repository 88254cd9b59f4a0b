//! What is needed to get at a server beside its URL: files with secrets and certificates, and patience.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{ClientTlsConfig, TlsCertificates};

use crate::LedgerError;

/// Bytes of a password's file that are read at most.
const MAX_PASSWORD: usize = 4096;

/// How long the server may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer a command; one that waits for the disk may take twice as long.
    pub response: Duration,
}

impl Default for Timeouts {
    /// 1 s and 2 s.
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), response: Duration::from_secs(2) }
    }
}

impl Timeouts {
    /// The deadline of a call, a reconnection included.
    pub(super) fn deadline(self) -> Duration {
        self.connect + self.response
    }
}

/// How a Redis server is reached, beside its URL. Files are read when the ledger is opened.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub timeouts: Timeouts,
    /// PEM file of the authorities that may have signed the server's certificate; the system's where there is none.
    pub ca: Option<PathBuf>,
    /// PEM files of a client certificate and its key, for servers that ask for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// File whose first line is the password of the URL's user.
    pub password_file: Option<PathBuf>,
    /// User of the sentinels, where they ask for a password.
    pub sentinel_user: Option<String>,
    /// File whose first line is the password for the sentinels.
    pub sentinel_password_file: Option<PathBuf>,
}

impl Access {
    /// The certificates, where any are named.
    pub(super) async fn certificates(&self) -> Result<TlsCertificates, LedgerError> {
        let root_cert = match &self.ca {
            Some(path) => Some(read(path, "the file of authorities").await?),
            None => None,
        };
        let client_tls = match &self.client_certificate {
            Some((certificate, key)) => Some(ClientTlsConfig {
                client_cert: read(certificate, "the client certificate").await?,
                client_key: read(key, "the client certificate's key").await?,
            }),
            None => None,
        };
        Ok(TlsCertificates { client_tls, root_cert })
    }

    pub(super) fn names_certificates(&self) -> bool {
        self.ca.is_some() || self.client_certificate.is_some()
    }

    pub(super) fn names_sentinels(&self) -> bool {
        self.sentinel_user.is_some() || self.sentinel_password_file.is_some()
    }
}

/// The first line of `path`. Errors name the file and never what is in it.
pub(super) async fn password(path: &Path) -> Result<String, LedgerError> {
    let bytes = read(path, "the password's file").await?;
    let wrong = |reason: &str| LedgerError::Configuration(format!("{}: {reason}", path.display()));
    if bytes.len() > MAX_PASSWORD {
        return Err(wrong("is too long for a password"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not text"))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(wrong("its first line is empty")),
    }
}

async fn read(path: &Path, what: &str) -> Result<Vec<u8>, LedgerError> {
    tokio::fs::read(path)
        .await
        .map_err(|error| LedgerError::Configuration(format!("{what}, {}: {error}", path.display())))
}
