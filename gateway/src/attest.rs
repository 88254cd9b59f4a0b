//! Keeps a verdict on every backend: asks for its attestation document with a fresh nonce, and judges it under the
//! policy. A backend without a verdict is not used.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cocoon_attestation::{Document, MAX_DOCUMENT, Nonce, Policy, Refusal, Tee};
use cocoon_ledger::{Ledger, LedgerError};
use cocoon_openapi::ATTESTATION_PATH;
use cocoon_sealing::{Kem, PublicKey};
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::route::{Attested, Backend};
use crate::send::HttpClient;

/// A verdict is renewed after this long at the latest.
const MAX_VERDICT_AGE: Duration = Duration::from_secs(3600);
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
    #[error("its keyset has no usable X25519 key")]
    NoKey,
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
                    announce(backend, &attested);
                    let left =
                        Duration::from_millis(attested.verdict.keyset.not_after.saturating_sub(now_ms()));
                    backend.set(Some(attested));
                    retry = FIRST_RETRY;
                    last_reason.clear();
                    left.saturating_sub(RENEW_BEFORE_END).clamp(FIRST_RETRY, MAX_VERDICT_AGE)
                }
                Err(error) => {
                    backend.set(None);
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
        let document = tokio::time::timeout(FETCH_TIMEOUT, self.fetch(backend, nonce))
            .await
            .map_err(|_| AttestError::Fetch("timed out".into()))??;
        let loopback = self.gateway_on_loopback && is_loopback(backend.authority.host());
        let verdict = self.policy.verify(&document, nonce, now_ms(), loopback)?;
        let hpke = verdict
            .keyset
            .hpke
            .iter()
            .filter(|key| key.kem == Kem::X25519.id())
            .find_map(|key| PublicKey::new(Kem::X25519, &key.bytes()?).ok())
            .ok_or(AttestError::NoKey)?;
        let receipt_key = verdict.keyset.receipt_key().map_err(|_| Refusal::Keyset("no receipt key"))?;
        // Before the first request: any gateway must be able to check a receipt of it, today and next week.
        self.ledger.put_keyset(&verdict.keyset_bytes).await?;
        Ok(Attested { verdict, hpke, receipt_key })
    }

    async fn fetch(&self, backend: &Backend, nonce: Nonce) -> Result<Document, AttestError> {
        let uri = format!("http://{}{ATTESTATION_PATH}?nonce={nonce}", backend.authority);
        let request = Request::get(uri)
            .body(Full::<Bytes>::default())
            .map_err(|error| AttestError::Fetch(error.to_string()))?;
        let response =
            self.client.request(request).await.map_err(|error| AttestError::Fetch(error.to_string()))?;
        if !response.status().is_success() {
            return Err(AttestError::Fetch(format!("status {}", response.status().as_u16())));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT)
            .collect()
            .await
            .map_err(|error| AttestError::Fetch(error.to_string()))?;
        serde_json::from_slice(&body.to_bytes()).map_err(|_| AttestError::NotADocument)
    }
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
