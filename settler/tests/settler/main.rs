//! The settler on a chain with a real TVM and a real ledger.

#[cfg(test)]
mod chain_faults;
#[cfg(test)]
mod chains;
#[cfg(test)]
mod channels;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod deposits;
#[cfg(test)]
mod epoch_crashes;
#[cfg(test)]
mod epoch_world;
#[cfg(test)]
mod epochs;
#[cfg(test)]
mod fees;
#[cfg(test)]
mod mortal;
#[cfg(test)]
mod payees;
#[cfg(test)]
mod payouts;
#[cfg(test)]
mod returned;
#[cfg(test)]
mod short_wallet;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod two_settlers;
#[cfg(test)]
mod unexplained;
#[cfg(test)]
mod world;
