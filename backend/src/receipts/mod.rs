//! Receipts: signed in one order, kept on disk before a copy leaves, delivered until they are acknowledged twice.

mod books;
mod chain;
mod checkpoints;
mod delivery;
mod gateways;
mod outbox;
mod signer;

pub(crate) use books::Books;
pub use books::{Sum, Tally};
pub(crate) use chain::{Chain, CheckpointDraft, Draft};
pub(crate) use checkpoints::Checkpoints;
pub(crate) use delivery::{Backlog, Delivering};
pub(crate) use gateways::Gateways;
pub(crate) use outbox::Outbox;
pub(crate) use signer::{SignError, Signer};
