//! kill -9 in the middle of writes: what was acknowledged is there, and the books balance.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cocoon_ledger::embedded::Embedded;
use cocoon_ledger::redis::RedisLedger;
use cocoon_ledger::{Grant, Ledger, LedgerError, Options, Raised, Settled, Settlement, ShardCount};
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

const CHANNEL: &str = CHANNELS[0];
const DEPOSITED: u64 = 1 << 40;

/// What an account is charged for each request.
const COST: u64 = 70;

/// Funds, reserves, binds and settles until the store is gone; tells every acknowledged receipt. Half of the writers spend
/// of one channel, each request with a voucher that is higher than the last one.
async fn write_until_gone(ledger: Arc<dyn Ledger>, tell: impl Fn(ReceiptId) + Clone + Send + 'static) {
    ledger.open_channel(&opening(CHANNEL, DEPOSITED, 0)).await.unwrap();
    let known = ledger.channel(&name(CHANNEL)).await.unwrap().unwrap();
    let newest = Arc::new(AtomicU64::new(known.ceiling().0));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (ledger, newest, tell) = (Arc::clone(&ledger), Arc::clone(&newest), tell.clone());
        writers.spawn(async move {
            loop {
                let done = match number % 2 {
                    0 => one_request(ledger.as_ref()).await,
                    _ => one_of_the_channel(ledger.as_ref(), &newest).await,
                };
                match done {
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
    spend(ledger, "alice", request).await
}

/// Another's voucher may be above it already, and then has raised as much as this one would have.
async fn one_of_the_channel(ledger: &dyn Ledger, newest: &AtomicU64) -> Result<ReceiptId, LedgerError> {
    let cumulative = newest.fetch_add(100, Ordering::SeqCst) + 100;
    match ledger.raise_ceiling(&name(CHANNEL), &voucher(cumulative)).await? {
        Raised::Raised { .. } | Raised::Known => {}
        refused => panic!("{refused:?}"),
    }
    spend(ledger, CHANNEL, RequestId::generate()).await
}

async fn spend(ledger: &dyn Ledger, account: &str, request: RequestId) -> Result<ReceiptId, LedgerError> {
    assert_eq!(ledger.reserve(&reserve(account, request, 100)).await?, held(100));
    ledger.bind(&bind(account, request, 1, keyset("a"))).await?;
    let settlement = Settlement { account: name(account), ..settlement(request, COST) };
    assert_eq!(ledger.settle(&settlement).await?, charged(COST));
    Ok(settlement.receipt)
}

async fn everything_acknowledged_is_there(ledger: &dyn Ledger, acknowledged: &[ReceiptId]) {
    // Both are in one shard, which has seen every receipt. That the ceiling is what was credited is checked too.
    let journaled = invariants::check(ledger, &[name("alice"), name(CHANNEL)], START_MS).await;
    let channel = ledger.channel(&name(CHANNEL)).await.unwrap().unwrap();
    let spent = ledger.account(&name(CHANNEL)).await.unwrap().charged;
    assert!(spent.0 > 0 && channel.voucher == Some(voucher(channel.ceiling().0)), "{spent} of {channel:?}");
    for receipt in acknowledged {
        assert!(journaled.contains(receipt), "{receipt} was acknowledged and is lost");
        let mut again = settlement(RequestId::generate(), COST);
        again.receipt = *receipt;
        assert_eq!(ledger.settle(&again).await.unwrap(), Settled::Already { charged: NanoTon(COST) });
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
