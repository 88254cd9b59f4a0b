//! Ed25519 keys of wallets and payers.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::CellHash;

/// A key that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("anybody can sign for this key: its order is small")]
    Weak,
    #[error("not the seed of a key")]
    Seed,
}

/// An Ed25519 signature (RFC 8032).
pub type Signature = [u8; 64];

/// An Ed25519 public key, not of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

/// The y coordinates of the points whose order divides 8, as RFC 8032 writes them, and their encodings at or
/// above the field's prime; libsodium's `ge25519_has_small_order` has the same list.
/// `contracts/weak_keys.tolk` refuses the same keys.
const SMALL_ORDER: [[u8; 32]; 7] = [
    number(0),
    number(1),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn number(lowest: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = lowest;
    bytes
}

/// 2^255 - 19 is near_prime(0xed).
const fn near_prime(lowest: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = lowest;
    bytes[31] = 0x7f;
    bytes
}

impl PublicKey {
    /// # Errors [`KeyError::Weak`] for zero, the identity and every other point of small order, in any
    /// encoding: the TVM refuses two of them, and only since version 14.
    pub fn new(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let mut y = bytes;
        // The highest bit is the sign of x.
        y[31] &= 0x7f;
        if SMALL_ORDER.contains(&y) { Err(KeyError::Weak) } else { Ok(Self(bytes)) }
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the key has signed this hash, as `CHKSIGNU` of the TVM would say.
    #[must_use]
    pub fn verifies(&self, hash: CellHash, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(&hash.0, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// An Ed25519 key that signs. Its memory is the crypto library's, which cleanses it.
pub struct KeyPair {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl KeyPair {
    /// From the 32 bytes that RFC 8032 calls the private key. The caller cleanses its copy.
    ///
    /// # Errors
    /// [`KeyError::Seed`].
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Seed)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Seed)?;
        Ok(Self { pair, public: PublicKey::new(bytes)? })
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn sign(&self, hash: CellHash) -> Signature {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.pair.sign(&hash.0).as_ref());
        signature
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of order 1, 2, 4 and 8 from RFC 8032's curve equation, with their second encodings and both
    /// signs of x; worked out from the equation in `contracts/tests/support/ed25519.mjs`, printed by
    /// `goldens/make.mjs`.
    const WEAK: &str = include_str!("../goldens/weak_keys.txt");

    #[test]
    fn every_key_of_small_order_is_refused_in_every_encoding() {
        let weak: Vec<&str> = WEAK.lines().collect();
        assert_eq!(weak.len(), 14);
        for line in weak {
            let bytes: [u8; 32] = hex::decode(line).unwrap().try_into().unwrap();
            assert_eq!(PublicKey::new(bytes), Err(KeyError::Weak), "{line}");
            let mut beside = bytes;
            beside[1] ^= 1;
            assert!(PublicKey::new(beside).is_ok(), "{line}");
        }
    }

    #[test]
    fn under_the_identity_anybody_signs_anything_which_is_why() {
        let (key, mut signature) = (number(1), [0; 64]);
        signature[0] = 1;
        assert!(PublicKey(key).verifies(CellHash([7; 32]), &signature));
    }

    #[test]
    fn the_key_and_signature_are_those_of_rfc_8032() {
        // Section 7.1, test 1: the message is empty, so only the key is comparable.
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let pair = KeyPair::from_seed(&seed.try_into().unwrap()).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(hex::encode(pair.public().as_bytes()), public);
        let hash = CellHash([3; 32]);
        assert!(pair.public().verifies(hash, &pair.sign(hash)));
        assert!(!pair.public().verifies(CellHash([4; 32]), &pair.sign(hash)));
    }

    #[test]
    fn a_pair_does_not_print_its_secret() {
        let pair = KeyPair::from_seed(&[1; 32]).unwrap();
        assert!(!format!("{pair:?}").contains("0101"));
    }
}
