//! TON as Cocoon uses it: addresses, vouchers, the two contracts of `contracts/`, the treasury's wallet,
//! deposits, and a client of the chain. Cells and their hashes are `tonlib-core`'s. Nothing here decides who
//! is owed what.
//!
//! All that comes from outside has a bound: [`boc`] says what is accepted as a bag of cells, and every reader
//! below refuses bits and references that its scheme does not name.

mod address;
pub mod boc;
pub mod chain;
mod comment;
mod deposit;
mod hash;
mod key;
mod message;
mod network;
mod paid;
mod pay_channel;
mod pinned;
mod reader;
#[cfg(test)]
mod recorded;
mod registry;
mod stack;
mod transaction;
mod voucher;
mod wallet;
mod writer;

pub use address::{Address, AddressError, Shown, Workchain};
pub use boc::BocError;
pub use comment::{FLOAT_COMMENT, account_of_comment, deposit_comment};
pub use deposit::{Deposit, MAX_COMMENT_BYTES, NotADeposit, comment_of, deposit};
pub use hash::{CellHash, NotAHash};
pub use key::{KeyError, KeyPair, PublicKey, Signature};
pub use message::{Direction, Internal, Message};
pub use network::{GlobalId, Network};
pub use paid::{
    ChannelAnswer, NotAPayment, PaidBatch, Sent, bounced_payout, channel_answer, paid_batch, received_payout,
};
pub use pay_channel::{
    Accepted, ChannelMessage, ChannelState, ChannelStorage, ChannelTerms, MAX_CLOSE_DELAY, NotAcceptable,
    Observed, Phase, StateInitError, accept,
};
pub use pinned::{PAY_CHANNEL_HASH, REGISTRY_HASH, pay_channel_code, registry_code};
pub use reader::CellError;
pub use registry::{
    Epochs, PendingPolicy, Policy, Published, RegistryMessage, RegistryRoles, RegistryStorage, mountains,
};
pub use stack::{StackError, StackValue, amount_from_stack};
pub use transaction::{Compute, NotATransaction, Transaction, TransactionId};
pub use voucher::{
    NotAVoucherToken, SignedVoucher, VOUCHER_DOMAIN, VOUCHER_TOKEN_PREFIX, Voucher, VoucherError,
    VoucherToken,
};
pub use wallet::{
    Batch, BatchError, MAX_PAYOUTS, Outgoing, OutgoingValue, PAYOUT_OP, Payout, PayoutId, SignedRequest,
    Wallet, WalletState, payout_body,
};

/// A cell, counted by reference.
pub use tonlib_core::cell::ArcCell;
