//! Transactions (`Transaction` in block.tlb), from the bag of cells and nothing that somebody says about it.

use std::fmt;

use crate::reader::Reader;
use crate::{ArcCell, CellError, CellHash, Message, boc};

/// Most messages that one transaction sends: the chain allows 255 actions.
const MAX_OUT_MESSAGES: usize = 255;

/// Where a transaction stands in its account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId {
    /// Logical time.
    pub lt: u64,
    pub hash: CellHash,
}

/// An ordinary transaction.
#[derive(Clone)]
pub struct Transaction {
    pub id: TransactionId,
    /// The account's 256 bits; its workchain is not in here.
    pub account: [u8; 32],
    /// The one before it on this account; none for the first.
    pub previous: Option<TransactionId>,
    /// Unix time.
    pub now: u32,
    pub in_message: Option<Message>,
    /// In the order in which they were sent.
    pub out_messages: Vec<Message>,
    pub compute: Compute,
    pub aborted: bool,
    /// Whether there was a bounce phase, whatever came of it.
    pub has_bounce_phase: bool,
    /// Actions that failed and were to be passed over (mode +2); 0 without an action phase.
    pub skipped_actions: u16,
}

/// What became of the compute phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// There was no code to run, or not enough to pay for it.
    Skipped,
    Ran {
        success: bool,
        exit_code: i32,
    },
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("id", &self.id).field("now", &self.now).finish_non_exhaustive()
    }
}

/// Bytes that are not an ordinary transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotATransaction {
    #[error(transparent)]
    Boc(#[from] boc::BocError),
    #[error(transparent)]
    Cell(#[from] CellError),
}

impl Transaction {
    /// Parses and hashes a transaction.
    ///
    /// # Errors
    /// [`NotATransaction`].
    pub fn from_boc(bytes: &[u8]) -> Result<Self, NotATransaction> {
        Ok(Self::parse(&boc::decode(bytes)?)?)
    }

    /// # Errors [`CellError`] where the cell is no ordinary transaction: ticks, tocks and the like are of no
    /// contract here.
    pub fn parse(cell: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(cell)?;
        reader.tag(4, 0b0111, "Transaction")?;
        let account = reader.bytes()?;
        let lt = reader.uint(64)?;
        let (hash, previous_lt) = (reader.hash()?, reader.uint(64)?);
        // Zeros stand for none.
        let previous = (previous_lt > 0).then_some(TransactionId { lt: previous_lt, hash });
        let now = reader.u32()?;
        let count = reader.uint(15)? as usize;
        let _statuses = reader.uint(4)?;
        let (in_message, out_messages) = messages(reader.reference()?)?;
        if out_messages.len() != count {
            return Err(CellError::Value("outmsg_cnt"));
        }
        let _total_fees = (reader.coins()?, reader.maybe_reference()?);
        let _state_update = reader.reference()?;
        let description = Description::parse(reader.reference()?)?;
        reader.end()?;
        Ok(Self {
            id: TransactionId { lt, hash: CellHash::of(cell) },
            account,
            previous,
            now,
            in_message,
            out_messages,
            compute: description.compute,
            aborted: description.aborted,
            has_bounce_phase: description.has_bounce_phase,
            skipped_actions: description.skipped_actions,
        })
    }
}

/// `^[ in_msg:(Maybe ^Message) out_msgs:(HashmapE 15 ^Message) ]`.
fn messages(cell: &ArcCell) -> Result<(Option<Message>, Vec<Message>), CellError> {
    let mut reader = Reader::new(cell)?;
    let in_message = reader.maybe_reference()?.map(Message::parse).transpose()?;
    let mut found = Vec::new();
    if let Some(root) = reader.maybe_reference()? {
        leaves(root, 15, &mut found)?;
    }
    reader.end()?;
    let out_messages = found.into_iter().map(Message::parse).collect::<Result<_, _>>()?;
    Ok((in_message, out_messages))
}

/// The values of `Hashmap n ^X` in the order of their keys; the depth is at most `bits`.
fn leaves<'a>(cell: &'a ArcCell, bits: usize, found: &mut Vec<&'a ArcCell>) -> Result<(), CellError> {
    let mut reader = Reader::new(cell)?;
    let rest = bits.checked_sub(label(&mut reader, bits)?).ok_or(CellError::Value("label"))?;
    if rest == 0 {
        if found.len() == MAX_OUT_MESSAGES {
            return Err(CellError::Value("out_msgs"));
        }
        found.push(reader.reference()?);
    } else {
        for _ in 0..2 {
            leaves(reader.reference()?, rest - 1, found)?;
        }
    }
    reader.end()
}

/// Passes over `HmLabel ~l m` and returns `l`.
fn label(reader: &mut Reader<'_>, most: usize) -> Result<usize, CellError> {
    let width = (usize::BITS - most.leading_zeros()) as usize;
    let length = match (reader.bit()?, reader.bits_left()) {
        (false, _) => {
            let mut length = 0;
            while reader.bit()? {
                length += 1;
            }
            length
        }
        (true, 0) => return Err(CellError::Underflow),
        (true, _) => {
            let same = reader.bit()?;
            if same {
                reader.bit()?;
                return Ok(reader.uint(width)? as usize);
            }
            reader.uint(width)? as usize
        }
    };
    for _ in 0..length {
        reader.bit()?;
    }
    Ok(length)
}

/// `trans_ord$0000`.
struct Description {
    compute: Compute,
    aborted: bool,
    has_bounce_phase: bool,
    skipped_actions: u16,
}

impl Description {
    fn parse(cell: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(cell)?;
        reader.tag(4, 0b0000, "an ordinary transaction's description")?;
        let _credit_first = reader.bit()?;
        if reader.bit()? {
            skip_storage_phase(&mut reader)?;
        }
        if reader.bit()? {
            // tr_phase_credit: what was due, and what is credited.
            maybe_coins(&mut reader)?;
            let _credit = (reader.coins()?, reader.maybe_reference()?);
        }
        let compute = compute_phase(&mut reader)?;
        let skipped_actions = reader.maybe_reference()?.map(skipped).transpose()?.unwrap_or(0);
        let aborted = reader.bit()?;
        let has_bounce_phase = reader.bit()?;
        if has_bounce_phase {
            skip_bounce_phase(&mut reader)?;
        }
        let _destroyed = reader.bit()?;
        reader.end()?;
        Ok(Self { compute, aborted, has_bounce_phase, skipped_actions })
    }
}

fn maybe_coins(reader: &mut Reader<'_>) -> Result<(), CellError> {
    if reader.bit()? {
        reader.coins()?;
    }
    Ok(())
}

fn skip_status_change(reader: &mut Reader<'_>) -> Result<(), CellError> {
    // acst_unchanged$0 acst_frozen$10 acst_deleted$11
    if reader.bit()? {
        reader.bit()?;
    }
    Ok(())
}

fn skip_storage_phase(reader: &mut Reader<'_>) -> Result<(), CellError> {
    reader.coins()?;
    maybe_coins(reader)?;
    skip_status_change(reader)
}

fn compute_phase(reader: &mut Reader<'_>) -> Result<Compute, CellError> {
    if !reader.bit()? {
        // cskip_no_state$00 cskip_bad_state$01 cskip_no_gas$10 cskip_suspended$110
        if reader.uint(2)? == 0b11 {
            reader.bit()?;
        }
        return Ok(Compute::Skipped);
    }
    let success = reader.bit()?;
    let _state_used_and_activated = reader.uint(2)?;
    let _gas_fees = reader.coins()?;
    let mut details = Reader::new(reader.reference()?)?;
    // gas_used and gas_limit are VarUInteger 7, gas_credit is Maybe (VarUInteger 3); then mode.
    for _ in 0..2 {
        let length = details.uint(3)? as usize;
        details.uint(length * 8)?;
    }
    if details.bit()? {
        let length = details.uint(2)? as usize;
        details.uint(length * 8)?;
    }
    details.uint(8)?;
    Ok(Compute::Ran { success, exit_code: details.i32()? })
}

/// `tr_phase_action`: how many actions were passed over.
fn skipped(cell: &ArcCell) -> Result<u16, CellError> {
    let mut reader = Reader::new(cell)?;
    let _success_valid_no_funds = reader.uint(3)?;
    skip_status_change(&mut reader)?;
    maybe_coins(&mut reader)?;
    maybe_coins(&mut reader)?;
    let _result_code = reader.i32()?;
    if reader.bit()? {
        reader.i32()?;
    }
    let _total_and_special = reader.u32()?;
    Ok(reader.uint(16)? as u16)
}

fn skip_bounce_phase(reader: &mut Reader<'_>) -> Result<(), CellError> {
    // tr_phase_bounce_ok$1, _negfunds$00, _nofunds$01; StorageUsed is two VarUInteger 7.
    let ok = reader.bit()?;
    if !ok && !reader.bit()? {
        return Ok(());
    }
    for _ in 0..2 {
        let length = reader.uint(3)? as usize;
        reader.uint(length * 8)?;
    }
    for _ in 0..if ok { 2 } else { 1 } {
        reader.coins()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
