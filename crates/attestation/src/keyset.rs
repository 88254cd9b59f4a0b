//! The keyset: a backend's public keys and what stands behind them. Its exact bytes are what the quote covers.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_receipts::{Digest, Jwk, JwsError, OperatorId, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Version of the format.
pub const KEYSET_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyset {
    pub version: u32,
    pub operator: Operator,
    /// Milliseconds since 1970.
    pub not_before: u64,
    /// Milliseconds since 1970; covers the time that every key in it is accepted.
    pub not_after: u64,
    pub hpke: Vec<HpkeKey>,
    /// Ed25519, made at boot: signs receipts.
    pub receipt_key: Jwk,
    pub model: ModelInfo,
    pub engine: EngineInfo,
    pub prefix_cache: PrefixCache,
    pub release: Release,
}

/// Who is paid for what this backend serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// Raw TON address, `workchain:hex`.
    pub address: OperatorId,
    pub workchain: i32,
}

/// One HPKE public key. X25519 (KEM 0x0020) has `key_id` 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HpkeKey {
    pub key_id: u8,
    /// IANA HPKE KEM id.
    pub kem: u16,
    /// base64url.
    pub public_key: String,
}

impl HpkeKey {
    #[must_use]
    pub fn new(key_id: u8, kem: u16, public_key: &[u8]) -> Self {
        Self { key_id, kem, public_key: URL_SAFE_NO_PAD.encode(public_key) }
    }

    /// The key's bytes; none where the text is not base64url.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(&self.public_key).ok()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Public name.
    pub id: String,
    /// Of the weights: the file's SHA-256, or for a folder that over the names and SHA-256 of its files.
    pub sha256: Digest,
    pub quantization: String,
    /// Prompt and completion tokens that fit together.
    pub context_length: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineInfo {
    pub name: String,
    pub version: String,
}

/// Whether computed prefixes are shared between requests, which lets one caller time another's prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixCache {
    Off,
    Shared,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub name: String,
    /// Grows with every release, so that a client can refuse an older one.
    pub sequence: u64,
}

impl Keyset {
    /// The bytes whose digest names this keyset.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// # Errors
    /// Where the bytes are not a keyset of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// # Errors
    /// [`JwsError::Key`].
    pub fn receipt_key(&self) -> Result<VerifyingKey, JwsError> {
        VerifyingKey::from_jwk(&self.receipt_key)
    }
}
