//! Quotes of real hardware, with the collateral that a verifier needs for them.

use std::path::PathBuf;
use std::sync::Arc;

use cocoon_attestation::Tee;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::EvidenceError;
use super::collateral::{Collateral, snp, tdx};
use super::tsm::{Provider, Report, TsmError, TsmFs, report};
use crate::clock::now_ms;
use crate::config::EvidenceConfig;

/// The guest's TEE, by way of configfs-tsm.
#[derive(Debug)]
pub(crate) struct Hardware<F> {
    fs: Arc<F>,
    dir: PathBuf,
    provider: Provider,
    collateral: Collateral,
    /// One report at a time: the hardware makes no more at once, and waiting here is cheaper than in the kernel.
    reporting: Mutex<()>,
}

impl<F: TsmFs> Hardware<F> {
    /// Takes a first quote, and tries to gather its collateral.
    ///
    /// # Errors
    /// [`crate::Error::Evidence`] where there is no TEE; [`crate::Error::Config`] where the platform needs a key that
    /// is not set. Collateral that cannot be had now is tried again for each document.
    pub(super) async fn open(fs: F, config: &EvidenceConfig) -> Result<Self, crate::Error> {
        let fs = Arc::new(fs);
        let first = blocking_report(Arc::clone(&fs), config.tsm_dir.clone(), [0; 64]).await;
        let first = first.map_err(EvidenceError::from)?;
        let collateral = Collateral::new(config, &first)?;
        let provider = first.provider;
        if let Err(error) = collateral.section(&first, now_ms()).await {
            tracing::warn!(%error, "no collateral yet: documents are refused until there is");
        }
        let dir = config.tsm_dir.clone();
        Ok(Self { fs, dir, provider, collateral, reporting: Mutex::default() })
    }

    pub(super) fn tee(&self) -> Tee {
        match self.provider {
            Provider::Tdx => Tee::Tdx,
            Provider::SevSnp => Tee::SevSnp,
        }
    }

    /// A quote on `data`, and its collateral.
    pub(super) async fn quote(&self, data: [u8; 64]) -> Result<(Vec<u8>, Vec<u8>), EvidenceError> {
        let report = {
            let _alone = self.reporting.lock().await;
            blocking_report(Arc::clone(&self.fs), self.dir.clone(), data).await?
        };
        if report.provider != self.provider {
            return Err(TsmError::Changed.into());
        }
        // The kernel's counter has been looked at. But it would also be right where it dropped our write without a
        // word and took another's: this tells.
        if report_data_of(&report)? != data {
            return Err(TsmError::OtherData.into());
        }
        let collateral = self.collateral.section(&report, now_ms()).await?;
        Ok((report.quote, collateral))
    }

    pub(super) async fn refresh(&self, stop: CancellationToken) {
        stop.run_until_cancelled(self.collateral.refresh()).await;
    }
}

/// Reports are waited for on a thread of their own.
async fn blocking_report<F: TsmFs>(fs: Arc<F>, dir: PathBuf, data: [u8; 64]) -> Result<Report, TsmError> {
    let made = tokio::task::spawn_blocking(move || report(&*fs, &dir, &data)).await;
    made.map_err(|_| TsmError::Thread)?
}

fn report_data_of(report: &Report) -> Result<[u8; 64], TsmError> {
    match report.provider {
        Provider::Tdx => tdx::report_data(&report.quote),
        Provider::SevSnp => snp::report_data(&report.quote),
    }
    .ok_or(TsmError::Malformed)
}

#[cfg(test)]
pub(super) mod tests;
