//! What a shard keeps of its journal: how far it was carried into the archive, who still reads it, and what is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use cocoon_receipts::{Digest, ReceiptId};
use serde::{Deserialize, Serialize};

use crate::{JournalId, LedgerError, Shard};

/// Readers of one shard's journal that it waits for.
pub const MAX_CURSORS: usize = 16;

/// Entries that one call drops at most: a store does nothing else meanwhile.
pub const MAX_TRIM: u32 = 200;

/// The newest checkpoint of a shard: all before it is in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHead {
    /// Counts from 1.
    pub number: u64,
    /// SHA-256 of the checkpoint.
    pub digest: Digest,
    /// The last entry that it covers.
    pub at: JournalId,
    /// How many it covers.
    pub entries: u64,
}

/// Who reads a journal, such as `settler`: 1 to 32 characters of a-z, 0-9 and '-'.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct CursorName(String);

impl CursorName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for CursorName {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LedgerError::Configuration(
                "a cursor's name is 1 to 32 characters of a-z, 0-9 and '-'".to_owned(),
            ))
        }
    }
}

impl TryFrom<String> for CursorName {
    type Error = LedgerError;

    fn try_from(text: String) -> Result<Self, LedgerError> {
        text.parse()
    }
}

/// How one shard's journal stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// None where nothing was archived yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<ChainHead>,
    /// The last entry that is gone; none where all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trimmed: Option<JournalId>,
    /// The last entry that each reader is done with; none where it is done with none.
    pub cursors: BTreeMap<CursorName, Option<JournalId>>,
}

impl Kept {
    /// The same, as another store has it: `id` says what becomes of each id, and of the last id that is archived.
    ///
    /// # Errors
    /// As `id`.
    pub(crate) fn with_ids<E>(
        &self,
        id: impl Fn(&JournalId) -> Result<JournalId, E>,
        archived: impl Fn(&ChainHead) -> Result<JournalId, E>,
    ) -> Result<Self, E> {
        let head = |head: &ChainHead| Ok(ChainHead { at: archived(head)?, ..head.clone() });
        let cursor = |(name, at): (&CursorName, &Option<JournalId>)| {
            Ok((name.clone(), at.as_ref().map(&id).transpose()?))
        };
        Ok(Self {
            head: self.head.as_ref().map(head).transpose()?,
            trimmed: self.trimmed.as_ref().map(&id).transpose()?,
            cursors: self.cursors.iter().map(cursor).collect::<Result<_, _>>()?,
        })
    }

    /// Whether the entry `id` was there and was dropped.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] for an id that no store writes.
    pub fn has_dropped(&self, id: &JournalId) -> Result<bool, LedgerError> {
        match &self.trimmed {
            Some(trimmed) => Ok(id.place()? <= trimmed.place()?),
            None => Ok(false),
        }
    }
}

/// A journal is dropped only where it is archived, where every reader is done with it, and never its newest entry.
#[async_trait]
pub trait Retention {
    async fn kept(&self, shard: Shard) -> Result<Kept, LedgerError>;

    /// Makes `head` the newest checkpoint, where the one before it has the digest `before`; false where another is the
    /// newest. On disk when it is answered.
    async fn put_head(
        &self,
        shard: Shard,
        before: Option<Digest>,
        head: &ChainHead,
    ) -> Result<bool, LedgerError>;

    /// Says that `name` is done with all up to `at`; with none: that it begins to read. It never goes back.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`] for a reader more than [`MAX_CURSORS`].
    async fn put_cursor(
        &self,
        shard: Shard,
        name: &CursorName,
        at: Option<&JournalId>,
    ) -> Result<(), LedgerError>;

    /// Nobody waits for `name` any more.
    async fn drop_cursor(&self, shard: Shard, name: &CursorName) -> Result<(), LedgerError>;

    /// Drops the oldest entries that are older than `age` and may go, at most [`MAX_TRIM`]; answers how many went.
    async fn trim(&self, shard: Shard, age: Duration) -> Result<u32, LedgerError>;

    /// These receipts of the shard as they were sent, each where it is still kept.
    async fn sent_receipts(
        &self,
        shard: Shard,
        receipts: &[ReceiptId],
    ) -> Result<Vec<Option<String>>, LedgerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursors_name_is_short_and_plain() {
        for good in ["settler", "a", "s-2", &"x".repeat(32)] {
            assert_eq!(good.parse::<CursorName>().unwrap().as_str(), good);
        }
        for bad in ["", "Settler", "a b", "a:b", &"x".repeat(33)] {
            assert!(bad.parse::<CursorName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_above_the_last_that_went_was_dropped() {
        let id = |text: &str| JournalId(text.to_owned());
        let kept = Kept { trimmed: Some(id("9-1")), ..Kept::default() };
        for (one, is) in [("8-7", true), ("9-1", true), ("9-2", false), ("10-0", false)] {
            assert_eq!(kept.has_dropped(&id(one)).unwrap(), is, "{one}");
        }
        assert!(!Kept::default().has_dropped(&id("1-1")).unwrap());
    }
}
