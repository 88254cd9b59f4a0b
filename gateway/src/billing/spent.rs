//! Rows of usage for who may see them, and no more than one answer should carry.

use cocoon_ledger::{LedgerError, Tally, UsageQuery, UsageRow, Width, Work};
use cocoon_openapi::ApiError;
use cocoon_receipts::{KeyId, ProjectId};

use crate::accept::Gateway;
use crate::caller::Caller;
use crate::error::Failure;

/// Pages of the ledger that are read for one answer.
const MAX_PAGES: usize = 16;

/// Rows after which an answer ends early.
const MAX_ROWS: usize = 50_000;

/// What is asked of the ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// None: all.
    pub(super) keys: Option<Vec<KeyId>>,
    pub(super) projects: Option<Vec<ProjectId>>,
    pub(super) models: Option<Vec<String>>,
    pub(super) work: Option<Work>,
    /// Nothing can pass: a user is named, or batches alone are asked for.
    pub(super) nothing: bool,
}

impl Filter {
    /// Cut to what `caller` may see; none where nothing is left.
    fn query(self, caller: &Caller, width: Width, from_ms: u64, to_ms: u64) -> Option<UsageQuery> {
        let keys = match (caller.only(), self.keys) {
            (None, keys) => keys,
            (Some(own), Some(keys)) if !keys.contains(own) => return None,
            (Some(own), _) => Some(vec![own.clone()]),
        };
        // An empty list names nothing, whereas the ledger takes it for all.
        let named_nothing = keys.as_ref().is_some_and(Vec::is_empty)
            || self.projects.as_ref().is_some_and(Vec::is_empty)
            || self.models.as_ref().is_some_and(Vec::is_empty);
        if self.nothing || named_nothing {
            return None;
        }
        Some(UsageQuery {
            account: caller.account.clone(),
            width,
            from_ms,
            to_ms,
            keys: keys.unwrap_or_default(),
            projects: self.projects.unwrap_or_default(),
            models: self.models.unwrap_or_default(),
            work: self.work,
        })
    }
}

/// Rows, oldest first, of the buckets before `until_ms`.
#[derive(Debug)]
pub(super) struct Spent {
    pub(super) rows: Vec<UsageRow>,
    /// The end that was asked for, or earlier where that would be too much for one answer.
    pub(super) until_ms: u64,
}

/// Reads what `filter` lets pass.
///
/// # Errors
/// 503 where the ledger does not answer.
pub(super) async fn read(
    gateway: &Gateway,
    caller: &Caller,
    filter: Filter,
    width: Width,
    from_ms: u64,
    to_ms: u64,
) -> Result<Spent, Failure> {
    let mut spent = Spent { rows: Vec::new(), until_ms: to_ms };
    let Some(mut query) = filter.query(caller, width, from_ms, to_ms) else { return Ok(spent) };
    for pages in 1.. {
        let page = gateway.ledger.usage(&query).await.map_err(Failure::of_ledger)?;
        spent.rows.extend(page.rows);
        match page.next_ms {
            Some(next_ms) if pages == MAX_PAGES || spent.rows.len() > MAX_ROWS => {
                spent.until_ms = next_ms;
                break;
            }
            Some(next_ms) => query.from_ms = next_ms,
            None => break,
        }
    }
    Ok(spent)
}

/// The same, all of it.
///
/// # Errors
/// As [`read`]; 400 where it is too much for one answer.
pub(super) async fn read_all(
    gateway: &Gateway,
    caller: &Caller,
    from_ms: u64,
    to_ms: u64,
) -> Result<Vec<UsageRow>, Failure> {
    let spent = read(gateway, caller, Filter::default(), Width::Day, from_ms, to_ms).await?;
    if spent.until_ms < to_ms {
        let message = "There is too much usage for one answer: read it by pages from /v1/organization/costs.";
        return Err(ApiError::invalid(message).with_code("too_much_usage").into());
    }
    Ok(spent.rows)
}

/// What rows add up to.
///
/// # Errors
/// 500: sums that no ledger can hold are a ledger's fault.
pub(super) fn sum<'a>(rows: impl IntoIterator<Item = &'a UsageRow>) -> Result<Tally, Failure> {
    let sum = rows.into_iter().try_fold(Tally::default(), |sum, row| sum.checked_add(row.tally));
    sum.ok_or_else(|| Failure::of_ledger(LedgerError::Overflow))
}
