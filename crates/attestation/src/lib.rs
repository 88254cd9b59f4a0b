//! What a backend says it is, the evidence for it, and the policy that decides whether to believe it.
//!
//! Formats: `docs/PROTOCOL.md`, "Attestation document". Verifying fetches and reads nothing: bytes come in,
//! a verdict goes out. Files are those of a policy: its text, its signature, and which versions were seen.

mod claimed;
mod dev;
mod document;
mod findings;
mod gpu;
mod keyset;
mod policy;
mod roots;
mod snp;
mod tdx;
pub mod tree;
mod verdict;
mod verify;
mod x509;

pub use claimed::{Claimed, ClaimedError, ClaimedMachine, ClaimedSnp, ClaimedTdx};
pub use dev::DevRoot;
pub use document::{Document, MAX_DOCUMENT, Nonce, Section, Tee, report_data};
pub use findings::{Check, Finding, Findings, Outcome};
pub use keyset::{EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release};
pub use policy::{
    Event, GpuPolicy, Hex, LoadError, Loaded, MAX_POLICY, Named, Policy, PolicyError, PolicyStore, Register,
    RequiredKem, SnpImage, SnpPolicy, SnpProduct, SnpTcb, StoreError, TcbStatus, TdxImage, TdxPolicy,
    next_path, signature_path,
};
pub use roots::{AmdRoots, Roots};
pub use verdict::{Refusal, Verdict};
