//! What a backend says it is, the evidence for it, and the policy that decides whether to believe it.
//!
//! Formats: `docs/PROTOCOL.md`, "Attestation document". This crate fetches nothing: bytes come in, a verdict goes
//! out.

mod dev;
mod document;
mod keyset;
mod policy;

pub use dev::DevRoot;
pub use document::{Document, MAX_DOCUMENT, Nonce, Section, Tee, report_data};
pub use keyset::{EngineInfo, HpkeKey, KEYSET_VERSION, Keyset, ModelInfo, Operator, PrefixCache, Release};
pub use policy::{Policy, PolicyError, Refusal, RequiredKem, Verdict};
