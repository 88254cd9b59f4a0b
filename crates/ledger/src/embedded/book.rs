//! One shard and one of its accounts, read at the start of an operation and written at its end.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use cocoon_receipts::{AccountId, OperatorId};

use crate::embedded::account_row::{self, AccountState};
use crate::embedded::clock::Clock;
use crate::embedded::{integer, natural, sqlite_error};
use crate::rules::{AMOUNT_LIMIT, SUM_LIMIT};
use crate::{LedgerError, Shard};

/// Sums over a shard's accounts.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    pub(super) balances: i64,
    pub(super) held: i64,
    pub(super) deposits: i64,
    pub(super) grants: i64,
    pub(super) charges: i64,
    pub(super) shortfall: i64,
    pub(super) platform: i64,
    pub(super) open_holds: i64,
    pub(super) too_old: i64,
    pub(super) withdrawing: i64,
    pub(super) withdrawn: i64,
}

/// What a charge or a correction moves.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Movement {
    /// From the account; negative for a refund.
    pub(super) taken: i64,
    pub(super) shortfall: i64,
    /// To the operator; negative where it is reversed.
    pub(super) operator: i64,
}

impl Movement {
    /// The remainder, so that nothing is lost to rounding.
    pub(super) fn platform(&self) -> i64 {
        self.taken + self.shortfall - self.operator
    }
}

#[derive(Debug)]
pub(super) struct Book<'c> {
    pub(super) connection: &'c Connection,
    pub(super) shard: Shard,
    pub(super) name: AccountId,
    pub(super) now_ms: u64,
    pub(super) last_entry: i64,
    pub(super) account: AccountState,
    sums: Sums,
}

impl<'c> Book<'c> {
    pub(super) fn open(
        connection: &'c Connection,
        clock: Clock,
        shard: Shard,
        account: &AccountId,
    ) -> Result<Self, LedgerError> {
        let (sums, last_ms, last_entry) = shard_row(connection, shard)?;
        Ok(Self {
            connection,
            shard,
            name: account.clone(),
            now_ms: clock.now_ms(connection)?.max(last_ms),
            last_entry,
            account: account_row::find(connection, shard, account)?,
            sums,
        })
    }

    pub(super) fn deposit(&mut self, amount: i64) {
        self.account.balance += amount;
        self.account.deposited += amount;
        self.sums.balances += amount;
        self.sums.deposits += amount;
    }

    pub(super) fn grant(&mut self, amount: i64) {
        self.account.balance += amount;
        self.account.granted += amount;
        self.sums.balances += amount;
        self.sums.grants += amount;
    }

    /// From the balance to what is being paid out; back where negative.
    pub(super) fn withdraw(&mut self, amount: i64) {
        self.account.balance -= amount;
        self.account.withdrawing += amount;
        self.sums.balances -= amount;
        self.sums.withdrawing += amount;
    }

    pub(super) fn pay_out(&mut self, amount: i64) {
        self.account.withdrawing -= amount;
        self.account.withdrawn += amount;
        self.sums.withdrawing -= amount;
        self.sums.withdrawn += amount;
    }

    pub(super) fn hold(&mut self, amount: i64) {
        self.account.held += amount;
        self.account.open_holds += 1;
        self.sums.held += amount;
        self.sums.open_holds += 1;
    }

    pub(super) fn give_back(&mut self, amount: i64) {
        self.account.held -= amount;
        self.account.open_holds -= 1;
        self.sums.held -= amount;
        self.sums.open_holds -= 1;
    }

    pub(super) fn charge(&mut self, movement: Movement, operator: &OperatorId) -> Result<(), LedgerError> {
        self.account.balance -= movement.taken;
        self.account.charged += movement.taken;
        self.account.shortfall += movement.shortfall;
        self.sums.balances -= movement.taken;
        self.sums.charges += movement.taken;
        self.sums.shortfall += movement.shortfall;
        self.sums.platform += movement.platform();
        if movement.operator == 0 { Ok(()) } else { self.accrue(operator, movement.operator) }
    }

    pub(super) fn refuse_for_age(&mut self) {
        self.sums.too_old += 1;
    }

    pub(super) fn refused_for_age(&self) -> i64 {
        self.sums.too_old
    }

    /// Both are counters that only grow.
    fn accrue(&self, operator: &OperatorId, part: i64) -> Result<(), LedgerError> {
        let (accrued, reversed): (i64, i64) = self
            .connection
            .prepare_cached(
                "INSERT INTO operator (shard, operator, accrued, reversed) VALUES (?1, ?2, max(?3, 0), max(-?3, 0))
                 ON CONFLICT (shard, operator) DO UPDATE SET
                     accrued = accrued + excluded.accrued, reversed = reversed + excluded.reversed
                 RETURNING accrued, reversed",
            )
            .and_then(|mut add| {
                add.query_row(params![self.shard.0, operator.as_str(), part], |row| Ok((row.get(0)?, row.get(1)?)))
            })
            .map_err(sqlite_error)?;
        if accrued < SUM_LIMIT && reversed < SUM_LIMIT { Ok(()) } else { Err(LedgerError::Overflow) }
    }

    /// Writes what changed, or refuses numbers that became too large.
    pub(super) fn close(self) -> Result<(), LedgerError> {
        let limit = i64::try_from(AMOUNT_LIMIT).unwrap_or(i64::MAX);
        let sums = &self.sums;
        let large = [sums.balances, sums.deposits, sums.grants, sums.charges, sums.shortfall, sums.withdrawn];
        if self.account.balance >= limit || large.iter().any(|sum| *sum >= SUM_LIMIT) {
            return Err(LedgerError::Overflow);
        }
        account_row::save(self.connection, self.shard, &self.name, &self.account)?;
        save_shard(self.connection, self.shard, self.now_ms, self.last_entry, sums)
    }
}

pub(super) fn save_shard(
    connection: &Connection,
    shard: Shard,
    last_ms: u64,
    last_entry: i64,
    sums: &Sums,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE shard SET last_ms = ?2, last_entry = ?3, balances = ?4, held = ?5, deposits = ?6, grants = ?7,
                 charges = ?8, shortfall = ?9, platform = ?10, open_holds = ?11, too_old = ?12,
                 withdrawing = ?13, withdrawn = ?14
             WHERE shard = ?1",
        )
        .and_then(|mut save| {
            save.execute(params![
                shard.0,
                i64::try_from(last_ms).unwrap_or(i64::MAX),
                last_entry,
                sums.balances,
                sums.held,
                sums.deposits,
                sums.grants,
                sums.charges,
                sums.shortfall,
                sums.platform,
                sums.open_holds,
                sums.too_old,
                sums.withdrawing,
                sums.withdrawn,
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}

/// Sums, last time and last journal id of a shard.
pub(super) fn shard_row(connection: &Connection, shard: Shard) -> Result<(Sums, u64, i64), LedgerError> {
    let read = |row: &Row<'_>| -> ::rusqlite::Result<(Sums, i64, i64)> {
        let sums = Sums {
            balances: row.get(2)?,
            held: row.get(3)?,
            deposits: row.get(4)?,
            grants: row.get(5)?,
            charges: row.get(6)?,
            shortfall: row.get(7)?,
            platform: row.get(8)?,
            open_holds: row.get(9)?,
            too_old: row.get(10)?,
            withdrawing: row.get(11)?,
            withdrawn: row.get(12)?,
        };
        Ok((sums, row.get(0)?, row.get(1)?))
    };
    let (sums, last_ms, last_entry) = connection
        .prepare_cached(
            "SELECT last_ms, last_entry, balances, held, deposits, grants, charges, shortfall, platform, open_holds,
                 too_old, withdrawing, withdrawn
             FROM shard WHERE shard = ?1",
        )
        .and_then(|mut get| get.query_row([shard.0], read).optional())
        .map_err(sqlite_error)?
        .ok_or_else(|| LedgerError::Configuration(format!("there is no shard {shard}")))?;
    Ok((sums, natural(last_ms)?, last_entry))
}

/// Time moves on for the shard even where nothing else does.
pub(super) fn touch(connection: &Connection, shard: Shard, now_ms: u64) -> Result<(), LedgerError> {
    let now_ms = integer(now_ms)?;
    connection
        .prepare_cached("UPDATE shard SET last_ms = max(last_ms, ?2) WHERE shard = ?1")
        .and_then(|mut save| save.execute([i64::from(shard.0), now_ms]))
        .map_err(sqlite_error)?;
    Ok(())
}
