use std::sync::Arc;

use tycho_types::cell::HashBytes;

use super::audit;
use crate::state::{Block, Recorded, State, TransactionId};
use crate::testing::*;
use crate::{Fees, Network};

fn state() -> State {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    chain.advance(5).unwrap();
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    chain.produce().unwrap();
    chain.give(&nobody(9), TON).unwrap();
    State::clone(chain.state())
}

fn found(change: impl FnOnce(&mut State)) -> String {
    let mut state = state();
    change(&mut state);
    audit(&network(), &state).unwrap_err().to_string()
}

/// With one block in place of the one that had its number.
fn with_block(seqno: u32, change: impl FnOnce(&mut Block)) -> String {
    found(|state| {
        let mut blocks: Vec<_> = state.blocks().cloned().map(Arc::new).collect();
        change(Arc::make_mut(&mut blocks[seqno as usize]));
        let made = State::of_blocks(blocks).unwrap();
        let State { accounts, history, queue, supply, .. } = std::mem::replace(state, made);
        (state.accounts, state.history, state.queue, state.supply) = (accounts, history, queue, supply);
    })
}

/// With another last transaction of the wallet, at whatever logical time the block says.
fn with_last(change: impl Fn(&mut Recorded)) -> String {
    found(|state| {
        let wallet = Purse::new(1).address();
        let last = state.history.get_mut(&wallet).unwrap().last_mut().unwrap();
        change(Arc::make_mut(last));
    })
}

#[test]
fn a_chain_that_was_made_is_one() {
    audit(&network(), &state()).unwrap();
}

#[test]
fn the_first_block_is_of_the_network() {
    let other = Network::new(Fees::Old, -3).unwrap();
    assert_eq!(audit(&other, &state()).unwrap_err().to_string(), "its first block is of another network");
    assert_eq!(with_block(0, |block| block.seqno = 1), "its first block is of another network");
}

#[test]
fn every_block_follows_the_one_before_it() {
    let wrong = |seqno| format!("block {seqno} does not follow the one before it");
    assert_eq!(with_block(2, |block| block.digest = HashBytes::ZERO), wrong(2));
    assert_eq!(with_block(2, |block| block.time += 1), wrong(2));
    assert_eq!(with_block(2, |block| block.seqno += 1), wrong(3));
    assert_eq!(with_block(2, |block| block.start_lt = 1), wrong(2));
    assert_eq!(with_block(2, |block| block.end_lt = 1), wrong(2));
    let last = state().head().seqno;
    let unnamed = |block: &mut Block| {
        block.time = START - 1;
        let before = state().block(last - 1).unwrap().clone();
        let Block { time, start_lt, end_lt, ref transactions, .. } = *block;
        *block = Block::after(&before, time, start_lt, end_lt, transactions.clone());
    };
    assert_eq!(with_block(last, unnamed), wrong(last));
}

#[test]
fn blocks_and_histories_have_the_same_transactions() {
    let wallet = Purse::new(1).address();
    let last = state().head().seqno;
    let wrong = |seqno| format!("block {seqno} and the history of accounts have different transactions");
    assert_eq!(found(|state| drop(state.history.get_mut(&wallet).unwrap().pop())), wrong(last));
    assert_eq!(found(|state| drop(state.history.remove(&wallet))), wrong(1));
    let twice = |state: &mut State| {
        let history = state.history.get_mut(&wallet).unwrap();
        history.insert(0, Arc::clone(&history[0]));
    };
    assert_eq!(found(twice), wrong(1));
    assert_eq!(with_last(|recorded| recorded.seqno = 77), wrong(last));
    let renamed = |block: &mut Block| {
        let before = state().block(last - 1).unwrap().clone();
        let Block { time, start_lt, end_lt, mut transactions, .. } = block.clone();
        transactions[0].hash = HashBytes::ZERO;
        *block = Block::after(&before, time, start_lt, end_lt, transactions);
    };
    assert_eq!(with_block(last, renamed), wrong(last));
}

#[test]
fn every_transaction_is_linked_to_the_one_before_it() {
    let with = with_last(|recorded| recorded.previous_lt += 1);
    assert!(with.ends_with("does not follow the one before it") && with.contains("transaction"), "{with}");
    let first = history_of_another();
    let with = with_last(|recorded| recorded.cell = first.clone());
    assert!(with.contains("does not follow the one before it"), "{with}");
}

/// A transaction of another account.
fn history_of_another() -> tycho_types::cell::Cell {
    let mut chain = chain();
    chain.give(&nobody(3), TON).unwrap();
    chain.produce().unwrap();
    history(&chain, &nobody(3))[0].cell.clone()
}

#[test]
fn every_account_is_as_its_last_transaction_left_it() {
    let wallet = Purse::new(1).address();
    let wrong = format!("account {wallet} is not as its last transaction left it");
    assert_eq!(found(|state| drop(state.accounts.remove(&wallet))), wrong);
    assert_eq!(found(|state| state.accounts.get_mut(&wallet).unwrap().last_trans_lt += 1), wrong);
    let richer = |state: &mut State| {
        let account = state.accounts.get_mut(&wallet).unwrap();
        let mut content = account.load_account().unwrap().unwrap();
        content.balance.tokens += tycho_types::num::Tokens::new(1);
        account.account =
            tycho_types::cell::Lazy::new(&tycho_types::models::OptionalAccount(Some(content))).unwrap();
    };
    assert_eq!(found(richer), wrong);
    let unknown = |state: &mut State| {
        let account = state.accounts[&wallet].clone();
        state.accounts.insert(nobody(7), account);
    };
    assert_eq!(found(unknown), format!("account {} is not as its last transaction left it", nobody(7)));
    let empty = found(|state| drop(state.history.insert(nobody(7), Vec::new())));
    assert_eq!(empty, format!("account {} is not as its last transaction left it", nobody(7)));
}

#[test]
fn what_is_on_its_way_has_not_arrived_and_all_coins_are_somewhere() {
    let late = found(|state| state.queue[0].due = state.head().seqno);
    assert_eq!(late, "a message on its way should have arrived");
    let coins = "coins are missing, or more than were given";
    assert_eq!(found(|state| drop(state.queue.pop())), coins);
    assert_eq!(found(|state| state.supply.fees += 1), coins);
    assert_eq!(found(|state| state.supply.burned += 1), coins);
    assert_eq!(found(|state| state.supply.minted -= 1), coins);
}

#[test]
fn a_block_is_found_by_its_number_a_logical_time_in_it_and_a_time() {
    let state = state();
    let head = state.head();
    for block in state.blocks() {
        assert_eq!(state.block(block.seqno), Some(block));
        for TransactionId { lt, .. } in &block.transactions {
            assert_eq!(state.block_of_lt(*lt), Some(block));
        }
    }
    assert_eq!(state.block(head.seqno + 1), None);
    assert_eq!(state.block_of_lt(head.end_lt), None);
    assert_eq!(state.block_of_lt(head.end_lt - 1), Some(head));
    assert_eq!(state.block_until(START + 5), Some(head));
    assert_eq!(state.block_until(START + 4).unwrap().seqno, head.seqno - 1);
    assert_eq!(state.block_until(START - 1), None);
}
