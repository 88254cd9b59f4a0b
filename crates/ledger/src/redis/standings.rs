//! Limits, budgets and what was used, as the function library answers them.

use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use super::RedisLedger;
use super::functions::Function;
use super::names::{self, ShardKeys};
use super::reply::{self, Reply};
use crate::used::{NUMBERS, Used};
use crate::{Holder, LedgerError, Limit, Period, Rate, Rates, Refusal, Standing, Standings, Whose, periods};

/// Who uses an account: a key, and its project or an empty text.
#[derive(Debug, Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) key: &'a str,
    pub(super) project: &'a str,
}

impl<'a> User<'a> {
    pub(super) fn of(key: &'a KeyId, project: Option<&'a ProjectId>) -> Self {
        Self { key: key.as_str(), project: project.map_or("", ProjectId::as_str) }
    }
}

/// `keys`, and those of what the user has used: declared whether there is a project or not, so that every key has its
/// place.
pub(super) fn with_used<const N: usize>(
    k: ShardKeys,
    account: &AccountId,
    user: User<'_>,
    keys: [String; N],
) -> Vec<String> {
    let used = |name: &str| k.used(account, name);
    let records = [
        used(&names::key_counter(user.key)),
        used(&names::project_counter(user.project)),
        used(names::ACCOUNT_COUNTER),
    ];
    keys.into_iter().chain(records).chain([k.slots(account), k.running(account)]).collect()
}

impl RedisLedger {
    /// Makes a call whose keys name who has the hold. Where the hold is another's, which no gateway's is, the function has
    /// done nothing and says whose: it is called again for them.
    pub(super) async fn call_for(
        &self,
        user: User<'_>,
        call: impl Fn(User<'_>) -> (Function, Vec<String>, Vec<String>) + Send,
    ) -> Result<Reply, LedgerError> {
        let (function, keys, args) = call(user);
        let reply = self.call(function, &keys, &args).await?;
        let [word, key, project] = &reply.0[..] else { return Ok(reply) };
        if word != "of_others" {
            return Ok(reply);
        }
        let (function, keys, args) = call(User { key, project });
        self.call(function, &keys, &args).await
    }
}

/// Limit, remaining and reset of requests and of tokens from the `first` text on; empty where there is no limit.
pub(super) fn rates(reply: &Reply, first: usize) -> Result<Rates, LedgerError> {
    let rate = |first: usize| -> Result<Option<Rate>, LedgerError> {
        if reply.text(first)?.is_empty() {
            return Ok(None);
        }
        let number = |index: usize| reply.text(index).and_then(reply::parse);
        Ok(Some(Rate { limit: number(first)?, remaining: number(first + 1)?, reset_ms: number(first + 2)? }))
    };
    Ok(Rates { requests: rate(first)?, tokens: rate(first + 3)? })
}

/// Holder, limit, milliseconds (empty: for ever), rates.
pub(super) fn limited(reply: &Reply) -> Result<Refusal, LedgerError> {
    let limit = match reply.text(2)? {
        "requests" => Limit::Requests,
        "tokens" => Limit::Tokens,
        "concurrency" => Limit::Concurrency,
        _ => return Err(reply.unexpected()),
    };
    let retry_after_ms = match reply.text(3)? {
        "" => None,
        wait => Some(reply::parse(wait)?),
    };
    Ok(Refusal::Limited { holder: holder(reply)?, limit, retry_after_ms, rates: rates(reply, 4)? })
}

/// Holder, the budget's period, the store's time, rates.
pub(super) fn over_budget(reply: &Reply) -> Result<Refusal, LedgerError> {
    let period: Period = reply.text(2)?.parse()?;
    let now_ms: u64 = reply::parse(reply.text(3)?)?;
    Ok(Refusal::Limited {
        holder: holder(reply)?,
        limit: Limit::Budget,
        retry_after_ms: periods::end_ms(period, now_ms).map(|end| end - now_ms),
        rates: rates(reply, 4)?,
    })
}

fn holder(reply: &Reply) -> Result<Holder, LedgerError> {
    match reply.text(1)? {
        "key" => Ok(Holder::Key),
        "project" => Ok(Holder::Project),
        "account" => Ok(Holder::Account),
        _ => Err(reply.unexpected()),
    }
}

#[async_trait]
impl Standings for RedisLedger {
    async fn standing(&self, account: &AccountId, whose: &Whose) -> Result<Standing, LedgerError> {
        let k = self.keys_of(account);
        let counter = names::counter(whose);
        let keys = [k.clock(), k.used(account, &counter), k.slots(account), k.running(account)];
        let reply = self.call(Function::Standing, &keys, &[counter]).await?;
        let mut numbers = [0; NUMBERS];
        for (index, number) in numbers.iter_mut().enumerate() {
            *number = reply.text(index + 2).and_then(reply::parse)?;
        }
        let (now_ms, running) = (reply::parse(reply.text(0)?)?, reply::parse(reply.text(1)?)?);
        Ok(Used::from_numbers(numbers, now_ms).standing(running))
    }
}
