//! One frame: `u32be length ‖ ciphertext ‖ tag`, the length counting both (EHBP 4.3).

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::SealingError;

/// Bytes of a frame's length prefix.
pub(crate) const PREFIX_LEN: usize = 4;

/// Bytes of an AES-256-GCM authentication tag.
pub(crate) const TAG_LEN: usize = 16;

/// Builds a whole frame in one allocation; `seal_in_place` encrypts the body and returns its tag.
pub(crate) fn seal_frame(
    plaintext: &[u8],
    seal_in_place: impl FnOnce(&mut [u8]) -> Result<[u8; TAG_LEN], SealingError>,
) -> Result<Bytes, SealingError> {
    let prefix = length_prefix(plaintext.len())?;
    let mut frame = BytesMut::with_capacity(PREFIX_LEN + plaintext.len() + TAG_LEN);
    frame.put_u32(prefix);
    frame.put_slice(plaintext);
    let tag = seal_in_place(&mut frame[PREFIX_LEN..])?;
    frame.put_slice(&tag);
    Ok(frame.freeze())
}

fn length_prefix(plaintext_len: usize) -> Result<u32, SealingError> {
    plaintext_len
        .checked_add(TAG_LEN)
        .and_then(|sealed_len| u32::try_from(sealed_len).ok())
        .ok_or(SealingError::PlaintextTooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_plaintext_leaves_room_for_its_tag() {
        let longest = u32::MAX as usize - TAG_LEN;
        assert_eq!(length_prefix(0), Ok(16));
        assert_eq!(length_prefix(longest), Ok(u32::MAX));
        assert_eq!(length_prefix(longest + 1), Err(SealingError::PlaintextTooLong));
        assert_eq!(length_prefix(usize::MAX), Err(SealingError::PlaintextTooLong));
    }

    #[test]
    fn a_frame_that_fails_to_seal_is_not_made() {
        let outcome = seal_frame(b"secret", |_| Err(SealingError::SequenceExhausted));
        assert_eq!(outcome, Err(SealingError::SequenceExhausted));
    }
}
