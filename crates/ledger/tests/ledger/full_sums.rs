//! A shard's sums, and other counts, at their limit: what goes beyond is refused, and nothing has moved. No test's amounts
//! come as far, so that the stores are set to it from outside.

use std::time::Duration;

use cocoon_ledger::{ADDRESS_DELAY, Expired, Grant, LedgerError, Settled, Settlement, Shard, Withdrawal};
use cocoon_receipts::{NanoTon, RequestId, Usage};

use crate::bench::*;
use crate::invariants;
use crate::redis_server::RedisServer;

/// A sum stays below it.
const LIMIT: i64 = 1 << 61;

/// Lua's doubles are 256 apart below it: so near is as good as there.
const NEAR: i64 = 1024;

/// Receipts of one shard that are kept aside for their age.
const ASIDE: i64 = 100_000;

#[derive(Debug, Clone, Copy)]
enum Sum {
    Total(&'static str),
    Accrued,
    Reversed,
    /// In SQLite of a bucket, in Redis of all of the shard.
    Tokens,
}

/// What is under a ledger.
enum Store {
    File(rusqlite::Connection),
    Server(redis::Connection),
}

impl Store {
    /// The sum before; of `operator-a` where it is an operator's.
    fn set(&mut self, shard: Shard, sum: Sum, to: i64) -> i64 {
        match self {
            Self::File(file) => {
                let (table, column) = match sum {
                    Sum::Total(name) => ("shard", name),
                    Sum::Accrued => ("operator", "accrued"),
                    Sum::Reversed => ("operator", "reversed"),
                    Sum::Tokens => ("usage", "completion"),
                };
                let get = format!("SELECT max({column}) FROM {table} WHERE shard = ?1");
                let before = file.query_row(&get, [shard.0], |row| row.get(0)).unwrap();
                let set = format!("UPDATE {table} SET {column} = ?2 WHERE shard = ?1");
                assert!(file.execute(&set, (shard.0, to)).unwrap() > 0, "{sum:?}");
                before
            }
            Self::Server(server) => {
                let (key, field) = match sum {
                    Sum::Total(name) => ("totals", name),
                    Sum::Accrued => ("operators", "a:operator-a"),
                    Sum::Reversed => ("operators", "r:operator-a"),
                    Sum::Tokens => ("totals", "tokens"),
                };
                let key = format!("cocoon:{{{shard}}}:{key}");
                let before: Option<i64> = redis::cmd("HGET").arg(&key).arg(field).query(server).unwrap();
                redis::cmd("HSET").arg(&key).arg(field).arg(to).exec(server).unwrap();
                before.unwrap_or(0)
            }
        }
    }

    fn kept_aside(&mut self, shard: Shard) -> i64 {
        match self {
            Self::File(file) => file.query_row("SELECT count(*) FROM aside", [], |row| row.get(0)).unwrap(),
            Self::Server(server) => {
                redis::cmd("HLEN").arg(format!("cocoon:{{{shard}}}:aside")).query(server).unwrap()
            }
        }
    }
}

struct Subject {
    bench: Bench,
    store: Store,
    shard: Shard,
}

impl Subject {
    /// `act` adds `by` to the sum: what would bring it to the limit is refused, and what does not is done.
    async fn is_bounded(&mut self, sum: Sum, by: i64, act: impl AsyncFn(&Bench) -> Result<(), LedgerError>) {
        let before = self.store.set(self.shard, sum, LIMIT - by);
        let totals = self.bench.ledger.totals(self.shard).await.unwrap();
        let account = self.bench.account("alice").await;
        assert!(matches!(act(&self.bench).await, Err(LedgerError::Overflow)), "{sum:?}");
        assert_eq!(self.bench.ledger.totals(self.shard).await.unwrap(), totals, "{sum:?}");
        assert_eq!(self.bench.account("alice").await, account, "{sum:?}");
        self.store.set(self.shard, sum, LIMIT - by - NEAR);
        act(&self.bench).await.unwrap();
        assert_eq!(self.store.set(self.shard, sum, before + by), LIMIT - NEAR, "{sum:?}");
    }

    async fn expire(bench: &Bench, request: RequestId) -> Result<(), LedgerError> {
        let expired = bench.ledger.expire(bench.shard("alice"), request).await?;
        assert!(matches!(expired, Expired::Expired { .. }), "{expired:?}");
        Ok(())
    }

    async fn settle(bench: &Bench, settlement: &Settlement) -> Result<(), LedgerError> {
        let settled = bench.ledger.settle(settlement).await?;
        assert!(matches!(settled, Settled::Charged { .. }), "{settled:?}");
        Ok(())
    }

    /// A bound hold that may be ended, after a checkpoint of 10.
    async fn over(&self) -> RequestId {
        let request = self.bench.bound("alice", 50).await;
        self.bench.ledger.extend(&self.bench.checkpoint("alice", request, 10)).await.unwrap();
        self.bench.pass(LEASE + GRACE).await;
        request
    }
}

async fn sums_are_bounded(mut subject: Subject) {
    subject.bench.ledger.set_payout_address(&name("alice"), &name(ADDRESSES[0])).await.unwrap();
    subject.bench.pass(ADDRESS_DELAY).await;
    subject.bench.fund("alice", 1000).await;

    for sum in ["deposits", "balances"] {
        let deposit = subject.bench.deposit("alice", 5);
        let credit = async |bench: &Bench| bench.ledger.credit(&deposit).await.map(drop);
        subject.is_bounded(Sum::Total(sum), 5, credit).await;
    }
    for sum in ["grants", "balances"] {
        let grant = Grant { id: subject.bench.request(), account: name("alice"), amount: NanoTon(5) };
        let grant = async |bench: &Bench| bench.ledger.grant(&grant).await.map(drop);
        subject.is_bounded(Sum::Total(sum), 5, grant).await;
    }
    // Of the same shard.
    let channel = CHANNELS[0];
    subject.bench.ledger.open_channel(&opening(channel, 100, 0)).await.unwrap();
    for (cumulative, sum) in [(5, "deposits"), (10, "balances")] {
        let raise = async |bench: &Bench| {
            bench.ledger.raise_ceiling(&name(channel), &voucher(cumulative)).await.map(drop)
        };
        subject.is_bounded(Sum::Total(sum), 5, raise).await;
    }
    assert_eq!(subject.bench.balance(channel).await, (10, 0));
    // The operator has nine tenths.
    let request = subject.bench.bound("alice", 50).await;
    Subject::settle(&subject.bench, &subject.bench.settlement("alice", request, 50)).await.unwrap();
    for (sum, by) in [(Sum::Total("charges"), 10), (Sum::Accrued, 9)] {
        let request = subject.bench.bound("alice", 50).await;
        let settlement = subject.bench.settlement("alice", request, 10);
        subject.is_bounded(sum, by, async |bench| Subject::settle(bench, &settlement).await).await;
        let request = subject.over().await;
        subject.is_bounded(sum, by, async |bench| Subject::expire(bench, request).await).await;
    }
    for (sum, by) in [(Sum::Total("balances"), 10), (Sum::Reversed, 9)] {
        let request = subject.over().await;
        Subject::expire(&subject.bench, request).await.unwrap();
        let correction = subject.bench.settlement("alice", request, 0);
        subject.is_bounded(sum, by, async |bench| Subject::settle(bench, &correction).await).await;
    }
    for (sum, paid_out) in [("withdrawn", true), ("balances", false)] {
        let (account, intent) = (name("alice"), subject.bench.request());
        let withdrawal = Withdrawal { account, intent, amount: NanoTon(10) };
        subject.bench.ledger.withdraw_begin(&withdrawal).await.unwrap();
        let end = async |bench: &Bench| {
            let ended = match paid_out {
                true => bench.ledger.withdraw_done(&withdrawal.account, intent).await,
                false => bench.ledger.withdraw_undo(&withdrawal.account, intent).await,
            };
            ended.map(drop)
        };
        subject.is_bounded(Sum::Total(sum), 10, end).await;
    }
    let available = subject.bench.account("alice").await.available().0;
    let lost = subject.bench.settlement("alice", subject.bench.request(), available + 10);
    let shortfall = Sum::Total("shortfall");
    subject.is_bounded(shortfall, 10, async |bench| Subject::settle(bench, &lost).await).await;
    let everyone: Vec<_> = accounts().collect();
    invariants::check(subject.bench.ledger.as_ref(), &everyone, subject.bench.now_ms()).await;
}

async fn tokens_are_bounded(mut subject: Subject) {
    let completion = |completion| Usage { prompt: 0, cached: 0, completion, reasoning: 0 };
    subject.bench.fund("alice", 1000).await;
    for _ in 0..2 {
        let request = subject.bench.bound("alice", 50).await;
        let settlement =
            Settlement { usage: completion(10), ..subject.bench.settlement("alice", request, 10) };
        if subject.bench.account("alice").await.charged == NanoTon(0) {
            Subject::settle(&subject.bench, &settlement).await.unwrap();
        } else {
            subject
                .is_bounded(Sum::Tokens, 10, async |bench| Subject::settle(bench, &settlement).await)
                .await;
        }
    }
    let request = subject.bench.bound("alice", 50).await;
    let checkpoint = subject.bench.checkpoint("alice", request, 10);
    let checkpoint = cocoon_ledger::Checkpoint { usage: completion(10), ..checkpoint };
    subject.bench.ledger.extend(&checkpoint).await.unwrap();
    subject.bench.pass(LEASE + GRACE).await;
    subject.is_bounded(Sum::Tokens, 10, async |bench| Subject::expire(bench, request).await).await;
}

async fn what_is_kept_aside_is_bounded(mut subject: Subject) {
    let old = |n| receipt_made_at(START_MS - 8 * DAY_MS, n);
    for (before, aside) in [(ASIDE - 1, 1), (ASIDE, 1)] {
        subject.store.set(subject.shard, Sum::Total("too_old"), before);
        let settlement = subject.bench.settlement("alice", subject.bench.request(), 5);
        let settlement = Settlement { receipt: old(before.unsigned_abs()), ..settlement };
        assert_eq!(subject.bench.settle(&settlement).await, Settled::TooOld);
        assert_eq!(subject.store.kept_aside(subject.shard), aside);
        let totals = subject.bench.ledger.totals(subject.shard).await.unwrap();
        assert_eq!(totals.too_old, before.unsigned_abs() + 1);
    }
}

async fn with_embedded(test: impl AsyncFn(Subject)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let bench = Bench::embedded_at(&path).await;
    let file = rusqlite::Connection::open(&path).unwrap();
    file.busy_timeout(Duration::from_secs(5)).unwrap();
    let shard = bench.shard("alice");
    test(Subject { bench, store: Store::File(file), shard }).await;
}

async fn with_redis(test: impl AsyncFn(Subject)) {
    let server = RedisServer::start();
    let bench = Bench::redis_on(&server).await;
    let shard = bench.shard("alice");
    test(Subject { bench, store: Store::Server(server.client()), shard }).await;
}

#[tokio::test]
async fn sums_of_the_embedded_store_are_bounded() {
    with_embedded(sums_are_bounded).await;
    with_embedded(tokens_are_bounded).await;
    with_embedded(what_is_kept_aside_is_bounded).await;
}

#[tokio::test]
async fn sums_in_redis_are_bounded() {
    with_redis(sums_are_bounded).await;
    with_redis(tokens_are_bounded).await;
    with_redis(what_is_kept_aside_is_bounded).await;
}
