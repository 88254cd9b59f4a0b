//! What pays out of the ledger: decisions, the lease, and what is to be paid.

use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::{
    ADDRESS_DELAY, Appending, Lease, LedgerError, MAX_APPENDED, MAX_DECISION_BYTES, MAX_DECISIONS,
    MAX_DECISIONS_BYTES, MAX_OPEN_WITHDRAWALS, OpenWithdrawal, Withdrawal, WithdrawalBegun,
};
use cocoon_receipts::{NanoTon, RequestId};
use tokio::task::JoinSet;

use crate::bench::*;

fn texts(records: &[&str]) -> Vec<String> {
    records.iter().map(|record| (*record).to_owned()).collect()
}

async fn append(bench: &Bench, after: u64, records: &[&str]) -> Appending {
    bench.ledger.append_decisions(after, &texts(records)).await.unwrap()
}

async fn decisions(bench: &Bench) -> Vec<String> {
    bench.ledger.decisions(0, MAX_DECISIONS).await.unwrap()
}

fn appended(count: u64) -> Appending {
    Appending::Appended { count }
}

fn moved(count: u64) -> Appending {
    Appending::Moved { count }
}

pub(super) async fn decisions_are_appended_where_the_log_ends_and_nowhere_else(bench: &Bench) {
    assert_eq!(decisions(bench).await, texts(&[]));
    assert_eq!(append(bench, 1, &["too far"]).await, moved(0));
    assert_eq!(append(bench, 0, &["first", "a \"second\" | of\nany\0 text ü"]).await, appended(2));
    for after in [0, 1, 3, (1 << 53) - 1] {
        assert_eq!(append(bench, after, &["of another place"]).await, moved(2));
    }
    assert_eq!(append(bench, 2, &["third"]).await, appended(3));
    assert_eq!(decisions(bench).await, texts(&["first", "a \"second\" | of\nany\0 text ü", "third"]));
    // Nothing of it is in the books.
    for account in ACCOUNTS {
        assert!(bench.journal(account).await.is_empty());
    }
}

pub(super) async fn an_append_that_is_repeated_is_answered_as_before_while_it_is_the_last(bench: &Bench) {
    assert_eq!(append(bench, 0, &["first"]).await, appended(1));
    for _ in 0..3 {
        assert_eq!(append(bench, 1, &["second", "third"]).await, appended(3));
    }
    // Others at that place, in another order, one too few and one too many.
    for other in [&["second", "other"][..], &["third", "second"], &["second"], &["second", "third", "fourth"]]
    {
        assert_eq!(append(bench, 1, other).await, moved(3), "{other:?}");
    }
    assert_eq!(append(bench, 2, &["third"]).await, appended(3), "the last of them alone");
    assert_eq!(append(bench, 2, &["Third"]).await, moved(3));
    assert_eq!(append(bench, 3, &["fourth"]).await, appended(4));
    assert_eq!(append(bench, 1, &["second", "third"]).await, moved(4), "another may have taken it back");
    assert_eq!(decisions(bench).await, texts(&["first", "second", "third", "fourth"]));
}

pub(super) async fn an_append_of_nothing_tells_whether_the_log_has_grown(bench: &Bench) {
    assert_eq!(append(bench, 0, &[]).await, appended(0));
    assert_eq!(append(bench, 0, &["first"]).await, appended(1));
    assert_eq!(append(bench, 1, &[]).await, appended(1));
    for after in [0, 2] {
        assert_eq!(append(bench, after, &[]).await, moved(1));
    }
    assert_eq!(decisions(bench).await, texts(&["first"]));
}

pub(super) async fn what_is_empty_or_too_much_is_not_appended(bench: &Bench) {
    let longest = "x".repeat(MAX_DECISION_BYTES);
    let of = |count: usize, record: &str| vec![record.to_owned(); count];
    let too_much = [
        (0, of(1, &format!("{longest}x"))),
        (0, of(MAX_APPENDED + 1, "x")),
        (0, of(17, &longest)),
        (1 << 53, of(1, "x")),
        (u64::MAX, of(1, "x")),
    ];
    for (after, records) in too_much {
        let refused = bench.ledger.append_decisions(after, &records).await;
        assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    }
    for records in [&[""][..], &["first", ""]] {
        let refused = bench.ledger.append_decisions(0, &texts(records)).await;
        assert!(matches!(refused, Err(LedgerError::Configuration(_))), "{refused:?}");
    }
    for after in [1 << 53, u64::MAX] {
        let refused = bench.ledger.decisions(after, 1).await;
        assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    }
    assert_eq!(decisions(bench).await, texts(&[]));
    for _ in 0..2 {
        assert_eq!(bench.ledger.append_decisions(0, &of(16, &longest)).await.unwrap(), appended(16));
    }
    assert_eq!(bench.ledger.append_decisions(16, &of(MAX_APPENDED, "x")).await.unwrap(), appended(80));
}

pub(super) async fn decisions_are_read_in_pages_that_are_bounded(bench: &Bench) {
    let ledger = bench.ledger.as_ref();
    let all: Vec<String> = (1..=1024).map(|number| format!("decision {number}")).collect();
    for (page, records) in (0..).zip(all.chunks(MAX_APPENDED)) {
        let after = page * MAX_APPENDED as u64;
        let count = after + records.len() as u64;
        assert_eq!(ledger.append_decisions(after, records).await.unwrap(), appended(count));
    }
    assert_eq!(ledger.decisions(0, u32::MAX).await.unwrap(), all[..1000]);
    assert_eq!(ledger.decisions(1000, u32::MAX).await.unwrap(), all[1000..]);
    for (after, limit) in [(0, 1), (0, 100), (500, 32), (500, 33), (1023, 2), (0, 0)] {
        let end = all.len().min(after + limit);
        let found = ledger.decisions(after as u64, u32::try_from(limit).unwrap()).await.unwrap();
        assert_eq!(found, all[after..end], "{limit} after {after}");
    }
    for after in [1024, 1025, (1 << 53) - 1] {
        assert_eq!(ledger.decisions(after, 10).await.unwrap(), texts(&[]));
    }
    // As many bytes as one answer may have, and a record more.
    let longest = vec!["x".repeat(MAX_DECISION_BYTES); 13];
    for part in 0..5 {
        ledger.append_decisions(1024 + 13 * part, &longest).await.unwrap();
    }
    let found = ledger.decisions(1024, 1000).await.unwrap();
    assert_eq!(found.iter().map(String::len).sum::<usize>(), MAX_DECISIONS_BYTES);
    assert_eq!(ledger.decisions(1024 + found.len() as u64, 1000).await.unwrap().len(), 1);
    assert_eq!(ledger.decisions(1023, 1000).await.unwrap().len(), 64, "the short one takes a place");
}

async fn hold(bench: &Bench, holder: &str, lasts: Duration) -> Lease {
    bench.ledger.hold_lease(holder, lasts).await.unwrap()
}

fn lease(bench: &Bench, holder: &str, left: Duration) -> Lease {
    let now_ms = bench.now_ms();
    let left_ms = u64::try_from(left.as_millis()).unwrap();
    Lease { holder: holder.to_owned(), until_ms: now_ms + left_ms, now_ms }
}

pub(super) async fn the_lease_has_one_holder_until_it_is_over(bench: &Bench) {
    const MINUTE: Duration = Duration::from_secs(60);

    assert_eq!(hold(bench, "first", MINUTE).await, lease(bench, "first", MINUTE));
    assert_eq!(hold(bench, "second", 2 * MINUTE).await, lease(bench, "first", MINUTE));
    bench.pass(MINUTE / 2).await;
    assert_eq!(hold(bench, "second", MINUTE).await, lease(bench, "first", MINUTE / 2));
    assert_eq!(hold(bench, "first", MINUTE).await, lease(bench, "first", MINUTE), "it is renewed");
    let shorter = hold(bench, "first", MILLISECOND).await;
    assert_eq!(shorter, lease(bench, "first", MINUTE), "a shorter one takes nothing back");
    bench.pass(MINUTE - MILLISECOND).await;
    assert_eq!(hold(bench, "second", MINUTE).await, lease(bench, "first", MILLISECOND));
    bench.pass(MILLISECOND).await;
    assert_eq!(hold(bench, "second", MINUTE).await, lease(bench, "second", MINUTE), "it is over");
    assert_eq!(hold(bench, "first", MINUTE).await, lease(bench, "second", MINUTE));
    // Its own may be over too.
    bench.pass(2 * MINUTE).await;
    assert_eq!(hold(bench, "second", MINUTE).await, lease(bench, "second", MINUTE));
    // What is over at once is nobody's.
    bench.pass(MINUTE).await;
    assert_eq!(hold(bench, "first", Duration::ZERO).await, lease(bench, "first", Duration::ZERO));
    assert_eq!(hold(bench, "second", MINUTE).await, lease(bench, "second", MINUTE));
    let longest = hold(bench, "second", Duration::MAX).await;
    assert_eq!(longest, lease(bench, "second", 365 * DAY), "no lease is longer than a year");
}

pub(super) async fn a_lease_is_given_up_by_its_holder_alone(bench: &Bench) {
    bench.ledger.give_up_lease("first").await.unwrap();
    hold(bench, "first", LEASE).await;
    bench.ledger.give_up_lease("second").await.unwrap();
    assert_eq!(hold(bench, "second", LEASE).await, lease(bench, "first", LEASE));
    for _ in 0..2 {
        bench.ledger.give_up_lease("first").await.unwrap();
    }
    let after = hold(bench, "second", LEASE / 2).await;
    assert_eq!(after, lease(bench, "second", LEASE / 2), "nothing of the first one is left");
    let refused = ["", "two words", &"x".repeat(65)];
    for holder in refused {
        let held = bench.ledger.hold_lease(holder, LEASE).await;
        assert!(matches!(held, Err(LedgerError::Configuration(_))), "{held:?}");
        let given_up = bench.ledger.give_up_lease(holder).await;
        assert!(matches!(given_up, Err(LedgerError::Configuration(_))), "{given_up:?}");
    }
    hold(bench, "second", LEASE).await;
    // Longer than any other name of ours.
    bench.pass(LEASE).await;
    let long = "x".repeat(64);
    assert_eq!(hold(bench, &long, LEASE).await, lease(bench, &long, LEASE));
}

pub(super) async fn a_clock_that_goes_back_makes_no_lease_longer(bench: &Bench) {
    hold(bench, "first", LEASE).await;
    bench.pass(LEASE).await;
    let over_ms = bench.now_ms();
    bench.set_clock_back(LEASE).await;
    let held = hold(bench, "second", LEASE).await;
    assert_eq!((held.holder.as_str(), held.now_ms), ("second", over_ms));
}

async fn ready(bench: &Bench, accounts: &[&str], amount: u64) {
    for account in accounts {
        bench.fund(account, amount).await;
        bench.ledger.set_payout_address(&name(account), &name(ADDRESSES[0])).await.unwrap();
    }
    bench.pass(ADDRESS_DELAY).await;
}

async fn begin(bench: &Bench, account: &str, intent: RequestId, amount: u64) -> OpenWithdrawal {
    let withdrawal = Withdrawal { account: name(account), intent, amount: NanoTon(amount) };
    let begun = bench.ledger.withdraw_begin(&withdrawal).await.unwrap();
    let WithdrawalBegun::Begun { address } = begun else { panic!("{begun:?}") };
    OpenWithdrawal { intent, account: withdrawal.account, amount: withdrawal.amount, address }
}

async fn open(bench: &Bench, account: &str) -> Vec<OpenWithdrawal> {
    bench.ledger.open_withdrawals(bench.shard(account), None, 1000).await.unwrap()
}

pub(super) async fn a_withdrawal_is_open_from_its_begin_to_its_end(bench: &Bench) {
    assert_ne!(bench.shard("alice"), bench.shard("bob"));
    ready(bench, &["alice", "bob"], 500).await;
    assert_eq!(open(bench, "alice").await, []);
    let (first, second, third) = (bench.request(), bench.request(), bench.request());
    let a = begin(bench, "alice", first, 100).await;
    let b = begin(bench, "bob", second, 150).await;
    let c = begin(bench, "alice", third, 200).await;
    // Once, however often it is asked for.
    begin(bench, "alice", first, 100).await;
    let refused = Withdrawal { account: name("alice"), intent: bench.request(), amount: NanoTon(201) };
    bench.ledger.withdraw_begin(&refused).await.unwrap();
    assert_eq!(open(bench, "alice").await, [a.clone(), c.clone()]);
    assert_eq!(open(bench, "bob").await, [b]);
    // An address that is set later is not where it goes.
    bench.ledger.set_payout_address(&name("alice"), &name(ADDRESSES[1])).await.unwrap();
    bench.pass(ADDRESS_DELAY).await;
    bench.ledger.withdraw_done(&name("bob"), first).await.unwrap();
    assert_eq!(open(bench, "alice").await, [a, c.clone()]);
    for _ in 0..2 {
        bench.ledger.withdraw_done(&name("alice"), first).await.unwrap();
        assert_eq!(open(bench, "alice").await, std::slice::from_ref(&c));
    }
    for _ in 0..2 {
        bench.ledger.withdraw_undo(&name("bob"), second).await.unwrap();
        assert_eq!(open(bench, "bob").await, []);
    }
    // What has ended does not begin again.
    let ended = Withdrawal { account: name("alice"), intent: first, amount: NanoTon(100) };
    assert_eq!(bench.ledger.withdraw_begin(&ended).await.unwrap(), WithdrawalBegun::Done);
    assert_eq!(open(bench, "alice").await, [c]);
}

pub(super) async fn open_withdrawals_are_listed_by_id_in_pages(bench: &Bench) {
    ready(bench, &["alice", "dave"], 500).await;
    let ids: Vec<RequestId> = (0..6).map(|number| request_made_at(bench.now_ms() + number, number)).collect();
    let mut begun = Vec::new();
    // Whoever they are of, and in whatever order they began.
    for (index, account) in [(4, "alice"), (1, "dave"), (0, "alice"), (5, "dave"), (3, "alice"), (2, "dave")]
    {
        begun.push(begin(bench, account, ids[index], 10 + index as u64).await);
    }
    begun.sort_by_key(|open| open.intent);
    let shard = bench.shard("alice");
    let page = async |after, limit| bench.ledger.open_withdrawals(shard, after, limit).await.unwrap();
    assert_eq!(page(None, 1000).await, begun);
    assert_eq!(page(None, 2).await, begun[..2]);
    assert_eq!(page(Some(ids[1]), 3).await, begun[2..5]);
    assert_eq!(page(Some(ids[4]), u32::MAX).await, begun[5..]);
    assert_eq!(page(Some(ids[5]), 10).await, []);
    assert_eq!(page(None, 0).await, []);
    // One that ended is still a place to go on from.
    bench.ledger.withdraw_done(&name("alice"), ids[4]).await.unwrap();
    assert_eq!(page(Some(ids[3]), 10).await, begun[5..]);
    assert_eq!(page(Some(ids[4]), 10).await, begun[5..]);
}

pub(super) async fn no_more_than_a_thousand_open_withdrawals_are_listed_at_once(bench: &Bench) {
    const OPEN: usize = 1003;

    ready(bench, &["alice"], 5000).await;
    let mut beginning = JoinSet::new();
    for _ in 0..OPEN {
        let ledger = Arc::clone(&bench.ledger);
        let withdrawal = Withdrawal { account: name("alice"), intent: bench.request(), amount: NanoTon(1) };
        beginning.spawn(async move { ledger.withdraw_begin(&withdrawal).await.unwrap() });
    }
    beginning.join_all().await;
    let shard = bench.shard("alice");
    let first = bench.ledger.open_withdrawals(shard, None, u32::MAX).await.unwrap();
    assert_eq!(first.len(), MAX_OPEN_WITHDRAWALS as usize);
    let rest =
        bench.ledger.open_withdrawals(shard, first.last().map(|open| open.intent), 1000).await.unwrap();
    assert_eq!(rest.len(), OPEN - first.len());
    assert!(first.iter().chain(&rest).is_sorted_by(|one, next| one.intent < next.intent));
}
