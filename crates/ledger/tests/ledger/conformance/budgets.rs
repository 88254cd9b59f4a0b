//! Budgets, and what is counted for them.

use cocoon_ledger::{
    Amounts, Budget, Estimate, Holder, Limit, Limits, Period, Refusal, Reserve, Reserved, Standing, Whose,
};
use cocoon_receipts::{NanoTon, RequestId};

use crate::bench::*;

const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = 3_600_000;

fn budget(amount: u64, period: Period) -> Limits {
    Limits { budget: Some(Budget { amount: NanoTon(amount), period }), ..Limits::default() }
}

fn of(day: u64, week: u64, month: u64, total: u64) -> Amounts {
    Amounts { day: NanoTon(day), week: NanoTon(week), month: NanoTon(month), total: NanoTon(total) }
}

async fn ask(bench: &Bench, limits: Limits, worst_case: u64) -> (RequestId, Reserved) {
    let asked = Reserve { limits, ..reserve("alice", bench.request(), worst_case) };
    (asked.request, bench.ledger.reserve(&asked).await.unwrap())
}

async fn take(bench: &Bench, limits: Limits, worst_case: u64) -> RequestId {
    let (request, reserved) = ask(bench, limits, worst_case).await;
    assert_eq!(reserved, held(worst_case));
    bench.ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
    request
}

/// Whose budget refused, and how long it does.
async fn refused(bench: &Bench, limits: Limits, worst_case: u64) -> (Holder, Option<u64>) {
    match ask(bench, limits, worst_case).await.1 {
        Reserved::Refused(Refusal::Limited { holder, limit: Limit::Budget, retry_after_ms, .. }) => {
            (holder, retry_after_ms)
        }
        other => panic!("{other:?}"),
    }
}

async fn settle(bench: &Bench, request: RequestId, cost: u64) {
    assert_eq!(bench.settle(&bench.settlement("alice", request, cost)).await, charged(cost));
}

async fn standing(bench: &Bench, whose: &Whose) -> Standing {
    bench.ledger.standing(&name("alice"), whose).await.unwrap()
}

async fn of_key(bench: &Bench) -> (Amounts, Amounts) {
    let standing = standing(bench, &Whose::Key(name("key"))).await;
    (standing.spent, standing.held)
}

/// Sets the clock to so long after the beginning of a day, counted from 1970.
async fn go_to(bench: &Bench, day: u64, ms: u64) {
    let there = std::time::Duration::from_millis(day * DAY_MS + ms - bench.now_ms());
    bench.pass(there).await;
}

/// 2027-03-01, a Monday.
const MONDAY: u64 = 20_878;

pub(super) async fn a_budget_holds_what_is_spent_and_what_is_held(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    for period in [Period::Day, Period::Week, Period::Month, Period::Total] {
        go_to(bench, bench.now_ms() / DAY_MS + 40, 0).await;
        let (spent, limits) = (of_key(bench).await.0.total.0, |amount| budget(amount, period));
        let limits = if period == Period::Total { limits(spent + 100) } else { limits(100) };
        let first = take(bench, limits, 60).await;
        assert_eq!(refused(bench, limits, 41).await.0, Holder::Key);
        settle(bench, first, 20).await;
        let second = take(bench, limits, 80).await;
        refused(bench, limits, 1).await;
        take(bench, limits, 0).await;
        bench.ledger.release(&release("alice", second)).await.unwrap();
        let third = take(bench, limits, 30).await;
        // A receipt may be for more than its hold; then nothing is left.
        settle(bench, third, 90).await;
        refused(bench, limits, 0).await;
        let other = take(bench, Limits::default(), 500).await;
        bench.ledger.release(&release("alice", other)).await.unwrap();
    }
}

pub(super) async fn periods_begin_at_midnight_on_monday_and_on_the_first(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    let spend = async |limits: Limits| {
        let request = take(bench, limits, 100).await;
        settle(bench, request, 100).await;
        refused(bench, limits, 1).await
    };
    let (day, week, month) =
        (budget(100, Period::Day), budget(100, Period::Week), budget(100, Period::Month));
    // Sunday 2027-02-28, an hour before it ends: day, week and month end at once.
    go_to(bench, MONDAY - 1, 23 * HOUR_MS).await;
    for limits in [day, week, month] {
        // Each has a key of its own, or they would count together.
        assert_eq!(spend_as(bench, limits).await, (Holder::Key, Some(HOUR_MS)));
    }
    go_to(bench, MONDAY - 1, DAY_MS - 1).await;
    assert_eq!(refused_as(bench, day).await, Some(1));
    go_to(bench, MONDAY, 0).await;
    assert_eq!(spend(month).await, (Holder::Key, Some(31 * DAY_MS)));
    for limits in [day, week] {
        spend_as(bench, limits).await;
    }
    // Tuesday: another day, the same week.
    go_to(bench, MONDAY + 1, 0).await;
    spend_as(bench, day).await;
    assert_eq!(refused_as(bench, week).await, Some(6 * DAY_MS));
    go_to(bench, MONDAY + 7, 0).await;
    spend_as(bench, week).await;
    assert_eq!(refused(bench, month, 1).await.1, Some(24 * DAY_MS));
    // 2028-02-29, and the day after it.
    go_to(bench, MONDAY + 365, 12 * HOUR_MS).await;
    assert_eq!(spend_as(bench, month).await.1, Some(HOUR_MS * 12));
    go_to(bench, MONDAY + 366, 0).await;
    assert_eq!(spend_as(bench, month).await.1, Some(31 * DAY_MS));
    // All time has no end.
    let total = budget(100, Period::Total);
    let request = take_as(bench, "total", total).await;
    settle_as(bench, "total", request).await;
    assert_eq!(refused_for(bench, "total", total).await, None);
}

fn key_of(limits: Limits) -> &'static str {
    match limits.budget.unwrap().period {
        Period::Day => "daily",
        Period::Week => "weekly",
        Period::Month => "monthly",
        Period::Total => "total",
    }
}

async fn ask_as(bench: &Bench, key: &str, limits: Limits, worst_case: u64) -> (RequestId, Reserved) {
    let asked =
        Reserve { limits, key: name(key), project: None, ..reserve("alice", bench.request(), worst_case) };
    (asked.request, bench.ledger.reserve(&asked).await.unwrap())
}

async fn take_as(bench: &Bench, key: &str, limits: Limits) -> RequestId {
    let (request, reserved) = ask_as(bench, key, limits, 100).await;
    assert_eq!(reserved, held(100), "{key}");
    bench.ledger.bind(&bind("alice", request, 1, keyset("a"))).await.unwrap();
    request
}

async fn settle_as(bench: &Bench, key: &str, request: RequestId) {
    let settlement = cocoon_ledger::Settlement {
        key: name(key),
        project: None,
        ..bench.settlement("alice", request, 100)
    };
    assert_eq!(bench.settle(&settlement).await, charged(100));
}

async fn refused_for(bench: &Bench, key: &str, limits: Limits) -> Option<u64> {
    match ask_as(bench, key, limits, 1).await.1 {
        Reserved::Refused(Refusal::Limited { limit: Limit::Budget, retry_after_ms, .. }) => retry_after_ms,
        other => panic!("{other:?}"),
    }
}

async fn refused_as(bench: &Bench, limits: Limits) -> Option<u64> {
    refused_for(bench, key_of(limits), limits).await
}

/// By the key of this period.
async fn spend_as(bench: &Bench, limits: Limits) -> (Holder, Option<u64>) {
    let request = take_as(bench, key_of(limits), limits).await;
    settle_as(bench, key_of(limits), request).await;
    (Holder::Key, refused_as(bench, limits).await)
}

pub(super) async fn a_hold_settles_in_the_period_of_its_reserve(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    // 2027-02-28, and the next day, week and month.
    go_to(bench, MONDAY - 1, DAY_MS - 1).await;
    let late = take(bench, Limits::default(), 100).await;
    assert_eq!(of_key(bench).await, (of(0, 0, 0, 0), of(100, 100, 100, 100)));
    go_to(bench, MONDAY, 0).await;
    assert_eq!(of_key(bench).await, (of(0, 0, 0, 0), of(0, 0, 0, 100)));
    // What it holds is no part of what may be held today, but of what may ever be.
    take(bench, budget(50, Period::Day), 50).await;
    refused(bench, budget(199, Period::Total), 50).await;
    settle(bench, late, 70).await;
    assert_eq!(of_key(bench).await, (of(0, 0, 0, 70), of(50, 50, 50, 50)));
}

pub(super) async fn a_correction_belongs_to_the_period_of_its_reserve(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    // The request was made before midnight, and reserved after.
    go_to(bench, MONDAY - 1, DAY_MS - 1).await;
    let asked = reserve("alice", bench.request(), 600);
    go_to(bench, MONDAY, 1).await;
    assert_eq!(bench.ledger.reserve(&asked).await.unwrap(), held(600));
    bench.ledger.bind(&bind("alice", asked.request, 1, keyset("a"))).await.unwrap();
    bench.ledger.extend(&bench.checkpoint("alice", asked.request, 80)).await.unwrap();
    bench.pass(LEASE + GRACE).await;
    bench.ledger.expire(bench.shard("alice"), asked.request).await.unwrap();
    assert_eq!(of_key(bench).await, (of(80, 80, 80, 80), of(0, 0, 0, 0)));
    let receipt = bench.settlement("alice", asked.request, 30);
    assert_eq!(bench.settle(&receipt).await, charged(30));
    assert_eq!(of_key(bench).await.0, of(30, 30, 30, 30));
    // On the next day only the week, the month and all time know of it.
    let other = bench.expired("alice", Some(10)).await;
    go_to(bench, MONDAY + 1, 0).await;
    assert_eq!(bench.settle(&bench.settlement("alice", other, 25)).await, charged(25));
    assert_eq!(of_key(bench).await.0, of(0, 55, 55, 55));
}

pub(super) async fn a_receipt_without_a_hold_belongs_to_the_time_of_its_request(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    go_to(bench, MONDAY, 12 * HOUR_MS).await;
    let request = bench.request();
    go_to(bench, MONDAY + 1, 0).await;
    settle(bench, request, 40).await;
    assert_eq!(of_key(bench).await.0, of(0, 40, 40, 40));
    // A gateway's clock may be ahead: it is today all the same.
    let ahead = request_made_at(bench.now_ms() + 3 * DAY_MS, 77);
    settle(bench, ahead, 5).await;
    assert_eq!(of_key(bench).await.0, of(5, 45, 45, 45));
    let ahead = request_made_at(bench.now_ms() + 3 * DAY_MS, 78);
    bench.ledger.release(&release("alice", ahead)).await.unwrap();
    settle(bench, ahead, 2).await;
    assert_eq!(of_key(bench).await.0, of(7, 47, 47, 47));
    // What was released is charged to the time of its reserve.
    let released = request_made_at(bench.now_ms() - DAY_MS, 79);
    bench.ledger.reserve(&reserve("alice", released, 100)).await.unwrap();
    bench.ledger.release(&release("alice", released)).await.unwrap();
    settle(bench, released, 7).await;
    assert_eq!(of_key(bench).await.0, of(14, 54, 54, 54));
}

pub(super) async fn without_a_ceiling_a_quarter_of_the_least_rest_is_held(bench: &Bench) {
    bench.fund("alice", 10_000).await;
    bench.ledger.set_limits(&name("alice"), None, &budget(1000, Period::Day)).await.unwrap();
    let open_ended = async |limits, useful| {
        let estimate =
            Estimate { worst_case: NanoTon(9000), useful_minimum: Some(NanoTon(useful)), tokens: 0 };
        let asked = Reserve { limits, estimate, ..reserve("alice", bench.request(), 0) };
        bench.ledger.reserve(&asked).await.unwrap()
    };
    let of_key = budget(403, Period::Month);
    assert_eq!(open_ended(of_key, 10).await, held(100));
    assert_eq!(open_ended(Limits::default(), 10).await, held(225));
    // 303 and 675 are left.
    assert_eq!(open_ended(of_key, 78).await, held(78));
    assert!(matches!(
        open_ended(of_key, 226).await,
        Reserved::Refused(Refusal::Limited { holder: Holder::Key, .. })
    ));
    assert!(matches!(
        open_ended(Limits::default(), 598).await,
        Reserved::Refused(Refusal::Limited { holder: Holder::Account, .. })
    ));
    assert_eq!(open_ended(Limits::default(), 597).await, held(597));
}

pub(super) async fn the_balance_is_asked_after_the_budgets(bench: &Bench) {
    bench.fund("alice", 100).await;
    assert_eq!(ask(bench, budget(200, Period::Day), 101).await.1, insufficient(101, 100));
    assert_eq!(refused(bench, budget(100, Period::Day), 101).await.0, Holder::Key);
    assert_eq!(refused(bench, budget(50, Period::Day), u64::MAX).await.0, Holder::Key);
    let large = budget(u64::MAX, Period::Total);
    assert_eq!(ask(bench, large, (1 << 53) - 1).await.1, insufficient((1 << 53) - 1, 100));
    // A budget counts to 2^53 - 1.
    assert_eq!(refused(bench, large, 1 << 53).await.0, Holder::Key);
    take(bench, large, 100).await;
}

pub(super) async fn sums_of_charges_beyond_2_to_the_53_are_exact(bench: &Bench) {
    let most = (1 << 53) - 1;
    for _ in 0..3 {
        bench.fund("alice", most).await;
        let request = take(bench, Limits::default(), most).await;
        settle(bench, request, most).await;
    }
    let all = 3 * most;
    assert_eq!(of_key(bench).await, (of(all, all, all, all), of(0, 0, 0, 0)));
    assert_eq!(standing(bench, &Whose::Account).await.spent, of(all, all, all, all));
    refused(bench, budget(u64::MAX, Period::Total), 0).await;
}
