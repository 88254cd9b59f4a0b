//! What each transaction of the wallet was. It depends on the transaction and on what was decided before, and on
//! nothing else: whoever reads it again says the same.

use cocoon_ledger::CHANNEL_PREFIX;
use cocoon_receipts::NanoTon;
use cocoon_ton::{
    Address, Batch as SignedBatch, ChannelAnswer, Direction, FLOAT_COMMENT, Message, NotADeposit,
    NotAPayment, Payout, Transaction, account_of_comment, bounced_payout, channel_answer, comment_of,
    deposit, paid_batch,
};

use crate::decision::{Batch, Class, Entry, Number, Owed};
use crate::treasury::Treasury;

/// Ledgers refuse amounts of 2^53 nanoTON and above (nine million TON), each time they are asked.
const MORE_THAN_A_LEDGER_HOLDS: NanoTon = NanoTon(1 << 53);

/// Classes a transaction. `minimum`: what is less is not credited.
pub(crate) fn entry(
    transaction: &Transaction,
    wallet: &Address,
    minimum: NanoTon,
    treasury: &Treasury,
) -> Entry {
    Entry {
        transaction: transaction.id.into(),
        at: transaction.now,
        change: transaction.balance_change(),
        class: class(transaction, wallet, minimum, treasury),
    }
}

fn unexplained(why: impl Into<String>) -> Class {
    Class::Unexplained { why: why.into() }
}

fn class(transaction: &Transaction, wallet: &Address, minimum: NanoTon, treasury: &Treasury) -> Class {
    let Some(message) = &transaction.in_message else { return unexplained("nothing came in") };
    match &message.direction {
        Direction::In { .. } => from_outside(transaction, wallet, treasury),
        Direction::Out { .. } => unexplained("a message that leaves the chain came in"),
        Direction::Internal(internal) => {
            if let Some((id, from, amount)) = bounced_payout(wallet, transaction) {
                return returned(Number(id.0), &from, amount, treasury);
            }
            if let Some(class) = answered(transaction, wallet, treasury) {
                return class;
            }
            came_in(transaction, wallet, minimum, internal.value)
        }
    }
}

/// The wallet's key has signed it: a batch of ours, or the key is not ours alone.
fn from_outside(transaction: &Transaction, wallet: &Address, treasury: &Treasury) -> Class {
    let body = transaction.in_message.as_ref().map(Message::body_hash);
    // One that lapsed as well: what was executed has been paid, whatever was believed before.
    let Some(batch) = treasury.may_be_executed().find(|batch| Some(batch.body) == body) else {
        return unexplained("the wallet was used by a message that is no batch of this log");
    };
    match paid_batch(&signed(batch), wallet, transaction) {
        Ok(paid) => Class::Paid {
            seqno: batch.seqno,
            sent: paid.sent.iter().map(|sent| Number(sent.payout.id.0)).collect(),
            skipped: paid.skipped.iter().map(|payout| Number(payout.id.0)).collect(),
        },
        Err(NotAPayment::Aborted) if transaction.out_messages.is_empty() => Class::Nothing,
        Err(error) => unexplained(error.to_string()),
    }
}

/// As far as it is needed to find what it has paid.
fn signed(batch: &Batch) -> SignedBatch {
    SignedBatch {
        boc: Vec::new(),
        body_hash: batch.body,
        seqno: batch.seqno,
        valid_until: batch.valid_until,
        payouts: payouts(batch),
        // Nobody asks for it, and a damaged log may have more than there is.
        total: NanoTon::ZERO,
    }
}

/// A batch's payouts as the wallet makes them. Those to people do not bounce: the payee may not be deployed yet, and what
/// is sent has been sent.
pub(crate) fn payouts(batch: &Batch) -> Vec<Payout> {
    let payout = |begun: &crate::decision::Begun| Payout {
        id: begun.id.into(),
        to: begun.to.0,
        amount: begun.amount,
        // A channel that refuses sends back what it does not need; everybody else may not be deployed yet.
        bounce: matches!(begun.of, Owed::Channel { .. }),
        call: match begun.of {
            Owed::Channel { call, .. } => Some(call.into()),
            Owed::Operator(_) | Owed::Withdrawal { .. } => None,
        },
    };
    batch.payouts.iter().map(payout).collect()
}

fn returned(id: Number, from: &Address, amount: NanoTon, treasury: &Treasury) -> Class {
    match treasury.sent_payout(id) {
        Some(begun) if begun.to.0 == *from && amount <= begun.amount => {
            Class::Returned { payout: id, amount }
        }
        _ => Class::Unclaimed { amount, why: "it came back, and is no payout of this log".to_owned() },
    }
}

/// The answer of a channel that was told something; whoever else writes such a body is like any other.
fn answered(transaction: &Transaction, wallet: &Address, treasury: &Treasury) -> Option<Class> {
    let ChannelAnswer { id, from, paid, value } = channel_answer(wallet, transaction)?;
    let begun = treasury.sent_payout(Number(id.0))?;
    let is_its = matches!(begun.of, Owed::Channel { .. }) && begun.to.0 == from;
    is_its.then_some(Class::Redeemed { payout: begun.id, paid, value })
}

fn came_in(transaction: &Transaction, wallet: &Address, minimum: NanoTon, value: NanoTon) -> Class {
    // A bounce phase that had not enough for the way back leaves the money here.
    let went_back = transaction.has_bounce_phase && !transaction.out_messages.is_empty();
    if !transaction.out_messages.is_empty() && !went_back {
        return unexplained("a message between accounts made the wallet send something");
    }
    let why = match deposit(transaction, wallet, minimum) {
        Ok(deposit) if deposit.comment == FLOAT_COMMENT => return Class::Float { amount: deposit.amount },
        Ok(deposit) => match account_of_comment(&deposit.comment) {
            Some(_) if deposit.amount >= MORE_THAN_A_LEDGER_HOLDS => "more than a ledger holds".to_owned(),
            Some(account) if account.as_str().starts_with(CHANNEL_PREFIX) => {
                "a channel is paid into by its contract".to_owned()
            }
            Some(account) => return Class::Deposit { account, amount: deposit.amount },
            None => "its comment names no account".to_owned(),
        },
        // The wallet was not deployed, or had not enough for its gas: what came is still here, or is not.
        Err(
            NotADeposit::BouncePhase | NotADeposit::NotRun | NotADeposit::Failed(_) | NotADeposit::Aborted,
        ) if went_back => {
            return Class::Nothing;
        }
        // What the wallet is deployed with came before it.
        Err(NotADeposit::NotRun) if comment_of(transaction).as_deref() == Some(FLOAT_COMMENT) => {
            return Class::Float { amount: value };
        }
        Err(error) => error.to_string(),
    };
    Class::Unclaimed { amount: value, why }
}

#[cfg(test)]
mod tests;
