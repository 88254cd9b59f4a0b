//! Why something could not be archived, or what is archived is not believed.

use std::path::{Path, PathBuf};

use crate::{CheckError, LedgerError, Shard};

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    /// What is there is not what was put there.
    #[error("{path}: {what}")]
    Damaged { path: PathBuf, what: String },
    /// Another was faster: nothing is lost, and its checkpoint stands.
    #[error("another archives the journal of {0} at the same time")]
    Raced(Shard),
}

impl ArchiveError {
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}
