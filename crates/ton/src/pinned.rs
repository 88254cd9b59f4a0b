//! The code of the contracts, as compiled and committed in `contracts/build`.

use std::sync::LazyLock;

use crate::{ArcCell, BocError, CellHash, boc};

/// Representation hash of PayChannel's code: what a channel's address is derived from.
pub const PAY_CHANNEL_HASH: CellHash =
    CellHash(bytes(b"5cf531939d1dbc90f5eb47c403b6b41cc4ddb779d9aa33ccd72b5626f7b4fa84"));

/// Representation hash of Registry's code.
pub const REGISTRY_HASH: CellHash =
    CellHash(bytes(b"97784cd176f06e1dfd53574d8ca09a3ac6c98ca7466add303f97455fac1522f6"));

const fn bytes(hex: &[u8; 64]) -> [u8; 32] {
    const fn digit(character: u8) -> u8 {
        if character <= b'9' { character - b'0' } else { character - b'a' + 10 }
    }
    let mut bytes = [0; 32];
    let mut index = 0;
    while index < 32 {
        bytes[index] = digit(hex[2 * index]) << 4 | digit(hex[2 * index + 1]);
        index += 1;
    }
    bytes
}

#[derive(serde::Deserialize)]
struct Built {
    code: String,
}

type Code = LazyLock<Result<ArcCell, BocError>>;

static PAY_CHANNEL: Code = LazyLock::new(|| read(include_str!("../../../contracts/build/pay_channel.json")));
static REGISTRY: Code = LazyLock::new(|| read(include_str!("../../../contracts/build/registry.json")));

fn read(built: &str) -> Result<ArcCell, BocError> {
    let built: Built = serde_json::from_str(built).map_err(|_| BocError::Malformed)?;
    boc::decode_base64(&built.code)
}

/// PayChannel's code.
///
/// # Errors
/// [`BocError`] only where `contracts/build` was damaged before this was compiled.
pub fn pay_channel_code() -> Result<ArcCell, BocError> {
    PAY_CHANNEL.clone()
}

/// Registry's code.
///
/// # Errors
/// As [`pay_channel_code`].
pub fn registry_code() -> Result<ArcCell, BocError> {
    REGISTRY.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_that_is_compiled_in_has_the_pinned_hash() {
        assert_eq!(CellHash::of(&pay_channel_code().unwrap()), PAY_CHANNEL_HASH);
        assert_eq!(CellHash::of(&registry_code().unwrap()), REGISTRY_HASH);
    }
}
