use crate::chain::MOST_SNAPSHOTS;
use crate::testing::*;
use crate::{Chain, ChainError, Clock, NetworkFaults, Store};

/// A day of a chain: the same every time.
fn run(chain: &mut Chain) {
    let purse = funded(chain, 1);
    let payouts = [(nobody(8), TON, false), (nobody(9), 2 * TON, true), (nobody(7), TON, false)];
    chain.set_faults(NetworkFaults { shuffle: Some(5), ..NetworkFaults::default() });
    chain.send_external(&purse.batch(1, FAR, &payouts).boc).unwrap();
    chain.produce_until_idle(10).unwrap();
    chain.advance(100).unwrap();
    chain.give(&nobody(6), 5 * TON).unwrap();
    chain.give(&nobody(5), 5 * TON).unwrap();
    chain.produce().unwrap();
}

fn assert_same(one: &Chain, other: &Chain) {
    let (left, right) = (one.state(), other.state());
    assert!(left.blocks().eq(right.blocks()));
    assert_eq!(left.accounts, right.accounts);
    assert_eq!(left.history, right.history);
    assert_eq!(left.queue, right.queue);
    assert_eq!(left.supply, right.supply);
    assert_eq!(one.clock(), other.clock());
}

#[test]
fn the_same_inputs_make_the_same_blocks() {
    let (mut one, mut other) = (chain(), chain());
    run(&mut one);
    run(&mut other);
    assert_same(&one, &other);
    other.produce().unwrap();
    one.advance(1).unwrap();
    one.produce().unwrap();
    assert_ne!(one.head().digest, other.head().digest);
}

#[test]
fn a_block_is_named_by_its_time_its_transactions_and_all_blocks_before() {
    let digest = |wait: u32, gift: bool, late: bool| {
        let mut chain = chain();
        chain.advance(wait).unwrap();
        if gift {
            chain.give(&nobody(1), TON).unwrap();
        }
        if late {
            chain.produce().unwrap();
            chain.produce().unwrap();
        }
        chain.produce().unwrap();
        chain.head().digest
    };
    let all =
        [digest(0, false, false), digest(1, false, false), digest(0, true, false), digest(0, false, true)];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one));
    }
}

#[test]
fn a_restored_chain_is_as_it_was_and_goes_on_in_the_same_way() {
    let mut chain = chain();
    chain.give(&nobody(4), TON).unwrap();
    chain.snapshot("before").unwrap();
    let (state, clock) = (chain.state().clone(), chain.clock());
    run(&mut chain);
    let gone = chain.head().digest;
    chain.send_external(&Purse::new(1).pay(2, &nobody(1), TON)).unwrap();
    chain.restore("before").unwrap();
    assert_eq!((chain.waiting(), chain.clock()), (0, clock));
    assert!(chain.state().blocks().eq(state.blocks()));
    assert_eq!(chain.state().queue, state.queue);
    assert_eq!(chain.supply(), state.supply);
    chain.set_faults(NetworkFaults::default());
    run(&mut chain);
    assert_eq!(chain.head().digest, gone);
}

#[test]
fn the_file_has_what_was_restored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("chain");
    let mut chain =
        Chain::kept(network(), Clock::Standing { at: START }, Store::open(&file).unwrap()).unwrap();
    run(&mut chain);
    chain.snapshot("early").unwrap();
    chain.advance(1_000).unwrap();
    chain.send_external(&Purse::new(1).pay(2, &nobody(1), TON)).unwrap();
    chain.produce_until_idle(10).unwrap();
    chain.restore("early").unwrap();
    chain.give(&nobody(2), TON).unwrap();
    chain.store = None;
    let kept = Chain::kept(network(), Clock::REAL, Store::open(&file).unwrap()).unwrap();
    assert_same(&chain, &kept);
}

#[test]
fn a_snapshot_takes_the_place_of_the_one_that_had_its_name() {
    let mut chain = chain();
    chain.snapshot("a").unwrap();
    chain.produce().unwrap();
    chain.snapshot("a").unwrap();
    chain.produce().unwrap();
    chain.restore("a").unwrap();
    assert_eq!(chain.head().seqno, 1);
}

#[test]
fn only_so_many_snapshots_are_kept_under_plain_names() {
    let mut chain = chain();
    for number in 0..MOST_SNAPSHOTS {
        chain.snapshot(&number.to_string()).unwrap();
    }
    assert!(matches!(chain.snapshot("more"), Err(ChainError::TooMany("snapshots"))));
    chain.snapshot("0").unwrap();
    for name in ["", "a b", "../x", "ä", &"x".repeat(65)] {
        assert!(matches!(chain.snapshot(name), Err(ChainError::SnapshotName)), "{name}");
    }
    let mut fresh = self::chain();
    fresh.snapshot(&"x".repeat(64)).unwrap();
    fresh.snapshot("A-z_0").unwrap();
    assert!(matches!(chain.restore("never"), Err(ChainError::NoSnapshot)));
}
