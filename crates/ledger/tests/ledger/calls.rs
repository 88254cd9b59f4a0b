//! The calls of the random test, and what each is on a ledger and on the model. A new one needs its variant and a line
//! in each function here, and to be drawn in `generate.rs`.

use std::fmt::Debug;
use std::time::Duration;

use cocoon_ledger::{
    Bind, Checkpoint, Credit, Grant, LedgerError, Release, Reserve, Settlement, Shard, ShardCount,
};
use cocoon_receipts::{AccountId, RequestId};

use crate::bench::Bench;
use crate::model::{Model, Overflow};

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
            Self::Pass(_) | Self::SetClockBack(_) | Self::Expired(..) | Self::Expire(..) => None,
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
            Self::Expired(shard, _) | Self::Expire(shard, _) => Some(*shard),
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
            Self::Reserve(call) => told::<_, LedgerError>(Ok(model.reserve(call))),
            Self::Bind(call) => told::<_, LedgerError>(Ok(model.bind(call))),
            Self::Extend(call) => told::<_, LedgerError>(Ok(model.extend(call))),
            Self::Settle(call) => told::<_, Overflow>(model.settle(call)),
            Self::Release(call) => told::<_, LedgerError>(Ok(model.release(&call.account, call.request))),
            Self::Expired(shard, limit) => {
                told::<_, LedgerError>(Ok(model.expired(*shard, usize::try_from(*limit).unwrap())))
            }
            Self::Expire(shard, request) => told::<_, LedgerError>(Ok(model.expire(*shard, *request))),
            Self::Credit(call) => told::<_, Overflow>(model.credit(call)),
            Self::Grant(call) => told::<_, Overflow>(model.grant(call)),
        }
    }
}

fn told<Answer: Debug, Error: Debug>(answer: Result<Answer, Error>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{error:?}"),
    }
}
