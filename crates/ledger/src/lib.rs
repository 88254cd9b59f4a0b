//! Who owes what to whom: accounts, holds, charges and the journal, behind one trait and in two stores.
//!
//! The rules are in `docs/LEDGER.md`. A store does no cryptography: what reaches [`Ledger::settle`] has been
//! verified by the caller against its ticket and its keyset.

mod answers;
mod archive;
mod books;
mod bucket;
mod channels;
mod check;
mod decimal;
mod documents;
pub mod embedded;
mod finished;
mod health;
mod key_registry;
mod limits;
mod measured;
mod model;
mod periods;
pub mod redis;
mod replay;
mod report;
mod requests;
mod retention;
mod rules;
mod standings;
pub mod transfer;
mod treasury;
mod usages;
mod used;
mod watch;
mod withdrawals;

pub use answers::{
    AnswerName, Answers, Begin, Begun, Ending, KEPT_FOR, MAX_ANSWER_BYTES, MAX_ENTRIES, MAX_KEPT_BYTES,
};
pub use archive::{
    Archive, ArchiveError, Archived, Archiving, Verified, archive_shard, replayed, verify_shard,
};
pub use books::{Books, Cut, Holds, OpenHold};
pub use channels::{
    CHANNEL_PREFIX, Channel, ChannelOpened, ChannelOpening, Channels, KeptVoucher, MAX_CHANNELS, Raised,
    is_channel,
};
pub use check::{CheckError, Pace, check_shard, survey_shard};
pub use documents::{KeptDocument, MAX_DOCUMENT_BYTES};
pub use health::Health;
pub use key_registry::{
    ENDED_KEY_KEPT, KeyOrder, KeyQuery, KeyRecord, KeyRegistry, KeyScope, KeySet, MAX_KEY_MODELS,
    MAX_KEY_NAME, MAX_KEY_PAGE, MAX_KEYS, MAX_MODEL_NAME, MAX_PROJECTS, NotAScope, Project, Recorded,
    Revoked,
};
pub use limits::{Budget, Holder, Limit, Limits, Period};
pub use measured::{CallEnd, Measured, Observer};
pub use model::*;
pub use replay::{Replay, Replayed};
pub use report::{Finding, ShardReport, Subject};
pub use requests::{KeptReceipt, MAX_RECENT, MAX_REQUESTS_PAGE, RequestQuery, RequestRecord, Requests};
pub use retention::{ChainHead, CursorName, Kept, MAX_CURSORS, MAX_TRIM, Retention};
pub use standings::{Amounts, Rate, Rates, Standing, Standings, Whose};
pub use treasury::{
    Appending, Lease, MAX_APPENDED, MAX_APPENDED_BYTES, MAX_DECISION_BYTES, MAX_DECISIONS,
    MAX_DECISIONS_BYTES, MAX_HOLDER_BYTES, MAX_OPEN_WITHDRAWALS, OpenWithdrawal, Treasury,
};
pub use usages::{MAX_USAGE_ROWS, Tally, UsagePage, UsageQuery, UsageRow, Usages, Width};
pub use watch::{Behind, Watch};
pub use withdrawals::{
    ADDRESS_DELAY, MAX_REASON_BYTES, NotAnAddress, Payout, PendingAddress, TonAddress, Withdrawal,
    WithdrawalBegun, WithdrawalEnded, WithdrawalRefusal, Withdrawals,
};

use std::sync::Arc;

use async_trait::async_trait;
use cocoon_receipts::{AccountId, Digest, RequestId};

/// Opens the ledger that `url` names: `sqlite:PATH`, or a Redis: `redis://[user:password@]host:port[/db]`,
/// `redis+sentinel://…host:port,host:port/service`, `redis-cluster://…host:port,host:port`, and each of these with
/// `rediss` for TLS. It is created where there is none.
///
/// # Errors
/// [`LedgerError::Configuration`] for another kind of URL, for options the ledger was not created with, and for a
/// server that would lose writes; [`LedgerError::Schema`] where it was made by an incompatible version;
/// [`LedgerError::Unavailable`] where it cannot be reached.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Ledger>, LedgerError> {
    open_with(url, options, &redis::Access::default()).await
}

/// The same, with what is needed to get at a Redis beside its URL.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    url: &str,
    options: Options,
    access: &redis::Access,
) -> Result<Arc<dyn Ledger>, LedgerError> {
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = std::path::PathBuf::from(path);
        let opening = tokio::task::spawn_blocking(move || embedded::Embedded::open(path, options));
        let opened = opening.await.map_err(|error| LedgerError::Unavailable(error.to_string()))??;
        return Ok(Arc::new(opened));
    }
    only_redis(url)?;
    Ok(Arc::new(redis::RedisLedger::connect_with(url, options, access).await?))
}

/// Refuses what names neither of the two stores, once it is not the embedded one.
fn only_redis(url: &str) -> Result<(), LedgerError> {
    if redis::is_redis(url) {
        return Ok(());
    }
    // The URL may carry a password: only its scheme is repeated.
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    Err(LedgerError::Configuration(format!(
        "a ledger is sqlite:PATH, redis://, redis+sentinel:// or redis-cluster:// (rediss for TLS), not {scheme:?}"
    )))
}

/// The operations of `docs/LEDGER.md`. Every one is idempotent: after an unknown outcome the same call is
/// simply made again.
#[async_trait]
pub trait Ledger:
    Answers
    + Books
    + Channels
    + Health
    + KeyRegistry
    + Requests
    + Retention
    + Standings
    + Treasury
    + Usages
    + Withdrawals
    + Send
    + Sync
    + std::fmt::Debug
{
    /// Takes a hold on the account, and what the request asks of the limits of its key, its project and its account, or
    /// says why not: a revoked key first, then limits, then the balance. Nothing has moved when it refuses. The same request again
    /// gives the same hold.
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, LedgerError>;

    /// Names the one backend that may be paid from this hold; a new attempt supersedes the old one.
    async fn bind(&self, bind: &Bind) -> Result<Bound, LedgerError>;

    /// Renews the lease from a signed checkpoint and records what was used so far. A checkpoint of a superseded
    /// attempt, and one that reports less than the last, changes nothing.
    async fn extend(&self, checkpoint: &Checkpoint) -> Result<Extended, LedgerError>;

    /// Turns the hold into a charge, exactly once.
    async fn settle(&self, settlement: &Settlement) -> Result<Settled, LedgerError>;

    /// Gives the hold back because nothing was generated. Before its reserve it leaves a tombstone that
    /// refuses it; after a charge it changes nothing.
    async fn release(&self, release: &Release) -> Result<Released, LedgerError>;

    /// Requests of this shard whose lease (and, where bound, grace period) is over: at most `limit`.
    async fn expired(&self, shard: Shard, limit: u32) -> Result<Vec<RequestId>, LedgerError>;

    /// Ends one such hold: charges its last checkpoint, or nothing where there is none, and gives back the rest.
    /// A hold that is not over yet stays.
    async fn expire(&self, shard: Shard, request: RequestId) -> Result<Expired, LedgerError>;

    /// Books a deposit, once per (logical time, transaction hash). [`LedgerError::Configuration`] for a channel's account.
    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError>;

    /// Books test credit, once per grant id, apart from deposits. [`LedgerError::Configuration`] for a channel's account.
    async fn grant(&self, grant: &Grant) -> Result<Booked, LedgerError>;

    /// The account as it stands; all zero where it was never seen.
    async fn account(&self, account: &AccountId) -> Result<Account, LedgerError>;

    /// Sums of one shard.
    async fn totals(&self, shard: Shard) -> Result<Totals, LedgerError>;

    /// Entries of one shard's journal after `after` (none: from the first kept), oldest first.
    async fn journal(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError>;

    /// Keeps the exact bytes of a keyset that a policy accepted, under their own digest.
    async fn put_keyset(&self, bytes: &[u8]) -> Result<Digest, LedgerError>;

    /// The bytes of an accepted keyset.
    async fn keyset(&self, digest: Digest) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Keeps the first document that was believed for the keyset `keyset`: what was known when it was first used. A later
    /// one changes nothing. [`LedgerError::Overflow`] for one above [`MAX_DOCUMENT_BYTES`].
    async fn put_document(&self, keyset: Digest, document: &KeptDocument) -> Result<(), LedgerError>;

    /// That document.
    async fn document(&self, keyset: Digest) -> Result<Option<KeptDocument>, LedgerError>;

    /// How many shards this ledger was created with.
    fn shards(&self) -> ShardCount;

    /// Whether the store answers.
    async fn ping(&self) -> Result<(), LedgerError>;

    /// Sets the clock of every shard, in milliseconds since 1970; a shard's time still never goes back. Until the
    /// first call such a ledger runs on real time.
    ///
    /// # Errors
    /// [`LedgerError::Configuration`] on a ledger that was created without [`Options::test_clock`].
    async fn set_test_time(&self, at_ms: u64) -> Result<(), LedgerError>;
}
