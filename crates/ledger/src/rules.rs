//! The rules both stores share: how much to hold, how old a receipt may be, how large a number may get.

use std::time::Duration;

use cocoon_receipts::{NanoTon, Usage};

use crate::{Checkpoint, Estimate, LedgerError, Settlement};

/// A balance, and any amount that moves one, stays below 2^53: Lua's numbers are doubles, and both stores refuse
/// the same things.
pub(crate) const AMOUNT_LIMIT: u64 = 1 << 53;

/// A shard's sums stay below 2^61, so that adding to one of them never fails half-way through a call.
pub(crate) const SUM_LIMIT: i64 = 1 << 61;

const DAY_MS: u64 = 86_400_000;

/// Receipts and requests older than this are refused, because what was seen is forgotten a day later.
const AGE_LIMIT_MS: u64 = 7 * DAY_MS;

/// How many days a seen-set outlives its own.
const SEEN_DAYS: u64 = 8;

/// Receipts of one shard that are kept aside for their age; later ones are only counted.
pub(crate) const ASIDE_LIMIT: i64 = 100_000;

/// No lease is longer; what is asked beyond that is cut.
const LEASE_LIMIT_MS: u64 = 365 * DAY_MS;

/// The hold that `estimate` asks for when `available` is there; more than is available where it cannot be had.
pub(crate) fn hold_for(estimate: &Estimate, available: NanoTon) -> NanoTon {
    match estimate.useful_minimum {
        None => estimate.worst_case,
        Some(useful) => estimate.worst_case.min(useful.max(NanoTon(available.0 / 4))),
    }
}

/// Whether something made then must be refused for its age.
pub(crate) fn is_too_old(made_at_ms: u64, now_ms: u64) -> bool {
    made_at_ms.saturating_add(AGE_LIMIT_MS) < now_ms
}

/// When the older of receipt and request was made. The request's time counts too: the gateway made it, whereas a
/// backend could sign an old ticket under a new receipt id once the request is forgotten.
pub(crate) fn settlement_made_at_ms(settlement: &Settlement) -> u64 {
    settlement.receipt.made_at_ms().min(settlement.request.made_at_ms())
}

/// The day of a time, counted from 1970.
pub(crate) fn day_of(at_ms: u64) -> u64 {
    at_ms / DAY_MS
}

/// Seen-sets of days before this one may be dropped.
pub(crate) fn first_kept_day(now_ms: u64) -> u64 {
    day_of(now_ms).saturating_sub(SEEN_DAYS)
}

pub(crate) fn lease_ms(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX).min(LEASE_LIMIT_MS)
}

/// Refuses what neither store can count.
pub(crate) fn check_settlement(settlement: &Settlement) -> Result<(), LedgerError> {
    check_amount(settlement.cost)?;
    check_usage(&settlement.usage)
}

pub(crate) fn check_checkpoint(checkpoint: &Checkpoint) -> Result<(), LedgerError> {
    check_amount(checkpoint.cost)?;
    check_usage(&checkpoint.usage)
}

/// Options that cannot change after creation.
pub(crate) fn created_with(option: &str, found: &str, wanted: &str) -> Result<(), LedgerError> {
    if found == wanted {
        return Ok(());
    }
    Err(LedgerError::Configuration(format!("the ledger was created with {option} = {found}, not {wanted}")))
}

/// Of a ledger that is to be filled.
pub(crate) fn not_empty() -> LedgerError {
    LedgerError::Configuration("the ledger is not empty: an import needs one that was never used".to_owned())
}

/// Of a ledger that an import is filling, or did not fill to the end.
pub(crate) fn half_filled() -> LedgerError {
    LedgerError::Configuration(
        "an import into this ledger is under way or did not come to its end: where none is, delete the ledger and \
         import again"
            .to_owned(),
    )
}

pub(crate) fn check_amount(amount: NanoTon) -> Result<(), LedgerError> {
    if amount.0 < AMOUNT_LIMIT { Ok(()) } else { Err(LedgerError::Overflow) }
}

/// A budget as both stores count it: no sum that it is compared with is larger.
pub(crate) fn countable(amount: NanoTon) -> NanoTon {
    NanoTon(amount.0.min(AMOUNT_LIMIT - 1))
}

fn check_usage(usage: &Usage) -> Result<(), LedgerError> {
    if usage.total() < AMOUNT_LIMIT { Ok(()) } else { Err(LedgerError::Overflow) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_is_the_worst_case_or_a_quarter_but_never_less_than_is_useful() {
        let open_ended = |worst, useful, available| {
            let estimate =
                Estimate { worst_case: NanoTon(worst), useful_minimum: Some(NanoTon(useful)), tokens: 0 };
            hold_for(&estimate, NanoTon(available)).0
        };
        assert_eq!(open_ended(1000, 10, 400), 100);
        assert_eq!(open_ended(50, 10, 400), 50);
        assert_eq!(open_ended(1000, 10, 20), 10);
        assert_eq!(open_ended(1000, 10, 0), 10);
        let ceiling = Estimate { worst_case: NanoTon(1000), useful_minimum: None, tokens: 0 };
        assert_eq!(hold_for(&ceiling, NanoTon(4)).0, 1000);
    }

    #[test]
    fn what_is_seen_outlives_the_age_that_is_refused() {
        let made = 100 * DAY_MS + 5;
        assert!(!is_too_old(made, made + AGE_LIMIT_MS));
        assert!(is_too_old(made, made + AGE_LIMIT_MS + 1));
        // The day of the oldest receipt that is not refused is still kept.
        assert!(first_kept_day(made + AGE_LIMIT_MS) < day_of(made));
    }
}
