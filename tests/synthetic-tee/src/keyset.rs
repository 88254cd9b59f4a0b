//! A keyset to attest.

use cocoon_attestation::{
    EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
};
use cocoon_receipts::{Digest, SigningKey};

/// A keyset that is good at any time, so that nothing fails by it. Nobody has its keys.
///
/// # Panics
/// Where the system has no randomness.
#[must_use]
pub fn keyset() -> Keyset {
    Keyset {
        version: KEYSET_VERSION,
        operator: Operator { address: "0:00".parse().expect("an address"), workchain: 0 },
        not_before: 0,
        not_after: u64::MAX,
        hpke: vec![HpkeKey::new(0, 0x20, &[9; 32])],
        receipt_key: SigningKey::generate().expect("the system has randomness").public().to_jwk(),
        model: ModelInfo {
            id: "model".to_owned(),
            sha256: Digest([3; 32]),
            quantization: "q8_0".to_owned(),
            context_length: 8192,
        },
        engine: EngineInfo { name: "mistral.rs".to_owned(), version: "0.8.1".to_owned() },
        prefix_cache: PrefixCache::Off,
        release: Release { name: "synthetic".to_owned(), sequence: 1 },
    }
}
