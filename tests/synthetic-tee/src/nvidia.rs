//! NVIDIA GPUs: tokens as the attestation service signs them, under an authority of our own.

use std::sync::OnceLock;

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cocoon_attestation::Roots;
use cocoon_receipts::Digest;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use x509_cert::der::Encode;

use crate::authority::{self, Key, Subject};

const AUTHORITY: &str = "CN=Synthetic GPU Intermediate,O=Cocoon tests";
const LEAF: &str = "CN=Synthetic Attestation GH100,O=NVIDIA Corporation,C=US";
const KID: &str = "synthetic-kid";
/// How long a token lives, seconds.
const HOUR_S: u64 = 3600;
const DAY_S: u64 = 86_400;

/// A machine with GPUs.
#[derive(Debug, Clone, Default)]
pub struct SyntheticNvidia {}

/// What the service answered, before anything is signed. It passes [`SyntheticNvidia::policy_toml`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// The claims of the token over all GPUs, but for its `submods`.
    pub overall: Value,
    /// The claims of each GPU's token, with its name.
    pub gpus: Vec<(String, Value)>,
    /// The certificate of the key that signs the tokens.
    pub leaf: LeafCertificate,
}

#[derive(Debug, Clone)]
pub struct LeafCertificate {
    pub subject: String,
    /// Seconds since 1970.
    pub valid: (u64, u64),
    /// Whether the authority above it may sign certificates.
    pub authority: bool,
    /// Whether a stranger's key signed it, in the authority's name.
    pub forged: bool,
}

/// The keys, made once: RSA takes its time.
struct Keys {
    authority: Key,
    stranger: Key,
    leaf: Key,
    leaf_point: Vec<u8>,
    leaf_private: EncodingKey,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let leaf = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).expect("a key");
        let private = leaf.to_pkcs8v1().expect("DER");
        Keys {
            authority: Key::rsa_pkcs1(),
            stranger: Key::rsa_pkcs1(),
            leaf_point: leaf.public_key().as_ref().to_vec(),
            leaf_private: EncodingKey::from_ec_der(private.as_ref()),
            leaf: Key::p384_of(private.as_ref()),
        }
    })
}

impl SyntheticNvidia {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to `roots` what believes these tokens.
    pub fn roots_into(&self, roots: &mut Roots) {
        let spki = keys().authority.spki().to_der().expect("DER");
        roots.nvidia.push(Digest::of(&[&spki]).0);
    }

    /// The `[gpu]` section of a policy that `count` of these GPUs pass.
    #[must_use]
    pub fn policy_toml(&self, count: usize) -> String {
        format!("[gpu]\ncount = {count}\nmodels = ['GH100']\ndrivers = ['595.71.05']\nmax_age_s = 600\n")
    }

    /// The `devices` section of `count` GPUs whose evidence was gathered for `root`.
    #[must_use]
    pub fn devices(&self, root: Digest, count: usize, now_ms: u64) -> Vec<u8> {
        let answer = self.answer(root, count, now_ms);
        self.sign(&answer).to_string().into_bytes()
    }

    /// What the service answers for `count` good GPUs.
    #[must_use]
    pub fn answer(&self, root: Digest, count: usize, now_ms: u64) -> Answer {
        let now = now_ms / 1000;
        let common = json!({
            "iss": "https://nras.attestation.nvidia.com",
            "iat": now, "nbf": now, "exp": now + HOUR_S,
            "eat_nonce": root.to_string(),
        });
        let mut overall = common.clone();
        overall["sub"] = "NVIDIA-PLATFORM-ATTESTATION".into();
        overall["x-nvidia-overall-att-result"] = true.into();
        let gpu = |at: usize| {
            let mut claims = common.clone();
            let more = json!({
                "ueid": format!("{:048}", 1000 + at),
                "hwmodel": "GH100",
                "measres": "success",
                "secboot": true,
                "dbgstat": "disabled",
                "x-nvidia-gpu-driver-version": "595.71.05",
                "x-nvidia-gpu-vbios-version": "96.00.CF.00.01",
                "x-nvidia-gpu-arch-check": true,
                "x-nvidia-gpu-attestation-report-parsed": true,
                "x-nvidia-gpu-attestation-report-nonce-match": true,
                "x-nvidia-gpu-attestation-report-cert-chain-validated": true,
                "x-nvidia-gpu-attestation-report-signature-verified": true,
                "x-nvidia-gpu-driver-rim-fetched": true,
                "x-nvidia-gpu-vbios-index-no-conflict": true,
                "x-nvidia-attestation-warning": null,
            });
            for (name, value) in more.as_object().into_iter().flatten() {
                claims[name] = value.clone();
            }
            (format!("GPU-{at}"), claims)
        };
        let leaf = LeafCertificate {
            subject: LEAF.into(),
            valid: (now.saturating_sub(DAY_S), now + DAY_S),
            authority: true,
            forged: false,
        };
        Answer { overall, gpus: (0..count).map(gpu).collect(), leaf }
    }

    /// The `devices` section of an answer, as a value that can be changed further.
    #[must_use]
    pub fn sign(&self, answer: &Answer) -> Value {
        let mut overall = answer.overall.clone();
        let (mut gpus, mut submodules) = (json!({}), json!({}));
        for (name, claims) in &answer.gpus {
            let token = self.token(claims);
            submodules[name] = json!(["DIGEST", ["SHA-256", Digest::of(&[token.as_bytes()])]]);
            gpus[name] = token.into();
        }
        overall["submods"] = submodules;
        json!({
            "nras": [
                ["JWT", "made.by.the-sdk"],
                { "REMOTE_GPU_CLAIMS": [["JWT", self.token(&overall)], gpus] },
            ],
            "jwks": { "keys": [self.jwk(&answer.leaf)] },
        })
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::ES384);
        (header.typ, header.kid) = (None, Some(KID.into()));
        jsonwebtoken::encode(&header, claims, &keys().leaf_private).expect("a token")
    }

    /// The key that signs the tokens, with its certificates.
    #[must_use]
    pub fn jwk(&self, leaf: &LeafCertificate) -> Value {
        let keys = keys();
        let forever = (0, 4_000_000_000);
        let above = Subject {
            name: AUTHORITY,
            issuer: "CN=Synthetic CA,O=Cocoon tests",
            serial: 1,
            valid: forever,
            extensions: vec![authority::authority(leaf.authority)],
        };
        // The root above is published nowhere, so that anyone may have signed this.
        let above = authority::certificate(above, &keys.authority, &keys.stranger);
        let own = Subject {
            name: &leaf.subject,
            issuer: AUTHORITY,
            serial: 2,
            valid: leaf.valid,
            extensions: Vec::new(),
        };
        let by = if leaf.forged { &keys.stranger } else { &keys.authority };
        let own = authority::certificate(own, &keys.leaf, by);
        let (x, y) = keys.leaf_point[1..].split_at(48);
        json!({
            "kid": KID, "kty": "EC", "crv": "P-384",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
            "x5c": [STANDARD.encode(own), STANDARD.encode(above)],
        })
    }
}
