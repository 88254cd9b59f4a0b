//! The calls of the random test, and what each is on a ledger and on the model. A new one needs its variant and a line
//! in each function here, and to be drawn in `generate.rs`.

use std::fmt::Debug;
use std::time::Duration;

use cocoon_ledger::{
    Bind, ChannelOpening, Checkpoint, Credit, Grant, KeptVoucher, KeyQuery, KeyRecord, Limits, Release,
    Reserve, Settlement, Shard, ShardCount, TonAddress, Withdrawal,
};
use cocoon_receipts::{AccountId, KeyId, ProjectId, RequestId};

use crate::bench::Bench;
use crate::model::{Model, Overflow, WithdrawalEnd};

#[derive(Debug, Clone)]
pub(crate) enum Call {
    Pass(Duration),
    SetClockBack(Duration),
    Reserve(Reserve),
    Bind(Bind),
    Extend(Checkpoint),
    Settle(Box<Settlement>),
    Release(Release),
    Expired(Shard, u32),
    Expire(Shard, RequestId),
    Credit(Credit),
    Grant(Grant),
    SetPayout(AccountId, TonAddress),
    WithdrawBegin(Withdrawal),
    WithdrawEnd(AccountId, RequestId, WithdrawalEnd),
    StopWithdrawals(Shard, String),
    ResumeWithdrawals(Shard),
    SetLimits(AccountId, Option<ProjectId>, Limits),
    PutKey(Box<KeyRecord>),
    Revoke(AccountId, KeyId, Duration),
    IsRevoked(AccountId, KeyId),
    Keys(KeyQuery),
    AppendDecisions(u64, Vec<String>),
    HoldLease(String, Duration),
    GiveUpLease(String),
    OpenChannel(ChannelOpening),
    Raise(AccountId, KeptVoucher),
    CloseChannel(AccountId),
}

impl Call {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Pass(_) => "pass",
            Self::SetClockBack(_) => "set clock back",
            Self::Reserve(_) => "reserve",
            Self::Bind(_) => "bind",
            Self::Extend(_) => "extend",
            Self::Settle(_) => "settle",
            Self::Release(_) => "release",
            Self::Expired(..) => "expired",
            Self::Expire(..) => "expire",
            Self::Credit(_) => "credit",
            Self::Grant(_) => "grant",
            Self::SetPayout(..) => "set payout",
            Self::WithdrawBegin(_) => "withdraw begin",
            Self::WithdrawEnd(_, _, WithdrawalEnd::Done) => "withdraw done",
            Self::WithdrawEnd(_, _, WithdrawalEnd::Undone) => "withdraw undo",
            Self::StopWithdrawals(..) => "stop withdrawals",
            Self::ResumeWithdrawals(_) => "resume withdrawals",
            Self::SetLimits(..) => "set limits",
            Self::PutKey(_) => "put key",
            Self::Revoke(..) => "revoke",
            Self::IsRevoked(..) => "is revoked",
            Self::Keys(_) => "keys",
            Self::AppendDecisions(..) => "append decisions",
            Self::HoldLease(..) => "hold lease",
            Self::GiveUpLease(_) => "give up lease",
            Self::OpenChannel(_) => "open channel",
            Self::Raise(..) => "raise",
            Self::CloseChannel(_) => "close channel",
        }
    }

    /// Whose account it names.
    pub(crate) fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Reserve(call) => Some(&call.account),
            Self::Bind(call) => Some(&call.account),
            Self::Extend(call) => Some(&call.account),
            Self::Settle(call) => Some(&call.account),
            Self::Release(call) => Some(&call.account),
            Self::Credit(call) => Some(&call.account),
            Self::Grant(call) => Some(&call.account),
            Self::WithdrawBegin(call) => Some(&call.account),
            Self::OpenChannel(opening) => Some(&opening.account),
            Self::PutKey(record) => Some(&record.account),
            Self::Keys(query) => Some(&query.account),
            Self::SetPayout(account, _)
            | Self::WithdrawEnd(account, ..)
            | Self::SetLimits(account, ..)
            | Self::Revoke(account, ..)
            | Self::IsRevoked(account, _)
            | Self::Raise(account, _)
            | Self::CloseChannel(account) => Some(account),
            Self::Pass(_)
            | Self::SetClockBack(_)
            | Self::Expired(..)
            | Self::Expire(..)
            | Self::StopWithdrawals(..)
            | Self::ResumeWithdrawals(_)
            | Self::AppendDecisions(..)
            | Self::HoldLease(..)
            | Self::GiveUpLease(_) => None,
        }
    }

    /// The request it is about, of the account it names.
    pub(crate) fn request(&self) -> Option<(&AccountId, RequestId)> {
        let request = match self {
            Self::Reserve(call) => call.request,
            Self::Bind(call) => call.request,
            Self::Extend(call) => call.request,
            Self::Settle(call) => call.request,
            Self::Release(call) => call.request,
            _ => return None,
        };
        self.account().map(|account| (account, request))
    }

    /// The one shard it may change.
    pub(crate) fn shard(&self, shards: ShardCount) -> Option<Shard> {
        match self {
            Self::Expired(shard, _)
            | Self::Expire(shard, _)
            | Self::StopWithdrawals(shard, _)
            | Self::ResumeWithdrawals(shard) => Some(*shard),
            Self::AppendDecisions(..) | Self::HoldLease(..) | Self::GiveUpLease(_) => Some(Shard(0)),
            call => call.account().map(|account| shards.of(account)),
        }
    }

    pub(crate) async fn on(&self, bench: &Bench) -> String {
        let ledger = bench.ledger.as_ref();
        match self {
            Self::Pass(time) => {
                bench.pass(*time).await;
                String::new()
            }
            Self::SetClockBack(time) => {
                bench.set_clock_back(*time).await;
                String::new()
            }
            Self::Reserve(call) => told(ledger.reserve(call).await),
            Self::Bind(call) => told(ledger.bind(call).await),
            Self::Extend(call) => told(ledger.extend(call).await),
            Self::Settle(call) => told(ledger.settle(call).await),
            Self::Release(call) => told(ledger.release(call).await),
            Self::Expired(shard, limit) => told(ledger.expired(*shard, *limit).await),
            Self::Expire(shard, request) => told(ledger.expire(*shard, *request).await),
            Self::Credit(call) => told(ledger.credit(call).await),
            Self::Grant(call) => told(ledger.grant(call).await),
            Self::SetPayout(account, address) => told(ledger.set_payout_address(account, address).await),
            Self::WithdrawBegin(call) => told(ledger.withdraw_begin(call).await),
            Self::WithdrawEnd(account, intent, WithdrawalEnd::Done) => {
                told(ledger.withdraw_done(account, *intent).await)
            }
            Self::WithdrawEnd(account, intent, WithdrawalEnd::Undone) => {
                told(ledger.withdraw_undo(account, *intent).await)
            }
            Self::StopWithdrawals(shard, reason) => told(ledger.stop_withdrawals(*shard, reason).await),
            Self::ResumeWithdrawals(shard) => told(ledger.resume_withdrawals(*shard).await),
            Self::SetLimits(account, project, limits) => {
                told(ledger.set_limits(account, project.as_ref(), limits).await)
            }
            Self::PutKey(record) => told(ledger.put_key(record).await),
            Self::Revoke(account, key, after) => told(ledger.revoke_key(account, key, *after).await),
            Self::IsRevoked(account, key) => told(ledger.is_revoked(account, key).await),
            Self::Keys(query) => told(ledger.keys(query).await),
            Self::AppendDecisions(after, records) => told(ledger.append_decisions(*after, records).await),
            Self::HoldLease(holder, lasts) => told(ledger.hold_lease(holder, *lasts).await),
            Self::GiveUpLease(holder) => told(ledger.give_up_lease(holder).await),
            Self::OpenChannel(opening) => told(ledger.open_channel(opening).await),
            Self::Raise(account, voucher) => told(ledger.raise_ceiling(account, voucher).await),
            Self::CloseChannel(account) => told(ledger.close_channel(account).await),
        }
    }

    pub(crate) fn on_model(&self, model: &mut Model) -> String {
        match self {
            Self::Pass(time) => {
                model.pass(*time);
                String::new()
            }
            Self::SetClockBack(time) => {
                model.set_clock_back(*time);
                String::new()
            }
            Self::Reserve(call) => always(model.reserve(call)),
            Self::Bind(call) => always(model.bind(call)),
            Self::Extend(call) => always(model.extend(call)),
            Self::Settle(call) => told(model.settle(call)),
            Self::Release(call) => always(model.release(&call.account, call.request)),
            Self::Expired(shard, limit) => always(model.expired(*shard, usize::try_from(*limit).unwrap())),
            Self::Expire(shard, request) => always(model.expire(*shard, *request)),
            Self::Credit(call) => told(model.credit(call)),
            Self::Grant(call) => told(model.grant(call)),
            Self::SetPayout(account, address) => always(model.set_payout(account, address)),
            Self::WithdrawBegin(call) => told(model.withdraw_begin(call)),
            Self::WithdrawEnd(account, intent, end) => told(model.withdraw_end(account, *intent, *end)),
            Self::StopWithdrawals(shard, reason) => {
                model.stop_withdrawals(*shard, reason);
                always(())
            }
            Self::ResumeWithdrawals(shard) => {
                model.resume_withdrawals(*shard);
                always(())
            }
            Self::SetLimits(account, project, limits) => {
                told(model.set_limits(account, project.as_ref(), *limits))
            }
            Self::PutKey(record) => told(model.put_key(record)),
            Self::Revoke(account, key, after) => always(model.revoke(account, key, *after)),
            Self::IsRevoked(account, key) => always(model.is_revoked(account, key)),
            Self::Keys(query) => always(model.keys(query)),
            Self::AppendDecisions(after, records) => always(model.append_decisions(*after, records)),
            Self::HoldLease(holder, lasts) => always(model.hold_lease(holder, *lasts)),
            Self::GiveUpLease(holder) => {
                model.give_up_lease(holder);
                always(())
            }
            Self::OpenChannel(opening) => told(model.open_channel(opening)),
            Self::Raise(account, voucher) => told(model.raise(account, voucher)),
            Self::CloseChannel(account) => told(model.close_channel(account)),
        }
    }
}

fn always<Answer: Debug>(answer: Answer) -> String {
    told::<_, Overflow>(Ok(answer))
}

fn told<Answer: Debug, Error: Debug>(answer: Result<Answer, Error>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        // The model has no words for the reason.
        Err(error) => match format!("{error:?}") {
            text if text.starts_with("Configuration(") => "Configuration".to_owned(),
            text => text,
        },
    }
}
