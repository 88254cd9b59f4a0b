//! The attestation document and the report data its quote covers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_receipts::Digest;
use serde::{Deserialize, Serialize};

const REPORT_LABEL: &[u8] = b"cocoon/report-data/v1";

/// Largest document that is read, bytes.
pub const MAX_DOCUMENT: usize = 1 << 20;

/// What makes a quote fresh: 32 bytes of the verifier's randomness, 64 lower-case hexadecimal characters in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

impl std::str::FromStr for Nonce {
    type Err = cocoon_receipts::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<Digest>().map(|bytes| Self(bytes.0))
    }
}

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What kind of evidence the quote is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tee {
    Tdx,
    SevSnp,
    /// No hardware: signed by a development root on this machine.
    Dev,
}

impl Tee {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tdx => "tdx",
            Self::SevSnp => "sev-snp",
            Self::Dev => "dev",
        }
    }
}

/// The document as it travels. Sections are standard base64 of exact bytes; an empty one is "".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub tee: Tee,
    pub keyset: Section,
    /// GPU evidence gathered with the same root.
    pub devices: Section,
    pub quote: Section,
    /// Inclusion proof of the caller's nonce under the root; empty for a tree of one.
    pub nonce_path: Section,
    pub collateral: Section,
    pub event_log: Section,
    pub release_bundle: Section,
}

/// Exact bytes in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section(pub Vec<u8>);

impl Serialize for Section {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map(Self).map_err(|_| serde::de::Error::custom("not base64"))
    }
}

/// The 64 bytes that the hardware signs: SHA-256(label ‖ root ‖ SHA-256(keyset) ‖ SHA-256(devices)), then zeros.
#[must_use]
pub fn report_data(root: Digest, keyset: &[u8], devices: &[u8]) -> [u8; 64] {
    let digest = Digest::of(&[REPORT_LABEL, &root.0, &Digest::of(&[keyset]).0, &Digest::of(&[devices]).0]);
    let mut data = [0; 64];
    data[..32].copy_from_slice(&digest.0);
    data
}
