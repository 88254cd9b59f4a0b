//! Callers that go on through outages, as clients and outboxes do, and whether what they were told is true at the end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cocoon_ledger::{Grant, Ledger, LedgerError, Reserved, Settled, Settlement};
use cocoon_receipts::{AccountId, NanoTon, ReceiptId, RequestId};
use tokio::task::JoinSet;

use crate::bench::*;
use crate::concurrency::settlement;
use crate::invariants;

const WRITERS: u64 = 8;
const ACCOUNTS_USED: u64 = 24;
/// How long an outbox waits before it delivers for the second time. Longer than a write takes to its replica, and than a
/// primary is missed.
const AGAIN: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(60);

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

pub(crate) struct Writers {
    ledger: Arc<dyn Ledger>,
    counts: Arc<Counts>,
    done: Arc<AtomicBool>,
    tasks: JoinSet<Vec<ReceiptId>>,
}

/// What was lost and what of it came back, once all was delivered twice.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Receipts that were acknowledged and found gone by their second delivery.
    pub(crate) lost: u64,
}

fn account(number: u64) -> AccountId {
    name(&format!("account-{number}"))
}

impl Writers {
    /// Funds their accounts and begins.
    pub(crate) async fn begin(ledger: Arc<dyn Ledger>) -> Self {
        let (counts, done) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        for number in 0..ACCOUNTS_USED {
            grant(ledger.as_ref(), &account(number), 100_000_000, &counts).await;
        }
        let mut tasks = JoinSet::new();
        for seed in 0..WRITERS {
            tasks.spawn(write(Arc::clone(&ledger), seed, Arc::clone(&done), Arc::clone(&counts)));
        }
        Self { ledger, counts, done, tasks }
    }

    /// Returns once that many more receipts were acknowledged.
    pub(crate) async fn go_on(&self, receipts: u64) {
        let acknowledged = || self.counts.acknowledged.load(Ordering::SeqCst);
        let (enough, deadline) = (acknowledged() + receipts, Instant::now() + LIMIT);
        while acknowledged() < enough {
            assert!(Instant::now() < deadline, "the writers do not get on");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends them, and checks the books: every receipt is there once, every grant that was answered is, and all adds up.
    pub(crate) async fn end(self) -> Outcome {
        let Self { ledger, counts, done, tasks } = self;
        done.store(true, Ordering::SeqCst);
        let receipts: BTreeSet<ReceiptId> = tasks.join_all().await.into_iter().flatten().collect();
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
        println!("calls refused         {}", of(&counts.refused));
        println!("receipts acknowledged {}", of(&counts.acknowledged));
        println!("  of them lost        {lost}");
        println!("  of them came back   {}", lost - missing as u64);
        println!("shortfall             {shortfall} nanoTON");
        assert_eq!(missing, 0, "every receipt is in the journal");
        assert_eq!(journaled.len(), receipts.len(), "and no other is");
        assert_eq!(grants, of(&counts.granted), "a grant that was acknowledged is never lost");
        assert_eq!((shortfall, open), (0, 0));
        Outcome { lost }
    }
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
