//! The embedded store: one SQLite file for one machine, shared by its processes.

mod account_row;
mod answers;
mod aside;
mod book;
mod booking;
mod books;
mod channels;
mod clock;
mod columns;
mod documents;
mod flusher;
mod health;
mod holds;
mod journal;
mod key_registry;
mod lease;
mod reading;
mod requests;
mod retention;
mod schema;
mod settle;
mod taking;
pub(crate) mod transfer;
mod treasury;
mod usages;
mod used;
mod withdrawals;
mod writer;

use std::path::Path;
use std::sync::Arc;

use ::rusqlite::{Error, ErrorCode};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, Digest, RequestId};

use crate::channels::check_takes_credit;
use crate::rules::{check_amount, check_checkpoint, check_settlement};
use crate::{
    Account, Bind, Booked, Bound, Checkpoint, Credit, Expired, Extended, Grant, JournalEntry, JournalId,
    KeptDocument, Ledger, LedgerError, Options, Release, Released, Reserve, Reserved, Settled, Settlement,
    Shard, ShardCount, Totals,
};
use clock::Clock;
use flusher::Flusher;
use schema::For;
use writer::Writer;

/// A ledger in one SQLite file. Several processes of a machine may open the same one.
///
/// What moves money in is on disk when it is answered, and with it all that came before; what a request does within half
/// a second. Dropping it waits for what was taken and closes the file.
#[derive(Debug)]
pub struct Embedded {
    writer: Writer,
    shards: ShardCount,
    grace_ms: u64,
    clock: Clock,
}

impl Embedded {
    /// Opens the ledger at `path`, or creates it there.
    ///
    /// # Errors
    /// [`LedgerError::Schema`] where the file is another version's or another program's,
    /// [`LedgerError::Configuration`] where it was created with other options.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, LedgerError> {
        Self::open_for(For::Use, path.as_ref(), &options)
    }

    fn open_for(purpose: For, path: &Path, options: &Options) -> Result<Self, LedgerError> {
        let connection = schema::open(path, options, purpose)?;
        Ok(Self {
            writer: Writer::start(connection, Flusher::start(path)?)?,
            shards: options.shards,
            grace_ms: crate::rules::lease_ms(options.grace),
            clock: Clock { test: options.test_clock },
        })
    }
}

#[async_trait]
impl Ledger for Embedded {
    async fn reserve(&self, reserve: &Reserve) -> Result<Reserved, LedgerError> {
        let (clock, shard, reserve) = (self.clock, self.shards.of(&reserve.account), reserve.clone());
        self.writer.run_soon(move |connection| lease::reserve(connection, clock, shard, &reserve)).await
    }

    async fn bind(&self, bind: &Bind) -> Result<Bound, LedgerError> {
        let (clock, grace_ms, shard, bind) =
            (self.clock, self.grace_ms, self.shards.of(&bind.account), bind.clone());
        self.writer.run_soon(move |connection| lease::bind(connection, clock, grace_ms, shard, &bind)).await
    }

    async fn extend(&self, checkpoint: &Checkpoint) -> Result<Extended, LedgerError> {
        check_checkpoint(checkpoint)?;
        let (clock, grace_ms) = (self.clock, self.grace_ms);
        let (shard, checkpoint) = (self.shards.of(&checkpoint.account), checkpoint.clone());
        self.writer
            .run_soon(move |connection| lease::extend(connection, clock, grace_ms, shard, &checkpoint))
            .await
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, LedgerError> {
        check_settlement(settlement)?;
        let (clock, shard) = (self.clock, self.shards.of(&settlement.account));
        let settlement = Arc::new(settlement.clone());
        self.writer.run_soon(move |connection| settle::settle(connection, clock, shard, &settlement)).await
    }

    async fn release(&self, release: &Release) -> Result<Released, LedgerError> {
        tracing::debug!(request = %release.request, reason = ?release.reason, "release");
        let (clock, shard, release) = (self.clock, self.shards.of(&release.account), release.clone());
        self.writer.run_soon(move |connection| lease::release(connection, clock, shard, &release)).await
    }

    async fn expired(&self, shard: Shard, limit: u32) -> Result<Vec<RequestId>, LedgerError> {
        let clock = self.clock;
        self.writer.run(move |connection| lease::expired(connection, clock, shard, limit)).await
    }

    async fn expire(&self, shard: Shard, request: RequestId) -> Result<Expired, LedgerError> {
        let clock = self.clock;
        self.writer.run_soon(move |connection| lease::expire(connection, clock, shard, request)).await
    }

    async fn credit(&self, credit: &Credit) -> Result<Booked, LedgerError> {
        check_takes_credit(&credit.account)?;
        check_amount(credit.amount)?;
        let (clock, shard, credit) = (self.clock, self.shards.of(&credit.account), credit.clone());
        self.writer.run(move |connection| booking::credit(connection, clock, shard, &credit)).await
    }

    async fn grant(&self, grant: &Grant) -> Result<Booked, LedgerError> {
        check_takes_credit(&grant.account)?;
        check_amount(grant.amount)?;
        let (clock, shard, grant) = (self.clock, self.shards.of(&grant.account), grant.clone());
        self.writer.run(move |connection| booking::grant(connection, clock, shard, &grant)).await
    }

    async fn account(&self, account: &AccountId) -> Result<Account, LedgerError> {
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer.run(move |connection| reading::account(connection, shard, &account)).await
    }

    async fn totals(&self, shard: Shard) -> Result<Totals, LedgerError> {
        self.writer.run(move |connection| reading::totals(connection, shard)).await
    }

    async fn journal(
        &self,
        shard: Shard,
        after: Option<&JournalId>,
        limit: u32,
    ) -> Result<Vec<JournalEntry>, LedgerError> {
        let after = after.cloned();
        self.writer.run(move |connection| journal::read(connection, shard, after.as_ref(), limit)).await
    }

    async fn put_keyset(&self, bytes: &[u8]) -> Result<Digest, LedgerError> {
        let (digest, bytes) = (Digest::of(&[bytes]), bytes.to_vec());
        self.writer.run(move |connection| reading::put_keyset(connection, digest, &bytes)).await?;
        Ok(digest)
    }

    async fn keyset(&self, digest: Digest) -> Result<Option<Vec<u8>>, LedgerError> {
        self.writer.run(move |connection| reading::keyset(connection, digest)).await
    }

    async fn put_document(&self, keyset: Digest, document: &KeptDocument) -> Result<(), LedgerError> {
        document.check()?;
        let document = document.clone();
        self.writer.run(move |connection| documents::put(connection, keyset, &document)).await
    }

    async fn document(&self, keyset: Digest) -> Result<Option<KeptDocument>, LedgerError> {
        self.writer.run(move |connection| documents::get(connection, keyset)).await
    }

    fn shards(&self) -> ShardCount {
        self.shards
    }

    async fn ping(&self) -> Result<(), LedgerError> {
        self.writer
            .run(|connection| connection.query_row("SELECT 1", [], |_| Ok(())).map_err(sqlite_error))
            .await
    }

    async fn set_test_time(&self, at_ms: u64) -> Result<(), LedgerError> {
        let clock = self.clock;
        self.writer.run(move |connection| clock.set(connection, at_ms)).await
    }
}

/// What another try may get past is `Unavailable`; the rest means the file is not what it should be.
fn sqlite_error(error: Error) -> LedgerError {
    let passing = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
                | ErrorCode::FileLockingProtocolFailed
        )
    );
    if passing {
        return LedgerError::Unavailable(error.to_string());
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => LedgerError::Schema("the file is another program's".to_owned()),
        _ => LedgerError::Corrupt(error.to_string()),
    }
}

/// SQLite's integers are signed.
fn integer(value: u64) -> Result<i64, LedgerError> {
    i64::try_from(value).map_err(|_| LedgerError::Overflow)
}

/// A count or amount that the rules keep from being negative.
fn natural(value: i64) -> Result<u64, LedgerError> {
    u64::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} is negative")))
}
