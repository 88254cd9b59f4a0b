mod exchange;
mod keys;
mod random_bytes;
mod vectors;

/// Bytes written as hex in a test.
pub(crate) fn hex_vec(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// [`hex_vec`] of a known length.
pub(crate) fn hex_bytes<const N: usize>(text: &str) -> [u8; N] {
    hex_vec(text).try_into().unwrap()
}
