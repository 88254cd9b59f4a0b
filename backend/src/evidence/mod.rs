//! The evidence for a keyset: what signs it, and all that a verifier needs beside the signature.
//!
//! A request for a document waits at the [`Desk`] for the next quote, which the [`Maker`] has made for everyone who
//! waits: [`Evidence`] gathers what belongs to it. Format: `docs/PROTOCOL.md`, "Attestation document".

mod collateral;
mod desk;
mod devices;
mod hardware;
mod once;
mod sections;
mod tsm;

use cocoon_attestation::{DevRoot, Document, MAX_DOCUMENT, Section, Tee, report_data};
use cocoon_receipts::Digest;
use tokio_util::sync::CancellationToken;

pub(crate) use collateral::CollateralError;
pub(crate) use desk::{Desk, Published, Unavailable};
pub(crate) use devices::DevicesError;
pub use once::evidence_once;
pub(crate) use tsm::TsmError;

use crate::config::{ConfigError, EvidenceConfig, EvidenceKind};
use devices::Devices;
use hardware::Hardware;
use sections::Optional;
use tsm::{StdFs, TsmFs};

/// Largest event log, bytes.
const MAX_EVENT_LOG: usize = 256 << 10;
/// Room that the longest inclusion proof takes in a document, bytes.
const PROOF_ROOM: usize = 1 << 10;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error(transparent)]
    Tsm(#[from] TsmError),
    #[error(transparent)]
    Devices(#[from] DevicesError),
    #[error(transparent)]
    Collateral(#[from] CollateralError),
    #[error("the event log cannot be used: {0}")]
    EventLog(#[source] sections::ReadError),
    /// Verifiers read no more.
    #[error("the document has {0} bytes, and more than {MAX_DOCUMENT} are not read")]
    TooLarge(usize),
    #[error("the evidence was not gathered within {} s", .0.as_secs())]
    TooLong(std::time::Duration),
}

/// What turns a root and a keyset into a document.
#[derive(Debug)]
pub(crate) struct Evidence<F = StdFs> {
    signer: Signer<F>,
    devices: Devices,
    event_log: Optional,
}

#[derive(Debug)]
enum Signer<F> {
    Dev(DevRoot),
    Hardware(Box<Hardware<F>>),
}

impl Evidence {
    /// Opens what `config` names. In a TEE it takes one quote, to learn the platform and to fail early.
    ///
    /// # Errors
    /// [`crate::Error::Evidence`] where there is no TEE or it cannot be used; [`crate::Error::Config`] where it needs
    /// a key that is not set.
    pub(crate) async fn open(
        config: &EvidenceConfig,
        dev_root: Option<DevRoot>,
    ) -> Result<Self, crate::Error> {
        Self::open_on(StdFs, config, dev_root).await
    }
}

impl<F: TsmFs> Evidence<F> {
    async fn open_on(
        fs: F,
        config: &EvidenceConfig,
        dev_root: Option<DevRoot>,
    ) -> Result<Self, crate::Error> {
        let signer = match (config.kind, dev_root) {
            (EvidenceKind::Dev, Some(root)) => Signer::Dev(root),
            (EvidenceKind::Dev, None) => {
                let problem = "must be set where the kind is dev".to_owned();
                return Err(ConfigError::Value { key: "evidence.dev_root", problem }.into());
            }
            (EvidenceKind::Tsm, _) => Signer::Hardware(Box::new(Hardware::open(fs, config).await?)),
        };
        Ok(Self {
            signer,
            devices: Devices::new(config),
            event_log: Optional::new(config.event_log.clone(), MAX_EVENT_LOG),
        })
    }

    /// The kind that its documents name.
    pub(crate) fn tee(&self) -> Tee {
        match &self.signer {
            Signer::Dev(_) => Tee::Dev,
            Signer::Hardware(hardware) => hardware.tee(),
        }
    }

    /// GPU evidence gathered with `root`; empty where none is configured.
    ///
    /// # Errors
    /// [`EvidenceError::Devices`].
    pub(crate) async fn devices(&self, root: Digest) -> Result<Vec<u8>, EvidenceError> {
        Ok(self.devices.gather(root).await?)
    }

    /// The document for a keyset and the device evidence of the same root, without an inclusion proof.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub(crate) async fn document(
        &self,
        root: Digest,
        keyset: Vec<u8>,
        devices: Vec<u8>,
    ) -> Result<Document, EvidenceError> {
        let document = match &self.signer {
            Signer::Dev(key) => key.document_under(&keyset, root, Vec::new()),
            Signer::Hardware(hardware) => {
                let (quote, collateral) = hardware.quote(report_data(root, &keyset, &devices)).await?;
                Document {
                    tee: hardware.tee(),
                    keyset: Section(keyset),
                    devices: Section(devices),
                    quote: Section(quote),
                    nonce_path: Section::default(),
                    collateral: Section(collateral),
                    event_log: Section(self.event_log.read().await.map_err(EvidenceError::EventLog)?),
                    release_bundle: Section::default(),
                }
            }
        };
        let length = sections::encoded_len(&document) + PROOF_ROOM;
        if length > MAX_DOCUMENT { Err(EvidenceError::TooLarge(length)) } else { Ok(document) }
    }

    /// Keeps collateral fresh until `stop`.
    pub(crate) async fn refresh(&self, stop: CancellationToken) {
        if let Signer::Hardware(hardware) = &self.signer {
            hardware.refresh(stop).await;
        }
    }
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
