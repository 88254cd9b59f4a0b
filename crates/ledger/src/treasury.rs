//! What pays out of the ledger needs of it: one log of decisions that only grows, a lease, and what waits to be paid.
//!
//! The log and the lease are with the first shard, so that a call of theirs is atomic in every store.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, RequestId};

use crate::rules::AMOUNT_LIMIT;
use crate::{LedgerError, Shard, TonAddress};

/// Longest record of a decision, bytes.
pub const MAX_DECISION_BYTES: usize = 64 << 10;

/// Records of one [`Treasury::append_decisions`].
pub const MAX_APPENDED: usize = 64;

/// Bytes of all its records.
pub const MAX_APPENDED_BYTES: usize = 1 << 20;

/// Records that one [`Treasury::decisions`] answers at most.
pub const MAX_DECISIONS: u32 = 1000;

/// Bytes of them: what is beyond comes with the next call.
pub const MAX_DECISIONS_BYTES: usize = 4 << 20;

/// Intents that one [`Treasury::open_withdrawals`] answers at most.
pub const MAX_OPEN_WITHDRAWALS: u32 = 1000;

/// Longest name of who holds the lease, bytes.
pub const MAX_HOLDER_BYTES: usize = 64;

/// Where the log and the lease are.
pub(crate) const TREASURY: Shard = Shard(0);

/// What became of records that were to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appending {
    /// They are the log's last, now or since before, and it has so many records.
    Appended { count: u64 },
    /// The log has so many records and others than the caller knew: nothing was appended. He must read on and think
    /// again.
    Moved { count: u64 },
}

/// Who may decide, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub holder: String,
    /// From then on anybody may take it. Milliseconds since 1970, by the store's time.
    pub until_ms: u64,
    /// The store's time when it was asked.
    pub now_ms: u64,
}

/// A withdrawal that has left its account's balance and was neither paid out nor undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenWithdrawal {
    pub intent: RequestId,
    pub account: AccountId,
    pub amount: NanoTon,
    pub address: TonAddress,
}

/// The operations. Each is idempotent, and what it answers is durable when it answers: also what is read, so that nobody
/// acts on a decision that the store may still lose.
#[async_trait]
pub trait Treasury {
    /// Appends all of `records` if the log has exactly `after` records. The same call again, while they are still the
    /// last, is answered as the first time; once others follow them it is [`Appending::Moved`], as what they said may
    /// not stand any more. Without records it only tells whether the log has grown.
    ///
    /// Two callers that append the same text at the same place are both told that it is appended: who must know his own
    /// records puts something of his own into them.
    ///
    /// # Errors
    /// [`LedgerError::Configuration`] for an empty record; [`LedgerError::Overflow`] for one above
    /// [`MAX_DECISION_BYTES`], for more than [`MAX_APPENDED`] or [`MAX_APPENDED_BYTES`] of them, and for a place that no
    /// log reaches.
    async fn append_decisions(&self, after: u64, records: &[String]) -> Result<Appending, LedgerError>;

    /// The log's records after the first `after`, oldest first: at most `limit`, [`MAX_DECISIONS`] and
    /// [`MAX_DECISIONS_BYTES`]; none where there are no more.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`] for a place that no log reaches.
    async fn decisions(&self, after: u64, limit: u32) -> Result<Vec<String>, LedgerError>;

    /// Takes the lease where it is free or over, or renews it for its holder, which never makes it end sooner; answers
    /// whose it is then. The log is what keeps two from deciding: the lease spares them the try.
    ///
    /// # Errors
    /// [`LedgerError::Configuration`] for a holder that is not 1 to [`MAX_HOLDER_BYTES`] letters, digits, '-', '_', '.'
    /// and ':'.
    async fn hold_lease(&self, holder: &str, lasts: Duration) -> Result<Lease, LedgerError>;

    /// Gives it up; nothing where it is another's.
    ///
    /// # Errors
    /// As [`Self::hold_lease`].
    async fn give_up_lease(&self, holder: &str) -> Result<(), LedgerError>;

    /// Withdrawals of the shard that have begun and not ended, after the intent `after` in the order of their ids: at most
    /// `limit` and [`MAX_OPEN_WITHDRAWALS`].
    async fn open_withdrawals(
        &self,
        shard: Shard,
        after: Option<RequestId>,
        limit: u32,
    ) -> Result<Vec<OpenWithdrawal>, LedgerError>;
}

/// Refuses what neither store appends.
pub(crate) fn check_appended(after: u64, records: &[String]) -> Result<(), LedgerError> {
    check_place(after)?;
    let bytes = records.iter().fold(0_usize, |sum, record| sum.saturating_add(record.len()));
    if records.len() > MAX_APPENDED || bytes > MAX_APPENDED_BYTES {
        return Err(LedgerError::Overflow);
    }
    records.iter().try_for_each(|record| check_record(record))
}

/// Refuses what is no record of the log.
pub(crate) fn check_record(record: &str) -> Result<(), LedgerError> {
    match record.len() {
        0 => Err(LedgerError::Configuration("a record of a decision is not empty".to_owned())),
        1..=MAX_DECISION_BYTES => Ok(()),
        _ => Err(LedgerError::Overflow),
    }
}

/// Refuses a place that no log reaches and that not every store can count.
pub(crate) fn check_place(after: u64) -> Result<(), LedgerError> {
    if after < AMOUNT_LIMIT { Ok(()) } else { Err(LedgerError::Overflow) }
}

/// Refuses what is no name of who holds the lease.
pub(crate) fn check_holder(holder: &str) -> Result<(), LedgerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if (1..=MAX_HOLDER_BYTES).contains(&holder.len()) && holder.bytes().all(plain) {
        return Ok(());
    }
    Err(LedgerError::Configuration(format!(
        "who holds the lease is 1 to {MAX_HOLDER_BYTES} letters, digits, '-', '_', '.' and ':'"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_bounded_each_and_together() {
        let of = |count: usize, bytes: usize| vec!["x".repeat(bytes); count];
        for (after, records) in
            [(0, of(0, 0)), (7, of(64, 1)), (0, of(16, 64 << 10)), (AMOUNT_LIMIT - 1, of(1, 1))]
        {
            assert!(check_appended(after, &records).is_ok(), "{} after {after}", records.len());
        }
        let too_much =
            [(0, of(65, 1)), (0, of(17, 64 << 10)), (0, of(1, (64 << 10) + 1)), (AMOUNT_LIMIT, of(1, 1))];
        for (after, records) in too_much {
            let refused = check_appended(after, &records);
            assert!(matches!(refused, Err(LedgerError::Overflow)), "{} after {after}", records.len());
        }
        let refused = check_appended(0, &["a".to_owned(), String::new()]);
        assert!(matches!(refused, Err(LedgerError::Configuration(_))));
    }

    #[test]
    fn a_holders_name_is_short_and_plain() {
        for good in ["settler-1", "A.b_c:9", &"x".repeat(64)] {
            assert!(check_holder(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a|b", "é", "a\n", &"x".repeat(65)] {
            assert!(matches!(check_holder(bad), Err(LedgerError::Configuration(_))), "{bad:?}");
        }
    }
}
