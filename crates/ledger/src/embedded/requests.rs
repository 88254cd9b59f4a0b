//! The last requests of an account, and receipts as they were sent.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, ProjectId, ReceiptId, RequestId, Usage};

use crate::embedded::columns::{amount, counts, optional_text, text};
use crate::embedded::usages::Of;
use crate::embedded::{Embedded, integer, sqlite_error};
use crate::requests::RECENT_KEPT_MS;
use crate::rules::{day_of, first_kept_day};
use crate::transfer::record::KeptReceiptOf;
use crate::{
    KeptReceipt, LedgerError, MAX_RECENT, MAX_REQUESTS_PAGE, RequestQuery, RequestRecord, Requests, Shard,
};

/// Rows that one sweep deletes from each table, so that none holds the file for long.
const FORGET: i64 = 500;

/// What [`kept_receipt`] reads.
pub(super) const KEPT_COLUMNS: &str = "receipt, request, key, project, charged, jws";

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
        self.kept(account, receipt.to_string(), "receipt = ?3").await
    }

    async fn receipt_of(
        &self,
        account: &AccountId,
        request: RequestId,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        self.kept(account, request.to_string(), "request = ?3 AND billed = 1 ORDER BY rowid DESC LIMIT 1")
            .await
    }
}

impl Embedded {
    async fn kept(
        &self,
        account: &AccountId,
        id: String,
        which: &'static str,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let sql =
            format!("SELECT {KEPT_COLUMNS} FROM kept_receipt WHERE shard = ?1 AND account = ?2 AND {which}");
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer
            .run_soon(move |connection| {
                connection
                    .prepare_cached(&sql)
                    .and_then(|mut get| {
                        get.query_row(params![shard.0, account.as_str(), id], kept_receipt).optional()
                    })
                    .map_err(sqlite_error)
            })
            .await
    }
}

/// A charged request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Note<'a> {
    pub(super) account: &'a AccountId,
    pub(super) at_ms: u64,
    pub(super) request: RequestId,
    pub(super) receipt: Option<ReceiptId>,
    pub(super) of: Of<'a>,
    pub(super) usage: &'a Usage,
    pub(super) charged: i64,
}

/// Notes a charged request after those before it, or what a correction made of it.
pub(super) fn note(connection: &Connection, shard: Shard, note: &Note<'_>) -> Result<(), LedgerError> {
    let Note { at_ms, request, receipt, of, usage, charged, .. } = *note;
    let (shard, account) = (shard.0, note.account.as_str());
    let [prompt, cached, completion, reasoning] = counts(usage)?;
    let position: i64 = connection
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
                i64::try_from(at_ms).unwrap_or(i64::MAX),
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
    connection
        .prepare_cached("DELETE FROM recent WHERE shard = ?1 AND account = ?2 AND position <= ?3")
        .and_then(|mut drop| drop.execute(params![shard, account, position - i64::from(MAX_RECENT)]))
        .map_err(sqlite_error)?;
    Ok(())
}

/// Keeps a receipt.
pub(super) fn keep(connection: &Connection, shard: Shard, kept: &KeptReceiptOf) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO kept_receipt (shard, receipt, day, account, request, key, project, billed, charged, jws)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut add| {
            add.execute(params![
                shard.0,
                kept.receipt.to_string(),
                i64::try_from(day_of(kept.receipt.made_at_ms())).unwrap_or(i64::MAX),
                kept.account.as_str(),
                kept.request.to_string(),
                kept.key.as_str(),
                kept.project.as_ref().map(ProjectId::as_str),
                kept.billed,
                i64::try_from(kept.charged.0).unwrap_or(i64::MAX),
                kept.jws,
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

/// From [`KEPT_COLUMNS`].
pub(super) fn kept_receipt(row: &Row<'_>) -> ::rusqlite::Result<KeptReceipt> {
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
