//! What the books must be, from the journal alone: the second implementation, which checks the first.

use std::collections::{BTreeMap, BTreeSet};

use cocoon_receipts::{AccountId, NanoTon, OperatorId, ReceiptId};
use serde::{Deserialize, Serialize};

use crate::report::{Finding, Subject};
use crate::{JournalEntry, JournalId, JournalKind, LedgerError, is_channel};

/// A receipt cannot be booked twice while it is seen; what is older is refused for its age.
const SEEN_MS: u64 = 9 * 86_400_000;

/// An account as the journal makes it, nanoTON. Signed, so that a journal that takes too much is reported and not refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replayed {
    #[serde(with = "crate::decimal")]
    pub balance: i128,
    #[serde(with = "crate::decimal")]
    pub deposited: i128,
    #[serde(with = "crate::decimal")]
    pub granted: i128,
    #[serde(with = "crate::decimal")]
    pub charged: i128,
    #[serde(with = "crate::decimal")]
    pub shortfall: i128,
    #[serde(with = "crate::decimal")]
    pub withdrawing: i128,
    #[serde(with = "crate::decimal")]
    pub withdrawn: i128,
}

/// One shard's books as its journal makes them, up to an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    pub accounts: BTreeMap<AccountId, Replayed>,
    /// Accrued and reversed.
    pub operators: BTreeMap<OperatorId, (i128, i128)>,
    pub platform: i128,
    /// Withdrawals under way, by their intent.
    pub withdrawals: BTreeMap<String, (AccountId, i128)>,
    /// The last entry that is in.
    pub last: Option<JournalId>,
    /// How many are.
    pub entries: u64,
    pub(crate) receipts: BTreeSet<ReceiptId>,
}

impl Replay {
    /// Adds the next entry; answers what is wrong with it.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] where its id is not after the last one.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<Vec<Finding>, LedgerError> {
        let place = entry.id.place()?;
        if let Some(last) = &self.last
            && place <= last.place()?
        {
            return Err(LedgerError::Corrupt(format!("journal entry {} after {}", entry.id.0, last.0)));
        }
        let mut findings = Vec::new();
        self.note_receipt(entry, &mut findings);
        let amount = entry.amount;
        let account = self.accounts.entry(entry.account.clone()).or_default();
        account.balance += amount;
        account.shortfall += i128::from(entry.shortfall.0);
        let mut moves_only_the_balance = true;
        if is_channel(&entry.account)
            && matches!(entry.kind, JournalKind::Deposit | JournalKind::Grant | JournalKind::Withdrawing)
        {
            findings.push(Finding::of_entry(entry, "nothing but vouchers for a channel", 0, amount));
        }
        match entry.kind {
            JournalKind::Deposit => account.deposited += amount,
            JournalKind::Voucher => {
                account.deposited += amount;
                let cumulative = entry.cause.parse().ok().filter(|_| is_channel(&entry.account)).unwrap_or(0);
                if amount <= 0 || account.deposited > cumulative {
                    findings.push(Finding::of_entry(entry, "voucher", cumulative, account.deposited));
                }
            }
            JournalKind::Grant => account.granted += amount,
            JournalKind::Charge | JournalKind::Expiry | JournalKind::Correction | JournalKind::NoCost => {
                account.charged -= amount;
                moves_only_the_balance = false;
            }
            JournalKind::Withdrawing => {
                account.withdrawing -= amount;
                self.withdrawals.insert(entry.cause.clone(), (entry.account.clone(), -amount));
            }
            JournalKind::Withdrawn | JournalKind::WithdrawalUndone => {
                let begun = self.withdrawals.remove(&entry.cause).filter(|(name, _)| *name == entry.account);
                let begun = begun.map_or(0, |(_, amount)| amount);
                let paid_out = entry.kind == JournalKind::Withdrawn;
                account.withdrawing -= begun;
                account.withdrawn += if paid_out { begun } else { 0 };
                let back = if paid_out { 0 } else { begun };
                if begun == 0 || amount != back {
                    findings.push(Finding::of_entry(entry, "withdrawal", back, amount));
                }
            }
        }
        let billed = if moves_only_the_balance { 0 } else { i128::from(entry.shortfall.0) - amount };
        let paid = entry.operator_amount + entry.platform_amount;
        if billed != paid {
            findings.push(Finding::of_entry(entry, "shares", billed, paid));
        }
        if account.balance < 0 {
            findings.push(Finding::of_entry(entry, "balance below zero", 0, account.balance));
        }
        self.platform += entry.platform_amount;
        if let Some(operator) = &entry.operator {
            let (accrued, reversed) = self.operators.entry(operator.clone()).or_default();
            *accrued += entry.operator_amount.max(0);
            *reversed += (-entry.operator_amount).max(0);
        }
        self.last = Some(entry.id.clone());
        self.entries += 1;
        Ok(findings)
    }

    /// The sum over all accounts.
    #[must_use]
    pub fn sum(&self) -> Replayed {
        self.accounts.values().fold(Replayed::default(), |sum, account| Replayed {
            balance: sum.balance + account.balance,
            deposited: sum.deposited + account.deposited,
            granted: sum.granted + account.granted,
            charged: sum.charged + account.charged,
            shortfall: sum.shortfall + account.shortfall,
            withdrawing: sum.withdrawing + account.withdrawing,
            withdrawn: sum.withdrawn + account.withdrawn,
        })
    }

    /// A receipt is in the journal once.
    fn note_receipt(&mut self, entry: &JournalEntry, findings: &mut Vec<Finding>) {
        let Some(receipt) = entry.receipt else { return };
        let oldest = entry.at_ms.saturating_sub(SEEN_MS);
        while self.receipts.first().is_some_and(|first| first.made_at_ms() < oldest) {
            self.receipts.pop_first();
        }
        if !self.receipts.insert(receipt) {
            let subject = Subject::Entry(entry.id.clone());
            findings.push(Finding::count(subject, "receipt in the journal twice", 1, 2));
        }
    }
}

impl Finding {
    fn of_entry(entry: &JournalEntry, what: &'static str, expected: i128, found: i128) -> Self {
        Self::amount(Subject::Entry(entry.id.clone()), what, expected, found)
    }
}

/// The counters of an account, by their names in reports.
impl Replayed {
    pub(crate) fn counters(&self) -> [(&'static str, i128); 7] {
        [
            ("balance", self.balance),
            ("deposited", self.deposited),
            ("granted", self.granted),
            ("charged", self.charged),
            ("shortfall", self.shortfall),
            ("withdrawing", self.withdrawing),
            ("withdrawn", self.withdrawn),
        ]
    }
}

impl From<&crate::Account> for Replayed {
    fn from(account: &crate::Account) -> Self {
        let of = |amount: NanoTon| i128::from(amount.0);
        Self {
            balance: of(account.balance),
            deposited: of(account.deposited),
            granted: of(account.granted),
            charged: of(account.charged),
            shortfall: of(account.shortfall),
            withdrawing: of(account.withdrawing),
            withdrawn: of(account.withdrawn),
        }
    }
}

impl From<&crate::Totals> for Replayed {
    fn from(totals: &crate::Totals) -> Self {
        let of = |amount: NanoTon| i128::from(amount.0);
        Self {
            balance: of(totals.balances),
            deposited: of(totals.deposits),
            granted: of(totals.grants),
            charged: of(totals.charges),
            shortfall: of(totals.shortfall),
            withdrawing: of(totals.withdrawing),
            withdrawn: of(totals.withdrawn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: u64, kind: JournalKind, cause: &str, amount: i128) -> JournalEntry {
        JournalEntry {
            id: JournalId(id.to_string()),
            at_ms: 1_790_000_000_000,
            kind,
            account: "alice".parse().unwrap(),
            cause: cause.to_owned(),
            key: None,
            project: None,
            model: None,
            work: None,
            operator: None,
            receipt: None,
            receipt_digest: None,
            usage: None,
            amount,
            shortfall: NanoTon(0),
            operator_amount: 0,
            platform_amount: 0,
        }
    }

    fn charge(id: u64, amount: i128, operator: i128, platform: i128) -> JournalEntry {
        JournalEntry {
            operator: Some("operator".parse().unwrap()),
            receipt: Some(ReceiptId::generate()),
            operator_amount: operator,
            platform_amount: platform,
            ..entry(id, JournalKind::Charge, "request", amount)
        }
    }

    fn replayed(entries: &[JournalEntry]) -> (Replay, Vec<Finding>) {
        let mut replay = Replay::default();
        let findings = entries.iter().flat_map(|entry| replay.apply(entry).unwrap()).collect();
        (replay, findings)
    }

    #[test]
    fn the_journal_makes_the_accounts() {
        let (replay, findings) = replayed(&[
            entry(1, JournalKind::Deposit, "1:a", 500),
            entry(2, JournalKind::Grant, "g", 70),
            charge(3, -100, 90, 10),
            entry(4, JournalKind::Withdrawing, "w", -200),
            entry(5, JournalKind::Withdrawing, "x", -30),
            entry(6, JournalKind::Withdrawn, "w", 0),
            entry(7, JournalKind::WithdrawalUndone, "x", 30),
            entry(8, JournalKind::Withdrawing, "y", -5),
            JournalEntry { kind: JournalKind::Correction, ..charge(9, 40, -36, -4) },
        ]);
        assert_eq!(findings, []);
        let expected = Replayed {
            balance: 305,
            deposited: 500,
            granted: 70,
            charged: 60,
            shortfall: 0,
            withdrawing: 5,
            withdrawn: 200,
        };
        assert_eq!(replay.accounts[&"alice".parse().unwrap()], expected);
        assert_eq!(replay.sum(), expected);
        assert_eq!((replay.operators[&"operator".parse().unwrap()], replay.platform), ((90, 36), 6));
        assert_eq!(replay.withdrawals.len(), 1);
    }

    #[test]
    fn an_entry_that_cannot_be_is_found() {
        let deposit = entry(1, JournalKind::Deposit, "1:a", 500);
        let twice = charge(2, -100, 90, 10);
        let begun = entry(3, JournalKind::Withdrawing, "begun", -30);
        let undone = entry(4, JournalKind::WithdrawalUndone, "begun", 30);
        for (bad, what) in [
            (charge(4, -100, 90, 11), "shares"),
            (charge(4, -501, 501, 0), "balance below zero"),
            (entry(4, JournalKind::Withdrawn, "w", 0), "withdrawal"),
            (entry(4, JournalKind::WithdrawalUndone, "begun", 29), "withdrawal"),
            (JournalEntry { account: "bob".parse().unwrap(), ..undone }, "withdrawal"),
            (JournalEntry { id: JournalId("4".into()), ..twice.clone() }, "receipt in the journal twice"),
        ] {
            let (_, findings) = replayed(&[deposit.clone(), twice.clone(), begun.clone(), bad]);
            assert!(findings.iter().any(|finding| finding.what == what), "{what}: {findings:?}");
        }
        let mut replay = Replay::default();
        replay.apply(&twice).unwrap();
        for known in [&deposit, &twice] {
            assert!(replay.apply(known).is_err(), "out of order");
        }
    }

    #[test]
    fn vouchers_make_a_channels_account_and_nothing_else_does() {
        let channel: AccountId = format!("channel:{}", "0a".repeat(32)).parse().unwrap();
        let of_channel = |entry: JournalEntry| JournalEntry { account: channel.clone(), ..entry };
        let voucher = |id, cumulative, by| entry(id, JournalKind::Voucher, cumulative, by);
        // Twenty were settled before the channel was known here.
        let known = [of_channel(voucher(1, "70", 50)), of_channel(voucher(2, "90", 20))];
        let (replay, findings) = replayed(&[&known[..], &[of_channel(charge(3, -60, 54, 6))]].concat());
        assert_eq!(findings, []);
        let expected = Replayed { balance: 10, deposited: 70, charged: 60, ..Replayed::default() };
        assert_eq!(replay.accounts[&channel], expected);
        for (bad, what) in [
            (of_channel(voucher(3, "91", 22)), "voucher"),
            (of_channel(voucher(3, "90", 0)), "voucher"),
            (of_channel(voucher(3, "90", -1)), "voucher"),
            (of_channel(voucher(3, "more", 1)), "voucher"),
            (voucher(3, "90", 1), "voucher"),
            (of_channel(entry(3, JournalKind::Deposit, "1:a", 1)), "nothing but vouchers for a channel"),
            (of_channel(entry(3, JournalKind::Grant, "g", 1)), "nothing but vouchers for a channel"),
            (of_channel(entry(3, JournalKind::Withdrawing, "w", -1)), "nothing but vouchers for a channel"),
        ] {
            let (_, findings) = replayed(&[&known[..], &[bad]].concat());
            assert_eq!(
                findings.iter().map(|finding| finding.what).collect::<Vec<_>>(),
                [what],
                "{findings:?}"
            );
        }
    }

    #[test]
    fn a_receipt_is_remembered_as_long_as_it_could_come_again() {
        let made = |at_ms: u64, id: u64| {
            let uuid = format!("{:08x}-{:04x}-7000-8000-000000000000", at_ms >> 16, at_ms & 0xffff);
            JournalEntry { at_ms, receipt: Some(uuid.parse().unwrap()), ..charge(id, 0, 0, 0) }
        };
        let first = 1_790_000_000_000;
        let (replay, _) = replayed(&[made(first, 1), made(first + SEEN_MS, 2)]);
        assert_eq!(replay.receipts.len(), 2);
        let (replay, _) = replayed(&[made(first, 1), made(first + SEEN_MS + 1, 2)]);
        assert_eq!(replay.receipts.len(), 1);
    }
}
