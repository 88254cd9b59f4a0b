//! Every receipt that a backend signed, gathered while its outbox still has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use cocoon_openapi::Delivery;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::bill::claims;

#[derive(Debug, Clone)]
pub(super) struct Receipt {
    /// Counts the receipts of one start of the backend, from 1.
    pub(super) seq: u64,
    pub(super) cost: u64,
    pub(super) completion: u64,
    pub(super) delivery: Delivery,
}

type Receipts = BTreeMap<String, Receipt>;

/// Gathers until it is dropped. The outbox forgets a receipt only after its second acknowledgement, five seconds after the
/// first.
pub(super) struct Signed {
    outbox: PathBuf,
    receipts: Arc<Mutex<Receipts>>,
    _task: JoinSet<()>,
}

impl Signed {
    pub(super) fn gather(outbox: PathBuf) -> Self {
        let receipts = Arc::new(Mutex::new(Receipts::new()));
        let mut task = JoinSet::new();
        let (path, gathered) = (outbox.clone(), Arc::clone(&receipts));
        task.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(300)).await;
                // Between two files there is none; the last look is where an error counts.
                if let Ok(found) = read(&path) {
                    gathered.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                }
            }
        });
        Self { outbox, receipts, _task: task }
    }

    /// Those of now, none of which is missing.
    pub(super) fn all(&self) -> anyhow::Result<Receipts> {
        let mut receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        receipts.extend(read(&self.outbox)?);
        let numbers: BTreeSet<u64> = receipts.values().map(|receipt| receipt.seq).collect();
        ensure!(
            numbers.len() == receipts.len() && numbers.last().copied() == Some(numbers.len() as u64),
            "{} receipts were seen of {:?}",
            receipts.len(),
            numbers.last()
        );
        Ok(receipts.clone())
    }

    /// The latest, at most `count`.
    pub(super) fn latest(&self, count: usize) -> Vec<Delivery> {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        receipts.values().rev().take(count).map(|receipt| receipt.delivery.clone()).collect()
    }

    /// Receipts that are not acknowledged twice yet.
    pub(super) fn undelivered(&self) -> anyhow::Result<usize> {
        let mut waiting = BTreeSet::new();
        for line in lines(&self.outbox)? {
            if line["n"] == 2 {
                waiting.remove(line["ack"].as_str().context("no ack")?);
            } else if let Some(id) = line["id"].as_str() {
                waiting.insert(id.to_owned());
            } else if !line["refused"].is_null() || !line["expired"].is_null() {
                bail!("a receipt was not taken: {line}");
            }
        }
        Ok(waiting.len())
    }
}

fn lines(outbox: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(outbox)?;
    // The last line may still be being written.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn read(outbox: &Path) -> anyhow::Result<Receipts> {
    let mut receipts = Receipts::new();
    for line in lines(outbox)? {
        let (Some(token), Some(ticket)) = (line["receipt"].as_str(), line["ticket"].as_str()) else {
            continue;
        };
        let claims = claims(token)?;
        let receipt = Receipt {
            seq: claims["seq"].as_u64().context("no seq")?,
            cost: claims["cost"].as_str().context("no cost")?.parse()?,
            completion: claims["usage"]["completion"].as_u64().unwrap_or_default(),
            delivery: Delivery { token: token.to_owned(), ticket: ticket.to_owned() },
        };
        receipts.insert(claims["jti"].as_str().context("no jti")?.to_owned(), receipt);
    }
    Ok(receipts)
}
