//! What a ledger is made of, the same whichever store it is in: one line of JSON for each record of an export.

mod requests;

pub(crate) use requests::{Aside, Checkpointed, Finished, Hold, KeptReceiptOf, Receipt, Recent};

use cocoon_receipts::{AccountId, Digest, KeyId, NanoTon, ProjectId, RequestId};
use serde::{Deserialize, Serialize};

use crate::{
    Account, Channel, JournalEntry, JournalId, Kept, KeyRecord, LedgerError, Limits, Payout, Shard, Tally,
    TonAddress, Totals, Whose, Width, Work, withdrawals,
};

/// One of them. A shard's records come after its [`ShardState`]; keysets and documents are no shard's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Record {
    Keyset(Keyset),
    Document(Document),
    Shard(Box<ShardState>),
    Account(AccountState),
    Hold(Box<Hold>),
    Finished(Finished),
    Receipt(Receipt),
    Aside(Aside),
    /// What makes it the same deposit.
    Deposit(String),
    /// A grant's id.
    Grant(RequestId),
    /// How the journal stands, where it was archived or is read.
    Retention(Box<Kept>),
    Journal(Box<JournalEntry>),
    Withdrawal(Withdrawal),
    Payout(PayoutOf),
    /// One of the treasury's log, which is the first shard's.
    Decision(Decision),
    Channel(Box<Channel>),
    Cap(Cap),
    Key(Box<KeyRecord>),
    Project(ProjectOf),
    Used(Box<UsedOf>),
    Usage(Box<UsageOf>),
    Recent(Box<Recent>),
    KeptReceipt(Box<KeptReceiptOf>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keyset {
    #[serde(with = "super::forms::bytes")]
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    pub(crate) keyset: Digest,
    pub(crate) nonce: Digest,
    pub(crate) verified_at: u64,
    #[serde(with = "super::forms::bytes")]
    pub(crate) bytes: Vec<u8>,
}

/// A shard's clock and sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShardState {
    pub(crate) shard: Shard,
    /// The latest time it saw, below which its clock never goes.
    pub(crate) last_ms: u64,
    /// What a test set its clock to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) test_ms: Option<u64>,
    /// The journal's last id, also where no entry is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_entry: Option<JournalId>,
    pub(crate) totals: Totals,
    /// Tokens that were counted so far: a bound on every bucket.
    pub(crate) tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) withdrawals_stopped: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountState {
    pub(crate) account: AccountId,
    pub(crate) state: Account,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Withdrawal {
    pub(crate) intent: RequestId,
    pub(crate) account: AccountId,
    pub(crate) amount: NanoTon,
    pub(crate) address: TonAddress,
    pub(crate) state: withdrawals::State,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PayoutOf {
    pub(crate) account: AccountId,
    /// As it was set: a pending address may be due.
    pub(crate) payout: Payout,
}

/// Decisions come in the order of their numbers, without a gap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decision {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) text: String,
}

/// Limits of an account or one of its projects, or from when on a key is refused ([`crate::key_registry::cap`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cap {
    pub(crate) account: AccountId,
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectOf {
    pub(crate) account: AccountId,
    pub(crate) id: ProjectId,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

/// What a key, a project or an account has used ([`crate::used::Used`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsedOf {
    pub(crate) account: AccountId,
    pub(crate) whose: Whose,
    #[serde(with = "super::forms::numbers")]
    pub(crate) numbers: [i64; crate::used::NUMBERS],
}

/// One row of a usage bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageOf {
    pub(crate) account: AccountId,
    pub(crate) width: Width,
    /// The bucket's begin.
    pub(crate) from_ms: u64,
    pub(crate) key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectId>,
    pub(crate) model: String,
    pub(crate) work: Work,
    pub(crate) tally: Tally,
}

impl Record {
    /// As it is named in a line.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Keyset(_) => "keyset",
            Self::Document(_) => "document",
            Self::Shard(_) => "shard",
            Self::Account(_) => "account",
            Self::Hold(_) => "hold",
            Self::Finished(_) => "finished",
            Self::Receipt(_) => "receipt",
            Self::Aside(_) => "aside",
            Self::Deposit(_) => "deposit",
            Self::Grant(_) => "grant",
            Self::Retention(_) => "retention",
            Self::Journal(_) => "journal",
            Self::Withdrawal(_) => "withdrawal",
            Self::Payout(_) => "payout",
            Self::Decision(_) => "decision",
            Self::Channel(_) => "channel",
            Self::Cap(_) => "cap",
            Self::Key(_) => "key",
            Self::Project(_) => "project",
            Self::Used(_) => "used",
            Self::Usage(_) => "usage",
            Self::Recent(_) => "recent",
            Self::KeptReceipt(_) => "kept_receipt",
        }
    }

    /// Bytes of what may be long in it.
    pub(super) fn long_bytes(&self) -> usize {
        match self {
            Self::Keyset(of) => of.bytes.len(),
            Self::Document(of) => of.bytes.len(),
            Self::KeptReceipt(of) => of.jws.len(),
            Self::Decision(of) => of.text.len(),
            _ => 0,
        }
    }

    /// Of one that a file has in the wrong part.
    pub(crate) fn misplaced(&self) -> LedgerError {
        LedgerError::Corrupt(format!("a {} record does not belong there", self.kind()))
    }
}

impl Cap {
    /// # Errors
    /// [`LedgerError::Corrupt`] for what no operation would read.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        let of = |prefix: &str| self.name.strip_prefix(prefix);
        let known = match (of("project:"), of("revoked:")) {
            _ if self.name == "account" => Limits::from_text(&self.value).is_ok(),
            (Some(project), _) => {
                project.parse::<ProjectId>().is_ok() && Limits::from_text(&self.value).is_ok()
            }
            (_, Some(key)) => key.parse::<KeyId>().is_ok() && self.value.parse::<u64>().is_ok(),
            _ => false,
        };
        if known {
            Ok(())
        } else {
            Err(LedgerError::Corrupt(format!("cap {:?}: {:?}", self.name, self.value)))
        }
    }
}
