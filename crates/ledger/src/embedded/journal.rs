//! The journal: one row for everything that moved an amount, and for every receipt.

use ::rusqlite::{Connection, Row, params};
use cocoon_receipts::{AccountId, Digest, KeyId, NanoTon, OperatorId, ProjectId, ReceiptId, Usage};

use crate::embedded::book::{Book, Movement};
use crate::embedded::columns::{amount, blob, counts, optional_text, text, usage};
use crate::embedded::{integer, sqlite_error};
use crate::{JournalEntry, JournalId, JournalKind, LedgerError, Shard, Work};

/// What [`entry`] reads.
pub(super) const COLUMNS: &str = "id, at_ms, kind, account, cause, key, project, model, operator, receipt, \
     receipt_digest, prompt, cached, completion, reasoning, amount, shortfall, operator_amount, platform_amount, work";

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) kind: JournalKind,
    pub(super) cause: &'a str,
    pub(super) key: Option<&'a KeyId>,
    pub(super) project: Option<&'a ProjectId>,
    pub(super) model: Option<&'a str>,
    pub(super) work: Option<Work>,
    pub(super) operator: Option<&'a OperatorId>,
    pub(super) receipt: Option<(ReceiptId, Digest)>,
    pub(super) usage: Option<&'a Usage>,
    pub(super) amount: i64,
    pub(super) shortfall: i64,
    pub(super) operator_amount: i64,
    pub(super) platform_amount: i64,
}

impl<'a> Entry<'a> {
    pub(super) fn new(kind: JournalKind, cause: &'a str, movement: Movement) -> Self {
        Self {
            kind,
            cause,
            key: None,
            project: None,
            model: None,
            work: None,
            operator: None,
            receipt: None,
            usage: None,
            amount: -movement.taken,
            shortfall: movement.shortfall,
            operator_amount: movement.operator,
            platform_amount: movement.platform(),
        }
    }

    /// Money that comes in.
    pub(super) fn booked(kind: JournalKind, cause: &'a str, amount: i64) -> Self {
        Self { amount, ..Self::new(kind, cause, Movement::default()) }
    }
}

pub(super) fn append(book: &mut Book<'_>, entry: &Entry<'_>) -> Result<(), LedgerError> {
    book.last_entry += 1;
    let at = At { shard: book.shard, id: book.last_entry, at_ms: book.now_ms, account: &book.name };
    insert(book.connection, at, entry)
}

/// Where an entry stands, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) shard: Shard,
    pub(super) id: i64,
    pub(super) at_ms: u64,
    pub(super) account: &'a AccountId,
}

pub(super) fn insert(connection: &Connection, at: At<'_>, entry: &Entry<'_>) -> Result<(), LedgerError> {
    let usage = entry.usage.map(counts).transpose()?;
    connection
        .prepare_cached(
            "INSERT INTO journal (shard, id, at_ms, kind, account, cause, key, project, model, operator, receipt,
                 receipt_digest, prompt, cached, completion, reasoning, amount, shortfall, operator_amount,
                 platform_amount, work)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )
        .and_then(|mut add| {
            add.execute(params![
                at.shard.0,
                at.id,
                i64::try_from(at.at_ms).unwrap_or(i64::MAX),
                entry.kind.letter(),
                at.account.as_str(),
                entry.cause,
                entry.key.map(KeyId::as_str),
                entry.project.map(ProjectId::as_str),
                entry.model,
                entry.operator.map(OperatorId::as_str),
                entry.receipt.map(|(id, _)| id.to_string()),
                entry.receipt.map(|(_, digest)| digest.0),
                usage.map(|[prompt, ..]| prompt),
                usage.map(|[_, cached, ..]| cached),
                usage.map(|[_, _, completion, _]| completion),
                usage.map(|[.., reasoning]| reasoning),
                entry.amount,
                entry.shortfall,
                entry.operator_amount,
                entry.platform_amount,
                entry.work.map(Work::letter),
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn read(
    connection: &Connection,
    shard: Shard,
    after: Option<&JournalId>,
    limit: u32,
) -> Result<Vec<JournalEntry>, LedgerError> {
    let after = match after {
        None => 0,
        Some(JournalId(id)) => integer(
            id.parse()
                .map_err(|_| LedgerError::Configuration(format!("{id:?} is no journal id of this store")))?,
        )?,
    };
    let mut entries = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM journal WHERE shard = ?1 AND id > ?2 ORDER BY id LIMIT ?3"
        ))
        .map_err(sqlite_error)?;
    entries.query_map(params![shard.0, after, limit], entry).and_then(Iterator::collect).map_err(sqlite_error)
}

/// From [`COLUMNS`].
pub(super) fn entry(row: &Row<'_>) -> ::rusqlite::Result<JournalEntry> {
    let signed = |column: usize| -> ::rusqlite::Result<i128> { row.get::<_, i64>(column).map(i128::from) };
    Ok(JournalEntry {
        id: JournalId(row.get::<_, i64>(0)?.to_string()),
        at_ms: amount(row, 1)?,
        kind: text(row, 2)?,
        account: text(row, 3)?,
        cause: row.get(4)?,
        key: optional_text(row, 5)?,
        project: optional_text(row, 6)?,
        model: row.get(7)?,
        work: optional_text(row, 19)?,
        operator: optional_text(row, 8)?,
        receipt: optional_text(row, 9)?,
        receipt_digest: blob(row, 10)?,
        usage: usage(row, 11)?,
        amount: signed(15)?,
        shortfall: NanoTon(amount(row, 16)?),
        operator_amount: signed(17)?,
        platform_amount: signed(18)?,
    })
}
