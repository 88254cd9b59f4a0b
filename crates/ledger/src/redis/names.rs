//! Key names. Whatever changes together carries its shard's hash tag, so that one function call is atomic in a
//! cluster as on one server.

use cocoon_receipts::{AccountId, Digest, RequestId};

use crate::{Shard, Whose, Width};

/// Version and options of the ledger.
pub(super) const SCHEMA: &str = "cocoon:schema";

/// What is before the digests of keysets.
pub(super) const KEYSETS: &str = "cocoon:keyset:";

/// What is before the digests of keysets whose documents are kept.
pub(super) const DOCUMENTS: &str = "cocoon:document:";

pub(super) fn keyset(digest: Digest) -> String {
    format!("{KEYSETS}{digest}")
}

/// The first document that was believed for a keyset.
pub(super) fn document(keyset: Digest) -> String {
    format!("{DOCUMENTS}{keyset}")
}

/// The keys of one shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardKeys(pub(super) Shard);

impl ShardKeys {
    pub(super) fn clock(self) -> String {
        self.named("clock")
    }

    pub(super) fn totals(self) -> String {
        self.named("totals")
    }

    pub(super) fn operators(self) -> String {
        self.named("operators")
    }

    pub(super) fn journal(self) -> String {
        self.named("journal")
    }

    /// How far the journal is archived, and what of it is gone.
    pub(super) fn retention(self) -> String {
        self.named("retention")
    }

    /// Who reads the journal, and how far.
    pub(super) fn cursors(self) -> String {
        self.named("cursors")
    }

    /// Open holds by the time they may be ended.
    pub(super) fn leases(self) -> String {
        self.named("leases")
    }

    /// Days that have seen-sets.
    pub(super) fn days(self) -> String {
        self.named("days")
    }

    /// Receipts refused for their age.
    pub(super) fn aside(self) -> String {
        self.named("aside")
    }

    pub(super) fn deposits(self) -> String {
        self.named("deposits")
    }

    pub(super) fn grants(self) -> String {
        self.named("grants")
    }

    /// Names of all accounts.
    pub(super) fn accounts(self) -> String {
        self.named("accounts")
    }

    pub(super) fn withdrawals(self) -> String {
        self.named("withdrawals")
    }

    /// Intents that have begun and not ended, by their ids.
    pub(super) fn open_withdrawals(self) -> String {
        self.named("withdrawals-open")
    }

    /// What was decided to be paid, of the first shard.
    pub(super) fn decisions(self) -> String {
        self.named("decisions")
    }

    /// Who may decide, of the first shard.
    pub(super) fn treasury_lease(self) -> String {
        self.named("treasury-lease")
    }

    /// Accounts of all channels.
    pub(super) fn channels(self) -> String {
        self.named("channels")
    }

    /// What is known of a channel.
    pub(super) fn channel(self, account: &AccountId) -> String {
        self.named(&format!("channel:{account}"))
    }

    /// Why withdrawals are stopped; absent while they are not.
    pub(super) fn stopped(self) -> String {
        self.named("withdrawals-stopped")
    }

    /// Where an account's withdrawals go.
    pub(super) fn payout(self, account: &AccountId) -> String {
        self.named(&format!("payout:{account}"))
    }

    pub(super) fn account(self, account: &AccountId) -> String {
        self.named(&format!("account:{account}"))
    }

    /// What became of an account's idempotency keys.
    pub(super) fn answers(self, account: &AccountId) -> String {
        self.named(&format!("answers:{account}"))
    }

    /// The answers themselves.
    pub(super) fn answer_bytes(self, account: &AccountId) -> String {
        self.named(&format!("answer-bytes:{account}"))
    }

    /// Their age.
    pub(super) fn answer_ages(self, account: &AccountId) -> String {
        self.named(&format!("answer-ages:{account}"))
    }

    /// Limits of an account and its projects, and which of its keys are revoked.
    pub(super) fn caps(self, account: &AccountId) -> String {
        self.named(&format!("caps:{account}"))
    }

    /// Records of an account's keys.
    pub(super) fn key_records(self, account: &AccountId) -> String {
        self.named(&format!("key-records:{account}"))
    }

    /// Their ids in every set that they are in.
    pub(super) fn key_ids(self, account: &AccountId) -> String {
        self.named(&format!("key-ids:{account}"))
    }

    /// Projects that its keys or limits name.
    pub(super) fn projects(self, account: &AccountId) -> String {
        self.named(&format!("projects:{account}"))
    }

    /// What one of its holders has used, by the name of its counter.
    pub(super) fn used(self, account: &AccountId, counter: &str) -> String {
        self.named(&format!("used:{account}|{counter}"))
    }

    /// Requests that run, by the end of their lease.
    pub(super) fn slots(self, account: &AccountId) -> String {
        self.named(&format!("slots:{account}"))
    }

    /// How many of them each holder has.
    pub(super) fn running(self, account: &AccountId) -> String {
        self.named(&format!("running:{account}"))
    }

    pub(super) fn hold(self, request: RequestId) -> String {
        self.named(&format!("hold:{request}"))
    }

    pub(super) fn finished(self, day: u64) -> String {
        self.named(&format!("finished:{day}"))
    }

    pub(super) fn receipts(self, day: u64) -> String {
        self.named(&format!("receipts:{day}"))
    }

    /// Receipts as they were sent, by their ids.
    pub(super) fn kept(self, day: u64) -> String {
        self.named(&format!("kept:{day}"))
    }

    /// The receipt that each request was charged by.
    pub(super) fn kept_of(self, day: u64) -> String {
        self.named(&format!("kept-of:{day}"))
    }

    /// An account's last requests by the time they were charged.
    pub(super) fn recent(self, account: &AccountId) -> String {
        self.named(&format!("recent:{account}"))
    }

    /// The requests themselves.
    pub(super) fn requests(self, account: &AccountId) -> String {
        self.named(&format!("requests:{account}"))
    }

    /// An account's buckets of one width in one window of time.
    pub(super) fn usage(self, account: &AccountId, width: Width, window: u64) -> String {
        self.named(&format!("usage:{}:{window}:{account}", width_name(width)))
    }

    /// What is before the names of its keys.
    pub(super) fn prefix(self) -> String {
        self.named("")
    }

    fn named(self, name: &str) -> String {
        format!("cocoon:{{{}}}:{name}", self.0)
    }
}

pub(super) fn width_name(width: Width) -> &'static str {
    match width {
        Width::Minute => "minutes",
        Width::Hour => "hours",
        Width::Day => "days",
    }
}

/// The account itself among its holders.
pub(super) const ACCOUNT_COUNTER: &str = "a";

/// One of an account's holders. No name has the sign between its parts.
pub(super) fn counter(whose: &Whose) -> String {
    match whose {
        Whose::Key(key) => key_counter(key.as_str()),
        Whose::Project(project) => project_counter(project.as_str()),
        Whose::Account => ACCOUNT_COUNTER.to_owned(),
    }
}

/// The inverse of [`counter`].
pub(super) fn whose(counter: &str) -> Option<Whose> {
    match counter.split_once('|') {
        Some(("k", key)) => key.parse().map(Whose::Key).ok(),
        Some(("p", project)) => project.parse().map(Whose::Project).ok(),
        None if counter == ACCOUNT_COUNTER => Some(Whose::Account),
        _ => None,
    }
}

pub(super) fn key_counter(key: &str) -> String {
    format!("k|{key}")
}

pub(super) fn project_counter(project: &str) -> String {
    format!("p|{project}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_a_shard_carries_its_tag() {
        assert_eq!(ShardKeys(Shard(7)).receipts(20_000), "cocoon:{s07}:receipts:20000");
    }
}
