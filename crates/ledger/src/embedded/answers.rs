//! Answers kept for repeated requests: one row per idempotency key.

use std::time::Duration;

use ::rusqlite::{Connection, OptionalExtension, params};
use async_trait::async_trait;
use cocoon_receipts::RequestId;

use crate::answers::{KEPT_FOR_MS, check_ending};
use crate::embedded::clock::Clock;
use crate::embedded::{Embedded, integer, lease, sqlite_error};
use crate::rules::lease_ms;
use crate::{AnswerName, Answers, Begin, Begun, Ending, LedgerError, MAX_ENTRIES, MAX_KEPT_BYTES, Shard};

/// Rows that one sweep deletes, so that none holds the file for long: an answer may be a mebibyte.
const FORGET: i64 = 64;

#[async_trait]
impl Answers for Embedded {
    async fn begin_answer(&self, begin: &Begin) -> Result<Begun, LedgerError> {
        let (clock, shard, begin) = (self.clock, self.shards.of(&begin.name.account), begin.clone());
        self.writer.run(move |connection| take(connection, clock, shard, &begin)).await
    }

    async fn renew_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        lease: Duration,
    ) -> Result<bool, LedgerError> {
        let (clock, shard, name) = (self.clock, self.shards.of(&name.account), name.clone());
        self.writer
            .run(move |connection| {
                let due_ms = lease::shard_time(connection, clock, shard)?.saturating_add(lease_ms(lease));
                let sql = "UPDATE answer SET due_ms = ?5
                           WHERE shard = ?1 AND account = ?2 AND id = ?3 AND holder = ?4 AND state = 'r'";
                let row =
                    params![shard.0, name.account.as_str(), name.id.0, holder.to_string(), integer(due_ms)?];
                execute(connection, sql, row).map(|rows| rows > 0)
            })
            .await
    }

    async fn end_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        ending: &Ending,
    ) -> Result<bool, LedgerError> {
        check_ending(ending)?;
        let (clock, shard, name) = (self.clock, self.shards.of(&name.account), name.clone());
        let ending = ending.clone();
        self.writer.run(move |connection| end(connection, clock, shard, &name, holder, &ending)).await
    }

    async fn abandon_answer(&self, name: &AnswerName, holder: RequestId) -> Result<bool, LedgerError> {
        let (shard, name) = (self.shards.of(&name.account), name.clone());
        self.writer
            .run(move |connection| {
                let sql = "DELETE FROM answer
                           WHERE shard = ?1 AND account = ?2 AND id = ?3 AND holder = ?4 AND state = 'r'";
                let row = params![shard.0, name.account.as_str(), name.id.0, holder.to_string()];
                execute(connection, sql, row).map(|rows| rows > 0)
            })
            .await
    }
}

struct Row {
    holder: String,
    fingerprint: [u8; 32],
    state: String,
    due_ms: i64,
    answer: Option<Vec<u8>>,
}

fn take(connection: &Connection, clock: Clock, shard: Shard, begin: &Begin) -> Result<Begun, LedgerError> {
    let now_ms = integer(lease::shard_time(connection, clock, shard)?)?;
    forget(connection, shard, now_ms)?;
    let (account, id) = (begin.name.account.as_str(), begin.name.id.0);
    let over_ms = now_ms - integer(KEPT_FOR_MS)?;
    let found = connection
        .prepare_cached(
            "SELECT holder, fingerprint, state, due_ms, answer FROM answer
             WHERE shard = ?1 AND account = ?2 AND id = ?3 AND begun_ms > ?4",
        )
        .and_then(|mut find| {
            find.query_row(params![shard.0, account, id, over_ms], |row| {
                Ok(Row {
                    holder: row.get(0)?,
                    fingerprint: row.get(1)?,
                    state: row.get(2)?,
                    due_ms: row.get(3)?,
                    answer: row.get(4)?,
                })
            })
            .optional()
        })
        .map_err(sqlite_error)?;
    if let Some(row) = found {
        if row.fingerprint != begin.fingerprint.0 {
            return Ok(Begun::OtherRequest);
        }
        match (row.state.as_str(), row.answer) {
            ("k", Some(answer)) => return Ok(Begun::Kept(answer)),
            ("r", _) if row.holder == begin.holder.to_string() || row.due_ms <= now_ms => {}
            ("r", _) => return Ok(Begun::Running),
            _ => return Ok(Begun::NotKept),
        }
    } else if !make_room(connection, shard, account)? {
        return Ok(Begun::Full);
    }
    let due_ms = now_ms.saturating_add(integer(lease_ms(begin.lease))?);
    let sql =
        "INSERT OR REPLACE INTO answer (shard, account, id, begun_ms, holder, fingerprint, state, due_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'r', ?7)";
    let row = params![shard.0, account, id, now_ms, begin.holder.to_string(), begin.fingerprint.0, due_ms];
    execute(connection, sql, row)?;
    Ok(Begun::Started)
}

/// Whether there is a place for one more, perhaps the oldest ended one's.
fn make_room(connection: &Connection, shard: Shard, account: &str) -> Result<bool, LedgerError> {
    let count: i64 = connection
        .prepare_cached("SELECT count(*) FROM answer WHERE shard = ?1 AND account = ?2")
        .and_then(|mut count| count.query_row(params![shard.0, account], |row| row.get(0)))
        .map_err(sqlite_error)?;
    Ok(count < i64::from(MAX_ENTRIES) || drop_oldest(connection, shard, account, None)?)
}

fn drop_oldest(
    connection: &Connection,
    shard: Shard,
    account: &str,
    but: Option<[u8; 32]>,
) -> Result<bool, LedgerError> {
    let sql = "DELETE FROM answer WHERE shard = ?1 AND account = ?2 AND id IN
                   (SELECT id FROM answer WHERE shard = ?1 AND account = ?2 AND state <> 'r' AND id IS NOT ?3
                    ORDER BY begun_ms LIMIT 1)";
    execute(connection, sql, params![shard.0, account, but]).map(|rows| rows > 0)
}

fn end(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    name: &AnswerName,
    holder: RequestId,
    ending: &Ending,
) -> Result<bool, LedgerError> {
    let now_ms = integer(lease::shard_time(connection, clock, shard)?)?;
    let (state, answer) = match ending {
        Ending::Kept(answer) => ("k", Some(answer)),
        Ending::NotKept => ("n", None),
    };
    let size = integer(answer.map_or(0, Vec::len) as u64)?;
    let account = name.account.as_str();
    // From its end on, for as long as is promised: a long request does not eat into that.
    let sql = "UPDATE answer SET state = ?5, size = ?6, answer = ?7, begun_ms = ?8
               WHERE shard = ?1 AND account = ?2 AND id = ?3 AND holder = ?4 AND state IN ('r', ?5)";
    let row = params![shard.0, account, name.id.0, holder.to_string(), state, size, answer, now_ms];
    if execute(connection, sql, row)? == 0 {
        return Ok(false);
    }
    loop {
        let kept: i64 = connection
            .prepare_cached("SELECT coalesce(sum(size), 0) FROM answer WHERE shard = ?1 AND account = ?2")
            .and_then(|mut sum| sum.query_row(params![shard.0, account], |row| row.get(0)))
            .map_err(sqlite_error)?;
        if kept <= integer(MAX_KEPT_BYTES)? || !drop_oldest(connection, shard, account, Some(name.id.0))? {
            return Ok(true);
        }
    }
}

/// Drops what is over, a bounded piece at a time.
pub(super) fn forget(connection: &Connection, shard: Shard, now_ms: i64) -> Result<(), LedgerError> {
    let sql = "DELETE FROM answer WHERE rowid IN
                   (SELECT rowid FROM answer WHERE shard = ?1 AND begun_ms <= ?2 LIMIT ?3)";
    execute(connection, sql, params![shard.0, now_ms - integer(KEPT_FOR_MS)?, FORGET]).map(drop)
}

fn execute(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ::rusqlite::ToSql],
) -> Result<usize, LedgerError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(sqlite_error)
}
