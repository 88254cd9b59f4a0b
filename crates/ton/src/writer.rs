//! Writing a cell by its scheme.

use cocoon_receipts::NanoTon;
use tonlib_core::cell::{ArcCell, CellBuilder};

use crate::{Address, CellError};

/// A cell in the making. What does not fit is an error of [`Writer::cell`], so that calls chain.
pub(crate) struct Writer {
    builder: CellBuilder,
    bits: usize,
    failed: bool,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { builder: CellBuilder::new(), bits: 0, failed: false }
    }

    fn after(mut self, bits: usize, write: impl FnOnce(&mut CellBuilder) -> bool) -> Self {
        self.bits += bits;
        self.failed |= self.bits > 1023 || !write(&mut self.builder);
        self
    }

    pub(crate) fn bit(self, bit: bool) -> Self {
        self.after(1, |builder| builder.store_bit(bit).is_ok())
    }

    /// The lowest `bits` bits of `value`, at most 64.
    pub(crate) fn uint(self, bits: usize, value: u64) -> Self {
        self.after(bits, |builder| builder.store_u64(bits, value).is_ok())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.uint(32, u64::from(value.cast_unsigned()))
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.after(bytes.len() * 8, |builder| builder.store_slice(bytes).is_ok())
    }

    /// `Coins`, which is `VarUInteger 16` (block.tlb).
    pub(crate) fn coins(self, amount: NanoTon) -> Self {
        let bytes = amount.0.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let significant = &bytes[zeros..];
        self.uint(4, significant.len() as u64).bytes(significant)
    }

    /// `addr_std` without anycast, for every address: 0:000…0 is an address like others.
    pub(crate) fn address(self, address: &Address) -> Self {
        self.uint(3, 0b100).bytes(&address.workchain().number().to_be_bytes()).bytes(address.hash())
    }

    pub(crate) fn reference(self, cell: &ArcCell) -> Self {
        self.after(0, |builder| builder.store_reference(cell).is_ok())
    }

    /// `Maybe ^X`.
    pub(crate) fn maybe_reference(self, cell: Option<&ArcCell>) -> Self {
        match cell {
            Some(cell) => self.bit(true).reference(cell),
            None => self.bit(false),
        }
    }

    /// Bits and references of a whole cell.
    pub(crate) fn content(self, cell: &ArcCell) -> Self {
        self.after(cell.bit_len(), |builder| builder.store_cell(cell).is_ok())
    }

    /// # Errors
    /// [`CellError::Full`] where there was more than a cell holds.
    pub(crate) fn cell(mut self) -> Result<ArcCell, CellError> {
        if self.failed {
            return Err(CellError::Full);
        }
        self.builder.build().map(|cell| cell.to_arc()).map_err(|_| CellError::Full)
    }
}

#[cfg(test)]
mod tests;
