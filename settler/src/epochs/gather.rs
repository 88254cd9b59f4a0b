//! The receipts of an epoch, from the journals: ordered by shard and, within a shard, as they were booked.

use cocoon_ledger::{JournalEntry, JournalId, Shard};
use cocoon_receipts::Digest;

use super::commitment::Cuts;
use super::error::EpochError;
use super::journals::{Journals, as_in_the_store_of, place};
use super::record::Cut;

/// Most receipts of an epoch: with more waiting, the next one is due at once.
pub const MOST_RECEIPTS: usize = 1 << 18;

/// Entries that are read at once.
const PAGE: u32 = 1000;

/// What the next epoch would have.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) receipts: Vec<Digest>,
    pub(super) cuts: Vec<Cut>,
}

/// All that was booked after `cuts` and not later than `until_ms`, as the ledger's time counts.
pub(super) async fn gather(
    journals: &dyn Journals,
    cuts: &Cuts,
    until_ms: u64,
    most: usize,
) -> Result<Gathered, EpochError> {
    let mut gathered = Gathered::default();
    for shard in journals.shards() {
        // A shard's time never goes back.
        let is_in = |entry: &JournalEntry| Ok(entry.at_ms <= until_ms);
        let moved = read(journals, shard, cuts.get(&shard), is_in, most, &mut gathered.receipts).await?;
        gathered.cuts.extend(moved.map(|at| Cut { shard, at }));
        if gathered.receipts.len() >= most {
            break;
        }
    }
    Ok(gathered)
}

/// What is between two cuts, for an epoch that was decided before.
pub(super) async fn gather_again(
    journals: &dyn Journals,
    after: &Cuts,
    up_to: &Cuts,
) -> Result<Vec<Digest>, EpochError> {
    let mut receipts = Vec::new();
    for (shard, end) in up_to {
        let end = place(end)?;
        let is_in = |entry: &JournalEntry| Ok(place(&entry.id)? <= end);
        read(journals, *shard, after.get(shard), is_in, usize::MAX, &mut receipts).await?;
    }
    Ok(receipts)
}

/// Whether something after `cuts` has left the store.
pub(super) async fn is_trimmed(journals: &dyn Journals, after: &Cuts) -> Result<bool, EpochError> {
    for shard in journals.shards() {
        let Some(trimmed) = journals.trimmed(shard).await? else { continue };
        let is_kept = match after.get(&shard) {
            Some(cut) => place(&trimmed)? <= place(cut)?,
            None => false,
        };
        if !is_kept {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Adds the receipts of one shard after `after`, as long as entries are in and there are fewer than `most`; the last
/// entry that was taken.
async fn read(
    journals: &dyn Journals,
    shard: Shard,
    after: Option<&JournalId>,
    is_in: impl Fn(&JournalEntry) -> Result<bool, EpochError>,
    most: usize,
    receipts: &mut Vec<Digest>,
) -> Result<Option<JournalId>, EpochError> {
    let Some(newest) = journals.last_entry(shard).await? else {
        return if after.is_none() { Ok(None) } else { Err(EpochError::Lost(shard)) };
    };
    let mut from = after.map(|after| as_in_the_store_of(&newest, after)).transpose()?;
    if let Some(from) = &from {
        match place(&newest)?.cmp(&place(from)?) {
            std::cmp::Ordering::Less => return Err(EpochError::Lost(shard)),
            std::cmp::Ordering::Equal => return Ok(None),
            std::cmp::Ordering::Greater => {}
        }
    }
    if let (Some(from), Some(trimmed)) = (&from, journals.trimmed(shard).await?)
        && place(from)? < place(&trimmed)?
    {
        return Err(EpochError::Trimmed(shard));
    }
    let mut last = None;
    loop {
        let page = journals.entries(shard, from.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        for entry in page {
            if !is_in(&entry)? || receipts.len() >= most {
                return Ok(last);
            }
            receipts.extend(entry.receipt_digest);
            last = Some(entry.id);
        }
        if is_last {
            return Ok(last);
        }
        from.clone_from(&last);
    }
}
