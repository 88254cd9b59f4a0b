//! Whether two ledgers have the same records, in whatever order each is read.

use std::collections::BTreeMap;
use std::convert::Infallible;

use cocoon_receipts::Digest;

use super::TransferError;
use super::record::{Record, ShardState};
use crate::{JournalEntry, JournalId, LedgerError};

/// How many records of each kind there are, and the sums of their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    kinds: BTreeMap<&'static str, (u64, u128)>,
    pub(super) records: u64,
}

impl Count {
    pub(super) fn add(&mut self, record: &Record) -> Result<(), LedgerError> {
        let line = serde_json::to_vec(&comparable(record)).map_err(unwritable)?;
        let half = Digest::of(&[&line]).0.first_chunk().copied().unwrap_or_default();
        let (count, sum) = self.kinds.entry(record.kind()).or_default();
        *count += 1;
        *sum = sum.wrapping_add(u128::from_be_bytes(half));
        self.records += 1;
        Ok(())
    }

    pub(super) fn entries(&self) -> u64 {
        self.kinds.get("journal").map_or(0, |(count, _)| *count)
    }

    /// # Errors
    /// [`TransferError::Differs`] for the first kind that has other records in `found`.
    pub(super) fn compare(&self, found: &Self) -> Result<(), TransferError> {
        for kind in self.kinds.keys().chain(found.kinds.keys()) {
            let of = |count: &Self| count.kinds.get(kind).copied().unwrap_or_default();
            let ((expected, _), (there, _)) = (of(self), of(found));
            if of(self) != of(found) {
                return Err(TransferError::Differs { kind, expected, found: there });
            }
        }
        Ok(())
    }
}

/// Without what differs from store to store: journal ids, and a count of tokens that only Redis keeps.
fn comparable(record: &Record) -> Record {
    let no_id = || JournalId(String::new());
    match record {
        Record::Journal(entry) => {
            Record::Journal(Box::new(JournalEntry { id: no_id(), ..(**entry).clone() }))
        }
        Record::Retention(kept) => {
            let Ok(kept) = kept.with_ids(|_| Ok::<_, Infallible>(no_id()), |_| Ok(no_id()));
            Record::Retention(Box::new(kept))
        }
        Record::Shard(state) => Record::Shard(Box::new(ShardState {
            last_entry: state.last_entry.as_ref().map(|_| no_id()),
            tokens: 0,
            ..(**state).clone()
        })),
        record => record.clone(),
    }
}

pub(super) fn unwritable(error: serde_json::Error) -> LedgerError {
    LedgerError::Corrupt(format!("a record cannot be written: {error}"))
}
