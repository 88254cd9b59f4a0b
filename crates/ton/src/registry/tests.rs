use std::collections::HashMap;

use num_bigint::BigInt;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::recorded::address;
use crate::{StackError, StackValue};

/// Made with @ton/core by `goldens/make.mjs`, from what the contracts' tests send and the contract takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Golden {
    owner: String,
    publisher: String,
    address: String,
    new_storage: String,
    used_storage: String,
    bodies: HashMap<String, String>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../goldens/registry.json")).unwrap()
}

fn roles() -> RegistryRoles {
    RegistryRoles { owner: address(&golden().owner), publisher: address(&golden().publisher) }
}

#[test]
fn address_and_storage_are_those_of_ton_core() {
    let golden = golden();
    assert_eq!(roles().address().unwrap(), address(&golden.address));
    let new = RegistryStorage::new(roles());
    let used = RegistryStorage { epochs: Epochs { last: 6, peaks: vec![[1; 32], [2; 32]] }, ..new.clone() };
    for (storage, expected) in [(new, golden.new_storage), (used, golden.used_storage)] {
        let cell = storage.cell().unwrap();
        assert_eq!(CellHash::of(&cell).to_hex(), expected);
        assert_eq!(RegistryStorage::parse(&cell), Ok(storage));
    }
}

#[test]
fn every_body_is_that_of_ton_core_and_reads_back() {
    let golden = golden();
    let hash = [0xaa; 32];
    let messages = [
        ("ProposePolicy", RegistryMessage::ProposePolicy { version: 4, hash }),
        ("ActivatePolicy", RegistryMessage::ActivatePolicy),
        ("CancelPolicy", RegistryMessage::CancelPolicy),
        ("SetPrices", RegistryMessage::SetPrices { number: 5, hash }),
        ("SetGateways", RegistryMessage::SetGateways { hash }),
        ("SetChannelCode", RegistryMessage::SetChannelCode { hash: CellHash(hash) }),
        ("SetPublisher", RegistryMessage::SetPublisher { publisher: roles().publisher }),
        ("AppendRoot", RegistryMessage::AppendRoot { epoch: 6, root: [0xbb; 32] }),
    ];
    assert_eq!(golden.bodies.len(), messages.len());
    for (name, message) in messages {
        let body = message.body(42).unwrap();
        assert_eq!(CellHash::of(&body).to_hex(), golden.bodies[name], "{name}");
        assert_eq!(RegistryMessage::parse(&body), Ok((message, 42)), "{name}");
        let longer = Writer::new().content(&body).bit(true).cell().unwrap();
        assert_eq!(RegistryMessage::parse(&longer), Err(CellError::Overflow), "{name}");
    }
}

#[test]
fn there_is_a_peak_for_every_bit_of_the_last_epoch() {
    let of = |last, peaks: usize| {
        let epochs = Epochs { last, peaks: vec![[1; 32]; peaks] };
        RegistryStorage::parse(&RegistryStorage { epochs, ..RegistryStorage::new(roles()) }.cell().unwrap())
    };
    assert!(of(7, 3).is_ok());
    assert!(of(u32::MAX, 32).is_ok());
    assert_eq!(of(7, 2), Err(CellError::Value("peaks")));
    assert_eq!(of(u32::MAX, 33), Err(CellError::Value("peaks")));
}

#[test]
fn storage_with_more_behind_is_refused_wherever_it_is() {
    let longer = |cell: &ArcCell, is: bool| {
        if is { Writer::new().content(cell).bit(false).cell().unwrap() } else { cell.clone() }
    };
    let peak = Writer::new().bytes(&[1; 32]).bit(false).cell().unwrap();
    let policy = Writer::new().uint(32, 4).bytes(&[1; 32]).bit(false).cell().unwrap();
    let published = Writer::new().uint(32, 5).bytes(&[2; 96]).cell().unwrap();
    let parsed = |place: usize| {
        let storage = Writer::new()
            .address(&roles().owner)
            .address(&roles().publisher)
            .uint(32, 1)
            .maybe_reference(Some(&longer(&peak, place == 1)))
            .reference(&longer(&policy, place == 2))
            .reference(&longer(&published, place == 3))
            .cell()
            .unwrap();
        RegistryStorage::parse(&longer(&storage, place == 4))
    };
    assert!(parsed(0).is_ok());
    for place in 1..=4 {
        assert_eq!(parsed(place), Err(CellError::Overflow), "{place}");
    }
}

#[test]
fn what_get_methods_answer_is_read() {
    let number = |value: u64| StackValue::Number(value.into());
    let hash = |byte: u8| StackValue::Number(BigInt::from_bytes_be(num_bigint::Sign::Plus, &[byte; 32]));
    let slice = |address| StackValue::Cell(Writer::new().address(address).cell().unwrap());
    let read = RegistryRoles::from_stack(&[slice(&roles().owner), slice(&roles().publisher)]);
    assert_eq!(read, Ok(roles()));

    let policy =
        |pending: [StackValue; 3]| Policy::from_stack(&[[number(4), hash(1)].as_slice(), &pending].concat());
    let none = Policy { version: 4, hash: [1; 32], pending: None };
    assert_eq!(policy([number(0), number(0), number(0)]), Ok(none));
    let pending = Some(PendingPolicy { version: 5, hash: [2; 32], active_at: 9 });
    assert_eq!(policy([number(5), hash(2), number(9)]), Ok(Policy { pending, ..none }));

    let published = Published::from_stack(&[number(3), hash(1), hash(2), hash(3)]).unwrap();
    assert_eq!((published.prices_number, published.channel_code_hash), (3, CellHash([3; 32])));
    assert!(Published::from_stack(&[number(3), hash(1), hash(2)]).is_err());

    let epochs = |last, peaks| Epochs::from_stack(&[number(last), StackValue::Tuple(peaks)]);
    assert_eq!(epochs(6, vec![hash(1), hash(2)]), Ok(Epochs { last: 6, peaks: vec![[1; 32], [2; 32]] }));
    assert_eq!(epochs(6, vec![hash(1)]), Err(StackError::Value("peaks")));
    assert_eq!(Epochs::from_stack(&[number(0), StackValue::Null]), Ok(Epochs::default()));
}

#[test]
fn answers_with_more_behind_or_of_another_range_are_refused() {
    let number = |value: i64| StackValue::Number(value.into());
    let numbers = |count: usize| vec![number(1); count];
    let slice = |cell: Writer| StackValue::Cell(cell.cell().unwrap());
    let owner = || Writer::new().address(&roles().owner);
    let roles = |more: &[StackValue]| {
        RegistryRoles::from_stack(&[[slice(owner()), slice(owner())].as_slice(), more].concat())
    };
    assert!(roles(&[]).is_ok());
    assert_eq!(roles(&[number(1)]), Err(StackError::Left));
    let longer = RegistryRoles::from_stack(&[slice(owner()), slice(owner().bit(false))]);
    assert_eq!(longer, Err(StackError::Value("address")));

    assert!(Policy::from_stack(&numbers(5)).is_ok() && Published::from_stack(&numbers(4)).is_ok());
    assert_eq!(Policy::from_stack(&numbers(6)), Err(StackError::Left));
    assert_eq!(Published::from_stack(&numbers(5)), Err(StackError::Left));
    let negative = [number(1), number(-1), number(1), number(1)];
    assert_eq!(Published::from_stack(&negative), Err(StackError::Value("uint256")));
    let epochs = [number(0), StackValue::Tuple(Vec::new()), number(1)];
    assert_eq!(Epochs::from_stack(&epochs), Err(StackError::Left));
}

proptest! {
    #[test]
    fn no_bits_panic(
        data in proptest::collection::vec(any::<u8>(), 0..127),
        inner in proptest::collection::vec(any::<u8>(), 0..127),
    ) {
        let inner = Writer::new().bytes(&inner).cell().unwrap();
        let cell = Writer::new().bytes(&data).reference(&inner).reference(&inner).reference(&inner).cell().unwrap();
        let _ = (RegistryStorage::parse(&cell), RegistryMessage::parse(&cell));
    }

    #[test]
    fn every_storage_reads_back(
        last: u32, version: u32, hashes: [[u8; 32]; 3],
        pending in proptest::option::of(any::<(u32, [u8; 32], u32)>()),
    ) {
        let pending = pending.map(|(version, hash, active_at)| PendingPolicy { version, hash, active_at });
        let storage = RegistryStorage {
            epochs: Epochs { last, peaks: vec![hashes[0]; last.count_ones() as usize] },
            policy: Policy { version, hash: hashes[1], pending },
            published: Published {
                prices_number: last,
                prices_hash: hashes[0],
                gateways_hash: hashes[1],
                channel_code_hash: CellHash(hashes[2]),
            },
            ..RegistryStorage::new(roles())
        };
        prop_assert_eq!(RegistryStorage::parse(&storage.cell().unwrap()), Ok(storage));
    }
}
