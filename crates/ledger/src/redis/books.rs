//! The books at one moment: transactions over the keys of one shard.

use std::collections::{BTreeMap, HashMap};

use ::redis::streams::StreamRangeReply;
use ::redis::{Pipeline, cmd};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use super::names::ShardKeys;
use super::reply::{self, parse};
use super::{RedisLedger, is_stream_id};
use crate::{Account, Books, Cut, Holds, JournalEntry, JournalId, LedgerError, OpenHold, Shard, Totals};

/// Readings of the holds before they are left alone: a shard in which holds come and go faster is rare.
const READINGS: usize = 10;

type Text = HashMap<String, String>;

#[async_trait]
impl Books for RedisLedger {
    async fn account_names(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, LedgerError> {
        let start = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut range = cmd("ZRANGEBYLEX");
        range.arg(ShardKeys(shard).accounts()).arg(start).arg("+").arg("LIMIT").arg(0).arg(limit);
        let names: Vec<String> = self.functions.link().command(&range).await?;
        names.iter().map(|name| parse(name)).collect()
    }

    async fn accounts_at(
        &self,
        shard: Shard,
        accounts: &[AccountId],
    ) -> Result<Cut<Vec<Account>>, LedgerError> {
        let k = ShardKeys(shard);
        let mut all = ::redis::pipe();
        all.atomic();
        ask_last(&mut all, k);
        for account in accounts {
            all.cmd("HMGET").arg(k.account(account)).arg(&reply::ACCOUNT_FIELDS);
        }
        let mut replies: Vec<::redis::Value> = self.functions.link().pipeline(&all).await?;
        let last = if replies.is_empty() { ::redis::Value::Nil } else { replies.remove(0) };
        let value = replies
            .into_iter()
            .map(|values| reply::account(&read::<Vec<Option<String>>>(values)?))
            .collect::<Result<_, LedgerError>>()?;
        Ok(Cut { at: last_id(&read(last)?), value })
    }

    async fn totals_at(&self, shard: Shard) -> Result<Cut<Totals>, LedgerError> {
        let k = ShardKeys(shard);
        let mut all = ::redis::pipe();
        all.atomic();
        ask_last(&mut all, k);
        all.cmd("HGETALL").arg(k.totals()).cmd("HGETALL").arg(k.operators());
        let (last, sums, operators): (StreamRangeReply, Text, Text) =
            self.functions.link().pipeline(&all).await?;
        Ok(Cut { at: last_id(&last), value: reply::totals(&sums, &operators)? })
    }

    async fn holds(&self, shard: Shard) -> Result<Option<Holds>, LedgerError> {
        for _ in 0..READINGS {
            if let Some(holds) = self.read_holds(ShardKeys(shard)).await? {
                return Ok(Some(holds));
            }
        }
        Ok(None)
    }

    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalEntry>, LedgerError> {
        let mut range = cmd("XREVRANGE");
        range.arg(ShardKeys(shard).journal()).arg("+").arg("-").arg("COUNT").arg(1);
        self.first_of(&range).await
    }

    async fn entry(&self, shard: Shard, id: &JournalId) -> Result<Option<JournalEntry>, LedgerError> {
        if !is_stream_id(&id.0) {
            return Err(LedgerError::Configuration(format!("{:?} is no journal id of this store", id.0)));
        }
        let mut range = cmd("XRANGE");
        range.arg(ShardKeys(shard).journal()).arg(&id.0).arg(&id.0);
        self.first_of(&range).await
    }
}

impl RedisLedger {
    async fn first_of(&self, range: &::redis::Cmd) -> Result<Option<JournalEntry>, LedgerError> {
        let found: StreamRangeReply = self.functions.link().command(range).await?;
        found.ids.first().map(reply::journal_entry).transpose()
    }

    /// Which holds there are is read first, then all that is said of them in one transaction; none where other holds
    /// are there by then.
    async fn read_holds(&self, k: ShardKeys) -> Result<Option<Holds>, LedgerError> {
        let link = self.functions.link();
        let mut leases = cmd("ZRANGE");
        leases.arg(k.leases()).arg(0).arg(-1);
        let ids: Vec<String> = link.command(&leases).await?;
        let requests = ids.iter().map(|id| parse(id)).collect::<Result<Vec<RequestId>, _>>()?;
        let mut accounts = ::redis::pipe();
        for request in &requests {
            accounts.cmd("HGET").arg(k.hold(*request)).arg("account");
        }
        let names: Vec<Option<String>> =
            if requests.is_empty() { Vec::new() } else { link.pipeline(&accounts).await? };
        let Some(names) = names.into_iter().collect::<Option<Vec<String>>>() else { return Ok(None) };
        let names = names.iter().map(|name| parse(name)).collect::<Result<Vec<AccountId>, _>>()?;
        let mut holders = names.clone();
        holders.sort_unstable();
        holders.dedup();

        let mut all = ::redis::pipe();
        all.atomic().add_command(leases);
        all.cmd("HMGET").arg(k.totals()).arg(&["held", "open_holds"]);
        all.cmd("HMGET").arg(k.clock()).arg(&["last", "test"]).cmd("TIME");
        for request in &requests {
            all.cmd("HMGET").arg(k.hold(*request)).arg(&["amount", "due"]);
        }
        for holder in &holders {
            all.cmd("HMGET").arg(k.account(holder)).arg(&["held", "open_holds"]);
        }
        let replies: Vec<::redis::Value> = link.pipeline(&all).await?;
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(::redis::Value::Nil);
        if read::<Vec<String>>(next())? != ids {
            return Ok(None);
        }
        let (held, open_holds) = pair(next())?;
        let now_ms = shard_time(&read::<Vec<Option<String>>>(next())?, &read::<Vec<String>>(next())?)?;
        let mut holds = Vec::with_capacity(requests.len());
        for (request, account) in requests.into_iter().zip(names) {
            let (amount, due_ms) = pair(next())?;
            holds.push(OpenHold { request, account, amount: NanoTon(amount), due_ms });
        }
        let mut accounts = BTreeMap::new();
        for holder in holders {
            let (held, open) = pair(next())?;
            accounts.insert(holder, (NanoTon(held), open));
        }
        Ok(Some(Holds { now_ms, holds, accounts, held: NanoTon(held), open_holds }))
    }
}

fn ask_last(pipeline: &mut Pipeline, k: ShardKeys) {
    pipeline.cmd("XREVRANGE").arg(k.journal()).arg("+").arg("-").arg("COUNT").arg(1);
}

fn last_id(reply: &StreamRangeReply) -> Option<JournalId> {
    reply.ids.first().map(|entry| JournalId(entry.id.clone()))
}

fn read<T: ::redis::FromRedisValue>(value: ::redis::Value) -> Result<T, LedgerError> {
    ::redis::from_redis_value(value).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

fn pair(value: ::redis::Value) -> Result<(u64, u64), LedgerError> {
    let values: Vec<Option<String>> = read(value)?;
    let number = |index: usize| values.get(index).and_then(Option::as_deref).map_or(Ok(0), parse);
    Ok((number(0)?, number(1)?))
}

/// As the functions take it.
fn shard_time(kept: &[Option<String>], server: &[String]) -> Result<u64, LedgerError> {
    let number = |text: Option<&str>| text.map_or(Ok(0), parse::<u64>);
    let kept = |index: usize| kept.get(index).and_then(Option::as_deref);
    let part = |index: usize| number(server.get(index).map(String::as_str));
    let now_ms = match kept(1) {
        Some(test) => parse(test)?,
        None => part(0)?.saturating_mul(1000).saturating_add(part(1)? / 1000),
    };
    Ok(now_ms.max(number(kept(0))?))
}
