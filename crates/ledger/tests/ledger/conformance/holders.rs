//! Key, project and account: whose limits stand against a request, and who is forgotten when.

use std::time::Duration;

use cocoon_ledger::{
    Budget, Holder, Limit, Limits, Period, Rate, Refusal, Reserve, Reserved, Standing, Whose,
};
use cocoon_receipts::NanoTon;

use crate::bench::*;

fn rpm(limit: u32) -> Limits {
    Limits { rpm: Some(limit), ..Limits::default() }
}

async fn ask_as(bench: &Bench, key: &str, project: Option<&str>, limits: Limits) -> (Reserve, Reserved) {
    let asked = Reserve {
        key: name(key),
        project: project.map(name),
        limits,
        ..reserve("alice", bench.request(), 10)
    };
    let reserved = bench.ledger.reserve(&asked).await.unwrap();
    (asked, reserved)
}

/// Who refused and by what; none where nobody did.
async fn refused(bench: &Bench, key: &str, project: Option<&str>, limits: Limits) -> Option<(Holder, Limit)> {
    match ask_as(bench, key, project, limits).await.1 {
        Reserved::Held { .. } => None,
        Reserved::Refused(Refusal::Limited { holder, limit, .. }) => Some((holder, limit)),
        other => panic!("{other:?}"),
    }
}

async fn set(bench: &Bench, project: Option<&str>, limits: Limits) {
    let project = project.map(name);
    assert!(bench.ledger.set_limits(&name("alice"), project.as_ref(), &limits).await.unwrap());
}

async fn standing(bench: &Bench, whose: Whose) -> Standing {
    bench.ledger.standing(&name("alice"), &whose).await.unwrap()
}

pub(super) async fn limits_stand_for_the_key_its_project_and_its_account(bench: &Bench) {
    bench.fund("alice", 1000).await;
    set(bench, Some("p"), rpm(2)).await;
    set(bench, None, rpm(4)).await;
    assert_eq!(refused(bench, "a", Some("p"), rpm(1)).await, None);
    assert_eq!(refused(bench, "a", Some("p"), rpm(1)).await, Some((Holder::Key, Limit::Requests)));
    assert_eq!(refused(bench, "b", Some("p"), rpm(9)).await, None);
    // The project's keys share its limit, and others do not.
    assert_eq!(refused(bench, "c", Some("p"), rpm(9)).await, Some((Holder::Project, Limit::Requests)));
    assert_eq!(refused(bench, "c", Some("q"), rpm(9)).await, None);
    assert_eq!(refused(bench, "c", None, rpm(9)).await, None);
    assert_eq!(refused(bench, "d", None, rpm(9)).await, Some((Holder::Account, Limit::Requests)));
    // Another account's key and project of the same names are others.
    bench.fund("bob", 1000).await;
    let asked = Reserve {
        limits: rpm(1),
        key: name("a"),
        project: Some(name("p")),
        ..reserve("bob", bench.request(), 10)
    };
    assert!(matches!(bench.ledger.reserve(&asked).await.unwrap(), Reserved::Held { .. }));
    // No limit, no refusal.
    set(bench, None, Limits::default()).await;
    assert_eq!(refused(bench, "d", None, rpm(9)).await, None);
}

pub(super) async fn a_refusal_takes_nothing_of_any_holder(bench: &Bench) {
    bench.fund("alice", 1000).await;
    set(bench, Some("p"), Limits { concurrency: Some(1), ..rpm(60) }).await;
    set(bench, None, rpm(60)).await;
    let (first, _) = ask_as(bench, "a", Some("p"), rpm(60)).await;
    let of = async || {
        [
            standing(bench, Whose::Key(name("a"))).await,
            standing(bench, Whose::Project(name("p"))).await,
            standing(bench, Whose::Account).await,
        ]
    };
    let before = of().await;
    let rate = Some(Rate { limit: 60, remaining: 59, reset_ms: 1000 });
    assert!(before.iter().all(|each| each.rates.requests == rate && each.running == 1), "{before:?}");
    assert_eq!(refused(bench, "a", Some("p"), rpm(60)).await, Some((Holder::Project, Limit::Concurrency)));
    let dear =
        Reserve { key: name("a"), project: None, limits: rpm(60), ..reserve("alice", bench.request(), 2000) };
    assert_eq!(bench.ledger.reserve(&dear).await.unwrap(), insufficient(2000, 990));
    assert_eq!(of().await, before);
    let release = cocoon_ledger::Release {
        key: name("a"),
        project: Some(name("p")),
        ..release("alice", first.request)
    };
    bench.ledger.release(&release).await.unwrap();
    assert_eq!(refused(bench, "a", Some("p"), rpm(60)).await, None);
}

pub(super) async fn the_rates_of_who_has_least_left_are_told(bench: &Bench) {
    bench.fund("alice", 1000).await;
    set(bench, Some("p"), Limits { tpm: Some(100), ..rpm(5) }).await;
    let limits = Limits { tpm: Some(500), ..rpm(3) };
    let mut asked =
        Reserve { key: name("a"), project: Some(name("p")), limits, ..reserve("alice", bench.request(), 10) };
    asked.estimate.tokens = 60;
    let Reserved::Held { rates, .. } = bench.ledger.reserve(&asked).await.unwrap() else { panic!() };
    assert_eq!(rates.requests, Some(Rate { limit: 3, remaining: 2, reset_ms: 20_000 }));
    assert_eq!(rates.tokens, Some(Rate { limit: 100, remaining: 40, reset_ms: 36_000 }));
    asked.request = bench.request();
    let Reserved::Refused(Refusal::Limited { holder, rates, .. }) =
        bench.ledger.reserve(&asked).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(holder, Holder::Project);
    assert_eq!(rates.tokens, Some(Rate { limit: 100, remaining: 40, reset_ms: 36_000 }));
}

pub(super) async fn a_revoked_key_is_refused_before_all_else(bench: &Bench) {
    bench.fund("alice", 100).await;
    let record = key_record(&name("alice"), &name("a"));
    bench.ledger.put_key(&record).await.unwrap();
    let (first, held_before) = ask_as(bench, "a", None, Limits::default()).await;
    assert_eq!(held_before, held(10));
    bench.ledger.revoke_key(&record.account, &record.id, Duration::from_millis(5)).await.unwrap();
    assert_eq!(refused(bench, "a", None, Limits::default()).await, None, "it is not time yet");
    bench.pass(Duration::from_millis(5)).await;
    let before = bench.account("alice").await;
    let revoked = Reserved::Refused(Refusal::Revoked);
    assert_eq!(ask_as(bench, "a", None, rpm(0)).await.1, revoked);
    assert_eq!(ask_as(bench, "a", Some("p"), Limits::default()).await.1, revoked);
    assert_eq!(bench.account("alice").await, before);
    assert_eq!(
        ask_as(bench, "b", None, Limits::default()).await.1,
        held(10),
        "another key is none the worse"
    );
    // What runs goes on, and is the same hold still.
    assert_eq!(bench.ledger.reserve(&first).await.unwrap(), held(10));
}

pub(super) async fn a_hold_is_counted_for_who_reserved_it(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let total = async |key: &str| {
        let standing = standing(bench, Whose::Key(name(key))).await;
        (standing.spent.total.0, standing.held.total.0, standing.running)
    };
    // A receipt and a release that name another key and no project.
    for _ in 0..2 {
        ask_as(bench, "a", Some("p"), rpm(60)).await;
    }
    let (settled, _) = ask_as(bench, "a", Some("p"), rpm(60)).await;
    bench.ledger.bind(&bind("alice", settled.request, 1, keyset("a"))).await.unwrap();
    let settlement = cocoon_ledger::Settlement {
        key: name("b"),
        project: None,
        ..bench.settlement("alice", settled.request, 7)
    };
    assert_eq!(bench.settle(&settlement).await, charged(7));
    assert_eq!((total("a").await, total("b").await), ((7, 20, 2), (0, 0, 0)));
    let (released, _) = ask_as(bench, "a", Some("p"), rpm(60)).await;
    let release =
        cocoon_ledger::Release { key: name("b"), project: None, ..release("alice", released.request) };
    bench.ledger.release(&release).await.unwrap();
    assert_eq!((total("a").await, total("b").await), ((7, 20, 2), (0, 0, 0)));
    assert_eq!(standing(bench, Whose::Project(name("p"))).await.held.day, NanoTon(20));
    assert_eq!(standing(bench, Whose::Account).await.held.day, NanoTon(20));
}

pub(super) async fn who_is_not_seen_for_60_days_is_forgotten_unless_a_budget_is_for_all_time(bench: &Bench) {
    bench.fund("alice", 1000).await;
    let forever =
        Limits { budget: Some(Budget { amount: NanoTon(100), period: Period::Total }), ..Limits::default() };
    for (key, limits) in [("forgotten", rpm(1)), ("kept", forever)] {
        let (asked, _) = ask_as(bench, key, None, limits).await;
        bench.ledger.bind(&bind("alice", asked.request, 1, keyset("a"))).await.unwrap();
        let settlement = cocoon_ledger::Settlement {
            key: name(key),
            project: None,
            ..bench.settlement("alice", asked.request, 10)
        };
        assert_eq!(bench.settle(&settlement).await, charged(10));
    }
    let spent = async |key: &str| standing(bench, Whose::Key(name(key))).await.spent.total.0;
    let sweep = async || bench.ledger.expired(bench.shard("alice"), 10).await.unwrap();
    bench.pass(60 * DAY).await;
    sweep().await;
    assert_eq!((spent("forgotten").await, spent("kept").await), (10, 10));
    bench.pass(Duration::from_millis(1)).await;
    assert_eq!((spent("forgotten").await, spent("kept").await), (0, 10));
    sweep().await;
    assert_eq!((spent("forgotten").await, spent("kept").await), (0, 10));
    assert_eq!(standing(bench, Whose::Key(name("never"))).await, Standing::default());
}
