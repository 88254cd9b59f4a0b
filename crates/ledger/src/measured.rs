//! A ledger that tells somebody of its calls: which they were, how they ended, how long they took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cocoon_receipts::{AccountId, Digest, KeyId, ProjectId, ReceiptId, RequestId};

use crate::*;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallEnd {
    /// Whatever the answer: a refusal is one.
    Answered,
    Unavailable,
    Schema,
    Configuration,
    Overflow,
    Corrupt,
    /// Nobody waited for it any more. It may have been done.
    Abandoned,
}

impl CallEnd {
    fn of<T>(answer: &Result<T, LedgerError>) -> Self {
        match answer {
            Ok(_) => Self::Answered,
            Err(LedgerError::Unavailable(_)) => Self::Unavailable,
            Err(LedgerError::Schema(_)) => Self::Schema,
            Err(LedgerError::Configuration(_)) => Self::Configuration,
            Err(LedgerError::Overflow) => Self::Overflow,
            Err(LedgerError::Corrupt(_)) => Self::Corrupt,
        }
    }

    /// Its name in snake case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unavailable => "unavailable",
            Self::Schema => "schema",
            Self::Configuration => "configuration",
            Self::Overflow => "overflow",
            Self::Corrupt => "corrupt",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Is told of every call.
pub trait Observer: std::fmt::Debug + Send + Sync {
    /// `call` is the method's name.
    fn called(&self, call: &'static str, end: CallEnd, took: Duration);
}

/// The ledger.
#[derive(Debug)]
pub struct Measured {
    ledger: Arc<dyn Ledger>,
    observer: Arc<dyn Observer>,
}

/// A call under way; told when it is dropped, done or not.
struct UnderWay<'a> {
    observer: &'a dyn Observer,
    call: &'static str,
    begun: Instant,
    end: CallEnd,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.observer.called(self.call, self.end, self.begun.elapsed());
    }
}

impl Measured {
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, observer: Arc<dyn Observer>) -> Self {
        Self { ledger, observer }
    }

    async fn measure<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        let observer = self.observer.as_ref();
        let mut under_way = UnderWay { observer, call, begun: Instant::now(), end: CallEnd::Abandoned };
        let answer = answer.await;
        under_way.end = CallEnd::of(&answer);
        answer
    }
}

/// Each trait with its calls, and what of it is no call.
macro_rules! measured {
    ($($subject:ident {
        $(async fn $call:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty;)*
        $(#[not_measured] $other:item)?
    })*) => {$(
        #[async_trait]
        impl $subject for Measured {
            $(async fn $call(&self $(, $argument: $kind)*) -> Result<$answer, LedgerError> {
                self.measure(stringify!($call), self.ledger.$call($($argument),*)).await
            })*
            $($other)?
        }
    )*};
}

impl Health for Measured {
    fn is_up(&self) -> bool {
        self.ledger.is_up()
    }
}

measured! {
    Answers {
        async fn begin_answer(&self, begin: &Begin) -> Begun;
        async fn renew_answer(&self, name: &AnswerName, holder: RequestId, lease: Duration) -> bool;
        async fn end_answer(&self, name: &AnswerName, holder: RequestId, ending: &Ending) -> bool;
        async fn abandon_answer(&self, name: &AnswerName, holder: RequestId) -> bool;
    }
    Books {
        async fn account_names(&self, shard: Shard, after: Option<&AccountId>, limit: u32) -> Vec<AccountId>;
        async fn accounts_at(&self, shard: Shard, accounts: &[AccountId]) -> Cut<Vec<Account>>;
        async fn totals_at(&self, shard: Shard) -> Cut<Totals>;
        async fn holds(&self, shard: Shard) -> Option<Holds>;
        async fn last_entry(&self, shard: Shard) -> Option<JournalEntry>;
        async fn entry(&self, shard: Shard, id: &JournalId) -> Option<JournalEntry>;
    }
    Channels {
        async fn open_channel(&self, opening: &ChannelOpening) -> ChannelOpened;
        async fn channel(&self, account: &AccountId) -> Option<Channel>;
        async fn raise_ceiling(&self, account: &AccountId, voucher: &KeptVoucher) -> Raised;
        async fn close_channel(&self, account: &AccountId) -> bool;
        async fn channels(&self, shard: Shard, after: Option<&AccountId>, limit: u32) -> Vec<(Channel, Account)>;
    }
    KeyRegistry {
        async fn put_key(&self, record: &KeyRecord) -> Recorded;
        async fn key(&self, account: &AccountId, id: &KeyId) -> Option<KeyRecord>;
        async fn keys(&self, query: &KeyQuery) -> Vec<KeyRecord>;
        async fn revoke_key(&self, account: &AccountId, id: &KeyId, after: Duration) -> Option<Revoked>;
        async fn forget_keys(&self, account: &AccountId, ids: &[KeyId]) -> u64;
        async fn is_revoked(&self, account: &AccountId, id: &KeyId) -> bool;
        async fn set_limits(&self, account: &AccountId, project: Option<&ProjectId>, limits: &Limits) -> bool;
        async fn limits(&self, account: &AccountId, project: Option<&ProjectId>) -> Limits;
        async fn projects(&self, account: &AccountId) -> Vec<Project>;
    }
    Requests {
        async fn requests(&self, query: &RequestQuery) -> Vec<RequestRecord>;
        async fn receipt(&self, account: &AccountId, receipt: ReceiptId) -> Option<KeptReceipt>;
        async fn receipt_of(&self, account: &AccountId, request: RequestId) -> Option<KeptReceipt>;
    }
    Retention {
        async fn kept(&self, shard: Shard) -> Kept;
        async fn put_head(&self, shard: Shard, before: Option<Digest>, head: &ChainHead) -> bool;
        async fn put_cursor(&self, shard: Shard, name: &CursorName, at: Option<&JournalId>) -> ();
        async fn drop_cursor(&self, shard: Shard, name: &CursorName) -> ();
        async fn trim(&self, shard: Shard, age: Duration) -> u32;
        async fn sent_receipts(&self, shard: Shard, receipts: &[ReceiptId]) -> Vec<Option<String>>;
    }
    Standings {
        async fn standing(&self, account: &AccountId, whose: &Whose) -> Standing;
    }
    Treasury {
        async fn append_decisions(&self, after: u64, records: &[String]) -> Appending;
        async fn decisions(&self, after: u64, limit: u32) -> Vec<String>;
        async fn hold_lease(&self, holder: &str, lasts: Duration) -> Lease;
        async fn give_up_lease(&self, holder: &str) -> ();
        async fn open_withdrawals(&self, shard: Shard, after: Option<RequestId>, limit: u32) -> Vec<OpenWithdrawal>;
    }
    Usages {
        async fn usage(&self, query: &UsageQuery) -> UsagePage;
    }
    Withdrawals {
        async fn set_payout_address(&self, account: &AccountId, address: &TonAddress) -> Payout;
        async fn payout(&self, account: &AccountId) -> Payout;
        async fn withdraw_begin(&self, withdrawal: &Withdrawal) -> WithdrawalBegun;
        async fn withdraw_done(&self, account: &AccountId, intent: RequestId) -> WithdrawalEnded;
        async fn withdraw_undo(&self, account: &AccountId, intent: RequestId) -> WithdrawalEnded;
        async fn stop_withdrawals(&self, shard: Shard, reason: &str) -> ();
        async fn withdrawals_stopped(&self, shard: Shard) -> Option<String>;
        async fn resume_withdrawals(&self, shard: Shard) -> ();
    }
    Ledger {
        async fn reserve(&self, reserve: &Reserve) -> Reserved;
        async fn bind(&self, bind: &Bind) -> Bound;
        async fn extend(&self, checkpoint: &Checkpoint) -> Extended;
        async fn settle(&self, settlement: &Settlement) -> Settled;
        async fn release(&self, release: &Release) -> Released;
        async fn expired(&self, shard: Shard, limit: u32) -> Vec<RequestId>;
        async fn expire(&self, shard: Shard, request: RequestId) -> Expired;
        async fn credit(&self, credit: &Credit) -> Booked;
        async fn grant(&self, grant: &Grant) -> Booked;
        async fn account(&self, account: &AccountId) -> Account;
        async fn totals(&self, shard: Shard) -> Totals;
        async fn journal(&self, shard: Shard, after: Option<&JournalId>, limit: u32) -> Vec<JournalEntry>;
        async fn put_keyset(&self, bytes: &[u8]) -> Digest;
        async fn keyset(&self, digest: Digest) -> Option<Vec<u8>>;
        async fn put_document(&self, keyset: Digest, document: &KeptDocument) -> ();
        async fn document(&self, keyset: Digest) -> Option<KeptDocument>;
        async fn ping(&self) -> ();
        async fn set_test_time(&self, at_ms: u64) -> ();
        #[not_measured]
        fn shards(&self) -> ShardCount {
            self.ledger.shards()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::embedded::Embedded;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(&'static str, CallEnd, Duration)>>);

    impl Observer for Heard {
        fn called(&self, call: &'static str, end: CallEnd, took: Duration) {
            self.0.lock().unwrap().push((call, end, took));
        }
    }

    #[tokio::test]
    async fn every_call_is_told_once_with_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let ledger = Embedded::open(&path, Options::default()).unwrap();
        let heard = Arc::new(Heard::default());
        let measured = Measured::new(Arc::new(ledger), heard.clone());
        let alice: AccountId = "alice".parse().unwrap();
        measured.account(&alice).await.unwrap();
        measured.set_test_time(1).await.unwrap_err();
        // Begun and given up, as nobody gets at a file that another has.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let given_up = tokio::time::timeout(Duration::from_millis(20), measured.ping()).await;
        assert!(given_up.is_err(), "{given_up:?}");
        other.execute_batch("ROLLBACK").unwrap();
        assert!(measured.is_up() && measured.shards() == ShardCount::DEFAULT);
        let heard = heard.0.lock().unwrap();
        let told: Vec<_> = heard.iter().map(|(call, end, _)| (*call, *end)).collect();
        let expected = [
            ("account", CallEnd::Answered),
            ("set_test_time", CallEnd::Configuration),
            ("ping", CallEnd::Abandoned),
        ];
        assert_eq!(told, expected);
        assert!(heard[0].2 > Duration::ZERO);
    }
}
