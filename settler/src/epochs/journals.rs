//! What epochs need of the ledger's journals.

use std::sync::Arc;

use async_trait::async_trait;
use cocoon_ledger::{CursorName, JournalEntry, JournalId, Ledger, LedgerError, Shard};
use cocoon_receipts::ReceiptId;

/// The name under which journals are kept until they are in an epoch.
const CURSOR: &str = "epochs";

/// Every call may be made again after an unknown outcome.
#[async_trait]
pub trait Journals: Send + Sync {
    /// All shards, in order.
    fn shards(&self) -> Vec<Shard>;

    /// Entries after `after`, the oldest first.
    async fn entries(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError>;

    /// The newest entry, which always stays; none where there never was one.
    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError>;

    /// The last entry that is gone; none where all are there.
    async fn trimmed(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError>;

    /// From now on, all after `at` is kept.
    async fn keep_after(&self, shard: Shard, at: Option<&JournalId>) -> Result<(), LedgerError>;

    /// A receipt as it was sent, where it is still kept.
    async fn receipt(&self, id: ReceiptId) -> Result<Option<String>, LedgerError>;
}

/// A ledger's.
pub struct LedgerJournals(pub Arc<dyn Ledger>);

#[async_trait]
impl Journals for LedgerJournals {
    fn shards(&self) -> Vec<Shard> {
        self.0.shards().all().collect()
    }

    async fn entries(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError> {
        self.0.journal(shard, after, limit).await
    }

    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError> {
        Ok(self.0.last_entry(shard).await?.map(|entry| entry.id))
    }

    async fn trimmed(&self, shard: Shard) -> Result<Option<JournalId>, LedgerError> {
        Ok(self.0.kept(shard).await?.trimmed)
    }

    async fn keep_after(&self, shard: Shard, at: Option<&JournalId>) -> Result<(), LedgerError> {
        let name: CursorName = CURSOR.parse()?;
        self.0.put_cursor(shard, &name, at).await
    }

    async fn receipt(&self, id: ReceiptId) -> Result<Option<String>, LedgerError> {
        for shard in self.0.shards().all() {
            if let Some(receipt) = self.0.sent_receipts(shard, &[id]).await?.into_iter().flatten().next() {
                return Ok(Some(receipt));
            }
        }
        Ok(None)
    }
}

/// An id's place in its journal, in whichever store it is: what was `n` on SQLite is `0-n` on Redis, before all that
/// was written there.
///
/// # Errors
/// [`LedgerError::Corrupt`] for what no store writes.
pub(super) fn place(id: &JournalId) -> Result<(u64, u64), LedgerError> {
    let (first, second) = id.place()?;
    Ok(if id.0.contains('-') { (first, second) } else { (0, first) })
}

/// The id of the same entry in the store that has `other`: the log keeps ids as they were.
///
/// # Errors
/// As [`place`].
pub(super) fn as_in_the_store_of(other: &JournalId, id: &JournalId) -> Result<JournalId, LedgerError> {
    Ok(match (other.0.contains('-'), place(id)?) {
        (true, (first, second)) => JournalId(format!("{first}-{second}")),
        (false, (0, count)) => JournalId(count.to_string()),
        // No store takes it: its answer says so.
        (false, _) => id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_again_in_another_store() {
        let id = |text: &str| JournalId(text.to_owned());
        for (store, was, is) in [
            ("9", "5", "5"),
            ("9", "0-5", "5"),
            ("7-1", "5", "0-5"),
            ("7-1", "0-5", "0-5"),
            ("7-1", "6-2", "6-2"),
        ] {
            assert_eq!(
                as_in_the_store_of(&id(store), &id(was)).unwrap(),
                id(is),
                "{was} where there is {store}"
            );
        }
        assert!(place(&id("5")).unwrap() < place(&id("1790000000000-0")).unwrap());
        assert_eq!(place(&id("5")).unwrap(), place(&id("0-5")).unwrap());
    }
}
