//! Reserve, bind and extend.

use std::time::Duration;

use cocoon_ledger::{
    Bound, Checkpoint, Estimate, Expired, Extended, Refusal, Released, Reserve, Reserved, Settled, Whose,
};
use cocoon_receipts::NanoTon;

use crate::bench::*;

pub(super) async fn a_reserve_takes_its_worst_case_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 400).await;
    assert_eq!(bench.balance("alice").await, (1000, 400));
    // The same request again, even with another estimate, is the same hold.
    for worst_case in [400, 900] {
        let again = bench.ledger.reserve(&reserve("alice", request, worst_case)).await.unwrap();
        assert_eq!(again, held(400));
    }
    assert_eq!(bench.balance("alice").await, (1000, 400));
    assert_eq!(bench.account("alice").await.open_holds, 1);
}

pub(super) async fn without_a_ceiling_a_quarter_is_held_but_never_less_than_is_useful(bench: &Bench) {
    bench.fund("alice", 1003).await;
    let open_ended = async |worst_case, useful| {
        let estimate =
            Estimate { worst_case: NanoTon(worst_case), useful_minimum: Some(NanoTon(useful)), tokens: 0 };
        let asked = cocoon_ledger::Reserve { estimate, ..reserve("alice", bench.request(), 0) };
        bench.ledger.reserve(&asked).await.unwrap()
    };
    assert_eq!(open_ended(9000, 10).await, held(250));
    // 753 are left: a quarter, rounded down.
    assert_eq!(open_ended(9000, 10).await, held(188));
    assert_eq!(open_ended(40, 10).await, held(40));
    assert_eq!(open_ended(9000, 500).await, held(500));
    assert_eq!(open_ended(9000, 26).await, balance_held(26, 25));
    assert_eq!(open_ended(9000, 1004).await, insufficient(1004, 25));
    assert_eq!(open_ended(9000, 25).await, held(25));
}

pub(super) async fn a_refusal_moves_nothing_and_tells_a_low_balance_from_a_held_one(bench: &Bench) {
    bench.fund("alice", 100).await;
    let refused = bench.request();
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 101)).await.unwrap(), insufficient(101, 100));
    bench.hold("alice", 60).await;
    let before = (bench.account("alice").await, bench.journal("alice").await);
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 41)).await.unwrap(), balance_held(41, 40));
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 100)).await.unwrap(), balance_held(100, 40));
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 101)).await.unwrap(), insufficient(101, 40));
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
    // A refused request may come back once there is enough.
    let reserved = bench.ledger.reserve(&reserve("alice", refused, 40)).await.unwrap();
    assert_eq!(reserved, held(40));
}

pub(super) async fn a_worst_case_beyond_any_balance_is_refused_exactly(bench: &Bench) {
    bench.fund("alice", (1 << 53) - 1).await;
    for worst_case in [1 << 53, (1 << 53) + 1, u64::MAX] {
        let refused = bench.ledger.reserve(&reserve("alice", bench.request(), worst_case)).await.unwrap();
        assert_eq!(refused, insufficient(worst_case, (1 << 53) - 1));
    }
}

pub(super) async fn a_request_without_cost_needs_no_balance(bench: &Bench) {
    let request = bench.bound("alice", 0).await;
    assert_eq!(bench.account("alice").await.open_holds, 1);
    assert_eq!(bench.settle(&bench.settlement("alice", request, 0)).await, charged(0));
    assert_eq!(bench.account("alice").await.open_holds, 0);
}

pub(super) async fn a_hold_belongs_to_its_account(bench: &Bench) {
    let mut names = ACCOUNTS.iter().filter(|other| bench.shard(other) == bench.shard("alice"));
    let (alice, other) = (names.next().unwrap(), names.next().expect("two accounts of one shard"));
    bench.fund(alice, 100).await;
    bench.fund(other, 100).await;
    let request = bench.bound(alice, 60).await;
    let before = bench.account(alice).await;
    let reserved = bench.ledger.reserve(&reserve(other, request, 60)).await.unwrap();
    assert_eq!(reserved, Reserved::Refused(Refusal::Finished));
    assert_eq!(bench.ledger.bind(&bind(other, request, 2, keyset("b"))).await.unwrap(), Bound::Gone);
    assert_eq!(bench.ledger.extend(&bench.checkpoint(other, request, 5)).await.unwrap(), Extended::Gone);
    let released = bench.ledger.release(&release(other, request)).await.unwrap();
    assert_eq!(released, Released::Already);
    assert_eq!(bench.settle(&bench.settlement(other, request, 50)).await, Settled::AtNoCost);
    assert_eq!(bench.account(alice).await, before);
    assert_eq!(bench.balance(other).await, (100, 0));
    // Nor does what is remembered of it.
    let gone = bench.request();
    for (account, released) in
        [(alice, Released::Tombstone), (other, Released::Already), (alice, Released::Tombstone)]
    {
        assert_eq!(bench.ledger.release(&release(account, gone)).await.unwrap(), released);
    }
    assert_eq!(bench.settle(&bench.settlement(other, gone, 50)).await, Settled::AtNoCost);
}

pub(super) async fn a_later_attempt_supersedes_the_earlier(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.hold("alice", 60).await;
    let of = |attempt, of| bind("alice", request, attempt, keyset(of));
    assert_eq!(bench.ledger.bind(&of(1, "a")).await.unwrap(), Bound::Bound);
    assert_eq!(bench.ledger.bind(&of(1, "a")).await.unwrap(), Bound::Bound);
    assert_eq!(bench.ledger.bind(&of(1, "b")).await.unwrap(), Bound::Superseded);
    assert_eq!(bench.ledger.bind(&of(3, "b")).await.unwrap(), Bound::Bound);
    assert_eq!(bench.ledger.bind(&of(1, "a")).await.unwrap(), Bound::Superseded);
    assert_eq!(bench.ledger.bind(&of(2, "a")).await.unwrap(), Bound::Superseded);
    assert_eq!(bench.ledger.bind(&of(3, "b")).await.unwrap(), Bound::Bound);
}

pub(super) async fn binding_what_is_gone_says_so(bench: &Bench) {
    bench.fund("alice", 100).await;
    let never = bind("alice", bench.request(), 1, keyset("a"));
    assert_eq!(bench.ledger.bind(&never).await.unwrap(), Bound::Gone);
    let request = bench.bound("alice", 60).await;
    bench.settle(&bench.settlement("alice", request, 10)).await;
    assert_eq!(bench.ledger.bind(&bind("alice", request, 2, keyset("a"))).await.unwrap(), Bound::Gone);
    assert_eq!(bench.ledger.extend(&bench.checkpoint("alice", request, 5)).await.unwrap(), Extended::Gone);
}

pub(super) async fn a_checkpoint_renews_the_lease_and_keeps_the_highest_report(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    let shard = bench.shard("alice");
    for cost in [10, 40] {
        bench.pass(LEASE / 2).await;
        assert_eq!(
            bench.ledger.extend(&bench.checkpoint("alice", request, cost)).await.unwrap(),
            Extended::Extended
        );
    }
    // The report before it, delivered late.
    assert_eq!(
        bench.ledger.extend(&bench.checkpoint("alice", request, 10)).await.unwrap(),
        Extended::Ignored
    );
    bench.pass(LEASE / 2 + GRACE).await;
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    bench.pass(LEASE / 2).await;
    let expired = bench.ledger.expire(shard, request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(40) });
}

pub(super) async fn a_shorter_lease_takes_nothing_back(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 600).await;
    bench.pass(LEASE / 2).await;
    bench.ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
    let shorter = Checkpoint { lease: LEASE / 3, ..bench.checkpoint("alice", request, 10) };
    assert_eq!(bench.ledger.extend(&shorter).await.unwrap(), Extended::Extended);
    let running = async || bench.ledger.standing(&name("alice"), &Whose::Account).await.unwrap().running;
    bench.pass(LEASE - MILLISECOND).await;
    assert_eq!(running().await, 1);
    bench.pass(MILLISECOND).await;
    assert_eq!(running().await, 0);
    bench.pass(GRACE - MILLISECOND).await;
    let shard = bench.shard("alice");
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    assert_eq!(bench.ledger.expired(shard, 1).await.unwrap(), []);
    bench.pass(MILLISECOND).await;
    assert_eq!(bench.ledger.expired(shard, 1).await.unwrap(), [request]);
}

pub(super) async fn a_report_that_shrinks_in_cost_or_tokens_is_ignored(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    let report =
        |cost, tokens| Checkpoint { usage: usage(tokens), ..bench.checkpoint("alice", request, cost) };
    for (cost, tokens, extended) in [
        (50, 20, Extended::Extended),
        (50, 20, Extended::Extended),
        (50, 19, Extended::Ignored),
        (49, 20, Extended::Ignored),
        (600, 20, Extended::Extended),
    ] {
        let said = bench.ledger.extend(&report(cost, tokens)).await.unwrap();
        assert_eq!(said, extended, "{cost} for {tokens}");
    }
}

pub(super) async fn no_lease_is_longer_than_a_year(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.request();
    let endless = Reserve { lease: Duration::MAX, ..reserve("alice", request, 10) };
    assert_eq!(bench.ledger.reserve(&endless).await.unwrap(), held(10));
    bench.pass(365 * DAY - MILLISECOND).await;
    let shard = bench.shard("alice");
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    bench.pass(MILLISECOND).await;
    let expired = bench.ledger.expire(shard, request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(0) });
}

pub(super) async fn checkpoints_of_others_change_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 600).await;
    let checkpoint = bench.checkpoint("alice", request, 100);
    assert_eq!(bench.ledger.extend(&checkpoint).await.unwrap(), Extended::Ignored, "of an unbound hold");
    bench.ledger.bind(&bind("alice", request, 2, keyset("a"))).await.unwrap();
    assert_eq!(bench.ledger.extend(&checkpoint).await.unwrap(), Extended::Ignored, "of a superseded attempt");
    let other = cocoon_ledger::Checkpoint { attempt: 2, keyset: keyset("b"), ..checkpoint };
    assert_eq!(bench.ledger.extend(&other).await.unwrap(), Extended::Ignored, "of another keyset");
    bench.pass(LEASE + GRACE).await;
    let expired = bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(0) });
}

pub(super) async fn a_checkpoint_beyond_the_hold_is_ignored(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    assert_eq!(
        bench.ledger.extend(&bench.checkpoint("alice", request, 601)).await.unwrap(),
        Extended::Ignored
    );
    assert_eq!(
        bench.ledger.extend(&bench.checkpoint("alice", request, 600)).await.unwrap(),
        Extended::Extended
    );
}

pub(super) async fn a_finished_request_cannot_be_reserved_again(bench: &Bench) {
    bench.fund("alice", 2000).await;
    let settled = bench.bound("alice", 100).await;
    bench.settle(&bench.settlement("alice", settled, 10)).await;
    let released = bench.hold("alice", 100).await;
    bench.ledger.release(&release("alice", released)).await.unwrap();
    let expired = bench.expired("alice", None).await;
    for request in [settled, released, expired] {
        let again = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
        assert_eq!(again, Reserved::Refused(Refusal::Finished));
    }
}

pub(super) async fn a_request_older_than_seven_days_cannot_be_reserved(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.request();
    bench.pass(7 * DAY + std::time::Duration::from_millis(1)).await;
    let reserved = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
    assert_eq!(reserved, Reserved::Refused(Refusal::Finished));
    let released = bench.ledger.release(&release("alice", request)).await.unwrap();
    assert_eq!(released, Released::Already);
}
