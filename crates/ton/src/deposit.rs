//! Which transactions of the treasury's wallet are deposits.
//!
//! A deposit is credited only if money has come in to stay and the comment says for whom; anything else stays
//! on the wallet, unclaimed, and is never sent back by itself, since it may come from an exchange.

use cocoon_receipts::NanoTon;

use crate::reader::Reader;
use crate::{Address, ArcCell, CellError, Compute, Direction, Transaction, TransactionId};

/// Longest comment that is read, bytes. What names an account is far shorter.
pub const MAX_COMMENT_BYTES: usize = 512;

/// Most cells of a comment; wallets put 127 bytes or so into each.
const MAX_COMMENT_CELLS: usize = 16;

/// A transfer to the treasury with a comment, which has succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// What it is known by, for crediting it once.
    pub id: TransactionId,
    /// Unix time of the transaction.
    pub now: u32,
    /// Who sent it: perhaps an exchange, on behalf of many.
    pub from: Address,
    /// Of the message, before the transaction's fees. NanoTON.
    pub amount: NanoTon,
    /// Not empty; compared byte for byte with the ones that were given out.
    pub comment: String,
}

/// Why a transaction is not a deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotADeposit {
    #[error("the transaction is of another account than the treasury")]
    OtherAccount,
    #[error("nothing came in by a message between accounts")]
    NotInternal,
    #[error("the message came back from where the treasury had sent it")]
    Bounced,
    #[error("the wallet did not run, so it was not deployed")]
    NotRun,
    #[error("the wallet ran and failed with exit code {0}")]
    Failed(i32),
    #[error("the transaction was aborted")]
    Aborted,
    #[error("the transaction has a bounce phase: the money went back")]
    BouncePhase,
    #[error("less than the minimum of {0} nanoTON")]
    BelowMinimum(NanoTon),
    #[error("there is no comment")]
    NoComment,
    #[error("the body is not a comment in plain text")]
    NotText,
    #[error("the comment is longer than {MAX_COMMENT_BYTES} bytes")]
    CommentTooLong,
}

/// Reads a transaction of `treasury` as a deposit of at least `minimum`.
///
/// # Errors
/// [`NotADeposit`]: the first rule that it breaks, in the order above.
pub fn deposit(
    transaction: &Transaction,
    treasury: &Address,
    minimum: NanoTon,
) -> Result<Deposit, NotADeposit> {
    if transaction.account != *treasury.hash() {
        return Err(NotADeposit::OtherAccount);
    }
    let message = transaction.in_message.as_ref().ok_or(NotADeposit::NotInternal)?;
    let Direction::Internal(internal) = &message.direction else { return Err(NotADeposit::NotInternal) };
    if internal.to != *treasury {
        return Err(NotADeposit::OtherAccount);
    }
    if internal.bounced {
        return Err(NotADeposit::Bounced);
    }
    match transaction.compute {
        Compute::Ran { success: false, exit_code } => return Err(NotADeposit::Failed(exit_code)),
        Compute::Skipped => return Err(NotADeposit::NotRun),
        Compute::Ran { success: true, .. } => {}
    }
    if transaction.aborted {
        return Err(NotADeposit::Aborted);
    }
    if transaction.has_bounce_phase {
        return Err(NotADeposit::BouncePhase);
    }
    if internal.value < minimum {
        return Err(NotADeposit::BelowMinimum(minimum));
    }
    let comment = comment(&message.body)?;
    Ok(Deposit {
        id: transaction.id,
        now: transaction.now,
        from: internal.from,
        amount: internal.value,
        comment,
    })
}

/// The comment of what came in with a transaction, whatever became of it.
#[must_use]
pub fn comment_of(transaction: &Transaction) -> Option<String> {
    let message = transaction.in_message.as_ref()?;
    comment(&message.body).ok()
}

/// A body that begins with 32 zeros, then has UTF-8 which goes on in the only reference of each cell.
fn comment(body: &ArcCell) -> Result<String, NotADeposit> {
    let malformed = |_: CellError| NotADeposit::NotText;
    let mut reader = Reader::new(body).map_err(malformed)?;
    if reader.bits_left() == 0 {
        return Err(NotADeposit::NoComment);
    }
    reader.tag(32, 0, "a comment").map_err(malformed)?;
    let mut text = Vec::new();
    for _ in 0..MAX_COMMENT_CELLS {
        while reader.bits_left() > 0 {
            let [byte] = reader.bytes().map_err(malformed)?;
            text.push(byte);
        }
        if text.len() > MAX_COMMENT_BYTES {
            return Err(NotADeposit::CommentTooLong);
        }
        match reader.reference() {
            Ok(next) => {
                reader.end().map_err(malformed)?;
                reader = Reader::new(next).map_err(malformed)?;
            }
            Err(_) if text.is_empty() => return Err(NotADeposit::NoComment),
            Err(_) => return String::from_utf8(text).map_err(|_| NotADeposit::NotText),
        }
    }
    Err(NotADeposit::CommentTooLong)
}

#[cfg(test)]
mod tests;
