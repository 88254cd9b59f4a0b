//! What the tests need to say a thing shortly: names, ids of a chosen time, and calls that expect to succeed.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cocoon_ledger::{
    Account, Bind, Booked, Bound, ChannelOpening, Checkpoint, Credit, Estimate, Expired, JournalEntry,
    KeptVoucher, KeyRecord, KeyScope, Ledger, Limits, Options, Rates, Refusal, Release, ReleaseReason,
    Reserve, Reserved, Settled, Settlement, Shard, ShardCount, Work,
};
use cocoon_receipts::{AccountId, BasisPoints, Digest, KeyId, NanoTon, ReceiptId, RequestId, Usage};

use crate::redis_server::{DURABLE, RedisServer};

/// When every test begins.
pub(crate) const START_MS: u64 = 1_800_000_000_000;
pub(crate) const LEASE: Duration = Duration::from_secs(60);
pub(crate) const GRACE: Duration = Duration::from_secs(15 * 60);
pub(crate) const MILLISECOND: Duration = Duration::from_millis(1);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
pub(crate) const MODEL: &str = "a model | of \"any\" name";
/// Two forms of one address, of which the second does not bounce: another text, so another address.
pub(crate) const ADDRESSES: [&str; 2] =
    ["EQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM9c", "UQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJKZ"];
pub(crate) const ACCOUNTS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// Two of alice's shard, one of bob's, one of carol's.
pub(crate) const CHANNELS: [&str; 4] = [
    "channel:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "channel:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    "channel:3333333333333333333333333333333333333333333333333333333333333333",
    "channel:2222222222222222222222222222222222222222222222222222222222222222",
];

pub(crate) fn options() -> Options {
    Options { shards: ShardCount::new(3).unwrap(), grace: GRACE, test_clock: true }
}

pub(crate) fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// All that a test uses.
pub(crate) fn accounts() -> impl Iterator<Item = AccountId> {
    ACCOUNTS.iter().chain(&CHANNELS).map(|account| name(account))
}

pub(crate) fn opening(account: &str, deposited: u64, settled: u64) -> ChannelOpening {
    let (deposited, settled) = (NanoTon(deposited), NanoTon(settled));
    ChannelOpening { account: name(account), payer_key: [7; 32], deposited, settled }
}

/// No store looks at the signature: its bytes tell vouchers apart.
pub(crate) fn voucher(cumulative: u64) -> KeptVoucher {
    let mut signature = [0xa5; 64];
    signature[..8].copy_from_slice(&cumulative.to_be_bytes());
    KeptVoucher { cumulative: NanoTon(cumulative), signature }
}

pub(crate) fn keyset(of: &str) -> Digest {
    Digest::of(&[b"keyset", of.as_bytes()])
}

/// A UUID of version 7 made then, the `n`th.
fn uuid(at_ms: u64, n: u64) -> String {
    format!("{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}", at_ms >> 16, at_ms & 0xffff, 1, 2, n)
}

pub(crate) fn request_made_at(at_ms: u64, n: u64) -> RequestId {
    name(&uuid(at_ms, n))
}

pub(crate) fn receipt_made_at(at_ms: u64, n: u64) -> ReceiptId {
    name(&uuid(at_ms, n))
}

pub(crate) fn reserve(account: &str, request: RequestId, worst_case: u64) -> Reserve {
    Reserve {
        request,
        account: name(account),
        key: name("key"),
        project: Some(name("project")),
        model: MODEL.to_owned(),
        work: Work::Completions,
        limits: Limits::default(),
        estimate: Estimate { worst_case: NanoTon(worst_case), useful_minimum: None, tokens: 0 },
        lease: LEASE,
    }
}

pub(crate) fn release(account: &str, request: RequestId) -> Release {
    Release {
        account: name(account),
        key: name("key"),
        project: Some(name("project")),
        request,
        reason: ReleaseReason::Rejected,
    }
}

pub(crate) fn bind(account: &str, request: RequestId, attempt: u32, keyset: Digest) -> Bind {
    Bind { account: name(account), request, attempt, keyset, lease: LEASE }
}

/// Some usage that grows with the cost.
pub(crate) fn usage(cost: u64) -> Usage {
    Usage { prompt: 3, cached: 0, completion: cost.min(1_000_000), reasoning: 1 }
}

/// A ledger whose clock the test sets, and the store under it.
pub(crate) struct Bench {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) url: String,
    clock_ms: AtomicU64,
    made: AtomicU64,
    /// Ends with the bench, after the ledger.
    _store: Box<dyn Any + Send + Sync>,
}

impl Bench {
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::on(format!("sqlite:{}", folder.path().join("ledger.db").display()), folder).await
    }

    /// A new ledger in a file that the test looks into.
    pub(crate) async fn embedded_at(path: &Path) -> Self {
        Self::on(format!("sqlite:{}", path.display()), ()).await
    }

    /// As the user who may do no more than a ledger needs.
    pub(crate) async fn redis() -> Self {
        Self::of_user(RedisServer::start()).await
    }

    pub(crate) async fn valkey() -> Self {
        Self::of_user(RedisServer::valkey(&DURABLE)).await
    }

    async fn of_user(server: RedisServer) -> Self {
        Self::on(server.url_of_user(), server).await
    }

    /// A new ledger on a server that many tests use, one after the other.
    pub(crate) async fn redis_on(server: &RedisServer) -> Self {
        redis::cmd("FLUSHALL").exec(&mut server.client()).unwrap();
        Self::on(server.url_of_user(), ()).await
    }

    async fn on(url: String, store: impl Any + Send + Sync) -> Self {
        let bench = Self::at(url, store, START_MS, 0).await;
        bench.ledger.set_test_time(START_MS).await.unwrap();
        bench
    }

    /// The ledger at `url` as it is.
    pub(crate) async fn at(url: String, store: impl Any + Send + Sync, now_ms: u64, made: u64) -> Self {
        let ledger = cocoon_ledger::open(&url, options()).await.unwrap();
        let (clock_ms, made) = (AtomicU64::new(now_ms), AtomicU64::new(made));
        Self { ledger, url, clock_ms, made, _store: Box::new(store) }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::SeqCst)
    }

    pub(crate) async fn pass(&self, time: Duration) {
        let step = u64::try_from(time.as_millis()).unwrap();
        let now = self.clock_ms.fetch_add(step, Ordering::SeqCst) + step;
        self.ledger.set_test_time(now).await.unwrap();
    }

    /// Every shard has seen the time from which the clock is set back.
    pub(crate) async fn set_clock_back(&self, time: Duration) {
        for shard in self.ledger.shards().all() {
            self.ledger.expired(shard, 0).await.unwrap();
        }
        let step = u64::try_from(time.as_millis()).unwrap();
        let now = self.clock_ms.fetch_sub(step, Ordering::SeqCst) - step;
        self.ledger.set_test_time(now).await.unwrap();
    }

    pub(crate) fn next(&self) -> u64 {
        self.made.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn request(&self) -> RequestId {
        request_made_at(self.now_ms(), self.next())
    }

    pub(crate) fn receipt(&self) -> ReceiptId {
        receipt_made_at(self.now_ms(), self.next())
    }

    pub(crate) fn shard(&self, account: &str) -> Shard {
        self.ledger.shards().of(&name(account))
    }

    pub(crate) async fn fund(&self, account: &str, amount: u64) {
        let booked = self.ledger.credit(&self.deposit(account, amount)).await.unwrap();
        assert!(matches!(booked, Booked::Booked { .. }));
    }

    pub(crate) fn deposit(&self, account: &str, amount: u64) -> Credit {
        let lt = self.next();
        Credit { account: name(account), amount: NanoTon(amount), lt, tx_hash: Digest::of(&[b"deposit"]) }
    }

    pub(crate) async fn hold(&self, account: &str, amount: u64) -> RequestId {
        let request = self.request();
        let reserved = self.ledger.reserve(&reserve(account, request, amount)).await.unwrap();
        assert_eq!(reserved, held(amount));
        request
    }

    /// A hold whose first attempt is bound to the keyset `a`.
    pub(crate) async fn bound(&self, account: &str, amount: u64) -> RequestId {
        let request = self.hold(account, amount).await;
        assert_eq!(self.ledger.bind(&bind(account, request, 1, keyset("a"))).await.unwrap(), Bound::Bound);
        request
    }

    /// A bound hold of 600 that ended at a checkpoint of `cost`, or without one.
    pub(crate) async fn expired(&self, account: &str, cost: Option<u64>) -> RequestId {
        let request = self.bound(account, 600).await;
        if let Some(cost) = cost {
            self.ledger.extend(&self.checkpoint(account, request, cost)).await.unwrap();
        }
        self.pass(LEASE + GRACE).await;
        let expired = self.ledger.expire(self.shard(account), request).await.unwrap();
        assert_eq!(expired, Expired::Expired { charged: NanoTon(cost.unwrap_or(0)) });
        request
    }

    pub(crate) fn checkpoint(&self, account: &str, request: RequestId, cost: u64) -> Checkpoint {
        Checkpoint {
            account: name(account),
            request,
            attempt: 1,
            keyset: keyset("a"),
            operator: name("operator-a"),
            operator_share: BasisPoints::new(9000).unwrap(),
            usage: usage(cost),
            cost: NanoTon(cost),
            lease: LEASE,
        }
    }

    pub(crate) fn settlement(&self, account: &str, request: RequestId, cost: u64) -> Settlement {
        let receipt = self.receipt();
        Settlement {
            account: name(account),
            key: name("key"),
            project: Some(name("project")),
            request,
            attempt: 1,
            keyset: keyset("a"),
            operator: name("operator-a"),
            operator_share: BasisPoints::new(9000).unwrap(),
            receipt,
            receipt_digest: Digest::of(&[receipt.to_string().as_bytes()]),
            receipt_jws: receipt.to_string(),
            model: MODEL.to_owned(),
            work: Work::Completions,
            usage: usage(cost),
            cost: NanoTon(cost),
            max_cost: NanoTon(cost),
        }
    }

    pub(crate) async fn settle(&self, settlement: &Settlement) -> Settled {
        self.ledger.settle(settlement).await.unwrap()
    }

    pub(crate) async fn account(&self, account: &str) -> Account {
        self.ledger.account(&name(account)).await.unwrap()
    }

    pub(crate) async fn balance(&self, account: &str) -> (u64, u64) {
        let account = self.account(account).await;
        (account.balance.0, account.held.0)
    }

    pub(crate) async fn journal(&self, account: &str) -> Vec<JournalEntry> {
        let entries = self.ledger.journal(self.shard(account), None, 10_000).await.unwrap();
        let account: AccountId = name(account);
        entries.into_iter().filter(|entry| entry.account == account).collect()
    }

    /// What the operator is owed: accrued and reversed.
    pub(crate) async fn accruals(&self, account: &str, operator: &str) -> (u64, u64) {
        let totals = self.ledger.totals(self.shard(account)).await.unwrap();
        let found = totals.operators.iter().find(|each| each.operator.as_str() == operator);
        found.map_or((0, 0), |each| (each.accrued.0, each.reversed.0))
    }
}

pub(crate) fn charged(charged: u64) -> Settled {
    Settled::Charged { charged: NanoTon(charged), shortfall: NanoTon(0) }
}

pub(crate) fn short(charged: u64, shortfall: u64) -> Settled {
    Settled::Charged { charged: NanoTon(charged), shortfall: NanoTon(shortfall) }
}

pub(crate) fn key_record(account: &AccountId, id: &KeyId) -> KeyRecord {
    KeyRecord {
        id: id.clone(),
        account: account.clone(),
        project: None,
        name: String::new(),
        hint: String::new(),
        created: 0,
        expires: None,
        scope: KeyScope::Inference,
        models: None,
        limits: Limits::default(),
        sealed_only: false,
        revoked_at_ms: None,
    }
}

/// A hold of a request without limits per minute.
pub(crate) fn held(amount: u64) -> Reserved {
    Reserved::Held { amount: NanoTon(amount), rates: Rates::default() }
}

pub(crate) fn insufficient(needed: u64, available: u64) -> Reserved {
    Reserved::Refused(Refusal::InsufficientBalance { needed: NanoTon(needed), available: NanoTon(available) })
}

pub(crate) fn balance_held(needed: u64, available: u64) -> Reserved {
    Reserved::Refused(Refusal::BalanceHeld { needed: NanoTon(needed), available: NanoTon(available) })
}
