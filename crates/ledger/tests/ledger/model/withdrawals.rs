//! Money that goes out.

use cocoon_ledger::{
    ADDRESS_DELAY, JournalKind, OpenWithdrawal, Payout, PendingAddress, Shard, TonAddress, Withdrawal,
    WithdrawalBegun, WithdrawalEnded, WithdrawalRefusal, is_channel,
};
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use super::{Model, Overflow, TOO_MUCH, nano};

#[derive(Debug, Clone)]
pub(super) struct Intent {
    withdrawal: Withdrawal,
    address: TonAddress,
    end: Option<WithdrawalEnd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithdrawalEnd {
    Done,
    Undone,
}

impl Intent {
    /// Where it has not ended.
    pub(super) fn open(&self) -> Option<OpenWithdrawal> {
        let Withdrawal { account, intent, amount } = self.withdrawal.clone();
        self.end.is_none().then(|| OpenWithdrawal { intent, account, amount, address: self.address.clone() })
    }
}

impl Model {
    pub(crate) fn payout(&self, account: &AccountId) -> Payout {
        let payout = self.payouts.get(account).cloned().unwrap_or_default();
        match payout.pending {
            Some(pending) if pending.from_ms <= self.now_ms => {
                Payout { current: Some(pending.address), pending: None }
            }
            _ => payout,
        }
    }

    pub(crate) fn set_payout(&mut self, account: &AccountId, address: &TonAddress) -> Payout {
        let Payout { current, pending } = self.payout(account);
        let waiting = pending.filter(|pending| pending.address == *address);
        let from_ms = self.now_ms + u64::try_from(ADDRESS_DELAY.as_millis()).unwrap();
        let pending = if current.as_ref() == Some(address) {
            None
        } else {
            waiting.or(Some(PendingAddress { address: address.clone(), from_ms }))
        };
        let payout = Payout { current, pending };
        self.payouts.insert(account.clone(), payout.clone());
        payout
    }

    /// What charges have left of deposits, and nothing holds. They consume test credit first.
    pub(crate) fn withdrawable(&self, account: &AccountId) -> NanoTon {
        let account = self.account(account);
        let of = |amount: NanoTon| i128::from(amount.0);
        let charged_to_deposits = (of(account.charged) - of(account.granted)).max(0);
        let gone = charged_to_deposits + of(account.withdrawing) + of(account.withdrawn);
        let deposited = of(account.deposited) - gone;
        nano(deposited.min(of(account.balance) - of(account.held)).max(0))
    }

    pub(crate) fn withdraw_begin(&mut self, withdrawal: &Withdrawal) -> Result<WithdrawalBegun, Overflow> {
        let Withdrawal { account, intent, amount } = withdrawal;
        if i128::from(amount.0) >= TOO_MUCH {
            return Err(Overflow);
        }
        if is_channel(account) {
            return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::OfChannel));
        }
        let id = self.id(account, *intent);
        if let Some(known) = self.intents.get(&id) {
            return Ok(match known.end {
                _ if known.withdrawal != *withdrawal => {
                    WithdrawalBegun::Refused(WithdrawalRefusal::OtherIntent)
                }
                None => WithdrawalBegun::Begun { address: known.address.clone() },
                Some(WithdrawalEnd::Done) => WithdrawalBegun::Done,
                Some(WithdrawalEnd::Undone) => WithdrawalBegun::Undone,
            });
        }
        let refused = |refusal| Ok(WithdrawalBegun::Refused(refusal));
        if let Some(reason) = self.withdrawals_stopped(id.0) {
            return refused(WithdrawalRefusal::Stopped { reason });
        }
        let payout = self.payout(account);
        let Some(address) = payout.current else {
            let from_ms = payout.pending.map(|pending| pending.from_ms);
            return refused(WithdrawalRefusal::NoAddress { from_ms });
        };
        let withdrawable = self.withdrawable(account);
        if amount.0 == 0 || *amount > withdrawable {
            return refused(WithdrawalRefusal::Insufficient { withdrawable });
        }
        let state = self.accounts.entry(account.clone()).or_default();
        state.balance.0 -= amount.0;
        state.withdrawing.0 += amount.0;
        self.journal_withdrawal(id, JournalKind::Withdrawing, account, -i128::from(amount.0));
        let begun = Intent { withdrawal: withdrawal.clone(), address: address.clone(), end: None };
        self.intents.insert(id, begun);
        Ok(WithdrawalBegun::Begun { address })
    }

    pub(crate) fn withdraw_end(
        &mut self,
        account: &AccountId,
        intent: RequestId,
        end: WithdrawalEnd,
    ) -> Result<WithdrawalEnded, Overflow> {
        let id = self.id(account, intent);
        let Some(known) = self.intents.get(&id).filter(|known| known.withdrawal.account == *account) else {
            return Ok(WithdrawalEnded::Unknown);
        };
        if let Some(ended) = known.end {
            return Ok(if ended == end { WithdrawalEnded::Ended } else { WithdrawalEnded::Otherwise });
        }
        let amount = known.withdrawal.amount.0;
        let mut state = self.account(account);
        state.withdrawing.0 -= amount;
        let back = match end {
            WithdrawalEnd::Done => 0,
            WithdrawalEnd::Undone => amount,
        };
        state.balance.0 += back;
        state.withdrawn.0 += amount - back;
        if i128::from(state.balance.0) >= TOO_MUCH {
            return Err(Overflow);
        }
        self.accounts.insert(account.clone(), state);
        let kind = match end {
            WithdrawalEnd::Done => JournalKind::Withdrawn,
            WithdrawalEnd::Undone => JournalKind::WithdrawalUndone,
        };
        self.journal_withdrawal(id, kind, account, i128::from(back));
        self.intents.get_mut(&id).expect("it was there").end = Some(end);
        Ok(WithdrawalEnded::Ended)
    }

    fn journal_withdrawal(
        &mut self,
        (shard, intent): (Shard, RequestId),
        kind: JournalKind,
        account: &AccountId,
        amount: i128,
    ) {
        let entry = self.entry(kind, account, intent.to_string(), [amount, 0, 0]);
        self.journal.push((shard, entry));
    }

    /// Whether it began and has not ended.
    pub(crate) fn is_under_way(&self, account: &AccountId, intent: RequestId) -> bool {
        self.intents.get(&self.id(account, intent)).is_some_and(|known| known.end.is_none())
    }

    pub(crate) fn stop_withdrawals(&mut self, shard: Shard, reason: &str) {
        self.stopped.insert(shard, reason.to_owned());
    }

    pub(crate) fn withdrawals_stopped(&self, shard: Shard) -> Option<String> {
        self.stopped.get(&shard).cloned()
    }

    pub(crate) fn resume_withdrawals(&mut self, shard: Shard) {
        self.stopped.remove(&shard);
    }
}
