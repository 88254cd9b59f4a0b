//! The representation hash of a cell.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use tonlib_core::TonHash;
use tonlib_core::cell::Cell;

/// SHA-256 of a cell's standard representation (TVM whitepaper, section 3.1.5). In text base64, as toncenter
/// and explorers write it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellHash(pub [u8; 32]);

/// Neither base64 nor hexadecimal of 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 32 bytes in base64 or hexadecimal")]
pub struct NotAHash;

impl CellHash {
    /// Of `cell`.
    #[must_use]
    pub fn of(cell: &Cell) -> Self {
        Self(cell.cell_hash().into())
    }

    /// 64 lower-case hexadecimal characters.
    #[must_use]
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }
}

impl From<TonHash> for CellHash {
    fn from(hash: TonHash) -> Self {
        Self(hash.into())
    }
}

impl fmt::Display for CellHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for CellHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CellHash {
    type Err = NotAHash;

    /// Base64 of either alphabet, 44 characters with padding, or 64 hexadecimal ones.
    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let mut bytes = [0; 32];
        match text.len() {
            64 => hex::decode_to_slice(text, &mut bytes).map_err(|_| NotAHash)?,
            44 => {
                // 32 bytes are one short of 33, for which the decoder wants room.
                let mut room = [0; 33];
                let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
                let length = engine.decode_slice(text, &mut room).map_err(|_| NotAHash)?;
                bytes = room[..length].try_into().map_err(|_| NotAHash)?;
            }
            _ => return Err(NotAHash),
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_in_every_form() {
        let hash = CellHash([0xfb; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_hex().parse(), Ok(hash));
        assert_eq!(URL_SAFE.encode(hash.0).parse(), Ok(hash));
    }

    #[test]
    fn anything_of_another_length_is_refused() {
        let hash = CellHash([7; 32]);
        for text in
            ["", &hash.to_hex()[1..], &hash.to_string()[1..], &STANDARD.encode([0; 31]), &"é".repeat(22)]
        {
            assert_eq!(text.parse::<CellHash>(), Err(NotAHash), "{text}");
        }
    }
}
