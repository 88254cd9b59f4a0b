//! Decisions, the lease, and withdrawals that are to be paid.
//!
//! Reading writes the shard's time too: the transaction then waits for the disk, and with it for all that it has seen.

use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use async_trait::async_trait;
use cocoon_receipts::{NanoTon, RequestId};

use crate::embedded::clock::Clock;
use crate::embedded::columns::{amount, text};
use crate::embedded::{Embedded, integer, lease, natural, sqlite_error};
use crate::rules::lease_ms;
use crate::treasury::{TREASURY, check_appended, check_holder, check_place};
use crate::{
    Appending, Lease, LedgerError, MAX_DECISIONS, MAX_DECISIONS_BYTES, MAX_OPEN_WITHDRAWALS, OpenWithdrawal,
    Shard, Treasury,
};

#[async_trait]
impl Treasury for Embedded {
    async fn append_decisions(&self, after: u64, records: &[String]) -> Result<Appending, LedgerError> {
        check_appended(after, records)?;
        let (clock, records) = (self.clock, records.to_vec());
        self.writer
            .run(move |connection| {
                lease::shard_time(connection, clock, TREASURY)?;
                append(connection, after, &records)
            })
            .await
    }

    async fn decisions(&self, after: u64, limit: u32) -> Result<Vec<String>, LedgerError> {
        check_place(after)?;
        let clock = self.clock;
        self.writer
            .run(move |connection| {
                lease::shard_time(connection, clock, TREASURY)?;
                read(connection, after, limit.min(MAX_DECISIONS))
            })
            .await
    }

    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError> {
        check_holder(holder)?;
        let (clock, holder) = (self.clock, holder.to_owned());
        self.writer.run(move |connection| hold(connection, clock, &holder, lasts)).await
    }

    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError> {
        check_holder(holder)?;
        let (clock, holder) = (self.clock, holder.to_owned());
        self.writer
            .run(move |connection| {
                lease::shard_time(connection, clock, TREASURY)?;
                let sql = "DELETE FROM treasury_lease WHERE shard = ?1 AND holder = ?2";
                execute(connection, sql, params![TREASURY.0, holder])
            })
            .await
    }

    async fn open_withdrawals(
        &self,
        shard: Shard,
        after: Option<RequestId>,
        limit: u32,
    ) -> Result<Vec<OpenWithdrawal>, LedgerError> {
        let clock = self.clock;
        self.writer
            .run(move |connection| {
                lease::shard_time(connection, clock, shard)?;
                open_withdrawals(connection, shard, after, limit.min(MAX_OPEN_WITHDRAWALS))
            })
            .await
    }
}

fn append(connection: &Connection, after: u64, records: &[String]) -> Result<Appending, LedgerError> {
    let count = count(connection)?;
    let grown = after.saturating_add(records.len() as u64);
    if count == after {
        for (number, record) in (after + 1..).zip(records) {
            insert(connection, TREASURY, number, record)?;
        }
        return Ok(Appending::Appended { count: grown });
    }
    if count == grown && read(connection, after, MAX_DECISIONS)? == records {
        return Ok(Appending::Appended { count });
    }
    Ok(Appending::Moved { count })
}

/// They have no gap, and the last is found without counting.
fn count(connection: &Connection) -> Result<u64, LedgerError> {
    let last: i64 = connection
        .prepare_cached("SELECT coalesce(max(number), 0) FROM decision WHERE shard = ?1")
        .and_then(|mut last| last.query_row([TREASURY.0], |row| row.get(0)))
        .map_err(sqlite_error)?;
    natural(last)
}

pub(super) fn insert(
    connection: &Connection,
    shard: Shard,
    number: u64,
    record: &str,
) -> Result<(), LedgerError> {
    let sql = "INSERT INTO decision (shard, number, record) VALUES (?1, ?2, ?3)";
    execute(connection, sql, params![shard.0, integer(number)?, record])
}

fn read(connection: &Connection, after: u64, limit: u32) -> Result<Vec<String>, LedgerError> {
    let mut next = connection
        .prepare_cached(
            "SELECT record FROM decision WHERE shard = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
        )
        .map_err(sqlite_error)?;
    let mut rows = next.query(params![TREASURY.0, integer(after)?, limit]).map_err(sqlite_error)?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        let record: String = row.get(0).map_err(sqlite_error)?;
        bytes += record.len();
        if bytes > MAX_DECISIONS_BYTES {
            break;
        }
        found.push(record);
    }
    Ok(found)
}

fn hold(connection: &Connection, clock: Clock, holder: &str, lasts: Duration) -> Result<Lease, LedgerError> {
    let now_ms = lease::shard_time(connection, clock, TREASURY)?;
    let found = connection
        .prepare_cached("SELECT holder, until_ms FROM treasury_lease WHERE shard = ?1")
        .and_then(|mut get| {
            get.query_row([TREASURY.0], |row| Ok((row.get::<_, String>(0)?, amount(row, 1)?))).optional()
        })
        .map_err(sqlite_error)?;
    let mut until_ms = now_ms.saturating_add(lease_ms(lasts));
    match found {
        Some((other, ends_ms)) if other != holder && ends_ms > now_ms => {
            return Ok(Lease { holder: other, until_ms: ends_ms, now_ms });
        }
        Some((same, ends_ms)) if same == holder => until_ms = until_ms.max(ends_ms),
        _ => {}
    }
    let sql = "INSERT OR REPLACE INTO treasury_lease (shard, holder, until_ms) VALUES (?1, ?2, ?3)";
    execute(connection, sql, params![TREASURY.0, holder, integer(until_ms)?])?;
    Ok(Lease { holder: holder.to_owned(), until_ms, now_ms })
}

fn open_withdrawals(
    connection: &Connection,
    shard: Shard,
    after: Option<RequestId>,
    limit: u32,
) -> Result<Vec<OpenWithdrawal>, LedgerError> {
    let read = |row: &Row<'_>| -> ::rusqlite::Result<OpenWithdrawal> {
        Ok(OpenWithdrawal {
            intent: text(row, 0)?,
            account: text(row, 1)?,
            amount: NanoTon(amount(row, 2)?),
            address: text(row, 3)?,
        })
    };
    let after = after.map_or_else(String::new, |after| after.to_string());
    let mut open = connection
        .prepare_cached(
            "SELECT intent, account, amount, address FROM withdrawal INDEXED BY withdrawal_open
             WHERE shard = ?1 AND state = 'b' AND intent > ?2 ORDER BY intent LIMIT ?3",
        )
        .map_err(sqlite_error)?;
    open.query_map(params![shard.0, after, limit], read).and_then(Iterator::collect).map_err(sqlite_error)
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<(), LedgerError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map(drop)
        .map_err(sqlite_error)
}
