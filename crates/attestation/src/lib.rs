//! What a backend says it is, the evidence for it, and the policy that decides whether to believe it.
//!
//! Formats: `docs/PROTOCOL.md`, "Attestation document". This crate fetches nothing: bytes come in, a verdict goes
//! out.

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

pub use dev::DevRoot;
pub use document::{Document, MAX_DOCUMENT, Nonce, Section, Tee, report_data};
pub use findings::{Check, Finding, Findings, Outcome};
pub use keyset::{EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release};
pub use policy::{
    Event, GpuPolicy, Hex, MAX_POLICY, Policy, PolicyError, Register, RequiredKem, SnpImage, SnpPolicy,
    SnpProduct, SnpTcb, TcbStatus, TdxImage, TdxPolicy,
};
pub use roots::{AmdRoots, Roots};
pub use verdict::{Refusal, Verdict};
