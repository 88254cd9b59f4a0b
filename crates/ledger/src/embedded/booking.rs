//! Money that comes in: deposits and test credit.

use ::rusqlite::{Connection, params};
use cocoon_receipts::NanoTon;

use crate::embedded::book::Book;
use crate::embedded::clock::Clock;
use crate::embedded::journal::{self, Entry};
use crate::embedded::{integer, natural, sqlite_error};
use crate::{Booked, Credit, Grant, JournalKind, LedgerError, Shard};

pub(super) const DEPOSIT: &str = "INSERT OR IGNORE INTO deposit (shard, cause) VALUES (?1, ?2)";
pub(super) const GRANT: &str = "INSERT OR IGNORE INTO test_credit (shard, cause) VALUES (?1, ?2)";

pub(super) fn credit(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    credit: &Credit,
) -> Result<Booked, LedgerError> {
    let cause = credit.cause();
    if !first_time(connection, DEPOSIT, shard, &cause)? {
        return Ok(Booked::Already);
    }
    let mut book = Book::open(connection, clock, shard, &credit.account)?;
    let amount = integer(credit.amount.0)?;
    book.deposit(amount);
    finish(book, JournalKind::Deposit, &cause, amount)
}

pub(super) fn grant(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    grant: &Grant,
) -> Result<Booked, LedgerError> {
    let cause = grant.id.to_string();
    if !first_time(connection, GRANT, shard, &cause)? {
        return Ok(Booked::Already);
    }
    let mut book = Book::open(connection, clock, shard, &grant.account)?;
    let amount = integer(grant.amount.0)?;
    book.grant(amount);
    finish(book, JournalKind::Grant, &cause, amount)
}

fn finish(mut book: Book<'_>, kind: JournalKind, cause: &str, amount: i64) -> Result<Booked, LedgerError> {
    journal::append(&mut book, &Entry::booked(kind, cause, amount))?;
    let balance = NanoTon(natural(book.account.balance)?);
    book.close()?;
    Ok(Booked::Booked { balance })
}

/// Remembers a cause; whether it was not known before.
pub(super) fn first_time(
    connection: &Connection,
    insert: &str,
    shard: Shard,
    cause: &str,
) -> Result<bool, LedgerError> {
    let rows = connection
        .prepare_cached(insert)
        .and_then(|mut add| add.execute(params![shard.0, cause]))
        .map_err(sqlite_error)?;
    Ok(rows == 1)
}
