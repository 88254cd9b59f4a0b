//! The Redis store: one Redis Function call per operation, atomic within a shard.

mod access;
mod address;
mod answers;
mod books;
mod breaker;
mod channels;
mod create;
mod documents;
mod durable;
mod functions;
mod health;
mod key_registry;
mod library;
mod link;
mod names;
mod primaries;
mod reply;
mod requests;
mod retention;
mod standings;
mod start;
mod transfer;
mod treasury;
mod usages;
mod wire;
mod withdrawals;

use std::collections::HashMap;

use ::redis::cmd;
use ::redis::streams::StreamRangeReply;
use async_trait::async_trait;
use cocoon_receipts::{AccountId, Digest, NanoTon, ProjectId, RequestId};

use crate::channels::check_takes_credit;
use crate::rules::{
    AMOUNT_LIMIT, check_amount, check_checkpoint, check_settlement, day_of, hold_for, lease_ms,
    settlement_made_at_ms,
};
use crate::{
    Account, Bind, Booked, Bound, Checkpoint, Credit, Expired, Extended, Grant, JournalEntry, JournalId,
    KeptDocument, Ledger, LedgerError, Options, Refusal, Release, Released, Reserve, Reserved, Settled,
    Settlement, Shard, ShardCount, Totals,
};
pub use access::{Access, Timeouts};
pub(crate) use address::is_redis;
use functions::{Function, Functions};
use names::ShardKeys;
use reply::Reply;
use standings::{User, with_used};
use usages::ShardHour;

/// A ledger on a Redis server (7.0 or later, or Valkey) that several gateways share.
#[derive(Debug)]
pub struct RedisLedger {
    functions: Functions,
    shards: ShardCount,
    grace_ms: u64,
    test_clock: bool,
    hour: ShardHour,
}

impl RedisLedger {
    /// Connects to the server that `url` names and makes the ledger where there is none.
    ///
    /// # Errors
    /// [`LedgerError::Configuration`] where the server could lose writes or the ledger was created with other
    /// options, [`LedgerError::Schema`] where another version made it, [`LedgerError::Unavailable`] where it does
    /// not answer.
    pub async fn connect(url: &str, options: Options) -> Result<Self, LedgerError> {
        Self::connect_with(url, options, &Access::default()).await
    }

    /// The same with other timeouts.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_within(
        url: &str,
        options: Options,
        timeouts: Timeouts,
    ) -> Result<Self, LedgerError> {
        Self::connect_with(url, options, &Access { timeouts, ..Access::default() }).await
    }

    /// The same with secrets and certificates from files.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_with(url: &str, options: Options, access: &Access) -> Result<Self, LedgerError> {
        let ledger = Self::on(Functions::load(url, access).await?, &options);
        ledger.create(&options).await?;
        Ok(ledger)
    }

    fn on(functions: Functions, options: &Options) -> Self {
        Self {
            functions,
            shards: options.shards,
            grace_ms: lease_ms(options.grace),
            test_clock: options.test_clock,
            hour: ShardHour::default(),
        }
    }

    async fn call(&self, function: Function, keys: &[String], args: &[String]) -> Result<Reply, LedgerError> {
        self.functions.call(function, keys, args).await.map(Reply)
    }

    fn keys_of(&self, account: &AccountId) -> ShardKeys {
        ShardKeys(self.shards.of(account))
    }

    async fn book(
        &self,
        function: Function,
        account: &AccountId,
        causes: String,
        cause: String,
        amount: NanoTon,
    ) -> Result<Booked, LedgerError> {
        check_takes_credit(account)?;
        check_amount(amount)?;
        let k = self.keys_of(account);
        let keys = [k.clock(), k.totals(), k.account(account), k.journal(), causes, k.accounts()];
        let args = [account.to_string(), cause, amount.to_string()];
        let reply = Reply(self.functions.call_durably(function, &keys, &args).await?);
        match reply.word() {
            "booked" => Ok(Booked::Booked { balance: reply.amount(1)? }),
            "already" => Ok(Booked::Already),
            _ => Err(reply.unexpected()),
        }
    }

    async fn forget(&self, k: ShardKeys, day: &str) -> Result<(), LedgerError> {
        let number: u64 = reply::parse(day)?;
        let keys =
            [k.clock(), k.days(), k.finished(number), k.receipts(number), k.kept(number), k.kept_of(number)];
        self.call(Function::Forget, &keys, &[day.to_owned()]).await.map(drop)
    }
}

#[async_trait]
impl Ledger for RedisLedger {
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, LedgerError> {
        let k = self.keys_of(&reserve.account);
        let made_at = reserve.request.made_at_ms();
        let keys = [
            k.clock(),
            k.totals(),
            k.account(&reserve.account),
            k.hold(reserve.request),
            k.leases(),
            k.finished(day_of(made_at)),
            k.caps(&reserve.account),
        ];
        let user = User::of(&reserve.key, reserve.project.as_ref());
        let keys = with_used(k, &reserve.account, user, keys);
        // Beyond the limit a double is not exact, and no balance suffices.
        let clamped = |amount: NanoTon| amount.0.min(AMOUNT_LIMIT).to_string();
        let args = [
            reserve.request.to_string(),
            reserve.account.to_string(),
            user.key.to_owned(),
            user.project.to_owned(),
            reserve.model.clone(),
            reserve.work.letter().to_owned(),
            made_at.to_string(),
            clamped(reserve.estimate.worst_case),
            reserve.estimate.useful_minimum.map_or_else(String::new, clamped),
            lease_ms(reserve.lease).to_string(),
            reserve.limits.to_text(),
            reserve.estimate.tokens.min(AMOUNT_LIMIT).to_string(),
        ];
        let reply = self.call(Function::Reserve, &keys, &args).await?;
        let short = || -> Result<(NanoTon, NanoTon), LedgerError> {
            Ok((hold_for(&reserve.estimate, reply.amount(2)?), reply.amount(1)?))
        };
        match reply.word() {
            "held" => Ok(Reserved::Held { amount: reply.amount(1)?, rates: standings::rates(&reply, 2)? }),
            "revoked" => Ok(Reserved::Refused(Refusal::Revoked)),
            "limited" => standings::limited(&reply).map(Reserved::Refused),
            "over_budget" => standings::over_budget(&reply).map(Reserved::Refused),
            "finished" => Ok(Reserved::Refused(Refusal::Finished)),
            "insufficient" => {
                let (needed, available) = short()?;
                Ok(Reserved::Refused(Refusal::InsufficientBalance { needed, available }))
            }
            "balance_held" => {
                let (needed, available) = short()?;
                Ok(Reserved::Refused(Refusal::BalanceHeld { needed, available }))
            }
            _ => Err(reply.unexpected()),
        }
    }

    async fn bind(&self, bind: &Bind) -> Result<Bound, LedgerError> {
        let k = self.keys_of(&bind.account);
        let (slots, running) = (k.slots(&bind.account), k.running(&bind.account));
        let keys = [k.clock(), k.hold(bind.request), k.leases(), slots, running];
        let args = [
            bind.request.to_string(),
            bind.account.to_string(),
            bind.attempt.to_string(),
            bind.keyset.to_string(),
            lease_ms(bind.lease).to_string(),
            self.grace_ms.to_string(),
        ];
        let reply = self.call(Function::Bind, &keys, &args).await?;
        match reply.word() {
            "bound" => Ok(Bound::Bound),
            "superseded" => Ok(Bound::Superseded),
            "gone" => Ok(Bound::Gone),
            _ => Err(reply.unexpected()),
        }
    }

    async fn extend(&self, checkpoint: &Checkpoint) -> Result<Extended, LedgerError> {
        check_checkpoint(checkpoint)?;
        let k = self.keys_of(&checkpoint.account);
        let (slots, running) = (k.slots(&checkpoint.account), k.running(&checkpoint.account));
        let keys = [k.clock(), k.hold(checkpoint.request), k.leases(), slots, running];
        let args = [
            checkpoint.request.to_string(),
            checkpoint.account.to_string(),
            checkpoint.attempt.to_string(),
            checkpoint.keyset.to_string(),
            lease_ms(checkpoint.lease).to_string(),
            self.grace_ms.to_string(),
            checkpoint.cost.to_string(),
            checkpoint.operator.to_string(),
            checkpoint.cost.basis_points(checkpoint.operator_share).to_string(),
            reply::usage_text(&checkpoint.usage),
            checkpoint.usage.total().to_string(),
        ];
        let reply = self.call(Function::Extend, &keys, &args).await?;
        match reply.word() {
            "extended" => Ok(Extended::Extended),
            "ignored" => Ok(Extended::Ignored),
            "gone" => Ok(Extended::Gone),
            _ => Err(reply.unexpected()),
        }
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, LedgerError> {
        check_settlement(settlement)?;
        let k = self.keys_of(&settlement.account);
        let day = day_of(settlement.request.made_at_ms());
        let receipt_day = day_of(settlement.receipt.made_at_ms());
        let keys = [
            k.clock(),
            k.totals(),
            k.account(&settlement.account),
            k.hold(settlement.request),
            k.leases(),
            k.finished(day),
            k.days(),
            k.operators(),
            k.journal(),
            k.receipts(receipt_day),
            k.aside(),
            k.kept(receipt_day),
            k.kept_of(day),
            k.recent(&settlement.account),
            k.requests(&settlement.account),
            k.accounts(),
        ];
        let args = [
            settlement.request.to_string(),
            settlement.account.to_string(),
            settlement.key.to_string(),
            project_text(settlement.project.as_ref()),
            settlement.attempt.to_string(),
            settlement.keyset.to_string(),
            settlement.operator.to_string(),
            settlement.operator_amount().to_string(),
            settlement.receipt.to_string(),
            settlement.receipt_digest.to_string(),
            settlement.receipt_jws.clone(),
            settlement.model.clone(),
            settlement.work.letter().to_owned(),
            reply::usage_text(&settlement.usage),
            settlement.cost.to_string(),
            settlement_made_at_ms(settlement).to_string(),
            day.to_string(),
            receipt_day.to_string(),
            settlement.request.made_at_ms().to_string(),
            settlement.usage.total().to_string(),
        ];
        let user = User::of(&settlement.key, settlement.project.as_ref());
        let reply = self
            .call_for(user, Some(&settlement.account), |user| {
                let whose = [user.key.to_owned(), user.project.to_owned()];
                let keys = with_used(k, &settlement.account, user, keys.clone());
                (Function::Settle, keys, args.iter().cloned().chain(whose).collect())
            })
            .await?;
        match reply.word() {
            "charged" => Ok(Settled::Charged { charged: reply.amount(1)?, shortfall: reply.amount(2)? }),
            "already" => Ok(Settled::Already { charged: reply.amount(1)? }),
            "at_no_cost" => Ok(Settled::AtNoCost),
            "too_old" => Ok(Settled::TooOld),
            _ => Err(reply.unexpected()),
        }
    }

    async fn release(&self, release: &Release) -> Result<Released, LedgerError> {
        let Release { account, request, reason, .. } = release;
        let request = *request;
        tracing::debug!(%request, ?reason, "release");
        let k = self.keys_of(account);
        let (made_at, day) = (request.made_at_ms(), day_of(request.made_at_ms()));
        let keys = [
            k.clock(),
            k.totals(),
            k.account(account),
            k.hold(request),
            k.leases(),
            k.finished(day),
            k.days(),
        ];
        let user = User::of(&release.key, release.project.as_ref());
        let reply = self
            .call_for(user, None, |user| {
                let args = vec![
                    request.to_string(),
                    account.to_string(),
                    user.key.to_owned(),
                    user.project.to_owned(),
                    made_at.to_string(),
                    day.to_string(),
                ];
                (Function::Release, with_used(k, account, user, keys.clone()), args)
            })
            .await?;
        match reply.word() {
            "released" => Ok(Released::Released { amount: reply.amount(1)? }),
            "tombstone" => Ok(Released::Tombstone),
            "already" => Ok(Released::Already),
            _ => Err(reply.unexpected()),
        }
    }

    async fn expired(&self, shard: Shard, limit: u32) -> Result<Vec<RequestId>, LedgerError> {
        let k = ShardKeys(shard);
        let reply =
            self.call(Function::Expired, &[k.clock(), k.leases(), k.days()], &[limit.to_string()]).await?;
        if !reply.word().is_empty() {
            self.forget(k, reply.word()).await?;
        }
        reply.0.iter().skip(1).map(|request| reply::parse(request)).collect()
    }

    async fn expire(&self, shard: Shard, request: RequestId) -> Result<Expired, LedgerError> {
        let k = ShardKeys(shard);
        // The function's keys must be declared, and whose they are is known only from the hold.
        let mut get = cmd("HMGET");
        get.arg(k.hold(request)).arg(&["account", "key", "project"]);
        let found: [Option<String>; 3] = self.functions.link().command(&get).await?;
        let [Some(account), Some(key), Some(project)] = found else { return Ok(Expired::Gone) };
        let account: AccountId = reply::parse(&account)?;
        let day = day_of(request.made_at_ms());
        let keys = [
            k.clock(),
            k.totals(),
            k.account(&account),
            k.hold(request),
            k.leases(),
            k.finished(day),
            k.days(),
            k.operators(),
            k.journal(),
            k.recent(&account),
            k.requests(&account),
        ];
        let keys = with_used(k, &account, User { key: &key, project: &project }, keys);
        let args = [request.to_string(), account.to_string(), day.to_string()];
        let reply = self.call_in_its_hour(Function::Expire, &account, &keys, &args).await?;
        match reply.word() {
            "expired" => Ok(Expired::Expired { charged: reply.amount(1)? }),
            "not_yet" => Ok(Expired::NotYet),
            "gone" => Ok(Expired::Gone),
            _ => Err(reply.unexpected()),
        }
    }

    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError> {
        let deposits = self.keys_of(&credit.account).deposits();
        self.book(Function::Credit, &credit.account, deposits, credit.cause(), credit.amount).await
    }

    async fn grant(&self, grant: &Grant) -> Result<Booked, LedgerError> {
        let grants = self.keys_of(&grant.account).grants();
        self.book(Function::Grant, &grant.account, grants, grant.id.to_string(), grant.amount).await
    }

    async fn account(&self, account: &AccountId) -> Result<Account, LedgerError> {
        let mut get = cmd("HMGET");
        get.arg(self.keys_of(account).account(account)).arg(&reply::ACCOUNT_FIELDS);
        let values: Vec<Option<String>> = self.functions.link().command(&get).await?;
        reply::account(&values)
    }

    async fn totals(&self, shard: Shard) -> Result<Totals, LedgerError> {
        let k = ShardKeys(shard);
        let mut both = ::redis::pipe();
        both.atomic().cmd("HGETALL").arg(k.totals()).cmd("HGETALL").arg(k.operators());
        let (sums, operators): (HashMap<String, String>, HashMap<String, String>) =
            self.functions.link().pipeline(&both).await?;
        reply::totals(&sums, &operators)
    }

    async fn journal(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError> {
        let start = match after {
            None => "-".to_owned(),
            Some(JournalId(id)) if is_stream_id(id) => format!("({id}"),
            Some(JournalId(id)) => {
                return Err(LedgerError::Configuration(format!("{id:?} is no journal id of this store")));
            }
        };
        let mut range = cmd("XRANGE");
        range.arg(ShardKeys(shard).journal()).arg(start).arg("+").arg("COUNT").arg(limit);
        let entries: StreamRangeReply = self.functions.link().command(&range).await?;
        entries.ids.iter().map(reply::journal_entry).collect()
    }

    async fn put_keyset(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let digest = Digest::of(&[bytes]);
        self.functions.durably(cmd("SET").arg(names::keyset(digest)).arg(bytes)).await?;
        Ok(digest)
    }

    async fn keyset(&self, digest: Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        self.functions.link().command(cmd("GET").arg(names::keyset(digest))).await
    }

    async fn put_document(&self, keyset: Digest, document: &KeptDocument) -> Result<(), LedgerError> {
        document.check()?;
        let packed = documents::pack(document);
        self.functions.durably(cmd("SET").arg(names::document(keyset)).arg(packed).arg("NX")).await.map(drop)
    }

    async fn document(&self, keyset: Digest) -> Result<Option<KeptDocument>, LedgerError> {
        let packed: Option<Vec<u8>> =
            self.functions.link().command(cmd("GET").arg(names::document(keyset))).await?;
        packed.map(documents::unpack).transpose()
    }

    fn shards(&self) -> ShardCount {
        self.shards
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.functions.link().ping().await
    }

    async fn set_test_time(&self, at_ms: u64) -> Result<(), LedgerError> {
        if !self.test_clock {
            return Err(LedgerError::Configuration("the ledger was created without a test clock".to_owned()));
        }
        check_amount(NanoTon(at_ms))?;
        for shard in self.shards.all() {
            self.call(Function::SetTime, &[ShardKeys(shard).clock()], &[at_ms.to_string()]).await?;
        }
        Ok(())
    }
}

fn project_text(project: Option<&ProjectId>) -> String {
    project.map_or_else(String::new, ProjectId::to_string)
}

/// Milliseconds and a sequence number.
fn is_stream_id(id: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    id.split_once('-').is_some_and(|(ms, sequence)| digits(ms) && digits(sequence))
}
