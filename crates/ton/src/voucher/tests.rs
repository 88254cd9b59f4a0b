use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::Shown;

/// Made with @ton/core and @ton/crypto by `goldens/make.mjs`, from what the contracts' tests sign and the
/// contract accepts.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    global_id: i32,
    channel: String,
    cumulative: NanoTon,
    bits: String,
    hash: String,
    signature: String,
}

fn goldens() -> Vec<Golden> {
    serde_json::from_str(include_str!("../../goldens/vouchers.json")).unwrap()
}

/// The contracts' tests' payer: its seed is SHA-256 of "payer key".
fn payer() -> KeyPair {
    KeyPair::from_seed(&cocoon_receipts::Digest::of(&[b"payer key"]).0).unwrap()
}

fn voucher(golden: &Golden) -> Voucher {
    let channel = golden.channel.parse::<Shown>().unwrap().address;
    Voucher { global_id: GlobalId(golden.global_id), channel, cumulative: golden.cumulative }
}

#[test]
fn cell_hash_and_signature_are_those_of_ton_core() {
    assert_eq!(goldens().len(), 6);
    for golden in goldens() {
        let voucher = voucher(&golden);
        let cell = voucher.cell().unwrap();
        // Fift's way to write bits; a byte boundary ends in no underscore. Domain, network and channel are 36
        // bits off one.
        let bytes = hex::encode_upper(cell.data());
        let written = golden.bits.trim_end_matches('_');
        assert!(bytes.starts_with(&written[..written.len() - 1]), "{bytes} {written}");
        assert_eq!(voucher.hash().unwrap().to_hex(), golden.hash);
        assert_eq!(hex::encode(voucher.sign(&payer()).unwrap().signature()), golden.signature);
    }
}

#[test]
fn a_signature_is_over_every_field() {
    let golden = &goldens()[4];
    let right = voucher(golden);
    let signature: Signature = hex::decode(&golden.signature).unwrap().try_into().unwrap();
    let key = payer().public();
    assert_eq!(right.verify(&signature, &key).unwrap().voucher(), &right);
    let mut hash = *right.channel.hash();
    hash[31] ^= 1;
    let others = [
        Voucher { global_id: GlobalId::MAINNET, ..right },
        Voucher { channel: Address::new(right.channel.workchain(), hash), ..right },
        Voucher { channel: Address::new(crate::Workchain::Masterchain, *right.channel.hash()), ..right },
        Voucher { cumulative: NanoTon(right.cumulative.0 + 1), ..right },
    ];
    for other in others {
        assert_eq!(other.verify(&signature, &key), Err(VoucherError::Signature), "{other:?}");
    }
    let another = KeyPair::from_seed(&[1; 32]).unwrap().public();
    assert_eq!(right.verify(&signature, &another), Err(VoucherError::Signature));
}

#[test]
fn a_voucher_for_nothing_is_neither_signed_nor_taken() {
    let nothing = Voucher { cumulative: NanoTon::ZERO, ..voucher(&goldens()[0]) };
    assert_eq!(nothing.sign(&payer()), Err(VoucherError::Zero));
    assert_eq!(nothing.verify(&[0; 64], &payer().public()), Err(VoucherError::Zero));
}

proptest! {
    #[test]
    fn what_is_signed_verifies_and_no_turned_bit_does(
        global_id: i32, hash: [u8; 32], cumulative in 1_u64.., bit in 0_usize..512,
    ) {
        let channel = Address::new(crate::Workchain::Basechain, hash);
        let voucher = Voucher { global_id: GlobalId(global_id), channel, cumulative: NanoTon(cumulative) };
        let signed = voucher.sign(&payer()).unwrap();
        let mut signature = *signed.signature();
        prop_assert_eq!(voucher.verify(&signature, &payer().public()), Ok(signed));
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(voucher.verify(&signature, &payer().public()).is_err());
    }
}
