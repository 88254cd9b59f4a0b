//! What this backend says it is: its keys of this boot, the keyset, and the evidence for it.

use cocoon_attestation::{
    DevRoot, Document, EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Nonce, Operator, PrefixCache,
    Release,
};
use cocoon_engine_api::Ready;
use cocoon_receipts::{Digest, VerifyingKey};
use cocoon_sealing::{Kem, PrivateKey, encode_key_configs};

use crate::Error;
use crate::config::Config;

/// `key_id` of the X25519 key.
const X25519_KEY_ID: u8 = 0;
/// How long a keyset is valid. Keys are not rotated while a backend runs, so this also bounds how long it may run.
const LIFETIME_MS: u64 = 30 * 24 * 3_600_000;

/// Made at start and never again: a restart of the engine changes none of it.
#[derive(Debug)]
pub(crate) struct Identity {
    hpke: PrivateKey,
    keyset: Keyset,
    keyset_bytes: Vec<u8>,
    digest: Digest,
    root: DevRoot,
    engine: Ready,
}

impl Identity {
    /// Makes the HPKE key and the keyset.
    ///
    /// # Errors
    /// Where there is no randomness, or the operator's address is none.
    pub(crate) fn new(
        config: &Config,
        root: DevRoot,
        weights: Digest,
        engine: &Ready,
        receipt_key: &VerifyingKey,
        now_ms: u64,
    ) -> Result<Self, Error> {
        let hpke = PrivateKey::generate(Kem::X25519).map_err(Error::HpkeKey)?;
        let keyset = Keyset {
            version: KEYSET_VERSION,
            operator: Operator { address: config.operator.clone(), workchain: config.workchain()? },
            not_before: now_ms,
            not_after: now_ms.saturating_add(LIFETIME_MS),
            hpke: vec![HpkeKey::new(X25519_KEY_ID, Kem::X25519.id(), hpke.public_key().as_bytes())],
            receipt_key: receipt_key.to_jwk(),
            model: ModelInfo {
                id: config.model_name.clone(),
                sha256: weights,
                quantization: engine.quantization.clone(),
                context_length: engine.context_length,
            },
            engine: EngineInfo { name: engine.engine.clone(), version: engine.engine_version.clone() },
            prefix_cache: if engine.prefix_cache { PrefixCache::Shared } else { PrefixCache::Off },
            release: Release { name: env!("CARGO_PKG_VERSION").to_owned(), sequence: 0 },
        };
        let keyset_bytes = keyset.to_bytes();
        let digest = Digest::of(&[&keyset_bytes]);
        Ok(Self { hpke, keyset, keyset_bytes, digest, root, engine: engine.clone() })
    }

    pub(crate) fn hpke(&self) -> &PrivateKey {
        &self.hpke
    }

    pub(crate) fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// What the engine says of itself and of its model.
    pub(crate) fn engine(&self) -> &Ready {
        &self.engine
    }

    /// SHA-256 of the keyset: this backend's name in tickets and receipts.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    /// The public model name.
    pub(crate) fn model(&self) -> &str {
        &self.keyset.model.id
    }

    /// OpenAI's `system_fingerprint`: changes with anything in the keyset.
    pub(crate) fn fingerprint(&self) -> String {
        format!("fp_{}", hex::encode(&self.digest.0[..5]))
    }

    /// The attestation document for a verifier's nonce.
    pub(crate) fn document(&self, nonce: Nonce) -> Document {
        self.root.document(&self.keyset_bytes, nonce)
    }

    /// Key configurations (RFC 9458 section 3.1).
    pub(crate) fn key_configs(&self) -> Vec<u8> {
        encode_key_configs(&[(X25519_KEY_ID, self.hpke.public_key())])
    }
}
