//! The texts that the function library packs, taken apart and made again.

use cocoon_receipts::{ReceiptId, RequestId};

use crate::LedgerError;
use crate::redis::reply::{optional, or_empty, parse, usage, usage_text};
use crate::transfer::record::{Aside, Finished, KeptReceiptOf, Recent, Withdrawal};

fn parts<const N: usize>(packed: &str) -> Result<[&str; N], LedgerError> {
    let parts: Vec<&str> = packed.splitn(N, '|').collect();
    parts.try_into().map_err(|_| LedgerError::Corrupt(format!("{packed:?} has not {N} parts")))
}

/// `functions/books.lua`, `pack`.
pub(super) fn finished(request: RequestId, packed: &str) -> Result<Finished, LedgerError> {
    let [state, account, attempt, keyset, charged, operator, operator_part, reserved, used] = parts(packed)?;
    Ok(Finished {
        request,
        state: state.parse()?,
        account: parse(account)?,
        attempt: parse(attempt)?,
        keyset: optional(keyset)?,
        charged: parse(charged)?,
        operator: optional(operator)?,
        operator_part: parse(operator_part)?,
        usage: usage(used)?,
        reserved_ms: parse(reserved)?,
    })
}

pub(super) fn pack_finished(of: &Finished) -> String {
    [
        of.state.name().to_owned(),
        of.account.to_string(),
        of.attempt.to_string(),
        or_empty(of.keyset),
        of.charged.to_string(),
        or_empty(of.operator.as_ref()),
        of.operator_part.to_string(),
        of.reserved_ms.to_string(),
        of.usage.as_ref().map_or_else(String::new, usage_text),
    ]
    .join("|")
}

/// `functions/settle.lua`, `settle`.
pub(super) fn aside(receipt: ReceiptId, packed: &str) -> Result<Aside, LedgerError> {
    let [at, account, request, operator, cost, digest] = parts(packed)?;
    Ok(Aside {
        receipt,
        at_ms: parse(at)?,
        account: parse(account)?,
        request: parse(request)?,
        operator: parse(operator)?,
        cost: parse(cost)?,
        receipt_digest: parse(digest)?,
    })
}

pub(super) fn pack_aside(of: &Aside) -> String {
    let Aside { at_ms, account, request, operator, cost, receipt_digest, .. } = of;
    format!("{at_ms}|{account}|{request}|{operator}|{cost}|{receipt_digest}")
}

/// `functions/withdrawals.lua`, `write_intent`.
pub(super) fn withdrawal(intent: RequestId, packed: &str) -> Result<Withdrawal, LedgerError> {
    let [state, account, amount, address] = parts(packed)?;
    Ok(Withdrawal {
        intent,
        account: parse(account)?,
        amount: parse(amount)?,
        address: parse(address)?,
        state: state.parse()?,
    })
}

pub(super) fn pack_withdrawal(of: &Withdrawal) -> String {
    let Withdrawal { account, amount, address, state, .. } = of;
    format!("{}|{account}|{amount}|{address}", state.letter())
}

/// `functions/requests.lua`, `note_request`.
pub(super) fn pack_recent(of: &Recent) -> String {
    let Recent { key, model, charged, .. } = of;
    let (receipt, project) = (or_empty(of.receipt), or_empty(of.project.as_ref()));
    let (work, used) = (of.work.letter(), usage_text(&of.usage));
    format!("{receipt}|{key}|{project}|{work}|{used}|{charged}|{model}")
}

/// `functions/requests.lua`, `keep_receipt`.
pub(super) fn pack_kept(of: &KeptReceiptOf) -> String {
    let KeptReceiptOf { account, request, key, charged, jws, .. } = of;
    format!("{account}|{request}|{key}|{}|{charged}|{jws}", or_empty(of.project.as_ref()))
}
