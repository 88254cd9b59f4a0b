//! One backend's evidence: asked for with a fresh nonce, judged under the policy, held against the rollback floor.

use std::sync::{Mutex, PoisonError};

use cocoon_attestation::{
    Document, Findings, HpkeKey, MAX_DOCUMENT, Nonce, Policy, Refusal, Release, Tee, Verdict,
};
use cocoon_exchange::Signer;
use cocoon_openapi::ATTESTATIONS_PATH;
use cocoon_receipts::Digest;
use cocoon_sealing::{Kem, PublicKey};

use crate::clock::Clock;
use crate::floor::Floor;
use crate::gateway::{Gateway, GatewayError};
use crate::in_force::{InForce, NoPolicy};
use crate::state::StateError;

/// Why a backend is not sealed to.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("its attestation document cannot be had: {0}")]
    Fetch(#[from] GatewayError),
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    #[error("the document is another backend's: its keyset is not the one that was asked for")]
    WrongKeyset,
    #[error("the document is of a backend that serves another model")]
    WrongModel,
    #[error("its keyset has no key that can be sealed to")]
    NoKey,
    #[error("that its release was seen cannot be written down: {0}")]
    State(#[from] StateError),
    #[error(transparent)]
    NoPolicy(#[from] NoPolicy),
    #[error("the system has no randomness")]
    Randomness,
}

impl VerifyError {
    /// What the policy found, where its document was judged and refused.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        match self {
            Self::Refused(refusal) => Some(&refusal.findings),
            _ => None,
        }
    }

    /// Whether the next attempt may end otherwise: the gateway was busy, or listed a backend that has new keys.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Fetch(_) | Self::WrongKeyset)
    }
}

/// A backend that may be sealed to.
#[derive(Debug, Clone)]
pub struct Verified {
    pub tee: Tee,
    pub signer: Signer,
    /// What is sealed to.
    pub key: PublicKey,
    /// All that the keyset offers, IANA numbers.
    pub kems: Vec<u16>,
    pub release: Release,
    /// Every check, passed or waived.
    pub findings: Findings,
    /// Milliseconds since 1970, all of them.
    pub verified_at: u64,
    pub valid_until: u64,
    pub not_after: u64,
}

impl Verified {
    /// The keyset's.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.signer.keyset
    }
}

/// What verification needs.
#[derive(Debug)]
pub struct Verifier {
    pub gateway: Gateway,
    pub policy: InForce,
    pub floor: Mutex<Floor>,
    pub clock: Clock,
}

impl Verifier {
    /// The oldest release of this name that is believed now.
    #[must_use]
    pub fn floor_of(&self, name: &str) -> u64 {
        let floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = floor.of(name, self.clock.now_ms());
        self.policy.get().map_or(floor, |policy| floor.max(policy.min_release(name)))
    }

    /// Verifies the backend with this keyset, which must serve `model`.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn verify(&self, keyset: Digest, model: &str) -> Result<Verified, VerifyError> {
        let policy = self.policy.get()?;
        let mut nonce = [0; 32];
        cocoon_receipts::random(&mut nonce).map_err(|_| VerifyError::Randomness)?;
        let nonce = Nonce(nonce);
        let path = format!("{ATTESTATIONS_PATH}/{keyset}?nonce={nonce}");
        let document: Document = self.gateway.get_json(&path, None, MAX_DOCUMENT).await?;
        let now = self.clock.now_ms();
        // The listener is on loopback always; this is about where the backend's answers come from.
        let loopback = self.gateway.url().is_loopback();
        let verdict = policy.verify(&document, nonce, now, loopback)?;
        self.accept(&policy, verdict, keyset, model, now)
    }

    /// What the policy does not know: which backend and model were asked for, and what was seen before.
    fn accept(
        &self,
        policy: &Policy,
        mut verdict: Verdict,
        keyset: Digest,
        model: &str,
        now: u64,
    ) -> Result<Verified, VerifyError> {
        if verdict.digest != keyset {
            return Err(VerifyError::WrongKeyset);
        }
        if verdict.keyset.model.id != model {
            return Err(VerifyError::WrongModel);
        }
        let key = key_to_seal(policy, &verdict.keyset.hpke).ok_or(VerifyError::NoKey)?;
        let receipt_key = verdict.keyset.receipt_key().map_err(|_| VerifyError::NoKey)?;
        let release = &verdict.keyset.release;
        let mut floor = self.floor.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = floor.of(&release.name, now).max(policy.min_release(&release.name));
        if !verdict.findings.release(&release.name, release.sequence, oldest) {
            return Err(Refusal { findings: verdict.findings }.into());
        }
        floor.remember(release, now)?;
        drop(floor);
        let not_after = verdict.keyset.not_after;
        Ok(Verified {
            tee: verdict.tee,
            signer: Signer { keyset, key: receipt_key },
            key,
            kems: verdict.keyset.hpke.iter().map(|key| key.kem).collect(),
            release: verdict.keyset.release,
            findings: verdict.findings,
            verified_at: now,
            valid_until: verdict.valid_until,
            not_after,
        })
    }
}

/// X-Wing where there is one; X25519 else, unless the policy asks for more.
fn key_to_seal(policy: &Policy, keys: &[HpkeKey]) -> Option<PublicKey> {
    let find = |kem: Kem| {
        keys.iter().filter(|key| key.kem == kem.id()).find_map(|key| PublicKey::new(kem, &key.bytes()?).ok())
    };
    let required = policy.require_kem().map(cocoon_attestation::RequiredKem::id);
    [Kem::XWing, Kem::X25519]
        .into_iter()
        .filter(|kem| required.is_none_or(|required| required == kem.id()))
        .find_map(find)
}
