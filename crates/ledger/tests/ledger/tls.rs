//! Redis over TLS, under an authority of the test's own: who is not who the certificate says is refused, on either side.

use std::path::{Path, PathBuf};

use cocoon_ledger::redis::{Access, RedisLedger};
use cocoon_ledger::{Ledger, LedgerError};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::bench::{name, options};
use crate::redis_server::{DURABLE, RedisServer, free_port};

/// A certificate and its key as files.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

/// Signs for one test.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    certificate: PathBuf,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose subject is its issuer for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        let certificate = folder.path().join("ca.pem");
        std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder, certificate }
    }

    /// For `who`, an address or a name.
    fn signs(&self, who: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new([who.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.distinguished_name.push(DnType::CommonName, who);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let file = |kind: &str, text: &str| {
            let path = self.folder.path().join(format!("{who}-{kind}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Pair { certificate: file("certificate", &signed.pem()), key: file("key", &key.serialize_pem()) }
    }
}

/// A server with a TLS port beside its plain one.
struct Secured {
    _server: RedisServer,
    port: u16,
}

impl Secured {
    /// `clients`: whether they must have a certificate of the authority.
    fn start(authority: &Authority, clients: bool) -> Self {
        let port = free_port();
        let own = authority.signs("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let (tls_port, text) = (port.to_string(), |path: &Path| path.to_str().unwrap().to_owned());
        let (certificate, key, ca) = (text(&own.certificate), text(&own.key), text(&authority.certificate));
        let more = [
            "--tls-port",
            &tls_port,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            if clients { "yes" } else { "no" },
        ];
        Self { _server: RedisServer::with(&[&DURABLE[..], &more].concat()), port }
    }

    fn url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.port)
    }
}

async fn opens(url: &str, access: &Access) -> Result<(), LedgerError> {
    let ledger = RedisLedger::connect_with(url, options(), access).await?;
    ledger.put_keyset(b"keyset").await?;
    ledger.account(&name("alice")).await.map(drop)
}

fn believing(authority: &Authority) -> Access {
    Access { ca: Some(authority.certificate.clone()), ..Access::default() }
}

async fn is_refused(url: &str, access: &Access, why: &str) {
    let refused = opens(url, access).await;
    assert!(matches!(refused, Err(LedgerError::Configuration(_))), "{why}: {refused:?}");
}

#[tokio::test]
async fn a_server_of_the_named_authority_is_used_and_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Secured::start(&authority, false);
    opens(&server.url("127.0.0.1"), &believing(&authority)).await.unwrap();
    is_refused(&server.url("127.0.0.1"), &believing(&other), "another authority").await;
    is_refused(&server.url("127.0.0.1"), &Access::default(), "the system's authorities").await;
    is_refused(&server.url("localhost"), &believing(&authority), "another name").await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_given_one() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Secured::start(&authority, true);
    let with = |of: &Authority| {
        let own = of.signs("gateway", ExtendedKeyUsagePurpose::ClientAuth);
        Access { client_certificate: Some((own.certificate, own.key)), ..believing(&authority) }
    };
    opens(&server.url("127.0.0.1"), &with(&authority)).await.unwrap();
    is_refused(&server.url("127.0.0.1"), &with(&other), "a certificate of another authority").await;
    is_refused(&server.url("127.0.0.1"), &believing(&authority), "no certificate").await;
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let server = Secured::start(&authority, false);
    let missing = Access { ca: Some("/nowhere/ca.pem".into()), ..Access::default() };
    let Err(LedgerError::Configuration(reason)) = opens(&server.url("127.0.0.1"), &missing).await else {
        panic!("it was opened")
    };
    assert!(reason.contains("/nowhere/ca.pem"), "{reason}");
    let plain = server.url("127.0.0.1").replace("rediss", "redis");
    is_refused(&plain, &believing(&authority), "certificates without TLS").await;
}
