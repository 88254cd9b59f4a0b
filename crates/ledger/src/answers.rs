//! Answers that are kept for clients who repeat a request under the same idempotency key.
//!
//! The store sees neither the key nor the answer: an entry's name, the fingerprint of its request and the answer itself
//! arrive as the caller made them under a secret that only its client has.

use std::time::Duration;

use async_trait::async_trait;
use cocoon_receipts::{AccountId, Digest, RequestId};

use crate::LedgerError;

pub(crate) const KEPT_FOR_MS: u64 = 24 * 60 * 60 * 1000;

/// How long an answer is kept, and any other end of a request remembered.
pub const KEPT_FOR: Duration = Duration::from_millis(KEPT_FOR_MS);

/// Entries of one account; the oldest ended one goes for a new one.
pub const MAX_ENTRIES: u32 = 1000;

/// Bytes of all kept answers of one account; the oldest go for a new one.
pub const MAX_KEPT_BYTES: u64 = 64 << 20;

/// Bytes of one kept answer; whoever keeps a larger one is refused.
pub const MAX_ANSWER_BYTES: usize = (1 << 20) + (32 << 10);

/// One request under one idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerName {
    pub account: AccountId,
    /// Derived from the caller's secrets: who has the store alone learns nothing from it.
    pub id: Digest,
}

/// A request that wants to run under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begin {
    pub name: AnswerName,
    /// Differs where the request does; as little to be guessed from as the id.
    pub fingerprint: Digest,
    /// Who runs it. The same holder again is no second request.
    pub holder: RequestId,
    /// Without a sign of life for this long, the holder is taken for gone.
    pub lease: Duration,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nothing, or its holder is gone: the caller runs it now.
    Started,
    /// Another holder does.
    Running,
    /// It ended with this.
    Kept(Vec<u8>),
    /// It ended with an answer that was too large.
    NotKept,
    /// It belongs to another request.
    OtherRequest,
    /// The account has [`MAX_ENTRIES`], and all of them are running.
    Full,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Kept(Vec<u8>),
    NotKept,
}

/// The operations. Each is idempotent; where the holder has lost its place to another they answer `false` and change
/// nothing.
#[async_trait]
pub trait Answers {
    /// Takes the key for its holder, or says what is known of it.
    async fn begin_answer(&self, begin: &Begin) -> Result<Begun, LedgerError>;

    /// A sign of life.
    async fn renew_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        lease: Duration,
    ) -> Result<bool, LedgerError>;

    /// Ends a running request. Its ending is remembered for [`KEPT_FOR`].
    async fn end_answer(
        &self,
        name: &AnswerName,
        holder: RequestId,
        ending: &Ending,
    ) -> Result<bool, LedgerError>;

    /// Forgets a running request: the next one under its key runs.
    async fn abandon_answer(&self, name: &AnswerName, holder: RequestId) -> Result<bool, LedgerError>;
}

/// # Errors
/// [`LedgerError::Overflow`].
pub(crate) fn check_ending(ending: &Ending) -> Result<(), LedgerError> {
    match ending {
        Ending::Kept(answer) if answer.len() > MAX_ANSWER_BYTES => Err(LedgerError::Overflow),
        _ => Ok(()),
    }
}
