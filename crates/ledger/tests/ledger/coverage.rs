//! What the cases of the random test came to, all together: a run that never came to a correction proves nothing about
//! corrections.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cocoon_ledger::{JournalEntry, JournalKind};

use crate::calls::Call;

/// Calls with the first word of their answer, and kinds of journal entries, that every run must come to.
const EVERYWHERE: [&str; 90] = [
    "reserve: Held",
    "reserve: Refused(InsufficientBalance",
    "reserve: Refused(BalanceHeld",
    "reserve: Refused(Finished",
    "reserve: Refused(Limited",
    "reserve: Refused(Revoked",
    "bind: Bound",
    "bind: Superseded",
    "bind: Gone",
    "extend: Extended",
    "extend: Ignored",
    "extend: Gone",
    "settle: Charged",
    "settle: Already",
    "settle: AtNoCost",
    "settle: TooOld",
    "settle: Overflow",
    "release: Released",
    "release: Tombstone",
    "release: Already",
    "expired: none",
    "expired: some",
    "expire: Expired",
    "expire: NotYet",
    "expire: Gone",
    "credit: Booked",
    "credit: Already",
    "credit: Overflow",
    "grant: Booked",
    "grant: Already",
    "grant: Overflow",
    "set payout: Payout",
    "withdraw begin: Begun",
    "withdraw begin: Done",
    "withdraw begin: Undone",
    "withdraw begin: Overflow",
    "withdraw begin: Refused(Insufficient",
    "withdraw begin: Refused(NoAddress",
    "withdraw begin: Refused(OtherIntent",
    "withdraw begin: Refused(Stopped",
    "withdraw done: Ended",
    "withdraw done: Otherwise",
    "withdraw done: Unknown",
    "withdraw undo: Ended",
    "withdraw undo: Otherwise",
    "withdraw undo: Unknown",
    "stop withdrawals: done",
    "resume withdrawals: done",
    "set limits: true",
    "set limits: Overflow",
    "put key: Recorded",
    "put key: Already",
    "put key: Overflow",
    "revoke: Some(Revoked",
    "revoke: None",
    "is revoked: true",
    "is revoked: false",
    "keys: none",
    "keys: some",
    "append decisions: Appended",
    "append decisions: Moved",
    "hold lease: Lease",
    "give up lease: done",
    "credit: Configuration",
    "grant: Configuration",
    "withdraw begin: Refused(OfChannel",
    "open channel: Open",
    "open channel: Closed",
    "open channel: OtherKey",
    "open channel: Overflow",
    "open channel: Configuration",
    "raise: Raised",
    "raise: Known",
    "raise: AboveDeposit",
    "raise: Closed",
    "raise: Overflow",
    "raise: Unknown",
    "raise: Configuration",
    "close channel: true",
    "close channel: false",
    "set clock back: done",
    "journal: charge",
    "journal: shortfall",
    "journal: expiry",
    "journal: refund",
    "journal: late charge",
    "journal: voucher",
    "journal: withdrawing",
    "journal: withdrawn",
    "journal: withdrawal undone",
];

/// How often each was seen.
#[derive(Debug, Default)]
pub(crate) struct Coverage(Mutex<BTreeMap<String, u64>>);

impl Coverage {
    pub(crate) fn answered(&self, call: &Call, said: &str) {
        let word: String =
            said.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '(').collect();
        let word = match (said.as_bytes(), word.as_str()) {
            ([] | [b'(', b')'], _) => "done",
            ([b'[', b']'], _) => "none",
            ([b'[', ..], _) => "some",
            (_, word) => word,
        };
        self.saw(format!("{}: {word}", call.name()));
    }

    pub(crate) fn journaled(&self, entry: &JournalEntry) {
        let kind = match entry.kind {
            JournalKind::Charge if entry.shortfall.0 > 0 => "shortfall",
            JournalKind::Charge => "charge",
            JournalKind::Expiry => "expiry",
            JournalKind::Correction if entry.amount > 0 => "refund",
            JournalKind::Correction if entry.amount < 0 => "late charge",
            JournalKind::Voucher => "voucher",
            JournalKind::Withdrawing => "withdrawing",
            JournalKind::Withdrawn => "withdrawn",
            JournalKind::WithdrawalUndone => "withdrawal undone",
            _ => return,
        };
        self.saw(format!("journal: {kind}"));
    }

    fn saw(&self, what: String) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    pub(crate) fn check(self) {
        let seen = self.0.into_inner().unwrap();
        let missed: Vec<_> = EVERYWHERE.iter().filter(|what| !seen.contains_key(**what)).collect();
        assert!(missed.is_empty(), "never came to {missed:?}: {seen:#?}");
    }
}
