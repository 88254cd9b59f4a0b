//! What a verification came to.

use cocoon_receipts::Digest;

use crate::document::Tee;
use crate::findings::{Check, Findings};
use crate::keyset::Keyset;

/// A document that was believed.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub tee: Tee,
    pub keyset: Keyset,
    /// The exact bytes that were attested.
    pub keyset_bytes: Vec<u8>,
    /// Their SHA-256.
    pub digest: Digest,
    /// When it was verified, milliseconds since 1970.
    pub verified_at: u64,
    /// When it must be verified again: the earliest of the keyset's end, the policy's longest age of a verdict, the
    /// policy's own end, and what the hardware's vendor next says. Milliseconds since 1970.
    pub valid_until: u64,
    pub findings: Findings,
}

/// A document that is not believed. For logs and people: it names what failed, and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub findings: Findings,
}

impl Refusal {
    /// The first check that failed; `policy` where none did.
    #[must_use]
    pub fn check(&self) -> Check {
        self.findings.failures().next().map_or(Check::Policy, |finding| finding.check)
    }
}

impl std::error::Error for Refusal {}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut failures = self.findings.failures();
        match failures.next() {
            Some(first) => write!(f, "{}: {}", first.check, first.detail)?,
            None => f.write_str("nothing was proven")?,
        }
        match failures.count() {
            0 => Ok(()),
            more => write!(f, " (and {more} more)"),
        }
    }
}
