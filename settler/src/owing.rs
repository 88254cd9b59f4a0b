//! What the ledger says is owed.

use std::collections::BTreeMap;

use cocoon_ledger::{Ledger, LedgerError, MAX_OPEN_WITHDRAWALS, Shard};

use crate::plan::Owing;

/// Accounts that are read at once.
const PAGE: u32 = 500;

/// Reads all shards, one after the other. Each is read at one moment of its own: what is earned only grows in between,
/// but for corrections, so at worst a payout waits for the next round.
///
/// # Errors
/// [`LedgerError`].
pub(crate) async fn owing(ledger: &dyn Ledger) -> Result<Owing, LedgerError> {
    let mut owing = Owing::default();
    for shard in ledger.shards().all() {
        let totals = ledger.totals(shard).await?;
        for operator in totals.operators {
            let earned = i128::from(operator.accrued.0) - i128::from(operator.reversed.0);
            *owing.earned.entry(operator.operator).or_default() += earned;
        }
        owing.balances += u128::from(totals.balances.0);
        owing.withdrawing += u128::from(totals.withdrawing.0);
        if totals.grants.0 > 0 {
            owing.balances -= unused_credit(ledger, shard).await?.min(owing.balances);
        }
        if totals.withdrawing.0 > 0 {
            let mut after = None;
            loop {
                let page = ledger.open_withdrawals(shard, after, MAX_OPEN_WITHDRAWALS).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.intent);
                owing.withdrawals.extend(page);
            }
        }
    }
    owing.withdrawals.sort_by_key(|withdrawal| withdrawal.intent);
    Ok(owing)
}

/// Test credit that was not used yet, nanoTON: charges use it up first.
async fn unused_credit(ledger: &dyn Ledger, shard: Shard) -> Result<u128, LedgerError> {
    let (mut unused, mut after) = (0, None);
    loop {
        let names = ledger.account_names(shard, after.as_ref(), PAGE).await?;
        let Some(last) = names.last() else { return Ok(unused) };
        let accounts = ledger.accounts_at(shard, &names).await?.value;
        unused += accounts
            .iter()
            .map(|account| u128::from(account.granted.0.saturating_sub(account.charged.0)))
            .sum::<u128>();
        after = Some(last.clone());
    }
}

/// The ledger's own sums over all shards, nanoTON, for the reconciliation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerSums {
    pub deposits: u128,
    pub grants: u128,
    pub balances: u128,
    pub withdrawing: u128,
    pub withdrawn: u128,
    pub charges: u128,
    pub shortfall: u128,
    pub platform: i128,
    pub operators: BTreeMap<cocoon_receipts::OperatorId, i128>,
}

/// # Errors
/// [`LedgerError`].
pub(crate) async fn sums(ledger: &dyn Ledger) -> Result<LedgerSums, LedgerError> {
    let mut sums = LedgerSums::default();
    for shard in ledger.shards().all() {
        let totals = ledger.totals(shard).await?;
        sums.deposits += u128::from(totals.deposits.0);
        sums.grants += u128::from(totals.grants.0);
        sums.balances += u128::from(totals.balances.0);
        sums.withdrawing += u128::from(totals.withdrawing.0);
        sums.withdrawn += u128::from(totals.withdrawn.0);
        sums.charges += u128::from(totals.charges.0);
        sums.shortfall += u128::from(totals.shortfall.0);
        sums.platform += totals.platform;
        for operator in totals.operators {
            let earned = i128::from(operator.accrued.0) - i128::from(operator.reversed.0);
            *sums.operators.entry(operator.operator).or_default() += earned;
        }
    }
    Ok(sums)
}
