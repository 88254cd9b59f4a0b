//! What the settler needs of the ledger, and nothing else of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cocoon_ledger::{Appending, Booked, Credit, Lease, Ledger, LedgerError, WithdrawalEnded};
use cocoon_receipts::{AccountId, RequestId};

use crate::owing::{self, LedgerSums};
use crate::plan::Owing;

/// Every call may be made again after an unknown outcome.
#[async_trait]
pub trait Books: Send + Sync {
    /// Records of the log after the first `after`; none where there are no more.
    async fn decisions(&self, after: u64) -> Result<Vec<String>, LedgerError>;

    /// Adds a record if the log has exactly `after`.
    async fn append(&self, after: u64, record: String) -> Result<Appending, LedgerError>;

    /// Books a deposit, once per transaction.
    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError>;

    /// The withdrawal was paid out.
    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError>;

    /// The channel takes no voucher any more. False: there is none of this name.
    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError>;

    /// What is owed to whom.
    async fn owing(&self) -> Result<Owing, LedgerError>;

    /// The ledger's sums.
    async fn sums(&self) -> Result<LedgerSums, LedgerError>;

    /// Takes or renews the lease of who settles.
    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError>;

    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError>;
}

/// Records that are read at once.
const RECORDS: u32 = 500;

/// A ledger's.
pub struct LedgerBooks(pub Arc<dyn Ledger>);

#[async_trait]
impl Books for LedgerBooks {
    async fn decisions(&self, after: u64) -> Result<Vec<String>, LedgerError> {
        self.0.decisions(after, RECORDS).await
    }

    async fn append(&self, after: u64, record: String) -> Result<Appending, LedgerError> {
        self.0.append_decisions(after, &[record]).await
    }

    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError> {
        self.0.credit(credit).await
    }

    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        self.0.withdraw_done(account, intent).await
    }

    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError> {
        self.0.close_channel(account).await
    }

    async fn owing(&self) -> Result<Owing, LedgerError> {
        owing::owing(self.0.as_ref()).await
    }

    async fn sums(&self) -> Result<LedgerSums, LedgerError> {
        owing::sums(self.0.as_ref()).await
    }

    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError> {
        self.0.hold_lease(holder, lasts).await
    }

    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError> {
        self.0.give_up_lease(holder).await
    }
}
