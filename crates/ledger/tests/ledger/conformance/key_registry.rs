//! Keys, projects and limits.

use std::time::Duration;

use cocoon_ledger::{
    Budget, ENDED_KEY_KEPT, KeyOrder, KeyQuery, KeyRecord, KeyScope, KeySet, LedgerError, Limits,
    MAX_KEY_NAME, MAX_KEY_PAGE, MAX_PROJECTS, Period, Recorded, Revoked,
};
use cocoon_receipts::{KeyId, NanoTon};

use crate::bench::*;

fn record(account: &str, id: &str, project: Option<&str>) -> KeyRecord {
    KeyRecord {
        id: name(id),
        account: name(account),
        project: project.map(name),
        name: "of \"any\" | name ü".to_owned(),
        hint: "sk-cocoon-…abcd".to_owned(),
        created: START_MS / 1000,
        expires: Some(START_MS / 1000 + 60),
        scope: KeyScope::Inference,
        models: Some(vec![MODEL.to_owned()]),
        limits: Limits { rpm: Some(3), ..Limits::default() },
        sealed_only: true,
        revoked_at_ms: None,
    }
}

async fn put(bench: &Bench, record: &KeyRecord) {
    assert_eq!(bench.ledger.put_key(record).await.unwrap(), Recorded::Recorded);
}

async fn revoke(bench: &Bench, account: &str, id: &str, after: Duration) -> Option<Revoked> {
    bench.ledger.revoke_key(&name(account), &name(id), after).await.unwrap()
}

fn query(set: KeySet) -> KeyQuery {
    KeyQuery { account: name("alice"), set, order: KeyOrder::OldestFirst, after: None, limit: MAX_KEY_PAGE }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

async fn ids(bench: &Bench, query: &KeyQuery) -> Vec<String> {
    bench.ledger.keys(query).await.unwrap().into_iter().map(|record| record.id.to_string()).collect()
}

pub(super) async fn a_key_is_recorded_once_and_read_again(bench: &Bench) {
    let first = record("alice", "k1", Some("p"));
    put(bench, &first).await;
    let again = KeyRecord { name: "other".to_owned(), ..first.clone() };
    assert_eq!(bench.ledger.put_key(&again).await.unwrap(), Recorded::Already);
    let read = bench.ledger.key(&first.account, &first.id).await.unwrap();
    assert_eq!(read, Some(first.clone()));
    let plain = KeyRecord {
        project: None,
        expires: None,
        models: None,
        sealed_only: false,
        limits: Limits::default(),
        ..record("alice", "k2", None)
    };
    put(bench, &plain).await;
    assert_eq!(bench.ledger.key(&plain.account, &plain.id).await.unwrap(), Some(plain));
    assert_eq!(
        bench.ledger.key(&name("bob"), &first.id).await.unwrap(),
        None,
        "an account's keys are its own"
    );
    put(bench, &record("bob", "k1", None)).await;
}

pub(super) async fn a_record_that_is_too_large_is_not_kept(bench: &Bench) {
    let long = KeyRecord { name: "n".repeat(MAX_KEY_NAME + 1), ..record("alice", "k1", Some("p")) };
    let refused = bench.ledger.put_key(&long).await;
    assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    assert_eq!(ids(bench, &query(KeySet::All)).await, [""; 0]);
    assert_eq!(bench.ledger.projects(&name("alice")).await.unwrap(), []);
}

pub(super) async fn keys_are_listed_by_set_in_pages_both_ways(bench: &Bench) {
    for (id, project) in
        [("k1", None), ("k3", Some("a")), ("k2", Some("a")), ("k4", Some("a0")), ("k0", Some("-"))]
    {
        put(bench, &record("alice", id, project)).await;
    }
    for (id, scope) in [("k5", KeyScope::Admin), ("k6", KeyScope::Operator)] {
        put(bench, &KeyRecord { scope, ..record("alice", id, None) }).await;
    }
    put(bench, &record("bob", "k9", None)).await;
    let all = query(KeySet::All);
    assert_eq!(ids(bench, &all).await, ["k0", "k1", "k2", "k3", "k4", "k5", "k6"]);
    let of = async |set: KeySet| ids(bench, &query(set)).await;
    assert_eq!(of(KeySet::OfProject(None)).await, ["k1"]);
    assert_eq!(of(KeySet::OfProject(Some(name("a")))).await, ["k2", "k3"]);
    assert_eq!(of(KeySet::OfProject(Some(name("-")))).await, ["k0"]);
    assert_eq!(of(KeySet::OfProject(Some(name("none")))).await, [""; 0]);
    assert_eq!(of(KeySet::OfScope(KeyScope::Inference)).await, ["k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(of(KeySet::OfScope(KeyScope::Admin)).await, ["k5"]);
    assert_eq!(of(KeySet::OfScope(KeyScope::Operator)).await, ["k6"]);
    let after = |id: &str| -> Option<KeyId> { Some(name(id)) };
    let page = KeyQuery { after: after("k1"), limit: 3, ..all.clone() };
    assert_eq!(ids(bench, &page).await, ["k2", "k3", "k4"]);
    let between = KeyQuery { after: after("k11"), limit: 1, ..all.clone() };
    assert_eq!(ids(bench, &between).await, ["k2"], "behind an id that is not there");
    let newest = KeyQuery { order: KeyOrder::NewestFirst, limit: 2, ..all };
    assert_eq!(ids(bench, &newest).await, ["k6", "k5"]);
    let older = KeyQuery { after: after("k5"), ..newest };
    assert_eq!(ids(bench, &older).await, ["k4", "k3"]);
    let set = KeySet::OfProject(Some(name("a")));
    let newest = KeyQuery { order: KeyOrder::NewestFirst, ..query(set) };
    assert_eq!(ids(bench, &newest).await, ["k3", "k2"]);
}

pub(super) async fn a_key_is_revoked_now_or_later_and_never_postponed(bench: &Bench) {
    let (account, key) = (name("alice"), name("k1"));
    let is_revoked = async || bench.ledger.is_revoked(&account, &key).await.unwrap();
    assert_eq!(revoke(bench, "alice", "k1", Duration::ZERO).await, None, "not the account's");
    put(bench, &record("alice", "k1", None)).await;
    assert!(!is_revoked().await);
    let minute = Duration::from_secs(60);
    let later = START_MS + 60_000;
    assert_eq!(revoke(bench, "alice", "k1", minute).await, Some(Revoked { at_ms: later, already: false }));
    assert!(!is_revoked().await);
    let recorded = bench.ledger.key(&account, &key).await.unwrap().unwrap();
    assert_eq!(recorded.revoked_at_ms, Some(later));
    let listed = bench.ledger.keys(&query(KeySet::All)).await.unwrap();
    assert_eq!(listed, [recorded]);
    bench.pass(minute / 2).await;
    assert_eq!(revoke(bench, "alice", "k1", minute).await, Some(Revoked { at_ms: later, already: true }));
    bench.pass(minute / 2 - Duration::from_millis(1)).await;
    assert!(!is_revoked().await);
    bench.pass(Duration::from_millis(1)).await;
    assert!(is_revoked().await);
    put(bench, &record("alice", "k2", None)).await;
    revoke(bench, "alice", "k2", minute).await;
    let now = bench.now_ms();
    let at_once = revoke(bench, "alice", "k2", Duration::ZERO).await;
    assert_eq!(at_once, Some(Revoked { at_ms: now, already: false }), "earlier than it was to be");
    assert!(bench.ledger.is_revoked(&account, &name("k2")).await.unwrap());
    put(bench, &record("bob", "k1", None)).await;
    assert!(!bench.ledger.is_revoked(&name("bob"), &key).await.unwrap());
}

pub(super) async fn limits_are_set_and_taken_away(bench: &Bench) {
    let (alice, project) = (name("alice"), name("p"));
    let limits = async |of| bench.ledger.limits(&alice, of).await.unwrap();
    assert_eq!(limits(None).await, Limits::default());
    let budget = Budget { amount: NanoTon((1 << 53) - 1), period: Period::Month };
    let account = Limits { rpm: Some(5), tpm: Some(6), concurrency: Some(7), budget: Some(budget) };
    let of_project = Limits { concurrency: Some(0), ..Limits::default() };
    for _ in 0..2 {
        assert!(bench.ledger.set_limits(&alice, None, &account).await.unwrap());
        assert!(bench.ledger.set_limits(&alice, Some(&project), &of_project).await.unwrap());
    }
    assert_eq!(limits(None).await, account);
    assert_eq!(limits(Some(&project)).await, of_project);
    assert_eq!(bench.ledger.limits(&name("bob"), None).await.unwrap(), Limits::default());
    assert!(bench.ledger.set_limits(&alice, None, &Limits::default()).await.unwrap());
    assert_eq!(limits(None).await, Limits::default());
    assert_eq!(limits(Some(&project)).await, of_project);
    let budget = Budget { amount: NanoTon(1 << 53), period: Period::Day };
    let beyond = Limits { budget: Some(budget), ..Limits::default() };
    let refused = bench.ledger.set_limits(&alice, None, &beyond).await;
    assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
}

pub(super) async fn an_account_has_the_projects_that_keys_and_limits_name_and_a_bound_on_them(bench: &Bench) {
    let alice = name("alice");
    put(bench, &record("alice", "k1", Some("b"))).await;
    put(bench, &record("alice", "k2", None)).await;
    bench.pass(Duration::from_secs(9)).await;
    let one = Limits { rpm: Some(1), ..Limits::default() };
    for project in ["a", "b"] {
        assert!(bench.ledger.set_limits(&alice, Some(&name(project)), &one).await.unwrap());
    }
    let projects = bench.ledger.projects(&alice).await.unwrap();
    let seen: Vec<_> = projects.iter().map(|project| (project.id.as_str(), project.created)).collect();
    let start = START_MS / 1000;
    assert_eq!(seen, [("a", start + 9), ("b", start)]);
    for n in 2..MAX_PROJECTS {
        assert!(bench.ledger.set_limits(&alice, Some(&name(&format!("p{n}"))), &one).await.unwrap());
    }
    let more = name("one-more");
    assert!(!bench.ledger.set_limits(&alice, Some(&more), &one).await.unwrap());
    assert_eq!(bench.ledger.limits(&alice, Some(&more)).await.unwrap(), Limits::default());
    let key = record("alice", "k3", Some("one-more"));
    assert_eq!(bench.ledger.put_key(&key).await.unwrap(), Recorded::TooManyProjects);
    assert_eq!(bench.ledger.key(&alice, &key.id).await.unwrap(), None);
    put(bench, &record("alice", "k4", Some("a"))).await;
    assert_eq!(bench.ledger.projects(&alice).await.unwrap().len(), MAX_PROJECTS as usize);
    assert_eq!(bench.ledger.projects(&name("bob")).await.unwrap(), []);
}

pub(super) async fn an_account_has_no_more_than_ten_thousand_keys(bench: &Bench) {
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..100 {
        let ledger = std::sync::Arc::clone(&bench.ledger);
        tasks.spawn(async move {
            for n in 0..100 {
                let key = record("alice", &format!("k{part:02}{n:02}"), None);
                assert_eq!(ledger.put_key(&key).await.unwrap(), Recorded::Recorded);
            }
        });
    }
    tasks.join_all().await;
    let more = record("alice", "more", None);
    assert_eq!(bench.ledger.put_key(&more).await.unwrap(), Recorded::TooManyKeys);
    put(bench, &record("bob", "more", None)).await;
    let page = KeyQuery { after: Some(name("k4999")), limit: u32::MAX, ..query(KeySet::All) };
    let page = ids(bench, &page).await;
    assert_eq!((page.len(), page[0].as_str()), (MAX_KEY_PAGE as usize, "k5000"));
    // They have expired a minute after the start; room is made only when that was long ago.
    let long_ago = START_MS + 60_000 + millis(ENDED_KEY_KEPT);
    bench.ledger.set_test_time(long_ago - 1).await.unwrap();
    assert_eq!(bench.ledger.put_key(&more).await.unwrap(), Recorded::TooManyKeys);
    bench.ledger.set_test_time(long_ago).await.unwrap();
    put(bench, &more).await;
    assert_eq!(bench.ledger.key(&more.account, &name("k0000")).await.unwrap(), None);
    assert!(bench.ledger.key(&more.account, &name("k0500")).await.unwrap().is_some());
    assert_eq!(ids(bench, &query(KeySet::OfProject(None))).await.first().map(String::as_str), Some("k0500"));
}

/// Guards against: a revoked key that is good again once its record is gone.
pub(super) async fn a_key_is_forgotten_and_stays_refused(bench: &Bench) {
    let alice = name("alice");
    let expiring = record("alice", "expiring", Some("p"));
    let endless = KeyRecord { expires: None, ..record("alice", "endless", Some("p")) };
    let good = KeyRecord { expires: None, ..record("alice", "good", Some("p")) };
    let ending = KeyRecord { expires: None, ..record("alice", "ending", Some("p")) };
    for key in [&expiring, &endless, &good, &ending] {
        put(bench, key).await;
    }
    revoke(bench, "alice", "expiring", Duration::ZERO).await.unwrap();
    revoke(bench, "alice", "endless", Duration::ZERO).await.unwrap();
    revoke(bench, "alice", "ending", Duration::from_secs(61)).await.unwrap();
    let all: Vec<KeyId> = ["expiring", "endless", "good", "ending", "unknown"].map(name).to_vec();
    let kept = millis(ENDED_KEY_KEPT);
    assert_eq!(bench.ledger.forget_keys(&alice, &all).await.unwrap(), 0);
    bench.ledger.set_test_time(START_MS + kept - 1).await.unwrap();
    assert_eq!(bench.ledger.forget_keys(&alice, &all).await.unwrap(), 0);
    bench.ledger.set_test_time(START_MS + kept + 60_000).await.unwrap();
    assert_eq!(bench.ledger.forget_keys(&alice, &all).await.unwrap(), 2);
    assert_eq!(bench.ledger.forget_keys(&alice, &all).await.unwrap(), 0);
    for set in [KeySet::All, KeySet::OfScope(KeyScope::Inference), KeySet::OfProject(Some(name("p")))] {
        assert_eq!(ids(bench, &query(set)).await, ["ending", "good"]);
    }
    // What has expired needs no refusal of the ledger's; what never would is refused for ever.
    for (id, revoked) in [("expiring", false), ("endless", true), ("good", false), ("ending", true)] {
        assert_eq!(bench.ledger.is_revoked(&alice, &name(id)).await.unwrap(), revoked, "{id}");
    }
    put(bench, &expiring).await;
}
