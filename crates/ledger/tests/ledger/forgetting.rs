//! What was seen is dropped after eight days, which no answer shows: the stores are looked into.

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Ledger, Settlement, Width};
use cocoon_receipts::{AccountId, RequestId};

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
    let shard = ledger.shards().of(&name("alice"));
    let sweep = async |days: u64| {
        ledger.set_test_time(START_MS + days * DAY_MS).await.unwrap();
        ledger.expired(shard, 1).await.unwrap();
        (Width::ALL.map(of), count("recent"))
    };
    assert_eq!(sweep(45).await, ([1, 1, 1], 1));
    assert_eq!(sweep(47).await, ([0, 1, 1], 0));
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
}
