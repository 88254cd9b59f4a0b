use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::Message;
use crate::recorded::{GoldenPayout, address};

/// Made with @ton/ton's `WalletContractV5R1` by `goldens/make.mjs`; the key's seed is 32 ones.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    global_id: i32,
    address: String,
    shown: String,
    seqno: u32,
    valid_until: u32,
    body_hash: String,
    message: String,
    deploying: String,
    payouts: Vec<GoldenPayout>,
}

fn key() -> KeyPair {
    KeyPair::from_seed(&[1; 32]).unwrap()
}

fn wallet() -> Wallet {
    Wallet::new(key().public(), GlobalId::TESTNET).unwrap()
}

fn payout(id: u64, amount: u64) -> Payout {
    Payout { id: PayoutId(id), to: wallet().address(), amount: NanoTon(amount), bounce: false, call: None }
}

fn batch(payouts: Vec<Payout>) -> Result<Batch, BatchError> {
    wallet().batch(&key(), payouts, 1, 2, false)
}

#[test]
fn address_body_and_message_are_those_of_ton_ton_on_each_network() {
    let goldens: Vec<Golden> = serde_json::from_str(include_str!("../../goldens/wallets.json")).unwrap();
    assert_eq!(goldens.len(), 2);
    for golden in goldens {
        let wallet = Wallet::new(key().public(), GlobalId(golden.global_id)).unwrap();
        assert_eq!(wallet.address(), address(&golden.address));
        assert_eq!(wallet.address().show(true, false), golden.shown);
        for (deploy, message) in [(false, &golden.message), (true, &golden.deploying)] {
            let payouts = golden.payouts.iter().map(GoldenPayout::payout).collect();
            let batch = wallet.batch(&key(), payouts, golden.seqno, golden.valid_until, deploy).unwrap();
            assert_eq!(batch.body_hash.to_hex(), golden.body_hash);
            assert_eq!(batch.total, NanoTon(250_000_000_257));
            let sent = boc::decode(&batch.boc).unwrap();
            assert_eq!(CellHash::of(&sent).to_hex(), *message);
            assert_eq!(Message::parse(&sent).unwrap().body_hash(), batch.body_hash);
        }
    }
}

#[test]
fn on_mainnet_it_is_the_wallet_that_everybody_derives() {
    let wallet = Wallet::new(key().public(), GlobalId::MAINNET).unwrap();
    assert_eq!(wallet.address().show(true, false), "EQCdHhhDYkxNF1ppWowt6KWmHwO5MzboyqThZL9su6sgXsq8");
}

#[test]
fn a_batch_has_1_to_255_payouts() {
    let of = |count: u64| batch((0..count).map(|id| payout(id, 1)).collect());
    assert_eq!(of(0), Err(BatchError::Size));
    let full = of(255).unwrap();
    assert!(boc::decode(&full.boc).is_ok());
    assert_eq!(of(256), Err(BatchError::Size));
}

#[test]
fn a_batch_that_cannot_be_followed_is_refused() {
    assert_eq!(batch(vec![payout(1, 0)]), Err(BatchError::Zero(PayoutId(1))));
    assert_eq!(batch(vec![payout(1, 5), payout(1, 6)]), Err(BatchError::Twice(PayoutId(1))));
    assert_eq!(batch(vec![payout(1, u64::MAX), payout(2, 1)]), Err(BatchError::Sum));
    let other = KeyPair::from_seed(&[2; 32]).unwrap();
    assert_eq!(wallet().batch(&other, vec![payout(1, 1)], 1, 2, false), Err(BatchError::Key));
}

#[test]
fn the_same_batch_is_the_same_bytes() {
    assert_eq!(batch(vec![payout(1, 5)]).unwrap().boc, batch(vec![payout(1, 5)]).unwrap().boc);
    assert_ne!(batch(vec![payout(1, 5)]).unwrap().body_hash, batch(vec![payout(2, 5)]).unwrap().body_hash);
}

#[test]
fn a_wallets_data_is_read_and_a_wallet_that_others_can_use_is_refused() {
    let data = |allowed, extensions: Option<&ArcCell>| {
        let writer = Writer::new().bit(allowed).uint(32, 7).i32(-9).bytes(key().public().as_bytes());
        writer.maybe_reference(extensions).cell().unwrap()
    };
    let state = WalletState { seqno: 7, key: key().public(), wallet_id: -9 };
    assert_eq!(WalletState::parse(&data(true, None)), Ok(state));
    assert!(WalletState::parse(&data(false, None)).is_err());
    assert!(WalletState::parse(&data(true, Some(&data(true, None)))).is_err());
    let longer = Writer::new().content(&data(true, None)).bit(true).cell().unwrap();
    assert_eq!(WalletState::parse(&longer), Err(CellError::Overflow));
}

proptest! {
    #[test]
    fn no_data_panics(data in proptest::collection::vec(any::<u8>(), 0..127)) {
        let _ = WalletState::parse(&Writer::new().bytes(&data).cell().unwrap());
    }
}

fn outgoing(init: Option<ArcCell>) -> Outgoing {
    let body = payout_body(PayoutId(7)).unwrap();
    Outgoing { to: wallet().address(), value: OutgoingValue::Exactly(NanoTon(5)), bounce: true, init, body }
}

/// The same bytes as a batch's: a message of its kind is that of a payout with this id.
#[test]
fn a_request_is_signed_as_a_batch_is() {
    let request = wallet().request(&key(), &[outgoing(None)], 1, 2, true).unwrap();
    let same = Payout { bounce: true, ..payout(7, 5) };
    let batch = wallet().batch(&key(), vec![same], 1, 2, true).unwrap();
    assert_eq!((request.boc, request.body_hash), (batch.boc, batch.body_hash));
    let most = vec![outgoing(None); MAX_PAYOUTS + 1];
    assert!(wallet().request(&key(), &most[1..], 1, 2, false).is_ok());
    assert_eq!(wallet().request(&key(), &most, 1, 2, false), Err(BatchError::Size));
}

#[test]
fn a_message_that_deploys_brings_the_state() {
    let init = crate::registry_code().unwrap();
    let cell = |init: Option<ArcCell>| {
        let out = outgoing(init);
        to_send(&out.to, NanoTon(5), out.bounce, out.init.as_ref(), &out.body).unwrap()
    };
    let (with, without) = (cell(Some(init)), cell(None));
    assert_eq!((with.references().len(), without.references().len()), (1, 0));
    // One bit says that the state is in a reference.
    assert_eq!(with.bit_len(), without.bit_len() + 1);
}

/// A redeem does not fit beside the header: it is in a cell of its own, and reads back.
#[test]
fn a_long_body_is_in_a_cell_of_its_own() {
    let amount = NanoTon(u64::MAX);
    let redeem = ChannelMessage::Redeem { amount, cumulative: amount, signature: [7; 64] };
    for (body, references) in [(redeem.body(1).unwrap(), 1), (payout_body(PayoutId(1)).unwrap(), 0)] {
        let sent = to_send(&wallet().address(), amount, true, None, &body).unwrap();
        assert_eq!(sent.references().len(), references);
        // As the chain makes it: with the sender and the times.
        assert!(sent.bit_len() < 1023 - 267);
    }
}
