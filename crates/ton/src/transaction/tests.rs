use tonlib_core::cell::Cell;

use super::*;
use crate::Direction;
use crate::recorded::recorded;
use crate::writer::Writer;

#[test]
fn every_recorded_transaction_is_read_and_its_hash_is_that_of_its_cell() {
    let recorded = recorded();
    assert_eq!(recorded.names().count(), 19);
    for name in recorded.names() {
        let transaction = recorded.transaction(name);
        assert_eq!(transaction.account, *recorded.treasury().hash(), "{name}");
        let cell = boc::decode(&recorded.boc(name)).unwrap();
        assert_eq!(transaction.id.hash, CellHash::of(&cell), "{name}");
        assert!(transaction.in_message.is_some(), "{name}");
    }
}

#[test]
fn each_follows_the_one_before_it() {
    let recorded = recorded();
    let [first, second] = ["deposit", "deposit_bounceable"].map(|name| recorded.transaction(name));
    assert_eq!(second.previous, Some(first.id));
    assert!(second.id.lt > first.id.lt);
}

#[test]
fn what_became_of_it_is_read() {
    let recorded = recorded();
    let of = |name| {
        let Transaction { compute, aborted, has_bounce_phase, .. } = recorded.transaction(name);
        (compute, aborted, has_bounce_phase)
    };
    let ran = Compute::Ran { success: true, exit_code: 0 };
    assert_eq!(of("deposit"), (ran, false, false));
    assert_eq!(of("not_deployed"), (Compute::Skipped, true, false));
    assert_eq!(of("not_deployed_and_bounced"), (Compute::Skipped, true, true));
    let failed = Compute::Ran { success: false, exit_code: -14 };
    // Its bounce phase came to nothing: the money was burnt as gas.
    assert_eq!(of("failed"), (failed, true, true));
    assert_eq!(of("failed_kept"), (failed, true, false));
}

#[test]
fn messages_are_in_the_order_of_sending_and_skipped_actions_are_counted() {
    let batch = recorded().transaction("batch");
    assert_eq!(batch.skipped_actions, 1);
    let times: Vec<u64> = batch
        .out_messages
        .iter()
        .map(|message| match &message.direction {
            Direction::Internal(internal) => internal.created_lt,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times.len(), 2);
    assert!(times.is_sorted() && times[0] > batch.id.lt, "{times:?}");
}

#[test]
fn a_dictionary_that_lies_about_its_number_of_messages_is_refused() {
    let cell = boc::decode(&recorded().boc("deposit")).unwrap();
    // outmsg_cnt is behind the tag, account, lt, previous transaction and time.
    let place = 4 + 256 + 64 + 256 + 64 + 32;
    let mut data = cell.data().to_vec();
    data[(place + 14) / 8] ^= 0x80 >> ((place + 14) % 8);
    let lying = Cell::new(data, cell.bit_len(), cell.references().to_vec(), false).unwrap();
    assert_eq!(Transaction::parse(&lying.to_arc()).unwrap_err(), CellError::Value("outmsg_cnt"));
}

fn longer(cell: &ArcCell) -> ArcCell {
    Writer::new().content(cell).bit(false).cell().unwrap()
}

fn with_reference(cell: &ArcCell, index: usize, other: ArcCell) -> ArcCell {
    let mut references = cell.references().to_vec();
    references[index] = other;
    Cell::new(cell.data().to_vec(), cell.bit_len(), references, false).unwrap().to_arc()
}

fn with_first_bit_turned(cell: &ArcCell) -> ArcCell {
    let mut data = cell.data().to_vec();
    data[0] ^= 0x80;
    Cell::new(data, cell.bit_len(), cell.references().to_vec(), false).unwrap().to_arc()
}

/// Where a transaction has its messages and its description, and the former the dictionary of those that went out.
const MESSAGES: usize = 0;
const DESCRIPTION: usize = 2;
const OUT: usize = 1;

#[test]
fn more_behind_the_end_is_refused_wherever_it_is() {
    let whole = boc::decode(&recorded().boc("batch")).unwrap();
    let refused = |cell: ArcCell| assert_eq!(Transaction::parse(&cell).unwrap_err(), CellError::Overflow);
    refused(longer(&whole));
    let messages = &whole.references()[MESSAGES];
    refused(with_reference(&whole, MESSAGES, longer(messages)));
    refused(with_reference(&whole, DESCRIPTION, longer(&whole.references()[DESCRIPTION])));
    let out = with_reference(messages, OUT, longer(&messages.references()[OUT]));
    refused(with_reference(&whole, MESSAGES, out));
}

#[test]
fn another_kind_of_transaction_is_refused() {
    let whole = boc::decode(&recorded().boc("batch")).unwrap();
    let refused = |cell: ArcCell| assert!(matches!(Transaction::parse(&cell), Err(CellError::Tag(_))));
    refused(with_first_bit_turned(&whole));
    let description = with_first_bit_turned(&whole.references()[DESCRIPTION]);
    refused(with_reference(&whole, DESCRIPTION, description));
}

#[test]
fn a_dictionary_of_few_cells_and_many_messages_is_not_unfolded() {
    let whole = boc::decode(&recorded().boc("batch")).unwrap();
    let messages = &whole.references()[MESSAGES];
    let of = |out: &ArcCell| {
        let messages = with_reference(messages, OUT, out.clone());
        Transaction::parse(&with_reference(&whole, MESSAGES, messages)).unwrap_err()
    };
    // Empty labels: 15 forks, each of which has the next one twice, are 2^15 times the same message.
    let mut out = Writer::new().uint(2, 0).reference(&messages.references()[0]).cell().unwrap();
    for _ in 0..15 {
        out = Writer::new().uint(2, 0).reference(&out).reference(&out).cell().unwrap();
    }
    assert_eq!(of(&out), CellError::Value("out_msgs"));
    // A label of 16 bits, where keys have 15.
    let label = Writer::new().uint(18, 0x1_fffe).uint(16, 0).reference(&messages.references()[0]);
    assert_eq!(of(&label.cell().unwrap()), CellError::Value("label"));
}
