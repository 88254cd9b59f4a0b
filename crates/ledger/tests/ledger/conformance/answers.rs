//! Answers that are kept for repeated requests.

use cocoon_ledger::{
    AnswerName, Begin, Begun, Ending, KEPT_FOR, LedgerError, MAX_ANSWER_BYTES, MAX_ENTRIES, MAX_KEPT_BYTES,
};
use cocoon_receipts::{Digest, RequestId};

use crate::bench::*;

fn named(account: &str, key: &str) -> AnswerName {
    AnswerName { account: name(account), id: Digest::of(&[b"id", key.as_bytes()]) }
}

fn begin(bench: &Bench, key: &str, request: &str) -> Begin {
    Begin {
        name: named("alice", key),
        fingerprint: Digest::of(&[request.as_bytes()]),
        holder: bench.request(),
        lease: LEASE,
    }
}

async fn begun(bench: &Bench, begin: &Begin) -> Begun {
    bench.ledger.begin_answer(begin).await.unwrap()
}

async fn end(bench: &Bench, begin: &Begin, ending: Ending) -> bool {
    bench.ledger.end_answer(&begin.name, begin.holder, &ending).await.unwrap()
}

fn kept(bytes: &[u8]) -> Ending {
    Ending::Kept(bytes.to_vec())
}

pub(super) async fn an_answer_is_kept_for_its_key_and_request(bench: &Bench) {
    let first = begin(bench, "key", "request");
    assert_eq!(begun(bench, &first).await, Begun::Started);
    assert_eq!(begun(bench, &first).await, Begun::Started, "the same holder asks again");
    let second = begin(bench, "key", "request");
    assert_eq!(begun(bench, &second).await, Begun::Running);
    let answer = [b"\0\xff any | bytes \r\n".as_slice(), &[0; 1000]].concat();
    assert!(end(bench, &first, kept(&answer)).await);
    assert!(end(bench, &first, kept(&answer)).await, "said twice");
    for _ in 0..2 {
        assert_eq!(begun(bench, &second).await, Begun::Kept(answer.clone()));
    }
    assert_eq!(begun(bench, &begin(bench, "key", "other")).await, Begun::OtherRequest);
    assert_eq!(begun(bench, &begin(bench, "other", "request")).await, Begun::Started);
    let of_another = Begin { name: named("bob", "key"), ..begin(bench, "key", "request") };
    assert_eq!(begun(bench, &of_another).await, Begun::Started, "an account's keys are its own");
}

pub(super) async fn a_request_that_ended_unkept_is_not_run_again(bench: &Bench) {
    let first = begin(bench, "key", "request");
    begun(bench, &first).await;
    assert!(end(bench, &first, Ending::NotKept).await);
    assert_eq!(begun(bench, &begin(bench, "key", "request")).await, Begun::NotKept);
    assert!(!end(bench, &first, kept(b"late")).await);
}

pub(super) async fn an_abandoned_key_is_free(bench: &Bench) {
    let first = begin(bench, "key", "request");
    begun(bench, &first).await;
    let second = begin(bench, "key", "changed");
    let abandon = async |of: &Begin| bench.ledger.abandon_answer(&of.name, of.holder).await.unwrap();
    assert!(!abandon(&second).await, "only by its holder");
    assert!(abandon(&first).await);
    assert!(!abandon(&first).await);
    assert_eq!(begun(bench, &second).await, Begun::Started);
    assert!(end(bench, &second, kept(b"answer")).await);
    assert!(!abandon(&second).await, "what has ended stays");
    assert_eq!(begun(bench, &second).await, Begun::Kept(b"answer".to_vec()));
}

pub(super) async fn a_key_is_held_for_its_lease_and_as_long_as_it_is_renewed(bench: &Bench) {
    let first = begin(bench, "key", "request");
    begun(bench, &first).await;
    let renew = async |of: &Begin| bench.ledger.renew_answer(&of.name, of.holder, LEASE).await.unwrap();
    for _ in 0..3 {
        bench.pass(LEASE / 2).await;
        assert!(renew(&first).await);
    }
    let second = begin(bench, "key", "request");
    assert!(!renew(&second).await, "only by its holder");
    bench.pass(LEASE - std::time::Duration::from_millis(1)).await;
    assert_eq!(begun(bench, &second).await, Begun::Running);
    bench.pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(begun(bench, &begin(bench, "key", "other")).await, Begun::OtherRequest);
    assert_eq!(begun(bench, &second).await, Begun::Started);
    assert!(!renew(&first).await, "whose place was taken");
    assert!(!end(bench, &first, kept(b"late")).await);
    assert!(end(bench, &second, kept(b"answer")).await);
    assert_eq!(begun(bench, &first).await, Begun::Kept(b"answer".to_vec()));
}

pub(super) async fn what_is_kept_is_forgotten_after_a_day(bench: &Bench) {
    let (answered, running) = (begin(bench, "answered", "request"), begin(bench, "running", "request"));
    begun(bench, &answered).await;
    bench.pass(LEASE).await;
    assert!(end(bench, &answered, kept(b"answer")).await);
    begun(bench, &running).await;
    bench.pass(KEPT_FOR - std::time::Duration::from_millis(1)).await;
    assert_eq!(begun(bench, &answered).await, Begun::Kept(b"answer".to_vec()));
    assert_eq!(begun(bench, &begin(bench, "running", "other")).await, Begun::OtherRequest);
    bench.pass(std::time::Duration::from_millis(1)).await;
    assert_eq!(begun(bench, &begin(bench, "answered", "other")).await, Begun::Started);
    assert_eq!(begun(bench, &begin(bench, "running", "other")).await, Begun::Started);
}

pub(super) async fn an_account_has_a_thousand_keys_and_the_oldest_ended_one_goes(bench: &Bench) {
    let all: Vec<Begin> = (0..MAX_ENTRIES).map(|n| begin(bench, &n.to_string(), "request")).collect();
    for one in &all {
        assert_eq!(begun(bench, one).await, Begun::Started);
        bench.pass(std::time::Duration::from_millis(1)).await;
    }
    let more = begin(bench, "more", "request");
    assert_eq!(begun(bench, &more).await, Begun::Full);
    for one in [&all[7], &all[3]] {
        assert!(end(bench, one, Ending::NotKept).await);
        bench.pass(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(begun(bench, &more).await, Begun::Started);
    assert_eq!(begun(bench, &begin(bench, "3", "request")).await, Begun::NotKept);
    assert_eq!(begun(bench, &begin(bench, "7", "other")).await, Begun::Started, "the first to end went");
    let of_another = Begin { name: named("bob", "key"), ..begin(bench, "key", "request") };
    assert_eq!(begun(bench, &of_another).await, Begun::Started);
}

pub(super) async fn an_accounts_answers_are_bounded_and_the_oldest_goes(bench: &Bench) {
    let answer = vec![7; MAX_ANSWER_BYTES];
    let first = begin(bench, "first", "request");
    begun(bench, &first).await;
    let larger = Ending::Kept(vec![0; MAX_ANSWER_BYTES + 1]);
    let refused = bench.ledger.end_answer(&first.name, first.holder, &larger).await;
    assert!(matches!(refused, Err(LedgerError::Overflow)), "{refused:?}");
    assert!(end(bench, &first, kept(&answer)).await);
    let room = usize::try_from(MAX_KEPT_BYTES).unwrap() / MAX_ANSWER_BYTES;
    let mut later = Vec::new();
    for n in 0..room + 20 {
        bench.pass(std::time::Duration::from_millis(1)).await;
        let one = begin(bench, &n.to_string(), "request");
        begun(bench, &one).await;
        assert!(end(bench, &one, kept(&answer)).await);
        later.push(one);
    }
    // What was dropped is no longer counted: half of the room is there in any encoding.
    for one in later.iter().rev().take(room / 2) {
        assert_eq!(begun(bench, one).await, Begun::Kept(answer.clone()));
    }
    assert_eq!(begun(bench, &begin(bench, "first", "other")).await, Begun::Started, "the oldest went");
    assert_eq!(begun(bench, &begin(bench, "0", "other")).await, Begun::Started, "and the next");
}

pub(super) async fn of_many_that_begin_at_once_one_runs(bench: &Bench) {
    let begins: Vec<Begin> = (0..20).map(|_| begin(bench, "key", "request")).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for begin in begins {
        let ledger = std::sync::Arc::clone(&bench.ledger);
        tasks.spawn(async move { (begin.holder, ledger.begin_answer(&begin).await.unwrap()) });
    }
    let answers = tasks.join_all().await;
    let started: Vec<RequestId> =
        answers.iter().filter(|(_, begun)| *begun == Begun::Started).map(|(holder, _)| *holder).collect();
    assert_eq!(started.len(), 1, "{answers:?}");
    assert!(answers.iter().all(|(_, begun)| matches!(begun, Begun::Started | Begun::Running)));
}
