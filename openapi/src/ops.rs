//! What operators see on the ops listener.

use cocoon_receipts::{AccountId, NanoTon, OperatorId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An account. Amounts in nanoTON, as decimal strings.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountView {
    #[schema(value_type = String)]
    pub account: AccountId,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub balance: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub held: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub available: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub deposited: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub granted: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub charged: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub shortfall: NanoTon,
    /// Taken from the balance by withdrawals that are under way.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawing: NanoTon,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub withdrawn: NanoTon,
    pub open_holds: u64,
}

/// What the ledger has booked for an operator, in nanoTON, as decimal strings. Both only grow; their difference is what it
/// has earned, paid out or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Operator)]
pub struct OperatorView {
    #[schema(value_type = String)]
    pub operator: OperatorId,
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub accrued: NanoTon,
    /// Taken back: a receipt came late and said less than what its last checkpoint was charged at.
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub reversed: NanoTon,
}

/// Whether a gateway can serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ready`, `not_ready` or `draining`.
    pub status: &'static str,
    /// `up` or `down`.
    pub ledger: &'static str,
    /// Backends with a verdict.
    pub attested_backends: usize,
    pub backends: usize,
}

/// How a gateway's backends stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Backends {
    pub policy: PolicyView,
    /// In the configuration's order.
    pub backends: Vec<BackendView>,
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PolicyInForce)]
pub struct PolicyView {
    pub name: Option<String>,
    pub version: Option<u64>,
    /// SHA-256 of its text.
    pub digest: String,
}

/// One backend. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Backend)]
pub struct BackendView {
    /// Host and port, as configured.
    pub backend: String,
    /// What its last verification came to: `verified`, `refused`, `unreachable`, `failed` for a fault of the gateway's own;
    /// `unchecked` where none is over yet, or its verdict was taken back and it is being verified again.
    pub verdict: String,
    /// Whether new requests may go to it. One that is `unreachable` may be in use until its verdict runs out.
    pub in_use: bool,
    /// The check that refused it.
    pub check: Option<String>,
    /// Why it is not verified. It may repeat words of a document that is not proven.
    pub reason: Option<String>,
    /// Since when its verifications come to this.
    pub since: Option<u64>,
    /// When it was verified last, whatever that came to.
    pub checked_at: Option<u64>,
    /// How long that took, microseconds.
    pub took_us: Option<u64>,
    /// Requests that it has now.
    pub in_flight: u64,
    /// The last verdict, which may no longer be in force.
    pub last_verified: Option<VerdictView>,
    /// Of the last refusal, or where there is none of the last verdict.
    pub findings: Vec<FindingView>,
}

/// A verdict. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Verdict)]
pub struct VerdictView {
    /// Digest of the keyset.
    pub keyset: String,
    pub model: String,
    /// `dev` is no hardware at all.
    pub tee: String,
    /// Name and sequence.
    pub release: String,
    /// Digest of the policy that it was given under.
    pub policy: String,
    pub verified_at: u64,
    pub valid_until: u64,
    /// The keyset's end.
    pub not_after: u64,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Finding)]
pub struct FindingView {
    pub check: String,
    /// `passed`, `failed`, `waived` or `unreached`.
    pub outcome: String,
    pub detail: String,
}
