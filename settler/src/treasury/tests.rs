use cocoon_receipts::AccountId;
use cocoon_ton::{Address, CellHash, Workchain};
use proptest::prelude::*;

use super::*;
use crate::decision::{Claim, Read, VoucherSignature};

fn payee(byte: u8) -> Payee {
    Payee(Address::new(Workchain::Basechain, [byte; 32]))
}

fn operator(byte: u8) -> OperatorId {
    payee(byte).to_string().parse().unwrap()
}

fn account() -> AccountId {
    "acme".parse().unwrap()
}

fn place(lt: u64) -> Place {
    Place { lt, hash: CellHash([7; 32]) }
}

fn opened() -> Decision {
    Decision::Opened(Opened { wallet: payee(0xff), global_id: -3 })
}

fn read(lt: u64, change: i128, class: Class) -> Decision {
    Decision::Read(Read { transactions: vec![Entry { transaction: place(lt), at: 5, change, class }] })
}

fn batch(seqno: u32, payouts: Vec<Begun>) -> Batch {
    let deploy = payouts.is_empty();
    Batch { seqno, valid_until: 100, at: 5, deploy, body: CellHash([1; 32]), payouts }
}

fn begun(id: u64, byte: u8, amount: u64, of: Owed) -> Begun {
    Begun { id: Number(id), to: payee(byte), amount: NanoTon(amount), of }
}

fn to_operator(id: u64, byte: u8, amount: u64) -> Begun {
    begun(id, byte, amount, Owed::Operator(operator(byte)))
}

fn withdrawal(id: u64, intent: RequestId) -> Begun {
    begun(id, 9, 50, Owed::Withdrawal { account: account(), intent })
}

fn paid(seqno: u32, sent: &[u64], skipped: &[u64]) -> Class {
    let numbers = |ids: &[u64]| ids.iter().map(|id| Number(*id)).collect();
    Class::Paid { seqno, sent: numbers(sent), skipped: numbers(skipped) }
}

fn after(decisions: &[Decision]) -> Treasury {
    let mut treasury = Treasury::default();
    for decision in decisions {
        treasury.apply(decision).unwrap();
    }
    treasury
}

fn refusal(treasury: &Treasury, decision: &Decision) -> Option<Impossible> {
    treasury.clone().apply(decision).err()
}

#[test]
fn a_log_begins_with_whose_it_is_and_says_it_once() {
    let none = Treasury::default();
    for decision in [
        Decision::Batch(batch(0, Vec::new())),
        Decision::Lapsed { seqno: 0 },
        read(1, 5, Class::Float { amount: NanoTon(5) }),
        Decision::Explained { transaction: place(1) },
        Decision::Released { payee: payee(1) },
    ] {
        assert_eq!(refusal(&none, &decision), Some(Impossible::Opened), "{decision:?}");
    }
    assert_eq!(refusal(&after(&[opened()]), &opened()), Some(Impossible::Opened));
}

#[test]
fn what_a_transaction_took_is_what_is_left_of_its_change() {
    let amount = NanoTon(1000);
    let cases = [
        (Class::Deposit { account: account(), amount }, 990, 10),
        (Class::Float { amount }, 1000, 0),
        (Class::Unclaimed { amount, why: String::new() }, 999, 1),
        (Class::Nothing, -7, 7),
        (Class::Nothing, 0, 0),
    ];
    for (class, change, fee) in cases {
        let treasury = after(&[opened(), read(1, change, class.clone())]);
        assert_eq!((treasury.sums().fees, treasury.balance()), (fee, change), "{class:?}");
        let more = change + i128::try_from(fee).unwrap() + 1;
        let refused = refusal(&after(&[opened()]), &read(1, more, class.clone()));
        assert_eq!(refused, Some(Impossible::Fee), "{class:?}");
    }
}

#[test]
fn transactions_are_booked_in_their_order_and_once() {
    let nothing = |lt| read(lt, -1, Class::Nothing);
    let treasury = after(&[opened(), nothing(5), nothing(6), nothing(60)]);
    assert_eq!(treasury.read_to(), Some(place(60)));
    for lt in [0, 5, 59, 60] {
        assert_eq!(refusal(&treasury, &nothing(lt)), Some(Impossible::Order), "{lt}");
    }
    assert_eq!(refusal(&treasury, &nothing(61)), None);
}

#[test]
fn amounts_beyond_all_there_is_are_refused_and_no_panic() {
    let much = NanoTon(u64::MAX);
    let treasury = after(&[opened(), read(1, 1, Class::Float { amount: NanoTon(1) })]);
    for (change, class) in [
        (i128::MAX, Class::Nothing),
        (i128::MIN, Class::Nothing),
        (i128::MAX, Class::Unexplained { why: String::new() }),
        (i128::MIN, Class::Float { amount: much }),
    ] {
        let refused = refusal(&treasury, &read(2, change, class.clone()));
        assert!(refused.is_some(), "{change} {class:?}");
    }
    let all = after(&[opened(), read(1, i128::from(u64::MAX), Class::Float { amount: much })]);
    assert_eq!(all.balance(), i128::from(u64::MAX));
    let last = to_operator(u64::MAX, 1, u64::MAX);
    let mut treasury = after(&[opened(), Decision::Batch(batch(0, vec![last.clone()]))]);
    assert_eq!(treasury.next_payout(), Number(u64::MAX));
    treasury.apply(&read(2, -5, paid(0, &[], &[u64::MAX]))).unwrap();
    // No id is given twice, not even the last one.
    let again = Decision::Batch(batch(1, vec![last]));
    assert_eq!(refusal(&treasury, &again), Some(Impossible::PayoutId));
    let end = after(&[
        opened(),
        read(1, 0, Class::Unexplained { why: String::new() }),
        Decision::Batch(batch(u32::MAX, vec![to_operator(1, 1, 5)])),
    ]);
    assert_eq!(refusal(&end, &read(2, -5, paid(u32::MAX, &[1], &[]))), Some(Impossible::Overflow));
}

#[test]
fn a_batch_has_the_number_that_is_next_unless_somebody_else_may_have_used_it() {
    let of = |seqno, id| Decision::Batch(batch(seqno, vec![to_operator(id, 1, 5)]));
    let treasury = after(&[opened()]);
    assert_eq!(refusal(&treasury, &of(1, 1)), Some(Impossible::Seqno));
    let lapsed = after(&[opened(), of(0, 1), Decision::Lapsed { seqno: 0 }]);
    assert_eq!(refusal(&lapsed, &of(1, 2)), Some(Impossible::Seqno));
    assert_eq!(refusal(&lapsed, &of(0, 2)), None);
    let done = after(&[opened(), of(0, 1), read(1, -5, paid(0, &[1], &[]))]);
    for (seqno, refused) in [(0, Some(Impossible::Seqno)), (1, None), (2, Some(Impossible::Seqno))] {
        assert_eq!(refusal(&done, &of(seqno, 2)), refused, "{seqno}");
    }
    let mut unsure = done.clone();
    assert!(!unsure.seqno_is_unsure());
    unsure.apply(&read(2, -5, Class::Unexplained { why: String::new() })).unwrap();
    assert!(unsure.seqno_is_unsure());
    for (seqno, refused) in [(0, Some(Impossible::Seqno)), (1, None), (2, None), (9, None)] {
        assert_eq!(refusal(&unsure, &of(seqno, 2)), refused, "{seqno}");
    }
    unsure.apply(&of(9, 2)).unwrap();
    unsure.apply(&Decision::Lapsed { seqno: 9 }).unwrap();
    assert_eq!(refusal(&unsure, &of(10, 3)), Some(Impossible::Seqno));
}

#[test]
fn a_batch_is_refused_whole_where_one_payout_of_it_cannot_be() {
    let intent = RequestId::generate();
    let treasury = after(&[opened()]);
    let cases = [
        (batch(0, vec![to_operator(0, 1, 5)]), Impossible::PayoutId),
        (batch(0, vec![to_operator(1, 1, 5), to_operator(1, 2, 5)]), Impossible::PayoutId),
        (batch(0, vec![to_operator(2, 1, 5), to_operator(1, 2, 5)]), Impossible::PayoutId),
        (batch(0, vec![withdrawal(1, intent), withdrawal(2, intent)]), Impossible::Withdrawal),
        (Batch { deploy: false, ..batch(0, Vec::new()) }, Impossible::PayoutId),
    ];
    for (batch, why) in cases {
        assert_eq!(refusal(&treasury, &Decision::Batch(batch.clone())), Some(why), "{batch:?}");
    }
    let first = Decision::Batch(batch(0, vec![withdrawal(1, intent)]));
    let begun = after(&[opened(), first]);
    let second = Decision::Batch(batch(0, vec![to_operator(2, 1, 5)]));
    assert_eq!(refusal(&begun, &second), Some(Impossible::TwoBatches));
    let mut done = begun.clone();
    done.apply(&read(1, -60, paid(0, &[1], &[]))).unwrap();
    let again = Decision::Batch(batch(1, vec![withdrawal(2, intent)]));
    assert_eq!(refusal(&done, &again), Some(Impossible::Withdrawal), "it was paid");
    // A batch that was for nobody but is executed ends like any other.
    let deployed = after(&[opened(), Decision::Batch(batch(0, Vec::new())), read(1, -5, paid(0, &[], &[]))]);
    assert_eq!(deployed.on_its_way(), None);
}

#[test]
fn an_executed_batch_has_its_payouts_each_once() {
    let two = Decision::Batch(batch(0, vec![to_operator(1, 1, 5), to_operator(2, 2, 6)]));
    let treasury = after(&[opened(), two.clone()]);
    let of = |seqno, sent: &[u64], skipped: &[u64]| read(1, -20, paid(seqno, sent, skipped));
    for (class, why) in [
        (of(1, &[1, 2], &[]), Impossible::OtherBatch),
        (of(0, &[1], &[]), Impossible::Payouts),
        (of(0, &[], &[2]), Impossible::Payouts),
        (of(0, &[1, 1], &[]), Impossible::Payouts),
        (of(0, &[1], &[1]), Impossible::Payouts),
        (of(0, &[1, 2], &[2]), Impossible::Payouts),
        (of(0, &[1, 3], &[]), Impossible::Payouts),
        (of(0, &[1, 2, 3], &[]), Impossible::Payouts),
    ] {
        assert_eq!(refusal(&treasury, &class), Some(why), "{class:?}");
    }
    for (sent, skipped, to_operators) in
        [(&[1, 2][..], &[][..], 11), (&[1], &[2], 5), (&[2], &[1], 6), (&[], &[2, 1], 0), (&[2, 1], &[], 11)]
    {
        let mut done = treasury.clone();
        done.apply(&of(0, sent, skipped)).unwrap();
        assert_eq!(done.sums().to_operators, to_operators);
        assert_eq!(done.paid(&operator(1)).sent, if sent.contains(&1) { 5 } else { 0 });
        assert_eq!(done.paid(&operator(1)).on_its_way, 0);
        assert_eq!(refusal(&done, &read(2, -20, paid(0, sent, skipped))), Some(Impossible::OtherBatch));
    }
    for seqno in [1, 5] {
        assert_eq!(refusal(&treasury, &Decision::Lapsed { seqno }), Some(Impossible::OtherBatch));
    }
    let lapsed = after(&[opened(), two, Decision::Lapsed { seqno: 0 }]);
    assert_eq!(refusal(&lapsed, &Decision::Lapsed { seqno: 0 }), Some(Impossible::OtherBatch));
}

#[test]
fn of_batches_with_one_number_the_one_that_was_executed_is_paid_and_all_others_are_void() {
    let intent = RequestId::generate();
    let number =
        |first: u64| Decision::Batch(batch(3, vec![withdrawal(first, intent), to_operator(first + 1, 1, 5)]));
    let moved = read(1, 0, Class::Unexplained { why: String::new() });
    let lapsed = Decision::Lapsed { seqno: 3 };
    let treasury = after(&[opened(), moved, number(1), lapsed.clone(), number(3), lapsed, number(5)]);
    assert_eq!(treasury.may_be_executed().count(), 3);
    for (sent, skipped, withdrawn) in
        [(&[1_u64, 2][..], &[][..], true), (&[3], &[4], true), (&[4], &[3], false), (&[5, 6], &[], true)]
    {
        let mut done = treasury.clone();
        done.apply(&read(2, -60, paid(3, sent, skipped))).unwrap();
        assert_eq!(done.on_its_way(), None);
        assert_eq!(done.may_be_executed().count(), 0);
        let operator_has = if sent.iter().any(|id| id % 2 == 0) { 5 } else { 0 };
        let has = done.paid(&operator(1));
        assert_eq!((has.sent, has.on_its_way), (operator_has, 0), "{sent:?}");
        assert_eq!(done.sums().withdrawn, if withdrawn { 50 } else { 0 }, "{sent:?}");
        assert_eq!(done.has_withdrawal(&intent), withdrawn, "{sent:?}");
        for id in 1..=6 {
            assert_eq!(done.sent_payout(Number(id)).is_some(), sent.contains(&id), "{id} of {sent:?}");
        }
        let next = |seqno| Decision::Batch(batch(seqno, vec![to_operator(7, 1, 5)]));
        assert_eq!(refusal(&done, &next(3)), Some(Impossible::Seqno));
        assert_eq!(refusal(&done, &next(4)), None);
    }
    // Of two of them each one payout.
    assert_eq!(refusal(&treasury, &read(2, -60, paid(3, &[1, 4], &[]))), Some(Impossible::Payouts));
    // Once another number was used by somebody else, none of them ever is.
    let mut other = treasury.clone();
    other.apply(&read(2, -9, Class::Unexplained { why: String::new() })).unwrap();
    other.apply(&Decision::Lapsed { seqno: 3 }).unwrap();
    other.apply(&Decision::Batch(batch(4, vec![withdrawal(7, intent)]))).unwrap();
    assert_eq!(refusal(&other, &read(3, -60, paid(3, &[1, 2], &[]))), Some(Impossible::OtherBatch));
}

#[test]
fn what_comes_back_is_of_a_payout_that_was_sent_and_not_more_than_it() {
    let intent = RequestId::generate();
    let decided =
        Decision::Batch(batch(0, vec![to_operator(1, 1, 5), to_operator(2, 2, 6), withdrawal(3, intent)]));
    let back = |lt, id, amount| {
        read(lt, i128::from(amount), Class::Returned { payout: Number(id), amount: NanoTon(amount) })
    };
    let on_its_way = after(&[opened(), decided.clone()]);
    assert_eq!(refusal(&on_its_way, &back(2, 1, 5)), Some(Impossible::Returned));
    let mut treasury = after(&[opened(), decided, read(1, -70, paid(0, &[1, 3], &[2]))]);
    for (id, amount) in [(0, 1), (1, 6), (2, 6), (3, 51), (4, 1)] {
        assert_eq!(refusal(&treasury, &back(2, id, amount)), Some(Impossible::Returned), "{id} {amount}");
    }
    treasury.apply(&back(2, 1, 4)).unwrap();
    assert_eq!((treasury.paid(&operator(1)).sent, treasury.sums().from_operators), (1, 4));
    assert_eq!(refusal(&treasury, &back(3, 1, 1)), Some(Impossible::Returned), "a second time");
    treasury.apply(&back(3, 3, 50)).unwrap();
    assert_eq!((treasury.sums().credited, treasury.sums().withdrawn), (50, 50));
    assert!(treasury.has_withdrawal(&intent), "it is not paid again: its account has it");
    assert_eq!(treasury.held().iter().copied().collect::<Vec<_>>(), [payee(1), payee(9)]);
    assert_eq!(refusal(&treasury, &Decision::Released { payee: payee(2) }), Some(Impossible::Released));
    treasury.apply(&Decision::Released { payee: payee(1) }).unwrap();
    assert_eq!(refusal(&treasury, &Decision::Released { payee: payee(1) }), Some(Impossible::Released));
    assert_eq!(treasury.held().iter().copied().collect::<Vec<_>>(), [payee(9)]);
}

#[test]
fn what_is_explained_is_the_platforms_and_is_so_once() {
    let mut treasury = after(&[opened(), read(1, -9, Class::Unexplained { why: String::new() })]);
    assert_eq!((treasury.sums().unexplained, treasury.sums().explained), (-9, 0));
    assert_eq!(treasury.unexplained().collect::<Vec<_>>(), [&place(1)]);
    let explained = |lt| Decision::Explained { transaction: place(lt) };
    assert_eq!(refusal(&treasury, &explained(2)), Some(Impossible::Explained));
    treasury.apply(&explained(1)).unwrap();
    assert_eq!((treasury.sums().unexplained, treasury.sums().explained), (0, -9));
    assert_eq!(treasury.unexplained().count(), 0);
    assert_eq!(refusal(&treasury, &explained(1)), Some(Impossible::Explained));
}

#[test]
fn what_was_to_be_paid_counts_for_a_day() {
    let at = |at: u32, id: u64, amount: u64| Batch { at, ..batch(0, vec![to_operator(id, 1, amount)]) };
    let lapsed = Decision::Lapsed { seqno: 0 };
    let begin = 1_000_000;
    let mut treasury = after(&[opened(), Decision::Batch(at(begin, 1, 5)), lapsed.clone()]);
    treasury.apply(&Decision::Batch(at(begin + DAY - 1, 2, 7))).unwrap();
    treasury.apply(&lapsed).unwrap();
    for (now, sum) in [
        (begin, 12),
        (begin + DAY - 1, 12),
        (begin + DAY, 7),
        (begin + 2 * DAY - 2, 7),
        (begin + 2 * DAY - 1, 0),
        (0, 12),
        (u32::MAX, 0),
    ] {
        assert_eq!(treasury.paid_since_a_day(now), sum, "{now}");
    }
    assert_eq!(treasury.paid(&operator(1)).last, begin + DAY - 1);
    treasury.apply(&Decision::Batch(at(begin + DAY, 3, 9))).unwrap();
    assert_eq!(treasury.paid_since_a_day(begin + DAY), 16, "the first one is forgotten");
    assert_eq!(treasury.recent.len(), 2);
}

/// Something that may happen; what it says is fitted to what can happen at that point.
#[derive(Debug, Clone)]
enum Happens {
    ComesIn { kind: u8, amount: u64, fee: u64 },
    Begins { payouts: Vec<(u8, u64, u8)> },
    Executed { which: u8, sent: u16, fee: u64 },
    Lapses,
    Answers { which: u8, paid: u64, rest: u64, fee: u64 },
    ComesBack { which: u8, less: u64, fee: u64 },
    Unexplained { change: i64 },
    Explained,
    Released,
}

fn happens() -> impl Strategy<Value = Happens> {
    let amount = 1_u64..10_000_000_000;
    let fee = 0_u64..1_000_000;
    let payout = (1_u8..5, amount.clone(), 0_u8..3);
    prop_oneof![
        (0_u8..4, amount.clone(), fee.clone()).prop_map(|(kind, amount, fee)| Happens::ComesIn {
            kind,
            amount,
            fee
        }),
        proptest::collection::vec(payout, 0..5).prop_map(|payouts| Happens::Begins { payouts }),
        (any::<u8>(), any::<u16>(), fee.clone()).prop_map(|(which, sent, fee)| Happens::Executed {
            which,
            sent,
            fee
        }),
        (0..4_u8, any::<u16>(), fee.clone()).prop_map(|(_, sent, fee)| Happens::Executed {
            which: 0,
            sent,
            fee
        }),
        Just(Happens::Lapses),
        (any::<u8>(), 0_u64..9_000_000_000, 0_u64..1_000_000_000, fee.clone())
            .prop_map(|(which, paid, rest, fee)| Happens::Answers { which, paid, rest, fee }),
        (any::<u8>(), 0_u64..20_000_000_000, fee).prop_map(|(which, less, fee)| Happens::ComesBack {
            which,
            less,
            fee
        }),
        (-1_000_000_000_i64..1_000).prop_map(|change| Happens::Unexplained { change }),
        Just(Happens::Explained),
        Just(Happens::Released),
    ]
}

/// What a payout came to, as this test sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    OnItsWay,
    Void,
    Sent,
    Returned(u64),
    /// What a channel paid, and gave back beside.
    Answered(u64, u64),
}

fn channel(byte: u8) -> AccountId {
    format!("channel:{byte}").parse().unwrap()
}

/// Every third call closes.
fn to_channel(id: u64, byte: u8, amount: u64) -> Begun {
    let claim = Claim {
        amount: NanoTon(amount),
        cumulative: NanoTon(amount),
        signature: VoucherSignature([byte; 64]),
    };
    let call = match id % 6 {
        0 => Call::Close,
        3 => Call::RedeemAndClose(claim),
        _ => Call::Redeem(claim),
    };
    begun(id, byte, amount, Owed::Channel { account: channel(byte), call })
}

fn closes(begun: &Begun) -> bool {
    matches!(&begun.of, Owed::Channel { call: Call::Close | Call::RedeemAndClose(_), .. })
}

/// The treasury once more, as simple as it can be: all payouts in a list.
#[derive(Default)]
struct Model {
    treasury: Treasury,
    lt: u64,
    seqno: u32,
    /// Batches with the number that is next, the newest last; whether that one is on its way.
    open: Vec<Batch>,
    is_on_its_way: bool,
    payouts: Vec<(Begun, End)>,
    changes: i128,
    came: u128,
    took: u128,
    unexplained: Vec<(u64, i128)>,
    held: BTreeSet<Payee>,
    steps: u32,
}

impl Model {
    fn take(&mut self, decision: &Decision) {
        self.treasury.apply(decision).unwrap_or_else(|error| panic!("{decision:?}: {error}"));
        self.steps += 1;
    }

    fn read(&mut self, change: i128, class: Class) {
        self.lt += 7;
        self.changes += change;
        self.take(&read(self.lt, change, class));
    }

    fn end(&mut self, id: Number, end: End) {
        self.payouts[usize::try_from(id.0 - 1).unwrap()].1 = end;
    }

    /// A channel that has nothing to answer, and was not closed.
    fn can_be_told(&self, byte: u8) -> bool {
        self.payouts.iter().all(|(begun, end)| match (&begun.of, end) {
            (Owed::Channel { .. }, _) if begun.to != payee(byte) => true,
            (Owed::Channel { .. }, End::OnItsWay | End::Sent) => false,
            (Owed::Channel { .. }, End::Answered(..)) => !closes(begun),
            _ => true,
        })
    }

    fn happen(&mut self, happens: Happens) {
        match happens {
            Happens::ComesIn { kind, amount, fee } => {
                let (amount, fee) = (NanoTon(amount), fee.min(amount));
                let (class, came) = match kind {
                    0 => (Class::Deposit { account: account(), amount }, amount.0),
                    1 => (Class::Float { amount }, amount.0),
                    2 => (Class::Unclaimed { amount, why: "why".to_owned() }, amount.0),
                    _ => (Class::Nothing, 0),
                };
                self.came += u128::from(came);
                self.took += u128::from(fee);
                self.read(i128::from(came) - i128::from(fee), class);
            }
            Happens::Begins { payouts } if !self.is_on_its_way => {
                let first = self.payouts.len() as u64 + 1;
                let mut told = BTreeSet::new();
                let begun: Vec<Begun> = (first..)
                    .zip(payouts)
                    .map(|(id, (byte, amount, kind))| match kind {
                        0 => to_operator(id, byte, amount),
                        1 if self.can_be_told(byte) && told.insert(byte) => to_channel(id, byte, amount),
                        _ => Begun {
                            amount: NanoTon(amount),
                            to: payee(byte),
                            ..withdrawal(id, RequestId::generate())
                        },
                    })
                    .collect();
                self.payouts.extend(begun.iter().map(|begun| (begun.clone(), End::OnItsWay)));
                let batch = batch(self.seqno, begun);
                self.take(&Decision::Batch(batch.clone()));
                self.open.push(batch);
                self.is_on_its_way = true;
            }
            Happens::Executed { which, sent, fee } if !self.open.is_empty() => {
                let which = self.open.len() - 1 - usize::from(which) % self.open.len();
                let batch = self.open[which].clone();
                for other in self.open.clone() {
                    for begun in &other.payouts {
                        self.end(begun.id, End::Void);
                    }
                }
                let (mut went, mut skipped, mut total) = (Vec::new(), Vec::new(), 0);
                for (bit, begun) in batch.payouts.iter().enumerate() {
                    if sent >> bit & 1 == 1 {
                        self.end(begun.id, End::Sent);
                        total += i128::from(begun.amount.0);
                        went.push(begun.id);
                    } else {
                        skipped.push(begun.id);
                    }
                }
                self.took += u128::from(fee);
                self.read(-total - i128::from(fee), Class::Paid { seqno: self.seqno, sent: went, skipped });
                self.seqno += 1;
                self.open.clear();
                self.is_on_its_way = false;
            }
            Happens::Lapses if self.is_on_its_way => {
                for begun in self.open.last().unwrap().payouts.clone() {
                    self.end(begun.id, End::Void);
                }
                self.take(&Decision::Lapsed { seqno: self.seqno });
                self.is_on_its_way = false;
            }
            Happens::Answers { which, paid, rest, fee } => {
                let is_told = |(begun, end): &&(Begun, End)| {
                    *end == End::Sent && matches!(begun.of, Owed::Channel { .. })
                };
                let told: Vec<Begun> =
                    self.payouts.iter().filter(is_told).map(|(begun, _)| begun.clone()).collect();
                if told.is_empty() {
                    return;
                }
                let begun = &told[usize::from(which) % told.len()];
                let fee = fee.min(paid + rest);
                self.end(begun.id, End::Answered(paid, rest));
                self.took += u128::from(fee);
                let (paid, value) = (NanoTon(paid), NanoTon(paid + rest));
                self.read(
                    i128::from(value.0) - i128::from(fee),
                    Class::Redeemed { payout: begun.id, paid, value },
                );
            }
            Happens::ComesBack { which, less, fee } => {
                let sent: Vec<_> = self
                    .payouts
                    .iter()
                    .filter(|(_, end)| *end == End::Sent)
                    .map(|(begun, _)| begun.clone())
                    .collect();
                if sent.is_empty() {
                    return;
                }
                let begun = &sent[usize::from(which) % sent.len()];
                let amount = begun.amount.0 - less % (begun.amount.0 + 1);
                let fee = fee.min(amount);
                self.end(begun.id, End::Returned(amount));
                self.held.insert(begun.to);
                self.took += u128::from(fee);
                let class = Class::Returned { payout: begun.id, amount: NanoTon(amount) };
                self.read(i128::from(amount) - i128::from(fee), class);
            }
            Happens::Unexplained { change } => {
                // It may have used the number; here it has not, so that the next batch keeps it.
                self.read(change.into(), Class::Unexplained { why: "why".to_owned() });
                self.unexplained.push((self.lt, change.into()));
            }
            Happens::Explained => {
                if let Some((lt, _)) = self.unexplained.pop() {
                    self.take(&Decision::Explained { transaction: place(lt) });
                }
            }
            Happens::Released => {
                if let Some(payee) = self.held.pop_first() {
                    self.take(&Decision::Released { payee });
                }
            }
            _ => {}
        }
    }

    fn check(&self) {
        let (treasury, sums) = (&self.treasury, self.treasury.sums());
        assert_eq!(treasury.balance(), self.changes);
        let signed = |sum: u128| i128::try_from(sum).unwrap();
        let came = signed(
            sums.credited
                + sums.float
                + sums.unclaimed
                + sums.from_operators
                + sums.redeemed
                + sums.from_channels,
        );
        let went = signed(sums.to_operators + sums.withdrawn + sums.to_channels + sums.fees);
        assert_eq!(treasury.balance(), came - went + sums.unexplained + sums.explained, "{sums:?}");
        assert_eq!(sums.fees, self.took);
        assert_eq!(sums.unexplained, self.unexplained.iter().map(|(_, change)| change).sum());
        assert_eq!(*treasury.held(), self.held);
        assert_eq!(
            treasury.unexplained().map(|place| place.lt).collect::<BTreeSet<_>>(),
            self.unexplained.iter().map(|(lt, _)| *lt).collect()
        );
        assert_eq!(treasury.on_its_way(), self.open.last().filter(|_| self.is_on_its_way));
        assert_eq!(treasury.may_be_executed().count(), self.open.len());
        assert_eq!(treasury.next_payout().0, self.payouts.len() as u64 + 1);
        // Every payout is in one stage, and all sums are of those that are in it.
        let mut of: BTreeMap<OperatorId, Paid> = BTreeMap::new();
        let (mut to_operators, mut from_operators, mut withdrawn, mut credited) = (0, 0, 0, 0);
        let (mut to_channels, mut from_channels) = (0, 0);
        let mut channels: BTreeMap<AccountId, ChannelBooks> = BTreeMap::new();
        for (begun, end) in &self.payouts {
            let amount = u128::from(begun.amount.0);
            assert_eq!(treasury.payout(begun.id), Some(begun));
            assert_eq!(treasury.sent_payout(begun.id).is_some(), *end == End::Sent);
            match &begun.of {
                Owed::Operator(operator) => {
                    let paid = of.entry(operator.clone()).or_default();
                    match end {
                        End::OnItsWay => paid.on_its_way += amount,
                        End::Void => {}
                        End::Sent => {
                            paid.sent += amount;
                            to_operators += amount;
                        }
                        End::Returned(back) => {
                            paid.sent += amount - u128::from(*back);
                            to_operators += amount;
                            from_operators += u128::from(*back);
                        }
                        End::Answered(..) => panic!("an operator answered"),
                    }
                }
                Owed::Channel { account, .. } => {
                    let channel = channels.entry(account.clone()).or_default();
                    channel.last = 5;
                    if let End::OnItsWay | End::Sent = end {
                        channel.asked = Some(begun.id);
                    }
                    if let End::Sent | End::Returned(_) | End::Answered(..) = end {
                        to_channels += amount;
                    }
                    match end {
                        End::Returned(back) => from_channels += u128::from(*back),
                        End::Answered(paid, rest) => {
                            channel.redeemed += u128::from(*paid);
                            channel.closed |= closes(begun);
                            from_channels += u128::from(*rest);
                        }
                        End::OnItsWay | End::Sent | End::Void => {}
                    }
                }
                Owed::Withdrawal { intent, .. } => {
                    assert_eq!(treasury.has_withdrawal(intent), *end != End::Void);
                    if let End::Sent | End::Returned(_) = end {
                        withdrawn += amount;
                    }
                    if let End::Returned(back) = end {
                        credited += u128::from(*back);
                    }
                }
            }
        }
        assert_eq!((sums.to_operators, sums.from_operators), (to_operators, from_operators));
        assert_eq!((sums.to_channels, sums.from_channels), (to_channels, from_channels));
        let waits =
            |(begun, end): &&(Begun, End)| *end == End::Sent && matches!(begun.of, Owed::Channel { .. });
        let at_channels: u128 =
            self.payouts.iter().filter(waits).map(|(begun, _)| u128::from(begun.amount.0)).sum();
        assert_eq!(treasury.at_channels(), at_channels);
        assert_eq!(sums.redeemed, channels.values().map(|channel| channel.redeemed).sum::<u128>());
        for (account, channel) in channels {
            assert_eq!(treasury.channel(&account), channel, "{account}");
        }
        assert_eq!(sums.withdrawn, withdrawn);
        assert_eq!(sums.credited + sums.float + sums.unclaimed, self.came + credited);
        for (operator, paid) in of {
            let found = treasury.paid(&operator);
            assert_eq!((found.sent, found.on_its_way), (paid.sent, paid.on_its_way), "{operator}");
        }
    }

    /// Each decision that cannot follow is refused.
    fn refuses(&self) {
        let next = self.payouts.len() as u64 + 1;
        let later = self.lt + 7;
        let mut illegal = vec![
            opened(),
            Decision::Explained { transaction: place(later) },
            Decision::Released { payee: payee(0xfe) },
            read(later, 1, Class::Nothing),
            read(later, i128::MAX, Class::Nothing),
            read(later, 11, Class::Float { amount: NanoTon(10) }),
            read(later, 5, Class::Returned { payout: Number(next), amount: NanoTon(5) }),
            read(later, 0, paid(self.seqno, &[next], &[])),
            read(later, 0, paid(self.seqno.wrapping_sub(1), &[], &[])),
            read(later, 0, paid(self.seqno + 1, &[], &[])),
            Decision::Lapsed { seqno: self.seqno + 1 },
            Decision::Batch(Batch { deploy: false, ..batch(self.seqno, Vec::new()) }),
            Decision::Batch(batch(self.seqno, vec![to_operator(next - 1, 1, 5)])),
            Decision::Batch(batch(self.seqno, vec![to_operator(next, 1, 5), to_operator(next, 2, 5)])),
        ];
        if self.lt > 0 {
            illegal.push(read(self.lt, 0, Class::Nothing));
        }
        if self.seqno > 0 {
            illegal.push(Decision::Batch(batch(self.seqno - 1, vec![to_operator(next, 1, 5)])));
        }
        if !self.treasury.seqno_is_unsure() {
            illegal.push(Decision::Batch(batch(self.seqno + 1, vec![to_operator(next, 1, 5)])));
        }
        match self.is_on_its_way {
            true => illegal.push(Decision::Batch(batch(self.seqno, vec![to_operator(next, 1, 5)]))),
            false => illegal.push(Decision::Lapsed { seqno: self.seqno }),
        }
        if let Some(batch) = self.open.last().filter(|batch| !batch.payouts.is_empty()) {
            let ids: Vec<u64> = batch.payouts.iter().map(|begun| begun.id.0).collect();
            // Without its first payout, unless that is another one.
            let is_one =
                |batch: &Batch| batch.payouts.iter().map(|begun| begun.id.0).eq(ids[1..].iter().copied());
            if !self.open.iter().any(is_one) {
                illegal.push(read(later, i128::MIN / 2, paid(self.seqno, &ids[1..], &[])));
            }
            illegal.push(read(later, i128::MIN / 2, paid(self.seqno, &ids, &ids[..1])));
            illegal.push(read(later, i128::MIN / 2, paid(self.seqno, &[&ids[..], &[next]].concat(), &[])));
        }
        for (begun, end) in &self.payouts {
            let more = match end {
                End::Sent => begun.amount.0 + 1,
                _ => 0,
            };
            let class = Class::Returned { payout: begun.id, amount: NanoTon(more) };
            illegal.push(read(later, more.into(), class));
            if let (Owed::Channel { .. }, End::OnItsWay | End::Sent) = (&begun.of, end) {
                let again = Begun { id: Number(next), ..begun.clone() };
                illegal.push(Decision::Batch(batch(self.seqno, vec![again])));
            }
            if let (true, End::Answered(..)) = (closes(begun), end) {
                let again = Begun { id: Number(next), ..begun.clone() };
                illegal.push(Decision::Batch(batch(self.seqno, vec![again])));
            }
            if !matches!((&begun.of, end), (Owed::Channel { .. }, End::Sent)) {
                let class = Class::Redeemed { payout: begun.id, paid: NanoTon(1), value: NanoTon(1) };
                illegal.push(read(later, 1, class));
            } else {
                let class = Class::Redeemed { payout: begun.id, paid: NanoTon(2), value: NanoTon(1) };
                illegal.push(read(later, 1, class));
            }
            if let (Owed::Withdrawal { .. }, true) = (&begun.of, *end != End::Void) {
                let again = Begun { id: Number(next), ..begun.clone() };
                illegal.push(Decision::Batch(batch(self.seqno, vec![again])));
            }
        }
        for decision in illegal {
            assert!(refusal(&self.treasury, &decision).is_some(), "{decision:?}");
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_no_nano_is_lost_and_each_payout_comes_to_one_end(
        story in proptest::collection::vec(happens(), 1..60),
    ) {
        let mut model = Model::default();
        model.take(&opened());
        for happens in story {
            model.happen(happens);
            model.check();
            model.refuses();
        }
    }
}
