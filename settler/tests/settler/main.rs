//! The settler on a chain with a real TVM and a real ledger.

mod deposits;
mod payouts;
mod world;
