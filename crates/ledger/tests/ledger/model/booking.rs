//! Deposits and grants.

use cocoon_ledger::{Booked, Credit, Grant, JournalKind, is_channel};
use cocoon_receipts::{AccountId, NanoTon};

use super::{Model, Refused, TOO_MUCH};

impl Model {
    pub(crate) fn credit(&mut self, credit: &Credit) -> Result<Booked, Refused> {
        let cause = format!("{}:{}", credit.lt, credit.tx_hash);
        self.book(&credit.account, credit.amount, JournalKind::Deposit, cause)
    }

    pub(crate) fn grant(&mut self, grant: &Grant) -> Result<Booked, Refused> {
        self.book(&grant.account, grant.amount, JournalKind::Grant, grant.id.to_string())
    }

    fn book(
        &mut self,
        name: &AccountId,
        amount: NanoTon,
        kind: JournalKind,
        cause: String,
    ) -> Result<Booked, Refused> {
        let shard = self.shards.of(name);
        if is_channel(name) {
            return Err(Refused::Configuration);
        }
        if i128::from(amount.0) >= TOO_MUCH {
            return Err(Refused::Overflow);
        }
        if self.booked.contains(&(shard, cause.clone())) {
            return Ok(Booked::Already);
        }
        let mut account = self.account(name);
        account.balance.0 += amount.0;
        if i128::from(account.balance.0) >= TOO_MUCH {
            return Err(Refused::Overflow);
        }
        if kind == JournalKind::Deposit {
            account.deposited.0 += amount.0;
        } else {
            account.granted.0 += amount.0;
        }
        self.accounts.insert(name.clone(), account);
        self.booked.insert((shard, cause.clone()));
        let entry = self.entry(kind, name, cause, [i128::from(amount.0), 0, 0]);
        self.journal.push((shard, entry));
        Ok(Booked::Booked { balance: account.balance })
    }
}
