use proptest::prelude::*;

use super::*;
use crate::GlobalId;

/// V5R1 wallet of the key whose seed is 32 ones: the same in @ton/ton, tonlib-core, ton-rs and tonutils.
const WALLET: &str = "EQCdHhhDYkxNF1ppWowt6KWmHwO5MzboyqThZL9su6sgXsq8";
const RAW: &str = "0:9d1e1843624c4d175a695a8c2de8a5a61f03b93336e8caa4e164bf6cbbab205e";

fn test_network() -> Network {
    Network::test(GlobalId::TESTNET).unwrap()
}

fn shown(text: &str) -> Result<Shown, AddressError> {
    text.parse()
}

#[test]
fn all_forms_of_an_address_are_the_same_account() {
    let address = shown(WALLET).unwrap().address;
    assert_eq!(address.to_string(), RAW);
    assert_eq!(shown(RAW).unwrap(), Shown { address, bounceable: None, test_only: false });
    assert_eq!(shown(&RAW.to_uppercase()).unwrap().address, address);
    for bounceable in [true, false] {
        for test_only in [true, false] {
            let text = address.show(bounceable, test_only);
            let expected = Shown { address, bounceable: Some(bounceable), test_only };
            assert_eq!(shown(&text).unwrap(), expected);
            assert_eq!(shown(&text.replace('-', "+").replace('_', "/")).unwrap(), expected);
        }
    }
    assert_eq!(address.show(true, false), WALLET);
    assert_eq!(address.show(false, false), "UQCdHhhDYkxNF1ppWowt6KWmHwO5MzboyqThZL9su6sgXpd5");
}

#[test]
fn an_address_for_test_networks_is_refused_on_mainnet_only() {
    let text = shown(WALLET).unwrap().address.show(true, true);
    assert_eq!(Address::parse_for(&text, Network::Mainnet), Err(AddressError::TestOnly));
    assert!(Address::parse_for(&text, test_network()).is_ok());
    assert!(Address::parse_for(WALLET, Network::Mainnet).is_ok());
}

#[test]
fn one_wrong_character_is_noticed() {
    for index in 0..WALLET.len() {
        let mut text = WALLET.as_bytes().to_vec();
        text[index] = if text[index] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(text).unwrap();
        assert_eq!(shown(&text), Err(AddressError::Checksum), "{text}");
    }
}

#[test]
fn other_workchains_do_not_exist() {
    assert_eq!(shown(&RAW.replace("0:", "-1:")).unwrap().address.workchain(), Workchain::Masterchain);
    assert_eq!(shown(&RAW.replace("0:", "1:")), Err(AddressError::Workchain));
    let elsewhere = TonAddress::new(1, [7; 32].into()).to_base64_url();
    assert_eq!(shown(&elsewhere), Err(AddressError::Workchain));
}

#[test]
fn other_text_is_refused() {
    let mixed = format!("+{}_", &WALLET[1..47]);
    for text in [
        "",
        ":",
        "0:",
        "+0:00",
        &RAW[1..],
        &RAW[..65],
        &format!("{RAW}0"),
        &WALLET[1..],
        &format!("{WALLET}="),
        &format!(" {WALLET}"),
        &"é".repeat(24),
        "addr_none",
    ] {
        assert_eq!(shown(text), Err(AddressError::Form), "{text}");
    }
    assert!(shown(&mixed).is_err());
    assert!(shown(&format!("0{RAW}")).is_err());
}

proptest! {
    #[test]
    fn every_address_reads_back(hash: [u8; 32], masterchain: bool, bounceable: bool, test_only: bool) {
        let workchain = if masterchain { Workchain::Masterchain } else { Workchain::Basechain };
        let address = Address::new(workchain, hash);
        prop_assert_eq!(shown(&address.to_string()).unwrap().address, address);
        let expected = Shown { address, bounceable: Some(bounceable), test_only };
        prop_assert_eq!(shown(&address.show(bounceable, test_only)).unwrap(), expected);
    }

    #[test]
    fn no_text_panics(text: String, plausible in "[-0-9a-zA-Z+/_:]{0,70}") {
        let _ = shown(&text);
        let _ = shown(&plausible);
    }
}
