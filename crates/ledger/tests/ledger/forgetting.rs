//! What was seen is dropped after eight days, which no answer shows: the stores are looked into.

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{
    AnswerName, Answers, Begin, Begun, Budget, Ledger, Limits, Period, Reserve, Settlement, Width,
};
use cocoon_receipts::{AccountId, Digest, NanoTon, RequestId};

use crate::bench::*;
use crate::concurrency::settlement;
use crate::redis_server::RedisServer;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// One request a day for five days, then sweeps at the last moment the third day is kept and at the next; `kept`
/// counts days.
async fn five_days(ledger: &dyn Ledger, kept: impl AsyncFn() -> i64) {
    let account: AccountId = name("alice");
    for day in 0..5 {
        let now = START_MS + day * DAY_MS;
        ledger.set_test_time(now).await.unwrap();
        let request: RequestId = request_made_at(now, day);
        let charge = Settlement { receipt: receipt_made_at(now, day), ..settlement(request, 0) };
        assert_eq!(ledger.settle(&charge).await.unwrap(), charged(0));
    }
    // START_MS is not midnight: of day d everything is kept until day d + 8 is over.
    let over = (START_MS / DAY_MS + 2 + 8 + 1) * DAY_MS;
    for (at, days) in [(over - 1, 3), (over, 2)] {
        ledger.set_test_time(at).await.unwrap();
        for _ in 0..5 {
            ledger.expired(ledger.shards().of(&account), 1).await.unwrap();
        }
        assert_eq!(kept().await, days);
    }
}

#[tokio::test]
async fn the_embedded_store_drops_old_seen_sets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Embedded::open(&path, options()).unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let count = |table: &str| -> i64 {
        file.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    five_days(&ledger, async || {
        assert_eq!(count("finished"), count("receipt"));
        assert_eq!(count("finished"), count("kept_receipt"));
        count("finished")
    })
    .await;
    assert_eq!(count("journal"), 5, "the journal is not a seen-set");
}

#[tokio::test]
async fn the_redis_store_drops_old_seen_sets() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    let count = |set: &str| -> i64 {
        let named = format!("cocoon:*:{set}:*");
        let keys: Vec<String> = redis::cmd("KEYS").arg(named).query(&mut server.client()).unwrap();
        i64::try_from(keys.len()).unwrap()
    };
    five_days(&ledger, async || {
        assert_eq!(count("finished"), count("receipts"));
        assert_eq!((count("kept"), count("kept-of")), (count("receipts"), count("receipts")));
        count("finished")
    })
    .await;
}

async fn settle_one(ledger: &dyn Ledger) {
    let receipt = receipt_made_at(START_MS, 1);
    let charge = Settlement { receipt, ..settlement(request_made_at(START_MS, 1), 0) };
    assert_eq!(ledger.settle(&charge).await.unwrap(), charged(0));
}

#[tokio::test]
async fn the_embedded_store_drops_old_buckets_and_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Embedded::open(&path, options()).unwrap();
    let file = rusqlite::Connection::open(&path).unwrap();
    let count = |of: &str| -> i64 {
        file.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0)).unwrap()
    };
    let of = |width: Width| count(&format!("usage WHERE width = {}", width.ms()));
    ledger.set_test_time(START_MS).await.unwrap();
    settle_one(&ledger).await;
    let begin = Begin {
        name: AnswerName { account: name("alice"), id: Digest::of(&[b"id"]) },
        fingerprint: Digest::of(&[b"request"]),
        holder: request_made_at(START_MS, 2),
        lease: LEASE,
    };
    assert_eq!(ledger.begin_answer(&begin).await.unwrap(), Begun::Started);
    let shard = ledger.shards().of(&name("alice"));
    let sweep = async |days: u64| {
        ledger.set_test_time(START_MS + days * DAY_MS).await.unwrap();
        ledger.expired(shard, 1).await.unwrap();
        (Width::ALL.map(of), count("recent"))
    };
    assert_eq!(count("answer"), 1);
    assert_eq!(sweep(45).await, ([1, 1, 1], 1));
    assert_eq!(count("answer"), 0);
    assert_eq!(sweep(47).await, ([0, 1, 1], 0));
    assert_eq!(sweep(60).await, ([0, 1, 1], 0));
    assert_eq!(count("used"), 2, "key and account");
    assert_eq!(sweep(61).await, ([0, 1, 1], 0));
    assert_eq!(count("used"), 0);
    assert_eq!(sweep(400).await, ([0, 1, 1], 0));
    assert_eq!(sweep(403).await, ([0, 0, 1], 0));
    assert_eq!(sweep(5 * 366).await, ([0, 0, 1], 0));
    assert_eq!(sweep(5 * 366 + 34).await, ([0, 0, 0], 0));
}

#[tokio::test]
async fn the_redis_server_drops_old_buckets_and_requests_by_itself() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    ledger.set_test_time(START_MS).await.unwrap();
    settle_one(&ledger).await;
    let days_left = |keys: &str| -> u64 {
        let mut client = server.client();
        let found: Vec<String> = redis::cmd("KEYS").arg(keys).query(&mut client).unwrap();
        assert_eq!(found.len(), 1, "{keys}");
        let left: u64 = redis::cmd("PTTL").arg(&found[0]).query(&mut client).unwrap();
        left.div_ceil(DAY_MS)
    };
    assert_eq!(days_left("*:usage:minutes:*"), 46);
    assert_eq!(days_left("*:usage:hours:*"), 401);
    assert_eq!(days_left("*:usage:days:*"), 5 * 366 + 32);
    assert_eq!((days_left("*:recent:*"), days_left("*:requests:*")), (45, 45));
    assert_eq!((days_left("*:used:*|k|key"), days_left("*:used:*|a")), (60, 60));
    // A budget for all time is not to be forgotten.
    let budget = Budget { amount: NanoTon(5), period: Period::Total };
    let limits = Limits { budget: Some(budget), ..Limits::default() };
    let request = request_made_at(START_MS, 2);
    let asked = Reserve { limits, project: None, ..reserve("alice", request, 0) };
    assert_eq!(ledger.reserve(&asked).await.unwrap(), held(0));
    let kept: i64 = redis::cmd("PTTL")
        .arg(redis::cmd("KEYS").arg("*:used:*|k|key").query::<Vec<String>>(&mut server.client()).unwrap())
        .query(&mut server.client())
        .unwrap();
    assert_eq!(kept, -1);
}

/// Each has room made for it, and no more is left of a request that ended than what is remembered of it.
#[tokio::test]
async fn the_redis_store_keeps_nothing_that_nobody_asks_for() {
    let server = RedisServer::start();
    let bench = Bench::redis_on(&server).await;
    let mut client = server.client();
    let shard = bench.shard("alice");
    let key = |name: &str| format!("cocoon:{{{shard}}}:{name}:alice");
    for n in 0..1000 {
        let id = request_made_at(START_MS - 1000, n).to_string();
        redis::cmd("ZADD").arg(key("recent")).arg(START_MS - 1000).arg(&id).exec(&mut client).unwrap();
        redis::cmd("HSET").arg(key("requests")).arg(&id).arg("").exec(&mut client).unwrap();
    }
    bench.fund("alice", 100).await;
    let request = bench.bound("alice", 60).await;
    bench.settle(&bench.settlement("alice", request, 50)).await;
    for (count, of) in [("ZCARD", "recent"), ("HLEN", "requests")] {
        assert_eq!(redis::cmd(count).arg(key(of)).query::<i64>(&mut client).unwrap(), 1000, "{of}");
    }
    for none in ["*:hold:*", "*:leases", "*:slots:*", "*:running:*"] {
        let keys: Vec<String> = redis::cmd("KEYS").arg(none).query(&mut client).unwrap();
        assert_eq!(keys, [""; 0]);
    }
}
