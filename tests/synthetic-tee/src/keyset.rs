//! A keyset to attest.
#![expect(clippy::expect_used, reason = "test support: what it makes can always be made")]

use cocoon_attestation::{
    EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
};
use cocoon_receipts::{Digest, SigningKey};

/// A keyset of which every policy without wishes of its own approves, for an hour around `now_ms`.
#[must_use]
pub fn keyset(now_ms: u64) -> Keyset {
    const HALF_AN_HOUR_MS: u64 = 1_800_000;
    Keyset {
        version: KEYSET_VERSION,
        operator: Operator { address: "0:00".parse().expect("an address"), workchain: 0 },
        not_before: now_ms.saturating_sub(HALF_AN_HOUR_MS),
        not_after: now_ms.saturating_add(HALF_AN_HOUR_MS),
        hpke: vec![HpkeKey::new(0, 0x20, &[9; 32])],
        receipt_key: SigningKey::generate().expect("a key").public().to_jwk(),
        model: ModelInfo {
            id: "m".into(),
            sha256: Digest([3; 32]),
            quantization: "q8_0".into(),
            context_length: 8192,
        },
        engine: EngineInfo { name: "mistral.rs".into(), version: "0.8.1".into() },
        prefix_cache: PrefixCache::Off,
        release: Release { name: "synthetic".into(), sequence: 1 },
    }
}
