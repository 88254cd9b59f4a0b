//! Epochs: every so often a root over all receipts that the ledger has booked since the one before is published in the
//! registry on the chain, so that nobody can later leave one out, put one in or change one unnoticed.
//!
//! What an epoch has is decided in the log of decisions first, so that every settler makes the same root of it. Then its
//! receipts' digests are written into a file, and only then its root is sent. All of it is apart from payouts: it reads
//! the log for itself, pays from a wallet of its own, and whatever fails here keeps nobody from being paid.

mod chain;
mod commitment;
mod error;
mod files;
mod gather;
mod journals;
mod log;
mod metrics;
mod proof;
mod prove;
mod publisher;
mod record;
mod run;
mod step;
pub mod tree;

pub use commitment::{Commitment, Cuts, FIRST, cuts_digest};
pub use error::EpochError;
pub use files::Folder;
pub use gather::MOST_RECEIPTS;
pub use journals::{Journals, LedgerJournals};
pub use log::{Log, NotAnEpoch, Sealed};
pub use metrics::EpochMetrics;
pub use proof::{BadProof, MAX_PROOF_BYTES, Proof};
pub use prove::prove;
pub use publisher::{Held, Publisher, Publishing};
pub use record::{Cut, Record};
pub use run::run_epochs;
pub use step::{EpochStep, Epochs};
