//! Tables `[evidence]` and `[release]`: what stands behind the keyset, and which measured image it is of.

use std::path::PathBuf;

use cocoon_attestation::Release;
use http::Uri;
use serde::Deserialize;

use super::{ConfigError, bad};

/// Arguments of `gpu_command` in which the root stands.
pub(crate) const NONCE_ARGUMENT: &str = "{nonce}";
const MAX_ARGUMENTS: usize = 64;

/// What signs the keyset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// A key on this machine: no evidence of hardware, and only on loopback.
    Dev,
    /// Linux's configfs-tsm, in a guest of TDX or SEV-SNP.
    Tsm,
}

/// Table `[evidence]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceConfig {
    pub kind: EvidenceKind,
    /// `dev`: PEM file of the development root.
    pub dev_root: Option<PathBuf>,
    /// Shortest time between two quotes; nonces that come meanwhile share the next one.
    #[serde(default = "default_interval")]
    pub quote_interval_ms: u64,
    /// `tsm`: where configfs shows reports.
    #[serde(default = "default_tsm_dir")]
    pub tsm_dir: PathBuf,
    /// TDX: base URL of the caching service that has Intel's collateral.
    pub pccs: Option<String>,
    /// SEV-SNP: file or URL with the chip's certificate (DER), for hosts that hand none to the guest.
    pub vcek: Option<String>,
    /// SEV-SNP: file or URL with AMD's revocation list (DER), where the host hands none to the guest.
    pub crl: Option<String>,
    /// Program and arguments that print GPU evidence; `{nonce}` in an argument is the root in hexadecimal.
    #[serde(default)]
    pub gpu_command: Vec<String>,
    /// File with GPU evidence, read for each quote.
    pub gpu_file: Option<PathBuf>,
    /// File with the event log, read for each quote.
    pub event_log: Option<PathBuf>,
}

/// Table `[release]`: of the measured image.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseConfig {
    pub name: String,
    /// Grows with every release.
    pub sequence: u64,
}

impl Default for ReleaseConfig {
    fn default() -> Self {
        Self { name: env!("CARGO_PKG_VERSION").to_owned(), sequence: 0 }
    }
}

fn default_interval() -> u64 {
    1_000
}

fn default_tsm_dir() -> PathBuf {
    PathBuf::from("/sys/kernel/config/tsm/report")
}

impl EvidenceConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match (self.kind, &self.dev_root) {
            (EvidenceKind::Dev, None) => {
                return Err(bad("evidence.dev_root", "must be set where the kind is dev"));
            }
            (EvidenceKind::Tsm, Some(_)) => {
                return Err(bad("evidence.dev_root", "is only for the kind dev: hardware signs here"));
            }
            _ => {}
        }
        for (key, set) in [
            ("evidence.pccs", self.pccs.is_some()),
            ("evidence.vcek", self.vcek.is_some()),
            ("evidence.crl", self.crl.is_some()),
            ("evidence.event_log", self.event_log.is_some()),
            ("evidence.gpu_command", !self.gpu_command.is_empty()),
            ("evidence.gpu_file", self.gpu_file.is_some()),
        ] {
            if set && self.kind == EvidenceKind::Dev {
                return Err(bad(key, "is only for the kind tsm"));
            }
        }
        if self.quote_interval_ms > 10_000 {
            return Err(bad("evidence.quote_interval_ms", "must be from 0 to 10000"));
        }
        if let Some(pccs) = &self.pccs {
            url("evidence.pccs", pccs)?;
        }
        for (key, place) in [("evidence.vcek", &self.vcek), ("evidence.crl", &self.crl)] {
            if let Some(place) = place.as_deref().filter(|place| place.contains("://")) {
                url(key, place)?;
            }
        }
        if !self.gpu_command.is_empty() && self.gpu_file.is_some() {
            return Err(bad("evidence.gpu_file", "must not be set together with evidence.gpu_command"));
        }
        if self.gpu_command.len() > MAX_ARGUMENTS || self.gpu_command.first().is_some_and(String::is_empty) {
            return Err(bad("evidence.gpu_command", "must be a program and at most 63 arguments"));
        }
        let names_nonce = self.gpu_command.iter().skip(1).any(|part| part.contains(NONCE_ARGUMENT));
        if !self.gpu_command.is_empty() && !names_nonce {
            return Err(bad(
                "evidence.gpu_command",
                "must have {nonce} in an argument: evidence without it is stale",
            ));
        }
        Ok(())
    }
}

impl ReleaseConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let printable = self.name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if self.name.is_empty() || self.name.len() > 64 || !printable {
            return Err(bad("release.name", "must be 1 to 64 printable ASCII characters"));
        }
        Ok(())
    }

    pub(crate) fn release(&self) -> Release {
        Release { name: self.name.clone(), sequence: self.sequence }
    }
}

/// What is fetched is signed by the hardware's maker, and checked by whoever verifies: TLS adds nothing to that.
fn url(key: &'static str, text: &str) -> Result<(), ConfigError> {
    let uri: Option<Uri> = text.parse().ok();
    let usable = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if usable { Ok(()) } else { Err(bad(key, format!("'{text}' is not a URL with http:// or https://"))) }
}
