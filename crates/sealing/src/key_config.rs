//! RFC 9458 section 3.1 key configurations, as `/.well-known/hpke-keys` serves them: one after the other, without
//! the length prefixes of section 3.2, because EHBP clients read the first one from byte 0 (EHBP 3.2).

use crate::error::SealingError;
use crate::kem::Kem;
use crate::keys::PublicKey;

const HKDF_SHA256: u16 = 0x0001;
const AES_256_GCM: u16 = 0x0002;

/// More configurations than any server has reason to offer.
const MAX_KEY_CONFIGS: usize = 16;

/// One published key. The suite is not a field: only HKDF-SHA256 with AES-256-GCM is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConfig {
    /// The server's number for the key. Informative: EHBP does not send it back.
    pub key_id: u8,
    /// The key requests are sealed to.
    pub public_key: PublicKey,
}

/// Writes key configurations, each with the one suite HKDF-SHA256 and AES-256-GCM, in the order given. Clients
/// that know a single KEM use the first, so X25519 comes first.
pub fn encode_key_configs(keys: &[(u8, &PublicKey)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (key_id, public_key) in keys {
        encoded.push(*key_id);
        encoded.extend(public_key.kem().id().to_be_bytes());
        encoded.extend(public_key.as_bytes());
        encoded.extend(4u16.to_be_bytes());
        encoded.extend(HKDF_SHA256.to_be_bytes());
        encoded.extend(AES_256_GCM.to_be_bytes());
    }
    encoded
}

/// Reads key configurations and keeps those of a supported [`Kem`], in their order.
///
/// A configuration for another registered KEM is skipped whole. One for an unregistered KEM ends the list, because
/// its length cannot be known. A supported KEM with any other suite, or with two, is an error, and so is a list
/// of which nothing is left.
pub fn decode_key_configs(encoded: &[u8]) -> Result<Vec<KeyConfig>, SealingError> {
    let mut rest = encoded;
    let mut read = 0;
    let mut configs = Vec::new();
    while !rest.is_empty() {
        read += 1;
        if read > MAX_KEY_CONFIGS {
            return Err(SealingError::MalformedKeyConfig);
        }
        let [key_id] = take_array(&mut rest)?;
        let kem_id = u16::from_be_bytes(take_array(&mut rest)?);
        let Some(kem) = Kem::from_id(kem_id) else {
            let Some(length) = foreign_public_key_len(kem_id) else { break };
            take(&mut rest, length)?;
            take_suites(&mut rest)?;
            continue;
        };
        let public_key = take(&mut rest, kem.public_key_len())?;
        if take_suites(&mut rest)? != [[HKDF_SHA256, AES_256_GCM]] {
            return Err(SealingError::UnsupportedSuite);
        }
        configs.push(KeyConfig { key_id, public_key: PublicKey::new(kem, public_key)? });
    }
    if configs.is_empty() {
        return Err(if read == 0 { SealingError::MalformedKeyConfig } else { SealingError::NoSupportedKem });
    }
    Ok(configs)
}

/// `Npk` of the registered KEMs that are not supported here (IANA HPKE registry).
fn foreign_public_key_len(kem_id: u16) -> Option<usize> {
    Some(match kem_id {
        0x0010 => 65,
        0x0011 => 97,
        0x0012 => 133,
        0x0021 => 56,
        0x0030 => 1216,
        0x0040 => 800,
        0x0041 => 1184,
        0x0042 => 1568,
        0x0050 => 1249,
        0x0051 => 1665,
        _ => return None,
    })
}

/// Reads the suites of a configuration as (KDF, AEAD) pairs; there is at least one.
fn take_suites(rest: &mut &[u8]) -> Result<Vec<[u16; 2]>, SealingError> {
    let length = usize::from(u16::from_be_bytes(take_array(rest)?));
    if length == 0 {
        return Err(SealingError::MalformedKeyConfig);
    }
    let mut suites = take(rest, length)?;
    let mut pairs = Vec::new();
    while !suites.is_empty() {
        pairs.push([
            u16::from_be_bytes(take_array(&mut suites)?),
            u16::from_be_bytes(take_array(&mut suites)?),
        ]);
    }
    Ok(pairs)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], SealingError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(SealingError::MalformedKeyConfig)?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SealingError> {
    let (taken, left) = rest.split_first_chunk().ok_or(SealingError::MalformedKeyConfig)?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::PrivateKey;

    // Byte layout and verdicts as in test-vectors/conformance/config.json of
    // tinfoilsh/encrypted-http-body-protocol: key 07 (or 08) repeated, suite 0001/0002.
    const SUITE: &[u8] = &[0, 4, 0, 1, 0, 2];

    fn config(key_id: u8, kem_id: u16, public_key: &[u8], suites: &[u8]) -> Vec<u8> {
        [&[key_id][..], &kem_id.to_be_bytes(), public_key, suites].concat()
    }

    fn x25519(byte: u8) -> PublicKey {
        PublicKey::new(Kem::X25519, &[byte; 32]).unwrap()
    }

    #[test]
    fn a_configuration_has_the_published_bytes() {
        let encoded = encode_key_configs(&[(0, &x25519(7))]);
        assert_eq!(hex::encode(&encoded), format!("000020{}000400010002", "07".repeat(32)));
        assert_eq!(decode_key_configs(&encoded), Ok(vec![KeyConfig { key_id: 0, public_key: x25519(7) }]));
    }

    #[test]
    fn both_kems_are_published_one_after_the_other_without_a_length_prefix() {
        let post_quantum = PrivateKey::generate(Kem::XWing).unwrap();
        let encoded = encode_key_configs(&[(0, &x25519(7)), (1, post_quantum.public_key())]);
        assert_eq!(encoded.len(), (1 + 2 + 32 + 6) + (1 + 2 + 1216 + 6));
        let decoded = decode_key_configs(&encoded).unwrap();
        assert_eq!(decoded[0], KeyConfig { key_id: 0, public_key: x25519(7) });
        assert_eq!(decoded[1], KeyConfig { key_id: 1, public_key: post_quantum.public_key().clone() });
        assert_eq!(decoded.len(), 2);
    }

    #[test]
    fn two_configurations_with_one_key_id_stay_in_order() {
        let decoded = decode_key_configs(&encode_key_configs(&[(0, &x25519(7)), (0, &x25519(8))])).unwrap();
        assert_eq!(decoded.iter().map(|config| config.public_key.as_bytes()[0]).collect::<Vec<_>>(), [7, 8]);
    }

    #[test]
    fn every_cut_of_a_configuration_is_refused() {
        let encoded = encode_key_configs(&[(0, &x25519(7))]);
        for length in 0..encoded.len() {
            assert_eq!(
                decode_key_configs(&encoded[..length]),
                Err(SealingError::MalformedKeyConfig),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn a_length_prefixed_list_is_refused() {
        let encoded = encode_key_configs(&[(0, &x25519(7))]);
        let prefixed = [&(encoded.len() as u16).to_be_bytes()[..], &encoded].concat();
        assert!(decode_key_configs(&prefixed).is_err());
    }

    #[test]
    fn only_the_one_suite_is_accepted() {
        let unsupported: [&[u8]; 5] = [
            &[0, 4, 0, 1, 0, 1],
            &[0, 4, 0, 1, 0, 3],
            &[0, 4, 0, 2, 0, 2],
            &[0, 8, 0, 1, 0, 2, 0, 1, 0, 2],
            &[0, 8, 0, 1, 0, 2, 0, 1, 0, 3],
        ];
        for suites in unsupported {
            assert_eq!(
                decode_key_configs(&config(0, 0x0020, &[7; 32], suites)),
                Err(SealingError::UnsupportedSuite),
                "{suites:?}"
            );
        }
        let malformed: [&[u8]; 3] = [&[0, 0], &[0, 3, 0, 1, 0], &[0, 8, 0, 1, 0, 2]];
        for suites in malformed {
            assert_eq!(
                decode_key_configs(&config(0, 0x0020, &[7; 32], suites)),
                Err(SealingError::MalformedKeyConfig),
                "{suites:?}"
            );
        }
    }

    #[test]
    fn configurations_of_other_kems_are_skipped() {
        let ours = encode_key_configs(&[(3, &x25519(7))]);
        let p256 = config(1, 0x0010, &[4; 65], &[0, 8, 0, 1, 0, 1, 0, 1, 0, 3]);
        let unregistered = config(2, 0x7777, &[1; 9], SUITE);
        let kept = Ok(vec![KeyConfig { key_id: 3, public_key: x25519(7) }]);
        assert_eq!(decode_key_configs(&[&p256[..], &ours].concat()), kept);
        assert_eq!(decode_key_configs(&[&ours[..], &p256].concat()), kept);
        assert_eq!(decode_key_configs(&[&ours[..], &unregistered].concat()), kept);
        assert_eq!(decode_key_configs(&p256), Err(SealingError::NoSupportedKem));
        assert_eq!(decode_key_configs(&unregistered), Err(SealingError::NoSupportedKem));
    }

    #[test]
    fn a_list_without_end_is_refused() {
        let one = encode_key_configs(&[(0, &x25519(7))]);
        assert!(decode_key_configs(&one.repeat(MAX_KEY_CONFIGS)).is_ok());
        assert_eq!(
            decode_key_configs(&one.repeat(MAX_KEY_CONFIGS + 1)),
            Err(SealingError::MalformedKeyConfig)
        );
    }

    #[test]
    fn a_configuration_with_an_unusable_key_is_refused() {
        assert_eq!(
            decode_key_configs(&config(0, 0x0020, &[0; 32], SUITE)),
            Err(SealingError::InvalidPublicKey)
        );
    }
}
