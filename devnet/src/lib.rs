//! A local TON chain for development and tests: every message goes through a real TVM and all phases of a
//! transaction, and clients see the toncenter v2 API. It has one validator, itself, so its blocks prove nothing.

mod execution;
mod network;

pub use execution::{Executed, Inbound, Moment, NotExecuted, execute};
pub use network::{Fees, Network};
