//! What was seen is dropped after eight days, which no answer shows: the stores are looked into.

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Ledger, Settlement};
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
        count("finished")
    })
    .await;
}
