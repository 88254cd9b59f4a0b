//! A primary with a replica under a sentinel, failed over by force and by its death while it is written to: the same ledger
//! goes on by itself, and nothing that had to be durable is lost.

use std::sync::Arc;
use std::time::Duration;

use cocoon_ledger::redis::{Access, RedisLedger, Timeouts};
use cocoon_ledger::{Ledger, LedgerError, Options, ShardCount};

use crate::bench::name;
use crate::redis_sentinel::RedisSentinel;
use crate::redis_server::{DURABLE, RedisServer, has_good_replica, until};
use crate::writers::Writers;

/// Receipts that are acknowledged between two faults.
const SOME: u64 = 40;

fn options() -> Options {
    Options { shards: ShardCount::new(8).unwrap(), ..Options::default() }
}

/// Two servers, of which the second follows the first.
async fn pair() -> [RedisServer; 2] {
    let settings =
        [&DURABLE[..], &["--min-replicas-to-write", "1", "--repl-diskless-sync-delay", "0"]].concat();
    let pair = [RedisServer::with(&settings), RedisServer::with(&settings)];
    pair[1].follow(&pair[0]).await;
    pair
}

/// Which of the two the sentinel calls the primary.
fn primary(sentinel: &RedisSentinel, pair: &[RedisServer; 2]) -> usize {
    usize::from(sentinel.primary() == pair[1].port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primaries_that_are_replaced_cost_nothing() {
    let mut pair = pair().await;
    let sentinel = RedisSentinel::of(&pair[0]).await;
    let access = Access {
        timeouts: Timeouts { connect: Duration::from_millis(500), response: Duration::from_secs(1) },
        ..Access::default()
    };
    let ledger = RedisLedger::connect_with(&sentinel.url(), options(), &access).await.unwrap();
    let writers = Writers::begin(Arc::new(ledger)).await;
    writers.go_on(SOME).await;

    sentinel.fail_over();
    until("the replica is the primary", || primary(&sentinel, &pair) == 1).await;
    until("the primary before follows it", || has_good_replica(&pair[1])).await;
    writers.go_on(SOME).await;

    pair[1].kill();
    until("the sentinel misses it", || primary(&sentinel, &pair) == 0).await;
    pair[1].restart();
    // As its operator would, rather than wait until the sentinel does.
    pair[1].follow(&pair[0]).await;
    writers.go_on(SOME).await;
    writers.end().await;
}

#[tokio::test]
async fn a_service_that_the_sentinel_does_not_know_is_unavailable() {
    let pair = pair().await;
    let sentinel = RedisSentinel::of(&pair[0]).await;
    let other = sentinel.url().replace("/ledger", "/other");
    let refused = RedisLedger::connect(&other, options()).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    let ledger = RedisLedger::connect(&sentinel.url(), options()).await.unwrap();
    ledger.account(&name("alice")).await.unwrap();
}
