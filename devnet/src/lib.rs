//! A local TON chain for development and tests: every message goes through a real TVM and all phases of a
//! transaction, and clients see the toncenter v2 API. It has one validator, itself, so its blocks prove
//! nothing.

mod api;
mod audit;
mod chain;
mod clock;
mod execution;
mod faults;
mod getter;
mod network;
mod production;
mod state;
mod store;
#[cfg(test)]
mod testing;

pub use api::{Endpoint, SharedChain};
pub use audit::NotAChain;
pub use chain::{Chain, ChainError};
pub use clock::Clock;
pub use execution::{Executed, Inbound, Moment, NotExecuted, execute};
pub use faults::{EndpointFaults, NetworkFaults};
pub use network::{Fees, Network};
pub use state::{Block, Seqno, Supply, TransactionId};
pub use store::{Store, StoreError};
