//! What can be asked: accounts, sums, keysets.

use ::rusqlite::{Connection, OptionalExtension, params};
use cocoon_receipts::{AccountId, Digest, NanoTon};

use crate::embedded::account_row::{self, AccountState};
use crate::embedded::book::shard_row;
use crate::embedded::columns::{amount, text};
use crate::embedded::{natural, sqlite_error};
use crate::{Account, LedgerError, OperatorTotals, Shard, Totals};

pub(super) fn account(
    connection: &Connection,
    shard: Shard,
    name: &AccountId,
) -> Result<Account, LedgerError> {
    state_of(&account_row::find(connection, shard, name)?)
}

/// The account as its row has it.
pub(super) fn state_of(state: &AccountState) -> Result<Account, LedgerError> {
    Ok(Account {
        balance: NanoTon(natural(state.balance)?),
        held: NanoTon(natural(state.held)?),
        deposited: NanoTon(natural(state.deposited)?),
        granted: NanoTon(natural(state.granted)?),
        charged: NanoTon(natural(state.charged)?),
        shortfall: NanoTon(natural(state.shortfall)?),
        open_holds: natural(state.open_holds)?,
        withdrawing: NanoTon(natural(state.withdrawing)?),
        withdrawn: NanoTon(natural(state.withdrawn)?),
    })
}

pub(super) fn totals(connection: &Connection, shard: Shard) -> Result<Totals, LedgerError> {
    let (sums, _, _) = shard_row(connection, shard)?;
    let mut operators = connection
        .prepare_cached("SELECT operator, accrued, reversed FROM operator WHERE shard = ?1 ORDER BY operator")
        .map_err(sqlite_error)?;
    let operators = operators
        .query_map([shard.0], |row| {
            Ok(OperatorTotals {
                operator: text(row, 0)?,
                accrued: NanoTon(amount(row, 1)?),
                reversed: NanoTon(amount(row, 2)?),
            })
        })
        .and_then(Iterator::collect)
        .map_err(sqlite_error)?;
    Ok(Totals {
        balances: NanoTon(natural(sums.balances)?),
        held: NanoTon(natural(sums.held)?),
        deposits: NanoTon(natural(sums.deposits)?),
        grants: NanoTon(natural(sums.grants)?),
        charges: NanoTon(natural(sums.charges)?),
        shortfall: NanoTon(natural(sums.shortfall)?),
        platform: i128::from(sums.platform),
        operators,
        open_holds: natural(sums.open_holds)?,
        too_old: natural(sums.too_old)?,
        withdrawing: NanoTon(natural(sums.withdrawing)?),
        withdrawn: NanoTon(natural(sums.withdrawn)?),
    })
}

pub(super) fn put_keyset(connection: &Connection, digest: Digest, bytes: &[u8]) -> Result<(), LedgerError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO keyset (digest, bytes) VALUES (?1, ?2)")
        .and_then(|mut add| add.execute(params![digest.0, bytes]))
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn keyset(connection: &Connection, digest: Digest) -> Result<Option<Vec<u8>>, LedgerError> {
    connection
        .prepare_cached("SELECT bytes FROM keyset WHERE digest = ?1")
        .and_then(|mut get| get.query_row([digest.0], |row| row.get(0)).optional())
        .map_err(sqlite_error)
}
