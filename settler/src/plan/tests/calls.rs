//! Payment channels that are told something, beside those who are paid.

use super::*;
use crate::decision::{Call, Claim, VoucherSignature};

fn calling(byte: u8, call: Call, brings: u64) -> Calling {
    let account = format!("channel:{}", format!("{byte:02x}").repeat(32)).parse().unwrap();
    Calling { account, address: payee(byte).0, call, brings }
}

fn redeem(byte: u8, brings: u64) -> Calling {
    let (amount, signature) = (NanoTon(u64::MAX - brings), VoucherSignature([byte; 64]));
    calling(byte, Call::Redeem(Claim { amount, cumulative: NanoTon(u64::MAX), signature }), brings)
}

fn payees(plan: &Plan) -> Vec<Payee> {
    plan.payouts.iter().map(|begun| begun.to).collect()
}

const VALUE: u64 = CHANNEL_VALUE.0;

#[test]
fn a_redeem_that_brings_more_than_it_costs_is_sent_by_a_platform_that_has_nothing() {
    let told = Told::with(TON);
    let config = PayoutConfig::default();
    let enough = u128::from(VALUE) + PAYOUT_COST + BATCH_COST;
    // All in the wallet is a user's.
    let of = |calling: Calling| Owing { balances: TON.into(), calls: vec![calling], ..Owing::default() };
    let brings = u64::try_from(enough).unwrap();
    assert_eq!(payees(&told.plan(&of(redeem(1, brings + 1)), &config)), [payee(1)]);
    for too_little in [redeem(1, brings), calling(1, Call::Close, 0)] {
        let plan = told.plan(&of(too_little), &config);
        assert!(matches!(plan.held.as_slice(), [Held::NoFloat { has: 0, .. }]), "{plan:?}");
        assert_eq!(plan.payouts, []);
    }
    let own = Owing { balances: 0, ..of(calling(1, Call::Close, 0)) };
    let plan = told.plan(&own, &config);
    assert_eq!(plan.payouts[0].amount, CHANNEL_VALUE);
    assert_eq!(plan.held, []);
}

#[test]
fn nothing_is_told_to_a_channel_that_the_wallet_cannot_pay_the_fees_of() {
    let needs = u64::try_from(BATCH_COST + u128::from(VALUE) + PAYOUT_COST + RESERVE).unwrap();
    let owing = Owing { calls: vec![redeem(1, 9 * TON)], ..Owing::default() };
    let config = PayoutConfig::default();
    assert_eq!(payees(&Told::with(needs).plan(&owing, &config)), [payee(1)]);
    let plan = Told::with(needs - 1).plan(&owing, &config);
    assert!(matches!(plan.held.as_slice(), [Held::Short { .. }]), "{plan:?}");
    // What is lent to one is not there for the next, nor for a payout.
    let both = Owing { calls: vec![redeem(1, 9 * TON), redeem(2, 9 * TON)], ..Owing::default() };
    assert_eq!(payees(&Told::with(needs).plan(&both, &config)), [payee(1)]);
    let payout = Owing { calls: vec![redeem(1, 9 * TON)], ..earned(&[(2, i128::from(TON))]) };
    let wallet = TON + needs + u64::try_from(PAYOUT_COST).unwrap();
    assert_eq!(payees(&Told::with(wallet).plan(&payout, &config)), [payee(1), payee(2)]);
    assert_eq!(payees(&Told::with(wallet - 1).plan(&payout, &config)), [payee(1)]);
}

/// Channels that cannot be told anything, for whatever time, keep nobody from being paid.
#[test]
fn only_what_is_told_takes_the_place_of_a_payout() {
    let mut told = Told::with(10 * TON);
    told.pay(0, NOW - DAY, vec![to_operator(1, 7, TON)]);
    told.read(TON.into(), Class::Returned { payout: Number(1), amount: NanoTon(TON) });
    assert!(told.treasury.held().contains(&payee(7)));
    let config = PayoutConfig { most_payouts: 1, ..PayoutConfig::default() };
    let held = Owing { calls: vec![redeem(7, 9 * TON)], ..earned(&[(2, i128::from(TON))]) };
    let plan = told.plan(&held, &config);
    assert_eq!(payees(&plan), [payee(2)]);
    assert_eq!(plan.held, [Held::SentBack { to: payee(7) }]);
    let possible = Owing { calls: vec![redeem(7, TON), redeem(3, 9 * TON)], ..held };
    assert_eq!(payees(&told.plan(&possible, &config)), [payee(3)]);
    let two = Owing { calls: vec![redeem(3, 9 * TON), redeem(4, 9 * TON)], ..Owing::default() };
    assert_eq!(payees(&told.plan(&two, &config)), [payee(3)]);
}

#[test]
fn what_is_unexplained_stops_payouts_and_no_channel() {
    let mut told = Told::with(10 * TON);
    told.read(-5, Class::Unexplained { why: "why".to_owned() });
    let owing = Owing {
        calls: vec![redeem(1, 9 * TON)],
        lost: vec![(payee(4).0, 3)],
        ..earned(&[(2, i128::from(TON))])
    };
    let plan = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(payees(&plan), [payee(1)]);
    assert_eq!(plan.held, [Held::Unexplained(1), Held::Lost { channel: payee(4).0, lost: 3 }]);
}

/// What channels are lent is no payout: it is not under the cap, and does not use it up.
#[test]
fn the_daily_cap_is_for_what_leaves_for_good() {
    let mut told = Told::with(10 * TON);
    let config = PayoutConfig { daily_cap: Some(NanoTon(TON)), ..PayoutConfig::default() };
    let owing = Owing { calls: vec![redeem(1, 9 * TON)], ..earned(&[(2, i128::from(TON))]) };
    let plan = told.plan(&owing, &config);
    assert_eq!((payees(&plan), plan.held.len()), (vec![payee(1), payee(2)], 0));
    told.begin(0, NOW, plan.payouts);
    assert_eq!(told.treasury.paid_since_a_day(NOW), TON.into());
}

#[test]
fn a_batch_full_of_calls_fits_into_a_record() {
    let most = u8::try_from(MOST_CALLS).unwrap();
    let calls = (1..=most + 5).map(|byte| redeem(byte, 9 * TON)).collect();
    let owed = i128::from(TON);
    let operators: Vec<(u8, i128)> = (0..200).map(|byte| (byte, owed)).collect();
    let owing = Owing { calls, ..earned(&operators) };
    let config = PayoutConfig { most_payouts: MOST_PAYOUTS, ..PayoutConfig::default() };
    let payouts = Told::with(1_000_000 * TON).plan(&owing, &config).payouts;
    let told = payouts.iter().filter(|begun| matches!(begun.of, Owed::Channel { .. })).count();
    assert_eq!((told, payouts.len()), (MOST_CALLS, MOST_PAYOUTS - MOST_CALLS));
    let (seqno, valid_until, at) = (u32::MAX, u32::MAX, u32::MAX);
    let batch = Batch { seqno, valid_until, at, deploy: false, body: CellHash([0xff; 32]), payouts };
    let record = serde_json::to_string(&Decision::Batch(batch)).unwrap();
    assert!(record.len() <= cocoon_ledger::MAX_DECISION_BYTES, "{}", record.len());
}
