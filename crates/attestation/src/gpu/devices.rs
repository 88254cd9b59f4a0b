//! The `devices` section: what NVIDIA's attestation SDK keeps of the service's answer, and the keys the service signs with.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Longest section that is read, bytes.
const MAX_SECTION: usize = 768 << 10;
/// Most keys, of which the service publishes some two hundred.
const MAX_KEYS: usize = 1024;
/// Most GPUs of one machine that are looked at.
const MAX_GPUS: usize = 64;

/// Why the section cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DevicesError {
    #[error("the devices are longer than {MAX_SECTION} bytes")]
    TooLong,
    #[error("the devices are not of the form that is known here: {0}")]
    Syntax(#[from] serde_json::Error),
    #[error("there are {0} GPUs, and at most {MAX_GPUS} are looked at")]
    Gpus(usize),
    #[error("there are {0} keys, and at most {MAX_KEYS} are looked at")]
    Keys(usize),
}

/// `{"nras": …, "jwks": …}`. Nothing of it is proven yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devices {
    /// What the SDK made itself, signed by no one that is known; then what the service answered.
    nras: (Labelled, Remote),
    pub(super) jwks: Jwks,
}

/// `["JWT", token]`.
#[derive(Debug, Deserialize)]
struct Labelled(Label, String);

#[derive(Debug, Deserialize)]
enum Label {
    #[serde(rename = "JWT")]
    Jwt,
}

/// The token over all GPUs, and that of each by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remote {
    #[serde(rename = "REMOTE_GPU_CLAIMS")]
    gpus: (Labelled, BTreeMap<String, String>),
}

/// A JWK set as the service publishes it (RFC 7517).
#[derive(Debug, Deserialize)]
pub(super) struct Jwks {
    pub(super) keys: Vec<Jwk>,
}

/// One key, and the certificates above it.
#[derive(Debug, Deserialize)]
pub(super) struct Jwk {
    pub(super) kid: String,
    pub(super) kty: String,
    #[serde(default)]
    pub(super) crv: String,
    #[serde(default)]
    pub(super) x: String,
    #[serde(default)]
    pub(super) y: String,
    /// Standard base64 of DER, the key's own first.
    #[serde(default)]
    pub(super) x5c: Vec<String>,
}

impl Devices {
    pub(super) fn read(section: &[u8]) -> Result<Self, DevicesError> {
        if section.len() > MAX_SECTION {
            return Err(DevicesError::TooLong);
        }
        let devices: Self = serde_json::from_slice(section)?;
        match (devices.gpus().len(), devices.jwks.keys.len()) {
            (gpus, _) if gpus > MAX_GPUS => Err(DevicesError::Gpus(gpus)),
            (_, keys) if keys > MAX_KEYS => Err(DevicesError::Keys(keys)),
            _ => Ok(devices),
        }
    }

    pub(super) fn overall(&self) -> &str {
        &self.nras.1.gpus.0.1
    }

    pub(super) fn gpus(&self) -> &BTreeMap<String, String> {
        &self.nras.1.gpus.1
    }
}
