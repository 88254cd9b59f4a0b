//! Rows to records.

use ::rusqlite::{Connection, Row};
use cocoon_receipts::{Digest, KeyId, NanoTon, RequestId};

use crate::embedded::book::shard_row;
use crate::embedded::columns::{amount, corrupt, optional_text, text, usage};
use crate::embedded::{
    account_row, channels, clock, holds, journal, natural, reading, requests, retention, sqlite_error,
    usages, used, withdrawals,
};
use crate::rules::SUM_LIMIT;
use crate::transfer::record::{
    AccountState, Aside, Cap, Checkpointed, Decision, Document, Finished, Hold, KeptReceiptOf, Keyset,
    PayoutOf, ProjectOf, Receipt, Recent, Record, ShardState, UsageOf, UsedOf, Withdrawal,
};
use crate::transfer::{Pages, Part};
use crate::used::{NAMES, NUMBERS};
use crate::{JournalId, Kept, KeyRecord, LedgerError, Shard, Width};

type Read = fn(&Row<'_>) -> ::rusqlite::Result<Record>;

pub(super) fn part(connection: &Connection, part: Part, mut pages: Pages) -> Result<(), LedgerError> {
    match part {
        Part::Shared => {
            each(connection, "SELECT bytes FROM keyset ORDER BY digest", None, keyset, &mut pages)?;
            let sql = "SELECT keyset, nonce, verified_at, bytes FROM document ORDER BY keyset";
            each(connection, sql, None, document, &mut pages)?;
        }
        Part::Shard(shard) => {
            pages.put_blocking(Record::Shard(Box::new(state(connection, shard)?)))?;
            let kept = retention::kept(connection, shard)?;
            if kept != Kept::default() {
                pages.put_blocking(Record::Retention(Box::new(kept)))?;
            }
            for (what, read) in of_a_shard() {
                let (columns, table, order) = what;
                let sql = format!("SELECT {columns} FROM {table} WHERE shard = ?1 ORDER BY {order}");
                each(connection, &sql, Some(shard), read, &mut pages)?;
            }
        }
    }
    pages.flush_blocking()
}

fn each(
    connection: &Connection,
    sql: &str,
    shard: Option<Shard>,
    read: Read,
    pages: &mut Pages,
) -> Result<(), LedgerError> {
    let mut statement = connection.prepare(sql).map_err(sqlite_error)?;
    let mut rows = match shard {
        Some(shard) => statement.query([shard.0]),
        None => statement.query([]),
    }
    .map_err(sqlite_error)?;
    while let Some(row) = rows.next().map_err(sqlite_error)? {
        pages.put_blocking(read(row).map_err(sqlite_error)?)?;
    }
    Ok(())
}

/// Columns, table and order, and what a row is: all tables of a shard but its own row and its operators'.
fn of_a_shard() -> [((String, &'static str, &'static str), Read); 19] {
    let plain = |columns: &str, table, order| (columns.to_owned(), table, order);
    let with = |first: &str, more: &str, table, order| (format!("{first}, {more}"), table, order);
    // The oldest that is remembered is the first.
    let order = "position + 1 - (SELECT min(first.position) FROM recent first \
                 WHERE first.shard = recent.shard AND first.account = recent.account)";
    let names = NAMES.join(", ");
    [
        (with(account_row::COLUMNS, "account", "account", "account"), account),
        (with(holds::HOLD_COLUMNS, "request", "hold", "due_ms, request"), hold),
        (with(holds::FINISHED_COLUMNS, "request", "finished", "request"), finished),
        (plain("receipt, charged", "receipt", "receipt"), receipt),
        (
            plain("receipt, at_ms, account, request, operator, cost, receipt_digest", "aside", "receipt"),
            aside,
        ),
        (plain("cause", "deposit", "cause"), |row| row.get(0).map(Record::Deposit)),
        (plain("cause", "test_credit", "cause"), |row| text::<RequestId>(row, 0).map(Record::Grant)),
        (plain(journal::COLUMNS, "journal", "id"), |row| {
            journal::entry(row).map(|entry| Record::Journal(Box::new(entry)))
        }),
        (plain("intent, account, amount, address, state", "withdrawal", "intent"), withdrawal),
        (with(withdrawals::PAYOUT_COLUMNS, "account", "payout", "account"), payout),
        (plain("number, record", "decision", "number"), decision),
        (plain(channels::COLUMNS, "channel", "account"), |row| {
            channels::row(row).map(|channel| Record::Channel(Box::new(channel)))
        }),
        (plain("account, name, value", "caps", "account, name"), cap),
        (plain("record", "api_key", "account, id"), key),
        (plain("account, id, created", "project", "account, id"), project),
        (with(&names, "account, whose", "used", "account, whose"), used_of),
        (
            with(
                usages::COLUMNS,
                "account, width",
                "usage",
                "account, width, from_ms, key, project, model, work",
            ),
            usage_of,
        ),
        (
            with(
                "account, at_ms, request, receipt, key, project, model, work, prompt, cached, completion, reasoning, charged",
                order,
                "recent",
                "account, position",
            ),
            recent,
        ),
        (with(requests::KEPT_COLUMNS, "account, billed", "kept_receipt", "rowid"), kept_receipt),
    ]
}

fn state(connection: &Connection, shard: Shard) -> Result<ShardState, LedgerError> {
    let (_, last_ms, last_entry) = shard_row(connection, shard)?;
    Ok(ShardState {
        shard,
        last_ms,
        test_ms: clock::test_time(connection)?,
        last_entry: (last_entry > 0).then(|| JournalId(last_entry.to_string())),
        totals: reading::totals(connection, shard)?,
        tokens: tokens(connection, shard)?,
        withdrawals_stopped: withdrawals::stopped(connection, shard)?,
    })
}

/// As Redis counts them: with each entry that counts usage.
fn tokens(connection: &Connection, shard: Shard) -> Result<u64, LedgerError> {
    let sql = "SELECT prompt, cached, completion, reasoning FROM journal
               WHERE shard = ?1 AND kind IN ('c', 'e', 'x')";
    let mut entries = connection.prepare(sql).map_err(sqlite_error)?;
    let mut sum = 0_u64;
    for used in entries.query_map([shard.0], |row| usage(row, 0)).map_err(sqlite_error)? {
        sum = sum.saturating_add(used.map_err(sqlite_error)?.unwrap_or_default().total());
    }
    Ok(sum.min(SUM_LIMIT.unsigned_abs()))
}

fn nano(row: &Row<'_>, column: usize) -> ::rusqlite::Result<NanoTon> {
    amount(row, column).map(NanoTon)
}

fn natural_nano(amount: i64) -> ::rusqlite::Result<NanoTon> {
    natural(amount).map(NanoTon).map_err(corrupt)
}

fn keyset(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Keyset(Keyset { bytes: row.get(0)? }))
}

fn document(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Document(Document {
        keyset: Digest(row.get(0)?),
        nonce: Digest(row.get(1)?),
        verified_at: amount(row, 2)?,
        bytes: row.get(3)?,
    }))
}

fn account(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let state = reading::state_of(&account_row::row(row)?).map_err(corrupt)?;
    Ok(Record::Account(AccountState { account: text(row, 9)?, state }))
}

fn hold(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let hold = holds::hold(row)?;
    let checkpoint = hold.checkpoint.map(|last| {
        Ok::<_, ::rusqlite::Error>(Checkpointed {
            cost: natural_nano(last.cost)?,
            operator: last.operator,
            operator_part: natural_nano(last.operator_part)?,
            usage: last.usage,
        })
    });
    Ok(Record::Hold(Box::new(Hold {
        request: text(row, 19)?,
        account: hold.account,
        key: hold.key,
        project: hold.project,
        model: hold.model,
        work: hold.work,
        amount: natural_nano(hold.amount)?,
        due_ms: hold.due_ms,
        reserved_ms: hold.reserved_ms,
        lease_end_ms: hold.lease_end_ms,
        took: hold.took,
        attempt: hold.attempt,
        keyset: hold.keyset,
        checkpoint: checkpoint.transpose()?,
    })))
}

fn finished(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let finished = holds::finished_row(row)?;
    Ok(Record::Finished(Finished {
        request: text(row, 12)?,
        state: finished.state,
        account: finished.account,
        attempt: finished.attempt,
        keyset: finished.keyset,
        charged: natural_nano(finished.charged)?,
        operator: finished.operator,
        operator_part: natural_nano(finished.operator_part)?,
        usage: finished.usage,
        reserved_ms: finished.reserved_ms,
    }))
}

fn receipt(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Receipt(Receipt { receipt: text(row, 0)?, charged: nano(row, 1)? }))
}

fn aside(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Aside(Aside {
        receipt: text(row, 0)?,
        at_ms: amount(row, 1)?,
        account: text(row, 2)?,
        request: text(row, 3)?,
        operator: text(row, 4)?,
        cost: nano(row, 5)?,
        receipt_digest: Digest(row.get(6)?),
    }))
}

fn withdrawal(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Withdrawal(Withdrawal {
        intent: text(row, 0)?,
        account: text(row, 1)?,
        amount: nano(row, 2)?,
        address: text(row, 3)?,
        state: text(row, 4)?,
    }))
}

fn payout(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Payout(PayoutOf { account: text(row, 3)?, payout: withdrawals::payout_row(row)? }))
}

fn decision(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Decision(Decision { number: amount(row, 0)?, text: row.get(1)? }))
}

fn cap(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Cap(Cap { account: text(row, 0)?, name: row.get(1)?, value: row.get(2)? }))
}

fn key(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let record = KeyRecord::from_json(row.get_ref(0)?.as_str()?, None).map_err(corrupt)?;
    Ok(Record::Key(Box::new(record)))
}

fn project(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Project(ProjectOf { account: text(row, 0)?, id: text(row, 1)?, created: amount(row, 2)? }))
}

fn used_of(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let whose = used::whose(row.get_ref(NUMBERS + 1)?.as_str()?).map_err(corrupt)?;
    let (account, numbers) = (text(row, NUMBERS)?, used::numbers(row)?);
    Ok(Record::Used(Box::new(UsedOf { account, whose, numbers })))
}

fn usage_of(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let of = usages::row(row)?;
    let ms = amount(row, 12)?;
    let width = Width::ALL.into_iter().find(|width| width.ms() == ms);
    Ok(Record::Usage(Box::new(UsageOf {
        account: text(row, 11)?,
        width: width.ok_or_else(|| corrupt(LedgerError::Corrupt(format!("a bucket of {ms} ms"))))?,
        from_ms: of.from_ms,
        key: of.key,
        project: of.project,
        model: of.model,
        work: of.work,
        tally: of.tally,
    })))
}

fn recent(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    Ok(Record::Recent(Box::new(Recent {
        account: text(row, 0)?,
        order: row.get(13)?,
        at_ms: amount(row, 1)?,
        request: text(row, 2)?,
        receipt: optional_text(row, 3)?,
        key: text::<KeyId>(row, 4)?,
        project: optional_text(row, 5)?,
        model: row.get(6)?,
        work: text(row, 7)?,
        usage: usage(row, 8)?.unwrap_or_default(),
        charged: nano(row, 12)?,
    })))
}

fn kept_receipt(row: &Row<'_>) -> ::rusqlite::Result<Record> {
    let kept = requests::kept_receipt(row)?;
    Ok(Record::KeptReceipt(Box::new(KeptReceiptOf {
        account: text(row, 6)?,
        receipt: kept.receipt,
        request: kept.request,
        key: kept.key,
        project: kept.project,
        billed: row.get(7)?,
        charged: kept.charged,
        jws: kept.jws,
    })))
}
