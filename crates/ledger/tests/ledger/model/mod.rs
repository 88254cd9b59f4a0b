//! The ledger again, as simple as it can be said: maps in memory, one caller at a time, no care for speed. The
//! random test holds both stores against it.

mod booking;
mod channels;
mod debt;
mod holds;
mod key_registry;
mod settle;
mod treasury;
mod users;
mod withdrawals;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cocoon_ledger::{
    Account, Channel, Checkpoint, JournalEntry, JournalId, JournalKind, KeyRecord, Limits, OperatorTotals,
    Payout, Reserve, Shard, ShardCount, Totals,
};
use cocoon_receipts::{AccountId, Digest, KeyId, NanoTon, OperatorId, ProjectId, ReceiptId, RequestId};

pub(crate) use channels::Refused;
use users::{Taken, User};
use withdrawals::Intent;
pub(crate) use withdrawals::WithdrawalEnd;

const DAY_MS: i128 = 86_400_000;
const TOO_MUCH: i128 = 1 << 53;

/// The only error a model can have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Debug, Clone)]
struct Request {
    reserve: Option<Reserve>,
    account: AccountId,
    hold: Option<i128>,
    due_ms: i128,
    /// When it was reserved, or made where it never was.
    reserved_ms: i128,
    lease_end_ms: i128,
    took: Vec<Taken>,
    attempt: u32,
    keyset: Option<Digest>,
    checkpoint: Option<Checkpoint>,
    end: Option<End>,
    charged: i128,
    operator: Option<OperatorId>,
    operator_part: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Tombstone,
    Released,
    Expired,
    Settled,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not reserved.
    New,
    Held,
    Bound,
    /// Bound, and a checkpoint came.
    Reported,
    /// Its hold may be ended.
    Over,
    /// Its hold was ended, and no receipt came yet.
    Expired,
    Ended,
}

#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// As the machine's clock has it.
    clock_ms: u64,
    /// As the ledger has it: never goes back.
    now_ms: u64,
    grace_ms: i128,
    shards: ShardCount,
    accounts: BTreeMap<AccountId, Account>,
    requests: BTreeMap<(Shard, RequestId), Request>,
    receipts: BTreeMap<(Shard, ReceiptId), i128>,
    refused: BTreeSet<(Shard, ReceiptId)>,
    booked: BTreeSet<(Shard, String)>,
    journal: Vec<(Shard, JournalEntry)>,
    users: BTreeMap<(AccountId, String), User>,
    limits: BTreeMap<(AccountId, Option<ProjectId>), Limits>,
    keys: BTreeMap<(AccountId, KeyId), KeyRecord>,
    /// With the seconds of their first naming.
    projects: BTreeMap<(AccountId, ProjectId), u64>,
    payouts: BTreeMap<AccountId, Payout>,
    intents: BTreeMap<(Shard, RequestId), Intent>,
    stopped: BTreeMap<Shard, String>,
    channels: BTreeMap<AccountId, Channel>,
    decisions: Vec<String>,
    /// Whose it is, and until when.
    lease: Option<(String, u64)>,
}

fn old(made_at_ms: u64, now_ms: u64) -> bool {
    i128::from(now_ms) - i128::from(made_at_ms) > 7 * DAY_MS
}

fn share(of: NanoTon, basis_points: u16) -> i128 {
    i128::from(of.0) * i128::from(basis_points) / 10_000
}

fn nano(amount: i128) -> NanoTon {
    NanoTon(u64::try_from(amount).expect("never negative"))
}

fn ms(lease: Duration) -> i128 {
    i128::try_from(lease.as_millis()).unwrap()
}

impl Model {
    pub(crate) fn new(now_ms: u64, grace: Duration, shards: ShardCount) -> Self {
        Self {
            clock_ms: now_ms,
            now_ms,
            grace_ms: ms(grace),
            shards,
            accounts: BTreeMap::new(),
            requests: BTreeMap::new(),
            receipts: BTreeMap::new(),
            refused: BTreeSet::new(),
            booked: BTreeSet::new(),
            journal: Vec::new(),
            users: BTreeMap::new(),
            limits: BTreeMap::new(),
            keys: BTreeMap::new(),
            projects: BTreeMap::new(),
            payouts: BTreeMap::new(),
            intents: BTreeMap::new(),
            stopped: BTreeMap::new(),
            channels: BTreeMap::new(),
            decisions: Vec::new(),
            lease: None,
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.clock_ms += u64::try_from(time.as_millis()).unwrap();
        self.now_ms = self.now_ms.max(self.clock_ms);
    }

    pub(crate) fn set_clock_back(&mut self, time: Duration) {
        self.clock_ms -= u64::try_from(time.as_millis()).unwrap();
    }

    /// How far the machine's clock was set back.
    pub(crate) fn behind(&self) -> Duration {
        Duration::from_millis(self.now_ms - self.clock_ms)
    }

    pub(crate) fn shards(&self) -> ShardCount {
        self.shards
    }

    pub(crate) fn account(&self, account: &AccountId) -> Account {
        self.accounts.get(account).copied().unwrap_or_default()
    }

    pub(crate) fn journal(&self, shard: Shard) -> Vec<JournalEntry> {
        self.journal.iter().filter(|(of, _)| *of == shard).map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn totals(&self, shard: Shard) -> Totals {
        let mut totals = Totals::default();
        for (_, account) in self.accounts.iter().filter(|(name, _)| self.shards.of(name) == shard) {
            totals.balances.0 += account.balance.0;
            totals.held.0 += account.held.0;
            totals.deposits.0 += account.deposited.0;
            totals.grants.0 += account.granted.0;
            totals.charges.0 += account.charged.0;
            totals.shortfall.0 += account.shortfall.0;
            totals.open_holds += account.open_holds;
            totals.withdrawing.0 += account.withdrawing.0;
            totals.withdrawn.0 += account.withdrawn.0;
        }
        let mut operators: BTreeMap<OperatorId, (i128, i128)> = BTreeMap::new();
        for entry in self.journal(shard) {
            totals.platform += entry.platform_amount;
            if let Some(operator) = entry.operator.filter(|_| entry.operator_amount != 0) {
                let (accrued, reversed) = operators.entry(operator).or_default();
                *accrued += entry.operator_amount.max(0);
                *reversed += (-entry.operator_amount).max(0);
            }
        }
        totals.operators = operators
            .into_iter()
            .map(|(operator, (accrued, reversed))| OperatorTotals {
                operator,
                accrued: nano(accrued),
                reversed: nano(reversed),
            })
            .collect();
        totals.too_old = self.refused.iter().filter(|(of, _)| *of == shard).count() as u64;
        totals
    }

    fn id(&self, account: &AccountId, request: RequestId) -> (Shard, RequestId) {
        (self.shards.of(account), request)
    }

    pub(crate) fn stage(&self, account: &AccountId, request: RequestId) -> Stage {
        let Some(found) = self.requests.get(&self.id(account, request)) else { return Stage::New };
        match (found.hold, found.end) {
            (None, Some(End::Expired)) => Stage::Expired,
            (None, _) => Stage::Ended,
            (Some(_), _) if found.due_ms <= i128::from(self.now_ms) => Stage::Over,
            (Some(_), _) if found.checkpoint.is_some() => Stage::Reported,
            (Some(_), _) if found.keyset.is_some() => Stage::Bound,
            (Some(_), _) => Stage::Held,
        }
    }

    /// What is held for this request of this account.
    pub(crate) fn hold(&self, account: &AccountId, request: RequestId) -> Option<NanoTon> {
        let found = self.requests.get(&self.id(account, request))?;
        found.hold.filter(|_| found.account == *account).map(nano)
    }

    /// The age of the oldest open hold.
    pub(crate) fn oldest_hold(&self) -> Option<Duration> {
        let open = self.requests.values().filter(|found| found.hold.is_some());
        let age = open.map(|found| i128::from(self.now_ms) - found.reserved_ms).max()?;
        Some(Duration::from_millis(u64::try_from(age).unwrap()))
    }

    /// The open hold of this account.
    fn open(&mut self, account: &AccountId, request: RequestId) -> Option<&mut Request> {
        let id = self.id(account, request);
        self.requests.get_mut(&id).filter(|found| found.hold.is_some() && found.account == *account)
    }

    fn entry(
        &self,
        kind: JournalKind,
        account: &AccountId,
        cause: String,
        [amount, shortfall, operator_amount]: [i128; 3],
    ) -> JournalEntry {
        let billed = matches!(
            kind,
            JournalKind::Charge | JournalKind::Expiry | JournalKind::Correction | JournalKind::NoCost
        );
        JournalEntry {
            id: JournalId(String::new()),
            at_ms: self.now_ms,
            kind,
            account: account.clone(),
            cause,
            key: None,
            project: None,
            model: None,
            work: None,
            operator: None,
            receipt: None,
            receipt_digest: None,
            usage: None,
            amount,
            shortfall: nano(shortfall),
            operator_amount,
            platform_amount: if billed { -amount + shortfall - operator_amount } else { 0 },
        }
    }
}

impl Request {
    fn ended(account: &AccountId, end: End, reserved_ms: i128) -> Self {
        Self {
            reserve: None,
            account: account.clone(),
            hold: None,
            due_ms: 0,
            reserved_ms,
            lease_end_ms: 0,
            took: Vec::new(),
            attempt: 0,
            keyset: None,
            checkpoint: None,
            end: Some(end),
            charged: 0,
            operator: None,
            operator_part: 0,
        }
    }
}
