//! A ledger with something of everything, between all stores.

use std::time::Duration;

use cocoon_ledger::{
    ADDRESS_DELAY, Budget, ChannelOpening, Credit, Expired, Grant, KeptDocument, KeyRecord, KeyScope, Limits,
    Period, Reserve, Reserved, Settled, Settlement, Whose, Width, Withdrawal, WithdrawalBegun, Work,
};
use cocoon_receipts::{Digest, NanoTon, RequestId};

use super::reads::{reads, told};
use super::{To, moved};
use crate::bench::*;
use crate::redis_server::RedisServer;

const ADDRESS: &str = "EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c";
const LATER_ADDRESS: &str = "UQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJKZ";

/// What a full ledger was filled with, so that it can be asked again.
struct Filled {
    settled: Settlement,
    expired: RequestId,
    correction: Settlement,
    too_old: Settlement,
    superseded: Settlement,
    tombstone: RequestId,
    unbound: RequestId,
    reported: RequestId,
    limited: Reserve,
    withdrawals: [Withdrawal; 3],
    keyset: Digest,
    credit: Credit,
    grant: Grant,
}

fn limited(request: RequestId) -> Reserve {
    let budget = Some(Budget { amount: NanoTon(900), period: Period::Total });
    let limits = Limits { rpm: Some(3), tpm: Some(1000), concurrency: Some(4), budget };
    let mut reserve = reserve("carol", request, 100);
    (reserve.limits, reserve.estimate.tokens) = (limits, 300);
    reserve
}

async fn keys(bench: &Bench) {
    let record = |id: &str, project: Option<&str>, scope| KeyRecord {
        project: project.map(name),
        name: "of \"any\" | name ü".to_owned(),
        expires: Some(START_MS / 1000 + 60),
        scope,
        models: Some(vec![MODEL.to_owned()]),
        limits: Limits { rpm: Some(3), ..Limits::default() },
        sealed_only: true,
        ..key_record(&name("alice"), &name(id))
    };
    let ledger = bench.ledger.as_ref();
    for (id, project, scope) in [
        ("k1", Some("p"), KeyScope::Inference),
        ("k2", None, KeyScope::Inference),
        ("k3", None, KeyScope::Admin),
    ] {
        ledger.put_key(&record(id, project, scope)).await.unwrap();
    }
    let alice = name("alice");
    ledger.revoke_key(&alice, &name("k1"), Duration::ZERO).await.unwrap().unwrap();
    ledger.revoke_key(&alice, &name("k2"), 5 * DAY).await.unwrap().unwrap();
    let budget = Some(Budget { amount: NanoTon(5000), period: Period::Month });
    for (account, project) in [("alice", Some("project")), ("alice", Some("other")), ("bob", None)] {
        let limits = Limits { budget, concurrency: Some(100), ..Limits::default() };
        let project = project.map(name);
        assert!(ledger.set_limits(&name(account), project.as_ref(), &limits).await.unwrap());
    }
}

async fn withdrawals(bench: &Bench) -> [Withdrawal; 3] {
    let ledger = bench.ledger.as_ref();
    let ended = [100, 200, 300].map(|amount| Withdrawal {
        account: name("bob"),
        intent: bench.request(),
        amount: NanoTon(amount),
    });
    for withdrawal in &ended {
        let begun = ledger.withdraw_begin(withdrawal).await.unwrap();
        assert!(matches!(begun, WithdrawalBegun::Begun { .. }), "{begun:?}");
    }
    ledger.withdraw_done(&name("bob"), ended[1].intent).await.unwrap();
    ledger.withdraw_undo(&name("bob"), ended[2].intent).await.unwrap();
    ledger.set_payout_address(&name("bob"), &name(LATER_ADDRESS)).await.unwrap();
    ledger.stop_withdrawals(bench.shard("erin"), "a reason | \"of\" any kind").await.unwrap();
    ended
}

async fn fill(bench: &Bench) -> Filled {
    let ledger = bench.ledger.as_ref();
    let keyset = ledger.put_keyset(b"\x00a keyset\xff").await.unwrap();
    let document =
        KeptDocument { nonce: [7; 32], verified_at: START_MS, bytes: b"\x00a document\xff".to_vec() };
    ledger.put_document(keyset, &document).await.unwrap();
    let credit = bench.deposit("alice", 5000);
    ledger.credit(&credit).await.unwrap();
    bench.fund("bob", 4000).await;
    bench.fund("carol", 3000).await;
    let grant = Grant { id: bench.request(), account: name("dave"), amount: NanoTon(800) };
    ledger.grant(&grant).await.unwrap();
    keys(bench).await;
    ledger.set_payout_address(&name("bob"), &name(ADDRESS)).await.unwrap();
    ledger.set_payout_address(&name("erin"), &name(ADDRESS)).await.unwrap();
    // A receipt for what will be too old.
    let old = bench.request();
    let too_old = bench.settlement("bob", old, 5);
    bench.pass(8 * DAY + ADDRESS_DELAY).await;
    assert_eq!(bench.settle(&too_old).await, Settled::TooOld);

    let settled = bench.settlement("alice", bench.bound("alice", 600).await, 500);
    assert_eq!(bench.settle(&settled).await, charged(500));
    let second = bench.settlement("alice", settled.request, 100);
    assert_eq!(bench.settle(&second).await, Settled::AtNoCost);
    let mut embeddings = bench.settlement("alice", bench.bound("alice", 60).await, 50);
    (embeddings.work, embeddings.project, embeddings.model) = (Work::Embeddings, None, "small".to_owned());
    assert_eq!(bench.settle(&embeddings).await, charged(50));
    // Two of one millisecond, the later one charged first.
    let both = [bench.bound("alice", 20).await, bench.bound("alice", 20).await];
    for request in both.into_iter().rev() {
        bench.settle(&bench.settlement("alice", request, 20)).await;
    }
    let corrected = bench.expired("alice", Some(300)).await;
    assert_eq!(bench.settle(&bench.settlement("alice", corrected, 250)).await, charged(250));
    let expired = bench.expired("alice", Some(200)).await;
    bench.expired("alice", None).await;
    let mut correction = bench.settlement("alice", expired, 220);
    correction.usage.completion = 9;
    let dave = bench.settlement("dave", bench.expired("dave", Some(400)).await, 100_000);
    assert_eq!(bench.settle(&dave).await, short(800, 99_200));
    ledger.release(&release("alice", bench.hold("alice", 10).await)).await.unwrap();
    let tombstone = bench.request();
    ledger.release(&release("alice", tombstone)).await.unwrap();
    let withdrawals = withdrawals(bench).await;
    let decided = ["of \"any\" text | ü".to_owned(), "\n\0".to_owned()];
    ledger.append_decisions(0, &decided).await.unwrap();
    channels(bench).await;
    // Whoever held it there, here he asks for it again.
    ledger.hold_lease("settler", LEASE).await.unwrap();
    bench.pass(Duration::from_secs(3600)).await;

    let unbound = bench.hold("alice", 40).await;
    let superseding = bench.bound("alice", 50).await;
    ledger.bind(&bind("alice", superseding, 2, keyset_b())).await.unwrap();
    let superseded = bench.settlement("alice", superseding, 30);
    let reported = bench.bound("bob", 70).await;
    ledger.extend(&bench.checkpoint("bob", reported, 33)).await.unwrap();
    for _ in 0..2 {
        let reserved = ledger.reserve(&limited(bench.request())).await.unwrap();
        assert!(matches!(reserved, Reserved::Held { .. }), "{reserved:?}");
    }
    let limited = limited(bench.request());
    Filled {
        settled,
        expired,
        correction,
        too_old,
        superseded,
        tombstone,
        unbound,
        reported,
        limited,
        withdrawals,
        keyset,
        credit,
        grant,
    }
}

fn keyset_b() -> Digest {
    keyset("b")
}

/// One with a voucher and a hold, one that is closed, one without a voucher.
async fn channels(bench: &Bench) {
    let ledger = bench.ledger.as_ref();
    let [spending, closed, fresh, _] = CHANNELS;
    for (channel, base) in [(spending, 120), (closed, 0), (fresh, 7)] {
        ledger.open_channel(&opening(channel, 900, base)).await.unwrap();
    }
    for (channel, cumulative) in [(spending, 400), (closed, 50)] {
        ledger.raise_ceiling(&name(channel), &voucher(cumulative)).await.unwrap();
    }
    let request = bench.bound(spending, 100).await;
    assert_eq!(bench.settle(&bench.settlement(spending, request, 60)).await, charged(60));
    bench.hold(spending, 30).await;
    assert!(ledger.close_channel(&name(closed)).await.unwrap());
}

async fn channels_go_on(bench: &Bench) -> Vec<String> {
    let ledger = bench.ledger.as_ref();
    let mut said = Vec::new();
    for channel in CHANNELS {
        for cumulative in [7, 50, 400, 901] {
            said.push(told(ledger.raise_ceiling(&name(channel), &voucher(cumulative)).await));
        }
        let other = ChannelOpening { payer_key: [8; 32], ..opening(channel, 2000, 0) };
        for opening in [opening(channel, 1000, 500), other] {
            said.push(told(ledger.open_channel(&opening).await));
        }
        said.push(told(ledger.raise_ceiling(&name(channel), &voucher(901)).await));
    }
    said.push(told(ledger.close_channel(&name(CHANNELS[2])).await));
    said
}

/// What is called afterwards: repetitions, late receipts, limits, and the ends of what is open.
async fn goes_on(bench: &Bench, filled: &Filled) -> Vec<String> {
    let ledger = bench.ledger.as_ref();
    let mut said = Vec::new();
    said.push(told(ledger.credit(&filled.credit).await));
    said.push(told(ledger.grant(&filled.grant).await));
    for settlement in
        [&filled.settled, &filled.too_old, &filled.correction, &filled.correction, &filled.superseded]
    {
        said.push(told(ledger.settle(settlement).await));
    }
    let again = |request| reserve("alice", request, 40);
    for request in [filled.tombstone, filled.expired, filled.settled.request, filled.unbound] {
        said.push(told(ledger.reserve(&again(request)).await));
    }
    for request in [filled.limited.request, request_made_at(bench.now_ms(), 900)] {
        let reserve = Reserve { request, ..filled.limited.clone() };
        said.push(told(ledger.reserve(&reserve).await));
    }
    for withdrawal in &filled.withdrawals {
        said.push(told(ledger.withdraw_begin(withdrawal).await));
        said.push(told(ledger.withdraw_done(&withdrawal.account, withdrawal.intent).await));
    }
    let decided = vec!["another".to_owned()];
    for after in [1, 2, 2] {
        said.push(told(ledger.append_decisions(after, &decided).await));
    }
    said.extend(channels_go_on(bench).await);
    let stopped = Withdrawal { account: name("erin"), ..filled.withdrawals[0].clone() };
    let intent = request_made_at(bench.now_ms(), 901);
    said.push(told(ledger.withdraw_begin(&Withdrawal { intent, ..stopped }).await));
    said.push(told(ledger.bind(&bind("alice", filled.unbound, 1, keyset("a"))).await));
    // Leases are over, and the grace of what is bound is not.
    bench.pass(LEASE).await;
    for account in accounts() {
        said.push(told(ledger.standing(&account, &Whose::Account).await));
    }
    bench.pass(ADDRESS_DELAY).await;
    said.push(told(ledger.payout(&name("bob")).await));
    let shard = ledger.shards().of(&name("bob"));
    let expired = ledger.expire(shard, filled.reported).await.unwrap();
    assert_eq!(expired, Expired::Expired { charged: NanoTon(33) });
    for shard in ledger.shards().all() {
        let over = ledger.expired(shard, 100).await.unwrap();
        said.push(format!("{over:?}"));
        for request in over {
            said.push(told(ledger.expire(shard, request).await));
        }
    }
    said
}

async fn between(from: To<'_>, to: To<'_>) {
    let bench = match from {
        To::Embedded => Bench::embedded().await,
        To::Redis(server) => Bench::redis_on(server).await,
    };
    let filled = fill(&bench).await;
    let other = moved(&bench, to).await;
    let (expected, found) = (reads(&bench, filled.keyset).await, reads(&other, filled.keyset).await);
    assert_eq!(found, expected);
    if bench.url.starts_with("sqlite:") == other.url.starts_with("sqlite:") {
        for shard in bench.ledger.shards().all() {
            let ids = other.ledger.journal(shard, None, 1000).await.unwrap();
            assert_eq!(ids, bench.ledger.journal(shard, None, 1000).await.unwrap(), "with their ids");
        }
    }
    let (expected, found) = (goes_on(&bench, &filled).await, goes_on(&other, &filled).await);
    assert_eq!(found, expected);
    let limited = expected.iter().filter(|said| said.contains("Limited")).count();
    assert_eq!(limited, 1, "the third request of a minute, and no fourth: {expected:#?}");
    assert_eq!(reads(&other, filled.keyset).await, reads(&bench, filled.keyset).await);
    super::carried(&other).await;
    // New entries come after all that were carried.
    let journal = other.ledger.journal(other.shard("alice"), None, 1000).await.unwrap();
    let places: Vec<_> = journal.iter().map(|entry| entry.id.place().unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[tokio::test]
async fn everything_is_carried_from_sqlite_to_sqlite() {
    between(To::Embedded, To::Embedded).await;
}

#[tokio::test]
async fn everything_is_carried_from_sqlite_to_redis() {
    between(To::Embedded, To::Redis(&RedisServer::start())).await;
}

#[tokio::test]
async fn what_the_server_forgets_by_itself_it_still_forgets() {
    let (bench, server) = (Bench::embedded().await, RedisServer::start());
    fill(&bench).await;
    let moved = moved(&bench, To::Redis(&server)).await;
    let tag = format!("cocoon:{{{}}}", bench.shard("alice"));
    let names = ["recent:alice", "requests:alice", "used:alice|a", "used:alice|k|key"].map(str::to_owned);
    let windows = [("minutes", Width::Hour), ("hours", Width::Day)].map(|(name, window)| {
        let settled_ms = START_MS + 9 * DAY_MS;
        format!("usage:{name}:{}:alice", settled_ms / window.ms())
    });
    for name in names.iter().chain(&windows) {
        let left_ms: i64 =
            redis::cmd("PTTL").arg(format!("{tag}:{name}")).query(&mut server.client()).unwrap();
        assert!(left_ms > 0, "{name}: {left_ms}");
    }
    let kept: i64 = redis::cmd("PTTL")
        .arg(format!("cocoon:{{{}}}:used:carol|k|key", bench.shard("carol")))
        .query(&mut server.client())
        .unwrap();
    assert_eq!(kept, -1, "a budget for all time is never forgotten");
    drop(moved);
}

#[tokio::test]
async fn everything_is_carried_from_redis_to_sqlite() {
    between(To::Redis(&RedisServer::start()), To::Embedded).await;
}

#[tokio::test]
async fn everything_is_carried_from_redis_to_redis() {
    between(To::Redis(&RedisServer::start()), To::Redis(&RedisServer::start())).await;
}
