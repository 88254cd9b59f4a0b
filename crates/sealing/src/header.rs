//! The header values EHBP puts beside a body (EHBP 4.1, 4.2), as text in and bytes out.

use crate::error::SealingError;
use crate::kem::Kem;

/// Request header with the encapsulated key in hex (EHBP 4.1).
pub const ENCAPSULATED_KEY_HEADER: &str = "ehbp-encapsulated-key";

/// Response header with the response nonce in hex (EHBP 4.2).
pub const RESPONSE_NONCE_HEADER: &str = "ehbp-response-nonce";

/// Media type of `/.well-known/hpke-keys`; clients compare it whole, so it never carries parameters (EHBP 3.1).
pub const KEY_CONFIG_MEDIA_TYPE: &str = "application/ohttp-keys";

/// `type` of the 422 problem that tells a client to fetch the keys again (EHBP 5.4.2).
pub const KEY_CONFIG_PROBLEM: &str = "urn:ietf:params:ehbp:error:key-config";

/// Writes bytes as EHBP headers carry them: lower-case hex without a prefix.
pub fn encode_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// Reads the value of [`ENCAPSULATED_KEY_HEADER`]: 64 hex characters are X25519, 2240 are X-Wing, any other
/// length is an error.
///
/// Upper case is an error too, as no client writes it: one key then has one spelling, and whoever compares texts, on
/// any hop, cannot be fooled by a second one.
pub fn parse_encapsulated_key(header: &str) -> Result<(Kem, Vec<u8>), SealingError> {
    let kem = Kem::ALL
        .into_iter()
        .find(|kem| header.len() == 2 * kem.encapsulated_key_len())
        .filter(|_| !header.bytes().any(|byte| byte.is_ascii_uppercase()))
        .ok_or(SealingError::MalformedEncapsulatedKey)?;
    let encapsulated_key = hex::decode(header).map_err(|_| SealingError::MalformedEncapsulatedKey)?;
    Ok((kem, encapsulated_key))
}

/// Reads the value of [`RESPONSE_NONCE_HEADER`]: exactly 64 hex characters, in either case (EHBP 4.2).
pub fn parse_response_nonce(header: &str) -> Result<[u8; 32], SealingError> {
    let mut nonce = [0; 32];
    hex::decode_to_slice(header, &mut nonce).map_err(|_| SealingError::MalformedResponseNonce)?;
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_the_header_chooses_the_kem() {
        assert_eq!(parse_encapsulated_key(&"ab".repeat(32)), Ok((Kem::X25519, vec![0xab; 32])));
        assert_eq!(parse_encapsulated_key(&"ab".repeat(1120)), Ok((Kem::XWing, vec![0xab; 1120])));
        for length in [0, 1, 62, 63, 65, 66, 128, 2239, 2241, 2242, 100_000] {
            assert_eq!(
                parse_encapsulated_key(&"a".repeat(length)),
                Err(SealingError::MalformedEncapsulatedKey),
                "{length} characters"
            );
        }
    }

    #[test]
    fn an_encapsulated_key_has_one_spelling() {
        let lower = "00ff".repeat(16);
        assert!(parse_encapsulated_key(&lower).is_ok());
        for other in [lower.to_uppercase(), format!("{}F", &lower[..63])] {
            assert_eq!(parse_encapsulated_key(&other), Err(SealingError::MalformedEncapsulatedKey));
        }
        assert_eq!(parse_response_nonce(&lower.to_uppercase()), parse_response_nonce(&lower));
        assert!(parse_response_nonce(&lower).is_ok());
    }

    #[test]
    fn what_is_not_hex_is_refused_at_the_right_length_too() {
        for wrong in ["g", " ", "é", "\0"] {
            let mut header = "a".repeat(64 - wrong.len());
            header.push_str(wrong);
            assert_eq!(parse_encapsulated_key(&header), Err(SealingError::MalformedEncapsulatedKey));
            assert_eq!(parse_response_nonce(&header), Err(SealingError::MalformedResponseNonce));
        }
        assert_eq!(parse_response_nonce(&"a".repeat(62)), Err(SealingError::MalformedResponseNonce));
        assert_eq!(parse_response_nonce(&"a".repeat(66)), Err(SealingError::MalformedResponseNonce));
    }

    #[test]
    fn hex_is_written_in_lower_case() {
        assert_eq!(encode_hex(&[0x0a, 0xff]), "0aff");
    }
}
