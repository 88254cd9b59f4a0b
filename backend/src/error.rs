//! Why a backend does not start, or does not go on.

use std::io;
use std::path::{Path, PathBuf};

use cocoon_receipts::JwsError;
use cocoon_sealing::SealingError;

use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::evidence::EvidenceError;
use crate::weights::WeightsError;

/// A failure of the backend as a whole; what a request meets is answered to it, and is not here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A receipt that is not on disk must not leave, and an answer without one must not either.
    #[error("receipts cannot be kept")]
    Outbox(#[source] io::Error),
    #[error("another backend uses the state folder {}", .0.display())]
    StateInUse(PathBuf),
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    #[error("cannot make the receipt key")]
    ReceiptKey(#[source] JwsError),
    #[error("cannot make the HPKE key")]
    HpkeKey(#[source] SealingError),
}

impl Error {
    /// For `map_err`: `action` reads on with the path, such as `cannot read`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
