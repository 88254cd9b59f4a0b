//! Bags of cells (TVM whitepaper, section 5.3; `serialized_boc` in block.tlb), with bounds.
//!
//! `tonlib-core` trusts the counts and indices of what it parses, and drops deep trees by recursion. So the
//! bytes are walked here first, without making anything, and only what is sound reaches it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tonlib_core::cell::{ArcCell, BagOfCells};

/// Longest bag that is looked at, bytes. The largest transaction of a wallet, 255 messages in and as many
/// out, has 100 KiB.
pub const MAX_BOC_BYTES: usize = 512 * 1024;

/// Most cells in a bag.
pub const MAX_BOC_CELLS: usize = 8192;

/// Deepest tree of cells. No message from outside (`max_ext_msg_depth`) and nothing that a contract makes
/// (`max_vm_data_depth`) is deeper than 512 (ConfigParam 43); a transaction adds the dictionary of its messages.
pub const MAX_BOC_DEPTH: u16 = 544;

const MAGIC: [u8; 4] = [0xb5, 0xee, 0x9c, 0x72];

/// A bag of cells that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BocError {
    #[error("not base64")]
    Base64,
    #[error("longer than {MAX_BOC_BYTES} bytes")]
    TooLong,
    #[error("more than {MAX_BOC_CELLS} cells")]
    TooManyCells,
    #[error("deeper than {MAX_BOC_DEPTH} cells")]
    TooDeep,
    #[error("not one whole bag of cells with one root")]
    Malformed,
    #[error("the checksum is wrong")]
    Checksum,
    #[error("has cells of a kind that no message or account has")]
    Exotic,
    #[error("could not be written")]
    Write,
}

/// The root of a bag of one root.
///
/// Library references are let through, as code may be one; pruned branches and Merkle cells are not, since
/// what they stand for is not there.
///
/// # Errors
/// [`BocError`], in time linear in the length.
pub fn decode(bytes: &[u8]) -> Result<ArcCell, BocError> {
    check(bytes)?;
    BagOfCells::parse(bytes).and_then(BagOfCells::single_root).map_err(|_| BocError::Malformed)
}

/// The same from standard base64.
///
/// # Errors
/// As [`decode`], and [`BocError::Base64`].
pub fn decode_base64(text: &str) -> Result<ArcCell, BocError> {
    if text.len() > MAX_BOC_BYTES.div_ceil(3) * 4 {
        return Err(BocError::TooLong);
    }
    decode(&STANDARD.decode(text).map_err(|_| BocError::Base64)?)
}

/// A bag of one root, with its checksum.
///
/// # Errors
/// [`BocError::Write`] where the tree has more cells than a bag can name.
pub fn encode(root: &ArcCell) -> Result<Vec<u8>, BocError> {
    BagOfCells::new(std::slice::from_ref(root)).serialize(true).map_err(|_| BocError::Write)
}

/// The same in standard base64.
///
/// # Errors
/// As [`encode`].
pub fn encode_base64(root: &ArcCell) -> Result<String, BocError> {
    Ok(STANDARD.encode(encode(root)?))
}

/// What has not been walked yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BocError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(BocError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BocError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, width: usize) -> Result<usize, BocError> {
        let number = self.take(width)?.iter().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        usize::try_from(number).map_err(|_| BocError::Malformed)
    }
}

fn require(holds: bool) -> Result<(), BocError> {
    if holds { Ok(()) } else { Err(BocError::Malformed) }
}

fn check(bytes: &[u8]) -> Result<(), BocError> {
    if bytes.len() > MAX_BOC_BYTES {
        return Err(BocError::TooLong);
    }
    let mut rest = Rest(bytes);
    require(rest.take(4)? == MAGIC)?;
    let flags = rest.byte()?;
    let (indexed, checked) = (flags & 0x80 != 0, flags & 0x40 != 0);
    let (width, offset_width) = (usize::from(flags & 7), usize::from(rest.byte()?));
    require(flags & 0x18 == 0 && (1..=4).contains(&width) && (1..=8).contains(&offset_width))?;
    let [cells, roots, absent] = [rest.number(width)?, rest.number(width)?, rest.number(width)?];
    let length = rest.number(offset_width)?;
    let root = rest.number(width)?;
    if cells > MAX_BOC_CELLS {
        return Err(BocError::TooManyCells);
    }
    require(roots == 1 && absent == 0 && root < cells)?;
    if indexed {
        rest.take(cells * offset_width)?;
    }
    let mut data = Rest(rest.take(length)?);
    if checked {
        let sum = rest.take(4)?;
        if crc32c(&bytes[..bytes.len() - rest.0.len() - 4]).to_le_bytes() != sum {
            return Err(BocError::Checksum);
        }
    }
    require(rest.0.is_empty())?;
    check_cells(&mut data, cells, width)
}

/// Every cell is whole and refers to later ones only, so that there is no cycle; none is deeper than the
/// bound.
fn check_cells(data: &mut Rest<'_>, cells: usize, width: usize) -> Result<(), BocError> {
    let mut above = vec![0_u16; cells];
    for index in 0..cells {
        let [kind, size] = [data.byte()?, data.byte()?];
        let (references, exotic, stored_hashes) = (kind & 7, kind & 8 != 0, kind & 16 != 0);
        require(references <= 4 && !stored_hashes)?;
        let content = data.take(usize::from(size.div_ceil(2)))?;
        // An odd size says that the last byte ends with a one and zeros which do not count.
        require(size & 1 == 0 || content.last().is_some_and(|last| *last != 0))?;
        if exotic && content.first() != Some(&2) {
            return Err(BocError::Exotic);
        }
        for _ in 0..references {
            let target = data.number(width)?;
            require(target > index && target < cells)?;
            above[target] = above[target].max(above[index] + 1);
            if above[target] > MAX_BOC_DEPTH {
                return Err(BocError::TooDeep);
            }
        }
    }
    require(data.0.is_empty())
}

/// CRC-32C (RFC 3720, appendix B.4).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests;
