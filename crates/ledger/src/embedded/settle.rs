//! From a verified receipt to a charge, exactly once per hold.

use ::rusqlite::{Connection, OptionalExtension, params};
use cocoon_receipts::{NanoTon, ReceiptId, Usage};

use crate::embedded::book::{Book, Movement};
use crate::embedded::clock::Clock;
use crate::embedded::holds::{self, Finished, Hold, State};
use crate::embedded::journal::{self, Entry};
use crate::embedded::requests::Note;
use crate::embedded::usages::{self, Of};
use crate::embedded::used::{self, User};
use crate::embedded::{aside, integer, natural, requests, sqlite_error};
use crate::rules::{ASIDE_LIMIT, day_of, is_too_old, settlement_made_at_ms};
use crate::transfer::record::KeptReceiptOf;
use crate::used::Change;
use crate::{JournalKind, LedgerError, Settled, Settlement, Shard, Tally};

/// What a receipt does to the books.
struct Plan {
    kind: JournalKind,
    movement: Movement,
    /// The hold it ends.
    ends: Option<Hold>,
    /// What is remembered of the request from now on; none: as before.
    finished: Option<Finished>,
    /// The usage that was counted for the request before.
    counted: Option<Usage>,
    /// What the account paid for the request in all.
    charged: i64,
    settled: Settled,
}

pub(super) fn settle(
    connection: &Connection,
    clock: Clock,
    shard: Shard,
    settlement: &Settlement,
) -> Result<Settled, LedgerError> {
    let mut book = Book::open(connection, clock, shard, &settlement.account)?;
    if is_too_old(settlement_made_at_ms(settlement), book.now_ms) {
        let room = book.refused_for_age() < ASIDE_LIMIT;
        if !aside::is_aside(connection, shard, settlement)? {
            if room {
                aside::set_aside(connection, shard, &aside::of_settlement(settlement, book.now_ms))?;
            }
            book.refuse_for_age();
            book.close()?;
        }
        return Ok(Settled::TooOld);
    }
    if let Some(charged) = journaled(connection, shard, settlement)? {
        return Ok(Settled::Already { charged: NanoTon(natural(charged)?) });
    }
    let plan = plan(&book, settlement)?;
    if let Some(hold) = &plan.ends {
        book.give_back(hold.amount);
        holds::remove(connection, shard, settlement.request)?;
    }
    count(&book, settlement, &plan)?;
    book.charge(plan.movement, &settlement.operator)?;
    if let Some(finished) = &plan.finished {
        holds::finish(connection, shard, settlement.request, finished)?;
    }
    let cause = settlement.request.to_string();
    let entry = Entry {
        key: Some(&settlement.key),
        project: settlement.project.as_ref(),
        model: Some(&settlement.model),
        work: Some(settlement.work),
        operator: Some(&settlement.operator),
        receipt: Some((settlement.receipt, settlement.receipt_digest)),
        usage: Some(&settlement.usage),
        ..Entry::new(plan.kind, &cause, plan.movement)
    };
    journal::append(&mut book, &entry)?;
    remember_receipt(connection, shard, settlement.receipt, plan.charged)?;
    requests::keep(connection, shard, &kept(settlement, &plan)?)?;
    if plan.finished.is_some() {
        let of = Of {
            key: &settlement.key,
            project: settlement.project.as_ref(),
            model: &settlement.model,
            work: settlement.work,
        };
        let tally = Tally::of(&settlement.usage, plan.counted.as_ref(), plan.movement.taken)?;
        usages::add(&book, of, tally)?;
        let note = Note {
            account: &settlement.account,
            at_ms: book.now_ms,
            request: settlement.request,
            receipt: Some(settlement.receipt),
            of,
            usage: &settlement.usage,
            charged: plan.charged,
        };
        requests::note(connection, shard, &note)?;
    }
    book.close()?;
    Ok(plan.settled)
}

fn kept(settlement: &Settlement, plan: &Plan) -> Result<KeptReceiptOf, LedgerError> {
    Ok(KeptReceiptOf {
        account: settlement.account.clone(),
        receipt: settlement.receipt,
        request: settlement.request,
        key: settlement.key.clone(),
        project: settlement.project.clone(),
        billed: plan.finished.is_some(),
        charged: NanoTon(natural(plan.charged)?),
        jws: settlement.receipt_jws.clone(),
    })
}

/// For the limits and budgets of those who had the hold, or without one of those whom the receipt names.
fn count(book: &Book<'_>, settlement: &Settlement, plan: &Plan) -> Result<(), LedgerError> {
    let (spent, now_ms) = (plan.movement.taken, book.now_ms);
    if let Some(hold) = &plan.ends {
        let change = hold.change(Some(&settlement.usage), spent);
        return used::change(book.connection, book.shard, hold.user(), now_ms, &change);
    }
    let Some(finished) = &plan.finished else { return Ok(()) };
    let Settlement { account, key, project, .. } = settlement;
    let user = User { account, key, project: project.as_ref() };
    let change = Change { reserved_ms: finished.reserved_ms, held: 0, took: None, spent };
    used::change(book.connection, book.shard, user, now_ms, &change)
}

fn plan(book: &Book<'_>, settlement: &Settlement) -> Result<Plan, LedgerError> {
    if let Some(hold) = holds::find(book.connection, book.shard, settlement.request)? {
        return of_open_hold(book, settlement, &hold);
    }
    match holds::finished(book.connection, book.shard, settlement.request)? {
        Some(finished) => of_finished(book, settlement, &finished),
        None => of_lost_hold(book, settlement, settlement.request.made_at_ms().min(book.now_ms)),
    }
}

fn of_open_hold(book: &Book<'_>, settlement: &Settlement, hold: &Hold) -> Result<Plan, LedgerError> {
    if hold.account != settlement.account || !hold.pays(settlement.attempt, settlement.keyset) {
        return Ok(Plan::at_no_cost());
    }
    let reach = hold.amount + book.account.available();
    let plan = Plan::charge(settlement, reach, hold.reserved_ms)?;
    Ok(Plan { ends: Some(hold.clone()), ..plan })
}

fn of_finished(book: &Book<'_>, settlement: &Settlement, finished: &Finished) -> Result<Plan, LedgerError> {
    if finished.account != settlement.account
        || finished.state == State::Settled
        || !finished.pays(settlement.attempt, settlement.keyset)
    {
        return Ok(Plan::at_no_cost());
    }
    match finished.state {
        State::Expired => of_expired(book, settlement, finished),
        State::Released | State::Tombstone | State::Settled => {
            of_lost_hold(book, settlement, finished.reserved_ms)
        }
    }
}

/// A receipt after its grace corrects the last checkpoint's charge.
fn of_expired(book: &Book<'_>, settlement: &Settlement, finished: &Finished) -> Result<Plan, LedgerError> {
    if finished.operator.as_ref().is_some_and(|paid| *paid != settlement.operator) {
        return Ok(Plan::at_no_cost());
    }
    let difference = integer(settlement.cost.0)? - finished.charged;
    let taken = difference.min(book.account.available());
    let operator_part = integer(settlement.operator_amount().0)?;
    let movement =
        Movement { taken, shortfall: difference - taken, operator: operator_part - finished.operator_part };
    let charged = finished.charged + taken;
    Ok(Plan {
        kind: JournalKind::Correction,
        movement,
        ends: None,
        finished: Some(Finished::settled(settlement, charged, operator_part, finished.reserved_ms)),
        counted: finished.usage,
        charged,
        settled: Settled::Charged {
            charged: NanoTon(natural(charged)?),
            shortfall: NanoTon(natural(movement.shortfall)?),
        },
    })
}

/// The store lost the hold, or it was given back although something was generated: whatever is available.
fn of_lost_hold(book: &Book<'_>, settlement: &Settlement, reserved_ms: u64) -> Result<Plan, LedgerError> {
    Plan::charge(settlement, book.account.available(), reserved_ms)
}

impl Plan {
    /// Journaled, and nothing else.
    fn at_no_cost() -> Self {
        Self {
            kind: JournalKind::NoCost,
            movement: Movement::default(),
            ends: None,
            finished: None,
            counted: None,
            charged: 0,
            settled: Settled::AtNoCost,
        }
    }

    /// The operator is paid for the whole cost; the platform bears what the account's `reach` leaves open.
    fn charge(settlement: &Settlement, reach: i64, reserved_ms: u64) -> Result<Self, LedgerError> {
        let cost = integer(settlement.cost.0)?;
        let taken = cost.min(reach);
        let operator = integer(settlement.operator_amount().0)?;
        let movement = Movement { taken, shortfall: cost - taken, operator };
        Ok(Self {
            kind: JournalKind::Charge,
            movement,
            ends: None,
            finished: Some(Finished::settled(settlement, taken, operator, reserved_ms)),
            counted: None,
            charged: taken,
            settled: Settled::Charged {
                charged: NanoTon(natural(taken)?),
                shortfall: NanoTon(natural(movement.shortfall)?),
            },
        })
    }
}

impl Finished {
    fn settled(settlement: &Settlement, charged: i64, operator_part: i64, reserved_ms: u64) -> Self {
        Self {
            state: State::Settled,
            account: settlement.account.clone(),
            attempt: settlement.attempt,
            keyset: Some(settlement.keyset),
            charged,
            operator: Some(settlement.operator.clone()),
            operator_part,
            usage: Some(settlement.usage),
            reserved_ms,
        }
    }
}

/// What this receipt charged when it was journaled; none where it was not.
fn journaled(
    connection: &Connection,
    shard: Shard,
    settlement: &Settlement,
) -> Result<Option<i64>, LedgerError> {
    connection
        .prepare_cached("SELECT charged FROM receipt WHERE shard = ?1 AND receipt = ?2")
        .and_then(|mut get| {
            get.query_row(params![shard.0, settlement.receipt.to_string()], |row| row.get(0)).optional()
        })
        .map_err(sqlite_error)
}

pub(super) fn remember_receipt(
    connection: &Connection,
    shard: Shard,
    receipt: ReceiptId,
    charged: i64,
) -> Result<(), LedgerError> {
    let day = integer(day_of(receipt.made_at_ms()))?;
    connection
        .prepare_cached("INSERT INTO receipt (shard, receipt, day, charged) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut add| add.execute(params![shard.0, receipt.to_string(), day, charged]))
        .map_err(sqlite_error)?;
    Ok(())
}
