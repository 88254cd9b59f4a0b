//! kill -9 in the middle of writes: what was acknowledged is there, and the books balance.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Grant, Ledger, LedgerError, Options, Settled, ShardCount};
use cocoon_receipts::{NanoTon, ReceiptId, RequestId};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::concurrency::settlement;
use crate::invariants;
use crate::redis_server::RedisServer;

const CHILD: &str = "COCOON_LEDGER_CHILD";
const ENOUGH: usize = 60;

fn options() -> Options {
    Options { shards: ShardCount::new(3).unwrap(), ..Options::default() }
}

/// Reserves, binds and settles until the store is gone; tells every acknowledged receipt.
async fn write_until_gone(ledger: Arc<dyn Ledger>, tell: impl Fn(ReceiptId) + Clone + Send + 'static) {
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let (ledger, tell) = (Arc::clone(&ledger), tell.clone());
        writers.spawn(async move {
            loop {
                match one_request(ledger.as_ref()).await {
                    Ok(receipt) => tell(receipt),
                    Err(LedgerError::Unavailable(_)) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    writers.join_all().await;
}

async fn one_request(ledger: &dyn Ledger) -> Result<ReceiptId, LedgerError> {
    let request = RequestId::generate();
    ledger.grant(&Grant { id: request, account: name("alice"), amount: NanoTon(100) }).await?;
    ledger.reserve(&reserve("alice", request, 100)).await?;
    ledger.bind(&bind("alice", request, 1, keyset("a"))).await?;
    let settlement = settlement(request, 70);
    assert_eq!(ledger.settle(&settlement).await?, charged(70));
    Ok(settlement.receipt)
}

async fn everything_acknowledged_is_there(ledger: &dyn Ledger, acknowledged: &[ReceiptId]) {
    let journaled = invariants::check(ledger, &[name("alice")], START_MS).await;
    for receipt in acknowledged {
        assert!(journaled.contains(receipt), "{receipt} was acknowledged and is lost");
        let mut again = settlement(RequestId::generate(), 70);
        again.receipt = *receipt;
        assert_eq!(ledger.settle(&again).await.unwrap(), Settled::Already { charged: NanoTon(70) });
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "crashes::writes_until_it_is_killed"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged: Vec<ReceiptId> = Vec::new();
        while acknowledged.len() < ENOUGH {
            let line = lines.next().expect("the child writes").unwrap();
            acknowledged.extend(line.strip_prefix("acknowledged ").map(name::<ReceiptId>));
        }
        child.kill().unwrap();
        let rest = lines.map_while(Result::ok);
        acknowledged
            .extend(rest.filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<ReceiptId>().ok()));
        child.wait().unwrap();
        let ledger = Embedded::open(&path, options()).unwrap();
        everything_acknowledged_is_there(&ledger, &acknowledged).await;
    }
}

#[tokio::test]
#[ignore = "the process that the test above kills"]
async fn writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let ledger = Embedded::open(path, options()).unwrap();
    write_until_gone(Arc::new(ledger), |receipt| {
        writeln!(std::io::stdout(), "acknowledged {receipt}").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_killed_redis_loses_nothing_it_acknowledged() {
    let mut server = RedisServer::start();
    let ledger = Arc::new(RedisLedger::connect(&server.url(), options()).await.unwrap());
    let mut all = Vec::new();
    for _ in 0..2 {
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let writing: Arc<dyn Ledger> = ledger.clone();
        let mut writers = JoinSet::new();
        writers.spawn(write_until_gone(writing, move |receipt| tell.send(receipt).unwrap()));
        for _ in 0..ENOUGH {
            all.push(told.recv().await.expect("the writers write"));
        }
        server.kill();
        writers.join_all().await;
        while let Some(receipt) = told.recv().await {
            all.push(receipt);
        }
        server.restart();
        // The same handle goes on, once it has found out.
        crate::outages::is_back(&ledger).await;
        everything_acknowledged_is_there(ledger.as_ref(), &all).await;
    }
}
