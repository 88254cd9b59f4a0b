//! What a batch has really paid, by the transaction that ran it.
//!
//! A mined batch is not a paid batch: actions that fail are passed over while the transaction succeeds. So
//! only a message that went out counts.

use std::collections::HashMap;

use cocoon_receipts::NanoTon;

use crate::reader::Reader;
use crate::{
    Address, ArcCell, Batch, CellError, ChannelMessage, Compute, Direction, Internal, Message, PAYOUT_OP,
    Payout, PayoutId, Transaction,
};

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaidBatch {
    /// Went out, each with the logical time of its message.
    pub sent: Vec<Sent>,
    /// Did not, and are owed as before.
    pub skipped: Vec<Payout>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub payout: Payout,
    pub created_lt: u64,
}

/// A transaction that does not say what became of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAPayment {
    #[error("the transaction is of another account")]
    OtherAccount,
    #[error("the transaction was not begun by this batch")]
    OtherMessage,
    #[error("the transaction was aborted: the wallet's seqno may stand, and the batch may still run")]
    Aborted,
    #[error("a message went out under payout {0:?} to another payee or with another amount")]
    Differs(PayoutId),
    #[error("payout {0:?} went out twice")]
    Twice(PayoutId),
    #[error("a message went out that no payout of the batch asked for")]
    Unknown,
}

/// What of `batch` the transaction has sent from `wallet`. Both together are the batch's payouts, each once.
///
/// # Errors
/// [`NotAPayment`]; the last three are never right, whoever says so, and need a person.
pub fn paid_batch(
    batch: &Batch,
    wallet: &Address,
    transaction: &Transaction,
) -> Result<PaidBatch, NotAPayment> {
    if transaction.account != *wallet.hash() {
        return Err(NotAPayment::OtherAccount);
    }
    match &transaction.in_message {
        Some(Message { direction: Direction::In { to }, body, .. })
            if to == wallet && crate::CellHash::of(body) == batch.body_hash => {}
        _ => return Err(NotAPayment::OtherMessage),
    }
    // What an action phase that failed undoes includes the seqno, so that nothing here is owed again yet.
    if transaction.aborted || !matches!(transaction.compute, Compute::Ran { success: true, .. }) {
        return Err(NotAPayment::Aborted);
    }
    let mut found = HashMap::new();
    for message in &transaction.out_messages {
        let Direction::Internal(internal) = &message.direction else { return Err(NotAPayment::Unknown) };
        let id = payout_id(&message.body).map_err(|_| NotAPayment::Unknown)?;
        if found.insert(id, *internal).is_some() {
            return Err(NotAPayment::Twice(id));
        }
    }
    let (mut sent, mut skipped) = (Vec::new(), Vec::new());
    for payout in &batch.payouts {
        match found.remove(&payout.id) {
            None => skipped.push(*payout),
            Some(internal) if (internal.to, internal.value) == (payout.to, payout.amount) => {
                sent.push(Sent { payout: *payout, created_lt: internal.created_lt });
            }
            Some(_) => return Err(NotAPayment::Differs(payout.id)),
        }
    }
    if found.is_empty() { Ok(PaidBatch { sent, skipped }) } else { Err(NotAPayment::Unknown) }
}

fn payout_id(body: &ArcCell) -> Result<PayoutId, CellError> {
    if let Ok((_, query_id)) = ChannelMessage::parse(body) {
        return Ok(PayoutId(query_id));
    }
    id_of_payout(body)
}

fn id_of_payout(body: &ArcCell) -> Result<PayoutId, CellError> {
    let mut reader = Reader::new(body)?;
    reader.tag(32, PAYOUT_OP.into(), "a payout")?;
    let id = PayoutId(reader.uint(64)?);
    reader.end()?;
    Ok(id)
}

/// The payout that `payee` was paid by this transaction of its own: its id, and the nanoTON that came. None where it is
/// something else, or `treasury` has not sent it.
///
/// What came stays also where the transaction was aborted, as it is for an address that is not deployed: only a bounce
/// takes it away again.
#[must_use]
pub fn received_payout(
    payee: &Address,
    treasury: &Address,
    transaction: &Transaction,
) -> Option<(PayoutId, NanoTon)> {
    let message = transaction.in_message.as_ref()?;
    let Direction::Internal(Internal { bounced: false, from, to, value, .. }) = &message.direction else {
        return None;
    };
    if (from, to) != (treasury, payee) || transaction.account != *payee.hash() || transaction.has_bounce_phase
    {
        return None;
    }
    Some((id_of_payout(&message.body).ok()?, *value))
}

/// The payout that came back with this transaction of `wallet`: its id, who sent it back, and the nanoTON that
/// are left of it after fees. None where it is no bounce of a payout.
///
/// Nobody can forge one: the chain clears that mark on all that contracts send, and sets it on what it returns
/// itself. What is owed again is what came back, not more.
#[must_use]
pub fn bounced_payout(wallet: &Address, transaction: &Transaction) -> Option<(PayoutId, Address, NanoTon)> {
    let message = transaction.in_message.as_ref()?;
    let Direction::Internal(Internal { bounced: true, from, to, value, .. }) = &message.direction else {
        return None;
    };
    if to != wallet || transaction.account != *wallet.hash() {
        return None;
    }
    // 32 ones, then up to 256 bits of the body that was sent (block.tlb has no scheme of it).
    let mut reader = Reader::new(&message.body).ok()?;
    reader.tag(32, 0xffff_ffff, "a bounce").ok()?;
    let op = reader.u32().ok()?;
    if op != PAYOUT_OP && !ChannelMessage::RECEIVERS_OPS.contains(&op) {
        return None;
    }
    Some((PayoutId(reader.uint(64).ok()?), *from, *value))
}

/// What a payment channel has answered with this transaction of `wallet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelAnswer {
    /// The payout that told it what to do, if it was one of ours: anybody can write such a body.
    pub id: PayoutId,
    pub from: Address,
    /// What it says it pays of the payer's money, nanoTON, at most `value`; zero where it only gives back what was not
    /// needed.
    pub paid: NanoTon,
    /// All that came, nanoTON.
    pub value: NanoTon,
}

/// Reads a transaction of `wallet` as a channel's answer. None where it is something else. Who sent it is for the
/// caller to compare with whom it has asked.
#[must_use]
pub fn channel_answer(wallet: &Address, transaction: &Transaction) -> Option<ChannelAnswer> {
    let message = transaction.in_message.as_ref()?;
    let Direction::Internal(Internal { bounced: false, from, to, value, .. }) = &message.direction else {
        return None;
    };
    if to != wallet || transaction.account != *wallet.hash() || !transaction.out_messages.is_empty() {
        return None;
    }
    let (answer, query_id) = ChannelMessage::parse(&message.body).ok()?;
    let paid = match answer {
        ChannelMessage::Paid { amount } if amount <= *value => amount,
        ChannelMessage::Excesses => NanoTon::ZERO,
        _ => return None,
    };
    Some(ChannelAnswer { id: PayoutId(query_id), from: *from, paid, value: *value })
}

#[cfg(test)]
mod tests;
