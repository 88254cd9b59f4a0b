//! TLS: one certificate with its key, from files that may change while we serve.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::follow::Reload;

/// Files that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}: no certificate in PEM")]
    NoCertificate { path: PathBuf },
    #[error("{path}: no private key in PEM")]
    NoKey { path: PathBuf },
    #[error("certificate and key cannot be used: {0}")]
    Pair(rustls::Error),
}

/// The certificate in force, and where it comes from.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    config: Arc<ServerConfig>,
    current: Arc<Current>,
    /// Of the files that were tried last, good or not.
    tried: u64,
}

/// What new connections are given; those there are keep what they have.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The bytes of both files.
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    async fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = async |path: &Path| {
            tokio::fs::read(path).await.map_err(|source| TlsError::Read { path: path.into(), source })
        };
        Ok(Self { certificate: read(certificate).await?, key: read(key).await? })
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key).hash(&mut hasher);
        hasher.finish()
    }
}

impl Tls {
    /// Reads a certificate chain (the server's own first) and its private key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub async fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        // Named, never looked up: a second provider in the program would make the look-up fail at run time.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pair = Pair::read(certificate, key).await?;
        let first = certified(&pair, certificate, key, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(first))));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Current>::clone(&current);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            certificate: certificate.into(),
            key: key.into(),
            provider,
            config: Arc::new(config),
            current,
            tried: pair.fingerprint(),
        })
    }

    /// For [`crate::serve_tls`]; it follows every reload.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl Reload for Tls {
    type Error = TlsError;

    async fn reload(&mut self) -> Result<bool, TlsError> {
        let pair = match Pair::read(&self.certificate, &self.key).await {
            Ok(pair) => pair,
            Err(_) if self.tried == UNREADABLE => return Ok(false),
            Err(error) => {
                self.tried = UNREADABLE;
                return Err(error);
            }
        };
        let fingerprint = pair.fingerprint();
        if fingerprint == self.tried {
            return Ok(false);
        }
        self.tried = fingerprint;
        let new = certified(&pair, &self.certificate, &self.key, &self.provider)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(true)
    }
}

/// Stands for files that could not be read.
const UNREADABLE: u64 = 0;

/// A key that does not belong to its certificate is an error here, not at the first handshake.
fn certified(
    pair: &Pair,
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate { path: certificate.into() })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.into() });
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| TlsError::NoKey { path: key.into() })?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn write(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (certificate, key)
    }

    fn in_force(tls: &Tls) -> Vec<u8> {
        tls.current.0.read().unwrap().cert[0].to_vec()
    }

    #[tokio::test]
    async fn a_new_pair_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "first.example");
        let mut tls = Tls::load(&certificate, &key).await.unwrap();
        let first = in_force(&tls);
        assert!(!tls.reload().await.unwrap(), "nothing has changed");

        // Half of a new pair, as while somebody is copying.
        let old_key = std::fs::read(&key).unwrap();
        write(folder.path(), "second.example");
        let new_key = std::fs::read(&key).unwrap();
        std::fs::write(&key, &old_key).unwrap();
        assert!(matches!(tls.reload().await, Err(TlsError::Pair(_))));
        assert!(!tls.reload().await.unwrap(), "said once");
        assert_eq!(in_force(&tls), first);

        std::fs::write(&key, &new_key).unwrap();
        assert!(tls.reload().await.unwrap());
        let second = in_force(&tls);
        assert_ne!(second, first);

        std::fs::remove_file(&certificate).unwrap();
        assert!(matches!(tls.reload().await, Err(TlsError::Read { .. })));
        assert!(!tls.reload().await.unwrap());
        assert_eq!(in_force(&tls), second);
    }

    #[tokio::test]
    async fn files_that_are_no_pair_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "a.example");
        let swapped = Tls::load(&key, &certificate).await.unwrap_err().to_string();
        assert!(swapped.contains("key.pem: no certificate"), "{swapped}");
        let twice = Tls::load(&certificate, &certificate).await.unwrap_err().to_string();
        assert!(twice.contains("cert.pem: no private key"), "{twice}");
        assert!(matches!(Tls::load(Path::new("/nowhere"), &key).await, Err(TlsError::Read { .. })));
    }

    #[tokio::test]
    async fn a_client_that_never_shakes_hands_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = write(folder.path(), "a.example");
        let tls = Tls::load(&certificate, &key).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let served = crate::serve_tls(
            listener,
            tls.acceptor(),
            Router::new(),
            stop.clone(),
            std::future::pending::<()>(),
        );
        let silent = async {
            let mut silent = TcpStream::connect(address).await.unwrap();
            let read = tokio::time::timeout(Duration::from_secs(20), silent.read(&mut [0])).await;
            assert_eq!(read.unwrap().unwrap(), 0);
            stop.cancel();
        };
        tokio::join!(served, silent);
    }
}
