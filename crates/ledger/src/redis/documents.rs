//! A kept document in one string, so that one write keeps all of it: nonce ‖ time (u64, big-endian) ‖ document.

use crate::{KeptDocument, LedgerError};

const NONCE: usize = 32;
const TIME: usize = 8;

pub(super) fn pack(document: &KeptDocument) -> Vec<u8> {
    [&document.nonce[..], &document.verified_at.to_be_bytes(), &document.bytes].concat()
}

pub(super) fn unpack(mut packed: Vec<u8>) -> Result<KeptDocument, LedgerError> {
    let parts = packed.split_first_chunk::<NONCE>().and_then(|(nonce, rest)| {
        let (time, _) = rest.split_first_chunk::<TIME>()?;
        Some((*nonce, u64::from_be_bytes(*time)))
    });
    let (nonce, verified_at) =
        parts.ok_or_else(|| LedgerError::Corrupt("a kept document is cut short".to_owned()))?;
    packed.drain(..NONCE + TIME);
    Ok(KeptDocument { nonce, verified_at, bytes: packed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_is_no_document() {
        let document = KeptDocument { nonce: [7; 32], verified_at: u64::MAX - 1, bytes: Vec::new() };
        let packed = pack(&document);
        assert_eq!(unpack(packed.clone()).unwrap(), document);
        assert!(matches!(unpack(packed[..packed.len() - 1].to_vec()), Err(LedgerError::Corrupt(_))));
    }
}
