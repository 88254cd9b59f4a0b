//! An account as its operator sees it.

use cocoon_ledger::Account;
use cocoon_openapi::ops::AccountView;
use cocoon_receipts::AccountId;

/// `state` under the name it is kept under.
#[must_use]
pub fn view(account: AccountId, state: &Account) -> AccountView {
    AccountView {
        account,
        balance: state.balance,
        held: state.held,
        available: state.available(),
        deposited: state.deposited,
        granted: state.granted,
        charged: state.charged,
        shortfall: state.shortfall,
        withdrawing: state.withdrawing,
        withdrawn: state.withdrawn,
        open_holds: state.open_holds,
    }
}
