//! Open holds, and what is remembered of finished ones.

use ::rusqlite::{Connection, OptionalExtension, Row, params};
use cocoon_receipts::{AccountId, Digest, KeyId, OperatorId, ProjectId, RequestId, Usage};

use crate::embedded::columns::{amount, blob, counts, optional_text, text, usage};
use crate::embedded::used::User;
use crate::embedded::{integer, sqlite_error};
pub(super) use crate::finished::State;
use crate::rules::day_of;
use crate::used::{Change, Took};
use crate::{LedgerError, Shard, Work};

/// What [`hold`] reads.
pub(super) const HOLD_COLUMNS: &str = "account, key, project, amount, due_ms, attempt, keyset, checkpoint_cost, \
     checkpoint_operator, checkpoint_operator_part, prompt, cached, completion, reasoning, model, work, reserved_ms, \
     lease_end_ms, took";

/// What [`finished_row`] reads.
pub(super) const FINISHED_COLUMNS: &str = "state, account, attempt, keyset, charged, operator, operator_part, \
     prompt, cached, completion, reasoning, reserved_ms";

#[derive(Debug, Clone)]
pub(super) struct CheckpointRow {
    pub(super) cost: i64,
    pub(super) operator: OperatorId,
    pub(super) operator_part: i64,
    pub(super) usage: Usage,
}

#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) account: AccountId,
    pub(super) key: KeyId,
    pub(super) project: Option<ProjectId>,
    pub(super) model: String,
    pub(super) work: Work,
    pub(super) amount: i64,
    /// When the sweeper may end it: the lease's end, and where bound the grace after it.
    pub(super) due_ms: u64,
    /// Its charge belongs to the periods of this time.
    pub(super) reserved_ms: u64,
    /// Until when it is among the requests that run.
    pub(super) lease_end_ms: u64,
    pub(super) took: Took,
    /// 0 until it is bound.
    pub(super) attempt: u32,
    pub(super) keyset: Option<Digest>,
    pub(super) checkpoint: Option<CheckpointRow>,
}

impl Hold {
    /// Whether a report of this attempt comes from the backend that may be paid. A later attempt than the bound one
    /// is one whose `bind` the store lost: only its ticket could make a backend sign for it.
    pub(super) fn pays(&self, attempt: u32, keyset: Digest) -> bool {
        pays(self.attempt, self.keyset, attempt, keyset)
    }

    pub(super) fn user(&self) -> User<'_> {
        User { account: &self.account, key: &self.key, project: self.project.as_ref() }
    }

    /// What its end leaves behind: `usage` is none where nothing was used.
    pub(super) fn change<'a>(&self, usage: Option<&'a Usage>, spent: i64) -> Change<'a> {
        Change { reserved_ms: self.reserved_ms, held: self.amount, took: Some((self.took, usage)), spent }
    }
}

fn pays(bound: u32, bound_keyset: Option<Digest>, attempt: u32, keyset: Digest) -> bool {
    attempt > bound || (attempt == bound && bound_keyset == Some(keyset))
}

/// Until when a request runs, and when the sweeper may end it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) end_ms: u64,
    pub(super) due_ms: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) state: State,
    pub(super) account: AccountId,
    pub(super) attempt: u32,
    pub(super) keyset: Option<Digest>,
    /// What the account paid for it in all.
    pub(super) charged: i64,
    /// Whom the charge went to, where there was one.
    pub(super) operator: Option<OperatorId>,
    pub(super) operator_part: i64,
    /// What was counted as its usage; none where nothing was.
    pub(super) usage: Option<Usage>,
    /// When it was reserved, or made where there was no hold.
    pub(super) reserved_ms: u64,
}

impl Finished {
    /// The end of a hold at no charge.
    pub(super) fn unpaid(state: State, hold: &Hold) -> Self {
        Self {
            state,
            account: hold.account.clone(),
            attempt: hold.attempt,
            keyset: hold.keyset,
            charged: 0,
            operator: None,
            operator_part: 0,
            usage: None,
            reserved_ms: hold.reserved_ms,
        }
    }

    pub(super) fn pays(&self, attempt: u32, keyset: Digest) -> bool {
        pays(self.attempt, self.keyset, attempt, keyset)
    }
}

pub(super) fn find(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
) -> Result<Option<Hold>, LedgerError> {
    connection
        .prepare_cached(&format!("SELECT {HOLD_COLUMNS} FROM hold WHERE shard = ?1 AND request = ?2"))
        .and_then(|mut get| get.query_row(params![shard.0, request.to_string()], hold).optional())
        .map_err(sqlite_error)
}

/// From [`HOLD_COLUMNS`].
pub(super) fn hold(row: &Row<'_>) -> ::rusqlite::Result<Hold> {
    let checkpoint = match row.get::<_, Option<i64>>(7)? {
        None => None,
        Some(cost) => Some(CheckpointRow {
            cost,
            operator: text(row, 8)?,
            operator_part: row.get(9)?,
            usage: usage(row, 10)?.unwrap_or_default(),
        }),
    };
    Ok(Hold {
        account: text(row, 0)?,
        key: text(row, 1)?,
        project: optional_text(row, 2)?,
        model: row.get(14)?,
        work: text(row, 15)?,
        amount: row.get(3)?,
        due_ms: amount(row, 4)?,
        reserved_ms: amount(row, 16)?,
        lease_end_ms: amount(row, 17)?,
        took: text(row, 18)?,
        attempt: row.get(5)?,
        keyset: blob(row, 6)?,
        checkpoint,
    })
}

pub(super) fn insert(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
    hold: &Hold,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO hold
                 (shard, request, account, key, project, amount, due_ms, model, work, reserved_ms, lease_end_ms, took)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )
        .and_then(|mut add| {
            add.execute(params![
                shard.0,
                request.to_string(),
                hold.account.as_str(),
                hold.key.as_str(),
                hold.project.as_ref().map(ProjectId::as_str),
                hold.amount,
                i64::try_from(hold.due_ms).unwrap_or(i64::MAX),
                hold.model,
                hold.work.letter(),
                i64::try_from(hold.reserved_ms).unwrap_or(i64::MAX),
                i64::try_from(hold.lease_end_ms).unwrap_or(i64::MAX),
                hold.took.to_text(),
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn bind(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
    attempt: u32,
    keyset: Digest,
    lease: Lease,
) -> Result<(), LedgerError> {
    let (lease_end_ms, due_ms) = (integer(lease.end_ms)?, integer(lease.due_ms)?);
    connection
        .prepare_cached(
            "UPDATE hold SET attempt = ?3, keyset = ?4, due_ms = ?5, lease_end_ms = ?6, checkpoint_cost = NULL, checkpoint_operator = NULL,
                 checkpoint_operator_part = NULL, prompt = NULL, cached = NULL, completion = NULL, reasoning = NULL
             WHERE shard = ?1 AND request = ?2",
        )
        .and_then(|mut save| save.execute(params![shard.0, request.to_string(), attempt, keyset.0, due_ms, lease_end_ms]))
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn checkpoint(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
    checkpoint: &CheckpointRow,
    lease: Lease,
) -> Result<(), LedgerError> {
    let [prompt, cached, completion, reasoning] = counts(&checkpoint.usage)?;
    let (lease_end_ms, due_ms) = (integer(lease.end_ms)?, integer(lease.due_ms)?);
    connection
        .prepare_cached(
            "UPDATE hold SET due_ms = ?3, lease_end_ms = ?11, checkpoint_cost = ?4, checkpoint_operator = ?5, checkpoint_operator_part = ?6,
                 prompt = ?7, cached = ?8, completion = ?9, reasoning = ?10
             WHERE shard = ?1 AND request = ?2",
        )
        .and_then(|mut save| {
            save.execute(params![
                shard.0,
                request.to_string(),
                due_ms,
                checkpoint.cost,
                checkpoint.operator.as_str(),
                checkpoint.operator_part,
                prompt,
                cached,
                completion,
                reasoning,
                lease_end_ms,
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn remove(connection: &Connection, shard: Shard, request: RequestId) -> Result<(), LedgerError> {
    connection
        .prepare_cached("DELETE FROM hold WHERE shard = ?1 AND request = ?2")
        .and_then(|mut delete| delete.execute(params![shard.0, request.to_string()]))
        .map_err(sqlite_error)?;
    Ok(())
}

pub(super) fn finished(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
) -> Result<Option<Finished>, LedgerError> {
    connection
        .prepare_cached(&format!("SELECT {FINISHED_COLUMNS} FROM finished WHERE shard = ?1 AND request = ?2"))
        .and_then(|mut get| get.query_row(params![shard.0, request.to_string()], finished_row).optional())
        .map_err(sqlite_error)
}

/// From [`FINISHED_COLUMNS`].
pub(super) fn finished_row(row: &Row<'_>) -> ::rusqlite::Result<Finished> {
    Ok(Finished {
        state: text(row, 0)?,
        account: text(row, 1)?,
        attempt: row.get(2)?,
        keyset: blob(row, 3)?,
        charged: row.get(4)?,
        operator: optional_text(row, 5)?,
        operator_part: row.get(6)?,
        usage: usage(row, 7)?,
        reserved_ms: amount(row, 11)?,
    })
}

pub(super) fn finish(
    connection: &Connection,
    shard: Shard,
    request: RequestId,
    finished: &Finished,
) -> Result<(), LedgerError> {
    let usage = finished.usage.as_ref().map(counts).transpose()?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO finished
                 (shard, request, day, state, account, attempt, keyset, charged, operator, operator_part,
                 prompt, cached, completion, reasoning, reserved_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .and_then(|mut save| {
            save.execute(params![
                shard.0,
                request.to_string(),
                i64::try_from(day_of(request.made_at_ms())).unwrap_or(i64::MAX),
                finished.state.name(),
                finished.account.as_str(),
                finished.attempt,
                finished.keyset.map(|digest| digest.0),
                finished.charged,
                finished.operator.as_ref().map(OperatorId::as_str),
                finished.operator_part,
                usage.map(|[prompt, ..]| prompt),
                usage.map(|[_, cached, ..]| cached),
                usage.map(|[_, _, completion, _]| completion),
                usage.map(|[.., reasoning]| reasoning),
                i64::try_from(finished.reserved_ms).unwrap_or(i64::MAX),
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}
