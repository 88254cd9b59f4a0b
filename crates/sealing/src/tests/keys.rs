//! Which keys are accepted, and that secrets do not show.

use crate::tests::hex_bytes;
use crate::{Kem, PrivateKey, PublicKey, RequestOpener, RequestSealer, SealingError};

#[test]
fn a_key_survives_its_bytes() {
    for kem in Kem::ALL {
        assert_eq!(Kem::from_id(kem.id()), Some(kem));
        let private = PrivateKey::generate(kem).unwrap();
        let public = private.public_key();
        assert_eq!(public.kem(), kem);
        assert_eq!(public.as_bytes().len(), kem.public_key_len());
        assert_eq!(PublicKey::new(kem, public.as_bytes()).unwrap(), *public);
        assert_eq!(public.clone(), *public);
        assert_eq!(RequestSealer::new(public).unwrap().encapsulated_key().len(), kem.encapsulated_key_len());
    }
}

#[test]
fn generated_keys_differ() {
    for kem in Kem::ALL {
        let (one, other) = (PrivateKey::generate(kem).unwrap(), PrivateKey::generate(kem).unwrap());
        assert_ne!(one.public_key(), other.public_key());
    }
}

#[test]
fn keys_of_a_wrong_length_are_refused() {
    for kem in Kem::ALL {
        let public = PrivateKey::generate(kem).unwrap().public_key().as_bytes().to_vec();
        for wrong in [&public[..0], &public[..public.len() - 1], &[&public[..], &[0]].concat()] {
            assert_eq!(PublicKey::new(kem, wrong), Err(SealingError::InvalidPublicKey));
        }
        for wrong in [0, 31, 33] {
            let refused = PrivateKey::from_bytes(kem, &vec![1; wrong]).unwrap_err();
            assert_eq!(refused, SealingError::InvalidPrivateKey);
        }
    }
}

/// The points of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748 section 7 asks for the check), with
/// their encodings that are not reduced.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn small_order_points_are_neither_public_nor_encapsulated_keys() {
    let private = PrivateKey::generate(Kem::X25519).unwrap();
    for point in SMALL_ORDER {
        let mut point = hex_bytes::<32>(point);
        for top_bit in [0x00, 0x80] {
            point[31] |= top_bit;
            assert_eq!(PublicKey::new(Kem::X25519, &point), Err(SealingError::InvalidPublicKey));
            let refused = RequestOpener::new(&private, &point).unwrap_err();
            assert_eq!(refused, SealingError::OpenFailed);
        }
    }
}

#[test]
fn an_x_wing_key_with_a_coefficient_out_of_range_is_refused() {
    let mut public = PrivateKey::generate(Kem::XWing).unwrap().public_key().as_bytes().to_vec();
    public[..3].fill(0xff);
    assert_eq!(PublicKey::new(Kem::XWing, &public), Err(SealingError::InvalidPublicKey));
}

#[test]
fn debug_output_shows_no_secret() {
    let seed: [u8; 32] = std::array::from_fn(|index| 0xa0 ^ index as u8);
    for kem in Kem::ALL {
        let private = PrivateKey::from_bytes(kem, &seed).unwrap();
        let printed = format!("{private:?}");
        assert!(printed.contains(&hex::encode(private.public_key().as_bytes())));
        // X25519 clamps the first and last byte, so look for what lies between them.
        assert!(!printed.contains(&hex::encode(&seed[1..31])));
        assert!(!printed.contains(&format!("{:?}", &seed[1..31]).replace(['[', ']'], "")));
    }
}

#[test]
fn both_ends_may_move_between_threads() {
    fn movable<T: Send + Sync>() {}
    movable::<PrivateKey>();
    movable::<PublicKey>();
    movable::<RequestSealer>();
    movable::<RequestOpener>();
    movable::<crate::ResponseSealer>();
    movable::<crate::ResponseOpener>();
    movable::<crate::FrameReader>();
}
