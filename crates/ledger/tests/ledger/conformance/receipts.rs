//! Settle: from a receipt to a charge.

use cocoon_ledger::{Expired, JournalKind, Refusal, Reserved, Settled, Settlement};
use cocoon_receipts::{BasisPoints, NanoTon};

use crate::bench::*;

pub(super) async fn a_receipt_turns_its_hold_into_a_charge_exactly_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 333)).await, charged(333));
    let account = bench.account("alice").await;
    assert_eq!((account.balance.0, account.held.0, account.charged.0, account.open_holds), (667, 0, 333, 0));
    bench.pass(LEASE + GRACE).await;
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), []);
    assert_eq!(bench.ledger.expire(bench.shard("alice"), request).await.unwrap(), Expired::Gone);
}

pub(super) async fn the_operator_has_its_share_and_the_platform_the_remainder(bench: &Bench) {
    bench.fund("alice", 1000).await;
    for (cost, share, operator) in [(333, 9000, 299), (1, 9999, 0), (100, 10_000, 100), (100, 0, 0)] {
        let (accrued, _) = bench.accruals("alice", "operator-a").await;
        let before = bench.ledger.totals(bench.shard("alice")).await.unwrap().platform;
        let request = bench.bound("alice", 400).await;
        let mut settlement = bench.settlement("alice", request, cost);
        settlement.operator_share = BasisPoints::new(share).unwrap();
        assert_eq!(bench.settle(&settlement).await, charged(cost));
        assert_eq!(bench.accruals("alice", "operator-a").await, (accrued + operator, 0));
        let after = bench.ledger.totals(bench.shard("alice")).await.unwrap().platform;
        assert_eq!(after - before, i128::from(cost - operator));
    }
}

pub(super) async fn the_same_receipt_again_charges_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    let settlement = bench.settlement("alice", request, 333);
    assert_eq!(bench.settle(&settlement).await, charged(333));
    let before = (bench.account("alice").await, bench.journal("alice").await);
    for _ in 0..3 {
        bench.pass(DAY).await;
        assert_eq!(bench.settle(&settlement).await, Settled::Already { charged: NanoTon(333) });
    }
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
}

pub(super) async fn a_second_receipt_for_a_settled_request_costs_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    bench.settle(&bench.settlement("alice", request, 100)).await;
    let mut second = bench.settlement("alice", request, 200);
    // Not even with an attempt of its own.
    second.attempt = 2;
    assert_eq!(bench.settle(&second).await, Settled::AtNoCost);
    assert_eq!(bench.settle(&second).await, Settled::Already { charged: NanoTon(0) });
    assert_eq!(bench.balance("alice").await, (900, 0));
    assert_eq!(bench.journal("alice").await.last().unwrap().kind, JournalKind::NoCost);
}

pub(super) async fn a_receipt_of_a_superseded_attempt_costs_nothing_and_leaves_the_hold(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    bench.ledger.bind(&bind("alice", request, 2, keyset("b"))).await.unwrap();
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (1000, 400));
    assert_eq!(bench.accruals("alice", "operator-a").await, (0, 0));
    let mut second = bench.settlement("alice", request, 150);
    (second.attempt, second.keyset, second.operator) = (2, keyset("b"), name("operator-b"));
    assert_eq!(bench.settle(&second).await, charged(150));
    assert_eq!(bench.balance("alice").await, (850, 0));
}

pub(super) async fn a_receipt_of_another_keyset_costs_nothing_and_leaves_the_hold(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    let mut other = bench.settlement("alice", request, 100);
    other.keyset = keyset("b");
    assert_eq!(bench.settle(&other).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (1000, 400));
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, charged(100));
}

pub(super) async fn a_receipt_whose_bind_was_lost_is_charged(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let unbound = bench.hold("alice", 400).await;
    assert_eq!(bench.settle(&bench.settlement("alice", unbound, 100)).await, charged(100));
    let request = bench.bound("alice", 400).await;
    let mut later = bench.settlement("alice", request, 50);
    (later.attempt, later.keyset) = (2, keyset("b"));
    assert_eq!(bench.settle(&later).await, charged(50));
    assert_eq!(bench.balance("alice").await, (850, 0));
}

pub(super) async fn every_request_is_charged_on_its_own(bench: &Bench) {
    // What a client chooses must not make a request free: only the ids, which are not its own, tell these apart.
    bench.fund("alice", 1000).await;
    let first = bench.bound("alice", 100).await;
    let settlement = bench.settlement("alice", first, 80);
    assert_eq!(bench.settle(&settlement).await, charged(80));
    let request = bench.bound("alice", 100).await;
    let receipt = bench.receipt();
    assert_eq!(bench.settle(&Settlement { request, receipt, ..settlement }).await, charged(80));
    assert_eq!(bench.balance("alice").await, (840, 0));
    assert_eq!(bench.accruals("alice", "operator-a").await, (144, 0));
}

pub(super) async fn a_receipt_without_a_hold_takes_what_is_available(bench: &Bench) {
    bench.fund("alice", 100).await;
    bench.hold("alice", 30).await;
    let settlement = bench.settlement("alice", bench.request(), 110);
    assert_eq!(bench.settle(&settlement).await, short(70, 40));
    assert_eq!(bench.balance("alice").await, (30, 30), "what others hold is not touched");
    // The operator worked for all of it.
    assert_eq!(bench.accruals("alice", "operator-a").await, (99, 0));
    assert_eq!(bench.settle(&settlement).await, Settled::Already { charged: NanoTon(70) });
    assert_eq!(bench.account("alice").await.shortfall.0, 40);
    let late = bench.ledger.reserve(&reserve("alice", settlement.request, 0)).await.unwrap();
    assert_eq!(late, Reserved::Refused(Refusal::Finished));
}

pub(super) async fn a_receipt_after_a_release_is_charged(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 60).await;
    bench.ledger.release(&release("alice", request)).await.unwrap();
    let mut superseded = bench.settlement("alice", request, 60);
    superseded.keyset = keyset("b");
    assert_eq!(bench.settle(&superseded).await, Settled::AtNoCost);
    assert_eq!(bench.settle(&bench.settlement("alice", request, 60)).await, charged(60));
    assert_eq!(bench.settle(&bench.settlement("alice", request, 60)).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (40, 0));
}

pub(super) async fn a_receipt_older_than_seven_days_is_kept_aside_and_counted(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    let settlement = bench.settlement("alice", request, 100);
    let in_time = bench.settlement("alice", bench.request(), 50);
    bench.pass(7 * DAY).await;
    assert_eq!(bench.settle(&in_time).await, charged(50));
    bench.pass(std::time::Duration::from_millis(1)).await;
    let before = (bench.account("alice").await, bench.journal("alice").await);
    for _ in 0..2 {
        assert_eq!(bench.settle(&settlement).await, Settled::TooOld);
    }
    let totals = bench.ledger.totals(bench.shard("alice")).await.unwrap();
    assert_eq!(totals.too_old, 1, "one receipt, however often it is delivered");
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
}

pub(super) async fn a_receipt_for_a_request_older_than_seven_days_is_too_old(bench: &Bench) {
    // Otherwise an old ticket could be charged again under a new receipt id once its request is forgotten.
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    bench.settle(&bench.settlement("alice", request, 100)).await;
    bench.pass(10 * DAY).await;
    bench.ledger.expired(bench.shard("alice"), 10).await.unwrap();
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, Settled::TooOld);
    assert_eq!(bench.balance("alice").await, (900, 0));
}
