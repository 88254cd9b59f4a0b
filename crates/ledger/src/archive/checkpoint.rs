//! What a shard's journal has made of its accounts, as one file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use cocoon_receipts::{AccountId, Digest, OperatorId};
use serde::{Deserialize, Serialize};

use super::{Archive, ArchiveError, Part, keep};
use crate::{ChainHead, JournalId, Replay, Replayed, Shard};

const FORMAT: &str = "cocoon-ledger-checkpoint/1";

/// Amounts are nanoTON, as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardCheckpoint {
    format: String,
    pub(super) shard: Shard,
    /// Counts from 1.
    pub(super) number: u64,
    /// SHA-256 of the checkpoint before this one; none for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<Digest>,
    /// SHA-256 of the entries since then.
    pub(super) segment: Digest,
    /// The last entry.
    pub(super) at: JournalId,
    /// How many there are up to here.
    pub(super) entries: u64,
    pub(super) accounts: BTreeMap<AccountId, Replayed>,
    pub(super) operators: BTreeMap<OperatorId, Accrual>,
    #[serde(with = "crate::decimal")]
    pub(super) platform: i128,
    /// Those under way, by their intent.
    pub(super) withdrawals: BTreeMap<String, Leaving>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Accrual {
    #[serde(with = "crate::decimal")]
    accrued: i128,
    #[serde(with = "crate::decimal")]
    reversed: i128,
}

/// A withdrawal that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    account: AccountId,
    #[serde(with = "crate::decimal")]
    amount: i128,
}

impl ShardCheckpoint {
    /// None where nothing was replayed.
    pub(super) fn of(
        replay: &Replay,
        shard: Shard,
        before: Option<&ChainHead>,
        segment: Digest,
    ) -> Option<Self> {
        let accrual = |(accrued, reversed): (i128, i128)| Accrual { accrued, reversed };
        let leaving = |(account, amount): (AccountId, i128)| Leaving { account, amount };
        Some(Self {
            format: FORMAT.to_owned(),
            shard,
            number: before.map_or(0, |before| before.number) + 1,
            previous: before.map(|before| before.digest),
            segment,
            at: replay.last.clone()?,
            entries: replay.entries,
            accounts: replay.accounts.clone(),
            operators: replay.operators.iter().map(|(name, both)| (name.clone(), accrual(*both))).collect(),
            platform: replay.platform,
            withdrawals: replay
                .withdrawals
                .iter()
                .map(|(id, one)| (id.clone(), leaving(one.clone())))
                .collect(),
        })
    }

    /// Receipts that were seen are not in it: [`Replay`] then finds those alone that are twice after it.
    pub(super) fn into_replay(self, at: JournalId) -> Replay {
        let operators = self
            .operators
            .into_iter()
            .map(|(name, Accrual { accrued, reversed })| (name, (accrued, reversed)));
        let withdrawals =
            self.withdrawals.into_iter().map(|(id, Leaving { account, amount })| (id, (account, amount)));
        Replay {
            accounts: self.accounts,
            operators: operators.collect(),
            platform: self.platform,
            withdrawals: withdrawals.collect(),
            last: Some(at),
            entries: self.entries,
            ..Replay::default()
        }
    }

    /// Writes it, and answers where the chain then ends.
    pub(super) fn write(&self, archive: &Archive) -> Result<ChainHead, ArchiveError> {
        let folder = archive.shard_folder(self.shard);
        let bytes = serde_json::to_vec(self)
            .map_err(|error| ArchiveError::damaged(&folder, format!("a checkpoint: {error}")))?;
        let digest = Digest::of(&[&bytes]);
        let path = archive.path(self.shard, self.number, digest, Part::Checkpoint);
        let mut file =
            tempfile::NamedTempFile::new_in(&folder).map_err(|source| ArchiveError::io(&folder, source))?;
        file.write_all(&bytes).map_err(|source| ArchiveError::io(&path, source))?;
        keep(file, &path)?;
        Ok(ChainHead { number: self.number, digest, at: self.at.clone(), entries: self.entries })
    }

    pub(super) fn read(path: &Path, shard: Shard, number: u64, digest: Digest) -> Result<Self, ArchiveError> {
        let bytes = std::fs::read(path).map_err(|source| ArchiveError::io(path, source))?;
        if Digest::of(&[&bytes]) != digest {
            return Err(ArchiveError::damaged(path, "it is not what its name says"));
        }
        let read: Self =
            serde_json::from_slice(&bytes).map_err(|error| ArchiveError::damaged(path, error.to_string()))?;
        if read.format != FORMAT {
            return Err(ArchiveError::damaged(
                path,
                format!("its format is {:?}, not {FORMAT}", read.format),
            ));
        }
        if (read.shard, read.number) != (shard, number) {
            return Err(ArchiveError::damaged(path, "it is of another place in the archive"));
        }
        Ok(read)
    }
}
