//! A Redis that does not answer is an error within the timeouts, and forgotten once it answers again.

use std::time::{Duration, Instant};

use cocoon_ledger::redis::{RedisLedger, Timeouts};
use cocoon_ledger::{Ledger, LedgerError};

use crate::bench::{name, options, release};
use crate::redis_server::RedisServer;

const SHORT: Timeouts =
    Timeouts { connect: Duration::from_millis(300), response: Duration::from_millis(500) };

/// Both timeouts, and what a loaded machine adds.
const SOON: Duration = Duration::from_millis(2500);

async fn is_unavailable_soon(ledger: &RedisLedger) {
    let asked = Instant::now();
    let answer = ledger.account(&name("alice")).await;
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
}

pub(crate) async fn is_back(ledger: &RedisLedger) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while ledger.ping().await.is_err() {
        assert!(Instant::now() < deadline, "it never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ledger.account(&name("alice")).await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let mut server = RedisServer::start();
    server.kill();
    let asked = Instant::now();
    let refused = RedisLedger::connect_within(&server.url(), options(), SHORT).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
    assert!(asked.elapsed() < SOON);
}

#[tokio::test]
async fn a_server_that_died_is_unavailable_until_it_is_back() {
    let mut server = RedisServer::start();
    let ledger = RedisLedger::connect_within(&server.url(), options(), SHORT).await.unwrap();
    server.kill();
    for _ in 0..3 {
        is_unavailable_soon(&ledger).await;
    }
    server.restart();
    is_back(&ledger).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_until_it_goes_on() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect_within(&server.url(), options(), SHORT).await.unwrap();
    server.signal("STOP");
    for _ in 0..3 {
        is_unavailable_soon(&ledger).await;
    }
    server.signal("CONT");
    is_back(&ledger).await;
}

#[tokio::test]
async fn a_server_that_lost_the_functions_is_given_them_again() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    for durable in [false, true] {
        redis::cmd("FUNCTION").arg("FLUSH").exec(&mut server.client()).unwrap();
        if durable {
            let grant = cocoon_ledger::Grant {
                id: cocoon_receipts::RequestId::generate(),
                account: name("alice"),
                amount: cocoon_receipts::NanoTon(5),
            };
            ledger.grant(&grant).await.unwrap();
        } else {
            let released = cocoon_receipts::RequestId::generate();
            ledger.release(&release("alice", released)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_that_another_holds_is_unavailable_until_it_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = cocoon_ledger::embedded::Embedded::open(&path, options()).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = ledger.ping().await;
    assert!(matches!(answer, Err(LedgerError::Unavailable(_))), "{answer:?}");
    other.execute_batch("ROLLBACK").unwrap();
    ledger.ping().await.unwrap();
}

#[tokio::test]
async fn a_key_that_holds_something_else_is_corrupt() {
    let server = RedisServer::start();
    let ledger = RedisLedger::connect(&server.url(), options()).await.unwrap();
    let shard = ledger.shards().of(&name("alice"));
    let key = format!("cocoon:{{{shard}}}:account:alice");
    redis::cmd("SET").arg(&key).arg("a string").exec(&mut server.client()).unwrap();
    let answer = ledger.account(&name("alice")).await;
    assert!(matches!(answer, Err(LedgerError::Corrupt(_))), "{answer:?}");
    let request = cocoon_receipts::RequestId::generate();
    let answer = ledger.reserve(&crate::bench::reserve("alice", request, 0)).await;
    assert!(matches!(answer, Err(LedgerError::Corrupt(_))), "{answer:?}");
}
