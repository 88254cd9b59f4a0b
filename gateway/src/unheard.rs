//! Failures of the ledger that no client hears of.

use cocoon_ledger::LedgerError;
use cocoon_receipts::RequestId;

/// Logs that `what` was not done. The store itself logs when it goes and when it is back: not every request needs a line
/// for it.
pub(crate) fn log(error: &LedgerError, what: &'static str, request: Option<RequestId>) {
    let request = request.map(tracing::field::display);
    match error {
        LedgerError::Unavailable(_) => {
            tracing::debug!(%error, request, what, "not done while the ledger is down")
        }
        _ => tracing::warn!(%error, request, what, "ledger failed"),
    }
}
