//! Records to rows.

use ::rusqlite::{Connection, ToSql, params};
use cocoon_receipts::Digest;

use crate::embedded::account_row::{self, AccountState};
use crate::embedded::book::{self, Sums};
use crate::embedded::booking::{DEPOSIT, GRANT, first_time};
use crate::embedded::holds::{self, CheckpointRow, Lease};
use crate::embedded::journal::{self, At, Entry};
use crate::embedded::requests::{self, Note};
use crate::embedded::usages::{self, Of};
use crate::embedded::withdrawals::Intent;
use crate::embedded::{
    aside, channels, clock, documents, integer, key_registry, reading, retention, settle, sqlite_error,
    treasury, used, withdrawals,
};
use crate::transfer::Part;
use crate::transfer::record::{AccountState as StateOf, Finished, Hold, Recent, Record, ShardState, UsageOf};
use crate::treasury::TREASURY;
use crate::{ChainHead, JournalEntry, JournalId, Kept, KeptDocument, LedgerError, Shard};

pub(super) fn all(connection: &Connection, part: Part, records: &[Record]) -> Result<(), LedgerError> {
    records.iter().try_for_each(|record| match part {
        Part::Shared => shared(connection, record),
        Part::Shard(shard) => one(connection, shard, record),
    })
}

fn shared(connection: &Connection, record: &Record) -> Result<(), LedgerError> {
    match record {
        Record::Keyset(of) => reading::put_keyset(connection, Digest::of(&[&of.bytes]), &of.bytes),
        Record::Document(of) => {
            let document =
                KeptDocument { nonce: of.nonce.0, verified_at: of.verified_at, bytes: of.bytes.clone() };
            documents::put(connection, of.keyset, &document)
        }
        other => Err(other.misplaced()),
    }
}

fn one(connection: &Connection, shard: Shard, record: &Record) -> Result<(), LedgerError> {
    match record {
        Record::Shard(state) => shard_state(connection, state),
        Record::Account(of) => account(connection, shard, of),
        Record::Hold(hold) => open_hold(connection, shard, hold),
        Record::Finished(of) => holds::finish(connection, shard, of.request, &finished(of)?),
        Record::Receipt(of) => {
            settle::remember_receipt(connection, shard, of.receipt, integer(of.charged.0)?)
        }
        Record::Aside(of) => aside::set_aside(connection, shard, of),
        Record::Deposit(cause) => first_time(connection, DEPOSIT, shard, cause).map(drop),
        Record::Grant(id) => first_time(connection, GRANT, shard, &id.to_string()).map(drop),
        Record::Retention(kept) => keep(connection, shard, kept),
        Record::Journal(entry) => append(connection, shard, entry),
        Record::Withdrawal(of) => {
            let intent = Intent {
                account: of.account.clone(),
                amount: of.amount.0,
                address: of.address.clone(),
                state: of.state,
            };
            withdrawals::insert(connection, shard, of.intent, &intent)
        }
        Record::Payout(of) => withdrawals::save_payout(connection, shard, &of.account, &of.payout),
        Record::Decision(of) if shard == TREASURY => treasury::insert(connection, shard, of.number, &of.text),
        Record::Channel(channel) => channels::insert(connection, shard, channel),
        Record::Cap(cap) => key_registry::set_cap(connection, shard, &cap.account, &cap.name, &cap.value),
        Record::Key(record) => key_registry::insert(connection, shard, record),
        Record::Project(of) => {
            key_registry::insert_project(connection, shard, &of.account, &of.id, of.created).map(drop)
        }
        Record::Used(of) => used::save(connection, shard, &of.account, &used::name_of(&of.whose), of.numbers),
        Record::Usage(of) => usage(connection, shard, of),
        Record::Recent(recent) => note(connection, shard, recent),
        Record::KeptReceipt(kept) => requests::keep(connection, shard, kept),
        other @ (Record::Keyset(_) | Record::Document(_) | Record::Decision(_)) => Err(other.misplaced()),
    }
}

fn shard_state(connection: &Connection, state: &ShardState) -> Result<(), LedgerError> {
    let totals = &state.totals;
    let sums = Sums {
        balances: integer(totals.balances.0)?,
        held: integer(totals.held.0)?,
        deposits: integer(totals.deposits.0)?,
        grants: integer(totals.grants.0)?,
        charges: integer(totals.charges.0)?,
        shortfall: integer(totals.shortfall.0)?,
        platform: signed(totals.platform)?,
        open_holds: integer(totals.open_holds)?,
        too_old: integer(totals.too_old)?,
        withdrawing: integer(totals.withdrawing.0)?,
        withdrawn: integer(totals.withdrawn.0)?,
    };
    let last_entry = state.last_entry.as_ref().map_or(Ok(None), count_of)?.unwrap_or(0);
    book::save_shard(connection, state.shard, state.last_ms, last_entry, &sums)?;
    for each in &totals.operators {
        let sql = "INSERT INTO operator (shard, operator, accrued, reversed) VALUES (?1, ?2, ?3, ?4)";
        let row = params![
            state.shard.0,
            each.operator.as_str(),
            integer(each.accrued.0)?,
            integer(each.reversed.0)?
        ];
        execute(connection, sql, row)?;
    }
    if let Some(at_ms) = state.test_ms {
        clock::set_test_time(connection, at_ms)?;
    }
    match &state.withdrawals_stopped {
        Some(reason) => withdrawals::stop(connection, state.shard, reason),
        None => Ok(()),
    }
}

fn account(connection: &Connection, shard: Shard, of: &StateOf) -> Result<(), LedgerError> {
    let state = &of.state;
    let row = AccountState {
        balance: integer(state.balance.0)?,
        held: integer(state.held.0)?,
        deposited: integer(state.deposited.0)?,
        granted: integer(state.granted.0)?,
        charged: integer(state.charged.0)?,
        shortfall: integer(state.shortfall.0)?,
        open_holds: integer(state.open_holds)?,
        withdrawing: integer(state.withdrawing.0)?,
        withdrawn: integer(state.withdrawn.0)?,
    };
    account_row::save(connection, shard, &of.account, &row)
}

fn open_hold(connection: &Connection, shard: Shard, of: &Hold) -> Result<(), LedgerError> {
    let hold = holds::Hold {
        account: of.account.clone(),
        key: of.key.clone(),
        project: of.project.clone(),
        model: of.model.clone(),
        work: of.work,
        amount: integer(of.amount.0)?,
        due_ms: of.due_ms,
        reserved_ms: of.reserved_ms,
        lease_end_ms: of.lease_end_ms,
        took: of.took,
        attempt: of.attempt,
        keyset: of.keyset,
        checkpoint: None,
    };
    holds::insert(connection, shard, of.request, &hold)?;
    let lease = Lease { end_ms: of.lease_end_ms, due_ms: of.due_ms };
    if let Some(keyset) = of.keyset {
        holds::bind(connection, shard, of.request, of.attempt, keyset, lease)?;
    }
    let Some(last) = &of.checkpoint else { return Ok(()) };
    let row = CheckpointRow {
        cost: integer(last.cost.0)?,
        operator: last.operator.clone(),
        operator_part: integer(last.operator_part.0)?,
        usage: last.usage,
    };
    holds::checkpoint(connection, shard, of.request, &row, lease)
}

fn finished(of: &Finished) -> Result<holds::Finished, LedgerError> {
    Ok(holds::Finished {
        state: of.state,
        account: of.account.clone(),
        attempt: of.attempt,
        keyset: of.keyset,
        charged: integer(of.charged.0)?,
        operator: of.operator.clone(),
        operator_part: integer(of.operator_part.0)?,
        usage: of.usage,
        reserved_ms: of.reserved_ms,
    })
}

/// Ids of a Redis that are no counts have none here, but that of the last archived entry: it is the last of so many.
fn keep(connection: &Connection, shard: Shard, kept: &Kept) -> Result<(), LedgerError> {
    let counted = |id: &JournalId| match count_of(id)? {
        Some(count) => Ok(JournalId(count.to_string())),
        None => Err(LedgerError::Configuration(
            "the journal of this Redis has readers or was trimmed: SQLite cannot number what is left of it"
                .to_owned(),
        )),
    };
    let of_all = |head: &ChainHead| {
        let whole = kept.trimmed.is_none() && kept.cursors.is_empty();
        if whole { Ok(JournalId(head.entries.to_string())) } else { counted(&head.at) }
    };
    retention::restore(connection, shard, &kept.with_ids(counted, of_all)?)
}

/// Under its count, where it has one, or the one after the last.
fn append(connection: &Connection, shard: Shard, entry: &JournalEntry) -> Result<(), LedgerError> {
    let last: i64 = connection
        .prepare_cached("SELECT coalesce(max(id), 0) FROM journal WHERE shard = ?1")
        .and_then(|mut last| last.query_row([shard.0], |row| row.get(0)))
        .map_err(sqlite_error)?;
    let id = match count_of(&entry.id)? {
        Some(count) if count > last => count,
        Some(_) => return Err(LedgerError::Corrupt(format!("journal entry {} after {last}", entry.id.0))),
        None => last + 1,
    };
    let row = Entry {
        kind: entry.kind,
        cause: &entry.cause,
        key: entry.key.as_ref(),
        project: entry.project.as_ref(),
        model: entry.model.as_deref(),
        work: entry.work,
        operator: entry.operator.as_ref(),
        receipt: entry.receipt.zip(entry.receipt_digest),
        usage: entry.usage.as_ref(),
        amount: signed(entry.amount)?,
        shortfall: integer(entry.shortfall.0)?,
        operator_amount: signed(entry.operator_amount)?,
        platform_amount: signed(entry.platform_amount)?,
    };
    journal::insert(connection, At { shard, id, at_ms: entry.at_ms, account: &entry.account }, &row)?;
    let sql = "UPDATE shard SET last_entry = max(last_entry, ?2) WHERE shard = ?1";
    execute(connection, sql, params![shard.0, id])
}

/// The count that an id is here or was before it went into a Redis (`0-n`); none where it was made there.
fn count_of(id: &JournalId) -> Result<Option<i64>, LedgerError> {
    let (place, sequence) = id.place()?;
    match (id.0.contains('-'), place) {
        (false, count) => integer(count).map(Some),
        (true, 0) => integer(sequence).map(Some),
        (true, _) => Ok(None),
    }
}

fn usage(connection: &Connection, shard: Shard, of: &UsageOf) -> Result<(), LedgerError> {
    let whose = Of { key: &of.key, project: of.project.as_ref(), model: &of.model, work: of.work };
    usages::add_to(connection, shard, &of.account, (of.width, of.from_ms), whose, of.tally)
}

fn note(connection: &Connection, shard: Shard, recent: &Recent) -> Result<(), LedgerError> {
    let note = Note {
        account: &recent.account,
        at_ms: recent.at_ms,
        request: recent.request,
        receipt: recent.receipt,
        of: Of {
            key: &recent.key,
            project: recent.project.as_ref(),
            model: &recent.model,
            work: recent.work,
        },
        usage: &recent.usage,
        charged: integer(recent.charged.0)?,
    };
    requests::note(connection, shard, &note)
}

fn signed(amount: i128) -> Result<i64, LedgerError> {
    i64::try_from(amount).map_err(|_| LedgerError::Overflow)
}

fn execute(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<(), LedgerError> {
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.execute(values))
        .map(drop)
        .map_err(sqlite_error)
}
