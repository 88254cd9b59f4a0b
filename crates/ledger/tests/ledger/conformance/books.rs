//! The books at one moment.

use cocoon_ledger::{Pace, Replay, check_shard};
use cocoon_receipts::{AccountId, NanoTon};

use crate::bench::*;

pub(super) async fn accounts_are_listed_by_name_in_pages(bench: &Bench) {
    let [funded @ .., charged_only] = ACCOUNTS;
    for account in funded.into_iter().rev() {
        bench.fund(account, 1).await;
    }
    bench.settle(&bench.settlement(charged_only, bench.request(), 5)).await;
    for shard in bench.ledger.shards().all() {
        let mut expected: Vec<AccountId> = ACCOUNTS.map(name).into();
        expected.retain(|account| bench.ledger.shards().of(account) == shard);
        let mut found: Vec<AccountId> = Vec::new();
        loop {
            let page = bench.ledger.account_names(shard, found.last(), 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            assert_eq!(page.len(), 1);
            found.extend(page);
        }
        assert_eq!(found, expected);
    }
}

pub(super) async fn a_cut_names_the_last_entry(bench: &Bench) {
    let shard = bench.shard("alice");
    let accounts = [name("alice"), name("nobody")];
    let empty = bench.ledger.accounts_at(shard, &accounts).await.unwrap();
    assert_eq!((empty.at, empty.value.len()), (None, 2));
    assert_eq!(bench.ledger.totals_at(shard).await.unwrap().at, None);
    assert_eq!(bench.ledger.last_entry(shard).await.unwrap(), None);
    bench.fund("alice", 5).await;
    bench.fund("alice", 6).await;
    let journal = bench.ledger.journal(shard, None, 10).await.unwrap();
    let last = &journal[1];
    let cut = bench.ledger.accounts_at(shard, &accounts).await.unwrap();
    assert_eq!((cut.at.as_ref(), cut.value[0].balance.0), (Some(&last.id), 11));
    assert_eq!(bench.ledger.totals_at(shard).await.unwrap().at.as_ref(), Some(&last.id));
    assert_eq!(bench.ledger.last_entry(shard).await.unwrap().as_ref(), Some(last));
    assert_eq!(bench.ledger.entry(shard, &journal[0].id).await.unwrap().as_ref(), Some(&journal[0]));
    assert!(journal[0].id.place().unwrap() < last.id.place().unwrap());
}

pub(super) async fn holds_are_seen_with_their_accounts(bench: &Bench) {
    bench.fund("alice", 500).await;
    let first = bench.hold("alice", 100).await;
    let second = bench.bound("alice", 50).await;
    let holds = bench.ledger.holds(bench.shard("alice")).await.unwrap().unwrap();
    let seen: Vec<_> = holds.holds.iter().map(|hold| (hold.request, hold.amount.0, hold.due_ms)).collect();
    let lease_over = bench.now_ms() + u64::try_from(LEASE.as_millis()).unwrap();
    let grace_over = lease_over + u64::try_from(GRACE.as_millis()).unwrap();
    assert_eq!(seen, [(first, 100, lease_over), (second, 50, grace_over)]);
    assert_eq!(holds.accounts[&name("alice")], (NanoTon(150), 2));
    assert_eq!((holds.held, holds.open_holds, holds.now_ms), (NanoTon(150), 2, bench.now_ms()));
    bench.set_clock_back(LEASE).await;
    let shards_time = bench.now_ms() + u64::try_from(LEASE.as_millis()).unwrap();
    let holds = bench.ledger.holds(bench.shard("alice")).await.unwrap().unwrap();
    assert_eq!(holds.now_ms, shards_time, "never goes back");
    bench.pass(2 * LEASE + std::time::Duration::from_secs(61)).await;
    let report = check_shard(bench.ledger.as_ref(), bench.shard("alice"), Replay::default(), Pace::FULL)
        .await
        .unwrap();
    assert_eq!((report.open_holds, report.overdue_holds), (2, 1));
}
