//! The last requests of an account, and receipts as they were sent.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, ProjectId, ReceiptId, RequestId, Usage};

use crate::embedded::book::Book;
use crate::embedded::columns::{amount, counts, optional_text, text};
use crate::embedded::usages::Of;
use crate::embedded::{Embedded, integer, sqlite_error};
use crate::requests::RECENT_KEPT_MS;
use crate::rules::{day_of, first_kept_day};
use crate::{
    KeptReceipt, LedgerError, MAX_RECENT, MAX_REQUESTS_PAGE, RequestQuery, RequestRecord, Requests,
    Settlement, Shard,
};

/// Rows that one sweep deletes from each table, so that none holds the file for long.
const FORGET: i64 = 500;

#[async_trait]
impl Requests for Embedded {
    async fn requests(&self, query: &RequestQuery) -> Result<Vec<RequestRecord>, LedgerError> {
        let (shard, query) = (self.shards.of(&query.account), query.clone());
        self.writer.run_soon(move |connection| read(connection, shard, &query)).await
    }

    async fn receipt(
        &self,
        account: &AccountId,
        receipt: ReceiptId,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let sql = "SELECT receipt, request, key, project, charged, jws FROM kept_receipt
                   WHERE shard = ?1 AND account = ?2 AND receipt = ?3";
        self.kept(account, receipt.to_string(), sql).await
    }

    async fn receipt_of(
        &self,
        account: &AccountId,
        request: RequestId,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let sql = "SELECT receipt, request, key, project, charged, jws FROM kept_receipt
                   WHERE shard = ?1 AND account = ?2 AND request = ?3 AND billed = 1
                   ORDER BY rowid DESC LIMIT 1";
        self.kept(account, request.to_string(), sql).await
    }
}

impl Embedded {
    async fn kept(
        &self,
        account: &AccountId,
        id: String,
        sql: &'static str,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer
            .run_soon(move |connection| {
                connection
                    .prepare_cached(sql)
                    .and_then(|mut get| {
                        get.query_row(params![shard.0, account.as_str(), id], kept_receipt).optional()
                    })
                    .map_err(sqlite_error)
            })
            .await
    }
}

/// Notes a charged request, or what a correction made of it.
pub(super) fn note(
    book: &Book<'_>,
    request: RequestId,
    receipt: Option<ReceiptId>,
    of: Of<'_>,
    usage: &Usage,
    charged: i64,
) -> Result<(), LedgerError> {
    let (shard, account) = (book.shard.0, book.name.as_str());
    let [prompt, cached, completion, reasoning] = counts(usage)?;
    let position: i64 = book
        .connection
        .prepare_cached(
            "INSERT INTO recent (shard, account, position, at_ms, request, receipt, key, project, model, work,
                 prompt, cached, completion, reasoning, charged)
             VALUES (?1, ?2,
                 (SELECT coalesce(max(position), 0) + 1 FROM recent WHERE shard = ?1 AND account = ?2),
                 ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT (shard, account, request) DO UPDATE SET
                 receipt = excluded.receipt, prompt = excluded.prompt, cached = excluded.cached,
                 completion = excluded.completion, reasoning = excluded.reasoning, charged = excluded.charged
             RETURNING position",
        )
        .and_then(|mut save| {
            let row = params![
                shard,
                account,
                i64::try_from(book.now_ms).unwrap_or(i64::MAX),
                request.to_string(),
                receipt.map(|receipt| receipt.to_string()),
                of.key.as_str(),
                of.project.map(ProjectId::as_str),
                of.model,
                of.work.letter(),
                prompt,
                cached,
                completion,
                reasoning,
                charged,
            ];
            save.query_row(row, |row| row.get(0))
        })
        .map_err(sqlite_error)?;
    book.connection
        .prepare_cached("DELETE FROM recent WHERE shard = ?1 AND account = ?2 AND position <= ?3")
        .and_then(|mut drop| drop.execute(params![shard, account, position - i64::from(MAX_RECENT)]))
        .map_err(sqlite_error)?;
    Ok(())
}

/// Keeps a receipt; `billed`: its request was charged by it.
pub(super) fn keep(
    connection: &Connection,
    shard: Shard,
    settlement: &Settlement,
    billed: bool,
    charged: i64,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO kept_receipt (shard, receipt, day, account, request, key, project, billed, charged, jws)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut add| {
            add.execute(params![
                shard.0,
                settlement.receipt.to_string(),
                i64::try_from(day_of(settlement.receipt.made_at_ms())).unwrap_or(i64::MAX),
                settlement.account.as_str(),
                settlement.request.to_string(),
                settlement.key.as_str(),
                settlement.project.as_ref().map(ProjectId::as_str),
                billed,
                charged,
                settlement.receipt_jws,
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}

fn read(
    connection: &Connection,
    shard: Shard,
    query: &RequestQuery,
) -> Result<Vec<RequestRecord>, LedgerError> {
    let account = query.account.as_str();
    let before: i64 = match query.after {
        None => i64::MAX,
        Some(after) => connection
            .prepare_cached("SELECT position FROM recent WHERE shard = ?1 AND account = ?2 AND request = ?3")
            .and_then(|mut get| {
                get.query_row(params![shard.0, account, after.to_string()], |row| row.get(0)).optional()
            })
            .map_err(sqlite_error)?
            .unwrap_or(0),
    };
    let mut rows = connection
        .prepare_cached(
            "SELECT recent.request, recent.receipt, recent.key, recent.project, model, work,
                 prompt, cached, completion, reasoning, recent.charged, jws
             FROM recent LEFT JOIN kept_receipt
                 ON kept_receipt.shard = recent.shard AND kept_receipt.receipt = recent.receipt
             WHERE recent.shard = ?1 AND recent.account = ?2 AND position < ?3
                 AND (?4 IS NULL OR recent.key = ?4)
             ORDER BY position DESC LIMIT ?5",
        )
        .map_err(sqlite_error)?;
    let key = query.key.as_ref().map(cocoon_receipts::KeyId::as_str);
    let values = params![shard.0, account, before, key, query.limit.min(MAX_REQUESTS_PAGE)];
    rows.query_map(values, record).and_then(Iterator::collect).map_err(sqlite_error)
}

fn record(row: &Row<'_>) -> ::rusqlite::Result<RequestRecord> {
    Ok(RequestRecord {
        request: text(row, 0)?,
        receipt: optional_text(row, 1)?,
        key: text(row, 2)?,
        project: optional_text(row, 3)?,
        model: row.get(4)?,
        work: text(row, 5)?,
        usage: Usage {
            prompt: amount(row, 6)?,
            cached: amount(row, 7)?,
            completion: amount(row, 8)?,
            reasoning: amount(row, 9)?,
        },
        charged: NanoTon(amount(row, 10)?),
        jws: row.get(11)?,
    })
}

fn kept_receipt(row: &Row<'_>) -> ::rusqlite::Result<KeptReceipt> {
    Ok(KeptReceipt {
        receipt: text(row, 0)?,
        request: text(row, 1)?,
        key: text(row, 2)?,
        project: optional_text(row, 3)?,
        charged: NanoTon(amount(row, 4)?),
        jws: row.get(5)?,
    })
}

/// Drops what is kept no longer, a bounded piece at a time.
pub(super) fn forget(connection: &Connection, shard: Shard, now_ms: u64) -> Result<(), LedgerError> {
    let day = integer(first_kept_day(now_ms))?;
    let old = integer(now_ms.saturating_sub(RECENT_KEPT_MS))?;
    let statements = [
        (
            "DELETE FROM kept_receipt WHERE rowid IN
                 (SELECT rowid FROM kept_receipt WHERE shard = ?1 AND day < ?2 LIMIT ?3)",
            day,
        ),
        (
            "DELETE FROM recent WHERE (shard, account, position) IN
                 (SELECT shard, account, position FROM recent WHERE shard = ?1 AND at_ms < ?2 LIMIT ?3)",
            old,
        ),
    ];
    for (statement, before) in statements {
        connection
            .prepare_cached(statement)
            .and_then(|mut delete| delete.execute(params![shard.0, before, FORGET]))
            .map_err(sqlite_error)?;
    }
    Ok(())
}
