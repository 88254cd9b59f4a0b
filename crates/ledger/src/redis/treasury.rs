//! Decisions, the lease, and withdrawals that are to be paid (`functions/treasury.lua`, `functions/withdrawals.lua`).
//!
//! Reading is waited for as writing is: every function writes the shard's time, which comes after all that it has seen.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_receipts::RequestId;

use super::RedisLedger;
use super::functions::Function;
use super::names::ShardKeys;
use super::reply::{or_empty, parse};
use crate::rules::lease_ms;
use crate::treasury::{TREASURY, check_appended, check_holder, check_place};
use crate::{
    Appending, Lease, LedgerError, MAX_DECISIONS, MAX_DECISIONS_BYTES, MAX_OPEN_WITHDRAWALS, OpenWithdrawal,
    Shard, Treasury,
};

/// Of the first shard.
const K: ShardKeys = ShardKeys(TREASURY);

#[async_trait]
impl Treasury for RedisLedger {
    async fn append_decisions(&self, after: u64, records: &[String]) -> Result<Appending, LedgerError> {
        check_appended(after, records)?;
        let args: Vec<String> = std::iter::once(after.to_string()).chain(records.iter().cloned()).collect();
        let reply = self.durable(Function::AppendDecisions, &[K.clock(), K.decisions()], &args).await?;
        let count = || reply.text(1).and_then(parse);
        match reply.word() {
            "appended" => Ok(Appending::Appended { count: count()? }),
            "moved" => Ok(Appending::Moved { count: count()? }),
            _ => Err(reply.unexpected()),
        }
    }

    async fn decisions(&self, after: u64, limit: u32) -> Result<Vec<String>, LedgerError> {
        check_place(after)?;
        let args = [after.to_string(), limit.min(MAX_DECISIONS).to_string(), MAX_DECISIONS_BYTES.to_string()];
        let mut reply = self.durable(Function::Decisions, &[K.clock(), K.decisions()], &args).await?;
        match reply.word() {
            "decisions" => Ok(reply.0.split_off(1)),
            _ => Err(reply.unexpected()),
        }
    }

    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError> {
        check_holder(holder)?;
        let args = [holder.to_owned(), lease_ms(lasts).to_string()];
        let reply = self.durable(Function::HoldLease, &[K.clock(), K.treasury_lease()], &args).await?;
        match reply.word() {
            "lease" => Ok(Lease {
                holder: reply.text(1)?.to_owned(),
                until_ms: parse(reply.text(2)?)?,
                now_ms: parse(reply.text(3)?)?,
            }),
            _ => Err(reply.unexpected()),
        }
    }

    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError> {
        check_holder(holder)?;
        let keys = [K.clock(), K.treasury_lease()];
        self.durable(Function::GiveUpLease, &keys, &[holder.to_owned()]).await.map(drop)
    }

    async fn open_withdrawals(
        &self,
        shard: Shard,
        after: Option<RequestId>,
        limit: u32,
    ) -> Result<Vec<OpenWithdrawal>, LedgerError> {
        let k = ShardKeys(shard);
        let keys = [k.clock(), k.withdrawals(), k.open_withdrawals()];
        let args = [or_empty(after), limit.min(MAX_OPEN_WITHDRAWALS).to_string()];
        let reply = self.durable(Function::OpenWithdrawals, &keys, &args).await?;
        let ("open", texts) = (reply.word(), reply.0.get(1..).unwrap_or_default()) else {
            return Err(reply.unexpected());
        };
        texts
            .chunks(4)
            .map(|of| match of {
                [intent, account, amount, address] => Ok(OpenWithdrawal {
                    intent: parse(intent)?,
                    account: parse(account)?,
                    amount: parse(amount)?,
                    address: parse(address)?,
                }),
                _ => Err(reply.unexpected()),
            })
            .collect()
    }
}
