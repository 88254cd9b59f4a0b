//! What a verdict costs: to be given, once every few minutes, and to be found, by every request. `cargo xtask bench`
//! runs it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cocoon_attestation::{
    DevRoot, EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Nonce, Operator, Policy, PrefixCache,
    Release,
};
use cocoon_gateway::attest::judge;
use cocoon_gateway::clock::now_ms;
use cocoon_gateway::route::{Backend, Checked, Fleet};
use cocoon_receipts::{Digest, SigningKey};
use cocoon_sealing::{Kem, PrivateKey};
use criterion::Criterion;

const MODEL: &str = "m";
const NONCE: Nonce = Nonce([7; 32]);
const HOUR_MS: u64 = 3_600_000;

/// A keyset with a key of each kind, as a backend publishes it.
fn keyset() -> anyhow::Result<Vec<u8>> {
    let mut hpke = Vec::new();
    for (kem, id) in Kem::ALL.into_iter().zip(0..) {
        hpke.push(HpkeKey::new(id, kem.id(), PrivateKey::generate(kem)?.public_key().as_bytes()));
    }
    let keyset = Keyset {
        version: KEYSET_VERSION,
        operator: Operator { address: "0:00".parse()?, workchain: 0 },
        not_before: now_ms(),
        not_after: now_ms() + 30 * HOUR_MS,
        hpke,
        receipt_key: SigningKey::generate()?.public().to_jwk(),
        model: ModelInfo {
            id: MODEL.into(),
            sha256: Digest([0; 32]),
            quantization: "none".into(),
            context_length: 4096,
        },
        engine: EngineInfo { name: "none".into(), version: "0".into() },
        prefix_cache: PrefixCache::Off,
        release: Release { name: "bench".into(), sequence: 0 },
    };
    Ok(keyset.to_bytes())
}

fn main() -> anyhow::Result<()> {
    let brief = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2));
    let mut criterion = brief.configure_from_args();
    let key = SigningKey::generate()?;
    let policy = Policy::from_toml(&format!("dev_roots = ['{}']", key.public().to_base64url()))?;
    let root = DevRoot::new(key);
    let document = serde_json::to_vec(&root.document(&keyset()?, NONCE))?;
    criterion.bench_function("verdict/given on development evidence", |bencher| {
        bencher.iter(|| judge(&policy, black_box(&document), NONCE, now_ms(), true).is_ok());
    });
    for count in [2, 32] {
        let mut backends = Vec::new();
        for at in 0..count {
            let document = serde_json::to_vec(&root.document(&keyset()?, NONCE))?;
            let outcome = judge(&policy, &document, NONCE, now_ms(), true);
            let backend = Backend::new(format!("127.0.0.1:{}", 1000 + at).parse()?);
            backend.record(Checked { outcome, at: now_ms(), took: Duration::ZERO, judging: None });
            backend.attested().context("not accepted")?;
            backends.push(Arc::new(backend));
        }
        let fleet = Fleet::new(backends);
        criterion.bench_function(&format!("verdict/found among {count} backends"), |bencher| {
            bencher.iter(|| fleet.choose(black_box(MODEL), &[]).is_some());
        });
        criterion.bench_function(&format!("verdict/found by rank among {count} backends"), |bencher| {
            bencher.iter(|| fleet.ranked(black_box(MODEL)).len());
        });
    }
    criterion.final_summary();
    Ok(())
}
