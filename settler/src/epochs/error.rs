//! Why an epoch is not decided, kept, published or proved.

use std::path::PathBuf;

use cocoon_ledger::{LedgerError, Shard};
use cocoon_ton::chain::{ChainError, RegistryError};
use cocoon_ton::{Address, BatchError, CellError, StackError};

use super::log::NotAnEpoch;
use crate::decision::Payee;

/// None of these stops payouts.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("the log of decisions, record {at}: {source}")]
    Log { at: u64, source: NotAnEpoch },
    #[error("the log of decisions, record {0}: not a record of this program")]
    Record(u64),
    #[error("the log of decisions is that of wallet {wallet} on the network {global_id}")]
    OtherWallet { wallet: Payee, global_id: i32 },
    #[error("the journal of shard {0} ends before what is in an epoch: the store has lost entries")]
    Lost(Shard),
    #[error(
        "the journal of shard {0} was trimmed before it was in an epoch: its `epochs` cursor was dropped"
    )]
    Trimmed(Shard),
    #[error(
        "the receipts of epoch {0} are not in the folder and not in the store any more: copy its file from another settler"
    )]
    Gone(u32),
    #[error("the journals do not have what the log says that epoch {0} has")]
    Differs(u32),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} is not what the log says that the epoch has: {why}")]
    File { path: PathBuf, why: String },
    #[error("the registry {registry} has {last} epochs and the log {known}: it is that of another log")]
    Ahead { registry: Address, last: u32, known: u32 },
    #[error(
        "the registry {registry} has other roots than the log among its {last} epochs: somebody else published there"
    )]
    OtherRoots { registry: Address, last: u32 },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the publisher's account is not that of its wallet: {0}")]
    Wallet(&'static str),
    #[error("the publisher's key is the treasury's: it needs a wallet of its own")]
    SameKey,
    #[error("there are as many epochs as there are numbers")]
    Numbers,
    #[error(
        "receipt {0} is in no epoch: it was booked in the last moments, or before epochs were published, or never"
    )]
    InNoEpoch(String),
    #[error("the receipt is in epoch {epoch}, and the registry has {last} so far: try again later")]
    NotPublished { epoch: u32, last: u32 },
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Cell(#[from] CellError),
    #[error("the registry's answer: {0}")]
    Stack(#[from] StackError),
}

impl EpochError {
    pub(super) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}
