//! The settler on a chain with a real TVM and a real ledger.

mod chain_faults;
mod chains;
mod crashes;
mod deposits;
mod mortal;
mod payees;
mod payouts;
mod returned;
mod short_wallet;
mod turns;
mod two_settlers;
mod unexplained;
mod world;
