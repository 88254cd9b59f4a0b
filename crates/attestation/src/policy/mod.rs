//! What a verifier believes. Nothing is, unless the policy says so.

mod gpu;
mod hex;
mod load;
mod place;
mod signed;
mod snp;
mod store;
mod tdx;

use std::collections::BTreeMap;

use cocoon_receipts::{Digest, VerifyingKey};
use serde::Deserialize;

pub use gpu::GpuPolicy;
pub use hex::Hex;
pub use load::{LoadError, Loaded, Named, next_path, signature_path};
pub use snp::{SnpImage, SnpPolicy, SnpProduct, SnpTcb};
pub use store::{PolicyStore, StoreError};
pub use tdx::{Event, Register, TcbStatus, TdxImage, TdxPolicy};

use crate::document::Tee;
use crate::roots::Roots;

/// IANA HPKE KEM id of X-Wing.
const X_WING: u16 = 0x647a;

/// Longest policy that is read, bytes.
pub const MAX_POLICY: usize = 1 << 20;
/// Longest time that a verdict may be used, seconds.
const MAX_VERDICT_AGE_S: u64 = 3600;

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("the policy is not valid: {0}")]
    Syntax(#[from] toml::de::Error),
    #[error("the policy is longer than {MAX_POLICY} bytes")]
    TooLong,
    #[error("{key}: {problem}")]
    Value { key: String, problem: &'static str },
    #[error("the signature must be one of Ed25519, in base64url without padding, on one line")]
    NotASignature,
    #[error("the signature is not the pinned signer's over these bytes")]
    Signature,
    #[error("registry: the policy is followed only by who asks this contract on the chain for it")]
    Registry,
}

/// Which evidence is believed.
#[derive(Debug, Clone)]
pub struct Policy {
    file: PolicyFile,
    dev_roots: Vec<VerifyingKey>,
    not_after: Option<u64>,
    digest: Digest,
    /// Whose signature was verified.
    signer: Option<VerifyingKey>,
    roots: Roots,
}

/// The policy as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    version: Option<u64>,
    /// When the policy itself ends.
    #[serde(default)]
    not_after: Option<toml::value::Datetime>,
    /// The contract that names the policy in force, as a raw address.
    #[serde(default)]
    registry: Option<String>,
    /// Development roots, base64url.
    #[serde(default)]
    dev_roots: Vec<String>,
    /// Oldest release that is believed, by the release's name.
    #[serde(default)]
    min_release: BTreeMap<String, u64>,
    /// A keyset without a key of this kind is refused, and no other kind is sealed to.
    #[serde(default)]
    require_kem: Option<RequiredKem>,
    /// Digests of the weights that will do, by model; where there are none, any will, and the keyset says which.
    #[serde(default)]
    models: BTreeMap<String, Vec<Digest>>,
    /// Whether computed prefixes may be shared between callers, who can then time each other's prompts.
    #[serde(default)]
    allow_shared_prefix_cache: bool,
    #[serde(default)]
    max_keyset_age_s: Option<u64>,
    #[serde(default = "longest_verdict")]
    max_verdict_age_s: u64,
    #[serde(default)]
    tdx: Option<TdxPolicy>,
    #[serde(default)]
    snp: Option<SnpPolicy>,
    #[serde(default)]
    gpu: Option<GpuPolicy>,
}

/// Whether it is an address in the basechain as registries are written: `0:` and its hash.
fn is_raw_address(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("0:").is_some_and(|hash| hash.len() == 64 && hash.bytes().all(is_hex))
}

fn longest_verdict() -> u64 {
    MAX_VERDICT_AGE_S
}

/// What a policy may ask of a keyset's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequiredKem {
    /// ML-KEM-768 with X25519: what is recorded today stays closed to a later quantum computer.
    XWing,
}

impl RequiredKem {
    /// IANA HPKE KEM id.
    #[must_use]
    pub fn id(self) -> u16 {
        match self {
            Self::XWing => X_WING,
        }
    }

    /// As the policy file writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XWing => "x-wing",
        }
    }
}

impl Policy {
    /// # Errors
    /// [`PolicyError`]; a member that is not known is an error.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError::TooLong);
        }
        let file: PolicyFile = toml::from_str(text)?;
        let bad = |key: &str, problem| PolicyError::Value { key: key.to_owned(), problem };
        if file.registry.as_deref().is_some_and(|address| !is_raw_address(address)) {
            return Err(bad(
                "registry",
                "must be a raw address: 0: and 64 lower-case hexadecimal characters",
            ));
        }
        let root = |(at, root): (usize, &String)| {
            VerifyingKey::from_base64url(root)
                .map_err(|_| bad(&format!("dev_roots[{at}]"), "must be an Ed25519 public key in base64url"))
        };
        let dev_roots = file.dev_roots.iter().enumerate().map(root).collect::<Result<_, _>>()?;
        let not_after = file.not_after.as_ref().map(|date| {
            let parsed: Result<jiff::Timestamp, _> = date.to_string().parse();
            let millis = parsed.ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
            millis
                .ok_or_else(|| bad("not_after", "must be a time with its zone, such as 2027-01-31T00:00:00Z"))
        });
        if !(1..=MAX_VERDICT_AGE_S).contains(&file.max_verdict_age_s) {
            return Err(bad("max_verdict_age_s", "must be from 1 to 3600"));
        }
        for (key, empty) in [
            ("tdx.images", file.tdx.as_ref().is_some_and(|tdx| tdx.images.is_empty())),
            ("tdx.tcb_statuses", file.tdx.as_ref().is_some_and(|tdx| tdx.tcb_statuses.is_empty())),
            ("snp.images", file.snp.as_ref().is_some_and(|snp| snp.images.is_empty())),
            ("snp.min_tcb", file.snp.as_ref().is_some_and(|snp| snp.min_tcb.is_empty())),
            ("gpu.models", file.gpu.as_ref().is_some_and(|gpu| gpu.models.is_empty())),
        ] {
            if empty {
                return Err(bad(key, "must have one at least"));
            }
        }
        if file.gpu.as_ref().is_some_and(|gpu| !(1..=64).contains(&gpu.count)) {
            return Err(bad("gpu.count", "must be from 1 to 64"));
        }
        Ok(Self {
            dev_roots,
            not_after: not_after.transpose()?,
            file,
            digest: Digest::of(&[text.as_bytes()]),
            signer: None,
            roots: Roots::default(),
        })
    }

    /// The same policy over other roots than the vendors'. For tests, whose evidence no vendor signs: the lints deny it to
    /// everything else.
    #[must_use]
    pub fn with_roots(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }

    /// The policy's name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.file.name.as_deref()
    }

    /// Grows with every change of a policy of this name.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.file.version
    }

    /// When the policy ends, milliseconds since 1970.
    #[must_use]
    pub fn not_after(&self) -> Option<u64> {
        self.not_after
    }

    /// The oldest release of this name that the policy believes; 0 where it does not say.
    #[must_use]
    pub fn min_release(&self, name: &str) -> u64 {
        self.file.min_release.get(name).copied().unwrap_or(0)
    }

    /// The same of every name that the policy has.
    #[must_use]
    pub fn min_releases(&self) -> &BTreeMap<String, u64> {
        &self.file.min_release
    }

    /// The only kind of key that may be sealed to, if the policy says so.
    #[must_use]
    pub fn require_kem(&self) -> Option<RequiredKem> {
        self.file.require_kem
    }

    /// Digests of the weights that will do for `model`; none where the policy names no models.
    #[must_use]
    pub fn weights(&self, model: &str) -> Option<&[Digest]> {
        if self.file.models.is_empty() {
            return None;
        }
        Some(self.file.models.get(model).map_or(&[], Vec::as_slice))
    }

    /// The models it names, with the digests of their weights.
    #[must_use]
    pub fn models(&self) -> &BTreeMap<String, Vec<Digest>> {
        &self.file.models
    }

    #[must_use]
    pub fn allows_shared_prefix_cache(&self) -> bool {
        self.file.allow_shared_prefix_cache
    }

    /// Longest time since a keyset's beginning, milliseconds.
    #[must_use]
    pub fn max_keyset_age_ms(&self) -> Option<u64> {
        self.file.max_keyset_age_s.map(|seconds| seconds.saturating_mul(1000))
    }

    /// Longest time that a verdict is used, milliseconds.
    #[must_use]
    pub fn max_verdict_age_ms(&self) -> u64 {
        self.file.max_verdict_age_s.saturating_mul(1000)
    }

    #[must_use]
    pub fn dev_roots(&self) -> &[VerifyingKey] {
        &self.dev_roots
    }

    #[must_use]
    pub fn tdx(&self) -> Option<&TdxPolicy> {
        self.file.tdx.as_ref()
    }

    #[must_use]
    pub fn snp(&self) -> Option<&SnpPolicy> {
        self.file.snp.as_ref()
    }

    #[must_use]
    pub fn gpu(&self) -> Option<&GpuPolicy> {
        self.file.gpu.as_ref()
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Whether the policy trusts evidence of this kind at all.
    #[must_use]
    pub fn trusts(&self, tee: Tee) -> bool {
        match tee {
            Tee::Tdx => self.file.tdx.is_some(),
            Tee::SevSnp => self.file.snp.is_some(),
            Tee::Dev => !self.dev_roots.is_empty(),
        }
    }

    /// The contract that must name this policy for it to be followed, as a raw address.
    #[must_use]
    pub fn registry(&self) -> Option<&str> {
        self.file.registry.as_deref()
    }

    /// SHA-256 of the policy's text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests;
