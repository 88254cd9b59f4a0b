//! The attested machine's agent: opens sealed requests, has the engine answer them, seals the answers, and signs a
//! receipt for each.
//!
//! A request's way: [`routes`] → [`unseal`] (ticket, frames, replay, `x_conf`) → [`completion`] (body, ceiling,
//! generation, sealed reply) → [`receipts`] (signed, kept, delivered). Formats: `docs/PROTOCOL.md`.

mod admission;
mod answer;
mod backend;
mod binding;
mod calls;
mod ceiling;
mod clock;
mod completion;
mod config;
pub mod dev_root;
mod earnings;
mod engine;
mod epoch;
mod error;
mod evidence;
mod generation;
mod identity;
mod keyring;
mod meter;
mod receipts;
mod refusal;
mod replay;
mod reply;
mod request;
mod routes;
mod unseal;
mod weights;

pub use backend::Backend;
pub use config::{
    Config, ConfigError, ConfiguredKeys, EvidenceConfig, EvidenceKind, MinPrice, PayoutsConfig, ReleaseConfig,
};
pub use earnings::{Check, Earnings, EarningsError, Paid, Told, Verdict, earnings};
pub use engine::EngineError;
pub use error::Error;
pub use evidence::{EvidenceError, evidence_once};
pub use receipts::{Sum, Tally};
pub use weights::WeightsError;
