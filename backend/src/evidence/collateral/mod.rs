//! What the hardware's maker says of a platform: certificates, revocation lists, and which firmware is current.
//!
//! All of it is signed and checked by the verifier. It travels in the document so that a verifier fetches nothing.

pub(super) mod snp;
mod source;
pub(super) mod tdx;

use std::time::Duration;

use cocoon_process::{FetchError, FetchLimits};

use super::EvidenceError;
use super::sections::ReadError;
use super::tsm::{Provider, Report};
use crate::clock::now_ms;
use crate::config::{ConfigError, EvidenceConfig};

/// How often collateral is fetched anew.
const FRESH_FOR: Duration = Duration::from_secs(3600);
/// A verifier waits 10 s for its document, and Intel's collateral is four answers, fetched side by side.
const LIMITS: FetchLimits = FetchLimits { time: Duration::from_secs(6), size: 256 << 10 };
/// How soon that is tried again where it failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Why there is no collateral.
#[derive(Debug, thiserror::Error)]
pub enum CollateralError {
    #[error("the quote does not name its platform: {0}")]
    Platform(&'static str),
    #[error("collateral cannot be fetched: {0}")]
    Fetch(#[from] FetchError),
    #[error("collateral cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("{from}: {what} is not as it is documented")]
    Malformed { from: String, what: &'static str },
    /// Verifiers refuse it.
    #[error("{0} is out of date, and no newer one can be had")]
    OutOfDate(&'static str),
    #[error("the host's certificate table cannot be read")]
    Table,
    #[error("the report is signed by {0}, and the host hands no such certificate to the guest")]
    NoCertificate(&'static str),
}

/// Where the collateral of this platform comes from.
#[derive(Debug)]
pub(super) enum Collateral {
    Tdx(tdx::Pccs),
    Snp(snp::Certificates),
}

impl Collateral {
    /// # Errors
    /// [`crate::Error::Config`] where the platform of `first` needs a key that is not set.
    pub(super) fn new(config: &EvidenceConfig, first: &Report) -> Result<Self, crate::Error> {
        match first.provider {
            Provider::Tdx => {
                let pccs = config.pccs.as_deref().ok_or_else(|| ConfigError::Value {
                    key: "evidence.pccs",
                    problem: "must be set in a TDX guest: verifiers need Intel's collateral".to_owned(),
                })?;
                let pccs =
                    tdx::Pccs::new(pccs).map_err(CollateralError::from).map_err(EvidenceError::from)?;
                Ok(Self::Tdx(pccs))
            }
            Provider::SevSnp => {
                let certificates = snp::Certificates::new(config);
                Ok(Self::Snp(certificates.map_err(CollateralError::from).map_err(EvidenceError::from)?))
            }
        }
    }

    /// The document's section for a report, at `now_ms` since 1970.
    ///
    /// # Errors
    /// [`CollateralError`].
    pub(super) async fn section(&self, report: &Report, now_ms: u64) -> Result<Vec<u8>, CollateralError> {
        match self {
            Self::Tdx(pccs) => pccs.section(&report.quote, now_ms).await,
            Self::Snp(certificates) => certificates.section(report, now_ms).await,
        }
    }

    /// Fetches anew, for ever: so that what is kept is fresh when a document needs it.
    pub(super) async fn refresh(&self) {
        let mut pause = FRESH_FOR;
        loop {
            tokio::time::sleep(pause).await;
            let fetched = match self {
                Self::Tdx(pccs) => pccs.refresh(now_ms()).await,
                Self::Snp(certificates) => certificates.refresh().await,
            };
            pause = match fetched {
                Ok(()) => FRESH_FOR,
                Err(error) => {
                    tracing::warn!(%error, "collateral could not be fetched anew; what there is stays in use");
                    RETRY_AFTER
                }
            };
        }
    }
}
