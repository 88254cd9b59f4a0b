//! What must be true at every moment (`docs/LEDGER.md`), computed from outside.

use std::collections::{BTreeMap, BTreeSet};

use cocoon_ledger::{
    Account, JournalEntry, JournalId, JournalKind, Ledger, Pace, Replay, Shard, Totals, check_shard,
};
use cocoon_receipts::{AccountId, NanoTon, ReceiptId};

use crate::buckets;

/// Checks every shard of a ledger at rest at `now_ms`, in which only `accounts` were used; answers the receipts in its
/// journal.
pub(crate) async fn check(ledger: &dyn Ledger, accounts: &[AccountId], now_ms: u64) -> BTreeSet<ReceiptId> {
    let mut receipts = BTreeSet::new();
    for shard in ledger.shards().all() {
        let totals = ledger.totals(shard).await.unwrap();
        let journal = whole_journal(ledger, shard).await;
        books_balance(&totals);
        let mut found = BTreeMap::new();
        for account in accounts.iter().filter(|account| ledger.shards().of(account) == shard) {
            found.insert(account.clone(), ledger.account(account).await.unwrap());
        }
        sums_agree(&totals, found.values());
        what_is_to_be_paid_is_listed(ledger, shard, &totals).await;
        replay_agrees(&journal, &totals, &found);
        vouchers_agree(ledger, shard, &journal).await;
        buckets::agree(ledger, &journal, accounts, now_ms).await;
        let report = check_shard(ledger, shard, Replay::default(), Pace::FULL).await.unwrap();
        assert!(report.is_clean() && report.holds_compared, "{report:?}");
        assert_eq!(report.entries, journal.len() as u64);
        for receipt in journal.iter().filter_map(|entry| entry.receipt) {
            assert!(receipts.insert(receipt), "receipt {receipt} is in the journal twice");
        }
    }
    receipts
}

pub(crate) async fn whole_journal(ledger: &dyn Ledger, shard: Shard) -> Vec<JournalEntry> {
    let mut entries: Vec<JournalEntry> = Vec::new();
    loop {
        let after: Option<JournalId> = entries.last().map(|entry| entry.id.clone());
        let page = ledger.journal(shard, after.as_ref(), 100).await.unwrap();
        if page.is_empty() {
            return entries;
        }
        entries.extend(page);
    }
}

/// Invariants 1 to 3 on one shard's sums, which hold at every moment.
pub(crate) fn books_balance(totals: &Totals) {
    assert!(totals.held <= totals.balances, "{totals:?}");
    let spent = totals.withdrawing.0 + totals.charges.0 + totals.withdrawn.0;
    assert_eq!(totals.deposits.0 + totals.grants.0, totals.balances.0 + spent, "{totals:?}");
    let operators: i128 =
        totals.operators.iter().map(|each| i128::from(each.accrued.0) - i128::from(each.reversed.0)).sum();
    let billed = i128::from(totals.charges.0) + i128::from(totals.shortfall.0);
    assert_eq!(billed, operators + totals.platform, "{totals:?}");
}

/// Guards against: an amount that is under way and that nobody would pay, or one that would be paid twice.
async fn what_is_to_be_paid_is_listed(ledger: &dyn Ledger, shard: Shard, totals: &Totals) {
    let (mut listed, mut last) = (0, None);
    loop {
        let open = ledger.open_withdrawals(shard, last, 1000).await.unwrap();
        let Some(newest) = open.last() else { break };
        last = Some(newest.intent);
        listed += open.iter().map(|open| open.amount.0).sum::<u64>();
    }
    assert_eq!(listed, totals.withdrawing.0, "{totals:?}");
}

/// Guards against: a ceiling that no credit was given for, and credit beyond a ceiling or a deposit.
async fn vouchers_agree(ledger: &dyn Ledger, shard: Shard, journal: &[JournalEntry]) {
    let mut credited: BTreeMap<&AccountId, i128> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.kind == JournalKind::Voucher) {
        assert!(entry.amount > 0, "{entry:?}");
        *credited.entry(&entry.account).or_default() += entry.amount;
    }
    let mut last = None;
    loop {
        let page = ledger.channels(shard, last.as_ref(), 2).await.unwrap();
        let Some((newest, _)) = page.last() else { break };
        last = Some(newest.account.clone());
        for (channel, account) in &page {
            let newest = channel.voucher.as_ref().map_or(channel.base.0, |voucher| voucher.cumulative.0);
            let raised = i128::from(newest) - i128::from(channel.base.0);
            assert_eq!(credited.remove(&channel.account).unwrap_or(0), raised, "{channel:?}");
            assert_eq!(i128::from(account.deposited.0), raised, "{channel:?}");
            assert!(newest <= channel.deposited.0, "{channel:?}");
        }
    }
    assert!(credited.is_empty(), "vouchers of no channel: {credited:?}");
}

fn sums_agree<'a>(totals: &Totals, accounts: impl Iterator<Item = &'a Account>) {
    let mut sum = Account::default();
    for account in accounts {
        assert!(account.held <= account.balance, "{account:?}");
        sum.balance.0 += account.balance.0;
        sum.held.0 += account.held.0;
        sum.deposited.0 += account.deposited.0;
        sum.granted.0 += account.granted.0;
        sum.charged.0 += account.charged.0;
        sum.shortfall.0 += account.shortfall.0;
        sum.open_holds += account.open_holds;
        sum.withdrawing.0 += account.withdrawing.0;
        sum.withdrawn.0 += account.withdrawn.0;
    }
    let expected = Account {
        balance: totals.balances,
        held: totals.held,
        deposited: totals.deposits,
        granted: totals.grants,
        charged: totals.charges,
        shortfall: totals.shortfall,
        open_holds: totals.open_holds,
        withdrawing: totals.withdrawing,
        withdrawn: totals.withdrawn,
    };
    assert_eq!(sum, expected, "the accounts' sum and the shard's");
}

/// Invariant 4: whoever only has the journal knows every account and every accrual.
fn replay_agrees(journal: &[JournalEntry], totals: &Totals, accounts: &BTreeMap<AccountId, Account>) {
    let mut replayed: BTreeMap<AccountId, [i128; 5]> = BTreeMap::new();
    let mut operators: BTreeMap<_, (i128, i128)> = BTreeMap::new();
    let mut platform = 0;
    for entry in journal {
        let [balance, deposited, granted, charged, shortfall] =
            replayed.entry(entry.account.clone()).or_default();
        *balance += entry.amount;
        *shortfall += i128::from(entry.shortfall.0);
        match entry.kind {
            JournalKind::Deposit | JournalKind::Voucher => *deposited += entry.amount,
            JournalKind::Grant => *granted += entry.amount,
            JournalKind::Charge | JournalKind::Expiry | JournalKind::Correction | JournalKind::NoCost => {
                *charged -= entry.amount;
            }
            JournalKind::Withdrawing | JournalKind::Withdrawn | JournalKind::WithdrawalUndone => {}
        }
        platform += entry.platform_amount;
        if let Some(operator) = &entry.operator {
            let (accrued, reversed) = operators.entry(operator.clone()).or_default();
            *accrued += entry.operator_amount.max(0);
            *reversed += (-entry.operator_amount).max(0);
        }
    }
    for (name, account) in accounts {
        let of = |amount: NanoTon| i128::from(amount.0);
        let state = [
            of(account.balance),
            of(account.deposited),
            of(account.granted),
            of(account.charged),
            of(account.shortfall),
        ];
        assert_eq!(replayed.get(name).copied().unwrap_or_default(), state, "replay of {name}");
    }
    assert_eq!(platform, totals.platform);
    for each in &totals.operators {
        let counters = (i128::from(each.accrued.0), i128::from(each.reversed.0));
        assert_eq!(operators.get(&each.operator).copied().unwrap_or_default(), counters, "{}", each.operator);
    }
}
