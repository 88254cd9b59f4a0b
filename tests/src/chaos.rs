//! Everything is killed, again and again, while clients go on. At the end the books are exact.

mod books;
mod crowd;
mod full_house;
mod signed;

pub(crate) use full_house::every_token_of_a_crowd_is_charged_once;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cocoon_ledger::{JournalKind, Ledger, ShardCount};
use serde_json::json;
use tokio::task::JoinSet;

use crate::bill::claims;
use crate::harness::{ACCOUNT, Client, GRANT, Settings, Stack, Store, chat, full, signal};

const CLIENTS: usize = 6;

pub(crate) async fn the_books_are_exact_on_sqlite() -> anyhow::Result<()> {
    the_books_are_exact(Store::Sqlite).await
}

pub(crate) async fn the_books_are_exact_on_redis() -> anyhow::Result<()> {
    the_books_are_exact(Store::Redis).await
}

#[derive(Default)]
struct Seen {
    whole: AtomicU64,
    broken: AtomicU64,
    hung_up: AtomicU64,
}

/// Guards against: a charge without a receipt or an expiry, a receipt charged twice or not at all, a hold that stays.
async fn the_books_are_exact(store: Store) -> anyhow::Result<()> {
    let length = Duration::from_secs(if full() { 90 } else { 12 });
    let settings = Settings {
        store,
        gateway: "lease_ms = 3000\nsweep_ms = 200\nledger.grace_ms = 4000".into(),
        backend: "checkpoint_ms = 200\nreceipt_confirm_ms = 5000".into(),
        ..Settings::default()
    };
    let mut stack = Stack::start(settings).await?;
    let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(work(stack.client(), number as u64, Arc::clone(&ended), Arc::clone(&seen)));
    }
    let begun = Instant::now();
    let mut kills: BTreeMap<&str, u32> = BTreeMap::new();
    let victims = ["gateway", "engine", "backend", "engine", "gateway", "redis"];
    let mut receipts = BTreeMap::new();
    let mut turn = 0;
    while begun.elapsed() < length {
        tokio::time::sleep(Duration::from_millis(700)).await;
        gather_receipts(&stack, &mut receipts)?;
        let victim = victims[turn % victims.len()];
        turn += 1;
        match victim {
            "gateway" => {
                stack.kill_gateway()?;
                stack.start_gateway()?;
            }
            "backend" => {
                stack.kill_backend()?;
                stack.start_backend()?;
            }
            "engine" => {
                // Between two engines there is none to kill.
                let Ok(pid) = stack.engine_pid() else { continue };
                signal(pid, "KILL")?;
            }
            _ => match stack.redis.as_mut() {
                Some(redis) => redis.restart().await?,
                None => continue,
            },
        }
        *kills.entry(victim).or_default() += 1;
    }
    ended.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    stack.wait_ready().await?;
    let account = stack.settled_account().await?;

    let url = match &stack.redis {
        Some(redis) => redis.url(),
        None => format!("sqlite:{}", stack.path("ledger.db").display()),
    };
    let ledger = cocoon_ledger::open(&url, cocoon_ledger::Options::default()).await?;
    gather_receipts(&stack, &mut receipts)?;
    let journaled = journaled(&ledger).await?;
    // A receipt may still be on its second delivery, never on its first: nothing is held any more.
    for (id, cost) in &receipts {
        let times = journaled.receipts.get(id).copied().unwrap_or_default();
        ensure!(times == 1, "receipt {id} of {cost} nanoTON is in the journal {times} times");
    }
    ensure!(journaled.receipts.len() == receipts.len(), "the journal has receipts that no backend signed");
    ensure!(i128::from(account.charged.0) == -journaled.paid, "{account:?} {journaled:?}");
    let signed: u64 = receipts.values().sum();
    ensure!(
        -journaled.paid == i128::from(signed) + journaled.kept_by_expiry,
        "{signed} signed, {journaled:?}"
    );
    ensure!(account.balance.0 == GRANT - account.charged.0, "{account:?}");
    ensure!(account.held.0 == 0 && account.shortfall.0 == 0, "{account:?}");
    ensure!(
        seen.whole.load(Ordering::Relaxed) > 0 && seen.broken.load(Ordering::Relaxed) > 0,
        "nothing happened"
    );
    println!(
        "{store:?}: {kills:?} killed in {length:?}; {} answers whole, {} broken, {} hung up; {} receipts, {} expiries, \
         {} nanoTON charged, books exact",
        seen.whole.load(Ordering::Relaxed),
        seen.broken.load(Ordering::Relaxed),
        seen.hung_up.load(Ordering::Relaxed),
        receipts.len(),
        journaled.expiries,
        account.charged,
    );
    Ok(())
}

/// One client: streams of various lengths, some cut off, some that kill the engine themselves.
async fn work(client: Client, number: u64, ended: Arc<AtomicBool>, seen: Arc<Seen>) -> anyhow::Result<()> {
    let mut turn = number;
    while !ended.load(Ordering::Relaxed) {
        turn += 1;
        let script = json!({ "tokens": 10 + turn * 7 % 50, "text": "tick ", "delay_ms": turn * 5 % 17 });
        let body = chat(&script.to_string(), json!({ "max_tokens": 100 }));
        let asked = async {
            let mut stream = client.stream(&body).await?;
            if turn.is_multiple_of(4) {
                stream.content(3).await?;
                return anyhow::Ok(None);
            }
            Ok(Some(stream.rest().await?.last().map(String::as_str) == Some("[DONE]")))
        };
        let counter = match tokio::time::timeout(Duration::from_secs(20), asked).await {
            Ok(Ok(Some(true))) => &seen.whole,
            Ok(Ok(None)) => &seen.hung_up,
            // Refused, cut or broken: what the test is about.
            Ok(Ok(Some(false)) | Err(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                &seen.broken
            }
            Err(_) => anyhow::bail!("a client hung"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Adds the receipts that the outbox has now, with their costs. It forgets one only after the second acknowledgement,
/// five seconds at the least after it was written.
fn gather_receipts(stack: &Stack, receipts: &mut BTreeMap<String, u64>) -> anyhow::Result<()> {
    for (receipt, _) in stack.outbox().unwrap_or_default() {
        let claims = claims(&receipt)?;
        let id = claims["jti"].as_str().context("no jti")?.to_owned();
        receipts.insert(id, claims["cost"].as_str().context("no cost")?.parse()?);
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Journaled {
    /// How often each receipt is in the journal.
    receipts: BTreeMap<String, u32>,
    /// What requests changed the balance by, all together: negative.
    paid: i128,
    /// Charged at a checkpoint, and never corrected by a receipt.
    kept_by_expiry: i128,
    expiries: u32,
}

async fn journaled(ledger: &Arc<dyn Ledger>) -> anyhow::Result<Journaled> {
    let shard = ShardCount::DEFAULT.of(&ACCOUNT.parse()?);
    let mut journaled = Journaled::default();
    let mut expired: BTreeMap<String, i128> = BTreeMap::new();
    let mut after = None;
    loop {
        let entries = ledger.journal(shard, after.as_ref(), 500).await?;
        let Some(last) = entries.last() else { break };
        after = Some(last.id.clone());
        for entry in entries {
            if let Some(receipt) = entry.receipt {
                *journaled.receipts.entry(receipt.to_string()).or_default() += 1;
            }
            match entry.kind {
                JournalKind::Deposit
                | JournalKind::Grant
                | JournalKind::Withdrawing
                | JournalKind::Withdrawn
                | JournalKind::WithdrawalUndone
                | JournalKind::Voucher => continue,
                JournalKind::Expiry => {
                    journaled.expiries += 1;
                    expired.insert(entry.cause, -entry.amount);
                }
                JournalKind::Correction => {
                    // The receipt's cost is now what was paid in all.
                    expired.remove(&entry.cause);
                }
                JournalKind::Charge | JournalKind::NoCost => {}
            }
            journaled.paid += entry.amount;
        }
    }
    journaled.kept_by_expiry = expired.values().sum();
    Ok(journaled)
}
