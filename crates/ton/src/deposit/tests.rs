use super::*;
use crate::recorded::recorded;
use crate::writer::Writer;

const TON: u64 = 1_000_000_000;
const MINIMUM: NanoTon = NanoTon(TON / 10);

/// Of the TVM; the complement of 13, by which no contract can pretend it.
const OUT_OF_GAS: i32 = -14;

fn of(name: &str) -> Result<Deposit, NotADeposit> {
    let recorded = recorded();
    deposit(&recorded.transaction(name), &recorded.treasury(), MINIMUM)
}

#[test]
fn a_transfer_with_a_comment_is_a_deposit_however_it_was_marked() {
    for name in ["deposit", "deposit_bounceable"] {
        let deposit = of(name).unwrap();
        assert_eq!(deposit.comment, "cocoon:abc");
        assert_eq!(deposit.amount, NanoTon(5 * TON));
        assert_eq!(deposit.from, recorded().user());
        assert_eq!(deposit.id, recorded().transaction(name).id);
    }
}

#[test]
fn a_comment_goes_on_in_the_next_cell_up_to_a_bound() {
    assert_eq!(of("deposit_long").unwrap().comment, format!("cocoon:{}", "x".repeat(300)));
    assert_eq!(of("deposit_too_long"), Err(NotADeposit::CommentTooLong));
}

#[test]
fn a_comment_is_in_a_bounded_number_of_cells() {
    let recorded = recorded();
    let of = |cells: usize| {
        let mut body = Writer::new().bytes(b"x").cell().unwrap();
        for _ in 2..cells {
            body = Writer::new().bytes(b"x").reference(&body).cell().unwrap();
        }
        let mut transaction = recorded.transaction("deposit");
        let body = Writer::new().uint(32, 0).reference(&body).cell().unwrap();
        transaction.in_message.as_mut().unwrap().body = body;
        deposit(&transaction, &recorded.treasury(), MINIMUM).map(|deposit| deposit.comment.len())
    };
    assert_eq!(of(MAX_COMMENT_CELLS), Ok(MAX_COMMENT_CELLS - 1));
    assert_eq!(of(MAX_COMMENT_CELLS + 1), Err(NotADeposit::CommentTooLong));
}

#[test]
fn money_that_did_not_stay_or_came_before_the_wallet_is_none() {
    assert_eq!(of("not_deployed"), Err(NotADeposit::NotRun));
    assert_eq!(of("not_deployed_and_bounced"), Err(NotADeposit::NotRun));
    assert_eq!(of("failed"), Err(NotADeposit::Failed(OUT_OF_GAS)));
    assert_eq!(of("failed_kept"), Err(NotADeposit::Failed(OUT_OF_GAS)));
    assert_eq!(of("bounce"), Err(NotADeposit::Bounced));
}

#[test]
fn each_sign_of_failure_alone_is_enough() {
    let recorded = recorded();
    let judge = |transaction: &Transaction| deposit(transaction, &recorded.treasury(), MINIMUM);
    let good = recorded.transaction("deposit");
    assert!(judge(&good).is_ok());
    assert_eq!(judge(&Transaction { aborted: true, ..good.clone() }), Err(NotADeposit::Aborted));
    assert_eq!(judge(&Transaction { has_bounce_phase: true, ..good.clone() }), Err(NotADeposit::BouncePhase));
    assert_eq!(judge(&Transaction { in_message: None, ..good.clone() }), Err(NotADeposit::NotInternal));
    assert_eq!(judge(&Transaction { account: [1; 32], ..good }), Err(NotADeposit::OtherAccount));
}

#[test]
fn a_message_from_outside_brings_no_money() {
    assert_eq!(of("batch"), Err(NotADeposit::NotInternal));
}

#[test]
fn the_message_must_be_to_the_treasury_itself() {
    let recorded = recorded();
    let elsewhere = Address::new(crate::Workchain::Masterchain, *recorded.treasury().hash());
    let judged = deposit(&recorded.transaction("deposit"), &elsewhere, MINIMUM);
    assert_eq!(judged, Err(NotADeposit::OtherAccount));
}

#[test]
fn the_minimum_itself_is_enough() {
    let recorded = recorded();
    let judge =
        |minimum| deposit(&recorded.transaction("deposit_small"), &recorded.treasury(), NanoTon(minimum));
    assert!(judge(TON / 100).is_ok());
    assert_eq!(judge(TON / 100 + 1), Err(NotADeposit::BelowMinimum(NanoTon(TON / 100 + 1))));
}

#[test]
fn only_plain_text_is_a_comment() {
    assert_eq!(of("no_comment"), Err(NotADeposit::NoComment));
    assert_eq!(of("empty_comment"), Err(NotADeposit::NoComment));
    for name in ["ignored", "encrypted", "not_utf8", "half_a_byte", "two_references"] {
        assert_eq!(of(name), Err(NotADeposit::NotText), "{name}");
    }
}
