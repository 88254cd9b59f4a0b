//! What this backend says it is: all that does not change while it runs.

use cocoon_attestation::{
    EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release,
};
use cocoon_engine_api::Ready;
use cocoon_receipts::{Digest, Jwk, VerifyingKey};

use crate::Error;
use crate::config::Config;

/// Made at start and never again: neither a restart of the engine nor new keys change any of it.
#[derive(Debug)]
pub(crate) struct Identity {
    operator: Operator,
    receipt_key: Jwk,
    model: ModelInfo,
    engine_info: EngineInfo,
    prefix_cache: PrefixCache,
    release: Release,
    fingerprint: String,
    engine: Ready,
}

impl Identity {
    /// # Errors
    /// Where the operator's address is none.
    pub(crate) fn new(
        config: &Config,
        weights: Digest,
        engine: &Ready,
        receipt_key: &VerifyingKey,
    ) -> Result<Self, Error> {
        let model = ModelInfo {
            id: config.model_name.clone(),
            sha256: weights,
            quantization: engine.quantization.clone(),
            context_length: engine.context_length,
        };
        let engine_info = EngineInfo { name: engine.engine.clone(), version: engine.engine_version.clone() };
        let release = config.release.release();
        Ok(Self {
            operator: Operator { address: config.operator.clone(), workchain: config.workchain()? },
            receipt_key: receipt_key.to_jwk(),
            fingerprint: fingerprint(&model, &engine_info, &release),
            model,
            engine_info,
            prefix_cache: if engine.prefix_cache { PrefixCache::Shared } else { PrefixCache::Off },
            release,
            engine: engine.clone(),
        })
    }

    /// The keyset with these HPKE keys; times in milliseconds since 1970.
    pub(crate) fn keyset(&self, hpke: Vec<HpkeKey>, not_before: u64, not_after: u64) -> Keyset {
        Keyset {
            version: KEYSET_VERSION,
            operator: self.operator.clone(),
            not_before,
            not_after,
            hpke,
            receipt_key: self.receipt_key.clone(),
            model: self.model.clone(),
            engine: self.engine_info.clone(),
            prefix_cache: self.prefix_cache,
            release: self.release.clone(),
        }
    }

    /// What the engine says of itself and of its model.
    pub(crate) fn engine(&self) -> &Ready {
        &self.engine
    }

    /// The public model name.
    pub(crate) fn model(&self) -> &str {
        &self.model.id
    }

    /// OpenAI's `system_fingerprint`.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// Changes with what may change an answer, and with nothing else: the same seed gives the same text on every backend
/// that shows the same.
fn fingerprint(model: &ModelInfo, engine: &EngineInfo, release: &Release) -> String {
    let sequence = release.sequence.to_string();
    let parts = [&model.quantization, &engine.name, &engine.version, &release.name, &sequence];
    let text = parts.map(|part| part.as_bytes()).join(&0);
    let digest = Digest::of(&[b"cocoon/fingerprint/v1", &model.sha256.0, &text]);
    format!("fp_{}", hex::encode(&digest.0[..5]))
}

#[cfg(test)]
pub(crate) mod tests {
    use cocoon_engine_api::{ModelKind, PROTOCOL};
    use cocoon_receipts::SigningKey;

    use super::*;

    fn engine() -> Ready {
        Ready {
            protocol: PROTOCOL,
            engine: "scripted".to_owned(),
            engine_version: "1".to_owned(),
            kind: ModelKind::Text,
            quantization: "none".to_owned(),
            context_length: 100,
            vocabulary: 10,
            reasons: false,
            prefix_cache: false,
        }
    }

    fn identity_of(weights: Digest, engine: &Ready) -> Identity {
        let config = crate::config::tests::config();
        let key = SigningKey::generate().unwrap();
        Identity::new(&config, weights, engine, key.public()).unwrap()
    }

    pub(crate) fn identity() -> Identity {
        identity_of(Digest([8; 32]), &engine())
    }

    #[test]
    fn the_fingerprint_is_that_of_what_makes_the_answer() {
        let fingerprint = |weights, engine| identity_of(weights, &engine).fingerprint().to_owned();
        let one = fingerprint(Digest([8; 32]), engine());
        assert_eq!(one.len(), 13);
        assert_eq!(fingerprint(Digest([8; 32]), engine()), one, "whatever its keys");
        assert_ne!(fingerprint(Digest([9; 32]), engine()), one);
        assert_ne!(fingerprint(Digest([8; 32]), Ready { engine_version: "2".to_owned(), ..engine() }), one);
        assert_ne!(fingerprint(Digest([8; 32]), Ready { quantization: "q8".to_owned(), ..engine() }), one);
    }
}
