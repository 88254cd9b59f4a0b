//! The life of a hold before it is charged: reserve, bind, extend, release, expire.

use ::rusqlite::{Connection, params};
use cocoon_receipts::{NanoTon, RequestId};

use crate::embedded::book::{Book, Movement, shard_row, touch};
use crate::embedded::clock::Clock;
use crate::embedded::columns::text;
use crate::embedded::holds::{self, CheckpointRow, Finished, Hold, Lease, State};
use crate::embedded::journal::{self, Entry};
use crate::embedded::requests::Note;
use crate::embedded::usages::{self, Of};
use crate::embedded::used;
use crate::embedded::{answers, integer, natural, requests, sqlite_error, taking};
use crate::rules::{first_kept_day, hold_for, is_too_old, lease_ms};
use crate::{
    Bind, Bound, Checkpoint, Expired, Extended, JournalKind, LedgerError, Rates, Refusal, Release, Released,
    Reserve, Reserved, Shard, Tally,
};

/// Rows of forgotten days that one sweep deletes from each set, so that no sweep holds the file for long.
const FORGET: i64 = 500;

pub(super) fn reserve(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    reserve: &Reserve,
) -> Result<Reserved, LedgerError> {
    if let Some(hold) = holds::find(connection, shard, reserve.request)? {
        return Ok(if hold.account == reserve.account {
            Reserved::Held { amount: NanoTon(natural(hold.amount)?), rates: Rates::default() }
        } else {
            Reserved::Refused(Refusal::Finished)
        });
    }
    let mut book = Book::open(connection, clock, shard, &reserve.account)?;
    if is_too_old(reserve.request.made_at_ms(), book.now_ms)
        || holds::finished(connection, shard, reserve.request)?.is_some()
    {
        return Ok(Reserved::Refused(Refusal::Finished));
    }
    let mut taking = match taking::begin(&book, reserve)? {
        Ok(taking) => taking,
        Err(refusal) => return Ok(Reserved::Refused(refusal)),
    };
    let available = NanoTon(natural(book.account.available())?);
    let needed = hold_for(&reserve.estimate, taking.least(available)?);
    if let Some(refusal) = taking.over_budget(needed) {
        return Ok(Reserved::Refused(refusal));
    }
    if needed > available {
        let refusal = if NanoTon(natural(book.account.balance)?) >= needed {
            Refusal::BalanceHeld { needed, available }
        } else {
            Refusal::InsufficientBalance { needed, available }
        };
        return Ok(Reserved::Refused(refusal));
    }
    let (now_ms, amount) = (book.now_ms, integer(needed.0)?);
    let lease_end_ms = now_ms.saturating_add(lease_ms(reserve.lease));
    let hold = Hold {
        account: reserve.account.clone(),
        key: reserve.key.clone(),
        project: reserve.project.clone(),
        model: reserve.model.clone(),
        work: reserve.work,
        amount,
        due_ms: lease_end_ms,
        reserved_ms: now_ms,
        lease_end_ms,
        took: taking.take(&book, amount)?,
        attempt: 0,
        keyset: None,
        checkpoint: None,
    };
    holds::insert(connection, shard, reserve.request, &hold)?;
    book.hold(hold.amount);
    book.close()?;
    Ok(Reserved::Held { amount: needed, rates: taking.rates() })
}

pub(super) fn bind(
    connection: &Connection,
    clock: Clock,
    grace_ms: u64,
    shard: Shard,
    bind: &Bind,
) -> Result<Bound, LedgerError> {
    let found = holds::find(connection, shard, bind.request)?.filter(|hold| hold.account == bind.account);
    let Some(hold) = found else { return Ok(Bound::Gone) };
    if bind.attempt == hold.attempt && hold.keyset == Some(bind.keyset) {
        return Ok(Bound::Bound);
    }
    if bind.attempt <= hold.attempt {
        return Ok(Bound::Superseded);
    }
    let now_ms = shard_time(connection, clock, shard)?;
    let end_ms = now_ms.saturating_add(lease_ms(bind.lease));
    let lease = Lease { end_ms, due_ms: end_ms.saturating_add(grace_ms) };
    holds::bind(connection, shard, bind.request, bind.attempt, bind.keyset, lease)?;
    Ok(Bound::Bound)
}

pub(super) fn extend(
    connection: &Connection,
    clock: Clock,
    grace_ms: u64,
    shard: Shard,
    checkpoint: &Checkpoint,
) -> Result<Extended, LedgerError> {
    let found =
        holds::find(connection, shard, checkpoint.request)?.filter(|hold| hold.account == checkpoint.account);
    let Some(hold) = found else { return Ok(Extended::Gone) };
    let cost = integer(checkpoint.cost.0)?;
    let paid = hold.attempt == checkpoint.attempt && hold.keyset == Some(checkpoint.keyset);
    let shrinks = hold
        .checkpoint
        .as_ref()
        .is_some_and(|last| cost < last.cost || checkpoint.usage.total() < last.usage.total());
    // More than the hold is a lie: a backend stops before it.
    if !paid || shrinks || cost > hold.amount {
        return Ok(Extended::Ignored);
    }
    let now_ms = shard_time(connection, clock, shard)?;
    let end_ms = now_ms.saturating_add(lease_ms(checkpoint.lease)).max(hold.lease_end_ms);
    let lease = Lease { end_ms, due_ms: end_ms.saturating_add(grace_ms).max(hold.due_ms) };
    let row = CheckpointRow {
        cost,
        operator: checkpoint.operator.clone(),
        operator_part: integer(checkpoint.cost.basis_points(checkpoint.operator_share).0)?,
        usage: checkpoint.usage,
    };
    holds::checkpoint(connection, shard, checkpoint.request, &row, lease)?;
    Ok(Extended::Extended)
}

pub(super) fn release(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    release: &Release,
) -> Result<Released, LedgerError> {
    let Release { account, request, .. } = release;
    let request = *request;
    let mut book = Book::open(connection, clock, shard, account)?;
    if let Some(hold) = holds::find(connection, shard, request)? {
        if hold.account != *account {
            return Ok(Released::Already);
        }
        holds::remove(connection, shard, request)?;
        holds::finish(connection, shard, request, &Finished::unpaid(State::Released, &hold))?;
        book.give_back(hold.amount);
        used::change(connection, shard, hold.user(), book.now_ms, &hold.change(None, 0))?;
        book.close()?;
        return Ok(Released::Released { amount: NanoTon(natural(hold.amount)?) });
    }
    // Its reserve is refused for its age; what was remembered of it may be forgotten or not.
    if is_too_old(request.made_at_ms(), book.now_ms) {
        return Ok(Released::Already);
    }
    match holds::finished(connection, shard, request)? {
        Some(finished) if finished.state == State::Tombstone && finished.account == *account => {
            Ok(Released::Tombstone)
        }
        Some(_) => Ok(Released::Already),
        None => {
            let tombstone = Finished {
                state: State::Tombstone,
                account: account.clone(),
                attempt: 0,
                keyset: None,
                charged: 0,
                operator: None,
                operator_part: 0,
                usage: None,
                reserved_ms: request.made_at_ms().min(book.now_ms),
            };
            holds::finish(connection, shard, request, &tombstone)?;
            Ok(Released::Tombstone)
        }
    }
}

pub(super) fn expired(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    limit: u32,
) -> Result<Vec<RequestId>, LedgerError> {
    let now_ms = shard_time(connection, clock, shard)?;
    forget(connection, shard, now_ms)?;
    answers::forget(connection, shard, integer(now_ms)?)?;
    usages::forget(connection, shard, now_ms)?;
    requests::forget(connection, shard, now_ms)?;
    used::forget(connection, shard, integer(now_ms)?)?;
    let mut over = connection
        .prepare_cached(
            "SELECT request FROM hold WHERE shard = ?1 AND due_ms <= ?2 ORDER BY due_ms, request LIMIT ?3",
        )
        .map_err(sqlite_error)?;
    let now_ms = integer(now_ms)?;
    over.query_map(params![shard.0, now_ms, limit], |row| text(row, 0))
        .and_then(Iterator::collect)
        .map_err(sqlite_error)
}

pub(super) fn expire(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    request: RequestId,
) -> Result<Expired, LedgerError> {
    let Some(hold) = holds::find(connection, shard, request)? else { return Ok(Expired::Gone) };
    let mut book = Book::open(connection, clock, shard, &hold.account)?;
    if book.now_ms < hold.due_ms {
        return Ok(Expired::NotYet);
    }
    let mut finished = Finished::unpaid(State::Expired, &hold);
    book.give_back(hold.amount);
    if let Some(checkpoint) = &hold.checkpoint {
        let movement = Movement { taken: checkpoint.cost, shortfall: 0, operator: checkpoint.operator_part };
        book.charge(movement, &checkpoint.operator)?;
        finished.charged = checkpoint.cost;
        finished.operator = Some(checkpoint.operator.clone());
        finished.operator_part = checkpoint.operator_part;
        let cause = request.to_string();
        let entry = Entry {
            key: Some(&hold.key),
            project: hold.project.as_ref(),
            model: Some(&hold.model),
            work: Some(hold.work),
            operator: Some(&checkpoint.operator),
            usage: Some(&checkpoint.usage),
            ..Entry::new(JournalKind::Expiry, &cause, movement)
        };
        journal::append(&mut book, &entry)?;
        let of = Of { key: &hold.key, project: hold.project.as_ref(), model: &hold.model, work: hold.work };
        usages::add(&book, of, Tally::of(&checkpoint.usage, None, checkpoint.cost)?)?;
        let note = Note {
            account: &hold.account,
            at_ms: book.now_ms,
            request,
            receipt: None,
            of,
            usage: &checkpoint.usage,
            charged: checkpoint.cost,
        };
        requests::note(connection, shard, &note)?;
        finished.usage = Some(checkpoint.usage);
    }
    let usage = hold.checkpoint.as_ref().map(|checkpoint| &checkpoint.usage);
    used::change(connection, shard, hold.user(), book.now_ms, &hold.change(usage, finished.charged))?;
    holds::remove(connection, shard, request)?;
    holds::finish(connection, shard, request, &finished)?;
    book.close()?;
    Ok(Expired::Expired { charged: NanoTon(natural(finished.charged)?) })
}

pub(super) fn shard_time(connection: &Connection, clock: Clock, shard: Shard) -> Result<u64, LedgerError> {
    let (_, last_ms, _) = shard_row(connection, shard)?;
    let now_ms = clock.now_ms(connection)?.max(last_ms);
    touch(connection, shard, now_ms)?;
    Ok(now_ms)
}

/// Drops seen-sets that no call can ask for any more, a bounded piece at a time.
fn forget(connection: &Connection, shard: Shard, now_ms: u64) -> Result<(), LedgerError> {
    let before = integer(first_kept_day(now_ms))?;
    let statements = [
        "DELETE FROM finished WHERE shard = ?1 AND request IN
             (SELECT request FROM finished WHERE shard = ?1 AND day < ?2 LIMIT ?3)",
        "DELETE FROM receipt WHERE shard = ?1 AND receipt IN
             (SELECT receipt FROM receipt WHERE shard = ?1 AND day < ?2 LIMIT ?3)",
    ];
    for statement in statements {
        connection
            .prepare_cached(statement)
            .and_then(|mut delete| delete.execute(params![shard.0, before, FORGET]))
            .map_err(sqlite_error)?;
    }
    Ok(())
}
