//! What operators see on the ops listener.

use cocoon_receipts::{AccountId, NanoTon};
use serde::Serialize;
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
    pub open_holds: u64,
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
