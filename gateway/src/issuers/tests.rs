//! Issuers of the tests' own: what their tokens are good for, and how their keys are come by.

mod following;
mod tokens;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::config::IssuerConfig;
use super::config::tests::good;

/// One key of an issuer, with both halves.
struct Signer {
    kid: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn new(kid: &'static str, algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let key = match algorithm {
            Algorithm::EdDSA => {
                EncodingKey::from_ed_der(Ed25519KeyPair::generate_pkcs8v1(&random).unwrap().as_ref())
            }
            Algorithm::ES256 => {
                let scheme = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EncodingKey::from_ec_der(EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap().as_ref())
            }
            _ => {
                let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
                // What PKCS#8 puts around a key of 2048 bits is 26 bytes long.
                EncodingKey::from_rsa_der(&pair.as_der().unwrap().as_ref()[26..])
            }
        };
        Self { kid, algorithm, key }
    }

    /// The public half, which names its algorithm.
    fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The public half without a word on its algorithm.
    fn bare_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.to_owned()), ..Header::new(self.algorithm) }
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header(), claims, &self.key).unwrap()
    }
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn claims(now: u64) -> Value {
    let IssuerConfig { issuer, audience, .. } = good();
    json!({ "iss": issuer, "aud": audience, "sub": "alice", "iat": now, "exp": now + 300 })
}
