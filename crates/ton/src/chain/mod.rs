//! Talking to the chain, through endpoints that may lag, lie, limit or fail.
//!
//! Transactions are parsed and hashed from their own bytes and must follow one another; everything else that
//! an endpoint says is only as true as the endpoint. What matters is asked of two ([`agreed`]).

mod agreement;
mod answers;
mod config;
mod endpoint;
mod error;
mod failover;
mod http;
mod registry;

pub use agreement::{Disagreement, agreed};
pub use config::{
    ChainConfigError, ChainEndpoint, NetworkConfig, NetworkName, check, failover, has_two_operators,
    read_secret,
};
pub use endpoint::{ApiKey, Endpoint, EndpointConfig, EndpointUrl};
pub use error::{ChainError, LiteServerError};
pub use failover::Failover;
pub use registry::{POLICY_DELAY_S, RegistryError, RegistryReader, RegistryWord, registry};

use async_trait::async_trait;
use cocoon_receipts::NanoTon;

use crate::transaction::TransactionId;
use crate::{Address, ArcCell, CellHash, GlobalId, StackValue, Transaction};

/// Most transactions that are asked for at once.
pub const MAX_PAGE: u8 = 100;

/// An account as an endpoint reports it, at one block.
#[derive(Debug, Clone)]
pub struct Account {
    pub balance: NanoTon,
    pub status: Status,
    /// The newest transaction; none for an account that never had one.
    pub last_transaction: Option<TransactionId>,
    /// Unix time of the block that the answer is about.
    pub at: u64,
}

#[derive(Debug, Clone)]
pub enum Status {
    /// Never deployed, though it may hold money.
    Uninitialized,
    Active {
        code: ArcCell,
        data: ArcCell,
    },
    /// Its rent was not paid.
    Frozen,
}

/// Where the chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest masterchain block.
    pub seqno: u32,
    pub root_hash: CellHash,
    /// Root hash of the first block, which names the network.
    pub zerostate: CellHash,
}

/// A chain.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Hands a message from outside to the chain. Ok says that it was taken, not that it will be executed;
    /// sending the same bytes again is harmless.
    ///
    /// # Errors
    /// [`ChainError::NotAccepted`] may also mean that it was executed before.
    async fn send_boc(&self, boc: &[u8]) -> Result<(), ChainError>;

    /// # Errors
    /// [`ChainError`].
    async fn account(&self, address: &Address) -> Result<Account, ChainError>;

    /// Transactions of an account from the newest to older ones, at most `limit` and [`MAX_PAGE`]; each is
    /// the one before it in the account's history, so that none is left out. `from` is the first to be
    /// returned; none for the newest. To go on, pass the last one's [`Transaction::previous`].
    ///
    /// # Errors
    /// [`ChainError::Broken`] where they do not follow one another.
    async fn transactions(
        &self,
        address: &Address,
        from: Option<TransactionId>,
        limit: u8,
    ) -> Result<Vec<Transaction>, ChainError>;

    /// Runs a get method and returns what it leaves on the stack.
    ///
    /// # Errors
    /// [`ChainError::ExitCode`] where it fails, or there is no such contract.
    async fn run_get_method(
        &self,
        address: &Address,
        method: &str,
        arguments: &[StackValue],
    ) -> Result<Vec<StackValue>, ChainError>;

    /// # Errors
    /// [`ChainError`].
    async fn head(&self) -> Result<Head, ChainError>;

    /// ConfigParam 19.
    ///
    /// # Errors
    /// [`ChainError`].
    async fn global_id(&self) -> Result<GlobalId, ChainError>;
}

#[cfg(test)]
mod tests;
