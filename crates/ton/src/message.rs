//! Messages (`Message` in block.tlb).

use std::fmt;

use cocoon_receipts::NanoTon;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Address, ArcCell, CellError, CellHash};

/// A message between contracts, or from outside in or out.
#[derive(Clone)]
pub struct Message {
    /// Of the message's cell. An external message has another one on the chain if it was normalised on the
    /// way (TEP-467): its body's hash stays.
    pub hash: CellHash,
    pub direction: Direction,
    /// Whether it brings a contract's `StateInit`.
    pub has_state_init: bool,
    pub body: ArcCell,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    Internal(Internal),
    /// From outside, to this account.
    In {
        to: Address,
    },
    /// To outside: an event.
    Out {
        from: Address,
    },
}

/// `int_msg_info` of a message that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Internal {
    pub bounce: bool,
    /// Came back from an account that would not have it.
    pub bounced: bool,
    pub from: Address,
    pub to: Address,
    pub value: NanoTon,
    /// What its sender has paid for the rest of its way, on top of the value.
    pub forward_fee: NanoTon,
    /// Logical time at which it was sent.
    pub created_lt: u64,
}

impl Message {
    /// Hash of the body, by which one finds again what was sent.
    #[must_use]
    pub fn body_hash(&self) -> CellHash {
        CellHash::of(&self.body)
    }

    /// # Errors
    /// [`CellError`] where the cell is no message whose addresses are standard ones.
    pub fn parse(cell: &ArcCell) -> Result<Self, CellError> {
        let mut reader = Reader::new(cell)?;
        let direction = match (reader.bit()?, reader.bits_left()) {
            (false, _) => Direction::Internal(internal(&mut reader)?),
            (true, 0) => return Err(CellError::Underflow),
            (true, _) => external(&mut reader)?,
        };
        let has_state_init = skip_state_init(&mut reader)?;
        let body = if reader.bit()? {
            let body = reader.reference()?.clone();
            reader.end()?;
            body
        } else {
            reader.rest()?
        };
        Ok(Self { hash: CellHash::of(cell), direction, has_state_init, body })
    }
}

impl fmt::Debug for Message {
    /// A body prints as its hash: a tree of cells may share branches, and be endless to print.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("hash", &self.hash)
            .field("direction", &self.direction)
            .field("has_state_init", &self.has_state_init)
            .field("body", &self.body_hash())
            .finish()
    }
}

/// `int_msg_info$0`, after its tag.
fn internal(reader: &mut Reader<'_>) -> Result<Internal, CellError> {
    let _ihr_disabled = reader.bit()?;
    let [bounce, bounced] = [reader.bit()?, reader.bit()?];
    let [from, to] = [reader.address()?, reader.address()?];
    let value = reader.coins()?;
    // Extra currencies are not money here.
    reader.maybe_reference()?;
    // `ihr_fee`, of which version 12 of the chain made flags.
    reader.skip_coins()?;
    let forward_fee = reader.coins()?;
    let created_lt = reader.uint(64)?;
    let _created_at = reader.u32()?;
    Ok(Internal { bounce, bounced, from, to, value, forward_fee, created_lt })
}

/// `ext_in_msg_info$10` or `ext_out_msg_info$11`, after their first bit.
fn external(reader: &mut Reader<'_>) -> Result<Direction, CellError> {
    if reader.bit()? {
        let from = reader.address()?;
        reader.skip_external_address()?;
        let (_created_lt, _created_at) = (reader.uint(64)?, reader.u32()?);
        return Ok(Direction::Out { from });
    }
    reader.skip_external_address()?;
    let to = reader.address()?;
    let _import_fee = reader.coins()?;
    Ok(Direction::In { to })
}

/// `Maybe (Either StateInit ^StateInit)`: whether there is one.
fn skip_state_init(reader: &mut Reader<'_>) -> Result<bool, CellError> {
    if !reader.bit()? {
        return Ok(false);
    }
    if reader.bit()? {
        reader.reference()?;
        return Ok(true);
    }
    if reader.bit()? {
        let _fixed_prefix_length = reader.uint(5)?;
    }
    if reader.bit()? {
        let _tick_tock = reader.uint(2)?;
    }
    for _code_data_library in 0..3 {
        reader.maybe_reference()?;
    }
    Ok(true)
}

/// Most bits of a body that has its place in the message's own cell, whatever address and amount are before it.
const MAX_INLINE_BITS: usize = 500;

/// What a contract is asked to send: `MessageRelaxed`, whose sender and times the chain fills in. The body is
/// in the message's own cell where there is room: another one would be paid for.
pub(crate) fn to_send(
    to: &Address,
    value: NanoTon,
    bounce: bool,
    init: Option<&ArcCell>,
    body: &ArcCell,
) -> Result<ArcCell, CellError> {
    let writer = Writer::new()
        // int_msg_info$0, ihr_disabled, bounce, not bounced, from addr_none.
        .uint(2, 0b01)
        .bit(bounce)
        .uint(3, 0b000)
        .address(to)
        .coins(value)
        // No extra currencies, both fees, both times.
        .uint(1, 0)
        .uint(8, 0)
        .uint(64, 0)
        .uint(32, 0);
    let writer = match init {
        Some(init) => writer.uint(2, 0b11).reference(init),
        None => writer.bit(false),
    };
    if body.bit_len() <= MAX_INLINE_BITS && body.references().len() <= 2 {
        writer.bit(false).content(body).cell()
    } else {
        writer.bit(true).reference(body).cell()
    }
}

/// A message from outside, as it is handed to an endpoint.
pub(crate) fn from_outside(
    to: &Address,
    init: Option<&ArcCell>,
    body: &ArcCell,
) -> Result<ArcCell, CellError> {
    let writer = Writer::new().uint(4, 0b1000).address(to).coins(NanoTon::ZERO);
    let writer = match init {
        Some(init) => writer.uint(2, 0b11).reference(init),
        None => writer.bit(false),
    };
    writer.bit(true).reference(body).cell()
}

/// `StateInit` of an account with this code and data.
pub(crate) fn state_init(code: &ArcCell, data: &ArcCell) -> Result<ArcCell, CellError> {
    Writer::new().uint(2, 0).maybe_reference(Some(code)).maybe_reference(Some(data)).bit(false).cell()
}

#[cfg(test)]
mod tests;
