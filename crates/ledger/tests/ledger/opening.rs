//! What may be opened, and with which options.

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{ADDRESS_DELAY, Appending, Ledger, LedgerError, Options, ShardCount, Withdrawal};
use cocoon_receipts::NanoTon;

use crate::bench::{ADDRESSES, Bench, LEASE, name, options};
use crate::redis_server::{DURABLE, RedisServer};

fn other_options() -> [Options; 2] {
    [Options { shards: ShardCount::new(4).unwrap(), ..options() }, Options { test_clock: false, ..options() }]
}

async fn opened_with(url: &str, options: Options) -> Result<(), LedgerError> {
    let ledger = cocoon_ledger::open(url, options).await?;
    ledger.ping().await
}

#[tokio::test]
async fn a_url_names_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start();
    let file = format!("sqlite:{}", folder.path().join("ledger.db").display());
    for url in [file, server.url()] {
        opened_with(&url, options()).await.unwrap();
        opened_with(&url, options()).await.unwrap();
        for other in other_options() {
            let refused = opened_with(&url, other).await;
            assert!(matches!(refused, Err(LedgerError::Configuration(_))), "{refused:?}");
        }
    }
    let secret = "postgres://user:hunter2@host";
    let Err(LedgerError::Configuration(reason)) = opened_with(secret, options()).await else { panic!() };
    assert!(!reason.contains("hunter2"));
}

#[tokio::test]
async fn only_a_ledger_made_with_a_test_clock_lets_it_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let server = RedisServer::start();
    let file = format!("sqlite:{}", folder.path().join("ledger.db").display());
    for url in [file, server.url()] {
        let ledger = cocoon_ledger::open(&url, Options::default()).await.unwrap();
        assert_eq!(ledger.shards(), ShardCount::DEFAULT);
        assert!(matches!(ledger.set_test_time(1).await, Err(LedgerError::Configuration(_))));
    }
}

#[tokio::test]
async fn an_unknown_schema_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    drop(Embedded::open(&path, options()).unwrap());
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE meta SET value = '1' WHERE name = 'schema'", []).unwrap();
    assert!(matches!(Embedded::open(&path, options()), Err(LedgerError::Schema(_))));

    let server = RedisServer::start();
    RedisLedger::connect(&server.url(), options()).await.unwrap();
    let mut client = server.client();
    redis::cmd("HSET").arg("cocoon:schema").arg("schema").arg("1").exec(&mut client).unwrap();
    let refused = RedisLedger::connect(&server.url(), options()).await;
    assert!(matches!(refused, Err(LedgerError::Schema(_))), "{refused:?}");
}

#[tokio::test]
async fn an_older_file_is_given_what_it_lacks_and_knows_what_was_to_be_paid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let bench = Bench::embedded_at(&path).await;
    bench.fund("alice", 500).await;
    bench.ledger.set_payout_address(&name("alice"), &name(ADDRESSES[0])).await.unwrap();
    bench.pass(ADDRESS_DELAY).await;
    let [first, second] = [100, 200].map(|amount| Withdrawal {
        account: name("alice"),
        intent: bench.request(),
        amount: NanoTon(amount),
    });
    for withdrawal in [&first, &second] {
        bench.ledger.withdraw_begin(withdrawal).await.unwrap();
    }
    bench.ledger.withdraw_done(&first.account, first.intent).await.unwrap();
    let (shard, url) = (bench.shard("alice"), bench.url.clone());
    drop(bench);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("DROP TABLE decision; DROP TABLE treasury_lease; DROP INDEX withdrawal_open;")
        .unwrap();
    drop(file);
    let ledger = cocoon_ledger::open(&url, options()).await.unwrap();
    let open = ledger.open_withdrawals(shard, None, 10).await.unwrap();
    assert_eq!(open.iter().map(|open| open.intent).collect::<Vec<_>>(), [second.intent]);
    let appended = ledger.append_decisions(0, &["first".to_owned()]).await.unwrap();
    assert_eq!(appended, Appending::Appended { count: 1 });
    assert_eq!(ledger.hold_lease("settler", LEASE).await.unwrap().holder, "settler");
}

#[test]
fn another_programs_file_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    rusqlite::Connection::open(&path).unwrap().execute("CREATE TABLE mine (x)", []).unwrap();
    assert!(matches!(Embedded::open(&path, options()), Err(LedgerError::Schema(_))));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no database at all, but long enough to be looked at as one".repeat(20)).unwrap();
    assert!(matches!(Embedded::open(&text, options()), Err(LedgerError::Schema(_))));
    let nowhere = folder.path().join("missing").join("ledger.db");
    assert!(matches!(Embedded::open(nowhere, options()), Err(LedgerError::Unavailable(_))));
}

#[tokio::test]
async fn dropping_the_embedded_ledger_closes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Embedded::open(&path, options()).unwrap();
    ledger.put_keyset(b"keyset").await.unwrap();
    let log = folder.path().join("ledger.db-wal");
    assert!(log.exists());
    // The last connection to close folds the log into the file; it would stay if the thread lived on.
    drop(ledger);
    assert!(!log.exists());
}

#[tokio::test]
async fn a_redis_that_could_lose_a_deposit_is_refused() {
    let refused = [
        (vec!["--appendonly", "no"], "appendonly"),
        ([&DURABLE[..], &["--maxmemory-policy", "allkeys-lru"]].concat(), "noeviction"),
        (vec!["--appendonly", "yes", "--appendfsync", "no"], "appendfsync"),
    ];
    for (settings, named) in refused {
        let server = RedisServer::with(&settings);
        let refused = RedisLedger::connect(&server.url(), options()).await;
        let Err(LedgerError::Configuration(reason)) = refused else { panic!("{settings:?}: {refused:?}") };
        assert!(reason.contains(named), "{reason}");
    }
}

#[tokio::test]
async fn a_redis_that_flushes_every_second_needs_waitaof() {
    let server = RedisServer::with(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    let list: Vec<String> = redis::cmd("COMMAND")
        .arg(&["LIST", "FILTERBY", "PATTERN", "waitaof"])
        .query(&mut server.client())
        .unwrap();
    let opened = RedisLedger::connect(&server.url(), options()).await;
    if list.is_empty() {
        let Err(LedgerError::Configuration(reason)) = opened else { panic!("{opened:?}") };
        assert!(reason.contains("WAITAOF"), "{reason}");
    } else {
        let ledger = opened.unwrap();
        let grant = cocoon_ledger::Grant {
            id: cocoon_receipts::RequestId::generate(),
            account: name("alice"),
            amount: cocoon_receipts::NanoTon(5),
        };
        for _ in 0..2 {
            ledger.grant(&grant).await.unwrap();
        }
        assert_eq!(ledger.account(&name("alice")).await.unwrap().balance.0, 5);
    }
}

#[tokio::test]
async fn a_primary_that_does_not_wait_for_its_replicas_is_refused() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    let port = primary.url().rsplit(':').next().unwrap().to_owned();
    let mut client = replica.client();
    redis::cmd("REPLICAOF").arg("127.0.0.1").arg(port).exec(&mut client).unwrap();
    let refused = RedisLedger::connect(&replica.url(), options()).await;
    let Err(LedgerError::Configuration(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("replica"), "{reason}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let refused = RedisLedger::connect(&primary.url(), options()).await;
        if let Err(LedgerError::Configuration(reason)) = refused {
            assert!(reason.contains("min-replicas-to-write"), "{reason}");
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the replica never connected");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
