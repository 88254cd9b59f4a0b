//! Whether a state is one that a chain can be in: what a file must have, and what tests ask after every block.

use std::collections::BTreeMap;

use tycho_types::error::Error;
use tycho_types::models::{AccountStatus, StdAddr, Transaction};

use crate::Network;
use crate::state::{Block, Recorded, State};

/// Why no chain is in this state.
#[derive(Debug, thiserror::Error)]
pub enum NotAChain {
    #[error("its first block is of another network")]
    First,
    #[error("block {0} does not follow the one before it")]
    Block(u32),
    #[error("block {0} and the history of accounts have different transactions")]
    Transactions(u32),
    #[error("the transaction of {0} at {1} does not follow the one before it")]
    History(StdAddr, u64),
    #[error("account {0} is not as its last transaction left it")]
    Account(StdAddr),
    #[error("a message on its way should have arrived")]
    Late,
    #[error("coins are missing, or more than were given")]
    Supply,
    #[error("a cell cannot be read: {0}")]
    Cell(#[from] Error),
}

/// Checks all that the chain promises of itself.
///
/// # Errors
/// [`NotAChain`].
pub(crate) fn audit(network: &Network, state: &State) -> Result<(), NotAChain> {
    blocks(network, state)?;
    for (account, history) in &state.history {
        let mut before = None;
        for recorded in history {
            before = Some(follows(state, account, before, recorded)?);
        }
        let Some((last, transaction)) = before else { return Err(NotAChain::Account(account.clone())) };
        is_as_left(state, account, last, &transaction)?;
    }
    if let Some(unknown) = state.accounts.keys().find(|account| !state.history.contains_key(account)) {
        return Err(NotAChain::Account(unknown.clone()));
    }
    if state.queue.iter().any(|delivery| delivery.due <= state.head().seqno) {
        return Err(NotAChain::Late);
    }
    let supply = state.supply;
    if supply.minted != state.balances()? + state.on_the_way() + supply.fees + supply.burned {
        return Err(NotAChain::Supply);
    }
    Ok(())
}

fn blocks(network: &Network, state: &State) -> Result<(), NotAChain> {
    let mut recorded: BTreeMap<u32, usize> = BTreeMap::new();
    for transaction in state.history.values().flatten() {
        *recorded.entry(transaction.seqno).or_default() += 1;
    }
    let mut before: Option<&Block> = None;
    for block in state.blocks() {
        match before {
            None if *block == Block::first(network, block.time) => {}
            None => return Err(NotAChain::First),
            Some(before) => {
                let Block { time, start_lt, end_lt, ref transactions, .. } = *block;
                let expected = Block::after(before, time, start_lt, end_lt, transactions.clone());
                if *block != expected || time < before.time || start_lt <= before.end_lt || end_lt < start_lt
                {
                    return Err(NotAChain::Block(block.seqno));
                }
            }
        }
        let there = |id| state.transaction_of(id).is_some_and(|recorded| recorded.seqno == block.seqno);
        let count = recorded.remove(&block.seqno).unwrap_or(0);
        if count != block.transactions.len() || !block.transactions.iter().all(there) {
            return Err(NotAChain::Transactions(block.seqno));
        }
        before = Some(block);
    }
    match recorded.keys().next() {
        None => Ok(()),
        Some(seqno) => Err(NotAChain::Transactions(*seqno)),
    }
}

/// A transaction is linked to the one before it, in a later logical time and within its block.
fn follows<'a>(
    state: &State,
    account: &StdAddr,
    before: Option<(&Recorded, Transaction)>,
    recorded: &'a Recorded,
) -> Result<(&'a Recorded, Transaction), NotAChain> {
    let wrong = || NotAChain::History(account.clone(), recorded.id.lt);
    let transaction = recorded.cell.parse::<Transaction>()?;
    let block = state.block(recorded.seqno).ok_or_else(wrong)?;
    let (hash, lt) = match &before {
        // An account that was gone when its block ended begins anew.
        Some((last, transaction))
            if transaction.end_status == AccountStatus::NotExists && last.seqno != recorded.seqno =>
        {
            (Default::default(), 0)
        }
        Some((last, _)) => (last.id.hash, last.id.lt),
        None => (Default::default(), 0),
    };
    let after_before = before.is_none_or(|(last, _)| last.id.lt < recorded.id.lt);
    let linked = (transaction.prev_trans_hash, transaction.prev_trans_lt) == (hash, lt)
        && recorded.previous_lt == lt
        && (transaction.account, transaction.lt, transaction.now)
            == (account.address, recorded.id.lt, block.time)
        && (block.start_lt..block.end_lt).contains(&recorded.id.lt)
        && (&recorded.id.account, &recorded.id.hash) == (account, recorded.cell.repr_hash());
    if linked && after_before { Ok((recorded, transaction)) } else { Err(wrong()) }
}

fn is_as_left(
    state: &State,
    account: &StdAddr,
    last: &Recorded,
    transaction: &Transaction,
) -> Result<(), NotAChain> {
    let left = match state.accounts.get(account) {
        None => transaction.end_status == AccountStatus::NotExists,
        Some(shard) => {
            (shard.last_trans_hash, shard.last_trans_lt) == (last.id.hash, last.id.lt)
                && transaction.state_update.load()?.new == *shard.account.inner().repr_hash()
        }
    };
    if left { Ok(()) } else { Err(NotAChain::Account(account.clone())) }
}

#[cfg(test)]
mod tests;
