//! An account as its operator sees it.

use cocoon_ledger::Account;
use cocoon_receipts::{AccountId, NanoTon};
use serde::Serialize;

/// Amounts in nanoTON.
#[derive(Debug, Serialize)]
pub struct AccountView {
    pub account: AccountId,
    pub balance: NanoTon,
    pub held: NanoTon,
    pub available: NanoTon,
    pub deposited: NanoTon,
    pub granted: NanoTon,
    pub charged: NanoTon,
    pub shortfall: NanoTon,
    pub open_holds: u64,
}

impl AccountView {
    #[must_use]
    pub fn new(account: AccountId, state: &Account) -> Self {
        Self {
            account,
            balance: state.balance,
            held: state.held,
            available: state.available(),
            deposited: state.deposited,
            granted: state.granted,
            charged: state.charged,
            shortfall: state.shortfall,
            open_holds: state.open_holds,
        }
    }
}
