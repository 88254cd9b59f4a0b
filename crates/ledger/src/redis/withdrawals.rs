//! Withdrawals: an account's address in a hash of its own, the intents of a shard in one.

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::{AccountId, RequestId};

use super::RedisLedger;
use super::functions::Function;
use super::names::ShardKeys;
use super::reply::{Reply, parse};
use crate::rules::check_amount;
use crate::withdrawals::check_reason;
use crate::{
    LedgerError, Payout, PendingAddress, Shard, TonAddress, Withdrawal, WithdrawalBegun, WithdrawalEnded,
    WithdrawalRefusal, Withdrawals, is_channel,
};

impl RedisLedger {
    /// The reply of a function that is waited for until it is durable.
    pub(super) async fn durable(
        &self,
        function: Function,
        keys: &[String],
        args: &[String],
    ) -> Result<Reply, LedgerError> {
        self.functions.call_durably(function, keys, args).await.map(Reply)
    }

    async fn end_withdrawal(
        &self,
        function: Function,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        let k = self.keys_of(account);
        let keys =
            [k.clock(), k.totals(), k.account(account), k.journal(), k.withdrawals(), k.open_withdrawals()];
        let reply = self.durable(function, &keys, &[account.to_string(), intent.to_string()]).await?;
        match reply.word() {
            "ended" => Ok(WithdrawalEnded::Ended),
            "otherwise" => Ok(WithdrawalEnded::Otherwise),
            "unknown" => Ok(WithdrawalEnded::Unknown),
            _ => Err(reply.unexpected()),
        }
    }
}

#[async_trait]
impl Withdrawals for RedisLedger {
    async fn set_payout_address(
        &self,
        account: &AccountId,
        address: &TonAddress,
    ) -> Result<Payout, LedgerError> {
        let k = self.keys_of(account);
        let keys = [k.clock(), k.payout(account)];
        payout(&self.durable(Function::SetPayout, &keys, &[address.to_string()]).await?)
    }

    async fn payout(&self, account: &AccountId) -> Result<Payout, LedgerError> {
        let k = self.keys_of(account);
        let keys = [k.clock(), k.payout(account)];
        payout(&self.call(Function::SetPayout, &keys, &[String::new()]).await?)
    }

    async fn withdraw_begin(&self, withdrawal: &Withdrawal) -> Result<WithdrawalBegun, LedgerError> {
        check_amount(withdrawal.amount)?;
        if is_channel(&withdrawal.account) {
            return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::OfChannel));
        }
        let account = &withdrawal.account;
        let k = self.keys_of(account);
        let keys = [
            k.clock(),
            k.totals(),
            k.account(account),
            k.journal(),
            k.payout(account),
            k.withdrawals(),
            k.stopped(),
            k.open_withdrawals(),
        ];
        let args = [account.to_string(), withdrawal.intent.to_string(), withdrawal.amount.to_string()];
        let reply = self.durable(Function::WithdrawBegin, &keys, &args).await?;
        let text = || reply.0.get(1).map_or("", String::as_str);
        let refusal = match reply.word() {
            "begun" => return Ok(WithdrawalBegun::Begun { address: parse(text())? }),
            "done" => return Ok(WithdrawalBegun::Done),
            "undone" => return Ok(WithdrawalBegun::Undone),
            "insufficient" => WithdrawalRefusal::Insufficient { withdrawable: reply.amount(1)? },
            "no_address" => {
                let from_ms = if text().is_empty() { None } else { Some(parse(text())?) };
                WithdrawalRefusal::NoAddress { from_ms }
            }
            "other_intent" => WithdrawalRefusal::OtherIntent,
            "stopped" => WithdrawalRefusal::Stopped { reason: text().to_owned() },
            _ => return Err(reply.unexpected()),
        };
        Ok(WithdrawalBegun::Refused(refusal))
    }

    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        self.end_withdrawal(Function::WithdrawDone, account, intent).await
    }

    async fn withdraw_undo(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        self.end_withdrawal(Function::WithdrawUndo, account, intent).await
    }

    async fn stop_withdrawals(&self, shard: Shard, reason: &str) -> Result<(), LedgerError> {
        check_reason(reason)?;
        self.functions.durably(cmd("SET").arg(ShardKeys(shard).stopped()).arg(reason)).await.map(drop)
    }

    async fn withdrawals_stopped(&self, shard: Shard) -> Result<Option<String>, LedgerError> {
        self.functions.link().command(cmd("GET").arg(ShardKeys(shard).stopped())).await
    }

    async fn resume_withdrawals(&self, shard: Shard) -> Result<(), LedgerError> {
        self.functions.durably(cmd("DEL").arg(ShardKeys(shard).stopped())).await.map(drop)
    }
}

fn payout(reply: &Reply) -> Result<Payout, LedgerError> {
    let [word, current, pending, from] = &reply.0[..] else { return Err(reply.unexpected()) };
    if word != "payout" {
        return Err(reply.unexpected());
    }
    let address = |text: &str| -> Result<Option<TonAddress>, LedgerError> {
        if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
    };
    let pending = match address(pending)? {
        Some(address) => Some(PendingAddress { address, from_ms: parse(from)? }),
        None => None,
    };
    Ok(Payout { current: address(current)?, pending })
}
