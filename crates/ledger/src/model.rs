//! What goes into a ledger and what comes out.

use std::time::Duration;

use crate::{Holder, Limit, Limits, Rates};
use cocoon_receipts::{
    AccountId, BasisPoints, Digest, KeyId, NanoTon, OperatorId, ProjectId, ReceiptId, RequestId, Usage,
};

/// How many shards a ledger has; fixed when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardCount(u16);

impl ShardCount {
    /// 64.
    pub const DEFAULT: Self = Self(64);

    /// # Errors
    /// [`LedgerError::Configuration`] outside 1 to 100: a shard's tag has two digits.
    pub fn new(count: u16) -> Result<Self, LedgerError> {
        if (1..=100).contains(&count) {
            Ok(Self(count))
        } else {
            Err(LedgerError::Configuration("the number of shards is 1 to 100".into()))
        }
    }

    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }

    /// The shard an account lives in: the first two bytes of the SHA-256 of its name, modulo the count.
    #[must_use]
    pub fn of(self, account: &AccountId) -> Shard {
        let [high, low, ..] = Digest::of(&[account.as_str().as_bytes()]).0;
        Shard(u16::from_be_bytes([high, low]) % self.0)
    }

    /// All shards, in order.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        (0..self.0).map(Shard)
    }
}

/// One ledger shard. Everything that must change together carries its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl std::fmt::Display for Shard {
    /// The hash tag without its braces, such as `s07`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s{:02}", self.0)
    }
}

/// Chosen when a ledger is created or opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub shards: ShardCount,
    /// How long a bound hold whose lease ran out waits for its receipt.
    pub grace: Duration,
    /// Accepts [`crate::Ledger::set_test_time`]; only a ledger created with it. Never in production.
    pub test_clock: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: ShardCount::DEFAULT, grace: Duration::from_secs(15 * 60), test_clock: false }
    }
}

/// What a request may cost at most, from which the hold follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The prompt's upper bound and the token ceiling, at the ticket's prices.
    pub worst_case: NanoTon,
    /// The prompt and 256 tokens, where the client set no ceiling: then the hold is
    /// min(worst case, max(this, a quarter of what is available)). None: the hold is the worst case.
    pub useful_minimum: Option<NanoTon>,
    /// Tokens that count against limits per minute until it is known how many were used.
    pub tokens: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserve {
    pub request: RequestId,
    pub account: AccountId,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    pub model: String,
    pub work: Work,
    pub estimate: Estimate,
    /// What the key says it may use.
    pub limits: Limits,
    /// How long the hold lasts unless it is bound, extended or settled.
    pub lease: Duration,
}

/// What a request is about, as usage is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Text is generated.
    Completions,
    Embeddings,
}

impl Work {
    /// As stores keep it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Completions => "c",
            Self::Embeddings => "e",
        }
    }
}

impl std::str::FromStr for Work {
    type Err = LedgerError;

    fn from_str(letter: &str) -> Result<Self, LedgerError> {
        [Self::Completions, Self::Embeddings]
            .into_iter()
            .find(|work| work.letter() == letter)
            .ok_or_else(|| LedgerError::Corrupt(format!("work {letter:?}")))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The hold, which is also the ticket's `max_cost`.
    Held {
        amount: NanoTon,
        /// What is left of the limits per minute after it, of those that leave least. None for a request that had its
        /// hold before.
        rates: Rates,
    },
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The key is revoked.
    Revoked,
    /// A limit is reached, and stays so for `retry_after_ms` if nothing else happens; none where that is for ever.
    Limited { holder: Holder, limit: Limit, retry_after_ms: Option<u64>, rates: Rates },
    /// Even the whole balance is below what is needed.
    InsufficientBalance { needed: NanoTon, available: NanoTon },
    /// The balance would do, but other requests hold it.
    BalanceHeld { needed: NanoTon, available: NanoTon },
    /// This request was released, settled or expired before.
    Finished,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub account: AccountId,
    pub request: RequestId,
    /// Counts from 1; must grow.
    pub attempt: u32,
    pub keyset: Digest,
    pub lease: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    Bound,
    /// A later attempt is bound already.
    Superseded,
    /// No such hold, or not any more.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub account: AccountId,
    pub request: RequestId,
    pub attempt: u32,
    pub keyset: Digest,
    pub operator: OperatorId,
    pub operator_share: BasisPoints,
    pub usage: Usage,
    pub cost: NanoTon,
    pub lease: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    Extended,
    /// Superseded attempt, other keyset, or a report lower than the last: nothing changed.
    Ignored,
    Gone,
}

/// A verified receipt with its verified ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub account: AccountId,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    pub request: RequestId,
    pub attempt: u32,
    pub keyset: Digest,
    pub operator: OperatorId,
    pub operator_share: BasisPoints,
    pub receipt: ReceiptId,
    /// SHA-256 of the receipt's JWS.
    pub receipt_digest: Digest,
    /// The receipt itself, kept for its account as long as what was seen is.
    pub receipt_jws: String,
    pub model: String,
    pub work: Work,
    pub usage: Usage,
    pub cost: NanoTon,
    /// The ticket's `max_cost`, which was the hold.
    pub max_cost: NanoTon,
}

impl Settlement {
    /// What the operator earns where it is billed: its share of the whole cost, also where the account could not pay all.
    #[must_use]
    pub fn operator_amount(&self) -> NanoTon {
        self.cost.basis_points(self.operator_share)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// The account paid `charged`; `shortfall` is what it could not.
    Charged { charged: NanoTon, shortfall: NanoTon },
    /// This receipt was journaled before; what it charged then.
    Already { charged: NanoTon },
    /// Journaled at cost 0: of a superseded attempt, of another keyset than the bound one, or for a hold that was
    /// charged already.
    AtNoCost,
    /// Older than the seen-sets reach: refused, kept aside and counted.
    TooOld,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub account: AccountId,
    pub key: KeyId,
    pub project: Option<ProjectId>,
    pub request: RequestId,
    pub reason: ReleaseReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseReason {
    /// No backend could take it.
    NoBackend,
    /// A backend refused it before anything was generated.
    Rejected,
    /// The client was gone before anything was sent.
    ClientGone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    Released {
        amount: NanoTon,
    },
    /// There was no hold: a tombstone now refuses a later reserve.
    Tombstone,
    /// Charged, released or expired before.
    Already,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Charged at the last checkpoint, or zero where there was none; the rest was given back.
    Expired {
        charged: NanoTon,
    },
    /// Lease or grace is still running.
    NotYet,
    Gone,
}

/// A deposit on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credit {
    pub account: AccountId,
    pub amount: NanoTon,
    /// Logical time of the transaction.
    pub lt: u64,
    pub tx_hash: Digest,
}

/// Test credit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Idempotency key.
    pub id: RequestId,
    pub account: AccountId,
    pub amount: NanoTon,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Booked {
    Booked { balance: NanoTon },
    Already,
}

/// One account: `balance − held` is available.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub balance: NanoTon,
    pub held: NanoTon,
    pub deposited: NanoTon,
    pub granted: NanoTon,
    /// Paid for requests, corrections included.
    pub charged: NanoTon,
    pub shortfall: NanoTon,
    pub open_holds: u64,
    /// Taken from the balance by withdrawals that are under way.
    pub withdrawing: NanoTon,
    /// Paid out.
    pub withdrawn: NanoTon,
}

impl Account {
    #[must_use]
    pub fn available(&self) -> NanoTon {
        NanoTon(self.balance.0.saturating_sub(self.held.0))
    }

    /// What may be paid out: of what is available, only what was deposited. Charges consume test credit first, so what
    /// deposits had to pay for is max(0, charged − granted), and what is left of them is the balance without the test
    /// credit that is not used yet.
    #[must_use]
    pub fn withdrawable(&self) -> NanoTon {
        let unused_test_credit = self.granted.0.saturating_sub(self.charged.0);
        NanoTon(self.balance.0.saturating_sub(self.held.0.max(unused_test_credit)))
    }
}

/// Sums of one shard, for the invariants of `docs/LEDGER.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    pub balances: NanoTon,
    pub held: NanoTon,
    pub deposits: NanoTon,
    pub grants: NanoTon,
    pub charges: NanoTon,
    pub shortfall: NanoTon,
    /// Net of corrections.
    #[serde(with = "crate::decimal")]
    pub platform: i128,
    /// Per operator; counters that only grow.
    pub operators: Vec<OperatorTotals>,
    pub open_holds: u64,
    /// Receipts refused for their age.
    pub too_old: u64,
    pub withdrawing: NanoTon,
    pub withdrawn: NanoTon,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTotals {
    pub operator: OperatorId,
    pub accrued: NanoTon,
    pub reversed: NanoTon,
}

impl Credit {
    /// What makes it the same deposit: logical time and transaction hash, as the journal names it.
    pub(crate) fn cause(&self) -> String {
        format!("{}:{}", self.lt, self.tx_hash)
    }
}

/// Position in a shard's journal; opaque, ordered by its store.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct JournalId(pub String);

impl JournalId {
    /// Its place among the ids of its store: a count, or milliseconds and a count.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] for what no store of ours writes.
    pub fn place(&self) -> Result<(u64, u64), LedgerError> {
        let number =
            |text: &str| text.parse().map_err(|_| LedgerError::Corrupt(format!("journal id {:?}", self.0)));
        match self.0.split_once('-') {
            None => Ok((number(&self.0)?, 0)),
            Some((at_ms, count)) => Ok((number(at_ms)?, number(count)?)),
        }
    }
}

/// One line of a shard's journal. As JSON, what does not apply is left out and amounts are decimal strings.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalEntry {
    pub id: JournalId,
    pub at_ms: u64,
    pub kind: JournalKind,
    pub account: AccountId,
    /// Request, grant, deposit or withdrawal that caused it, as text; of a voucher its cumulative amount.
    pub cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt_digest: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What the account's balance changed by.
    #[serde(with = "crate::decimal")]
    pub amount: i128,
    pub shortfall: NanoTon,
    /// The operator's part of the change.
    #[serde(with = "crate::decimal")]
    pub operator_amount: i128,
    /// The platform's part of the change.
    #[serde(with = "crate::decimal")]
    pub platform_amount: i128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    Deposit,
    Grant,
    /// A receipt settled its hold, or came without one.
    Charge,
    /// A lease ran out and the last checkpoint was charged.
    Expiry,
    /// A receipt after an expiry: the difference.
    Correction,
    /// A receipt that costs nothing ([`Settled::AtNoCost`]).
    NoCost,
    /// A withdrawal begins: the amount leaves the balance.
    Withdrawing,
    /// It was paid out; the balance changed before.
    Withdrawn,
    /// It was not: the amount is back.
    WithdrawalUndone,
    /// A voucher raised what its channel may spend: to the cause, by the amount.
    Voucher,
}

impl JournalKind {
    const ALL: [Self; 10] = [
        Self::Deposit,
        Self::Grant,
        Self::Charge,
        Self::Expiry,
        Self::Correction,
        Self::NoCost,
        Self::Withdrawing,
        Self::Withdrawn,
        Self::WithdrawalUndone,
        Self::Voucher,
    ];

    /// As stores keep it.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            Self::Deposit => "d",
            Self::Grant => "g",
            Self::Charge => "c",
            Self::Expiry => "e",
            Self::Correction => "x",
            Self::NoCost => "n",
            Self::Withdrawing => "w",
            Self::Withdrawn => "o",
            Self::WithdrawalUndone => "u",
            Self::Voucher => "v",
        }
    }
}

impl std::str::FromStr for JournalKind {
    type Err = LedgerError;

    fn from_str(letter: &str) -> Result<Self, LedgerError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.letter() == letter)
            .ok_or_else(|| LedgerError::Corrupt(format!("journal kind {letter:?}")))
    }
}

/// A ledger that did not do what was asked. Nothing has moved, except after `Unavailable`, where it is unknown
/// and the same call may be made again.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the store does not answer: {0}")]
    Unavailable(String),
    #[error("the ledger was created by an incompatible version: {0}")]
    Schema(String),
    #[error("the ledger is not configured as it must be: {0}")]
    Configuration(String),
    #[error("the amount does not fit")]
    Overflow,
    #[error("the store holds what it cannot hold: {0}")]
    Corrupt(String),
}
