use std::sync::Arc;

use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellFamily, HashBytes};
use tycho_types::models::{AccountStatus, MsgInfo, OwnedMessage, StdAddr};

use crate::audit::audit;
use crate::state::Delivery;
use crate::testing::*;
use crate::{Chain, NetworkFaults};

/// Who sent what made each transaction of an account.
fn senders(chain: &Chain, of: &StdAddr) -> Vec<(StdAddr, u64)> {
    let incoming = history(chain, of).iter().filter_map(|recorded| parsed(recorded).0.in_msg);
    let sender = |message: Cell| match message.parse::<OwnedMessage>().unwrap().info {
        MsgInfo::Int(info) => Some((info.src.as_std().cloned().unwrap(), info.created_lt)),
        _ => None,
    };
    incoming.filter_map(sender).collect()
}

/// Three wallets that each send three messages to one account in the same block.
fn crowd(faults: NetworkFaults) -> (Chain, Vec<Purse>) {
    let mut chain = chain();
    let purses: Vec<_> = (1..=3).map(|number| funded(&mut chain, number)).collect();
    chain.set_faults(faults);
    for purse in &purses {
        let payouts: Vec<_> = (1..=3).map(|amount| (nobody(9), amount * TON, false)).collect();
        chain.send_external(&purse.batch(1, FAR, &payouts).boc).unwrap();
    }
    chain.produce_until_idle(10).unwrap();
    (chain, purses)
}

#[test]
fn a_message_takes_one_block_for_every_hop() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let seqno = chain.head().seqno;
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    assert_eq!((chain.waiting(), chain.is_idle()), (1, false));
    chain.produce().unwrap();
    assert_eq!((chain.waiting(), chain.state().queue.len(), balance(&chain, &nobody(9))), (0, 1, 0));
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
    assert_eq!(history(&chain, &nobody(9))[0].seqno, seqno + 2);
    assert!(chain.is_idle());
}

#[test]
fn what_an_account_refuses_comes_back_two_blocks_after_it_was_sent() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let before = history(&chain, &purse.address()).len();
    chain.send_external(&purse.batch(1, FAR, &[(nobody(9), TON, true)]).boc).unwrap();
    assert_eq!(chain.produce_until_idle(10).unwrap(), 3);
    let after = &history(&chain, &purse.address())[before..];
    assert_eq!(after.len(), 2);
    assert_eq!(after[1].seqno, after[0].seqno + 2);
    assert_eq!(status(&chain, &nobody(9)), "none");
}

#[test]
fn messages_that_arrive_in_one_block_are_in_the_order_of_their_sending() {
    let (chain, _) = crowd(NetworkFaults::default());
    let times: Vec<_> = senders(&chain, &nobody(9)).into_iter().map(|(_, lt)| lt).collect();
    assert_eq!(times.len(), 9);
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn shuffled_messages_keep_the_order_of_each_sender_and_not_that_between_senders() {
    let (straight, _) = crowd(NetworkFaults::default());
    let straight = senders(&straight, &nobody(9));
    let mut changed = 0;
    for seed in 0..8 {
        let (chain, purses) = crowd(NetworkFaults { shuffle: Some(seed), ..NetworkFaults::default() });
        let arrived = senders(&chain, &nobody(9));
        for purse in purses {
            let own: Vec<_> =
                arrived.iter().filter(|(from, _)| *from == purse.address()).map(|(_, lt)| *lt).collect();
            assert_eq!(own.len(), 3);
            assert!(own.is_sorted(), "{own:?}");
        }
        let order =
            |arrived: &[(StdAddr, u64)]| arrived.iter().map(|(from, _)| from.clone()).collect::<Vec<_>>();
        changed += usize::from(order(&arrived) != order(&straight));
    }
    assert!(changed > 4, "{changed}");
}

#[test]
fn the_same_seed_shuffles_in_the_same_way() {
    let of = |seed| {
        let (chain, _) = crowd(NetworkFaults { shuffle: Some(seed), ..NetworkFaults::default() });
        senders(&chain, &nobody(9)).into_iter().map(|(from, _)| from).collect::<Vec<_>>()
    };
    assert_eq!(of(3), of(3));
    assert!((4..12).any(|seed| of(seed) != of(3)));
}

#[test]
fn a_delayed_message_is_on_its_way_for_so_many_blocks_more() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    chain.set_faults(NetworkFaults { delay_messages: 3, ..NetworkFaults::default() });
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    chain.produce().unwrap();
    for _ in 0..3 {
        chain.produce().unwrap();
        assert_eq!(balance(&chain, &nobody(9)), 0);
    }
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
}

#[test]
fn a_message_never_overtakes_an_earlier_one_of_its_sender_when_a_delay_ends() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    chain.set_faults(NetworkFaults { delay_messages: 5, ..NetworkFaults::default() });
    chain.send_external(&purse.pay(1, &nobody(8), TON)).unwrap();
    chain.produce().unwrap();
    chain.set_faults(NetworkFaults::default());
    chain.send_external(&purse.pay(2, &nobody(9), TON)).unwrap();
    chain.produce_until_idle(10).unwrap();
    let arrived = |of| history(&chain, &nobody(of))[0].seqno;
    assert_eq!(arrived(8), arrived(9));
    assert!(history(&chain, &nobody(8))[0].id.lt <= history(&chain, &nobody(9))[0].id.lt);
}

#[test]
fn a_dropped_external_is_accepted_and_never_executed() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    chain.set_faults(NetworkFaults { drop_externals: 1, ..NetworkFaults::default() });
    let boc = purse.pay(1, &nobody(9), TON);
    chain.send_external(&boc).unwrap();
    assert!(chain.is_idle());
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(9)), 0);
    // The fault is used up: the same bytes do it now.
    chain.send_external(&boc).unwrap();
    chain.produce_until_idle(10).unwrap();
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
}

#[test]
fn a_doubled_external_is_executed_once_by_a_wallet() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let before = history(&chain, &purse.address()).len();
    chain.set_faults(NetworkFaults { duplicate_externals: 1, ..NetworkFaults::default() });
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    assert_eq!(chain.waiting(), 2);
    chain.produce_until_idle(10).unwrap();
    assert_eq!(history(&chain, &purse.address()).len(), before + 1);
    assert_eq!(balance(&chain, &nobody(9)), u128::from(TON));
}

#[test]
fn a_doubled_external_is_executed_twice_by_a_contract_that_does_not_count() {
    let mut chain = chain();
    // ACCEPT, for messages from outside too.
    let address = deploy(&mut chain, "f800", Cell::empty_cell(), TON);
    chain.set_faults(NetworkFaults { duplicate_externals: 1, ..NetworkFaults::default() });
    chain.send_external(&external(&address, Cell::empty_cell())).unwrap();
    chain.produce().unwrap();
    assert_eq!(history(&chain, &address).len(), 3);
}

#[test]
fn a_message_that_already_waits_is_taken_once() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let boc = purse.pay(1, &nobody(9), TON);
    let hash = chain.send_external(&boc).unwrap();
    assert_eq!(hash, *Boc::decode(&boc).unwrap().repr_hash());
    assert_eq!(chain.send_external(&boc).unwrap(), hash);
    assert_eq!(chain.waiting(), 1);
}

#[test]
fn an_external_that_is_no_longer_valid_when_its_block_comes_is_forgotten_and_costs_nothing() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let (before, balance_before) =
        (history(&chain, &purse.address()).len(), balance(&chain, &purse.address()));
    chain.set_faults(NetworkFaults { delay_externals: 2, ..NetworkFaults::default() });
    let batch = purse.batch(1, START + 10, &[(nobody(9), TON, false)]);
    chain.send_external(&batch.boc).unwrap();
    for _ in 0..2 {
        chain.produce().unwrap();
        assert_eq!(chain.waiting(), 1);
    }
    chain.advance(11).unwrap();
    chain.produce().unwrap();
    assert!(chain.is_idle());
    assert_eq!(history(&chain, &purse.address()).len(), before);
    assert_eq!(balance(&chain, &purse.address()), balance_before);
}

#[test]
fn a_delayed_external_that_is_still_valid_is_executed_in_its_block() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    let seqno = chain.head().seqno;
    chain.set_faults(NetworkFaults { delay_externals: 2, ..NetworkFaults::default() });
    chain.send_external(&purse.pay(1, &nobody(9), TON)).unwrap();
    chain.produce_until_idle(10).unwrap();
    assert_eq!(history(&chain, &purse.address()).last().unwrap().seqno, seqno + 3);
}

#[test]
fn equal_gifts_in_one_block_are_different_messages() {
    let mut chain = chain();
    for _ in 0..3 {
        chain.give(&nobody(1), TON).unwrap();
    }
    let mut messages = Messages::default();
    chain.state().queue.iter().for_each(|delivery| messages.add(&delivery.message));
    assert_eq!(messages.0.len(), 3);
    chain.produce().unwrap();
    assert_eq!(balance(&chain, &nobody(1)), 3 * u128::from(TON));
}

#[test]
fn an_account_that_was_deleted_begins_a_history_anew() {
    let mut chain = chain();
    let address = deletable(&mut chain);
    assert_eq!(status(&chain, &address), "none");
    chain.give(&address, TON).unwrap();
    chain.produce().unwrap();
    let [.., deleting, anew] = history(&chain, &address) else { panic!("too few") };
    assert_eq!(parsed(anew).0.prev_trans_lt, 0);
    assert!(anew.id.lt > deleting.id.lt);
    audit(chain.network(), chain.state()).unwrap();
}

/// A contract that has sent all it had back to `nobody(7)` and ended, mode 128 + 32.
fn deletable(chain: &mut Chain) -> StdAddr {
    let (init, address) = contract(DESTROY, Cell::empty_cell());
    let mut letter = Letter::new(&nobody(7), &address, TON);
    letter.init = Some(init);
    chain.send_internal(letter.cell()).unwrap();
    chain.produce().unwrap();
    address
}

/// `NEWC; 0x10 as 6 bits: int_msg_info without bounce, from nobody; to the sender; no coins, nothing else;
/// SENDRAWMSG with mode 160`. The message's sender is in the slice of the whole message, after four bits.
const DESTROY: &str = concat!(
    "30",     // DROP the function's number, which is 0
    "30",     // DROP the body
    "d0",     // CTOS: the whole message
    "d303",   // LDU 4: the flags
    "31",     // NIP
    "fa40",   // LDMSGADDR
    "30",     // DROP the rest
    "8010",   // PUSHINT 16
    "c8",     // NEWC
    "cb05",   // STU 6
    "ce",     // STSLICE
    "70",     // PUSHINT 0
    "01",     // SWAP
    "cb6e",   // STU 111: no coins, and none of the rest
    "c9",     // ENDC
    "8100a0", // PUSHINT 160
    "fb00",   // SENDRAWMSG
);

#[test]
fn an_account_that_is_deleted_and_made_again_in_one_block_has_later_logical_times() {
    let mut chain = chain();
    let (init, address) = contract(DESTROY, Cell::empty_cell());
    let mut letter = Letter::new(&nobody(7), &address, TON);
    letter.init = Some(init);
    chain.send_internal(letter.cell()).unwrap();
    chain.give(&address, TON).unwrap();
    chain.produce().unwrap();
    let [deleting, anew] = history(&chain, &address) else { panic!("not two") };
    assert_eq!(parsed(deleting).0.end_status, AccountStatus::NotExists);
    assert_eq!(deleting.seqno, anew.seqno);
    let next = deleting.id.lt + u64::from(parsed(deleting).0.out_msg_count.into_inner());
    assert!(anew.id.lt > next, "{} {next}", anew.id.lt);
    assert_eq!(parsed(anew).0.prev_trans_lt, deleting.id.lt);
    audit(chain.network(), chain.state()).unwrap();
}

#[test]
fn accounts_of_the_masterchain_are_paid_and_pay() {
    let mut chain = chain();
    let (init, StdAddr { address, .. }) = contract(SINK, Cell::empty_cell());
    let masterchain = StdAddr::new(-1, address);
    let mut letter = Letter::new(&nobody(1), &masterchain, TON);
    letter.init = Some(init);
    chain.send_internal(letter.cell()).unwrap();
    chain.produce().unwrap();
    assert_eq!(status(&chain, &masterchain), "active");
    let gas = |address: &StdAddr, chain: &Chain| {
        parsed(&history(chain, address)[0]).0.total_fees.tokens.into_inner()
    };
    let there = gas(&masterchain, &chain);
    let here = deploy(&mut chain, SINK, Cell::empty_cell(), TON);
    assert!(there > 100 * gas(&here, &chain), "{there}");
}

#[test]
fn a_message_that_the_executor_cannot_run_is_lost_and_accounted_for() {
    let mut chain = chain();
    // No logical time is after it.
    let message = Letter { lt: u64::MAX, ..Letter::new(&nobody(1), &nobody(2), TON) }.cell();
    let state = Arc::make_mut(&mut chain.state);
    state.queue.extend(Delivery::of(message, 1).unwrap());
    state.supply.minted += u128::from(TON);
    chain.give(&nobody(3), TON).unwrap();
    chain.produce_until_idle(10).unwrap();
    assert_eq!(chain.supply().burned, u128::from(TON));
    assert_eq!((balance(&chain, &nobody(2)), balance(&chain, &nobody(3))), (0, u128::from(TON)));
    audit(chain.network(), chain.state()).unwrap();
}

#[test]
fn coins_sent_to_where_coins_end_are_burned_and_accounted_for() {
    let mut chain = chain();
    let purse = funded(&mut chain, 1);
    chain.send_external(&purse.pay(1, &StdAddr::new(-1, HashBytes::ZERO), TON)).unwrap();
    chain.produce_until_idle(10).unwrap();
    audit(chain.network(), chain.state()).unwrap();
}
