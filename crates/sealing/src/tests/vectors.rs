//! Known answers: published ones for the suite, and ones made with other implementations for EHBP's own labels.

use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem as _, OpModeR, Serializable};

use super::{hex_bytes, hex_vec};
use crate::fuzzing::known::KnownRequest;
use crate::suite::OpenContext;
use crate::{Kem, RequestOpener, encode_hex};

/// The CFRG's test-vectors.json for RFC 9180, base mode, KEM 0x0020, KDF 0x0001, AEAD 0x0002. RFC 9180 itself
/// prints no X25519 vector with AES-256-GCM. It proves the suite; its info and AAD are not EHBP's.
#[test]
fn the_suite_opens_the_published_hpke_vector() {
    let private = hex_vec("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d");
    let private = <X25519HkdfSha256 as hpke::Kem>::PrivateKey::from_bytes(&private).unwrap();
    assert_eq!(
        hex::encode(X25519HkdfSha256::sk_to_pk(&private).to_bytes()),
        "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c"
    );
    let encapsulated = hex_vec("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
    let mut context: OpenContext<X25519HkdfSha256> = hpke::setup_receiver(
        &OpModeR::Base,
        &private,
        &<X25519HkdfSha256 as hpke::Kem>::EncappedKey::from_bytes(&encapsulated).unwrap(),
        b"Ode on a Grecian Urn",
    )
    .unwrap();
    let frames = [
        (
            "Count-0",
            "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
        ),
        (
            "Count-1",
            "2c43aff25343fdbff864506f0818b9d87df84ea01b1a2144d23b4d40c26bf655fdf197fe40297a8aebeed5cc2d",
        ),
    ];
    for (aad, ciphertext) in frames {
        let opened = context.open(&hex_vec(ciphertext), aad.as_bytes()).unwrap();
        assert_eq!(opened, b"Beauty is truth, truth beauty");
    }
}

/// Made with pyhpke 0.6.5 (request) and tinfoil-ehbp 0.4.1 (response): response nonce 80..9f.
#[test]
fn a_whole_exchange_made_by_other_implementations_is_met_byte_for_byte() {
    let known = KnownRequest::of(Kem::X25519);
    assert_eq!(
        encode_hex(known.private_key.public_key().as_bytes()),
        "07a37cbc142093c8b755dc1b10e86cb426374ad16aa853ed0bdfc0b2b86d1c7c"
    );
    let mut opener = RequestOpener::new(&known.private_key, &known.encapsulated_key).unwrap();
    assert_eq!(opener.open(&known.ciphertext).unwrap(), known.plaintext);
    let rest: [(&[u8], &str); 2] = [
        (br#""messages":[]"#, "7e2f04e45ae52b9602f28ef5e2fd969b799bef629dfa58ab1357b786a3"),
        (b"}", "df3c731fdd1aa27c0f228f14eb967a610c"),
    ];
    for (plaintext, ciphertext) in rest {
        assert_eq!(opener.open(&hex_vec(ciphertext)).unwrap(), plaintext);
    }

    let nonce: [u8; 32] = std::array::from_fn(|index| 0x80 + index as u8);
    let mut sealer = opener.response_sealer_with_nonce(&nonce).unwrap();
    assert_eq!(*sealer.nonce(), nonce);
    let response: [(&[u8], &str); 3] = [
        (b"data: 1\n\n", "00000019039ed5ba273f6d347c5e21c5442c5b337e70120eeac1ebe7ef"),
        (b"data: 2\n\n", "00000019eb889b891707ff0d7a781710e873c1c4e25688b0d1e9369a70"),
        (b"data: [DONE]\n\n", "0000001eba4e76c71a8f92df3ce95ca4b852fa5ef99a9f9f79212d568042238c99e7"),
    ];
    for (plaintext, frame) in response {
        assert_eq!(encode_hex(&sealer.seal(plaintext).unwrap()), frame);
    }
}

/// The public key, too, is the one that the other implementation derives from the seed.
#[test]
fn an_x_wing_request_made_by_another_implementation_opens() {
    let known = KnownRequest::of(Kem::XWing);
    let public_digest =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, known.private_key.public_key().as_bytes());
    assert_eq!(
        public_digest.as_ref(),
        hex_bytes::<32>("b5c2aa87ed64ba71bad2b5f4f57a2b9c8601b2fdbb54bba03ae83aa49516d29e")
    );
    let mut opener = RequestOpener::new(&known.private_key, &known.encapsulated_key).unwrap();
    assert_eq!(opener.open(&known.ciphertext).unwrap(), known.plaintext);
}
