//! What the ledger says is owed.

use std::collections::BTreeMap;

use cocoon_ledger::{Ledger, LedgerError, MAX_OPEN_WITHDRAWALS, Shard, Totals};

use crate::channels::{self, Standing};
use crate::plan::Owing;

/// Accounts that are read at once.
const PAGE: u32 = 500;

/// Times that a shard is read until nothing was credited meanwhile.
const READINGS: u32 = 50;

/// Reads all shards, one after the other. Each is read at one moment of its own: what is earned only grows in between,
/// but for corrections, so at worst a payout waits for the next round.
///
/// # Errors
/// [`LedgerError`].
pub(crate) async fn owing(ledger: &dyn Ledger) -> Result<Owing, LedgerError> {
    let mut owing = Owing::default();
    for shard in ledger.shards().all() {
        // Before the sums: a voucher in between then only makes users' part look larger than it is.
        let channels = channels::of_shard(ledger, shard).await?;
        let totals = ledger.totals(shard).await?;
        let in_channels: u128 = channels.iter().map(|one| u128::from(one.balance.0)).sum();
        owing.channels.extend(channels);
        for operator in totals.operators {
            let earned = i128::from(operator.accrued.0) - i128::from(operator.reversed.0);
            *owing.earned.entry(operator.operator).or_default() += earned;
        }
        owing.balances += u128::from(totals.balances.0).saturating_sub(in_channels);
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
    /// What vouchers were credited for is not in here.
    pub deposits: u128,
    pub vouchers: u128,
    pub grants: u128,
    pub balances: u128,
    pub withdrawing: u128,
    pub withdrawn: u128,
    pub charges: u128,
    pub shortfall: u128,
    pub platform: i128,
    pub operators: BTreeMap<cocoon_receipts::OperatorId, i128>,
}

/// A shard's sums, and what vouchers were credited for at the same moment.
async fn totals_with_vouchers(ledger: &dyn Ledger, shard: Shard) -> Result<(Totals, u128), LedgerError> {
    let mut totals = ledger.totals(shard).await?;
    for _ in 0..READINGS {
        let vouchers = channels::of_shard(ledger, shard).await?.iter().map(Standing::credited).sum();
        let after = ledger.totals(shard).await?;
        if after.deposits == totals.deposits {
            return Ok((after, vouchers));
        }
        totals = after;
    }
    Err(LedgerError::Unavailable(format!(
        "shard {shard} is credited all the time: its sums are not of one moment"
    )))
}

/// # Errors
/// [`LedgerError`].
pub(crate) async fn sums(ledger: &dyn Ledger) -> Result<LedgerSums, LedgerError> {
    let mut sums = LedgerSums::default();
    for shard in ledger.shards().all() {
        let (totals, vouchers) = totals_with_vouchers(ledger, shard).await?;
        sums.deposits += u128::from(totals.deposits.0).saturating_sub(vouchers);
        sums.vouchers += vouchers;
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
