//! A synthetic Intel, and a machine with TDX that it vouches for.

mod authority;
mod evidence;
mod quote;
mod statements;

use cocoon_attestation::tree::Tree;
use cocoon_attestation::{Document, Nonce, Roots, Section, Tee, report_data};
use cocoon_receipts::Digest;

use authority::Authority;
pub use evidence::{Form, LoggedEvent, Statements, Td, TdxEvidence};

/// Makes documents of kind `tdx`, under a root of its own.
pub struct SyntheticTdx {
    authority: Authority,
}

impl Default for SyntheticTdx {
    fn default() -> Self {
        Self::new()
    }
}

impl SyntheticTdx {
    /// Makes all keys.
    #[must_use]
    pub fn new() -> Self {
        Self { authority: Authority::new() }
    }

    /// What a policy must be given to believe the evidence.
    #[must_use]
    pub fn roots(&self) -> Roots {
        Roots { intel: Some(self.authority.root_der()), ..Roots::default() }
    }

    /// A whole policy that fits [`Self::evidence`] as it is.
    #[must_use]
    pub fn policy_toml(&self) -> String {
        TdxEvidence::new(0).policy_toml()
    }

    /// Evidence that fits [`Self::policy_toml`] at `now_ms`, to change.
    #[must_use]
    pub fn evidence(&self, now_ms: u64) -> TdxEvidence {
        TdxEvidence::new(now_ms)
    }

    /// A document for one nonce, that is believed at `now_ms` (milliseconds since 1970).
    #[must_use]
    pub fn document(&self, keyset: &[u8], devices: &[u8], nonce: Nonce, now_ms: u64) -> Document {
        let root = Tree::new(&[nonce]).expect("a tree of one").root();
        self.document_with(&self.evidence(now_ms), keyset, devices, root, Vec::new())
    }

    /// A document of `evidence`, for the nonces under `root`, one of which `nonce_path` leads to.
    #[must_use]
    pub fn document_with(
        &self,
        evidence: &TdxEvidence,
        keyset: &[u8],
        devices: &[u8],
        root: Digest,
        nonce_path: Vec<u8>,
    ) -> Document {
        let quote = quote::quote(&self.authority, evidence, &report_data(root, keyset, devices));
        Document {
            tee: Tee::Tdx,
            keyset: Section(keyset.to_vec()),
            devices: Section(devices.to_vec()),
            quote: Section(quote),
            nonce_path: Section(nonce_path),
            collateral: Section(statements::collateral(&self.authority, &evidence.statements)),
            event_log: Section(evidence.event_log()),
            release_bundle: Section::default(),
        }
    }
}
