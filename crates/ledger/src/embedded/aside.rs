//! Receipts that were refused for their age.

use ::rusqlite::{Connection, params};

use crate::embedded::sqlite_error;
use crate::transfer::record::Aside;
use crate::{LedgerError, Settlement, Shard};

/// Whether this receipt is kept, and counted, already.
pub(super) fn is_aside(
    connection: &Connection,
    shard: Shard,
    settlement: &Settlement,
) -> Result<bool, LedgerError> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM aside WHERE shard = ?1 AND receipt = ?2)")
        .and_then(|mut get| get.query_row(params![shard.0, settlement.receipt.to_string()], |row| row.get(0)))
        .map_err(sqlite_error)
}

/// What is kept of a receipt that is refused now.
pub(super) fn of_settlement(settlement: &Settlement, now_ms: u64) -> Aside {
    Aside {
        receipt: settlement.receipt,
        at_ms: now_ms,
        account: settlement.account.clone(),
        request: settlement.request,
        operator: settlement.operator.clone(),
        cost: settlement.cost,
        receipt_digest: settlement.receipt_digest,
    }
}

pub(super) fn set_aside(connection: &Connection, shard: Shard, aside: &Aside) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO aside (shard, receipt, at_ms, account, request, operator, cost, receipt_digest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .and_then(|mut add| {
            add.execute(params![
                shard.0,
                aside.receipt.to_string(),
                i64::try_from(aside.at_ms).unwrap_or(i64::MAX),
                aside.account.as_str(),
                aside.request.to_string(),
                aside.operator.as_str(),
                i64::try_from(aside.cost.0).unwrap_or(i64::MAX),
                aside.receipt_digest.0,
            ])
        })
        .map_err(sqlite_error)?;
    Ok(())
}
