//! Keeps a verdict on every backend: asks for its attestation document with a fresh nonce, and judges it under the
//! policy. A backend without a verdict is not used.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cocoon_attestation::{Document, Keyset, MAX_DOCUMENT, Nonce, Policy, Refusal, Tee};
use cocoon_ledger::{Ledger, LedgerError};
use cocoon_openapi::ATTESTATION_PATH;
use cocoon_sealing::{Kem, PublicKey};
use http::Request;
use http::uri::Authority;
use http_body_util::{BodyExt, Limited};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::hop::{HopBody, HttpClient};
use crate::route::{Attested, Backend};

/// A verdict is renewed after this long at the latest: a backend that has changed its keys accepts its old X-Wing key for
/// ten minutes more, and by then the new one must be known.
const MAX_VERDICT_AGE: Duration = Duration::from_secs(300);
/// And this long before its keyset ends.
const RENEW_BEFORE_END: Duration = Duration::from_secs(600);
/// Bound on one fetch. A hardware quote costs about 50 ms and may wait a second for its batch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Why a backend has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    #[error("the backend does not answer: {0}")]
    Fetch(String),
    #[error("its answer is not an attestation document")]
    NotADocument,
    #[error("refused by the policy: {0}")]
    Refused(#[from] Refusal),
    #[error("its keyset has no usable X25519 key, or a key that cannot be used")]
    Keys,
    #[error("the accepted keyset could not be kept: {0}")]
    Store(#[from] LedgerError),
    #[error("the system has no randomness")]
    Randomness,
}

/// What verification needs.
#[derive(Debug)]
pub struct Verifier {
    pub client: HttpClient,
    pub policy: Policy,
    pub ledger: Arc<dyn Ledger>,
    /// Whether clients reach this gateway on loopback only.
    pub gateway_on_loopback: bool,
}

impl Verifier {
    /// Keeps `backend`'s verdict until `shutdown`.
    pub async fn keep(&self, backend: &Backend, shutdown: CancellationToken) {
        let mut retry = FIRST_RETRY;
        let mut last_reason = String::new();
        loop {
            let pause = match self.verify(backend).await {
                Ok(attested) => {
                    if backend.attested().is_none_or(|known| known.digest() != attested.digest()) {
                        announce(backend, &attested);
                    }
                    let left =
                        Duration::from_millis(attested.verdict.keyset.not_after.saturating_sub(now_ms()));
                    backend.set(Some(attested), now_ms());
                    retry = FIRST_RETRY;
                    last_reason.clear();
                    left.saturating_sub(RENEW_BEFORE_END).clamp(FIRST_RETRY, MAX_VERDICT_AGE)
                }
                Err(error) => {
                    backend.set(None, now_ms());
                    let reason = error.to_string();
                    // The same reason is said once, not at every retry.
                    if reason != last_reason {
                        tracing::warn!(backend = %backend.authority, %reason, "backend is not used");
                        last_reason = reason;
                    }
                    let pause = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    pause
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = backend.suspicion() => retry = FIRST_RETRY,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One verification with a fresh nonce.
    ///
    /// # Errors
    /// [`AttestError`]; the text is for the log.
    pub async fn verify(&self, backend: &Backend) -> Result<Attested, AttestError> {
        let mut nonce = [0; 32];
        cocoon_receipts::random(&mut nonce).map_err(|_| AttestError::Randomness)?;
        let nonce = Nonce(nonce);
        let document = fetch(&self.client, &backend.authority, nonce).await?;
        let document: Document = serde_json::from_slice(&document).map_err(|_| AttestError::NotADocument)?;
        let loopback = self.gateway_on_loopback && is_loopback(backend.authority.host());
        let verdict = self.policy.verify(&document, nonce, now_ms(), loopback)?;
        let keys = usable_keys(&verdict.keyset)?;
        let receipt_key = verdict.keyset.receipt_key().map_err(|_| AttestError::Keys)?;
        // Before the first request: any gateway must be able to check a receipt of it, today and next week.
        self.ledger.put_keyset(&verdict.keyset_bytes).await?;
        Ok(Attested { verdict, keys, receipt_key })
    }
}

/// The keys of every KEM that is known here, X25519 first. One that is listed and cannot be used is an error: to go on
/// with the others would be a quiet step back.
fn usable_keys(keyset: &Keyset) -> Result<Vec<(u8, PublicKey)>, AttestError> {
    let mut keys = Vec::new();
    for kem in Kem::ALL {
        for key in keyset.hpke.iter().filter(|key| key.kem == kem.id()) {
            let bytes = key.bytes().ok_or(AttestError::Keys)?;
            keys.push((key.key_id, PublicKey::new(kem, &bytes).map_err(|_| AttestError::Keys)?));
        }
    }
    match keys.first() {
        Some((_, first)) if first.kem() == Kem::X25519 => Ok(keys),
        _ => Err(AttestError::Keys),
    }
}

/// The attestation document of the backend at `authority` for `nonce`: its bytes, whatever they are.
///
/// # Errors
/// [`AttestError::Fetch`].
pub async fn fetch(client: &HttpClient, authority: &Authority, nonce: Nonce) -> Result<Bytes, AttestError> {
    let failed = |error: &dyn std::fmt::Display| AttestError::Fetch(error.to_string());
    let uri = format!("http://{authority}{ATTESTATION_PATH}?nonce={nonce}");
    let request = Request::get(uri).body(HopBody::default()).map_err(|error| failed(&error))?;
    let fetching = async {
        let response = client.request(request).await.map_err(|error| failed(&error))?;
        if !response.status().is_success() {
            return Err(AttestError::Fetch(format!("status {}", response.status().as_u16())));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        Ok(body.map_err(|error| failed(&error))?.to_bytes())
    };
    tokio::time::timeout(FETCH_TIMEOUT, fetching).await.map_err(|_| AttestError::Fetch("timed out".into()))?
}

fn announce(backend: &Backend, attested: &Attested) {
    let verdict = &attested.verdict;
    let (tee, model, keyset) = (verdict.tee.as_str(), &verdict.keyset.model.id, verdict.digest);
    if verdict.tee == Tee::Dev {
        tracing::warn!(
            backend = %backend.authority, tee, model, %keyset,
            "backend accepted on DEVELOPMENT evidence: no hardware protects what is sent to it"
        );
    } else {
        tracing::info!(backend = %backend.authority, tee, model, %keyset, "backend accepted");
    }
}

/// Whether `host` is a loopback address. Names are not: what they resolve to can change.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
