//! Reading a cell by its scheme, with nothing left over.

use cocoon_receipts::NanoTon;
use tonlib_core::cell::{ArcCell, Cell, CellParser, TonCellError};

use crate::{Address, CellHash};

/// A cell that is not what its scheme says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    #[error("the cell ends before its scheme does")]
    Underflow,
    #[error("the cell goes on after the end of its scheme")]
    Overflow,
    #[error("the cell does not begin with the tag of {0}")]
    Tag(&'static str),
    #[error("not a standard address of the basechain or the masterchain")]
    Address,
    #[error("an amount above 2^64 - 1 nanoTON")]
    Amount,
    #[error("a cell that only stands for another one")]
    Exotic,
    #[error("a value that the scheme does not allow: {0}")]
    Value(&'static str),
    #[error("does not fit into one cell")]
    Full,
}

impl From<TonCellError> for CellError {
    /// Where a length is always checked, all that can go wrong in reading is that there is too little.
    fn from(_: TonCellError) -> Self {
        Self::Underflow
    }
}

/// What of a cell is not read yet.
pub(crate) struct Reader<'a> {
    parser: CellParser<'a>,
    references: std::slice::Iter<'a, ArcCell>,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// [`CellError::Exotic`]: its bits are not data.
    pub(crate) fn new(cell: &'a Cell) -> Result<Self, CellError> {
        if cell.is_exotic() {
            return Err(CellError::Exotic);
        }
        Ok(Self { parser: cell.parser(), references: cell.references().iter() })
    }

    pub(crate) fn bits_left(&mut self) -> usize {
        self.parser.remaining_bits()
    }

    pub(crate) fn bit(&mut self) -> Result<bool, CellError> {
        Ok(self.parser.load_bit()?)
    }

    /// At most 64 bits, unsigned.
    pub(crate) fn uint(&mut self, bits: usize) -> Result<u64, CellError> {
        Ok(self.parser.load_u64(bits)?)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CellError> {
        Ok(self.parser.load_u32(32)?)
    }

    pub(crate) fn i32(&mut self) -> Result<i32, CellError> {
        Ok(self.parser.load_i32(32)?)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], CellError> {
        let mut bytes = [0; N];
        self.parser.load_slice(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn hash(&mut self) -> Result<CellHash, CellError> {
        self.bytes().map(CellHash)
    }

    /// `Coins`, which is `VarUInteger 16` (block.tlb).
    pub(crate) fn coins(&mut self) -> Result<NanoTon, CellError> {
        let length = usize::from(self.parser.load_u8(4)?);
        let mut amount = 0_u64;
        for _ in 0..length {
            let byte = self.parser.load_u8(8)?;
            amount = amount.checked_mul(256).ok_or(CellError::Amount)? | u64::from(byte);
        }
        Ok(NanoTon(amount))
    }

    /// Passes over `VarUInteger 16` of any size.
    pub(crate) fn skip_coins(&mut self) -> Result<(), CellError> {
        let length = usize::from(self.parser.load_u8(4)?);
        Ok(self.parser.skip_bits(length * 8)?)
    }

    /// `addr_std` without anycast.
    pub(crate) fn address(&mut self) -> Result<Address, CellError> {
        self.maybe_address()?.ok_or(CellError::Address)
    }

    /// The same, or `addr_none`.
    pub(crate) fn maybe_address(&mut self) -> Result<Option<Address>, CellError> {
        match self.uint(2)? {
            0b00 => return Ok(None),
            0b10 if !self.bit()? => {}
            _ => return Err(CellError::Address),
        }
        let workchain = i8::from_be_bytes(self.bytes()?);
        let workchain = workchain.try_into().map_err(|_| CellError::Address)?;
        Ok(Some(Address::new(workchain, self.bytes()?)))
    }

    /// `MsgAddressExt`, which is no account and only passed over.
    pub(crate) fn skip_external_address(&mut self) -> Result<(), CellError> {
        let length = match self.uint(2)? {
            0b00 => return Ok(()),
            0b01 => self.uint(9)?,
            _ => return Err(CellError::Address),
        };
        for _ in 0..length {
            self.bit()?;
        }
        Ok(())
    }

    pub(crate) fn reference(&mut self) -> Result<&'a ArcCell, CellError> {
        self.references.next().ok_or(CellError::Underflow)
    }

    /// `Maybe ^X`.
    pub(crate) fn maybe_reference(&mut self) -> Result<Option<&'a ArcCell>, CellError> {
        if self.bit()? { self.reference().map(Some) } else { Ok(None) }
    }

    /// Fails unless the next bits are `tag` of `name`.
    pub(crate) fn tag(&mut self, bits: usize, tag: u64, name: &'static str) -> Result<(), CellError> {
        if self.bits_left() < bits || self.uint(bits)? != tag {
            return Err(CellError::Tag(name));
        }
        Ok(())
    }

    /// All that is left, as a cell of its own.
    pub(crate) fn rest(mut self) -> Result<ArcCell, CellError> {
        let bits = self.bits_left();
        let data = self.parser.load_bits(bits)?;
        let references = self.references.cloned().collect();
        Ok(Cell::new(data, bits, references, false)?.to_arc())
    }

    /// # Errors
    /// [`CellError::Overflow`] where anything is left.
    pub(crate) fn end(mut self) -> Result<(), CellError> {
        if self.bits_left() == 0 && self.references.len() == 0 { Ok(()) } else { Err(CellError::Overflow) }
    }
}

#[cfg(test)]
mod tests;
