//! Usage buckets, the last requests and kept receipts.

use std::time::Duration;

use cocoon_ledger::{
    LedgerError, MAX_RECENT, MAX_REQUESTS_PAGE, RequestQuery, RequestRecord, Settlement, Tally, UsageQuery,
    UsageRow, Width, Work,
};
use cocoon_receipts::{KeyId, NanoTon, RequestId, Usage};

use crate::bench::*;
use crate::buckets;

/// A settled request of `cost`, as `change` makes it.
async fn charge(bench: &Bench, cost: u64, change: impl FnOnce(&mut Settlement)) -> Settlement {
    let mut settlement = bench.settlement("alice", bench.bound("alice", cost).await, cost);
    change(&mut settlement);
    assert_eq!(bench.settle(&settlement).await, charged(cost));
    settlement
}

fn query(width: Width, from_ms: u64, to_ms: u64) -> UsageQuery {
    UsageQuery {
        account: name("alice"),
        width,
        from_ms,
        to_ms,
        keys: Vec::new(),
        projects: Vec::new(),
        models: Vec::new(),
        work: None,
    }
}

async fn rows(bench: &Bench, query: &UsageQuery) -> Vec<UsageRow> {
    let page = bench.ledger.usage(query).await.unwrap();
    assert_eq!(page.next_ms, None);
    page.rows
}

fn costs(rows: &[UsageRow]) -> Vec<(u64, i64)> {
    rows.iter().map(|row| (row.from_ms, row.tally.cost)).collect()
}

pub(super) async fn usage_is_counted_by_key_project_model_and_work(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    charge(bench, 10, |_| ()).await;
    charge(bench, 20, |_| ()).await;
    charge(bench, 30, |settlement| settlement.key = name("other")).await;
    charge(bench, 40, |settlement| settlement.project = None).await;
    charge(bench, 50, |settlement| settlement.model = "small".to_owned()).await;
    charge(bench, 60, |settlement| settlement.work = Work::Embeddings).await;
    for width in Width::ALL {
        let begin_ms = START_MS - START_MS % width.ms();
        let all = query(width, begin_ms, begin_ms + width.ms());
        let found = rows(bench, &all).await;
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.iter().all(|row| row.from_ms == begin_ms));
        let first = found.iter().find(|row| row.tally.requests == 2).unwrap();
        let twice = Tally { requests: 2, prompt: 6, cached: 0, completion: 30, reasoning: 2, cost: 30 };
        assert_eq!(first.tally, twice);
        assert_eq!((first.key.as_str(), first.model.as_str(), first.work), ("key", MODEL, Work::Completions));
        assert_eq!(first.project, Some(name("project")));
        let sum = async |query: UsageQuery| -> i64 {
            rows(bench, &query).await.iter().map(|row| row.tally.cost).sum()
        };
        assert_eq!(sum(all.clone()).await, 210);
        assert_eq!(sum(UsageQuery { keys: vec![name("other")], ..all.clone() }).await, 30);
        assert_eq!(sum(UsageQuery { projects: vec![name("project")], ..all.clone() }).await, 170);
        assert_eq!(sum(UsageQuery { models: vec!["small".to_owned()], ..all.clone() }).await, 50);
        assert_eq!(sum(UsageQuery { work: Some(Work::Embeddings), ..all.clone() }).await, 60);
        assert_eq!(sum(UsageQuery { account: name("bob"), ..all.clone() }).await, 0);
        assert_eq!(sum(UsageQuery { from_ms: begin_ms + 1, ..all.clone() }).await, 0);
        assert_eq!(sum(UsageQuery { to_ms: begin_ms, ..all }).await, 0);
    }
}

/// 2027-03-01T00:00:00Z, the end of a month.
const MONTH_MS: u64 = 1_803_859_200_000;

pub(super) async fn a_bucket_begins_at_its_first_millisecond(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    bench.pass(Duration::from_millis(MONTH_MS - 1 - START_MS)).await;
    charge(bench, 1, |_| ()).await;
    bench.pass(Duration::from_millis(1)).await;
    charge(bench, 10, |_| ()).await;
    for width in Width::ALL {
        let around = query(width, MONTH_MS - width.ms(), MONTH_MS + width.ms());
        let found = costs(&rows(bench, &around).await);
        assert_eq!(found, [(MONTH_MS - width.ms(), 1), (MONTH_MS, 10)], "{width:?}");
    }
}

pub(super) async fn a_correction_is_counted_at_its_own_time(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let expired_ms = bench.now_ms() + u64::try_from((LEASE + GRACE).as_millis()).unwrap();
    let request = bench.expired("alice", Some(300)).await;
    bench.pass(DAY).await;
    assert_eq!(bench.settle(&bench.settlement("alice", request, 100)).await, charged(100));
    let day = |at_ms: u64| at_ms - at_ms % Width::Day.ms();
    let now_ms = bench.now_ms();
    let found = rows(bench, &query(Width::Day, day(expired_ms), now_ms)).await;
    let change = Tally { requests: 0, prompt: 0, cached: 0, completion: -200, reasoning: 0, cost: -200 };
    assert_eq!(costs(&found), [(day(expired_ms), 300), (day(now_ms), -200)]);
    assert_eq!((found[0].tally.requests, found[1].tally), (1, change));
}

pub(super) async fn what_costs_nothing_is_no_usage(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let settlement = charge(bench, 100, |_| ()).await;
    let mut second = bench.settlement("alice", settlement.request, 50);
    second.attempt = 2;
    bench.settle(&second).await;
    bench.settle(&settlement).await;
    let found = rows(bench, &query(Width::Day, START_MS - Width::Day.ms(), bench.now_ms() + 1)).await;
    let none_but_one = found.iter().map(|row| (row.tally.requests, row.tally.cost)).collect::<Vec<_>>();
    assert_eq!(none_but_one, [(1, 100)]);
}

/// Invariants at rest show that nothing of the refused one was written.
pub(super) async fn counts_that_no_bucket_holds_are_refused(bench: &Bench) {
    bench.fund("alice", 10).await;
    let mut counted = 0;
    loop {
        let mut free = bench.settlement("alice", bench.request(), 0);
        free.usage = Usage { completion: (1 << 53) - 1, ..Usage::default() };
        match bench.ledger.settle(&free).await {
            Ok(_) => counted += 1,
            Err(LedgerError::Overflow) => break,
            Err(other) => panic!("{other}"),
        }
    }
    assert!((250..=256).contains(&counted), "{counted}");
}

pub(super) async fn usage_is_read_in_pages_over_any_time(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    charge(bench, 1, |_| ()).await;
    bench.pass(7 * DAY).await;
    charge(bench, 10, |_| ()).await;
    for width in Width::ALL {
        let (from_ms, to_ms) = (START_MS - DAY.as_millis() as u64, bench.now_ms() + 1);
        let found = buckets::read(bench.ledger.as_ref(), &name("alice"), width, from_ms, to_ms).await;
        assert_eq!(found.iter().map(|row| row.tally.cost).collect::<Vec<_>>(), [1, 10]);
    }
}

async fn recent(
    bench: &Bench,
    key: Option<&str>,
    after: Option<RequestId>,
    limit: u32,
) -> Vec<RequestRecord> {
    let key = key.map(name::<KeyId>);
    bench.ledger.requests(&RequestQuery { account: name("alice"), key, after, limit }).await.unwrap()
}

pub(super) async fn the_last_requests_are_listed_newest_first(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let mut made = Vec::new();
    for n in 0..6 {
        bench.pass(Duration::from_millis(1)).await;
        let key = if n % 2 == 0 { "even" } else { "odd" };
        made.push(charge(bench, 100 + n, |settlement| settlement.key = name(key)).await);
    }
    made.reverse();
    let ids = |records: &[RequestRecord]| records.iter().map(|record| record.request).collect::<Vec<_>>();
    let all: Vec<RequestId> = made.iter().map(|settlement| settlement.request).collect();
    let listed = recent(bench, None, None, 100).await;
    assert_eq!(ids(&listed), all);
    let newest = RequestRecord {
        request: made[0].request,
        receipt: Some(made[0].receipt),
        key: name("odd"),
        project: Some(name("project")),
        model: MODEL.to_owned(),
        work: Work::Completions,
        usage: usage(105),
        charged: NanoTon(105),
        jws: Some(made[0].receipt_jws.clone()),
    };
    assert_eq!(listed[0], newest);
    assert_eq!(ids(&recent(bench, None, None, 2).await), all[..2]);
    assert_eq!(ids(&recent(bench, None, Some(all[1]), 2).await), all[2..4]);
    assert_eq!(ids(&recent(bench, None, Some(all[5]), 2).await), []);
    assert_eq!(ids(&recent(bench, None, Some(bench.request()), 2).await), [], "never heard of");
    assert_eq!(ids(&recent(bench, Some("even"), None, 2).await), [all[1], all[3]]);
    assert_eq!(ids(&recent(bench, Some("even"), Some(all[3]), 2).await), [all[5]]);
    assert_eq!(recent(bench, Some("none"), None, 2).await, []);
}

pub(super) async fn a_corrected_request_keeps_its_place(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let request = bench.expired("alice", Some(300)).await;
    let expired = recent(bench, None, None, 10).await;
    assert_eq!((expired[0].receipt, expired[0].charged), (None, NanoTon(300)));
    bench.pass(Duration::from_millis(1)).await;
    let later = charge(bench, 7, |_| ()).await;
    bench.pass(Duration::from_millis(1)).await;
    let late = bench.settlement("alice", request, 100);
    bench.settle(&late).await;
    let listed = recent(bench, None, None, 10).await;
    let seen: Vec<_> =
        listed.iter().map(|record| (record.request, record.receipt, record.charged.0)).collect();
    assert_eq!(seen, [(later.request, Some(later.receipt), 7), (request, Some(late.receipt), 100)]);
    let kept = bench.ledger.receipt(&name("alice"), late.receipt).await.unwrap().unwrap();
    assert_eq!(kept.charged.0, 100, "what was paid in all");
}

pub(super) async fn a_thousand_requests_are_remembered(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let mut made = Vec::new();
    for _ in 0..MAX_RECENT + 5 {
        bench.pass(Duration::from_millis(1)).await;
        let mut settlement = bench.settlement("alice", bench.request(), 1);
        settlement.cost = NanoTon(1);
        bench.settle(&settlement).await;
        made.push(settlement.request);
    }
    let mut listed = Vec::new();
    loop {
        let page = recent(bench, None, listed.last().copied(), u32::MAX).await;
        assert!(page.len() <= MAX_REQUESTS_PAGE as usize);
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|record| record.request));
    }
    listed.reverse();
    assert_eq!(listed, made[5..]);
}

pub(super) async fn a_receipt_is_kept_eight_days_for_its_account(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let settlement = charge(bench, 100, |_| ()).await;
    let mut second = bench.settlement("alice", settlement.request, 50);
    second.attempt = 2;
    bench.settle(&second).await;
    let (alice, bob) = (name("alice"), name("bob"));
    let kept = bench.ledger.receipt(&alice, settlement.receipt).await.unwrap().unwrap();
    assert_eq!((kept.receipt, kept.request, kept.charged.0), (settlement.receipt, settlement.request, 100));
    assert_eq!(
        (kept.key, kept.project, kept.jws),
        (name("key"), Some(name("project")), settlement.receipt_jws)
    );
    let of_request = bench.ledger.receipt_of(&alice, settlement.request).await.unwrap().unwrap();
    assert_eq!(of_request.receipt, settlement.receipt, "the one that it was charged by");
    let at_no_cost = bench.ledger.receipt(&alice, second.receipt).await.unwrap().unwrap();
    assert_eq!((at_no_cost.charged.0, at_no_cost.jws), (0, second.receipt_jws));
    let dave = name("dave");
    assert_eq!(bench.shard("alice"), bench.shard("dave"), "where receipts of both are kept together");
    for (account, receipt) in
        [(&bob, settlement.receipt), (&dave, settlement.receipt), (&alice, bench.receipt())]
    {
        assert_eq!(bench.ledger.receipt(account, receipt).await.unwrap(), None);
    }
    assert_eq!(bench.ledger.receipt_of(&bob, settlement.request).await.unwrap(), None);
    bench.pass(8 * DAY).await;
    bench.ledger.expired(bench.shard("alice"), 1).await.unwrap();
    assert!(bench.ledger.receipt(&alice, settlement.receipt).await.unwrap().is_some());
    bench.pass(DAY).await;
    bench.ledger.expired(bench.shard("alice"), 1).await.unwrap();
    assert_eq!(bench.ledger.receipt(&alice, settlement.receipt).await.unwrap(), None);
    assert_eq!(bench.ledger.receipt_of(&alice, settlement.request).await.unwrap(), None);
    assert_eq!(recent(bench, None, None, 1).await[0].jws, None, "the request is remembered");
}
