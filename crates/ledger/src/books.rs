//! The books as they stand at one moment of the journal, for whoever checks them while they are in use.

use std::collections::BTreeMap;

use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use crate::{Account, JournalEntry, JournalId, LedgerError, Shard, Totals};

/// Something read at one moment, and the last entry of the shard's journal then: the entries up to it, and no others,
/// have made it what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut<T> {
    /// None where the journal is empty.
    pub at: Option<JournalId>,
    pub value: T,
}

/// A hold as the sweeper and the books see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenHold {
    pub request: RequestId,
    pub account: AccountId,
    pub amount: NanoTon,
    /// When the sweeper may end it, milliseconds since 1970.
    pub due_ms: u64,
}

/// All open holds of a shard at one moment, and what the books say of them then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holds {
    /// The shard's time.
    pub now_ms: u64,
    pub holds: Vec<OpenHold>,
    /// Held amount and number of holds, of the accounts that have one.
    pub accounts: BTreeMap<AccountId, (NanoTon, u64)>,
    /// The shard's sum.
    pub held: NanoTon,
    /// The shard's count.
    pub open_holds: u64,
}

/// Reading that changes nothing.
#[async_trait]
pub trait Books {
    /// Names of accounts after `after` in their order, at most `limit`.
    async fn account_names(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, LedgerError>;

    /// These accounts of the shard, all at one moment.
    async fn accounts_at(
        &self,
        shard: Shard,
        accounts: &[AccountId],
    ) -> Result<Cut<Vec<Account>>, LedgerError>;

    /// The shard's sums.
    async fn totals_at(&self, shard: Shard) -> Result<Cut<Totals>, LedgerError>;

    /// The shard's open holds; none where they changed under every one of a few readings.
    async fn holds(&self, shard: Shard) -> Result<Option<Holds>, LedgerError>;

    /// The newest entry of the shard's journal.
    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalEntry>, LedgerError>;

    /// The entry of this id, where it is kept.
    async fn entry(&self, shard: Shard, id: &JournalId) -> Result<Option<JournalEntry>, LedgerError>;
}
