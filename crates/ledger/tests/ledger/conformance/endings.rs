//! Holds that end otherwise, and receipts that come after.

use cocoon_ledger::{Expired, JournalKind, Refusal, Released, Reserved, Settled, Settlement, Tally, Width};
use cocoon_receipts::NanoTon;

use crate::bench::*;
use crate::buckets;

pub(super) async fn a_release_gives_the_hold_back_once(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.hold("alice", 60).await;
    let release = async || bench.ledger.release(&release("alice", request)).await.unwrap();
    assert_eq!(release().await, Released::Released { amount: NanoTon(60) });
    assert_eq!(bench.balance("alice").await, (100, 0));
    assert_eq!(release().await, Released::Already);
    assert_eq!(bench.balance("alice").await, (100, 0));
}

pub(super) async fn a_release_before_its_reserve_refuses_it(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.request();
    for _ in 0..2 {
        let released = bench.ledger.release(&release("alice", request)).await.unwrap();
        assert_eq!(released, Released::Tombstone);
    }
    let reserved = bench.ledger.reserve(&reserve("alice", request, 60)).await.unwrap();
    assert_eq!(reserved, Reserved::Refused(Refusal::Finished));
    assert_eq!(bench.balance("alice").await, (100, 0));
}

pub(super) async fn a_release_after_a_charge_changes_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 60).await;
    bench.settle(&bench.settlement("alice", request, 50)).await;
    let released = bench.ledger.release(&release("alice", request)).await.unwrap();
    assert_eq!(released, Released::Already);
    let expired = bench.expired("alice", Some(20)).await;
    let released = bench.ledger.release(&release("alice", expired)).await.unwrap();
    assert_eq!(released, Released::Already);
    assert_eq!(bench.balance("alice").await, (930, 0));
}

pub(super) async fn an_unbound_hold_ends_with_its_lease(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.hold("alice", 60).await;
    let shard = bench.shard("alice");
    bench.pass(LEASE - std::time::Duration::from_millis(1)).await;
    assert_eq!(bench.ledger.expired(shard, 10).await.unwrap(), []);
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    bench.pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(bench.ledger.expired(shard, 10).await.unwrap(), [request]);
    let expired = bench.ledger.expire(shard, request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(0) });
    assert_eq!(bench.balance("alice").await, (100, 0));
    assert_eq!(bench.ledger.expired(shard, 10).await.unwrap(), []);
}

pub(super) async fn a_bound_hold_waits_for_its_receipt_through_the_grace(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 60).await;
    let shard = bench.shard("alice");
    bench.pass(LEASE + GRACE - std::time::Duration::from_millis(1)).await;
    assert_eq!(bench.ledger.expired(shard, 10).await.unwrap(), []);
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    // The receipt that the outbox redelivered meanwhile is charged as any other.
    assert_eq!(bench.settle(&bench.settlement("alice", request, 55)).await, charged(55));
}

pub(super) async fn an_expired_hold_pays_its_last_checkpoint(bench: &Bench) {
    bench.fund("alice", 1000).await;
    bench.expired("alice", Some(101)).await;
    let account = bench.account("alice").await;
    assert_eq!((account.balance.0, account.held.0, account.charged.0, account.open_holds), (899, 0, 101, 0));
    assert_eq!(bench.accruals("alice", "operator-a").await, (90, 0));
    let entries = bench.journal("alice").await;
    let expiry = entries.last().unwrap();
    assert_eq!((expiry.kind, expiry.amount, expiry.usage), (JournalKind::Expiry, -101, Some(usage(101))));
    assert_eq!((expiry.operator_amount, expiry.platform_amount), (90, 11));
}

pub(super) async fn a_checkpoint_of_a_superseded_attempt_is_not_paid(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    bench.ledger.extend(&bench.checkpoint("alice", request, 100)).await.unwrap();
    bench.ledger.bind(&bind("alice", request, 2, keyset("b"))).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    let expired = bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(0) });
}

pub(super) async fn a_superseded_attempt_leaves_nothing_behind(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    bench.ledger.extend(&bench.checkpoint("alice", request, 100)).await.unwrap();
    bench.ledger.bind(&bind("alice", request, 2, keyset("b"))).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    // The backend of the other attempt is another operator's, and all of its receipt is new.
    let late = Settlement {
        attempt: 2,
        keyset: keyset("b"),
        operator: name("operator-b"),
        ..bench.settlement("alice", request, 70)
    };
    assert_eq!(bench.settle(&late).await, charged(70));
    let entries = bench.journal("alice").await;
    assert_eq!(entries.last().unwrap().usage, Some(usage(70)));
    let (from_ms, to_ms) = (START_MS - DAY_MS, START_MS + DAY_MS);
    let rows = buckets::read(bench.ledger.as_ref(), &name("alice"), Width::Day, from_ms, to_ms).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    let tally = Tally { requests: 1, prompt: 3, cached: 0, completion: 70, reasoning: 1, cost: 70 };
    assert_eq!(row.tally, tally);
}

pub(super) async fn another_operators_late_receipt_corrects_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", Some(100)).await;
    let settlement = |operator| Settlement { operator, ..bench.settlement("alice", request, 70) };
    assert_eq!(bench.settle(&settlement(name("operator-b"))).await, Settled::AtNoCost);
    assert_eq!(bench.settle(&settlement(name("operator-a"))).await, charged(70));
}

pub(super) async fn a_second_expire_does_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", Some(100)).await;
    let before = (bench.account("alice").await, bench.journal("alice").await);
    assert_eq!(bench.ledger.expire(bench.shard("alice"), request).await.unwrap(), Expired::Gone);
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
    let never = bench.ledger.expire(bench.shard("alice"), bench.request()).await.unwrap();
    assert_eq!(never, Expired::Gone);
}

pub(super) async fn holds_are_swept_oldest_first_and_no_more_than_asked(bench: &Bench) {
    bench.fund("alice", 100).await;
    let mut requests = Vec::new();
    for _ in 0..5 {
        requests.push(bench.hold("alice", 10).await);
        bench.pass(std::time::Duration::from_secs(1)).await;
    }
    bench.pass(LEASE).await;
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 3).await.unwrap(), requests[..3]);
    for request in &requests[..3] {
        bench.ledger.expire(bench.shard("alice"), *request).await.unwrap();
    }
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 3).await.unwrap(), requests[3..]);
}

pub(super) async fn a_receipt_after_expiry_that_is_lower_is_refunded(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", Some(200)).await;
    let receipt = bench.settlement("alice", request, 150);
    assert_eq!(bench.settle(&receipt).await, charged(150));
    let account = bench.account("alice").await;
    assert_eq!((account.balance.0, account.charged.0, account.shortfall.0), (850, 150, 0));
    // Counters only grow: what was too much is reversed, not taken away.
    assert_eq!(bench.accruals("alice", "operator-a").await, (180, 45));
    let entries = bench.journal("alice").await;
    let correction = entries.last().unwrap();
    assert_eq!((correction.kind, correction.amount), (JournalKind::Correction, 50));
    assert_eq!((correction.operator_amount, correction.platform_amount), (-45, -5));
    assert_eq!(bench.settle(&receipt).await, Settled::Already { charged: NanoTon(150) });
    assert_eq!(
        bench.settle(&bench.settlement("alice", request, 10)).await,
        Settled::AtNoCost,
        "corrected once"
    );
}

pub(super) async fn a_receipt_after_expiry_that_is_higher_takes_no_more_than_is_available(bench: &Bench) {
    bench.fund("alice", 700).await;
    let request = bench.expired("alice", Some(200)).await;
    bench.hold("alice", 460).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 300)).await, short(240, 60));
    let account = bench.account("alice").await;
    assert_eq!(
        (account.balance.0, account.held.0, account.charged.0, account.shortfall.0),
        (460, 460, 240, 60)
    );
    assert_eq!(bench.accruals("alice", "operator-a").await, (270, 0));
    let entries = bench.journal("alice").await;
    let correction = entries.last().unwrap();
    assert_eq!((correction.amount, correction.shortfall.0), (-40, 60));
    assert_eq!((correction.operator_amount, correction.platform_amount), (90, 10));
}

pub(super) async fn a_receipt_after_an_expiry_without_checkpoint_is_charged(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", None).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 300)).await, charged(300));
    assert_eq!(bench.balance("alice").await, (700, 0));
    assert_eq!(bench.accruals("alice", "operator-a").await, (270, 0));
}

pub(super) async fn a_late_receipt_of_a_superseded_attempt_corrects_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    bench.ledger.bind(&bind("alice", request, 2, keyset("b"))).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    assert_eq!(bench.settle(&bench.settlement("alice", request, 300)).await, Settled::AtNoCost);
    let mut other = bench.settlement("alice", request, 300);
    other.attempt = 2;
    assert_eq!(bench.settle(&other).await, Settled::AtNoCost, "attempt 2 was another keyset's");
    assert_eq!(bench.balance("alice").await, (1000, 0));
}
