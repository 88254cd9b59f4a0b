use cocoon_receipts::BasisPoints;

use super::*;
use crate::config::tests::{OPERATOR, config};

const DAY: u64 = 86_400;
const NOW: u64 = 1_000 * DAY;
const TON: u64 = 1_000_000_000;

fn sum(receipts: u64, cost: u64) -> Sum {
    Sum { receipts, cost: NanoTon(cost) }
}

/// Ten receipts of 100 nanoTON, of which nine tenths are the operator's, an hour old; 600 were paid.
fn facts() -> Facts {
    let tally = Tally {
        booked: sum(10, 1000),
        earned: NanoTon(900),
        since: Some((NOW - 3600) * 1000),
        ..Tally::default()
    };
    let operator: OperatorId = OPERATOR.parse().unwrap();
    Facts {
        gateway: Told::Said(OperatorView {
            operator: operator.clone(),
            accrued: NanoTon(950),
            reversed: NanoTon(50),
        }),
        chain: Told::Said(Paid { payouts: 2, amount: NanoTon(600), newest: Some((NOW - 60) as u32) }),
        outboxes: Outboxes { operator, backends: 2, waiting: sum(1, 100), tally },
    }
}

fn judged(change: impl FnOnce(&mut Facts)) -> Earnings {
    let mut facts = facts();
    change(&mut facts);
    facts.judge(Some(BasisPoints::NINE_TENTHS), NOW)
}

/// All that are not ok.
fn complaints(earnings: &Earnings) -> Vec<(&'static str, Verdict)> {
    let checks = earnings.checks.iter().filter(|check| check.verdict != Verdict::Ok);
    checks.map(|check| (check.check, check.verdict)).collect()
}

fn gateway(facts: &mut Facts) -> &mut OperatorView {
    let Told::Said(view) = &mut facts.gateway else { panic!("it has not said anything") };
    view
}

fn chain(facts: &mut Facts) -> &mut Paid {
    let Told::Said(paid) = &mut facts.chain else { panic!("it has not said anything") };
    paid
}

#[test]
fn what_fits_together_is_fine() {
    let earnings = judged(|_| {});
    assert_eq!(complaints(&earnings), []);
    assert!(earnings.is_fine());
    assert_eq!((earnings.signed, earnings.owed), (sum(11, 1100), Some(300)));
}

#[test]
fn a_receipt_that_was_not_taken_is_a_loss() {
    let lost = [("nothing_lost", Verdict::Failed)];
    assert_eq!(complaints(&judged(|facts| facts.outboxes.tally.refused = sum(1, 0))), lost);
    assert_eq!(complaints(&judged(|facts| facts.outboxes.tally.expired = sum(1, 0))), lost);
    let damaged = judged(|facts| facts.outboxes.tally.damaged = 1);
    assert_eq!((complaints(&damaged).as_slice(), damaged.is_fine()), (&lost[..], false));
}

#[test]
fn a_gateway_that_books_less_than_it_says_is_found_out() {
    let short = [("booked_as_said", Verdict::Failed)];
    assert_eq!(complaints(&judged(|facts| gateway(facts).accrued.0 -= 1)), short);
    let taken_back = judged(|facts| gateway(facts).reversed.0 += 1);
    assert_eq!((complaints(&taken_back).as_slice(), taken_back.is_fine()), (&short[..], false));
    assert_eq!(complaints(&judged(|facts| gateway(facts).accrued.0 += 1)), []);
}

#[test]
fn a_share_below_the_promised_one_is_found_out_and_rounding_is_not() {
    let earning = |earned: u64| {
        judged(|facts| {
            facts.outboxes.tally.earned = NanoTon(earned);
        })
    };
    assert_eq!(complaints(&earning(890)), []);
    let short = earning(889);
    assert_eq!(
        (complaints(&short).as_slice(), short.is_fine()),
        (&[("share_as_promised", Verdict::Failed)][..], false)
    );
    let unset = facts().judge(None, NOW);
    assert_eq!(
        (complaints(&unset).as_slice(), unset.is_fine()),
        (&[("share_as_promised", Verdict::Unknown)][..], true)
    );
}

/// Guards against: an honest gateway that is accused for attempts that were superseded, or for not having said an amount.
#[test]
fn what_was_not_charged_is_told_and_nobody_is_accused_of_it() {
    let earnings = judged(|facts| {
        let tally = &mut facts.outboxes.tally;
        (tally.not_charged, tally.unsaid, tally.earned) = (sum(2, 200), sum(3, 300), NanoTon(450));
    });
    assert_eq!(complaints(&earnings), []);
    let check = &earnings.checks[2];
    assert!(check.detail.contains("2 receipts with 200 nanoTON were not charged"), "{}", check.detail);
}

#[test]
fn who_was_paid_more_than_is_booked_asks_about_another_ledger() {
    let more = judged(|facts| chain(facts).amount.0 = 901);
    assert_eq!(
        (complaints(&more).as_slice(), more.is_fine()),
        (&[("paid_within_booked", Verdict::Failed)][..], false)
    );
    assert_eq!(more.owed, Some(-1));
    assert_eq!(complaints(&judged(|facts| chain(facts).amount.0 = 900)), []);
}

#[test]
fn a_payout_that_is_due_is_late() {
    let owing = |owed: u64, newest: Option<u64>, first: Option<u64>| {
        judged(|facts| {
            gateway(facts).accrued = NanoTon(650 + owed);
            chain(facts).newest = newest.map(|ago| (NOW - ago) as u32);
            facts.outboxes.tally.since = first.map(|ago| (NOW - ago) * 1000);
            facts.outboxes.tally.earned = NanoTon(890).min(NanoTon(600 + owed));
        })
    };
    let verdict = |owed, newest, first| owing(owed, newest, first).checks[4].verdict;
    let small = TON / 20;
    assert_eq!(verdict(small, Some(DAY), Some(9 * DAY)), Verdict::Ok);
    assert_eq!(verdict(small, Some(DAY + 1), Some(9 * DAY)), Verdict::Failed);
    assert_eq!(verdict(small - 1, Some(9 * DAY), None), Verdict::Ok);
    assert_eq!(verdict(TON - 1, Some(60), None), Verdict::Ok);
    assert_eq!(verdict(TON, Some(60), None), Verdict::Late);
    assert_eq!(verdict(small, None, Some(DAY)), Verdict::Ok);
    assert_eq!(verdict(small, None, Some(DAY + 1)), Verdict::Failed);
    assert_eq!(verdict(small, None, None), Verdict::Unknown);
    assert!(owing(TON, Some(60), None).is_fine(), "it may be on its way");
    assert!(!owing(TON, Some(DAY + 1), None).is_fine());
}

#[test]
fn who_does_not_answer_is_not_fine_and_who_is_not_asked_is() {
    let silent = judged(|facts| facts.gateway = Told::Unknown("gone".into()));
    assert!(!silent.is_fine());
    let unknown =
        ["booked_as_said", "paid_within_booked", "paid_in_time"].map(|check| (check, Verdict::Unknown));
    assert_eq!(complaints(&silent), unknown);
    assert!(!judged(|facts| facts.chain = Told::Unknown("more".into())).is_fine());
    let unasked = judged(|facts| facts.chain = Told::NotAsked);
    assert_eq!(complaints(&unasked), unknown[1..]);
    assert!(unasked.is_fine());
}

#[test]
fn the_table_has_every_figure() {
    let earnings = judged(|facts| {
        let tally = &mut facts.outboxes.tally;
        (tally.refused, tally.expired, tally.differing) = (sum(3, 31), sum(4, 41), 1);
        facts.chain = Told::Unknown("a\x1b[2Jb".into());
    });
    let text = earnings.to_string();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        &["signed", "18", "1172", "0.000001172"][..],
        &["booked", "10", "1000", "0.000001000"],
        &["not", "charged", "0", "0", "0.000000000"],
        &["no", "amount", "said", "0", "0", "0.000000000"],
        &["waiting", "1", "100", "0.000000100"],
        &["refused", "3", "31", "0.000000031"],
        &["expired", "4", "41", "0.000000041"],
        &["acknowledged", "900", "0.000000900"],
        &["accrued", "950", "0.000000950"],
        &["reversed", "50", "0.000000050"],
    ] {
        assert!(words.iter().any(|words| words == line), "{line:?} is not in\n{text}");
    }
    assert!(text.contains("FAILED  nothing_lost: 3 refused with 31 nanoTON"), "{text}");
    assert!(!text.contains('\x1b') && text.contains("two different amounts"), "{text}");
    let overpaid = judged(|facts| chain(facts).amount.0 = 900 + 1_500_000_000).to_string();
    assert!(overpaid.contains("-1500000000            -1.500000000"), "{overpaid}");
    let json = serde_json::to_value(judged(|_| {})).unwrap();
    assert_eq!((json["owed"].as_str(), json["earned"].as_str()), (Some("300"), Some("900")));
    assert_eq!(
        (&json["booked"]["cost"], &json["gateway"]["said"]["accrued"]),
        (&"1000".into(), &"950".into())
    );
    assert_eq!(
        (&json["checks"][0]["check"], &json["checks"][0]["verdict"]),
        (&"nothing_lost".into(), &"ok".into())
    );
}

#[tokio::test]
async fn configurations_must_be_of_one_operator_and_of_folders_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = config();
    one.state_dir = dir.path().to_owned();
    let error = earnings(&[], NOW).await.unwrap_err();
    assert!(matches!(error, EarningsError::NoConfig));
    let mut other = one.clone();
    other.operator = OPERATOR.replace("01", "02").parse().unwrap();
    let error = earnings(&[one.clone(), other], NOW).await.unwrap_err();
    assert!(matches!(error, EarningsError::TwoOperators(..)));
    let missing = earnings(&[one.clone()], NOW).await.unwrap_err();
    assert!(matches!(missing, EarningsError::Outbox { .. }), "no outbox is not an empty one: {missing}");
    std::fs::write(dir.path().join("outbox.jsonl"), "").unwrap();
    let error = earnings(&[one.clone(), one.clone()], NOW).await.unwrap_err();
    assert!(matches!(error, EarningsError::SameFolder(_)));
    one.receipt_urls = vec!["http://127.0.0.1:1/internal/receipts".into()];
    let alone = earnings(&[one], NOW).await.unwrap();
    assert!(matches!(alone.gateway, Told::Unknown(_)) && !alone.is_fine(), "{alone}");
}
