//! Makes evidence in the form that TDX, SEV-SNP and NVIDIA give it, under roots of its own. It stands for hardware in tests
//! and proves nothing about any: no evidence that a vendor signed binds the keys of these tests. Only a policy that was
//! given these roots believes it, and no program can be given any.
//!
//! Beside it stands where real evidence is to be found: see [`samples`].

#![expect(clippy::expect_used, reason = "evidence for tests: what cannot be made fails the test")]

mod authority;
mod keyset;
pub mod nvidia;
pub mod samples;
pub mod snp;
mod tdx;

pub use keyset::keyset;
pub use nvidia::SyntheticNvidia;
pub use snp::SyntheticSnp;
pub use tdx::{Form, LoggedEvent, Statements, SyntheticTdx, Td, TdxEvidence};
