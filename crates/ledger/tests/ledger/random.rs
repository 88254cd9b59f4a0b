//! Random interleavings of all calls, duplicates and clock steps: both stores answer what the model answers, and
//! the invariants hold after each step.

use cocoon_ledger::{JournalEntry, JournalKind, Ledger, Shard};
use cocoon_receipts::AccountId;

use crate::bench::*;
use crate::calls::{History, Random};
use crate::invariants;
use crate::model::Model;

async fn run(seed: u64, steps: usize) {
    let mut random = Random(seed);
    let benches = [Bench::embedded().await, Bench::redis().await];
    let mut model = Model::new(START_MS, GRACE, options().shards);
    let mut history = History::default();
    let everyone: Vec<AccountId> = accounts().collect();
    for step in 0..steps {
        let call = history.next(&mut random, &benches[0]);
        let expected = call.on_model(&mut model);
        for (store, bench) in ["embedded", "redis"].iter().zip(&benches) {
            let said = call.on(bench).await;
            let place = format!("{store}, seed {seed}, step {step}: {call:?}");
            assert_eq!(said, expected, "{place}");
            let Some(account) = call.account() else { continue };
            assert_eq!(bench.ledger.account(account).await.unwrap(), model.account(account), "{place}");
            let shard = bench.ledger.shards().of(account);
            let totals = bench.ledger.totals(shard).await.unwrap();
            assert_eq!(totals, model.totals(shard), "{place}");
            invariants::books_balance(&totals);
        }
    }
    for bench in &benches {
        let ledger = bench.ledger.as_ref();
        invariants::check(ledger, &everyone).await;
        for shard in ledger.shards().all() {
            assert_eq!(without_ids(ledger, shard).await, model.journal(shard), "seed {seed}");
        }
    }
    went_everywhere(&model);
}

/// A run that never came to a correction proves nothing about corrections.
fn went_everywhere(model: &Model) {
    let journal: Vec<JournalEntry> = options().shards.all().flat_map(|shard| model.journal(shard)).collect();
    let seen = |what: &str, entry: &dyn Fn(&JournalEntry) -> bool| {
        assert!(journal.iter().any(entry), "no {what} in {} entries", journal.len());
    };
    seen("charge", &|entry| entry.kind == JournalKind::Charge && entry.shortfall.0 == 0);
    seen("shortfall", &|entry| entry.kind == JournalKind::Charge && entry.shortfall.0 > 0);
    seen("expiry", &|entry| entry.kind == JournalKind::Expiry);
    seen("refund", &|entry| entry.kind == JournalKind::Correction && entry.amount > 0);
    seen("late charge", &|entry| entry.kind == JournalKind::Correction && entry.amount < 0);
    seen("receipt at no cost", &|entry| entry.kind == JournalKind::NoCost);
}

/// Every store has journal ids of its own kind.
async fn without_ids(ledger: &dyn Ledger, shard: Shard) -> Vec<JournalEntry> {
    let mut entries = invariants::whole_journal(ledger, shard).await;
    entries.iter_mut().for_each(|entry| entry.id.0.clear());
    entries
}

/// `COCOON_TEST_FULL=1` runs forty seeds of twice the length, `COCOON_TEST_SEED` one that failed.
async fn run_seeds(first: u64) {
    let full = std::env::var_os("COCOON_TEST_FULL").is_some();
    if let Some(seed) = std::env::var("COCOON_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed, 2000).await;
    }
    for seed in (first..).step_by(2).take(if full { 20 } else { 1 }) {
        run(seed, if full { 2000 } else { 1000 }).await;
    }
}

#[tokio::test]
async fn both_stores_and_the_model_agree_on_odd_seeds() {
    run_seeds(1).await;
}

#[tokio::test]
async fn both_stores_and_the_model_agree_on_even_seeds() {
    run_seeds(2).await;
}
