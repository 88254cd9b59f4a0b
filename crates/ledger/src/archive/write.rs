//! One pass: what a journal has since the last checkpoint goes into the archive, and what may go leaves the store.

use std::time::Duration;

use cocoon_receipts::Digest;

use super::checkpoint::ShardCheckpoint;
use super::segment::{Line, SegmentWriter};
use super::{Archive, ArchiveError, blocking};
use crate::report::Subject;
use crate::retention::MAX_TRIM;
use crate::{
    ChainHead, Finding, JournalEntry, Ledger, LedgerError, Pace, Replay, Shard, ShardReport, check_shard,
};

/// How a pass goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Archiving {
    /// Archived entries younger than this stay in the store too.
    pub keep: Duration,
    /// Entries of one segment, at most.
    pub segment: u64,
    pub pace: Pace,
}

impl Archiving {
    /// Longer than receipts are kept, so that whoever has a receipt finds its entry.
    pub const KEEP: Duration = Duration::from_secs(8 * 24 * 60 * 60);
    /// Some hundred megabytes.
    pub const SEGMENT: u64 = 250_000;
}

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    pub segments: u64,
    pub entries: u64,
    /// Of them, those whose receipt is beside them.
    pub receipts: u64,
    /// And those whose receipt the store had forgotten, because more than eight days went by since the pass before, or had
    /// changed.
    pub without_receipt: u64,
    /// Entries that left the store.
    pub trimmed: u64,
    /// Whether the books are what the archive makes of them. Where they are not, nothing leaves the store.
    pub report: ShardReport,
}

/// Archives the journal of `shard` up to now, checks the books against it, and drops what may go.
///
/// # Errors
/// [`ArchiveError`]. What was archived before it stays so, and the next pass goes on from there.
pub async fn archive_shard(
    ledger: &dyn Ledger,
    archive: &Archive,
    shard: Shard,
    how: Archiving,
) -> Result<Archived, ArchiveError> {
    let mut head = ledger.kept(shard).await?.head;
    let replay = archive.replayed(shard, head.as_ref()).await?;
    let mut pass =
        Pass { ledger, archive, shard, how, replay, findings: Vec::new(), receipts: 0, without_receipt: 0 };
    let before = pass.replay.entries;
    let mut segments = 0;
    while let Some(segment) = pass.segment(head.as_ref()).await? {
        head = Some(pass.close(head.as_ref(), segment).await?);
        segments += 1;
    }
    let entries = pass.replay.entries - before;
    let Pass { replay, findings, receipts, without_receipt, .. } = pass;
    let mut report = check_shard(ledger, shard, replay, how.pace).await?;
    for finding in findings {
        report.add(finding);
    }
    let trimmed = if report.is_clean() { trim(ledger, shard, how).await? } else { 0 };
    Ok(Archived { segments, entries, receipts, without_receipt, trimmed, report })
}

async fn trim(ledger: &dyn Ledger, shard: Shard, how: Archiving) -> Result<u64, LedgerError> {
    let mut trimmed = 0;
    loop {
        let went = ledger.trim(shard, how.keep).await?;
        trimmed += u64::from(went);
        if went < MAX_TRIM {
            return Ok(trimmed);
        }
        how.pace.rest().await;
    }
}

struct Pass<'a> {
    ledger: &'a dyn Ledger,
    archive: &'a Archive,
    shard: Shard,
    how: Archiving,
    replay: Replay,
    findings: Vec<Finding>,
    receipts: u64,
    without_receipt: u64,
}

impl Pass<'_> {
    /// Writes the next entries; none where there are none.
    async fn segment(&mut self, head: Option<&ChainHead>) -> Result<Option<Digest>, ArchiveError> {
        let mut writer: Option<SegmentWriter> = None;
        let mut left = self.how.segment;
        while left > 0 {
            let limit = u64::from(self.how.pace.page).min(left);
            let page = u32::try_from(limit).unwrap_or(self.how.pace.page);
            let entries = self.ledger.journal(self.shard, self.replay.last.as_ref(), page).await?;
            if entries.is_empty() {
                break;
            }
            left -= entries.len() as u64;
            let receipts = self.receipts_of(&entries).await?;
            for entry in &entries {
                self.findings.extend(self.replay.apply(entry)?);
            }
            let (archive, shard, head) = (self.archive.clone(), self.shard, head.cloned());
            let before = writer.take();
            writer = Some(
                blocking(move || {
                    let mut writer = match before {
                        Some(writer) => writer,
                        None => SegmentWriter::create(&archive, shard, head.as_ref())?,
                    };
                    for (entry, receipt) in entries.into_iter().zip(receipts) {
                        writer.add(&Line { entry, receipt })?;
                    }
                    Ok(writer)
                })
                .await?,
            );
            self.how.pace.rest().await;
        }
        let Some(writer) = writer else { return Ok(None) };
        let archive = self.archive.clone();
        blocking(move || writer.finish(&archive)).await.map(Some)
    }

    /// Where the store has another text than the one that was journaled, there is none.
    async fn receipts_of(&mut self, entries: &[JournalEntry]) -> Result<Vec<Option<String>>, LedgerError> {
        let ids: Vec<_> = entries.iter().filter_map(|entry| entry.receipt).collect();
        let mut sent = self.ledger.sent_receipts(self.shard, &ids).await?.into_iter();
        let mut receipts = Vec::with_capacity(entries.len());
        for entry in entries {
            let kept = entry.receipt.and_then(|_| sent.next().flatten());
            let its_own = |kept: &String| Some(Digest::of(&[kept.as_bytes()])) == entry.receipt_digest;
            if kept.as_ref().is_some_and(|kept| !its_own(kept)) {
                let subject = Subject::Entry(entry.id.clone());
                self.findings.push(Finding::count(subject, "its receipt as it was sent", 1, 0));
            }
            receipts.push(kept.filter(its_own));
        }
        let there = receipts.iter().flatten().count();
        self.receipts += there as u64;
        self.without_receipt += (ids.len() - there) as u64;
        Ok(receipts)
    }

    /// Closes a segment with a checkpoint, and says so to the ledger.
    async fn close(&self, head: Option<&ChainHead>, segment: Digest) -> Result<ChainHead, ArchiveError> {
        let Some(checkpoint) = ShardCheckpoint::of(&self.replay, self.shard, head, segment) else {
            return Err(ArchiveError::Ledger(LedgerError::Corrupt("a segment without an entry".to_owned())));
        };
        let archive = self.archive.clone();
        let next = blocking(move || checkpoint.write(&archive)).await?;
        if self.ledger.put_head(self.shard, head.map(|head| head.digest), &next).await? {
            Ok(next)
        } else {
            Err(ArchiveError::Raced(self.shard))
        }
    }
}
