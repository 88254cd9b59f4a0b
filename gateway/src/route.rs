//! Step 5: which attested backend serves the model.

mod backend;
mod sealed;
mod standing;

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;

pub use backend::{Attested, Backend, Chosen, Known};
pub use sealed::Named;
pub use standing::{Checked, Standing};

/// All backends of this gateway.
#[derive(Debug)]
pub struct Fleet {
    backends: Vec<Arc<Backend>>,
}

impl Fleet {
    #[must_use]
    pub fn new(backends: Vec<Arc<Backend>>) -> Self {
        Self { backends }
    }

    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// Verdicts in force.
    pub fn attested(&self) -> impl Iterator<Item = Arc<Attested>> {
        self.backends.iter().filter_map(|backend| backend.attested())
    }

    /// Tokens that fit `model` on every backend that serves it: a request must fit wherever it lands. Waits up to
    /// `patience` for the first such backend.
    pub async fn context_length(&self, model: &str, patience: Duration) -> Option<u64> {
        let least = || {
            let keysets = self.attested().filter(|attested| attested.model() == model);
            keysets.map(|attested| attested.verdict.keyset.model.context_length).min()
        };
        match least() {
            Some(context) => Some(context),
            None => self.choose_within(model, &[], patience).await.and_then(|_| least()),
        }
    }

    /// Power of two choices on requests in flight, among those that serve `model` and are not in `tried`.
    #[must_use]
    pub fn choose(&self, model: &str, tried: &[Authority]) -> Option<Chosen> {
        let candidates: Vec<_> = self
            .backends
            .iter()
            .filter(|backend| !tried.contains(&backend.authority))
            .filter_map(|backend| Some((backend, backend.attested()?)))
            .filter(|(_, attested)| attested.model() == model)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let first = fastrand::usize(..candidates.len());
        // The second differs from the first where there are two.
        let second = (first + 1 + fastrand::usize(..candidates.len().max(2) - 1)) % candidates.len();
        let load = |at: usize| candidates[at].0.load();
        let (backend, attested) = &candidates[if load(second) < load(first) { second } else { first }];
        Some(Chosen::new(Arc::clone(backend), Arc::clone(attested)))
    }

    /// As [`Fleet::choose`], but waits up to `patience` for a backend to be verified again, if one is left to wait for.
    pub async fn choose_within(
        &self,
        model: &str,
        tried: &[Authority],
        patience: Duration,
    ) -> Option<Chosen> {
        self.wait_for(tried, patience, || self.choose(model, tried)).await
    }

    /// Looks again whenever a backend's verdict changes, for `patience` at most, if one that was not tried is left to
    /// wait for.
    async fn wait_for<T>(
        &self,
        tried: &[Authority],
        patience: Duration,
        look: impl Fn() -> Option<T>,
    ) -> Option<T> {
        if self.backends.iter().all(|backend| tried.contains(&backend.authority)) {
            return None;
        }
        let mut verdicts: Vec<_> = self.backends.iter().map(|backend| backend.subscribe()).collect();
        let wait = async {
            loop {
                if let Some(found) = look() {
                    return Some(found);
                }
                let changes = verdicts.iter_mut().map(|verdict| Box::pin(verdict.changed()));
                futures_util::future::select_all(changes).await.0.ok()?;
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use cocoon_attestation::{
        EngineInfo, Findings, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
        Tee, Verdict,
    };
    use cocoon_receipts::{Digest, SigningKey, VerifyingKey};
    use cocoon_sealing::{Kem, PrivateKey};

    use super::*;
    use crate::attest::AttestError;
    use crate::clock::now_ms;

    /// The receipt key of one.
    pub(crate) fn boot() -> VerifyingKey {
        SigningKey::generate().unwrap().public().clone()
    }

    pub(crate) fn attested(model: &str, context_length: u64) -> Attested {
        of_boot(&boot(), model, context_length, u64::MAX)
    }

    pub(crate) fn of_boot(
        receipt_key: &VerifyingKey,
        model: &str,
        context_length: u64,
        not_after: u64,
    ) -> Attested {
        let private = PrivateKey::generate(Kem::X25519).unwrap();
        let keyset = Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: "0:00".parse().unwrap(), workchain: 0 },
            not_before: 0,
            not_after,
            hpke: vec![HpkeKey::new(0, Kem::X25519.id(), private.public_key().as_bytes())],
            receipt_key: receipt_key.to_jwk(),
            model: ModelInfo {
                id: model.into(),
                sha256: Digest([0; 32]),
                quantization: "none".into(),
                context_length,
            },
            engine: EngineInfo { name: "e".into(), version: "1".into() },
            prefix_cache: PrefixCache::Off,
            release: Release { name: "r".into(), sequence: 0 },
        };
        let keyset_bytes = keyset.to_bytes();
        let digest = Digest::of(&[&keyset_bytes]);
        let verdict = Verdict {
            tee: Tee::Dev,
            keyset,
            keyset_bytes,
            digest,
            verified_at: 0,
            valid_until: not_after,
            findings: Findings::default(),
        };
        let keys = vec![(0, private.public_key().clone())];
        Attested { verdict, policy: Digest([0; 32]), keys, receipt_key: receipt_key.clone() }
    }

    /// A verification that ended now.
    pub(crate) fn checked(outcome: Result<Attested, AttestError>) -> Checked {
        Checked { outcome, at: now_ms(), took: Duration::ZERO, judging: None }
    }

    /// The backend cannot be reached.
    pub(crate) fn gone() -> Checked {
        checked(Err(AttestError::Unreachable("refused".into())))
    }

    pub(crate) fn fleet(models: &[Option<(&str, u64)>]) -> Fleet {
        let backends = models.iter().enumerate().map(|(at, model)| {
            let backend = Backend::new(format!("127.0.0.1:{at}").parse().unwrap());
            backend.record(match model {
                Some((name, context)) => checked(Ok(attested(name, *context))),
                None => gone(),
            });
            Arc::new(backend)
        });
        Fleet::new(backends.collect())
    }

    #[test]
    fn only_attested_backends_with_the_model_that_were_not_tried_are_chosen() {
        let fleet = fleet(&[Some(("m", 1)), None, Some(("other", 1)), Some(("m", 1))]);
        let tried: Authority = "127.0.0.1:0".parse().unwrap();
        for _ in 0..50 {
            assert_eq!(
                fleet.choose("m", std::slice::from_ref(&tried)).unwrap().backend.authority,
                "127.0.0.1:3"
            );
        }
        assert!(fleet.choose("m", &[tried, "127.0.0.1:3".parse().unwrap()]).is_none());
        assert!(fleet.choose("unknown", &[]).is_none());
    }

    #[test]
    fn of_two_the_one_with_fewer_requests_in_flight_is_chosen() {
        let fleet = fleet(&[Some(("m", 1)), Some(("m", 1))]);
        let mut running = Vec::new();
        for _ in 0..20 {
            running.push(fleet.choose("m", &[]).unwrap());
        }
        let load = |at: usize| fleet.backends()[at].load();
        assert_eq!((load(0), load(1)), (10, 10));
        drop(running);
        assert_eq!((load(0), load(1)), (0, 0), "a choice that is dropped no longer counts");
    }

    #[test]
    fn suspicion_of_a_keyset_that_is_gone_takes_no_backend_out() {
        let fleet = fleet(&[Some(("m", 1))]);
        let backend = &fleet.backends()[0];
        let old = backend.attested().unwrap().digest();
        backend.record(checked(Ok(attested("m", 1))));
        backend.suspect(old);
        assert!(backend.attested().is_some());
        backend.suspect(backend.attested().unwrap().digest());
        assert!(backend.attested().is_none());
    }

    #[tokio::test]
    async fn the_context_is_the_least_of_those_that_serve_the_model() {
        let fleet = fleet(&[Some(("m", 200)), Some(("m", 100)), Some(("other", 1))]);
        assert_eq!(fleet.context_length("m", Duration::ZERO).await, Some(100));
        assert_eq!(fleet.context_length("unknown", Duration::ZERO).await, None);
    }

    #[tokio::test]
    async fn a_request_waits_for_a_backend_that_is_verified_again() {
        let fleet = fleet(&[None]);
        let backend = Arc::clone(&fleet.backends()[0]);
        let (chosen, ()) = tokio::join!(fleet.choose_within("m", &[], Duration::from_secs(60)), async {
            tokio::task::yield_now().await;
            backend.record(checked(Ok(attested("m", 1))));
        });
        assert!(chosen.is_some());
        let tried = [backend.authority.clone()];
        assert!(
            fleet.choose_within("m", &tried, Duration::from_secs(60)).await.is_none(),
            "there is none to wait for"
        );
    }
}
