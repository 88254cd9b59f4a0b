//! Where an account's withdrawals go, and what is on its way there.

use cocoon_receipts::{NanoTon, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The address that withdrawals go to. Amounts are nanoTON, as decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Payout)]
pub struct PayoutOf {
    /// `organization.payout`.
    pub object: &'static str,
    /// In its user-friendly form; null until one is old enough.
    #[schema(required)]
    pub address: Option<String>,
    /// What takes its place; null: nothing.
    #[schema(required)]
    pub pending: Option<PendingPayout>,
    /// What could be paid out now: of what is available, only what was deposited.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawable: NanoTon,
    /// Taken from the balance by withdrawals that are under way.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawing: NanoTon,
    /// Paid out.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawn: NanoTon,
}

/// An address that was set less than a day ago.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PendingPayout {
    pub address: String,
    /// From when on withdrawals go there, seconds since 1970.
    pub usable_at: u64,
}

/// Asks for another address.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPayout {
    /// 48 characters of base64url with a checksum. The address in force calls a change off.
    #[schema(min_length = 48, max_length = 48)]
    pub address: String,
}

/// Asks for a withdrawal.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWithdrawal {
    /// nanoTON that arrive; the chain's fees are the deployment's.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub amount: NanoTon,
    /// A UUIDv7 of the caller's making. The same again begins nothing anew and says what became of it.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = "uuid")]
    pub id: Option<RequestId>,
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub struct WithdrawalOf {
    /// `organization.withdrawal`.
    pub object: &'static str,
    #[schema(value_type = String, format = "uuid")]
    pub id: RequestId,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub amount: NanoTon,
    /// `pending`, `paid`, or `undone`: then the amount is in the balance again.
    pub status: &'static str,
    /// Where it goes; null once it has ended.
    #[schema(required)]
    pub address: Option<String>,
}
