//! A cluster that loses primaries while it is written to, each time with writes that it had acknowledged: what a replica
//! did not have yet comes back with the outboxes, and what had to be durable was never lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cocoon_ledger::redis::{Access, RedisLedger, Timeouts};
use cocoon_ledger::{Grant, Ledger, LedgerError, Options, Reserved, Settled, Settlement, ShardCount};
use cocoon_receipts::{AccountId, NanoTon, ReceiptId, RequestId};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::concurrency::settlement;
use crate::invariants;
use crate::redis_cluster::{PRIMARIES, RedisCluster, is_replica_in_step};

const ACCOUNTS_USED: u64 = 24;
/// How long an outbox waits before it delivers for the second time. Longer than a write takes to its replica, and than a
/// primary is missed.
const AGAIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// Counted by all writers.
#[derive(Default)]
struct Counts {
    /// Calls that found no store.
    refused: AtomicU64,
    /// Receipts acknowledged for the first time.
    acknowledged: AtomicU64,
    /// Of those, the ones that the second delivery found gone.
    lost: AtomicU64,
    granted: AtomicU64,
}

fn options() -> Options {
    Options { shards: ShardCount::new(16).unwrap(), ..Options::default() }
}

fn account(number: u64) -> AccountId {
    name(&format!("account-{number}"))
}

/// Repeats a call until the store answers, as outboxes and clients do.
async fn until_answered<Answer, Call>(counts: &Counts, call: impl Fn() -> Call) -> Answer
where
    Call: Future<Output = Result<Answer, LedgerError>>,
{
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(LedgerError::Unavailable(_)) => {
                counts.refused.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Requests one after the other until `done`; every receipt is delivered until it was acknowledged twice. Answers the
/// receipts.
async fn write(
    ledger: Arc<dyn Ledger>,
    seed: u64,
    done: Arc<AtomicBool>,
    counts: Arc<Counts>,
) -> Vec<ReceiptId> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut outbox = JoinSet::new();
    let mut receipts = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let who = account(random.u64(..ACCOUNTS_USED));
        let request = RequestId::generate();
        if random.u8(..10) == 0 {
            grant(ledger.as_ref(), &who, 1_000, &counts).await;
        }
        let asked = reserve(who.as_str(), request, 100);
        match until_answered(&counts, || ledger.reserve(&asked)).await {
            Reserved::Held { .. } => {}
            refused => panic!("there is enough for all: {refused:?}"),
        }
        let bound = bind(who.as_str(), request, 1, keyset("a"));
        // A primary that went in between may have taken the hold with it.
        until_answered(&counts, || ledger.bind(&bound)).await;
        let settlement = Settlement { account: who, ..settlement(request, 70) };
        receipts.push(settlement.receipt);
        until_answered(&counts, || ledger.settle(&settlement)).await;
        counts.acknowledged.fetch_add(1, Ordering::SeqCst);
        outbox.spawn(deliver_again(Arc::clone(&ledger), settlement, Arc::clone(&counts)));
    }
    outbox.join_all().await;
    receipts
}

async fn deliver_again(ledger: Arc<dyn Ledger>, settlement: Settlement, counts: Arc<Counts>) {
    tokio::time::sleep(AGAIN).await;
    if !matches!(
        until_answered(&counts, || ledger.settle(&settlement)).await,
        Settled::Already { charged: NanoTon(70) }
    ) {
        counts.lost.fetch_add(1, Ordering::SeqCst);
    }
}

async fn grant(ledger: &dyn Ledger, who: &AccountId, amount: u64, counts: &Counts) {
    let grant = Grant { id: RequestId::generate(), account: who.clone(), amount: NanoTon(amount) };
    until_answered(counts, || ledger.grant(&grant)).await;
    counts.granted.fetch_add(amount, Ordering::SeqCst);
}

/// Cuts a pair's replica off, lets writes go on for a moment, kills the primary and makes the replica the primary; then
/// the killed node comes back as its replica.
async fn lose_a_primary(cluster: &mut RedisCluster, primary: usize) {
    let replica = (primary + PRIMARIES) % (2 * PRIMARIES);
    // So that there is something to lose: otherwise a primary that has lost its replica takes no more writes.
    let mut client = cluster.nodes[primary].client();
    redis::cmd("CONFIG").arg(&["SET", "min-replicas-to-write", "0"]).exec(&mut client).unwrap();
    cluster.nodes[replica].signal("STOP");
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec(&mut client).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    cluster.nodes[primary].kill();
    cluster.nodes[replica].signal("CONT");
    cluster.take_over(replica);
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.nodes[primary].restart();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !is_replica_in_step(&cluster.nodes[primary]) {
        assert!(std::time::Instant::now() < deadline, "the killed node does not follow its replica");
        tokio::time::sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn primaries_lost_under_load_cost_nothing() {
    let rounds = if std::env::var_os("COCOON_TEST_FULL").is_some() { 8 } else { 2 };
    let mut cluster = RedisCluster::start();
    let access = Access {
        timeouts: Timeouts { connect: Duration::from_millis(500), response: Duration::from_secs(1) },
        ..Access::default()
    };
    let ledger = RedisLedger::connect_with(&cluster.url(), options(), &access).await.unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    let counts = Arc::new(Counts::default());
    for number in 0..ACCOUNTS_USED {
        grant(ledger.as_ref(), &account(number), 100_000_000, &counts).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for seed in 0..8 {
        writers.spawn(write(Arc::clone(&ledger), seed, Arc::clone(&done), Arc::clone(&counts)));
    }
    for round in 0..rounds {
        // The second time a pair is hit, it is the other of the two.
        lose_a_primary(&mut cluster, round % (2 * PRIMARIES)).await;
    }
    done.store(true, Ordering::SeqCst);
    let receipts: BTreeSet<ReceiptId> = writers.join_all().await.into_iter().flatten().collect();

    let everyone: Vec<AccountId> = (0..ACCOUNTS_USED).map(account).collect();
    let journaled = invariants::check(ledger.as_ref(), &everyone, START_MS).await;
    let (mut grants, mut shortfall, mut open) = (0, 0, 0);
    for shard in ledger.shards().all() {
        let totals = ledger.totals(shard).await.unwrap();
        grants += totals.grants.0;
        shortfall += totals.shortfall.0;
        open += totals.open_holds;
    }
    let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
    let lost = of(&counts.lost);
    let missing = receipts.difference(&journaled).count();
    println!("primaries lost        {rounds}");
    println!("calls refused         {}", of(&counts.refused));
    println!("receipts acknowledged {}", of(&counts.acknowledged));
    println!("  of them lost        {lost}");
    println!("  of them came back   {}", lost - missing as u64);
    println!("shortfall             {shortfall} nanoTON");
    assert_eq!(missing, 0, "every receipt is in the journal");
    assert_eq!(journaled.len(), receipts.len(), "and no other is");
    assert!(lost > 0, "nothing was lost: the run shows nothing");
    assert_eq!(grants, of(&counts.granted), "a grant that was acknowledged is never lost");
    assert_eq!((shortfall, open), (0, 0));
}
