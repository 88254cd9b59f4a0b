mod calls;

use cocoon_ledger::TonAddress;
use cocoon_receipts::{AccountId, RequestId};
use cocoon_ton::{CellHash, GlobalId};
use proptest::prelude::*;

use super::*;
use crate::decision::{Batch, Class, Decision, Entry, Opened, Place, Read};

const NOW: u32 = 1_790_000_000;
const DAY: u32 = 24 * 60 * 60;
const TON: u64 = 1_000_000_000;

fn network() -> Network {
    Network::test(GlobalId::TESTNET).unwrap()
}

fn payee(byte: u8) -> Payee {
    Payee(Address::new(Workchain::Basechain, [byte; 32]))
}

fn operator(byte: u8) -> OperatorId {
    payee(byte).to_string().parse().unwrap()
}

fn shown(byte: u8) -> TonAddress {
    payee(byte).0.show(false, false).parse().unwrap()
}

fn withdrawal(byte: u8, nano: u64) -> OpenWithdrawal {
    let account: AccountId = "acme".parse().unwrap();
    OpenWithdrawal { intent: RequestId::generate(), account, amount: NanoTon(nano), address: shown(byte) }
}

struct Told {
    treasury: Treasury,
    lt: u64,
}

impl Told {
    /// With so much of the platform's own.
    fn with(nano: u64) -> Self {
        let mut told = Self { treasury: Treasury::default(), lt: 0 };
        told.tell(&Decision::Opened(Opened { wallet: payee(0xff), global_id: -3 }));
        told.read(nano.into(), Class::Float { amount: NanoTon(nano) });
        told
    }

    fn tell(&mut self, decision: &Decision) {
        self.treasury.apply(decision).unwrap();
    }

    fn read(&mut self, change: i128, class: Class) {
        self.lt += 1;
        let transaction = Place { lt: self.lt, hash: CellHash([7; 32]) };
        let entry = Entry { transaction, at: NOW, change, class };
        self.tell(&Decision::Read(Read { transactions: vec![entry] }));
    }

    fn begin(&mut self, seqno: u32, at: u32, payouts: Vec<Begun>) {
        let valid_until = at + 120;
        let body = CellHash([1; 32]);
        self.tell(&Decision::Batch(Batch { seqno, valid_until, at, deploy: false, body, payouts }));
    }

    /// A batch that was executed in full.
    fn pay(&mut self, seqno: u32, at: u32, payouts: Vec<Begun>) {
        let sent: Vec<Number> = payouts.iter().map(|begun| begun.id).collect();
        let total: i128 = payouts.iter().map(|begun| i128::from(begun.amount.0)).sum();
        self.begin(seqno, at, payouts);
        self.read(-total, Class::Paid { seqno, sent, skipped: Vec::new() });
    }

    fn plan(&self, owing: &Owing, config: &PayoutConfig) -> Plan {
        plan(owing, &self.treasury, network(), config, NOW)
    }
}

fn to_operator(id: u64, byte: u8, nano: u64) -> Begun {
    Begun { id: Number(id), to: payee(byte), amount: NanoTon(nano), of: Owed::Operator(operator(byte)) }
}

fn earned(of: &[(u8, i128)]) -> Owing {
    Owing { earned: of.iter().map(|(byte, nano)| (operator(*byte), *nano)).collect(), ..Owing::default() }
}

fn amounts(plan: &Plan) -> Vec<(Payee, u64)> {
    plan.payouts.iter().map(|begun| (begun.to, begun.amount.0)).collect()
}

/// What a batch of so many payouts may cost.
fn cost(payouts: u128) -> u128 {
    BATCH_COST + payouts * PAYOUT_COST
}

#[test]
fn much_is_paid_at_once_and_little_after_its_time() {
    let config = PayoutConfig {
        at_once: NanoTon(TON),
        small: NanoTon(TON / 20),
        small_after_s: DAY.into(),
        ..PayoutConfig::default()
    };
    let (at_once, small) = (TON, TON / 20);
    // Never paid, just now, and as long ago as a small amount waits.
    let cases = [
        (None, [(small - 1, false), (small, true), (at_once - 1, true), (at_once, true)]),
        (Some(NOW), [(small, false), (at_once - 1, false), (at_once, true), (at_once + 1, true)]),
        (Some(NOW - DAY + 1), [(small, false), (at_once - 1, false), (at_once, true), (0, false)]),
        (Some(NOW - DAY), [(small - 1, false), (small, true), (at_once, true), (0, false)]),
        // A clock that was ahead.
        (Some(NOW + 5), [(small, false), (at_once - 1, false), (at_once, true), (0, false)]),
    ];
    for (last, owed) in cases {
        let mut told = Told::with(100 * TON);
        if let Some(at) = last {
            told.pay(0, at, vec![to_operator(1, 1, TON)]);
        }
        let before = if last.is_some() { TON } else { 0 };
        for (nano, is_due) in owed {
            let plan = told.plan(&earned(&[(1, i128::from(before + nano))]), &config);
            let due = if is_due { vec![(payee(1), nano)] } else { Vec::new() };
            assert_eq!(amounts(&plan), due, "{nano} after {last:?}");
            assert_eq!(plan.held, [], "{nano} after {last:?}");
        }
    }
}

#[test]
fn who_was_paid_more_than_is_left_of_it_owes_nothing_to_others() {
    let mut told = Told::with(100 * TON);
    told.pay(0, NOW - DAY, vec![to_operator(1, 1, 5 * TON)]);
    // Corrections have taken some of it away again.
    let owing = earned(&[(1, i128::from(3 * TON)), (2, i128::from(2 * TON)), (3, -7)]);
    assert_eq!(owing.owed(&operator(1), &told.treasury), -i128::from(2 * TON));
    assert_eq!(owing.owed(&operator(9), &told.treasury), 0);
    assert_eq!(owing.owed_to_all(&told.treasury), u128::from(2 * TON));
    assert_eq!(amounts(&told.plan(&owing, &PayoutConfig::default())), [(payee(2), 2 * TON)]);
}

#[test]
fn withdrawals_come_first_as_they_began_and_then_who_is_owed_most() {
    let told = Told::with(100 * TON);
    let mut owing = earned(&[(1, i128::from(TON)), (2, i128::from(3 * TON)), (3, i128::from(2 * TON))]);
    owing.withdrawals = vec![withdrawal(8, 1), withdrawal(7, 9 * TON)];
    owing.withdrawing = u128::from(9 * TON) + 1;
    let plan = told.plan(&owing, &PayoutConfig::default());
    let all = [(payee(8), 1), (payee(7), 9 * TON), (payee(2), 3 * TON), (payee(3), 2 * TON), (payee(1), TON)];
    assert_eq!(amounts(&plan), all);
    assert_eq!(plan.payouts.iter().map(|begun| begun.id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (most, count) in [(0, 1), (1, 1), (4, 4), (5, 5), (usize::MAX, 5)] {
        let config = PayoutConfig { most_payouts: most, ..PayoutConfig::default() };
        assert_eq!(amounts(&told.plan(&owing, &config)), all[..count], "{most}");
    }
}

#[test]
fn a_withdrawal_on_its_way_or_paid_is_not_paid_again() {
    let mut told = Told::with(100 * TON);
    let mut owing =
        Owing { withdrawals: vec![withdrawal(8, TON)], withdrawing: TON.into(), ..Owing::default() };
    let plan = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(amounts(&plan), [(payee(8), TON)]);
    told.begin(0, NOW, plan.payouts.clone());
    let others = Owing { earned: earned(&[(1, i128::from(TON))]).earned, ..owing.clone() };
    assert_eq!(told.plan(&others, &PayoutConfig::default()), Plan::default(), "one batch at a time");
    told.read(-i128::from(TON), Class::Paid { seqno: 0, sent: vec![Number(1)], skipped: Vec::new() });
    // The ledger does not know yet.
    assert_eq!(told.plan(&owing, &PayoutConfig::default()), Plan::default());
    owing.withdrawals.push(withdrawal(8, TON));
    owing.withdrawing += u128::from(TON);
    let next = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(next.payouts.iter().map(|begun| begun.id.0).collect::<Vec<_>>(), [2]);
    // Passed over or lapsed, it is owed again.
    let mut told = Told::with(100 * TON);
    told.begin(0, NOW, plan.payouts);
    told.tell(&Decision::Lapsed { seqno: 0 });
    assert_eq!(told.plan(&owing, &PayoutConfig::default()).payouts.len(), 2);
}

#[test]
fn what_is_unexplained_stops_all_payouts() {
    let mut told = Told::with(100 * TON);
    told.read(0, Class::Unexplained { why: String::new() });
    told.read(-5, Class::Unexplained { why: String::new() });
    let plan = told.plan(&earned(&[(1, i128::from(TON))]), &PayoutConfig::default());
    assert_eq!(plan, Plan { payouts: Vec::new(), held: vec![Held::Unexplained(2)] });
}

#[test]
fn who_sent_money_back_is_held_and_others_are_paid() {
    let mut told = Told::with(100 * TON);
    told.pay(0, NOW - DAY, vec![to_operator(1, 1, TON)]);
    told.read(i128::from(TON), Class::Returned { payout: Number(1), amount: NanoTon(TON) });
    let mut owing = earned(&[(1, i128::from(TON)), (2, i128::from(TON))]);
    owing.withdrawals = vec![withdrawal(1, 5)];
    owing.withdrawing = 5;
    let plan = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(amounts(&plan), [(payee(2), TON)]);
    assert_eq!(plan.held, [Held::SentBack { to: payee(1) }, Held::SentBack { to: payee(1) }]);
    told.tell(&Decision::Released { payee: payee(1) });
    assert_eq!(told.plan(&owing, &PayoutConfig::default()).payouts.len(), 3);
}

#[test]
fn nobody_is_paid_at_an_address_that_is_none_or_the_treasurys_own() {
    let told = Told::with(100 * TON);
    let mut owing = earned(&[(0xff, i128::from(TON)), (2, i128::from(TON))]);
    owing.earned.insert("somebody".parse().unwrap(), i128::from(TON));
    let itself = withdrawal(0xff, TON);
    // Of workchain 5.
    let nowhere = "UQUHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwVK".parse().unwrap();
    let nowhere = OpenWithdrawal { address: nowhere, ..withdrawal(1, TON) };
    owing.withdrawals = vec![itself.clone(), nowhere.clone()];
    let plan = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(amounts(&plan), [(payee(2), TON)]);
    let held = [
        Held::Itself { of: Owed::Withdrawal { account: itself.account, intent: itself.intent } },
        Held::NoSuchAddress { intent: nowhere.intent, to: nowhere.address.to_string() },
        Held::NotAnAddress("somebody".parse().unwrap()),
        Held::Itself { of: Owed::Operator(operator(0xff)) },
    ];
    assert_eq!(plan.held.len(), held.len(), "{:?}", plan.held);
    assert!(held.iter().all(|held| plan.held.contains(held)), "{:?}", plan.held);
}

#[test]
fn an_address_for_test_networks_gets_nothing_on_mainnet_and_is_named() {
    let told = Told::with(100 * TON);
    let for_tests: TonAddress = payee(1).0.show(false, true).parse().unwrap();
    let withdrawal = OpenWithdrawal { address: for_tests.clone(), ..withdrawal(1, TON) };
    let owing = Owing { withdrawals: vec![withdrawal.clone()], withdrawing: TON.into(), ..Owing::default() };
    let config = PayoutConfig::default();
    let main = plan(&owing, &told.treasury, Network::Mainnet, &config, NOW);
    let held = Held::NoSuchAddress { intent: withdrawal.intent, to: for_tests.to_string() };
    assert_eq!(main, Plan { payouts: Vec::new(), held: vec![held] });
    assert_eq!(told.plan(&owing, &config).payouts.len(), 1);
}

#[test]
fn the_daily_cap_is_reached_to_the_nano() {
    let cap = |nano| PayoutConfig { daily_cap: Some(NanoTon(nano)), ..PayoutConfig::default() };
    let mut told = Told::with(100 * TON);
    told.pay(0, NOW - DAY + 1, vec![to_operator(1, 1, 3 * TON)]);
    let owing = earned(&[(1, i128::from(3 * TON)), (2, i128::from(2 * TON))]);
    assert_eq!(told.plan(&owing, &cap(5 * TON)).payouts.len(), 1);
    let plan = told.plan(&owing, &cap(5 * TON - 1));
    let held = vec![Held::DailyCap { cap: u128::from(5 * TON - 1) }];
    assert_eq!(plan, Plan { payouts: Vec::new(), held });
    // Below what was paid already.
    assert_eq!(told.plan(&owing, &cap(TON)).payouts, []);
    // A second later the day is over.
    let later = super::plan(&owing, &told.treasury, network(), &cap(2 * TON), NOW + 1);
    assert_eq!(later.payouts.len(), 1);
}

/// Else a stream of small payouts would take what a large one waits for, each day again.
#[test]
fn whoever_waits_for_the_cap_keeps_its_place_unless_it_never_fits() {
    let config = PayoutConfig { daily_cap: Some(NanoTon(10 * TON)), ..PayoutConfig::default() };
    let mut told = Told::with(100 * TON);
    told.pay(0, NOW - 5, vec![to_operator(1, 1, 2 * TON)]);
    let mut owing = earned(&[(1, i128::from(2 * TON)), (2, i128::from(TON))]);
    owing.withdrawals = vec![withdrawal(7, 9 * TON), withdrawal(8, TON)];
    owing.withdrawing = u128::from(10 * TON);
    let plan = told.plan(&owing, &config);
    assert_eq!(amounts(&plan), []);
    assert_eq!(plan.held.len(), 1);
    // One that is above the cap for ever is passed over.
    owing.withdrawals[0].amount = NanoTon(10 * TON + 1);
    let plan = told.plan(&owing, &config);
    assert_eq!(amounts(&plan), [(payee(8), TON), (payee(2), TON)]);
    assert_eq!(plan.held, [Held::DailyCap { cap: u128::from(10 * TON) }]);
}

#[test]
fn a_batch_leaves_the_wallet_its_fees_and_its_rent() {
    let needs = u64::try_from(u128::from(TON) + cost(1) + RESERVE).unwrap();
    let owing = earned(&[(1, i128::from(TON))]);
    assert_eq!(Told::with(needs).plan(&owing, &PayoutConfig::default()).payouts.len(), 1);
    let plan = Told::with(needs - 1).plan(&owing, &PayoutConfig::default());
    let held = vec![Held::Short { has: i128::from(needs) - 1, needs: needs.into() }];
    assert_eq!(plan, Plan { payouts: Vec::new(), held });
}

#[test]
fn what_a_user_waits_for_is_not_paid_to_operators() {
    let told = Told::with(5 * TON);
    let mut owing = earned(&[(1, i128::from(TON))]);
    owing.withdrawals = vec![withdrawal(7, 5 * TON), withdrawal(8, TON)];
    let plan = told.plan(&owing, &PayoutConfig::default());
    assert_eq!(amounts(&plan), []);
    assert!(matches!(plan.held[..], [Held::Short { .. }]), "{:?}", plan.held);
    // An operator does not keep others from what is there.
    let config = PayoutConfig { small: NanoTon(40_000_000), ..PayoutConfig::default() };
    let plan = told.plan(&earned(&[(1, 40_000_000), (2, 4_950_000_000)]), &config);
    assert_eq!(amounts(&plan), [(payee(1), 40_000_000)]);
    assert!(matches!(plan.held[..], [Held::Short { .. }]), "{:?}", plan.held);
}

#[test]
fn fees_are_paid_by_the_platform_alone() {
    let of = |platform: u128| {
        let balances = u128::from(100 * TON) - u128::from(TON) - platform;
        let told = Told::with(100 * TON);
        let owing = Owing { balances, ..earned(&[(1, i128::from(TON))]) };
        assert_eq!(super::platform(&owing, &told.treasury), i128::try_from(platform).unwrap());
        told.plan(&owing, &PayoutConfig::default())
    };
    assert_eq!(of(cost(1)).payouts.len(), 1);
    // Each payout of a batch has its own.
    for (left, count) in [(cost(2), 2), (cost(2) - 1, 1)] {
        let told = Told::with(100 * TON);
        let balances = u128::from(98 * TON) - left;
        let owing = Owing { balances, ..earned(&[(1, i128::from(TON)), (2, i128::from(TON))]) };
        assert_eq!(told.plan(&owing, &PayoutConfig::default()).payouts.len(), count, "{left}");
    }
    let short = of(cost(1) - 1);
    let held = vec![Held::NoFloat { has: i128::try_from(cost(1) - 1).unwrap(), needs: cost(1) }];
    assert_eq!(short, Plan { payouts: Vec::new(), held });
}

#[test]
fn a_payout_to_the_masterchain_costs_what_its_message_costs() {
    let payee = Payee(Address::new(Workchain::Masterchain, [1; 32]));
    let mut owing = Owing::default();
    owing.earned.insert(payee.to_string().parse().unwrap(), i128::from(TON));
    let needs = u64::try_from(u128::from(TON) + BATCH_COST + MASTERCHAIN_COST + RESERVE).unwrap();
    assert_eq!(Told::with(needs).plan(&owing, &PayoutConfig::default()).payouts.len(), 1);
    assert_eq!(Told::with(needs - 1).plan(&owing, &PayoutConfig::default()).payouts.len(), 0);
}

#[test]
fn the_platform_has_what_is_left_once_everybody_had_theirs() {
    let mut told = Told::with(100 * TON);
    let ton = |count: u64| u128::from(count * TON);
    told.read(i128::from(3 * TON), Class::Unclaimed { amount: NanoTon(3 * TON), why: String::new() });
    let owing = Owing { balances: ton(20), withdrawing: ton(5), ..earned(&[(1, i128::from(7 * TON))]) };
    assert_eq!(platform(&owing, &told.treasury), i128::from(100 * TON - 20 * TON - 5 * TON - 7 * TON));
    // A batch on its way changes nothing of it: the wallet still has it, and it is still theirs.
    told.begin(0, NOW, vec![to_operator(1, 1, 7 * TON)]);
    assert_eq!(platform(&owing, &told.treasury), i128::from(68 * TON));
    told.read(-i128::from(7 * TON) - 9, Class::Paid { seqno: 0, sent: vec![Number(1)], skipped: Vec::new() });
    assert_eq!(platform(&owing, &told.treasury), i128::from(68 * TON) - 9, "but for the fee");
    // Nor does one of a withdrawal, which the ledger counts until it is done.
    let intent = RequestId::generate();
    let of = Owed::Withdrawal { account: "acme".parse().unwrap(), intent };
    told.begin(1, NOW, vec![Begun { of, ..to_operator(2, 2, 5 * TON) }]);
    assert_eq!(platform(&owing, &told.treasury), i128::from(68 * TON) - 9);
    told.tell(&Decision::Lapsed { seqno: 1 });
    told.read(-i128::from(TON), Class::Unexplained { why: String::new() });
    assert_eq!(platform(&owing, &told.treasury), i128::from(68 * TON) - 9, "until it is explained");
    told.tell(&Decision::Explained { transaction: Place { lt: told.lt, hash: CellHash([7; 32]) } });
    assert_eq!(platform(&owing, &told.treasury), i128::from(67 * TON) - 9);
    let all = Owing { balances: u128::MAX / 4, ..Owing::default() };
    assert!(platform(&all, &told.treasury) < 0);
}

#[test]
fn what_is_beyond_all_there_is_is_not_paid_and_no_panic() {
    let told = Told::with(u64::MAX);
    for nano in [i128::MAX, i128::from(u64::MAX) + 1, i128::from(u64::MAX), i128::MIN] {
        let plan = told.plan(&earned(&[(1, nano), (2, i128::from(TON))]), &PayoutConfig::default());
        assert!(plan.payouts.iter().all(|begun| begun.to != payee(1)), "{nano}");
    }
}

/// The longest batch fits into a record of the log.
#[test]
fn the_longest_batch_fits_into_a_record() {
    let account: AccountId = "a".repeat(96).parse().unwrap();
    let payouts = (0..MOST_PAYOUTS as u64).map(|number| Begun {
        id: Number(u64::MAX - number),
        to: Payee(Address::new(Workchain::Masterchain, [0xab; 32])),
        amount: NanoTon(u64::MAX),
        of: Owed::Withdrawal { account: account.clone(), intent: RequestId::generate() },
    });
    let (seqno, valid_until, at) = (u32::MAX, u32::MAX, u32::MAX);
    let body = CellHash([0xff; 32]);
    let batch = Batch { seqno, valid_until, at, deploy: false, body, payouts: payouts.collect() };
    let record = serde_json::to_string(&Decision::Batch(batch)).unwrap();
    assert!(record.len() <= cocoon_ledger::MAX_DECISION_BYTES, "{}", record.len());
}

prop_compose! {
    fn owings()(
        earned in proptest::collection::vec((1_u8..20, 0_u64..4 * TON), 0..12),
        withdrawals in proptest::collection::vec((20_u8..30, 1_u64..4 * TON), 0..6),
        balances in 0_u128..20_000_000_000,
    ) -> Owing {
        let withdrawing = withdrawals.iter().map(|(_, nano)| u128::from(*nano)).sum();
        Owing {
            earned: earned.into_iter().map(|(byte, nano)| (operator(byte), i128::from(nano))).collect(),
            withdrawals: withdrawals.into_iter().map(|(byte, nano)| withdrawal(byte, nano)).collect(),
            balances,
            withdrawing,
            ..Owing::default()
        }
    }
}

proptest! {
    /// A settler that does as planned, batch after batch, within a day.
    #[test]
    fn no_plan_is_above_the_cap_the_wallet_or_the_platforms_own(
        owing in owings(),
        float in 0..60 * TON,
        cap in proptest::option::of(0..20 * TON),
        most in 1_usize..8,
    ) {
        let config = PayoutConfig { daily_cap: cap.map(NanoTon), most_payouts: most, ..PayoutConfig::default() };
        let mut told = Told::with(float);
        let (mut today, mut seqno) = (0_u128, 0);
        let mut got: BTreeMap<Payee, u128> = BTreeMap::new();
        loop {
            let before = (told.treasury.balance(), platform(&owing, &told.treasury));
            let plan = told.plan(&owing, &config);
            if plan.payouts.is_empty() {
                break;
            }
            prop_assert!(plan.payouts.len() <= most);
            let total: u128 = plan.payouts.iter().map(|begun| u128::from(begun.amount.0)).sum();
            let cost = cost(plan.payouts.len() as u128);
            today += total;
            prop_assert!(cap.is_none_or(|cap| today <= u128::from(cap)));
            prop_assert!(i128::try_from(total + cost + RESERVE).unwrap() <= before.0);
            prop_assert!(i128::try_from(cost).unwrap() <= before.1);
            let is_withdrawal = |begun: &Begun| matches!(begun.of, Owed::Withdrawal { .. });
            prop_assert!(plan.payouts.is_sorted_by_key(|begun| !is_withdrawal(begun)));
            for (index, begun) in plan.payouts.iter().enumerate() {
                prop_assert_eq!(begun.id.0, told.treasury.next_payout().0 + index as u64);
                prop_assert!(begun.amount > NanoTon::ZERO);
                *got.entry(begun.to).or_default() += u128::from(begun.amount.0);
            }
            told.pay(seqno, NOW, plan.payouts);
            seqno += 1;
        }
        // Nobody has got more than was owed.
        for (payee, got) in got {
            let name: OperatorId = payee.to_string().parse().unwrap();
            let earned = owing.earned.get(&name).map_or(0, |earned| earned.unsigned_abs());
            let to = |withdrawal: &&OpenWithdrawal| withdrawal.address.as_str().parse::<cocoon_ton::Shown>().unwrap().address == payee.0;
            let withdrew: u128 = owing.withdrawals.iter().filter(to).map(|withdrawal| u128::from(withdrawal.amount.0)).sum();
            prop_assert!(got <= earned + withdrew);
        }
    }
}
