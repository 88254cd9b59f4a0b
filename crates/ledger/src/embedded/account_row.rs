//! An account as its row has it.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use cocoon_receipts::AccountId;

use crate::embedded::sqlite_error;
use crate::{LedgerError, Shard};

#[derive(Debug, Clone, Default)]
pub(super) struct AccountState {
    pub(super) balance: i64,
    pub(super) held: i64,
    pub(super) deposited: i64,
    pub(super) granted: i64,
    pub(super) charged: i64,
    pub(super) shortfall: i64,
    pub(super) open_holds: i64,
    pub(super) withdrawing: i64,
    pub(super) withdrawn: i64,
}

impl AccountState {
    pub(super) fn available(&self) -> i64 {
        self.balance - self.held
    }
}

/// All zero where it was never seen.
pub(super) fn find(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
) -> Result<AccountState, LedgerError> {
    let found = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM account WHERE shard = ?1 AND account = ?2"))
        .and_then(|mut get| get.query_row(params![shard.0, account.as_str()], row).optional())
        .map_err(sqlite_error)?;
    Ok(found.unwrap_or_default())
}

/// What [`row`] reads.
pub(super) const COLUMNS: &str =
    "balance, held, deposited, granted, charged, shortfall, open_holds, withdrawing, withdrawn";

/// From [`COLUMNS`].
pub(super) fn row(row: &Row<'_>) -> ::rusqlite::Result<AccountState> {
    Ok(AccountState {
        balance: row.get(0)?,
        held: row.get(1)?,
        deposited: row.get(2)?,
        granted: row.get(3)?,
        charged: row.get(4)?,
        shortfall: row.get(5)?,
        open_holds: row.get(6)?,
        withdrawing: row.get(7)?,
        withdrawn: row.get(8)?,
    })
}

pub(super) fn save(
    connection: &Connection,
    shard: Shard,
    name: &AccountId,
    account: &AccountState,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO account
                 (shard, account, balance, held, deposited, granted, charged, shortfall, open_holds, withdrawing,
                  withdrawn)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )
        .and_then(|mut save| {
            save.execute(params![
                shard.0,
                name.as_str(),
                account.balance,
                account.held,
                account.deposited,
                account.granted,
                account.charged,
                account.shortfall,
                account.open_holds,
                account.withdrawing,
                account.withdrawn,
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}
