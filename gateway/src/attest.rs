//! Keeps a verdict on every backend: asks for its attestation document with a fresh nonce, and judges it under the
//! policy. A backend without a verdict is not used.

mod error;
mod fetch;
mod judge;
mod renewal;
mod source;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cocoon_attestation::{Nonce, Policy, Tee};
use cocoon_ledger::{KeptDocument, Ledger};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use error::AttestError;
pub use fetch::fetch;
pub use judge::{is_loopback, judge};
pub use renewal::renew_after;
pub use source::{PolicySource, Unusable};

use crate::clock::now_ms;
use crate::hop::HttpClient;
use crate::metrics::Metrics;
use crate::route::{Attested, Backend, Checked};

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How long a verdict of the policy before may still be used while its backend is judged under the new one.
const POLICY_GRACE: Duration = Duration::from_secs(10);

/// What verification needs.
#[derive(Debug)]
pub struct Verifier {
    pub client: HttpClient,
    /// The policy in force.
    pub policy: Arc<watch::Sender<Arc<Policy>>>,
    pub ledger: Arc<dyn Ledger>,
    pub metrics: Arc<Metrics>,
    /// Whether clients reach this gateway on loopback only.
    pub gateway_on_loopback: bool,
}

impl Verifier {
    /// Keeps `backend`'s verdict until `shutdown`: verifies it before its verdict runs out, when it is suspected, and at
    /// once under a new policy. A verdict of the policy before is used until the backend was judged under the new one,
    /// for ten seconds at most, so that a backend that both accept serves on.
    pub async fn keep(&self, backend: &Backend, shutdown: CancellationToken) {
        let mut policies = self.policy.subscribe();
        let mut retry = FIRST_RETRY;
        let mut last_reason = String::new();
        loop {
            let policy = Arc::clone(&policies.borrow_and_update());
            let checked = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Ok(()) = policies.changed() => {
                    backend.renew_within(POLICY_GRACE);
                    continue;
                }
                checked = self.check(backend, &policy) => checked,
            };
            self.metrics.verified(&backend.authority, &checked);
            let pause = match &checked.outcome {
                Ok(attested) => {
                    if backend.attested().is_none_or(|known| known.digest() != attested.digest()) {
                        announce(backend, attested);
                    }
                    retry = FIRST_RETRY;
                    last_reason.clear();
                    renew_after(attested)
                }
                Err(error) => {
                    let reason = error.to_string();
                    // The same reason is said once, not at every retry.
                    if reason != last_reason {
                        report(backend, error, &reason);
                        last_reason = reason;
                    }
                    let pause = retry;
                    retry = (retry * 2).min(LAST_RETRY);
                    pause
                }
            };
            backend.record(checked);
            tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = policies.changed() => {
                    backend.renew_within(POLICY_GRACE);
                    retry = FIRST_RETRY;
                }
                () = backend.suspicion() => retry = FIRST_RETRY,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One verification with a fresh nonce, under `policy`.
    async fn check(&self, backend: &Backend, policy: &Policy) -> Checked {
        let begun = Instant::now();
        let mut judging = None;
        let outcome = self.verify(backend, policy, &mut judging).await;
        Checked { outcome, at: now_ms(), took: begun.elapsed(), judging }
    }

    async fn verify(
        &self,
        backend: &Backend,
        policy: &Policy,
        judging: &mut Option<Duration>,
    ) -> Result<Attested, AttestError> {
        let mut nonce = [0; 32];
        cocoon_receipts::random(&mut nonce).map_err(|_| AttestError::Randomness)?;
        let nonce = Nonce(nonce);
        let document = fetch(&self.client, &backend.authority, nonce).await?;
        let loopback = self.gateway_on_loopback && is_loopback(backend.authority.host());
        let begun = Instant::now();
        let judged = judge(policy, &document, nonce, now_ms(), loopback);
        *judging = Some(begun.elapsed());
        let attested = judged?;
        self.store(backend, &attested, nonce, &document).await?;
        Ok(attested)
    }

    /// Before the first request: any gateway must be able to check a receipt of the backend, today and next week, and
    /// anyone what was known of it then.
    async fn store(
        &self,
        backend: &Backend,
        attested: &Attested,
        nonce: Nonce,
        document: &Bytes,
    ) -> Result<(), AttestError> {
        if backend.has_been(attested.digest()) {
            return Ok(());
        }
        self.ledger.put_keyset(&attested.verdict.keyset_bytes).await?;
        let kept = KeptDocument {
            nonce: nonce.0,
            verified_at: attested.verdict.verified_at,
            bytes: document.to_vec(),
        };
        Ok(self.ledger.put_document(attested.digest(), &kept).await?)
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

fn report(backend: &Backend, error: &AttestError, reason: &str) {
    if !error.ends_verdict() && backend.attested().is_some() {
        tracing::warn!(
            backend = %backend.authority, %reason,
            "backend could not be verified again: its verdict is used until it runs out"
        );
    } else {
        tracing::warn!(backend = %backend.authority, %reason, "backend is not used");
    }
}

#[cfg(test)]
mod tests;
