//! Whether the store still has what it had: one that was restored from an older file, or failed over to a replica that
//! lacked the last writes, says nothing of it.

use std::collections::BTreeMap;

use crate::{JournalEntry, Ledger, LedgerError, Shard};

/// Remembers the newest journal entry of each shard that it saw.
#[derive(Debug, Default)]
pub struct Watch {
    seen: BTreeMap<Shard, JournalEntry>,
}

/// A shard whose journal lacks an entry that was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    pub shard: Shard,
    /// The entry that was seen.
    pub seen: JournalEntry,
    /// The newest one now.
    pub last: Option<JournalEntry>,
}

impl Watch {
    /// Looks at every shard; each loss is told once. Since ids go on after a loss, on SQLite even with the same ones, it
    /// is the entry itself that must still be there.
    ///
    /// # Errors
    /// [`LedgerError`]; what was seen before stays remembered.
    pub async fn look(&mut self, ledger: &dyn Ledger) -> Result<Vec<Behind>, LedgerError> {
        let mut behind = Vec::new();
        for shard in ledger.shards().all() {
            let last = ledger.last_entry(shard).await?;
            if let Some(seen) = self.seen.get(&shard)
                && last.as_ref() != Some(seen)
                && !is_there_or_was_dropped(ledger, shard, seen).await?
            {
                behind.push(Behind { shard, seen: seen.clone(), last: last.clone() });
            }
            match last {
                Some(last) => self.seen.insert(shard, last),
                None => self.seen.remove(&shard),
            };
        }
        Ok(behind)
    }
}

/// What is dropped was archived first, so it is not lost; but only where nothing else has its id.
async fn is_there_or_was_dropped(
    ledger: &dyn Ledger,
    shard: Shard,
    seen: &JournalEntry,
) -> Result<bool, LedgerError> {
    match ledger.entry(shard, &seen.id).await? {
        Some(entry) => Ok(entry == *seen),
        None => ledger.kept(shard).await?.has_dropped(&seen.id),
    }
}
