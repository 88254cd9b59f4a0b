//! Usage buckets: one row for each width, key, project, model and kind of work.

use ::rusqlite::{Connection, Row, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, KeyId, ProjectId};

use crate::embedded::book::Book;
use crate::embedded::columns::{amount, text};
use crate::embedded::{Embedded, integer, sqlite_error};
use crate::rules::SUM_LIMIT;
use crate::{
    LedgerError, MAX_USAGE_ROWS, Shard, Tally, UsagePage, UsageQuery, UsageRow, Usages, Width, Work,
};

/// Rows of one width that one sweep deletes, so that none holds the file for long.
const FORGET: i64 = 500;

#[async_trait]
impl Usages for Embedded {
    async fn usage(&self, query: &UsageQuery) -> Result<UsagePage, LedgerError> {
        let (shard, query) = (self.shards.of(&query.account), query.clone());
        self.writer.run_soon(move |connection| read(connection, shard, &query, MAX_USAGE_ROWS)).await
    }
}

/// What [`row`] reads.
pub(super) const COLUMNS: &str =
    "from_ms, key, project, model, work, requests, prompt, cached, completion, reasoning, cost";

/// Whose usage it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) key: &'a KeyId,
    pub(super) project: Option<&'a ProjectId>,
    pub(super) model: &'a str,
    pub(super) work: Work,
}

/// Adds `tally` to the buckets of now.
pub(super) fn add(book: &Book<'_>, of: Of<'_>, tally: Tally) -> Result<(), LedgerError> {
    if tally == Tally::default() {
        return Ok(());
    }
    for width in Width::ALL {
        let from_ms = book.now_ms - book.now_ms % width.ms();
        add_to(book.connection, book.shard, &book.name, (width, from_ms), of, tally)?;
    }
    Ok(())
}

/// Adds it to the bucket of one width that begins at a time.
pub(super) fn add_to(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    (width, from_ms): (Width, u64),
    of: Of<'_>,
    tally: Tally,
) -> Result<(), LedgerError> {
    let most: i64 = connection
        .prepare_cached(
            "INSERT INTO usage (shard, account, width, from_ms, key, project, model, work,
                 requests, prompt, cached, completion, reasoning, cost)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
             ON CONFLICT DO UPDATE SET
                 requests = requests + excluded.requests, prompt = prompt + excluded.prompt,
                 cached = cached + excluded.cached, completion = completion + excluded.completion,
                 reasoning = reasoning + excluded.reasoning, cost = cost + excluded.cost
             RETURNING max(abs(prompt), abs(cached), abs(completion), abs(reasoning))",
        )
        .and_then(|mut add| {
            let row = params![
                shard.0,
                account.as_str(),
                i64::try_from(width.ms()).unwrap_or(i64::MAX),
                i64::try_from(from_ms).unwrap_or(i64::MAX),
                of.key.as_str(),
                of.project.map_or("", ProjectId::as_str),
                of.model,
                of.work.letter(),
                tally.requests,
                tally.prompt,
                tally.cached,
                tally.completion,
                tally.reasoning,
                tally.cost,
            ];
            add.query_row(row, |row| row.get(0))
        })
        .map_err(sqlite_error)?;
    if most < SUM_LIMIT { Ok(()) } else { Err(LedgerError::Overflow) }
}

fn read(
    connection: &Connection,
    shard: Shard,
    query: &UsageQuery,
    most: usize,
) -> Result<UsagePage, LedgerError> {
    let mut rows = between(connection, shard, query, query.from_ms, query.to_ms, most + 1)?;
    let mut next_ms = None;
    if rows.len() > most
        && let (Some(first), Some(last)) = (rows.first(), rows.last())
    {
        // The last bucket may be cut: it is left to the next page, unless it is all there is of this one.
        let (first_ms, last_ms) = (first.from_ms, last.from_ms);
        if first_ms < last_ms {
            rows.retain(|row| row.from_ms < last_ms);
            next_ms = Some(last_ms);
        } else {
            let end_ms = first_ms + query.width.ms();
            rows = between(connection, shard, query, first_ms, end_ms, usize::MAX)?;
            next_ms = Some(end_ms).filter(|end_ms| *end_ms < query.to_ms);
        }
    }
    rows.retain(|row| query.wants(row));
    Ok(UsagePage { rows, next_ms })
}

fn between(
    connection: &Connection,
    shard: Shard,
    query: &UsageQuery,
    from_ms: u64,
    to_ms: u64,
    limit: usize,
) -> Result<Vec<UsageRow>, LedgerError> {
    // What is beyond SQLite's integers is beyond any bucket.
    let bounded = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut rows = connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM usage
                 WHERE shard = ?1 AND account = ?2 AND width = ?3 AND from_ms >= ?4 AND from_ms < ?5
                 ORDER BY from_ms, key, project, model, work LIMIT ?6"
        ))
        .map_err(sqlite_error)?;
    let values = params![
        shard.0,
        query.account.as_str(),
        integer(query.width.ms())?,
        bounded(from_ms),
        bounded(to_ms),
        i64::try_from(limit).unwrap_or(i64::MAX),
    ];
    rows.query_map(values, row).and_then(Iterator::collect).map_err(sqlite_error)
}

/// From [`COLUMNS`].
pub(super) fn row(row: &Row<'_>) -> ::rusqlite::Result<UsageRow> {
    let project = match row.get_ref(2)?.as_str()? {
        "" => None,
        _ => Some(text(row, 2)?),
    };
    Ok(UsageRow {
        from_ms: amount(row, 0)?,
        key: text(row, 1)?,
        project,
        model: row.get(3)?,
        work: text(row, 4)?,
        tally: Tally {
            requests: row.get(5)?,
            prompt: row.get(6)?,
            cached: row.get(7)?,
            completion: row.get(8)?,
            reasoning: row.get(9)?,
            cost: row.get(10)?,
        },
    })
}

/// Drops buckets that are kept no longer, a bounded piece at a time.
pub(super) fn forget(connection: &Connection, shard: Shard, now_ms: u64) -> Result<(), LedgerError> {
    let mut delete = connection
        .prepare_cached(
            "DELETE FROM usage WHERE (shard, account, width, from_ms, key, project, model, work) IN
                 (SELECT shard, account, width, from_ms, key, project, model, work FROM usage
                  WHERE shard = ?1 AND width = ?2 AND from_ms < ?3 LIMIT ?4)",
        )
        .map_err(sqlite_error)?;
    for width in Width::ALL {
        let before = integer(now_ms.saturating_sub(width.kept_ms() + width.window_ms()))?;
        delete.execute(params![shard.0, integer(width.ms())?, before, FORGET]).map_err(sqlite_error)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_with_a_whole_bucket_however_large_that_is() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("usages.sql")).unwrap();
        let minute = Width::Minute.ms();
        for (bucket, keys) in [(0_i64, 1), (1, 2), (2, 4), (3, 1)] {
            for key in 0..keys {
                let row = params![bucket * 60_000, format!("key{key}")];
                let sql =
                    "INSERT INTO usage VALUES (0, 'alice', 60000, ?1, ?2, '', 'm', 'c', 1, 0, 0, 0, 0, 1)";
                connection.execute(sql, row).unwrap();
            }
        }
        let mut query = UsageQuery {
            account: "alice".parse().unwrap(),
            width: Width::Minute,
            from_ms: 0,
            to_ms: 4 * minute,
            keys: Vec::new(),
            projects: Vec::new(),
            models: Vec::new(),
            work: None,
        };
        let mut pages = Vec::new();
        loop {
            let page = read(&connection, Shard(0), &query, 3).unwrap();
            pages.push(page.rows.iter().map(|row| row.from_ms / minute).collect::<Vec<_>>());
            match page.next_ms {
                Some(next_ms) => query.from_ms = next_ms,
                None => break,
            }
        }
        assert_eq!(pages, [vec![0, 1, 1], vec![2, 2, 2, 2], vec![3]]);
    }
}
