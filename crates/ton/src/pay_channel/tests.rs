use std::collections::HashMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::recorded::address;
use crate::{GlobalId, KeyPair, Signature, Voucher, Workchain, registry_code};
use crate::{StackError, StackValue};

const TON: u64 = 1_000_000_000;
const DAY: u32 = 86_400;

/// Made with @ton/core by `goldens/make.mjs`, from what the contracts' tests send and the contract takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    payer: String,
    payer_key: String,
    receiver: String,
    close_delay: u32,
    salt: String,
    address: String,
    new_storage: String,
    used_storage: String,
    query_id: u64,
    signature: String,
    bodies: HashMap<String, String>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../goldens/pay_channel.json")).unwrap()
}

fn terms() -> ChannelTerms {
    let golden = golden();
    ChannelTerms {
        payer: address(&golden.payer),
        payer_key: PublicKey::new(hex::decode(golden.payer_key).unwrap().try_into().unwrap()).unwrap(),
        receiver: address(&golden.receiver),
        close_delay: golden.close_delay,
        salt: golden.salt.parse().unwrap(),
    }
}

const USED: ChannelState = ChannelState {
    phase: Phase::Closing,
    deposited: NanoTon(5 * TON),
    settled: NanoTon(2 * TON),
    close_at: 1_790_000_000,
};

#[test]
fn address_and_storage_are_those_of_ton_core() {
    let golden = golden();
    assert_eq!(terms().address().unwrap(), address(&golden.address));
    for (state, expected) in [(ChannelState::NEW, golden.new_storage), (USED, golden.used_storage)] {
        let storage = ChannelStorage { state, terms: terms() };
        let cell = storage.cell().unwrap();
        assert_eq!(CellHash::of(&cell).to_hex(), expected);
        assert_eq!(ChannelStorage::parse(&cell), Ok(storage));
    }
}

#[test]
fn storage_with_more_behind_is_refused() {
    let longer = |cell: &ArcCell| Writer::new().content(cell).bit(false).cell().unwrap();
    let storage = ChannelStorage { state: USED, terms: terms() }.cell().unwrap();
    assert_eq!(ChannelStorage::parse(&longer(&storage)), Err(CellError::Overflow));
    let state = Writer::new().uint(2, 0).coins(NanoTon(5)).coins(NanoTon(0)).uint(32, 0);
    let storage = state.reference(&longer(&terms().cell().unwrap())).cell().unwrap();
    assert_eq!(ChannelStorage::parse(&storage), Err(CellError::Overflow));
}

fn messages(signature: Signature) -> [(&'static str, ChannelMessage); 11] {
    let (amount, cumulative) = (NanoTon(TON), NanoTon(2 * TON));
    [
        ("Deposit", ChannelMessage::Deposit),
        ("Redeem", ChannelMessage::Redeem { amount, cumulative, signature }),
        ("RedeemAndClose", ChannelMessage::RedeemAndClose { amount, cumulative, signature }),
        ("ReceiverClose", ChannelMessage::ReceiverClose),
        ("PartialRefund", ChannelMessage::PartialRefund { amount }),
        ("StartClose", ChannelMessage::StartClose),
        ("Finalize", ChannelMessage::Finalize),
        ("Sweep", ChannelMessage::Sweep),
        ("Paid", ChannelMessage::Paid { amount }),
        ("Refund", ChannelMessage::Refund { amount }),
        ("Excesses", ChannelMessage::Excesses),
    ]
}

#[test]
fn every_body_is_that_of_ton_core_and_reads_back() {
    let golden = golden();
    let messages = messages(hex::decode(golden.signature).unwrap().try_into().unwrap());
    assert_eq!(golden.bodies.len(), messages.len());
    for (name, message) in messages {
        let body = message.body(golden.query_id).unwrap();
        assert_eq!(CellHash::of(&body).to_hex(), golden.bodies[name], "{name}");
        assert_eq!(ChannelMessage::parse(&body), Ok((message, golden.query_id)), "{name}");
        let longer = Writer::new().content(&body).bit(true).cell().unwrap();
        assert_eq!(ChannelMessage::parse(&longer), Err(CellError::Overflow), "{name}");
    }
}

#[test]
fn every_operation_of_the_schema_is_here() {
    let schema = include_str!("../../../../contracts/schema.tlb");
    let numbers = messages([0; 64]).map(|(_, message)| format!("#{:08x}", message.op()));
    for line in schema.lines().filter(|line| line.contains("= PayChannel") || line.contains("= Excesses")) {
        if line.contains('#') && !line.contains("$_") {
            assert!(numbers.iter().any(|number| line.contains(number)), "{line}");
        }
    }
}

#[test]
fn what_get_methods_answer_is_read() {
    let number = |value: u64| StackValue::Number(value.into());
    let stack = [number(1), number(5 * TON), number(2 * TON), number(1_790_000_000)];
    assert_eq!(ChannelState::from_stack(&stack), Ok(USED));
    assert!(ChannelState::from_stack(&stack[..3]).is_err());
    let longer = [stack.as_slice(), &[number(0)]].concat();
    assert_eq!(ChannelState::from_stack(&longer), Err(StackError::Left));
    assert!(ChannelState::from_stack(&[number(3), number(0), number(0), number(0)]).is_err());

    let slice = |address| StackValue::Cell(Writer::new().address(&address).cell().unwrap());
    let key = num_bigint::BigInt::from_bytes_be(num_bigint::Sign::Plus, terms().payer_key.as_bytes());
    let stack = |key| {
        let (payer, receiver) = (slice(terms().payer), slice(terms().receiver));
        [payer, StackValue::Number(key), receiver, number(DAY.into()), number(7)]
    };
    let of = |key| ChannelTerms::from_stack(&stack(key));
    let longer = [stack(key.clone()).as_slice(), &[number(0)]].concat();
    assert_eq!(ChannelTerms::from_stack(&longer), Err(StackError::Left));
    assert_eq!(of(key), Ok(terms()));
    // Zero and the identity, as the TVM has a key: its first byte is the highest.
    for weak in [0.into(), num_bigint::BigInt::from(1) << 248] {
        assert_eq!(of(weak), Err(StackError::Value("payer_key")));
    }
}

const OPEN: ChannelState = ChannelState { phase: Phase::Open, ..USED };

/// What is said of a channel with these terms and this state, at the address of `terms()`.
fn judged(state: ChannelState, terms_now: ChannelTerms, at: Address) -> Result<Accepted, NotAcceptable> {
    let (code, data) =
        (pay_channel_code().unwrap(), ChannelStorage { state, terms: terms_now }.cell().unwrap());
    accept(Observed { address: at, code: &code, data: &data }, &terms().receiver, DAY)
}

#[test]
fn an_open_channel_to_oneself_is_accepted_for_what_is_unsettled() {
    let address = terms().address().unwrap();
    let accepted = judged(OPEN, terms(), address).unwrap();
    assert_eq!(accepted, Accepted { address, terms: terms(), state: OPEN, unsettled: NanoTon(3 * TON) });
}

#[test]
fn a_channel_that_breaks_one_rule_is_not() {
    let own = |terms: ChannelTerms| judged(OPEN, terms, terms.address().unwrap());
    let stranger = Address::new(Workchain::Basechain, [9; 32]);
    assert_eq!(judged(OPEN, terms(), stranger), Err(NotAcceptable::Address));
    let other_salt = ChannelTerms { salt: 8, ..terms() };
    assert_eq!(judged(OPEN, other_salt, terms().address().unwrap()), Err(NotAcceptable::Address));
    let masterchain = Address::new(Workchain::Masterchain, *terms().address().unwrap().hash());
    assert_eq!(judged(OPEN, terms(), masterchain), Err(NotAcceptable::Address));
    assert_eq!(own(ChannelTerms { receiver: stranger, ..terms() }), Err(NotAcceptable::Receiver(stranger)));
    let payer = Address::new(Workchain::Masterchain, [9; 32]);
    assert_eq!(own(ChannelTerms { payer, ..terms() }), Err(NotAcceptable::Payer));
    for close_delay in [0, DAY - 1, MAX_CLOSE_DELAY + 1, u32::MAX] {
        let terms = ChannelTerms { close_delay, ..terms() };
        assert_eq!(own(terms), Err(NotAcceptable::CloseDelay(close_delay)));
    }
    assert!(own(ChannelTerms { close_delay: MAX_CLOSE_DELAY, ..terms() }).is_ok());
    for phase in [Phase::Closing, Phase::Closed] {
        let state = ChannelState { phase, ..OPEN };
        assert_eq!(judged(state, terms(), terms().address().unwrap()), Err(NotAcceptable::NotOpen));
    }
    let state = ChannelState { settled: NanoTon(6 * TON), ..OPEN };
    assert_eq!(judged(state, terms(), terms().address().unwrap()), Err(NotAcceptable::Sums));
}

#[test]
fn other_code_or_data_is_no_channel() {
    let address = terms().address().unwrap();
    let data = ChannelStorage { state: OPEN, terms: terms() }.cell().unwrap();
    let judge =
        |code: &ArcCell, data: &ArcCell| accept(Observed { address, code, data }, &terms().receiver, DAY);
    assert_eq!(judge(&registry_code().unwrap(), &data), Err(NotAcceptable::Code));
    assert_eq!(judge(&pay_channel_code().unwrap(), &registry_code().unwrap()), Err(NotAcceptable::Data));
    let weak =
        Writer::new().address(&terms().payer).bytes(&[0; 32]).address(&terms().receiver).uint(32, DAY.into());
    let weak = weak.uint(64, 7).cell().unwrap();
    let weak = Writer::new()
        .uint(2, 0)
        .coins(NanoTon(5))
        .coins(NanoTon(0))
        .uint(32, 0)
        .reference(&weak)
        .cell()
        .unwrap();
    assert_eq!(judge(&pay_channel_code().unwrap(), &weak), Err(NotAcceptable::Data));
}

#[test]
fn a_voucher_of_the_channel_is_what_redeem_carries() {
    let payer = KeyPair::from_seed(&cocoon_receipts::Digest::of(&[b"payer key"]).0).unwrap();
    assert_eq!(payer.public(), terms().payer_key);
    let channel = terms().address().unwrap();
    let voucher = Voucher { global_id: GlobalId::TESTNET, channel, cumulative: NanoTon(TON) };
    let signed = voucher.sign(&payer).unwrap();
    let redeem = ChannelMessage::Redeem {
        amount: NanoTon(TON),
        cumulative: signed.voucher().cumulative,
        signature: *signed.signature(),
    };
    let (read, _) = ChannelMessage::parse(&redeem.body(1).unwrap()).unwrap();
    assert_eq!(read, redeem);
}

proptest! {
    #[test]
    fn every_storage_reads_back(
        phase in 0_u64..3, deposited: u64, settled: u64, close_at: u32, payer: [u8; 32], seed: [u8; 32],
        receiver: [u8; 32], close_delay: u32, salt: u64,
    ) {
        let state = ChannelState {
            phase: Phase::from_number(phase).unwrap(),
            deposited: NanoTon(deposited),
            settled: NanoTon(settled),
            close_at,
        };
        let terms = ChannelTerms {
            payer: Address::new(Workchain::Basechain, payer),
            payer_key: KeyPair::from_seed(&seed).unwrap().public(),
            receiver: Address::new(Workchain::Masterchain, receiver),
            close_delay,
            salt,
        };
        let storage = ChannelStorage { state, terms };
        prop_assert_eq!(ChannelStorage::parse(&storage.cell().unwrap()), Ok(storage));
    }

    #[test]
    fn no_bits_panic(
        data in proptest::collection::vec(any::<u8>(), 0..127),
        inner in proptest::collection::vec(any::<u8>(), 0..127),
    ) {
        let inner = Writer::new().bytes(&inner).cell().unwrap();
        let cell = Writer::new().bytes(&data).reference(&inner).cell().unwrap();
        let _ = (ChannelStorage::parse(&cell), ChannelMessage::parse(&cell));
    }
}
