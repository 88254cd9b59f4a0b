//! Money that goes out.

use cocoon_ledger::{
    ADDRESS_DELAY, Grant, JournalKind, LedgerError, MAX_REASON_BYTES, TonAddress, Withdrawal,
    WithdrawalBegun, WithdrawalEnded, WithdrawalRefusal,
};
use cocoon_receipts::{NanoTon, RequestId};

use crate::bench::*;

const FIRST: &str = ADDRESSES[0];
const SECOND: &str = ADDRESSES[1];

fn withdrawal(bench: &Bench, account: &str, amount: u64) -> Withdrawal {
    Withdrawal { account: name(account), intent: bench.request(), amount: NanoTon(amount) }
}

async fn begin(bench: &Bench, withdrawal: &Withdrawal) -> WithdrawalBegun {
    bench.ledger.withdraw_begin(withdrawal).await.unwrap()
}

async fn done(bench: &Bench, account: &str, intent: RequestId) -> WithdrawalEnded {
    bench.ledger.withdraw_done(&name(account), intent).await.unwrap()
}

async fn undo(bench: &Bench, account: &str, intent: RequestId) -> WithdrawalEnded {
    bench.ledger.withdraw_undo(&name(account), intent).await.unwrap()
}

async fn with_address(bench: &Bench, account: &str) {
    bench.ledger.set_payout_address(&name(account), &name(FIRST)).await.unwrap();
    bench.pass(ADDRESS_DELAY).await;
}

fn begun() -> WithdrawalBegun {
    WithdrawalBegun::Begun { address: name(FIRST) }
}

fn insufficient(withdrawable: u64) -> WithdrawalBegun {
    WithdrawalBegun::Refused(WithdrawalRefusal::Insufficient { withdrawable: NanoTon(withdrawable) })
}

/// Balance, withdrawing, withdrawn.
async fn state(bench: &Bench, account: &str) -> (u64, u64, u64) {
    let account = bench.account(account).await;
    (account.balance.0, account.withdrawing.0, account.withdrawn.0)
}

pub(super) async fn a_withdrawal_leaves_the_balance_once_and_is_gone_when_done(bench: &Bench) {
    bench.fund("alice", 500).await;
    with_address(bench, "alice").await;
    let first = withdrawal(bench, "alice", 200);
    for _ in 0..2 {
        assert_eq!(begin(bench, &first).await, begun());
        assert_eq!(state(bench, "alice").await, (300, 200, 0));
    }
    for _ in 0..2 {
        assert_eq!(done(bench, "alice", first.intent).await, WithdrawalEnded::Ended);
        assert_eq!(state(bench, "alice").await, (300, 0, 200));
    }
    assert_eq!(begin(bench, &first).await, WithdrawalBegun::Done);
    assert_eq!(undo(bench, "alice", first.intent).await, WithdrawalEnded::Otherwise);
    assert_eq!(state(bench, "alice").await, (300, 0, 200));
    let kinds: Vec<_> = bench.journal("alice").await.iter().map(|entry| (entry.kind, entry.amount)).collect();
    assert_eq!(
        kinds,
        [(JournalKind::Deposit, 500), (JournalKind::Withdrawing, -200), (JournalKind::Withdrawn, 0)]
    );
}

pub(super) async fn a_withdrawal_that_is_undone_is_back_once(bench: &Bench) {
    bench.fund("alice", 500).await;
    with_address(bench, "alice").await;
    let first = withdrawal(bench, "alice", 500);
    assert_eq!(begin(bench, &first).await, begun());
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, insufficient(0));
    for _ in 0..2 {
        assert_eq!(undo(bench, "alice", first.intent).await, WithdrawalEnded::Ended);
        assert_eq!(state(bench, "alice").await, (500, 0, 0));
    }
    assert_eq!(begin(bench, &first).await, WithdrawalBegun::Undone);
    assert_eq!(done(bench, "alice", first.intent).await, WithdrawalEnded::Otherwise);
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 500)).await, begun());
}

pub(super) async fn an_intent_belongs_to_its_account_and_amount(bench: &Bench) {
    assert_eq!(bench.shard("alice"), bench.shard("dave"), "else each would have its own intents");
    for account in ["alice", "bob", "dave"] {
        bench.fund(account, 500).await;
        with_address(bench, account).await;
    }
    let first = withdrawal(bench, "alice", 200);
    assert_eq!(begin(bench, &first).await, begun());
    let other_amount = Withdrawal { amount: NanoTon(201), ..first.clone() };
    let other_account = Withdrawal { account: name("dave"), ..first.clone() };
    for other in [other_amount, other_account] {
        assert_eq!(begin(bench, &other).await, WithdrawalBegun::Refused(WithdrawalRefusal::OtherIntent));
    }
    for other in ["bob", "dave"] {
        assert_eq!(done(bench, other, first.intent).await, WithdrawalEnded::Unknown);
    }
    assert_eq!(undo(bench, "alice", bench.request()).await, WithdrawalEnded::Unknown);
    assert_eq!(state(bench, "alice").await, (300, 200, 0));
}

pub(super) async fn only_what_is_available_and_was_deposited_is_withdrawn(bench: &Bench) {
    with_address(bench, "alice").await;
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, insufficient(0));
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(300) };
    bench.ledger.grant(&grant).await.unwrap();
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, insufficient(0));
    bench.fund("alice", 1000).await;
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1001)).await, insufficient(1000));
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 0)).await, insufficient(1000));
    // A charge consumes test credit first, then deposits.
    for (cost, left) in [(250, 1000), (150, 900)] {
        let request = bench.bound("alice", cost).await;
        bench.settle(&bench.settlement("alice", request, cost)).await;
        assert_eq!(bench.account("alice").await.withdrawable(), NanoTon(left));
        assert_eq!(begin(bench, &withdrawal(bench, "alice", left + 1)).await, insufficient(left));
    }
    // What is held may become a charge.
    bench.hold("alice", 700).await;
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 201)).await, insufficient(200));
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 200)).await, begun());
    assert_eq!(state(bench, "alice").await, (700, 200, 0));
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, insufficient(0));
    let too_much = bench.ledger.withdraw_begin(&withdrawal(bench, "alice", u64::MAX)).await;
    assert!(matches!(too_much, Err(LedgerError::Overflow)));
}

pub(super) async fn what_may_be_withdrawn_is_exact_beyond_2_to_the_53(bench: &Bench) {
    with_address(bench, "alice").await;
    let most = (1 << 53) - 1;
    for _ in 0..4 {
        let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(most) };
        bench.ledger.grant(&grant).await.unwrap();
        let request = bench.bound("alice", most).await;
        assert_eq!(bench.settle(&bench.settlement("alice", request, most)).await, charged(most));
    }
    let grant = Grant { id: bench.request(), account: name("alice"), amount: NanoTon(1001) };
    bench.ledger.grant(&grant).await.unwrap();
    bench.fund("alice", 7).await;
    assert_eq!(bench.account("alice").await.withdrawable(), NanoTon(7));
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 8)).await, insufficient(7));
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 7)).await, begun());
}

pub(super) async fn nothing_is_paid_to_an_address_younger_than_a_day(bench: &Bench) {
    bench.fund("alice", 500).await;
    let no_address =
        |from_ms: Option<u64>| WithdrawalBegun::Refused(WithdrawalRefusal::NoAddress { from_ms });
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, no_address(None));
    let [first, second]: [TonAddress; 2] = [name(FIRST), name(SECOND)];
    let set =
        async |address: &TonAddress| bench.ledger.set_payout_address(&name("alice"), address).await.unwrap();
    let from_ms = set(&first).await.pending.unwrap().from_ms;
    assert_eq!(from_ms, bench.now_ms() + u64::try_from(ADDRESS_DELAY.as_millis()).unwrap());
    bench.pass(ADDRESS_DELAY - std::time::Duration::from_millis(1)).await;
    assert_eq!(set(&first).await.pending.unwrap().from_ms, from_ms, "the same again waits no longer");
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, no_address(Some(from_ms)));
    bench.pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, begun());

    let changing = set(&second).await;
    assert_eq!(changing.current, Some(first.clone()));
    assert_eq!(bench.ledger.payout(&name("alice")).await.unwrap(), changing);
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, begun(), "until then the one before");
    bench.pass(ADDRESS_DELAY).await;
    let to_second = WithdrawalBegun::Begun { address: second.clone() };
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, to_second);
    set(&first).await;
    let called_off = set(&second).await;
    assert_eq!((called_off.current, called_off.pending), (Some(second), None));
    assert_eq!(bench.ledger.payout(&name("bob")).await.unwrap(), cocoon_ledger::Payout::default());
}

pub(super) async fn stopped_withdrawals_do_not_begin_and_may_end(bench: &Bench) {
    bench.fund("alice", 500).await;
    with_address(bench, "alice").await;
    let under_way = withdrawal(bench, "alice", 100);
    assert_eq!(begin(bench, &under_way).await, begun());
    let shard = bench.shard("alice");
    bench.ledger.stop_withdrawals(shard, "the store went back").await.unwrap();
    let reason = "the store went back".to_owned();
    assert_eq!(bench.ledger.withdrawals_stopped(shard).await.unwrap().as_ref(), Some(&reason));
    let stopped = WithdrawalRefusal::Stopped { reason };
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, WithdrawalBegun::Refused(stopped));
    assert_eq!(begin(bench, &under_way).await, begun(), "it began before");
    assert_eq!(done(bench, "alice", under_way.intent).await, WithdrawalEnded::Ended);
    bench.ledger.resume_withdrawals(shard).await.unwrap();
    assert_eq!(bench.ledger.withdrawals_stopped(shard).await.unwrap(), None);
    assert_eq!(begin(bench, &withdrawal(bench, "alice", 1)).await, begun());
    for bad in [String::new(), "x".repeat(MAX_REASON_BYTES + 1)] {
        let refused = bench.ledger.stop_withdrawals(shard, &bad).await;
        assert!(matches!(refused, Err(LedgerError::Configuration(_))));
    }
}
