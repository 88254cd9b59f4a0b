//! The last requests of an account, and the receipts it was sent.

use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, NanoTon, ProjectId, ReceiptId, RequestId, Usage};

use crate::{LedgerError, Work};

/// Charged requests of one account that are remembered; the oldest goes for a new one.
pub const MAX_RECENT: u32 = 1000;

/// How long they are remembered, where they are not more.
pub(crate) const RECENT_KEPT_MS: u64 = 45 * 86_400_000;

/// Requests on one page; who asks for more gets these.
pub const MAX_REQUESTS_PAGE: u32 = 200;

/// Which requests of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestQuery {
    pub account: AccountId,
    /// Of this key alone.
    pub key: Option<KeyId>,
    /// Those charged before this one. Where it is remembered no more, there are none.
    pub after: Option<RequestId>,
    /// At most [`MAX_REQUESTS_PAGE`].
    pub limit: u32,
}

/// One charged request, as it stands after corrections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    pub request: RequestId,
    /// None where its lease ran out and no receipt came.
    pub receipt: Option<ReceiptId>,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    pub model: String,
    pub work: Work,
    pub usage: Usage,
    /// What the account paid for it in all.
    pub charged: NanoTon,
    /// The receipt itself, while it is kept.
    pub jws: Option<String>,
}

/// A receipt as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptReceipt {
    pub receipt: ReceiptId,
    pub request: RequestId,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    /// What the account had paid for the request once this receipt was booked; 0 where this one costs nothing.
    pub charged: NanoTon,
    pub jws: String,
}

/// What was asked last. Receipts are kept as long as what was seen is: eight days.
#[async_trait]
pub trait Requests {
    /// The last requests, newest charge first.
    async fn requests(&self, query: &RequestQuery) -> Result<Vec<RequestRecord>, LedgerError>;

    /// The receipt `receipt`, where it is this account's and still kept.
    async fn receipt(
        &self,
        account: &AccountId,
        receipt: ReceiptId,
    ) -> Result<Option<KeptReceipt>, LedgerError>;

    /// The receipt that `request` was charged by.
    async fn receipt_of(
        &self,
        account: &AccountId,
        request: RequestId,
    ) -> Result<Option<KeptReceipt>, LedgerError>;
}
