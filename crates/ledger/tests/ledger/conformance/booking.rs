//! Money that comes in, and how large a number may get.

use cocoon_ledger::{ADDRESS_DELAY, Booked, Grant, LedgerError, Withdrawal, WithdrawalEnded};
use cocoon_receipts::{AccountId, NanoTon};

use crate::bench::*;

pub(super) async fn a_deposit_is_booked_once_per_logical_time_and_hash(bench: &Bench) {
    let deposit = bench.deposit("alice", 500);
    let booked = bench.ledger.credit(&deposit).await.unwrap();
    assert_eq!(booked, Booked::Booked { balance: NanoTon(500) });
    assert_eq!(bench.ledger.credit(&deposit).await.unwrap(), Booked::Already);
    // The same transaction hash at another logical time is another deposit.
    let other = bench.deposit("alice", 30);
    assert_eq!(bench.ledger.credit(&other).await.unwrap(), Booked::Booked { balance: NanoTon(530) });
    let account = bench.account("alice").await;
    assert_eq!((account.deposited.0, account.granted.0), (530, 0));
}

pub(super) async fn a_grant_is_booked_once_per_id_and_apart_from_deposits(bench: &Bench) {
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(70) };
    assert_eq!(bench.ledger.grant(&grant).await.unwrap(), Booked::Booked { balance: NanoTon(70) });
    assert_eq!(bench.ledger.grant(&grant).await.unwrap(), Booked::Already);
    let account = bench.account("alice").await;
    assert_eq!((account.deposited.0, account.granted.0), (0, 70));
}

pub(super) async fn a_balance_that_would_reach_2_to_the_53_is_refused(bench: &Bench) {
    bench.fund("alice", (1 << 53) - 2).await;
    let one_too_many = bench.deposit("alice", 2);
    assert!(matches!(bench.ledger.credit(&one_too_many).await, Err(LedgerError::Overflow)));
    bench.fund("alice", 1).await;
    let request = bench.bound("alice", (1 << 53) - 1).await;
    assert_eq!(
        bench.settle(&bench.settlement("alice", request, (1 << 53) - 1)).await,
        charged((1 << 53) - 1)
    );
    assert_eq!(bench.balance("alice").await, (0, 0));
    // What was refused left no trace, so it can be booked now.
    let booked = bench.ledger.credit(&one_too_many).await.unwrap();
    assert_eq!(booked, Booked::Booked { balance: NanoTon(2) });
}

pub(super) async fn what_would_bring_a_balance_back_to_2_to_the_53_is_refused(bench: &Bench) {
    let most = (1 << 53) - 1;
    let alice: AccountId = name("alice");
    bench.fund("alice", 1000).await;
    bench.ledger.set_payout_address(&alice, &name(ADDRESSES[0])).await.unwrap();
    bench.pass(ADDRESS_DELAY).await;
    let request = bench.expired("alice", Some(10)).await;
    let withdrawal = Withdrawal { account: alice, intent: bench.request(), amount: NanoTon(10) };
    bench.ledger.withdraw_begin(&withdrawal).await.unwrap();
    bench.fund("alice", most - 980).await;
    let (refund, intent) = (bench.settlement("alice", request, 0), withdrawal.intent);
    let undo = async || bench.ledger.withdraw_undo(&withdrawal.account, intent).await;
    assert!(matches!(bench.ledger.settle(&refund).await, Err(LedgerError::Overflow)));
    assert!(matches!(undo().await, Err(LedgerError::Overflow)));
    assert_eq!(bench.balance("alice").await, (most, 0));
    let room = bench.bound("alice", 20).await;
    assert_eq!(bench.settle(&bench.settlement("alice", room, 20)).await, charged(20));
    assert_eq!(bench.settle(&refund).await, charged(0));
    assert_eq!(undo().await.unwrap(), WithdrawalEnded::Ended);
    assert_eq!(bench.balance("alice").await, (most, 0));
}

pub(super) async fn sums_beyond_2_to_the_53_are_exact(bench: &Bench) {
    // An odd amount, so that a sum that went through a double shows.
    let most = (1 << 53) - 1;
    for _ in 0..5 {
        bench.fund("alice", most).await;
        let request = bench.bound("alice", most).await;
        assert_eq!(bench.settle(&bench.settlement("alice", request, most)).await, charged(most));
    }
    let account = bench.account("alice").await;
    assert_eq!((account.deposited.0, account.charged.0, account.balance.0), (5 * most, 5 * most, 0));
    let totals = bench.ledger.totals(bench.shard("alice")).await.unwrap();
    let share = most * 9 / 10;
    assert_eq!((totals.deposits.0, totals.charges.0), (5 * most, 5 * most));
    assert_eq!(totals.operators[0].accrued.0, 5 * share);
    assert_eq!(totals.platform, i128::from(5 * (most - share)));
}

pub(super) async fn amounts_and_counts_that_no_double_holds_are_refused(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 10).await;
    let dear = bench.settlement("alice", request, 1 << 53);
    assert!(matches!(bench.ledger.settle(&dear).await, Err(LedgerError::Overflow)));
    let mut long = bench.settlement("alice", request, 10);
    long.usage.reasoning = u64::MAX;
    assert!(matches!(bench.ledger.settle(&long).await, Err(LedgerError::Overflow)));
    let deposit = bench.deposit("alice", u64::MAX);
    assert!(matches!(bench.ledger.credit(&deposit).await, Err(LedgerError::Overflow)));
    assert_eq!(bench.balance("alice").await, (100, 10));
}
