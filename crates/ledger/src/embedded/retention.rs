//! How far the journal is archived, read and dropped.

use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, params};
use async_trait::async_trait;
use cocoon_receipts::{Digest, ReceiptId};

use crate::embedded::book::shard_row;
use crate::embedded::clock::Clock;
use crate::embedded::columns::{amount, blob};
use crate::embedded::{Embedded, integer, lease, sqlite_error};
use crate::retention::{MAX_CURSORS, MAX_TRIM};
use crate::rules::lease_ms;
use crate::{ChainHead, CursorName, JournalId, Kept, LedgerError, Retention, Shard};

#[async_trait]
impl Retention for Embedded {
    async fn kept(&self, shard: Shard) -> Result<Kept, LedgerError> {
        self.writer.run_soon(move |connection| kept(connection, shard)).await
    }

    async fn put_head(
        &self,
        shard: Shard,
        before: Option<Digest>,
        head: &ChainHead,
    ) -> Result<bool, LedgerError> {
        let head = head.clone();
        self.writer.run(move |connection| put_head(connection, shard, before, &head)).await
    }

    async fn put_cursor(
        &self,
        shard: Shard,
        name: &CursorName,
        at: Option<&JournalId>,
    ) -> Result<(), LedgerError> {
        let (name, at) = (name.clone(), at.map_or(Ok(0), count)?);
        self.writer.run(move |connection| put_cursor(connection, shard, &name, at)).await
    }

    async fn drop_cursor(&self, shard: Shard, name: &CursorName) -> Result<(), LedgerError> {
        let name = name.clone();
        self.writer
            .run(move |connection| {
                connection
                    .execute(
                        "DELETE FROM cursor WHERE shard = ?1 AND name = ?2",
                        params![shard.0, name.as_str()],
                    )
                    .map_err(sqlite_error)?;
                Ok(())
            })
            .await
    }

    async fn trim(&self, shard: Shard, age: Duration) -> Result<u32, LedgerError> {
        let clock = self.clock;
        self.writer.run(move |connection| trim(connection, clock, shard, age)).await
    }

    async fn sent_receipts(
        &self,
        shard: Shard,
        receipts: &[ReceiptId],
    ) -> Result<Vec<Option<String>>, LedgerError> {
        let receipts = receipts.to_vec();
        self.writer
            .run_soon(move |connection| {
                let mut get = connection
                    .prepare_cached("SELECT jws FROM kept_receipt WHERE shard = ?1 AND receipt = ?2")
                    .map_err(sqlite_error)?;
                receipts
                    .iter()
                    .map(|receipt| {
                        get.query_row(params![shard.0, receipt.to_string()], |row| row.get(0)).optional()
                    })
                    .collect::<Result<_, _>>()
                    .map_err(sqlite_error)
            })
            .await
    }
}

/// An id of this store, which counts.
fn count(id: &JournalId) -> Result<i64, LedgerError> {
    match id.place()? {
        (count, 0) => integer(count),
        _ => Err(LedgerError::Configuration(format!("{:?} is no journal id of this store", id.0))),
    }
}

fn id(count: i64) -> JournalId {
    JournalId(count.to_string())
}

pub(super) fn kept(connection: &Connection, shard: Shard) -> Result<Kept, LedgerError> {
    let mut cursors =
        connection.prepare_cached("SELECT name, at FROM cursor WHERE shard = ?1").map_err(sqlite_error)?;
    let rows: Vec<(String, i64)> = cursors
        .query_map([shard.0], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(sqlite_error)?;
    Ok(Kept {
        head: head(connection, shard)?,
        trimmed: trimmed(connection, shard)?.map(id),
        cursors: rows
            .into_iter()
            .map(|(name, at)| Ok((name.parse()?, if at == 0 { None } else { Some(id(at)) })))
            .collect::<Result<_, LedgerError>>()?,
    })
}

/// Puts all of it into a shard that has none.
pub(super) fn restore(connection: &Connection, shard: Shard, kept: &Kept) -> Result<(), LedgerError> {
    if let Some(head) = &kept.head {
        put_head(connection, shard, None, head)?;
    }
    if let Some(at) = &kept.trimmed {
        set_trimmed(connection, shard, count(at)?)?;
    }
    for (name, at) in &kept.cursors {
        put_cursor(connection, shard, name, at.as_ref().map_or(Ok(0), count)?)?;
    }
    Ok(())
}

fn set_trimmed(connection: &Connection, shard: Shard, at: i64) -> Result<(), LedgerError> {
    connection
        .execute("INSERT OR REPLACE INTO trimmed (shard, at) VALUES (?1, ?2)", params![shard.0, at])
        .map_err(sqlite_error)?;
    Ok(())
}

fn head(connection: &Connection, shard: Shard) -> Result<Option<ChainHead>, LedgerError> {
    let found = connection
        .prepare_cached("SELECT number, digest, at, entries FROM chain_head WHERE shard = ?1")
        .and_then(|mut get| {
            get.query_row([shard.0], |row| {
                Ok((amount(row, 0)?, blob(row, 1)?, row.get(2).map(id)?, amount(row, 3)?))
            })
            .optional()
        })
        .map_err(sqlite_error)?;
    let Some((number, digest, at, entries)) = found else { return Ok(None) };
    let digest = digest.ok_or_else(|| LedgerError::Corrupt("a checkpoint without a digest".to_owned()))?;
    Ok(Some(ChainHead { number, digest, at, entries }))
}

fn trimmed(connection: &Connection, shard: Shard) -> Result<Option<i64>, LedgerError> {
    connection
        .prepare_cached("SELECT at FROM trimmed WHERE shard = ?1")
        .and_then(|mut get| get.query_row([shard.0], |row| row.get(0)).optional())
        .map_err(sqlite_error)
}

fn put_head(
    connection: &Connection,
    shard: Shard,
    before: Option<Digest>,
    head: &ChainHead,
) -> Result<bool, LedgerError> {
    let newest = self::head(connection, shard)?.map(|newest| newest.digest);
    if newest == Some(head.digest) {
        return Ok(true);
    }
    if newest != before {
        return Ok(false);
    }
    connection
        .execute(
            "INSERT OR REPLACE INTO chain_head (shard, number, digest, at, entries) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                shard.0,
                integer(head.number)?,
                head.digest.0,
                count(&head.at)?,
                integer(head.entries)?
            ],
        )
        .map_err(sqlite_error)?;
    Ok(true)
}

fn put_cursor(connection: &Connection, shard: Shard, name: &CursorName, at: i64) -> Result<(), LedgerError> {
    connection
        .execute(
            "INSERT INTO cursor (shard, name, at) VALUES (?1, ?2, ?3)
             ON CONFLICT (shard, name) DO UPDATE SET at = max(at, excluded.at)",
            params![shard.0, name.as_str(), at],
        )
        .map_err(sqlite_error)?;
    let all: i64 = connection
        .query_row("SELECT count(*) FROM cursor WHERE shard = ?1", [shard.0], |row| row.get(0))
        .map_err(sqlite_error)?;
    // The transaction is undone with the error.
    if usize::try_from(all).is_ok_and(|all| all <= MAX_CURSORS) { Ok(()) } else { Err(LedgerError::Overflow) }
}

fn trim(connection: &Connection, clock: Clock, shard: Shard, age: Duration) -> Result<u32, LedgerError> {
    let now_ms = lease::shard_time(connection, clock, shard)?;
    let Some(head) = head(connection, shard)? else { return Ok(0) };
    let slowest: Option<i64> = connection
        .query_row("SELECT min(at) FROM cursor WHERE shard = ?1", [shard.0], |row| row.get(0))
        .map_err(sqlite_error)?;
    let (_, _, newest) = shard_row(connection, shard)?;
    let last = count(&head.at)?.min(slowest.unwrap_or(i64::MAX)).min(newest - 1);
    let before = integer(now_ms.saturating_sub(lease_ms(age)))?;
    // A shard's time never goes back, so what is old comes first.
    let (gone, number): (Option<i64>, u32) = connection
        .prepare_cached(
            "SELECT max(id), count(*) FROM (SELECT id, at_ms FROM journal WHERE shard = ?1 AND id <= ?2 ORDER BY id LIMIT ?3)
             WHERE at_ms < ?4",
        )
        .and_then(|mut get| {
            get.query_row(params![shard.0, last, MAX_TRIM, before], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .map_err(sqlite_error)?;
    if let Some(gone) = gone {
        connection
            .execute("DELETE FROM journal WHERE shard = ?1 AND id <= ?2", params![shard.0, gone])
            .map_err(sqlite_error)?;
        set_trimmed(connection, shard, gone)?;
    }
    Ok(number)
}
