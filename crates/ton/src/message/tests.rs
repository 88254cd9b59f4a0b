use proptest::prelude::*;

use super::*;
use crate::recorded::recorded;
use crate::{Transaction, Workchain};

fn account(number: u8) -> Address {
    Address::new(Workchain::Basechain, [number; 32])
}

fn text() -> ArcCell {
    Writer::new().bytes(b"body").cell().unwrap()
}

#[test]
fn a_message_from_outside_reads_back() {
    let init = Writer::new().uint(5, 0).cell().unwrap();
    for init in [None, Some(&init)] {
        let cell = from_outside(&account(1), init, &text()).unwrap();
        let message = Message::parse(&cell).unwrap();
        assert_eq!(message.direction, Direction::In { to: account(1) });
        assert_eq!(message.has_state_init, init.is_some());
        assert_eq!(message.body_hash(), CellHash::of(&text()));
    }
}

#[test]
fn a_body_and_a_state_may_be_in_the_message_itself() {
    let cell = Writer::new()
        .uint(4, 0b0110)
        .address(&account(1))
        .address(&account(2))
        .coins(NanoTon(70_000))
        .bit(false)
        // Flags that were a fee once, then the fee for forwarding.
        .uint(4, 15)
        .bytes(&[0xff; 15])
        .coins(NanoTon(5))
        .uint(64, 9)
        .uint(32, 10)
        // A StateInit with a prefix length, tick-tock and code, then the body.
        .uint(2, 0b10)
        .uint(6, 0b1_00011)
        .uint(3, 0b1_01)
        .maybe_reference(Some(&text()))
        .uint(2, 0)
        .bit(false)
        .bytes(b"body")
        .cell()
        .unwrap();
    let message = Message::parse(&cell).unwrap();
    let expected = Internal {
        bounce: true,
        bounced: false,
        from: account(1),
        to: account(2),
        value: NanoTon(70_000),
        forward_fee: NanoTon(5),
        created_lt: 9,
    };
    assert_eq!(message.direction, Direction::Internal(expected));
    assert!(message.has_state_init);
    assert_eq!(message.body_hash(), CellHash::of(&text()));
}

#[test]
fn bits_behind_a_body_in_a_cell_of_its_own_are_refused() {
    let cell = from_outside(&account(1), None, &text()).unwrap();
    let longer = Writer::new().content(&cell).bit(false).cell().unwrap();
    assert_eq!(Message::parse(&longer).unwrap_err(), CellError::Overflow);
}

#[test]
fn account_zero_is_written_as_an_account() {
    let zero = Address::new(Workchain::Basechain, [0; 32]);
    let cell = to_send(&zero, NanoTon(1), false, None, &text()).unwrap();
    // 6 bits, the destination's tag, workchain and 256 zeros, 4 and 8 of the value, the rest of the header,
    // and the body.
    assert_eq!(cell.bit_len(), 6 + 267 + 12 + 107 + 32);
}

#[test]
fn a_message_whose_body_is_a_huge_dag_prints_at_once() {
    let mut body = Writer::new().cell().unwrap();
    for _ in 0..500 {
        body = Writer::new().reference(&body).reference(&body).cell().unwrap();
    }
    let message = Message::parse(&from_outside(&account(1), None, &body).unwrap()).unwrap();
    assert!(format!("{message:?}").contains("body"));
}

proptest! {
    #[test]
    fn no_bits_panic(data in proptest::collection::vec(any::<u8>(), 0..127), references in 0_usize..5) {
        let mut writer = Writer::new().bytes(&data);
        for _ in 0..references.min(4) {
            writer = writer.reference(&text());
        }
        let cell = writer.cell().unwrap();
        let _ = Message::parse(&cell);
        let _ = Transaction::parse(&cell);
    }

    #[test]
    fn no_damage_to_a_real_transaction_panics(which in 0_usize..19, place: usize, byte: u8) {
        let recorded = recorded();
        let mut names: Vec<_> = recorded.names().collect();
        names.sort();
        let mut boc = recorded.boc(names[which]);
        let place = place % boc.len();
        boc[place] = byte;
        if let Ok(transaction) = Transaction::from_boc(&boc) {
            let _ = crate::deposit(&transaction, &recorded.treasury(), NanoTon(1));
            let _ = crate::paid_batch(&recorded.batch(), &recorded.treasury(), &transaction);
            let _ = crate::bounced_payout(&recorded.treasury(), &transaction);
        }
    }
}
