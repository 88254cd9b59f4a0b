//! Withdrawals: an account's address, and one row for every intent.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use crate::embedded::book::{Book, Movement};
use crate::embedded::clock::Clock;
use crate::embedded::columns::{amount, optional_text, text};
use crate::embedded::journal::{self, Entry};
use crate::embedded::{Embedded, integer, lease, reading, sqlite_error};
use crate::rules::check_amount;
use crate::withdrawals::{State, check_reason};
use crate::{
    JournalKind, LedgerError, Payout, PendingAddress, Shard, TonAddress, Withdrawal, WithdrawalBegun,
    WithdrawalEnded, WithdrawalRefusal, Withdrawals, is_channel,
};

#[async_trait]
impl Withdrawals for Embedded {
    async fn set_payout_address(
        &self,
        account: &AccountId,
        address: &TonAddress,
    ) -> Result<Payout, LedgerError> {
        let (clock, shard) = (self.clock, self.shards.of(account));
        let (account, address) = (account.clone(), address.clone());
        self.writer
            .run(move |connection| {
                let now_ms = lease::shard_time(connection, clock, shard)?;
                let set = payout(connection, shard, &account)?.set(&address, now_ms);
                save_payout(connection, shard, &account, &set)?;
                Ok(set)
            })
            .await
    }

    async fn payout(&self, account: &AccountId) -> Result<Payout, LedgerError> {
        let (clock, shard, account) = (self.clock, self.shards.of(account), account.clone());
        self.writer
            .run(move |connection| {
                let now_ms = lease::shard_time(connection, clock, shard)?;
                Ok(payout(connection, shard, &account)?.at(now_ms))
            })
            .await
    }

    async fn withdraw_begin(&self, withdrawal: &Withdrawal) -> Result<WithdrawalBegun, LedgerError> {
        check_amount(withdrawal.amount)?;
        if is_channel(&withdrawal.account) {
            return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::OfChannel));
        }
        let (clock, shard) = (self.clock, self.shards.of(&withdrawal.account));
        let withdrawal = withdrawal.clone();
        self.writer.run(move |connection| begin(connection, clock, shard, &withdrawal)).await
    }

    async fn withdraw_done(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        let (clock, shard, account) = (self.clock, self.shards.of(account), account.clone());
        self.writer.run(move |connection| end(connection, clock, shard, &account, intent, State::Done)).await
    }

    async fn withdraw_undo(
        &self,
        account: &AccountId,
        intent: RequestId,
    ) -> Result<WithdrawalEnded, LedgerError> {
        let (clock, shard, account) = (self.clock, self.shards.of(account), account.clone());
        self.writer
            .run(move |connection| end(connection, clock, shard, &account, intent, State::Undone))
            .await
    }

    async fn stop_withdrawals(&self, shard: Shard, reason: &str) -> Result<(), LedgerError> {
        check_reason(reason)?;
        let reason = reason.to_owned();
        self.writer.run(move |connection| stop(connection, shard, &reason)).await
    }

    async fn withdrawals_stopped(&self, shard: Shard) -> Result<Option<String>, LedgerError> {
        self.writer.run_soon(move |connection| stopped(connection, shard)).await
    }

    async fn resume_withdrawals(&self, shard: Shard) -> Result<(), LedgerError> {
        self.writer
            .run(move |connection| {
                execute(connection, "DELETE FROM withdrawals_stopped WHERE shard = ?1", params![shard.0])
            })
            .await
    }
}

/// One withdrawal.
pub(super) struct Intent {
    pub(super) account: AccountId,
    pub(super) amount: u64,
    pub(super) address: TonAddress,
    pub(super) state: State,
}

fn begin(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    withdrawal: &Withdrawal,
) -> Result<WithdrawalBegun, LedgerError> {
    if let Some(intent) = find(connection, shard, withdrawal.intent)? {
        if intent.account != withdrawal.account || intent.amount != withdrawal.amount.0 {
            return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::OtherIntent));
        }
        return Ok(match intent.state {
            State::Begun => WithdrawalBegun::Begun { address: intent.address },
            State::Done => WithdrawalBegun::Done,
            State::Undone => WithdrawalBegun::Undone,
        });
    }
    if let Some(reason) = stopped(connection, shard)? {
        return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::Stopped { reason }));
    }
    let mut book = Book::open(connection, clock, shard, &withdrawal.account)?;
    let payout = payout(connection, shard, &withdrawal.account)?.at(book.now_ms);
    let Some(address) = payout.current else {
        let from_ms = payout.pending.map(|pending| pending.from_ms);
        return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::NoAddress { from_ms }));
    };
    let withdrawable = reading::account(connection, shard, &withdrawal.account)?.withdrawable();
    if withdrawal.amount > withdrawable || withdrawal.amount == NanoTon::ZERO {
        return Ok(WithdrawalBegun::Refused(WithdrawalRefusal::Insufficient { withdrawable }));
    }
    let (taken, cause) = (integer(withdrawal.amount.0)?, withdrawal.intent.to_string());
    book.withdraw(taken);
    journal::append(&mut book, &Entry::booked(JournalKind::Withdrawing, &cause, -taken))?;
    book.close()?;
    let intent = Intent {
        account: withdrawal.account.clone(),
        amount: withdrawal.amount.0,
        address: address.clone(),
        state: State::Begun,
    };
    insert(connection, shard, withdrawal.intent, &intent)?;
    Ok(WithdrawalBegun::Begun { address })
}

pub(super) fn insert(
    connection: &Connection,
    shard: Shard,
    id: RequestId,
    intent: &Intent,
) -> Result<(), LedgerError> {
    let Intent { account, amount, address, state } = intent;
    execute(
        connection,
        "INSERT INTO withdrawal (shard, intent, account, amount, address, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            shard.0,
            id.to_string(),
            account.as_str(),
            integer(*amount)?,
            address.as_str(),
            state.letter()
        ],
    )
}

fn end(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    account: &AccountId,
    id: RequestId,
    ending: State,
) -> Result<WithdrawalEnded, LedgerError> {
    let found = find(connection, shard, id)?.filter(|intent| intent.account == *account);
    let Some(intent) = found else { return Ok(WithdrawalEnded::Unknown) };
    if intent.state == ending {
        return Ok(WithdrawalEnded::Ended);
    }
    if intent.state != State::Begun {
        return Ok(WithdrawalEnded::Otherwise);
    }
    let mut book = Book::open(connection, clock, shard, account)?;
    let (taken, cause) = (integer(intent.amount)?, id.to_string());
    let entry = if ending == State::Undone {
        book.withdraw(-taken);
        Entry::booked(JournalKind::WithdrawalUndone, &cause, taken)
    } else {
        book.pay_out(taken);
        Entry::new(JournalKind::Withdrawn, &cause, Movement::default())
    };
    journal::append(&mut book, &entry)?;
    book.close()?;
    execute(
        connection,
        "UPDATE withdrawal SET state = ?3 WHERE shard = ?1 AND intent = ?2",
        params![shard.0, cause, ending.letter()],
    )?;
    Ok(WithdrawalEnded::Ended)
}

fn find(connection: &Connection, shard: Shard, intent: RequestId) -> Result<Option<Intent>, LedgerError> {
    let read = |row: &Row<'_>| -> ::rusqlite::Result<Intent> {
        Ok(Intent {
            account: text(row, 0)?,
            amount: amount(row, 1)?,
            address: text(row, 2)?,
            state: text(row, 3)?,
        })
    };
    connection
        .prepare_cached(
            "SELECT account, amount, address, state FROM withdrawal WHERE shard = ?1 AND intent = ?2",
        )
        .and_then(|mut get| get.query_row(params![shard.0, intent.to_string()], read).optional())
        .map_err(sqlite_error)
}

fn payout(connection: &Connection, shard: Shard, account: &AccountId) -> Result<Payout, LedgerError> {
    let found = connection
        .prepare_cached(&format!("SELECT {PAYOUT_COLUMNS} FROM payout WHERE shard = ?1 AND account = ?2"))
        .and_then(|mut get| get.query_row(params![shard.0, account.as_str()], payout_row).optional())
        .map_err(sqlite_error)?;
    Ok(found.unwrap_or_default())
}

/// What [`payout_row`] reads.
pub(super) const PAYOUT_COLUMNS: &str = "current, pending, pending_from";

/// From [`PAYOUT_COLUMNS`].
pub(super) fn payout_row(row: &Row<'_>) -> ::rusqlite::Result<Payout> {
    let pending = match optional_text(row, 1)? {
        Some(address) => Some(PendingAddress { address, from_ms: amount(row, 2)? }),
        None => None,
    };
    Ok(Payout { current: optional_text(row, 0)?, pending })
}

pub(super) fn save_payout(
    connection: &Connection,
    shard: Shard,
    account: &AccountId,
    payout: &Payout,
) -> Result<(), LedgerError> {
    let pending = payout.pending.as_ref();
    execute(
        connection,
        "INSERT OR REPLACE INTO payout (shard, account, current, pending, pending_from) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            shard.0,
            account.as_str(),
            payout.current.as_ref().map(TonAddress::as_str),
            pending.map(|pending| pending.address.as_str()),
            pending.map(|pending| integer(pending.from_ms)).transpose()?,
        ],
    )
}

pub(super) fn stop(connection: &Connection, shard: Shard, reason: &str) -> Result<(), LedgerError> {
    let sql = "INSERT OR REPLACE INTO withdrawals_stopped (shard, reason) VALUES (?1, ?2)";
    execute(connection, sql, params![shard.0, reason])
}

pub(super) fn stopped(connection: &Connection, shard: Shard) -> Result<Option<String>, LedgerError> {
    connection
        .prepare_cached("SELECT reason FROM withdrawals_stopped WHERE shard = ?1")
        .and_then(|mut get| get.query_row([shard.0], |row| row.get(0)).optional())
        .map_err(sqlite_error)
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ::rusqlite::ToSql]) -> Result<(), LedgerError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map(drop)
        .map_err(sqlite_error)
}
