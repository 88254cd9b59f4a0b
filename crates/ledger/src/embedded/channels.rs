//! Payment channels: one row for each, beside its account.

use ::rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon};

use crate::channels::{check_name, check_opening, check_voucher};
use crate::embedded::book::Book;
use crate::embedded::clock::Clock;
use crate::embedded::columns::{amount, text};
use crate::embedded::journal::{self, Entry};
use crate::embedded::{Embedded, integer, reading, sqlite_error};
use crate::{
    Account, Channel, ChannelOpened, ChannelOpening, Channels, JournalKind, KeptVoucher, LedgerError,
    MAX_CHANNELS, Raised, Shard,
};

#[async_trait]
impl Channels for Embedded {
    async fn open_channel(&self, opening: &ChannelOpening) -> Result<ChannelOpened, LedgerError> {
        check_opening(opening)?;
        let (shard, opening) = (self.shards.of(&opening.account), opening.clone());
        self.writer.run(move |connection| open(connection, shard, opening)).await
    }

    async fn channel(&self, account: &AccountId) -> Result<Option<Channel>, LedgerError> {
        check_name(account)?;
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer.run_soon(move |connection| find(connection, shard, &account)).await
    }

    async fn raise_ceiling(&self, account: &AccountId, voucher: &KeptVoucher) -> Result<Raised, LedgerError> {
        check_voucher(account, voucher)?;
        let (clock, shard) = (self.clock, self.shards.of(account));
        let (account, voucher) = (account.clone(), voucher.clone());
        self.writer.run_soon(move |connection| raise(connection, clock, shard, &account, &voucher)).await
    }

    async fn close_channel(&self, account: &AccountId) -> Result<bool, LedgerError> {
        check_name(account)?;
        let (shard, account) = (self.shards.of(account), account.clone());
        self.writer
            .run(move |connection| {
                let sql = "UPDATE channel SET closed = 1 WHERE shard = ?1 AND account = ?2";
                execute(connection, sql, params![shard.0, account.as_str()]).map(|rows| rows == 1)
            })
            .await
    }

    async fn channels(
        &self,
        shard: Shard,
        after: Option<&AccountId>,
        limit: u32,
    ) -> Result<Vec<(Channel, Account)>, LedgerError> {
        let after = after.map_or_else(String::new, AccountId::to_string);
        self.writer
            .run_soon(move |connection| {
                page(connection, shard, &after, limit.min(MAX_CHANNELS))?
                    .into_iter()
                    .map(|channel| {
                        let account = reading::account(connection, shard, &channel.account)?;
                        Ok((channel, account))
                    })
                    .collect()
            })
            .await
    }
}

fn open(
    connection: &Connection,
    shard: Shard,
    opening: ChannelOpening,
) -> Result<ChannelOpened, LedgerError> {
    let ChannelOpening { account, payer_key, deposited, settled: base } = opening;
    let Some(known) = find(connection, shard, &account)? else {
        let channel = Channel { account, payer_key, deposited, base, voucher: None, closed: false };
        insert(connection, shard, &channel)?;
        return Ok(ChannelOpened::Open);
    };
    if known.payer_key != payer_key {
        return Ok(ChannelOpened::OtherKey);
    }
    if known.closed {
        return Ok(ChannelOpened::Closed);
    }
    if deposited > known.deposited {
        let sql = "UPDATE channel SET deposited = ?3 WHERE shard = ?1 AND account = ?2";
        execute(connection, sql, params![shard.0, account.as_str(), integer(deposited.0)?])?;
    }
    Ok(ChannelOpened::Open)
}

fn raise(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    account: &AccountId,
    voucher: &KeptVoucher,
) -> Result<Raised, LedgerError> {
    let Some(channel) = find(connection, shard, account)? else { return Ok(Raised::Unknown) };
    if channel.closed {
        return Ok(Raised::Closed);
    }
    let (ceiling, cumulative) = (channel.ceiling(), voucher.cumulative);
    if cumulative <= ceiling {
        return Ok(Raised::Known);
    }
    if cumulative > channel.deposited {
        return Ok(Raised::AboveDeposit { deposited: channel.deposited });
    }
    let by = cumulative.0 - ceiling.0;
    let mut book = Book::open(connection, clock, shard, account)?;
    let (added, cause) = (integer(by)?, cumulative.to_string());
    book.deposit(added);
    journal::append(&mut book, &Entry::booked(JournalKind::Voucher, &cause, added))?;
    book.close()?;
    let sql = "UPDATE channel SET cumulative = ?3, signature = ?4 WHERE shard = ?1 AND account = ?2";
    let values = params![shard.0, account.as_str(), integer(cumulative.0)?, voucher.signature];
    execute(connection, sql, values)?;
    Ok(Raised::Raised { by: NanoTon(by) })
}

fn find(connection: &Connection, shard: Shard, account: &AccountId) -> Result<Option<Channel>, LedgerError> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM channel WHERE shard = ?1 AND account = ?2"))
        .and_then(|mut get| get.query_row(params![shard.0, account.as_str()], row).optional())
        .map_err(sqlite_error)
}

fn page(connection: &Connection, shard: Shard, after: &str, limit: u32) -> Result<Vec<Channel>, LedgerError> {
    let sql =
        format!("SELECT {COLUMNS} FROM channel WHERE shard = ?1 AND account > ?2 ORDER BY account LIMIT ?3");
    let mut next = connection.prepare_cached(&sql).map_err(sqlite_error)?;
    next.query_map(params![shard.0, after, limit], row).and_then(Iterator::collect).map_err(sqlite_error)
}

/// What [`row`] reads.
pub(super) const COLUMNS: &str = "account, payer_key, deposited, base, cumulative, signature, closed";

/// From [`COLUMNS`].
pub(super) fn row(row: &Row<'_>) -> ::rusqlite::Result<Channel> {
    let voucher = match row.get(5)? {
        Some(signature) => Some(KeptVoucher { cumulative: NanoTon(amount(row, 4)?), signature }),
        None => None,
    };
    Ok(Channel {
        account: text(row, 0)?,
        payer_key: row.get(1)?,
        deposited: NanoTon(amount(row, 2)?),
        base: NanoTon(amount(row, 3)?),
        voucher,
        closed: row.get(6)?,
    })
}

pub(super) fn insert(connection: &Connection, shard: Shard, channel: &Channel) -> Result<(), LedgerError> {
    let Channel { account, payer_key, deposited, base, voucher, closed } = channel;
    let (deposited, base) = (integer(deposited.0)?, integer(base.0)?);
    let cumulative = voucher.as_ref().map(|voucher| integer(voucher.cumulative.0)).transpose()?;
    let signature = voucher.as_ref().map(|voucher| voucher.signature);
    let sql =
        "INSERT INTO channel (shard, account, payer_key, deposited, base, cumulative, signature, closed)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values =
        params![shard.0, account.as_str(), payer_key, deposited, base, cumulative, signature, closed];
    execute(connection, sql, values).map(drop)
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize, LedgerError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(sqlite_error)
}
