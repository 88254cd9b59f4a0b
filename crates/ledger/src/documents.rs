//! Attestation documents that were believed, kept so that anyone can verify them again later, as of then.

use crate::LedgerError;

/// Largest document that is kept, bytes: what a verifier reads at most.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// A document, and what it takes to verify it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptDocument {
    /// The nonce that it was asked for with.
    pub nonce: [u8; 32],
    /// When it was believed, milliseconds since 1970.
    pub verified_at: u64,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

impl KeptDocument {
    /// # Errors
    /// [`LedgerError::Overflow`] for one that is too long.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if self.bytes.len() > MAX_DOCUMENT_BYTES { Err(LedgerError::Overflow) } else { Ok(()) }
    }
}
