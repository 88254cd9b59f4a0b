//! The bridge from the ledger to TON: deposits in, payouts out, each exactly once, whatever ends in between.

mod books;
pub mod channels;
pub mod config;
pub mod decision;
pub mod epochs;
mod metrics;
mod owing;
pub mod plan;
mod read;
mod run;
mod settler;
mod statement;
mod treasury;

pub use books::{Books, LedgerBooks};
pub use metrics::Metrics;
pub use owing::LedgerSums;
pub use run::{Pace, run, unix_now};
pub use settler::{Settings, Settler, SettlerError, Step};
pub use statement::{Nano, OperatorLine, Statement};
pub use treasury::{ChannelBooks, Impossible, Paid, Sums, Treasury};
