use super::*;
use crate::decision::Number;

const TON: u64 = 1_000_000_000;

fn standing(charged: u64) -> Standing {
    let name = format!("{CHANNEL_PREFIX}{}", "07".repeat(32));
    Standing {
        account: name.parse().unwrap(),
        address: Address::new(Workchain::Basechain, [7; 32]),
        base: NanoTon(TON),
        voucher: Some(KeptVoucher { cumulative: NanoTon(4 * TON), signature: [9; 64] }),
        charged: NanoTon(charged),
        held: NanoTon::ZERO,
        balance: NanoTon(3 * TON - charged.min(3 * TON)),
        closed: false,
    }
}

fn claim(amount: u64) -> Claim {
    let signature = VoucherSignature([9; 64]);
    Claim { amount: NanoTon(amount), cumulative: NanoTon(4 * TON), signature }
}

fn call(standing: &Standing, books: ChannelBooks, now: u32) -> Option<Call> {
    standing.call(&books, &PayoutConfig::default(), now)
}

#[test]
fn the_claim_is_what_was_charged_on_top_of_what_was_paid_before() {
    assert_eq!(standing(TON).claim(), NanoTon(2 * TON));
    assert_eq!(standing(TON).credited(), u128::from(3 * TON));
    let books = ChannelBooks { redeemed: (TON / 4).into(), ..ChannelBooks::default() };
    assert_eq!(standing(TON).owes(&books), TON - TON / 4);
    // A charge is never above what vouchers allow; if it were, this would not ask for it.
    assert_eq!(standing(9 * TON).claim(), NanoTon(4 * TON));
    let new = Standing { voucher: None, ..standing(0) };
    assert_eq!((new.claim(), new.credited(), new.owes(&ChannelBooks::default())), (NanoTon(TON), 0, 0));
}

#[test]
fn much_is_redeemed_at_once_and_little_once_a_day() {
    let config = PayoutConfig::default();
    let now = 2_000_000_000;
    let just_now = ChannelBooks { last: now, ..ChannelBooks::default() };
    assert_eq!(call(&standing(TON), just_now, now), Some(Call::Redeem(claim(2 * TON))));
    assert_eq!(call(&standing(TON - 1), just_now, now), None);
    let later = now + u32::try_from(config.small_after_s).unwrap();
    assert_eq!(call(&standing(TON - 1), just_now, later), Some(Call::Redeem(claim(2 * TON - 1))));
    assert_eq!(call(&standing(config.small.0 - 1), just_now, later), None);
}

#[test]
fn what_was_told_is_waited_for_and_what_is_closed_is_let_be() {
    let asked = ChannelBooks { asked: Some(Number(1)), ..ChannelBooks::default() };
    assert_eq!(call(&standing(TON), asked, 2_000_000_000), None);
    let over = ChannelBooks { closed: true, ..ChannelBooks::default() };
    assert_eq!(call(&Standing { closed: true, ..standing(TON) }, over, 2_000_000_000), None);
}

#[test]
fn one_that_takes_no_voucher_is_closed_once_nothing_runs() {
    let closed = |charged| Standing { closed: true, ..standing(charged) };
    let none = ChannelBooks::default();
    assert_eq!(call(&closed(1), none, 1), Some(Call::RedeemAndClose(claim(TON + 1))));
    assert_eq!(call(&closed(0), none, 1), Some(Call::Close));
    let unused = Standing { voucher: None, ..closed(0) };
    assert_eq!(call(&unused, none, 1), Some(Call::Close));
    let runs = Standing { held: NanoTon(1), ..closed(1) };
    assert_eq!(call(&runs, none, 1), None);
    let paid = ChannelBooks { redeemed: 1, ..none };
    assert_eq!(call(&closed(1), paid, 1), Some(Call::Close));
}
