use super::*;
use crate::recorded::{Recorded, recorded};
use crate::writer::Writer;
use crate::{Workchain, payout_body};

fn judged(change: impl FnOnce(&mut Batch, &mut Transaction)) -> Result<PaidBatch, NotAPayment> {
    let recorded = recorded();
    let (mut batch, mut transaction) = (recorded.batch(), recorded.transaction("batch"));
    change(&mut batch, &mut transaction);
    paid_batch(&batch, &recorded.treasury(), &transaction)
}

fn ids(payouts: impl IntoIterator<Item = Payout>) -> Vec<u64> {
    payouts.into_iter().map(|payout| payout.id.0).collect()
}

/// The real batch asked for three payouts, of which the second was more than the wallet had.
#[test]
fn what_went_out_is_paid_and_what_was_passed_over_is_not_though_the_transaction_succeeded() {
    let paid = judged(|_, transaction| assert!(!transaction.aborted)).unwrap();
    assert_eq!(ids(paid.sent.iter().map(|sent| sent.payout)), [1, 3]);
    assert_eq!(ids(paid.skipped), [2]);
}

#[test]
fn a_batch_that_may_run_again_is_not_judged() {
    assert_eq!(judged(|_, transaction| transaction.aborted = true), Err(NotAPayment::Aborted));
    let failed = Compute::Ran { success: false, exit_code: 137 };
    assert_eq!(judged(|_, transaction| transaction.compute = failed), Err(NotAPayment::Aborted));
}

#[test]
fn a_message_with_another_payee_or_amount_is_not_the_payout() {
    let elsewhere = Address::new(Workchain::Basechain, [5; 32]);
    let differs = Err(NotAPayment::Differs(PayoutId(3)));
    assert_eq!(judged(|batch, _| batch.payouts[2].to = elsewhere), differs);
    assert_eq!(judged(|batch, _| batch.payouts[2].amount.0 -= 1), differs);
}

#[test]
fn a_message_that_nobody_asked_for_is_noticed() {
    assert_eq!(judged(|batch, _| batch.payouts.truncate(2)), Err(NotAPayment::Unknown));
    let twice = judged(|_, transaction| transaction.out_messages.push(transaction.out_messages[0].clone()));
    assert_eq!(twice, Err(NotAPayment::Twice(PayoutId(1))));
    let other = judged(|_, transaction| {
        transaction.out_messages[0].body = recorded().transaction("deposit").in_message.unwrap().body;
    });
    assert_eq!(other, Err(NotAPayment::Unknown));
}

#[test]
fn only_the_transaction_that_this_batch_began_says_what_was_paid() {
    assert_eq!(judged(|batch, _| batch.body_hash.0[0] ^= 1), Err(NotAPayment::OtherMessage));
    let recorded = recorded();
    let by = |name| paid_batch(&recorded.batch(), &recorded.treasury(), &recorded.transaction(name));
    assert_eq!(by("deploys"), Err(NotAPayment::OtherMessage));
    assert_eq!(by("deposit"), Err(NotAPayment::OtherMessage));
    assert_eq!(judged(|_, transaction| transaction.account[0] ^= 1), Err(NotAPayment::OtherAccount));
}

#[test]
fn a_body_that_is_not_exactly_a_payouts_is_nobodys() {
    let body = payout_body(PayoutId(1)).unwrap();
    let longer = Writer::new().content(&body).bit(false);
    let other_op = Writer::new().uint(32, u64::from(PAYOUT_OP) + 1).uint(64, 1);
    for body in [longer, other_op].map(|writer| writer.cell().unwrap()) {
        let judged = judged(|_, transaction| transaction.out_messages[0].body = body);
        assert_eq!(judged, Err(NotAPayment::Unknown));
    }
}

#[test]
fn the_batch_must_have_come_to_the_wallet_itself() {
    let judged = judged(|_, transaction| {
        let to = Address::new(Workchain::Masterchain, transaction.account);
        transaction.in_message.as_mut().unwrap().direction = Direction::In { to };
    });
    assert_eq!(judged, Err(NotAPayment::OtherMessage));
}

fn bounced(recorded: &Recorded, name: &str) -> Option<(PayoutId, Address, NanoTon)> {
    bounced_payout(&recorded.treasury(), &recorded.transaction(name))
}

#[test]
fn a_bounce_names_its_payout() {
    let recorded = recorded();
    let payout = recorded.batch().payouts[2];
    let (id, from, left) = bounced(&recorded, "bounce").unwrap();
    assert_eq!((id, from), (payout.id, payout.to));
    assert!(left < payout.amount && left.0 > payout.amount.0 - 10_000_000, "{left}");
}

#[test]
fn what_is_no_bounce_of_a_payout_names_none() {
    let recorded = recorded();
    for name in recorded.names().filter(|name| *name != "bounce") {
        assert_eq!(bounced(&recorded, name), None, "{name}");
    }
    // The same body, not marked as bounced by the chain: anybody can write that.
    let mut forged = recorded.transaction("bounce");
    if let Some(Message { direction: Direction::Internal(internal), .. }) = &mut forged.in_message {
        internal.bounced = false;
    }
    assert_eq!(bounced_payout(&recorded.treasury(), &forged), None);
}

#[test]
fn what_bounced_elsewhere_or_was_no_payout_names_none() {
    let recorded = recorded();
    let judged = |change: &dyn Fn(&mut Transaction)| {
        let mut transaction = recorded.transaction("bounce");
        change(&mut transaction);
        bounced_payout(&recorded.treasury(), &transaction)
    };
    assert!(judged(&|_| {}).is_some());
    assert_eq!(judged(&|transaction| transaction.account[0] ^= 1), None);
    let elsewhere = Address::new(Workchain::Masterchain, *recorded.treasury().hash());
    assert_eq!(bounced_payout(&elsewhere, &recorded.transaction("bounce")), None);
    for (mark, op) in [(0xffff_fffe, PAYOUT_OP), (0xffff_ffff, PAYOUT_OP + 1)] {
        let body = Writer::new().uint(32, mark).uint(32, op.into()).uint(64, 3).cell().unwrap();
        assert_eq!(judged(&|transaction| transaction.in_message.as_mut().unwrap().body = body.clone()), None);
    }
}

/// A channel's bounce names its payout as others do; only what the receiver asks is told to a channel.
#[test]
fn a_channel_that_sends_back_what_it_was_told_names_the_payout() {
    let recorded = recorded();
    let signature = [7; 64];
    let (amount, cumulative) = (NanoTon(5), NanoTon(6));
    for (message, known) in [
        (ChannelMessage::Redeem { amount, cumulative, signature }, true),
        (ChannelMessage::RedeemAndClose { amount, cumulative, signature }, true),
        (ChannelMessage::ReceiverClose, true),
        (ChannelMessage::Deposit, false),
        (ChannelMessage::StartClose, false),
        (ChannelMessage::Paid { amount }, false),
    ] {
        let mut transaction = recorded.transaction("bounce");
        let body = Writer::new().uint(32, 0xffff_ffff).uint(32, message.op().into()).uint(64, 9);
        transaction.in_message.as_mut().unwrap().body = body.cell().unwrap();
        let named = bounced_payout(&recorded.treasury(), &transaction).map(|(id, ..)| id);
        assert_eq!(named, known.then_some(PayoutId(9)), "{message:?}");
    }
}

fn answered(change: impl FnOnce(&mut Transaction)) -> Option<ChannelAnswer> {
    let mut transaction = recorded().transaction("deposit");
    let Some(Message { direction: Direction::Internal(internal), body, .. }) = &mut transaction.in_message
    else {
        panic!("a deposit comes by a message")
    };
    internal.value = NanoTon(100);
    *body = ChannelMessage::Paid { amount: NanoTon(100) }.body(9).unwrap();
    change(&mut transaction);
    channel_answer(&recorded().treasury(), &transaction)
}

fn says(message: ChannelMessage) -> impl FnOnce(&mut Transaction) {
    move |transaction| transaction.in_message.as_mut().unwrap().body = message.body(9).unwrap()
}

#[test]
fn a_channels_answer_says_what_it_paid_of_what_came() {
    let answer = answered(|_| {}).unwrap();
    assert_eq!((answer.id, answer.paid, answer.value), (PayoutId(9), NanoTon(100), NanoTon(100)));
    let less = answered(says(ChannelMessage::Paid { amount: NanoTon(40) })).unwrap();
    assert_eq!((less.paid, less.value), (NanoTon(40), NanoTon(100)));
    let rest = answered(says(ChannelMessage::Excesses)).unwrap();
    assert_eq!((rest.paid, rest.value), (NanoTon::ZERO, NanoTon(100)));
}

#[test]
fn what_is_no_answer_is_none() {
    assert_eq!(answered(says(ChannelMessage::Paid { amount: NanoTon(101) })), None, "more than came");
    for message in [ChannelMessage::Refund { amount: NanoTon(1) }, ChannelMessage::Deposit] {
        assert_eq!(answered(says(message)), None, "{message:?}");
    }
    assert_eq!(answered(|transaction| transaction.account[0] ^= 1), None);
    assert_eq!(answered(|transaction| transaction.in_message = None), None);
    let sends = |transaction: &mut Transaction| {
        transaction.out_messages = recorded().transaction("batch").out_messages;
    };
    assert_eq!(answered(sends), None, "it made the wallet send something");
    let bounced = |transaction: &mut Transaction| {
        if let Some(Message { direction: Direction::Internal(internal), .. }) = &mut transaction.in_message {
            internal.bounced = true;
        }
    };
    assert_eq!(answered(bounced), None);
}

/// The transaction by which a payee, who is not deployed, has taken a payout: as the chain runs it.
fn received(change: impl FnOnce(&mut Transaction, &mut Internal)) -> Option<(u64, u64)> {
    let recorded = recorded();
    let payout = recorded.batch().payouts[0];
    let mut transaction = recorded.transaction("deposit");
    (transaction.account, transaction.aborted, transaction.compute) =
        (*payout.to.hash(), true, Compute::Skipped);
    let mut internal = Internal {
        bounce: false,
        bounced: false,
        from: recorded.treasury(),
        to: payout.to,
        value: payout.amount,
        forward_fee: NanoTon::ZERO,
        created_lt: 1,
    };
    let mut message = transaction.in_message.take().unwrap();
    message.body = payout_body(payout.id).unwrap();
    transaction.in_message = Some(message);
    change(&mut transaction, &mut internal);
    if let Some(message) = &mut transaction.in_message {
        message.direction = Direction::Internal(internal);
    }
    let received = received_payout(&payout.to, &recorded.treasury(), &transaction);
    received.map(|(id, value)| (id.0, value.0))
}

#[test]
fn a_payee_is_paid_what_came_also_where_nothing_ran() {
    let payout = recorded().batch().payouts[0];
    let paid = Some((payout.id.0, payout.amount.0));
    assert_eq!(received(|_, _| {}), paid);
    assert_eq!(received(|transaction, _| transaction.aborted = false), paid);
    assert_eq!(received(|_, internal| internal.value.0 -= 1), Some((payout.id.0, payout.amount.0 - 1)));
}

#[test]
fn what_is_no_payout_of_the_treasurys_to_the_payee_pays_nothing() {
    let elsewhere = Address::new(Workchain::Basechain, [5; 32]);
    assert_eq!(received(|_, internal| internal.from = elsewhere), None);
    assert_eq!(received(|_, internal| internal.to = elsewhere), None);
    assert_eq!(received(|_, internal| internal.bounced = true), None);
    assert_eq!(received(|transaction, _| transaction.account[0] ^= 1), None);
    assert_eq!(received(|transaction, _| transaction.has_bounce_phase = true), None, "it went back");
    assert_eq!(received(|transaction, _| transaction.in_message = None), None);
    let other_op = Writer::new().uint(32, u64::from(PAYOUT_OP) + 1).uint(64, 1).cell().unwrap();
    let longer = Writer::new().content(&payout_body(PayoutId(1)).unwrap()).bit(false).cell().unwrap();
    for body in [other_op, longer] {
        let received = received(|transaction, _| transaction.in_message.as_mut().unwrap().body = body);
        assert_eq!(received, None);
    }
}
