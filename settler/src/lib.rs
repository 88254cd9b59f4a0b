//! The bridge from the ledger to TON: deposits in, payouts out, each exactly once, whatever ends in between.

mod books;
pub mod config;
pub mod decision;
mod owing;
pub mod plan;
mod read;
mod settler;
mod treasury;

pub use books::{Books, LedgerBooks};
pub use owing::LedgerSums;
pub use settler::{Settings, Settler, SettlerError, Step};
pub use treasury::{Impossible, Paid, Sums, Treasury};
