//! Whether the archive is whole: every checkpoint from the first, every entry and receipt between them, and nothing but what
//! they make of the accounts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cocoon_receipts::Digest;

use super::checkpoint::ShardCheckpoint;
use super::segment::SegmentReader;
use super::{Archive, ArchiveError, Part, blocking};
use crate::{ChainHead, Finding, Ledger, Pace, Replay, Shard, ShardReport, check_shard};

/// What one shard's archive came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    pub checkpoints: u64,
    pub entries: u64,
    /// Receipts that are beside their entries.
    pub receipts: u64,
    /// Entries whose receipt was not kept.
    pub without_receipt: u64,
    /// Files of the shard that the chain does not name: of a pass that ended early, or of a ledger that lost writes.
    pub unnamed: u64,
    /// What is wrong with entries by themselves.
    pub findings: Vec<Finding>,
    /// What the entries make of the accounts.
    pub replay: Replay,
}

/// Verifies the archive of `shard` from zero, and the journal and the books after it.
///
/// # Errors
/// [`ArchiveError`].
pub async fn verify_shard(
    ledger: &dyn Ledger,
    archive: &Archive,
    shard: Shard,
    pace: Pace,
) -> Result<(Verified, ShardReport), ArchiveError> {
    let head = ledger.kept(shard).await?.head;
    let verified = archive.verify(shard, head.as_ref()).await?;
    let mut report = check_shard(ledger, shard, verified.replay.clone(), pace).await?;
    for finding in &verified.findings {
        report.add(finding.clone());
    }
    Ok((verified, report))
}

impl Archive {
    /// Verifies the archive of `shard` from its first entry to `head`, which the ledger names.
    ///
    /// # Errors
    /// [`ArchiveError`] where a file is missing, or is not what the chain says.
    pub async fn verify(&self, shard: Shard, head: Option<&ChainHead>) -> Result<Verified, ArchiveError> {
        let (archive, head) = (self.clone(), head.cloned());
        blocking(move || archive.verify_now(shard, head.as_ref())).await
    }

    fn verify_now(&self, shard: Shard, head: Option<&ChainHead>) -> Result<Verified, ArchiveError> {
        let chain = self.chain(shard, head)?;
        let mut verified = Verified { checkpoints: chain.len() as u64, ..Verified::default() };
        let mut named = BTreeSet::new();
        let mut previous: Option<ChainHead> = None;
        for (number, digest) in chain {
            let path = self.path(shard, number, digest, Part::Checkpoint);
            let found = self.checkpoint(shard, number, digest)?;
            let segment = self.path(shard, number, found.segment, Part::Segment);
            let read = self.replay(&segment, shard, previous.as_ref(), &mut verified)?;
            if read != found.segment {
                return Err(ArchiveError::damaged(&segment, "it is not what its name says"));
            }
            let made = ShardCheckpoint::of(&verified.replay, shard, previous.as_ref(), read);
            if made.as_ref() != Some(&found) {
                return Err(ArchiveError::damaged(&path, "it is not what the entries before it make"));
            }
            previous = Some(ChainHead { number, digest, at: found.at, entries: found.entries });
            named.extend([path, segment]);
        }
        // Not its id: a ledger that moved to the other store counts differently.
        if previous.map(|last| (last.digest, last.entries)) != head.map(|head| (head.digest, head.entries)) {
            let path = self.shard_folder(shard);
            return Err(ArchiveError::damaged(
                &path,
                "its newest checkpoint is not the one that the ledger names",
            ));
        }
        verified.entries = verified.replay.entries;
        verified.replay.last = head.map(|head| head.at.clone());
        verified.unnamed = self.unnamed(shard, &named)?;
        Ok(verified)
    }

    /// Numbers and digests of the checkpoints, the first one first.
    fn chain(&self, shard: Shard, head: Option<&ChainHead>) -> Result<Vec<(u64, Digest)>, ArchiveError> {
        let mut chain = Vec::new();
        let mut next = head.map(|head| (head.number, head.digest));
        while let Some((number, digest)) = next {
            let found = self.checkpoint(shard, number, digest)?;
            chain.push((number, digest));
            next = found.previous.map(|previous| (number - 1, previous));
            if next.is_none() != (number == 1) {
                let path = self.path(shard, number, digest, Part::Checkpoint);
                return Err(ArchiveError::damaged(&path, "its number is not its place in the chain"));
            }
        }
        chain.reverse();
        Ok(chain)
    }

    /// Replays a segment; answers its digest.
    fn replay(
        &self,
        path: &Path,
        shard: Shard,
        previous: Option<&ChainHead>,
        verified: &mut Verified,
    ) -> Result<Digest, ArchiveError> {
        let number = previous.map_or(0, |previous| previous.number) + 1;
        // For the same reason ids follow each other within a segment alone.
        verified.replay.last = None;
        let mut reader = SegmentReader::open(path, shard, number, previous.map(|previous| previous.digest))?;
        while let Some(line) = reader.next()? {
            let found = verified.replay.apply(&line.entry);
            verified.findings.extend(found.map_err(|error| ArchiveError::damaged(path, error.to_string()))?);
            match (&line.receipt, line.entry.receipt_digest) {
                (Some(receipt), Some(digest)) if Digest::of(&[receipt.as_bytes()]) == digest => {
                    verified.receipts += 1;
                }
                (None, Some(_)) => verified.without_receipt += 1,
                (None, None) => {}
                _ => {
                    let what = format!("the receipt beside entry {} is not its own", line.entry.id.0);
                    return Err(ArchiveError::damaged(path, what));
                }
            }
        }
        Ok(reader.digest())
    }

    fn unnamed(&self, shard: Shard, named: &BTreeSet<PathBuf>) -> Result<u64, ArchiveError> {
        let folder = self.shard_folder(shard);
        let io = |source| ArchiveError::io(&folder, source);
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            entries => entries.map_err(io)?,
        };
        let mut unnamed = 0;
        for entry in entries {
            unnamed += u64::from(!named.contains(&entry.map_err(io)?.path()));
        }
        Ok(unnamed)
    }
}
