use cocoon_ton::{Compute, TransactionId, payout_body};

use super::*;
use crate::decision::{Begun, Decision, Opened, Owed, Payee};
use cocoon_ton::{ArcCell, CellHash, Internal, PayoutId, Workchain};

const WALLET: Address = Address::new(Workchain::Basechain, [1; 32]);
const PAYEE: Address = Address::new(Workchain::Basechain, [2; 32]);

fn cell(id: u64) -> ArcCell {
    payout_body(PayoutId(id)).unwrap()
}

/// With one batch of one payout on its way, whose body is cell 77.
fn treasury() -> Treasury {
    let mut treasury = Treasury::default();
    treasury.apply(&Decision::Opened(Opened { wallet: Payee(WALLET), global_id: -3 })).unwrap();
    let of = Owed::Operator(PAYEE.to_string().parse().unwrap());
    let begun = Begun { id: Number(1), to: Payee(PAYEE), amount: NanoTon(5), of };
    let (valid_until, body) = (100, CellHash::of(&cell(77)));
    let batch = Batch { seqno: 0, valid_until, at: 5, deploy: false, body, payouts: vec![begun] };
    treasury.apply(&Decision::Batch(batch)).unwrap();
    treasury
}

fn message(direction: Direction, body: ArcCell) -> Message {
    Message { hash: CellHash([3; 32]), direction, has_state_init: false, body }
}

/// The batch of the treasury, executed in full.
fn executed() -> Transaction {
    let internal = Internal {
        bounce: false,
        bounced: false,
        from: WALLET,
        to: PAYEE,
        value: NanoTon(5),
        forward_fee: NanoTon(1),
        created_lt: 9,
    };
    Transaction {
        id: TransactionId { lt: 8, hash: CellHash([4; 32]) },
        account: [1; 32],
        previous: None,
        now: 6,
        in_message: Some(message(Direction::In { to: WALLET }, cell(77))),
        out_messages: vec![message(Direction::Internal(internal), cell(1))],
        compute: Compute::Ran { success: true, exit_code: 0 },
        aborted: false,
        has_bounce_phase: false,
        total_fees: NanoTon(3),
        skipped_actions: 0,
    }
}

fn read(transaction: &Transaction) -> Class {
    entry(transaction, &WALLET, NanoTon(1), &treasury()).class
}

#[test]
fn a_batch_is_paid_by_the_transaction_that_ran_it() {
    let transaction = executed();
    let read = entry(&transaction, &WALLET, NanoTon(1), &treasury());
    assert_eq!(read.class, Class::Paid { seqno: 0, sent: vec![Number(1)], skipped: vec![] });
    assert_eq!((read.change, read.at, read.transaction.lt), (-9, 6, 8));
    let nothing = Transaction { out_messages: Vec::new(), ..transaction };
    assert_eq!(self::read(&nothing), Class::Paid { seqno: 0, sent: vec![], skipped: vec![Number(1)] });
}

/// Its number stands, and the same bytes may run again.
#[test]
fn a_batch_that_was_aborted_is_still_on_its_way() {
    let aborted = Transaction { aborted: true, out_messages: Vec::new(), ..executed() };
    assert_eq!(read(&aborted), Class::Nothing);
    let failed = Compute::Ran { success: false, exit_code: 5 };
    assert_eq!(read(&Transaction { compute: failed, ..aborted.clone() }), Class::Nothing);
    assert_eq!(read(&Transaction { compute: Compute::Skipped, ..aborted }), Class::Nothing);
    // No chain aborts and sends.
    let contradiction = Transaction { aborted: true, ..executed() };
    assert!(matches!(read(&contradiction), Class::Unexplained { .. }));
}

#[test]
fn what_was_not_asked_for_is_unexplained() {
    let sent = executed();
    let with = |body: ArcCell, value: u64, to: Address| {
        let mut transaction = executed();
        let Direction::Internal(internal) = &mut transaction.out_messages[0].direction else {
            unreachable!()
        };
        (internal.value, internal.to) = (NanoTon(value), to);
        transaction.out_messages[0].body = body;
        transaction
    };
    let mut twice = executed();
    twice.out_messages.extend(executed().out_messages);
    let mut event = executed();
    event.out_messages[0].direction = Direction::Out { from: WALLET };
    let mut other_body = executed();
    other_body.in_message = Some(message(Direction::In { to: WALLET }, cell(78)));
    let mut leaves = executed();
    leaves.in_message = Some(message(Direction::Out { from: WALLET }, cell(77)));
    for (what, transaction) in [
        ("another amount", with(cell(1), 6, PAYEE)),
        ("another payee", with(cell(1), 5, WALLET)),
        ("another id", with(cell(2), 5, PAYEE)),
        ("no payout", with(ArcCell::default(), 5, PAYEE)),
        ("one twice", twice),
        ("an event", event),
        ("another body", other_body),
        ("a message that leaves", leaves),
        ("no message", Transaction { in_message: None, ..sent.clone() }),
        ("another account", Transaction { account: [9; 32], ..sent }),
    ] {
        assert!(matches!(read(&transaction), Class::Unexplained { .. }), "{what}: {:?}", read(&transaction));
    }
}
