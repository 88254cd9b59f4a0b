//! Why a verification gave no verdict.

use cocoon_attestation::{Findings, Refusal};
use cocoon_ledger::LedgerError;

/// Why a verification gave no verdict. The text is for operators: it may repeat words of a document that is not proven.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    #[error("no connection can be made: {0}")]
    Unreachable(String),
    #[error("the backend does not answer: {0}")]
    Unanswered(String),
    #[error("its answer is not an attestation document: {0}")]
    NoDocument(String),
    #[error("refused by the policy: {0}")]
    Refused(#[from] Refusal),
    #[error("its keyset has no usable X25519 key, or a key that cannot be used")]
    Keys,
    #[error("what was accepted could not be kept: {0}")]
    Store(#[from] LedgerError),
    #[error("the system has no randomness")]
    Randomness,
}

impl AttestError {
    /// The check that refused the backend; none where nothing did. Safe to show to anyone: a name of ours.
    #[must_use]
    pub fn check(&self) -> Option<&'static str> {
        match self {
            Self::NoDocument(_) => Some("document"),
            Self::Refused(refusal) => Some(refusal.check().as_str()),
            Self::Keys => Some("keys"),
            Self::Unreachable(_) | Self::Unanswered(_) | Self::Store(_) | Self::Randomness => None,
        }
    }

    /// `refused`, `unreachable` or, where the cause is this gateway's own, `failed`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::NoDocument(_) | Self::Refused(_) | Self::Keys => "refused",
            Self::Unreachable(_) | Self::Unanswered(_) => "unreachable",
            Self::Store(_) | Self::Randomness => "failed",
        }
    }

    /// All findings of a refusal.
    #[must_use]
    pub fn findings(&self) -> Option<&Findings> {
        match self {
            Self::Refused(refusal) => Some(&refusal.findings),
            _ => None,
        }
    }

    /// Whether the verdict before it is over. A backend that is only too busy for its evidence, and one that we could
    /// not judge for a fault of ours, keep theirs until it runs out by itself; where no connection can be made nothing
    /// is lost by ending it.
    #[must_use]
    pub fn ends_verdict(&self) -> bool {
        matches!(self, Self::NoDocument(_) | Self::Refused(_) | Self::Keys | Self::Unreachable(_))
    }
}
