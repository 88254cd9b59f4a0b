//! The books at one moment: what one operation reads belongs together.

use std::collections::BTreeMap;

use ::rusqlite::{Connection, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon};

use crate::embedded::book::shard_row;
use crate::embedded::columns::{amount, text};
use crate::embedded::{Embedded, integer, journal, natural, reading, sqlite_error};
use crate::{Account, Books, Cut, Holds, JournalEntry, JournalId, LedgerError, OpenHold, Shard, Totals};

#[async_trait]
impl Books for Embedded {
    async fn account_names(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<AccountId>, LedgerError> {
        let after = after.map_or_else(String::new, AccountId::to_string);
        self.writer
            .run_soon(move |connection| {
                let mut names = connection
                    .prepare_cached(
                        "SELECT account FROM account WHERE shard = ?1 AND account > ?2 ORDER BY account LIMIT ?3",
                    )
                    .map_err(sqlite_error)?;
                names
                    .query_map(params![shard.0, after, limit], |row| text(row, 0))
                    .and_then(Iterator::collect)
                    .map_err(sqlite_error)
            })
            .await
    }

    async fn accounts_at(
        &self,
        shard: Shard,
        accounts: &[AccountId],
    ) -> Result<Cut<Vec<Account>>, LedgerError> {
        let accounts = accounts.to_vec();
        self.writer
            .run_soon(move |connection| {
                let value = accounts
                    .iter()
                    .map(|name| reading::account(connection, shard, name))
                    .collect::<Result<_, _>>()?;
                Ok(Cut { at: position(connection, shard)?, value })
            })
            .await
    }

    async fn totals_at(&self, shard: Shard) -> Result<Cut<Totals>, LedgerError> {
        self.writer
            .run_soon(move |connection| {
                Ok(Cut { at: position(connection, shard)?, value: reading::totals(connection, shard)? })
            })
            .await
    }

    async fn holds(&self, shard: Shard) -> Result<Option<Holds>, LedgerError> {
        let clock = self.clock;
        self.writer
            .run_soon(move |connection| {
                let (sums, last_ms, _) = shard_row(connection, shard)?;
                Ok(Some(Holds {
                    now_ms: clock.now_ms(connection)?.max(last_ms),
                    holds: open_holds(connection, shard)?,
                    accounts: held(connection, shard)?,
                    held: NanoTon(natural(sums.held)?),
                    open_holds: natural(sums.open_holds)?,
                }))
            })
            .await
    }

    async fn last_entry(&self, shard: Shard) -> Result<Option<JournalEntry>, LedgerError> {
        self.writer
            .run_soon(move |connection| match position(connection, shard)? {
                Some(id) => at(connection, shard, &id),
                None => Ok(None),
            })
            .await
    }

    async fn entry(&self, shard: Shard, id: &JournalId) -> Result<Option<JournalEntry>, LedgerError> {
        let id = id.clone();
        self.writer.run_soon(move |connection| at(connection, shard, &id)).await
    }
}

fn position(connection: &Connection, shard: Shard) -> Result<Option<JournalId>, LedgerError> {
    let (_, _, last) = shard_row(connection, shard)?;
    Ok(if last == 0 { None } else { Some(JournalId(last.to_string())) })
}

fn at(connection: &Connection, shard: Shard, id: &JournalId) -> Result<Option<JournalEntry>, LedgerError> {
    let (place, _) = id.place()?;
    integer(place)?;
    let before = JournalId(place.saturating_sub(1).to_string());
    let found = journal::read(connection, shard, Some(&before), 1)?;
    Ok(found.into_iter().next().filter(|entry| entry.id == *id))
}

fn open_holds(connection: &Connection, shard: Shard) -> Result<Vec<OpenHold>, LedgerError> {
    let mut holds = connection
        .prepare_cached(
            "SELECT request, account, amount, due_ms FROM hold WHERE shard = ?1 ORDER BY due_ms, request",
        )
        .map_err(sqlite_error)?;
    holds
        .query_map([shard.0], |row| {
            Ok(OpenHold {
                request: text(row, 0)?,
                account: text(row, 1)?,
                amount: NanoTon(amount(row, 2)?),
                due_ms: amount(row, 3)?,
            })
        })
        .and_then(Iterator::collect)
        .map_err(sqlite_error)
}

fn held(connection: &Connection, shard: Shard) -> Result<BTreeMap<AccountId, (NanoTon, u64)>, LedgerError> {
    let mut accounts = connection
        .prepare_cached(
            "SELECT account, held, open_holds FROM account WHERE shard = ?1 AND (held <> 0 OR open_holds <> 0)",
        )
        .map_err(sqlite_error)?;
    accounts
        .query_map([shard.0], |row| Ok((text(row, 0)?, (NanoTon(amount(row, 1)?), amount(row, 2)?))))
        .and_then(Iterator::collect)
        .map_err(sqlite_error)
}
