//! What is kept of requests and their receipts.

use cocoon_receipts::{
    AccountId, Digest, KeyId, NanoTon, OperatorId, ProjectId, ReceiptId, RequestId, Usage,
};
use serde::{Deserialize, Serialize};

use crate::Work;
use crate::finished::State;
use crate::used::Took;

/// An open hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hold {
    pub(crate) request: RequestId,
    pub(crate) account: AccountId,
    pub(crate) key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectId>,
    pub(crate) model: String,
    pub(crate) work: Work,
    pub(crate) amount: NanoTon,
    pub(crate) due_ms: u64,
    pub(crate) reserved_ms: u64,
    pub(crate) lease_end_ms: u64,
    #[serde(with = "crate::transfer::forms::took")]
    pub(crate) took: Took,
    /// 0 until it is bound, and then without a keyset.
    pub(crate) attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keyset: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint: Option<Checkpointed>,
}

/// The last report of a hold's backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpointed {
    pub(crate) cost: NanoTon,
    pub(crate) operator: OperatorId,
    pub(crate) operator_part: NanoTon,
    pub(crate) usage: Usage,
}

/// A request that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    pub(crate) request: RequestId,
    pub(crate) state: State,
    pub(crate) account: AccountId,
    pub(crate) attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keyset: Option<Digest>,
    pub(crate) charged: NanoTon,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operator: Option<OperatorId>,
    pub(crate) operator_part: NanoTon,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    pub(crate) reserved_ms: u64,
}

/// A receipt that was booked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipt {
    pub(crate) receipt: ReceiptId,
    pub(crate) charged: NanoTon,
}

/// A receipt that was refused for its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aside {
    pub(crate) receipt: ReceiptId,
    pub(crate) at_ms: u64,
    pub(crate) account: AccountId,
    pub(crate) request: RequestId,
    pub(crate) operator: OperatorId,
    pub(crate) cost: NanoTon,
    pub(crate) receipt_digest: Digest,
}

/// One of an account's last requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recent {
    pub(crate) account: AccountId,
    /// From 1, the oldest charge first; at most [`crate::MAX_RECENT`].
    pub(crate) order: u32,
    /// When it was charged.
    pub(crate) at_ms: u64,
    pub(crate) request: RequestId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<ReceiptId>,
    pub(crate) key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectId>,
    pub(crate) model: String,
    pub(crate) work: Work,
    pub(crate) usage: Usage,
    pub(crate) charged: NanoTon,
}

/// A receipt as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptReceiptOf {
    pub(crate) account: AccountId,
    pub(crate) receipt: ReceiptId,
    pub(crate) request: RequestId,
    pub(crate) key: KeyId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) project: Option<ProjectId>,
    /// Its request was charged by it.
    pub(crate) billed: bool,
    pub(crate) charged: NanoTon,
    pub(crate) jws: String,
}
