//! Limits per minute, and requests that run at once.

use std::time::Duration;

use cocoon_ledger::{
    Expired, Holder, Limit, Limits, Rate, Rates, Refusal, Released, Reserve, Reserved, Whose,
};
use cocoon_receipts::{RequestId, Usage};

use crate::bench::*;

const fn rpm(limit: u32) -> Limits {
    Limits { rpm: Some(limit), tpm: None, concurrency: None, budget: None }
}

const fn tpm(limit: u32) -> Limits {
    Limits { rpm: None, tpm: Some(limit), concurrency: None, budget: None }
}

const fn concurrency(limit: u32) -> Limits {
    Limits { rpm: None, tpm: None, concurrency: Some(limit), budget: None }
}

fn rate(limit: u64, remaining: u64, reset_ms: u64) -> Option<Rate> {
    Some(Rate { limit, remaining, reset_ms })
}

/// Reserves for 10 nanoTON.
async fn ask(bench: &Bench, limits: Limits, tokens: u64) -> (RequestId, Reserved) {
    let mut asked = reserve("alice", bench.request(), 10);
    (asked.limits, asked.estimate.tokens) = (limits, tokens);
    (asked.request, bench.ledger.reserve(&asked).await.unwrap())
}

/// The rates after a reserve that succeeded.
async fn take(bench: &Bench, limits: Limits, tokens: u64) -> (RequestId, Rates) {
    match ask(bench, limits, tokens).await {
        (request, Reserved::Held { rates, .. }) => (request, rates),
        (_, refused) => panic!("{refused:?}"),
    }
}

/// The limit that refused, and the time it named.
async fn refused(bench: &Bench, limits: Limits, tokens: u64) -> (Holder, Limit, Option<u64>) {
    match ask(bench, limits, tokens).await.1 {
        Reserved::Refused(Refusal::Limited { holder, limit, retry_after_ms, .. }) => {
            (holder, limit, retry_after_ms)
        }
        other => panic!("{other:?}"),
    }
}

async fn bind_first(bench: &Bench, request: RequestId) {
    bench.ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
}

/// Settles at a cost of 1, with so many tokens.
async fn settle(bench: &Bench, request: RequestId, tokens: u64) {
    bind_first(bench, request).await;
    let usage = Usage { completion: tokens, ..Usage::default() };
    let settlement = cocoon_ledger::Settlement { usage, ..bench.settlement("alice", request, 1) };
    assert_eq!(bench.settle(&settlement).await, charged(1));
}

async fn ms(bench: &Bench, ms: u64) {
    bench.pass(Duration::from_millis(ms)).await;
}

pub(super) async fn requests_per_minute_are_refused_until_the_time_that_is_named(bench: &Bench) {
    bench.fund("alice", 1000).await;
    assert_eq!(take(bench, rpm(3), 0).await.1, Rates { requests: rate(3, 2, 20_000), tokens: None });
    assert_eq!(take(bench, rpm(3), 0).await.1.requests, rate(3, 1, 40_000));
    ms(bench, 1).await;
    assert_eq!(take(bench, rpm(3), 0).await.1.requests, rate(3, 0, 59_999));
    assert_eq!(refused(bench, rpm(3), 0).await, (Holder::Key, Limit::Requests, Some(19_999)));
    ms(bench, 19_998).await;
    let before = bench.account("alice").await;
    assert_eq!(refused(bench, rpm(3), 0).await, (Holder::Key, Limit::Requests, Some(1)));
    assert_eq!(bench.account("alice").await, before, "a refusal moves nothing");
    ms(bench, 1).await;
    assert_eq!(take(bench, rpm(3), 0).await.1.requests, rate(3, 0, 60_000));
    // A minute of rest, however long, is worth a minute.
    bench.pass(DAY).await;
    for _ in 0..3 {
        take(bench, rpm(3), 0).await;
    }
    refused(bench, rpm(3), 0).await;
}

pub(super) async fn a_settled_request_stays_counted_and_a_released_one_does_not(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let limits = Limits { tpm: Some(600), ..rpm(2) };
    let (settled, _) = take(bench, limits, 100).await;
    settle(bench, settled, 100).await;
    let (released, rates) = take(bench, limits, 100).await;
    assert_eq!(rates, Rates { requests: rate(2, 0, 60_000), tokens: rate(600, 400, 20_000) });
    let gone = bench.ledger.release(&release("alice", released)).await.unwrap();
    assert!(matches!(gone, Released::Released { .. }));
    let (expired, rates) = take(bench, limits, 100).await;
    assert_eq!(rates, Rates { requests: rate(2, 0, 60_000), tokens: rate(600, 400, 20_000) });
    refused(bench, limits, 100).await;
    bench.pass(LEASE).await;
    let ended = bench.ledger.expire(bench.shard("alice"), expired).await.unwrap();
    assert!(matches!(ended, Expired::Expired { .. }));
    let (_, rates) = take(bench, limits, 0).await;
    assert_eq!(rates, Rates { requests: rate(2, 1, 30_000), tokens: rate(600, 600, 0) });
}

pub(super) async fn tokens_are_taken_by_estimate_and_corrected_by_use(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let (less, rates) = take(bench, tpm(600), 400).await;
    assert_eq!(rates, Rates { requests: None, tokens: rate(600, 200, 40_000) });
    assert_eq!(refused(bench, tpm(600), 300).await, (Holder::Key, Limit::Tokens, Some(10_000)));
    settle(bench, less, 50).await;
    let (more, rates) = take(bench, tpm(600), 300).await;
    assert_eq!(rates.tokens, rate(600, 250, 35_000));
    settle(bench, more, 1150).await;
    // 50 and 1150 used of 600: another minute until the debt is paid.
    assert_eq!(refused(bench, tpm(600), 0).await, (Holder::Key, Limit::Tokens, Some(60_000)));
    ms(bench, 60_000).await;
    assert_eq!(take(bench, tpm(600), 0).await.1.tokens, rate(600, 0, 60_000));
    assert_eq!(refused(bench, tpm(600), 1).await, (Holder::Key, Limit::Tokens, Some(100)));
}

pub(super) async fn a_request_larger_than_the_limit_is_taken_when_nothing_is_owed(bench: &Bench) {
    bench.fund("alice", 1000).await;
    for tokens in [10_000, u64::MAX] {
        let (large, rates) = take(bench, tpm(600), tokens).await;
        assert_eq!(rates.tokens, rate(600, 0, 60_000));
        assert_eq!(refused(bench, tpm(600), tokens).await.2, Some(60_000));
        // Nobody waits for more than a day's worth.
        settle(bench, large, (1 << 53) - 1).await;
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(refused(bench, tpm(600), 600).await.2, Some(day));
        bench.pass(DAY).await;
    }
}

pub(super) async fn the_largest_limits_are_exact(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let most = u32::MAX;
    let limits = Limits { tpm: Some(most), ..rpm(most) };
    let (request, rates) = take(bench, limits, 1).await;
    let left = u64::from(most) - 1;
    assert_eq!(rates, Rates { requests: rate(left + 1, left, 1), tokens: rate(left + 1, left, 1) });
    let (_, rates) = take(bench, limits, u64::from(most) - 1).await;
    assert_eq!(rates.tokens, rate(left + 1, 0, 60_000));
    assert_eq!(refused(bench, limits, 1).await, (Holder::Key, Limit::Tokens, Some(1)));
    settle(bench, request, (1 << 53) - 1).await;
    // The most that is ever owed is 2^52 parts: of it a minute's worth may stay.
    let over = (1u64 << 52) - u64::from(most) * 60_000;
    assert_eq!(refused(bench, limits, 0).await.2, Some(over.div_ceil(u64::from(most))));
    bench.pass(DAY).await;
    assert_eq!(take(bench, limits, 0).await.1.tokens, rate(left + 1, left + 1, 0));
}

pub(super) async fn a_limit_of_nothing_is_never_there(bench: &Bench) {
    bench.fund("alice", 1000).await;
    for (limits, limit) in
        [(rpm(0), Limit::Requests), (tpm(0), Limit::Tokens), (concurrency(0), Limit::Concurrency)]
    {
        assert_eq!(refused(bench, limits, 0).await, (Holder::Key, limit, None));
    }
}

pub(super) async fn a_limit_that_changes_keeps_what_was_used(bench: &Bench) {
    bench.fund("alice", 1000).await;
    for _ in 0..60 {
        take(bench, rpm(60), 0).await;
    }
    ms(bench, 10_000).await;
    // Ten requests were paid off at the old pace; fifty are owed at the new.
    assert_eq!(refused(bench, rpm(30), 0).await.2, Some(42_000));
    assert_eq!(take(bench, rpm(120), 0).await.1.requests, rate(120, 69, 25_500));
    // Whoever has no limit owes nothing.
    assert_eq!(take(bench, Limits::default(), 0).await.1, Rates::default());
    assert_eq!(take(bench, rpm(3), 0).await.1.requests, rate(3, 2, 20_000));
    // A request that took nothing of a limit gives nothing back to it.
    let (unlimited, _) = take(bench, Limits::default(), 50).await;
    take(bench, tpm(600), 60).await;
    bench.ledger.release(&release("alice", unlimited)).await.unwrap();
    assert_eq!(take(bench, tpm(600), 0).await.1.tokens, rate(600, 540, 6000));
}

pub(super) async fn the_same_request_takes_once(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let asked = Reserve {
        limits: Limits { concurrency: Some(1), ..rpm(1) },
        ..reserve("alice", bench.request(), 10)
    };
    let first = bench.ledger.reserve(&asked).await.unwrap();
    let rates = Rates { requests: rate(1, 0, 60_000), tokens: None };
    assert_eq!(first, Reserved::Held { amount: cocoon_receipts::NanoTon(10), rates });
    assert_eq!(bench.ledger.reserve(&asked).await.unwrap(), held(10));
}

pub(super) async fn an_expiry_counts_the_tokens_of_its_checkpoint(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let (request, _) = take(bench, tpm(1), 1).await;
    bind_first(bench, request).await;
    let checkpoint = bench.checkpoint("alice", request, 5);
    bench.ledger.extend(&checkpoint).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    bench.ledger.expire(bench.shard("alice"), request).await.unwrap();
    // Prompt 3, completion 5 and reasoning 1, less the one that was taken and has been paid off long ago.
    assert_eq!(refused(bench, tpm(1), 1).await.2, Some(8 * 60_000));
}

pub(super) async fn requests_at_once_are_counted_until_their_lease_or_their_end(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let two = concurrency(2);
    let running =
        async || bench.ledger.standing(&name("alice"), &Whose::Key(name("key"))).await.unwrap().running;
    let (first, _) = take(bench, two, 0).await;
    ms(bench, 10_000).await;
    let (second, _) = take(bench, two, 0).await;
    assert_eq!(refused(bench, two, 0).await, (Holder::Key, Limit::Concurrency, Some(1000)));
    assert_eq!(running().await, 2);
    settle(bench, second, 0).await;
    let (third, _) = take(bench, two, 0).await;
    bench.ledger.release(&release("alice", third)).await.unwrap();
    let (fourth, _) = take(bench, two, 0).await;
    // The lease of the first ends, though its hold is still there; that of the fourth is renewed.
    bind_first(bench, fourth).await;
    ms(bench, 49_999).await;
    refused(bench, two, 0).await;
    ms(bench, 1).await;
    assert_eq!((running().await, bench.account("alice").await.open_holds), (1, 2));
    let (fifth, _) = take(bench, two, 0).await;
    ms(bench, 9999).await;
    refused(bench, two, 0).await;
    bench.ledger.extend(&bench.checkpoint("alice", fourth, 1)).await.unwrap();
    ms(bench, 1).await;
    refused(bench, two, 0).await;
    // A renewal after the lease counts again.
    bind_first(bench, first).await;
    assert_eq!(running().await, 3);
    for request in [first, fourth, fifth] {
        bench.ledger.release(&release("alice", request)).await.unwrap();
    }
    assert_eq!(running().await, 0);
}

pub(super) async fn the_longest_wait_is_named(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let limits = Limits { tpm: Some(60), concurrency: Some(1), ..rpm(60) };
    let (request, _) = take(bench, limits, 30).await;
    // A place may be free in a second, 30 tokens are there in 10.
    assert_eq!(refused(bench, limits, 40).await, (Holder::Key, Limit::Tokens, Some(10_000)));
    assert_eq!(refused(bench, limits, 30).await, (Holder::Key, Limit::Concurrency, Some(1000)));
    bench.ledger.release(&release("alice", request)).await.unwrap();
    take(bench, limits, 30).await;
}
