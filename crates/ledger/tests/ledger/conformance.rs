//! Every sentence of the table of operations, on both stores.

use cocoon_ledger::{
    Booked, Bound, Estimate, Expired, Extended, Grant, JournalKind, LedgerError, Refusal, ReleaseReason,
    Released, Reserved, Settled,
};
use cocoon_receipts::{BasisPoints, Digest, NanoTon};

use crate::bench::*;
use crate::invariants;

macro_rules! on_both_stores {
    ($($behaviour:ident)*) => {
        mod embedded {
            $(#[tokio::test]
            async fn $behaviour() {
                let bench = super::Bench::embedded().await;
                super::$behaviour(&bench).await;
                super::at_rest(&bench).await;
            })*
        }
        mod redis {
            $(#[tokio::test]
            async fn $behaviour() {
                let bench = super::Bench::redis().await;
                super::$behaviour(&bench).await;
                super::at_rest(&bench).await;
            })*
        }
    };
}

on_both_stores! {
    an_account_never_seen_is_all_zero
    a_deposit_is_booked_once_per_logical_time_and_hash
    a_grant_is_booked_once_per_id_and_apart_from_deposits
    a_balance_that_would_reach_2_to_the_53_is_refused
    sums_beyond_2_to_the_53_are_exact
    a_reserve_takes_its_worst_case_once
    without_a_ceiling_a_quarter_is_held_but_never_less_than_is_useful
    a_refusal_moves_nothing_and_tells_a_low_balance_from_a_held_one
    a_worst_case_beyond_any_balance_is_refused_exactly
    a_request_without_cost_needs_no_balance
    a_hold_belongs_to_its_account
    a_later_attempt_supersedes_the_earlier
    binding_what_is_gone_says_so
    a_checkpoint_renews_the_lease_and_keeps_the_highest_report
    checkpoints_of_others_change_nothing
    a_checkpoint_beyond_the_hold_is_ignored
    a_receipt_turns_its_hold_into_a_charge_exactly_once
    the_operator_has_its_share_and_the_platform_the_remainder
    the_same_receipt_again_charges_nothing
    a_second_receipt_for_a_settled_request_costs_nothing
    a_receipt_of_a_superseded_attempt_costs_nothing_and_leaves_the_hold
    a_receipt_of_another_keyset_costs_nothing_and_leaves_the_hold
    a_receipt_whose_bind_was_lost_is_charged
    a_nonce_is_charged_once
    a_nonce_is_one_accounts_own
    a_receipt_without_a_hold_takes_what_is_available
    a_receipt_after_a_release_is_charged
    a_receipt_older_than_seven_days_is_kept_aside_and_counted
    a_receipt_for_a_request_older_than_seven_days_is_too_old
    a_release_gives_the_hold_back_once
    a_release_before_its_reserve_refuses_it
    a_release_after_a_charge_changes_nothing
    an_unbound_hold_ends_with_its_lease
    a_bound_hold_waits_for_its_receipt_through_the_grace
    an_expired_hold_pays_its_last_checkpoint
    a_checkpoint_of_a_superseded_attempt_is_not_paid
    a_second_expire_does_nothing
    holds_are_swept_oldest_first_and_no_more_than_asked
    a_receipt_after_expiry_that_is_lower_is_refunded
    a_receipt_after_expiry_that_is_higher_takes_no_more_than_is_available
    a_receipt_after_an_expiry_without_checkpoint_is_charged
    a_late_receipt_of_a_superseded_attempt_corrects_nothing
    a_late_receipt_whose_nonce_was_charged_refunds_all
    a_finished_request_cannot_be_reserved_again
    a_request_older_than_seven_days_cannot_be_reserved
    what_was_seen_is_forgotten_after_eight_days
    a_shards_time_never_goes_back
    the_journal_says_what_happened
    the_journal_is_read_in_pages
    a_keyset_is_kept_under_its_digest
    amounts_and_counts_that_no_double_holds_are_refused
}

async fn at_rest(bench: &Bench) {
    let accounts: Vec<_> = accounts().collect();
    invariants::check(bench.ledger.as_ref(), &accounts).await;
}

async fn an_account_never_seen_is_all_zero(bench: &Bench) {
    assert_eq!(bench.account("alice").await, cocoon_ledger::Account::default());
    bench.ledger.ping().await.unwrap();
}

async fn a_deposit_is_booked_once_per_logical_time_and_hash(bench: &Bench) {
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

async fn a_grant_is_booked_once_per_id_and_apart_from_deposits(bench: &Bench) {
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(70) };
    assert_eq!(bench.ledger.grant(&grant).await.unwrap(), Booked::Booked { balance: NanoTon(70) });
    assert_eq!(bench.ledger.grant(&grant).await.unwrap(), Booked::Already);
    let account = bench.account("alice").await;
    assert_eq!((account.deposited.0, account.granted.0), (0, 70));
}

async fn a_balance_that_would_reach_2_to_the_53_is_refused(bench: &Bench) {
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

async fn sums_beyond_2_to_the_53_are_exact(bench: &Bench) {
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

async fn a_reserve_takes_its_worst_case_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 400).await;
    assert_eq!(bench.balance("alice").await, (1000, 400));
    // The same request again, even with another estimate, is the same hold.
    for worst_case in [400, 900] {
        let again = bench.ledger.reserve(&reserve("alice", request, worst_case)).await.unwrap();
        assert_eq!(again, Reserved::Held { amount: NanoTon(400) });
    }
    assert_eq!(bench.balance("alice").await, (1000, 400));
    assert_eq!(bench.account("alice").await.open_holds, 1);
}

async fn without_a_ceiling_a_quarter_is_held_but_never_less_than_is_useful(bench: &Bench) {
    bench.fund("alice", 1003).await;
    let open_ended = async |worst_case, useful| {
        let estimate = Estimate { worst_case: NanoTon(worst_case), useful_minimum: Some(NanoTon(useful)) };
        let asked = cocoon_ledger::Reserve { estimate, ..reserve("alice", bench.request(), 0) };
        bench.ledger.reserve(&asked).await.unwrap()
    };
    let held = |amount| Reserved::Held { amount: NanoTon(amount) };
    assert_eq!(open_ended(9000, 10).await, held(250));
    // 753 are left: a quarter, rounded down.
    assert_eq!(open_ended(9000, 10).await, held(188));
    assert_eq!(open_ended(40, 10).await, held(40));
    assert_eq!(open_ended(9000, 500).await, held(500));
    assert_eq!(open_ended(9000, 26).await, balance_held(26, 25));
    assert_eq!(open_ended(9000, 1004).await, insufficient(1004, 25));
    assert_eq!(open_ended(9000, 25).await, held(25));
}

async fn a_refusal_moves_nothing_and_tells_a_low_balance_from_a_held_one(bench: &Bench) {
    bench.fund("alice", 100).await;
    let refused = bench.request();
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 101)).await.unwrap(), insufficient(101, 100));
    bench.hold("alice", 60).await;
    let before = (bench.account("alice").await, bench.journal("alice").await);
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 41)).await.unwrap(), balance_held(41, 40));
    assert_eq!(bench.ledger.reserve(&reserve("alice", refused, 101)).await.unwrap(), insufficient(101, 40));
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
    // A refused request may come back once there is enough.
    let reserved = bench.ledger.reserve(&reserve("alice", refused, 40)).await.unwrap();
    assert_eq!(reserved, Reserved::Held { amount: NanoTon(40) });
}

async fn a_worst_case_beyond_any_balance_is_refused_exactly(bench: &Bench) {
    bench.fund("alice", (1 << 53) - 1).await;
    for worst_case in [1 << 53, (1 << 53) + 1, u64::MAX] {
        let refused = bench.ledger.reserve(&reserve("alice", bench.request(), worst_case)).await.unwrap();
        assert_eq!(refused, insufficient(worst_case, (1 << 53) - 1));
    }
}

async fn a_request_without_cost_needs_no_balance(bench: &Bench) {
    let request = bench.bound("alice", 0).await;
    assert_eq!(bench.account("alice").await.open_holds, 1);
    assert_eq!(bench.settle(&bench.settlement("alice", request, 0)).await, charged(0));
    assert_eq!(bench.account("alice").await.open_holds, 0);
}

async fn a_hold_belongs_to_its_account(bench: &Bench) {
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
    let released = bench.ledger.release(&name(other), request, ReleaseReason::Rejected).await.unwrap();
    assert_eq!(released, Released::Already);
    assert_eq!(bench.settle(&bench.settlement(other, request, 50)).await, Settled::AtNoCost);
    assert_eq!(bench.account(alice).await, before);
    assert_eq!(bench.balance(other).await, (100, 0));
}

async fn a_later_attempt_supersedes_the_earlier(bench: &Bench) {
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

async fn binding_what_is_gone_says_so(bench: &Bench) {
    bench.fund("alice", 100).await;
    let never = bind("alice", bench.request(), 1, keyset("a"));
    assert_eq!(bench.ledger.bind(&never).await.unwrap(), Bound::Gone);
    let request = bench.bound("alice", 60).await;
    bench.settle(&bench.settlement("alice", request, 10)).await;
    assert_eq!(bench.ledger.bind(&bind("alice", request, 2, keyset("a"))).await.unwrap(), Bound::Gone);
    assert_eq!(bench.ledger.extend(&bench.checkpoint("alice", request, 5)).await.unwrap(), Extended::Gone);
}

async fn a_checkpoint_renews_the_lease_and_keeps_the_highest_report(bench: &Bench) {
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

async fn checkpoints_of_others_change_nothing(bench: &Bench) {
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

async fn a_checkpoint_beyond_the_hold_is_ignored(bench: &Bench) {
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

async fn a_receipt_turns_its_hold_into_a_charge_exactly_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 333)).await, charged(333));
    let account = bench.account("alice").await;
    assert_eq!((account.balance.0, account.held.0, account.charged.0, account.open_holds), (667, 0, 333, 0));
    bench.pass(LEASE + GRACE).await;
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), []);
    assert_eq!(bench.ledger.expire(bench.shard("alice"), request).await.unwrap(), Expired::Gone);
}

async fn the_operator_has_its_share_and_the_platform_the_remainder(bench: &Bench) {
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

async fn the_same_receipt_again_charges_nothing(bench: &Bench) {
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

async fn a_second_receipt_for_a_settled_request_costs_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    bench.settle(&bench.settlement("alice", request, 100)).await;
    let mut second = bench.settlement("alice", request, 200);
    // Not even with a nonce and an attempt of its own.
    second.cn = Digest::of(&[b"another"]);
    second.attempt = 2;
    assert_eq!(bench.settle(&second).await, Settled::AtNoCost);
    assert_eq!(bench.settle(&second).await, Settled::Already { charged: NanoTon(0) });
    assert_eq!(bench.balance("alice").await, (900, 0));
    assert_eq!(bench.journal("alice").await.last().unwrap().kind, JournalKind::NoCost);
}

async fn a_receipt_of_a_superseded_attempt_costs_nothing_and_leaves_the_hold(bench: &Bench) {
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

async fn a_receipt_of_another_keyset_costs_nothing_and_leaves_the_hold(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    let mut other = bench.settlement("alice", request, 100);
    other.keyset = keyset("b");
    assert_eq!(bench.settle(&other).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (1000, 400));
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, charged(100));
}

async fn a_receipt_whose_bind_was_lost_is_charged(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let unbound = bench.hold("alice", 400).await;
    assert_eq!(bench.settle(&bench.settlement("alice", unbound, 100)).await, charged(100));
    let request = bench.bound("alice", 400).await;
    let mut later = bench.settlement("alice", request, 50);
    (later.attempt, later.keyset) = (2, keyset("b"));
    assert_eq!(bench.settle(&later).await, charged(50));
    assert_eq!(bench.balance("alice").await, (850, 0));
}

async fn a_nonce_is_charged_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let first = bench.bound("alice", 100).await;
    let settlement = bench.settlement("alice", first, 80);
    bench.settle(&settlement).await;
    // The client repeated it after midnight, under another request id.
    bench.pass(DAY).await;
    let second = bench.bound("alice", 100).await;
    let mut again = bench.settlement("alice", second, 90);
    again.cn = settlement.cn;
    assert_eq!(bench.settle(&again).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (920, 0), "and the second hold is given back");
    assert_eq!(bench.settle(&again).await, Settled::Already { charged: NanoTon(0) });
}

async fn a_nonce_is_one_accounts_own(bench: &Bench) {
    let mut names = ACCOUNTS.iter().filter(|other| bench.shard(other) == bench.shard("alice"));
    let (alice, other) = (names.next().unwrap(), names.next().expect("two accounts of one shard"));
    let mut nonce = None;
    for account in [alice, other] {
        bench.fund(account, 100).await;
        let request = bench.bound(account, 100).await;
        let mut settlement = bench.settlement(account, request, 80);
        settlement.cn = *nonce.get_or_insert(settlement.cn);
        assert_eq!(bench.settle(&settlement).await, charged(80));
    }
}

async fn a_receipt_without_a_hold_takes_what_is_available(bench: &Bench) {
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

async fn a_receipt_after_a_release_is_charged(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 60).await;
    bench.ledger.release(&name("alice"), request, ReleaseReason::ClientGone).await.unwrap();
    let mut superseded = bench.settlement("alice", request, 60);
    superseded.keyset = keyset("b");
    assert_eq!(bench.settle(&superseded).await, Settled::AtNoCost);
    assert_eq!(bench.settle(&bench.settlement("alice", request, 60)).await, charged(60));
    assert_eq!(bench.settle(&bench.settlement("alice", request, 60)).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (40, 0));
}

async fn a_receipt_older_than_seven_days_is_kept_aside_and_counted(bench: &Bench) {
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

async fn a_receipt_for_a_request_older_than_seven_days_is_too_old(bench: &Bench) {
    // Otherwise an old ticket could be charged again under a new receipt id once its request is forgotten.
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 400).await;
    bench.settle(&bench.settlement("alice", request, 100)).await;
    bench.pass(10 * DAY).await;
    bench.ledger.expired(bench.shard("alice"), 10).await.unwrap();
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, Settled::TooOld);
    assert_eq!(bench.balance("alice").await, (900, 0));
}

async fn a_release_gives_the_hold_back_once(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.hold("alice", 60).await;
    let release =
        async || bench.ledger.release(&name("alice"), request, ReleaseReason::NoBackend).await.unwrap();
    assert_eq!(release().await, Released::Released { amount: NanoTon(60) });
    assert_eq!(bench.balance("alice").await, (100, 0));
    assert_eq!(release().await, Released::Already);
    assert_eq!(bench.balance("alice").await, (100, 0));
}

async fn a_release_before_its_reserve_refuses_it(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.request();
    for _ in 0..2 {
        let released = bench.ledger.release(&name("alice"), request, ReleaseReason::Rejected).await.unwrap();
        assert_eq!(released, Released::Tombstone);
    }
    let reserved = bench.ledger.reserve(&reserve("alice", request, 60)).await.unwrap();
    assert_eq!(reserved, Reserved::Refused(Refusal::Finished));
    assert_eq!(bench.balance("alice").await, (100, 0));
}

async fn a_release_after_a_charge_changes_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 60).await;
    bench.settle(&bench.settlement("alice", request, 50)).await;
    let released = bench.ledger.release(&name("alice"), request, ReleaseReason::Rejected).await.unwrap();
    assert_eq!(released, Released::Already);
    let expired = bench.expired("alice", Some(20)).await;
    let released = bench.ledger.release(&name("alice"), expired, ReleaseReason::Rejected).await.unwrap();
    assert_eq!(released, Released::Already);
    assert_eq!(bench.balance("alice").await, (930, 0));
}

async fn an_unbound_hold_ends_with_its_lease(bench: &Bench) {
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

async fn a_bound_hold_waits_for_its_receipt_through_the_grace(bench: &Bench) {
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 60).await;
    let shard = bench.shard("alice");
    bench.pass(LEASE + GRACE - std::time::Duration::from_millis(1)).await;
    assert_eq!(bench.ledger.expired(shard, 10).await.unwrap(), []);
    assert_eq!(bench.ledger.expire(shard, request).await.unwrap(), Expired::NotYet);
    // The receipt that the outbox redelivered meanwhile is charged as any other.
    assert_eq!(bench.settle(&bench.settlement("alice", request, 55)).await, charged(55));
}

async fn an_expired_hold_pays_its_last_checkpoint(bench: &Bench) {
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

async fn a_checkpoint_of_a_superseded_attempt_is_not_paid(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 600).await;
    bench.ledger.extend(&bench.checkpoint("alice", request, 100)).await.unwrap();
    bench.ledger.bind(&bind("alice", request, 2, keyset("b"))).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    let expired = bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(0) });
}

async fn a_second_expire_does_nothing(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", Some(100)).await;
    let before = (bench.account("alice").await, bench.journal("alice").await);
    assert_eq!(bench.ledger.expire(bench.shard("alice"), request).await.unwrap(), Expired::Gone);
    assert_eq!((bench.account("alice").await, bench.journal("alice").await), before);
    let never = bench.ledger.expire(bench.shard("alice"), bench.request()).await.unwrap();
    assert_eq!(never, Expired::Gone);
}

async fn holds_are_swept_oldest_first_and_no_more_than_asked(bench: &Bench) {
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

async fn a_receipt_after_expiry_that_is_lower_is_refunded(bench: &Bench) {
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

async fn a_receipt_after_expiry_that_is_higher_takes_no_more_than_is_available(bench: &Bench) {
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

async fn a_receipt_after_an_expiry_without_checkpoint_is_charged(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", None).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 300)).await, charged(300));
    assert_eq!(bench.balance("alice").await, (700, 0));
    assert_eq!(bench.accruals("alice", "operator-a").await, (270, 0));
}

async fn a_late_receipt_of_a_superseded_attempt_corrects_nothing(bench: &Bench) {
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

async fn a_late_receipt_whose_nonce_was_charged_refunds_all(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.expired("alice", Some(200)).await;
    let again = bench.bound("alice", 600).await;
    let charge = bench.settlement("alice", again, 250);
    assert_eq!(bench.settle(&charge).await, charged(250));
    let mut late = bench.settlement("alice", request, 220);
    late.cn = charge.cn;
    assert_eq!(bench.settle(&late).await, Settled::AtNoCost);
    assert_eq!(bench.balance("alice").await, (750, 0));
    assert_eq!(bench.accruals("alice", "operator-a").await, (180 + 225, 180));
}

async fn a_finished_request_cannot_be_reserved_again(bench: &Bench) {
    bench.fund("alice", 2000).await;
    let settled = bench.bound("alice", 100).await;
    bench.settle(&bench.settlement("alice", settled, 10)).await;
    let released = bench.hold("alice", 100).await;
    bench.ledger.release(&name("alice"), released, ReleaseReason::NoBackend).await.unwrap();
    let expired = bench.expired("alice", None).await;
    for request in [settled, released, expired] {
        let again = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
        assert_eq!(again, Reserved::Refused(Refusal::Finished));
    }
}

async fn a_request_older_than_seven_days_cannot_be_reserved(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.request();
    bench.pass(7 * DAY + std::time::Duration::from_millis(1)).await;
    let reserved = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
    assert_eq!(reserved, Reserved::Refused(Refusal::Finished));
    let released = bench.ledger.release(&name("alice"), request, ReleaseReason::NoBackend).await.unwrap();
    assert_eq!(released, Released::Already);
}

async fn what_was_seen_is_forgotten_after_eight_days(bench: &Bench) {
    // Visible only by its age: nothing that could ask for it is let through any more.
    bench.fund("alice", 1000).await;
    let request = bench.bound("alice", 100).await;
    let settlement = bench.settlement("alice", request, 10);
    bench.settle(&settlement).await;
    for _ in 0..12 {
        bench.pass(DAY).await;
        bench.ledger.expired(bench.shard("alice"), 10).await.unwrap();
        let again = bench.ledger.reserve(&reserve("alice", request, 100)).await.unwrap();
        assert_eq!(again, Reserved::Refused(Refusal::Finished));
        assert_ne!(bench.settle(&settlement).await, charged(10));
    }
    assert_eq!(bench.balance("alice").await, (990, 0));
}

async fn a_shards_time_never_goes_back(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let request = bench.hold("alice", 100).await;
    bench.pass(LEASE).await;
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), [request]);
    bench.ledger.set_test_time(START_MS - 1_000_000).await.unwrap();
    assert_eq!(bench.ledger.expired(bench.shard("alice"), 10).await.unwrap(), [request]);
    bench.fund("alice", 1).await;
    let times: Vec<u64> = bench.journal("alice").await.iter().map(|entry| entry.at_ms).collect();
    assert_eq!(times, [START_MS, bench.now_ms()]);
}

async fn the_journal_says_what_happened(bench: &Bench) {
    let deposit = bench.deposit("alice", 500);
    bench.ledger.credit(&deposit).await.unwrap();
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(70) };
    bench.ledger.grant(&grant).await.unwrap();
    let request = bench.bound("alice", 400).await;
    let settlement = bench.settlement("alice", request, 333);
    bench.settle(&settlement).await;
    let entries = bench.journal("alice").await;
    let [deposited, granted, charge] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!((deposited.kind, deposited.amount), (JournalKind::Deposit, 500));
    assert_eq!(deposited.cause, format!("{}:{}", deposit.lt, deposit.tx_hash));
    assert_eq!((granted.kind, granted.amount), (JournalKind::Grant, 70));
    assert_eq!(granted.cause, grant.id.to_string());
    assert_eq!((granted.receipt, granted.usage, &granted.operator, &granted.key), (None, None, &None, &None));
    assert_eq!((charge.kind, charge.amount, charge.at_ms), (JournalKind::Charge, -333, START_MS));
    assert_eq!(charge.cause, request.to_string());
    assert_eq!((charge.key.clone(), charge.project.clone()), (Some(settlement.key), settlement.project));
    assert_eq!(
        (charge.model.clone(), charge.operator.clone()),
        (Some(settlement.model), Some(settlement.operator))
    );
    assert_eq!(
        (charge.receipt, charge.receipt_digest),
        (Some(settlement.receipt), Some(settlement.receipt_digest))
    );
    assert_eq!((charge.usage, charge.shortfall.0), (Some(settlement.usage), 0));
    assert_eq!((charge.operator_amount, charge.platform_amount), (299, 34));
}

async fn the_journal_is_read_in_pages(bench: &Bench) {
    for _ in 0..7 {
        bench.fund("alice", 1).await;
    }
    let shard = bench.shard("alice");
    let all = bench.ledger.journal(shard, None, 100).await.unwrap();
    assert_eq!(all.len(), 7);
    let first = bench.ledger.journal(shard, None, 3).await.unwrap();
    let rest = bench.ledger.journal(shard, Some(&first[2].id), 100).await.unwrap();
    assert_eq!([first, rest].concat(), all);
    assert_eq!(bench.ledger.journal(shard, Some(&all[6].id), 100).await.unwrap(), []);
    let nonsense = cocoon_ledger::JournalId("+".to_owned());
    let refused = bench.ledger.journal(shard, Some(&nonsense), 100).await;
    assert!(matches!(refused, Err(LedgerError::Configuration(_))));
}

async fn a_keyset_is_kept_under_its_digest(bench: &Bench) {
    let bytes = b"{\"any\": \0 bytes \xff}";
    let digest = bench.ledger.put_keyset(bytes).await.unwrap();
    assert_eq!(digest, Digest::of(&[bytes]));
    assert_eq!(bench.ledger.put_keyset(bytes).await.unwrap(), digest);
    assert_eq!(bench.ledger.keyset(digest).await.unwrap().as_deref(), Some(&bytes[..]));
    assert_eq!(bench.ledger.keyset(Digest::of(&[b"other"])).await.unwrap(), None);
}

async fn amounts_and_counts_that_no_double_holds_are_refused(bench: &Bench) {
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
