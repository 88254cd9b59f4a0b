//! Which backends are sealed to, which are not, and what happens between.

use std::collections::HashSet;
use std::sync::Arc;

use cocoon_attestation::{HpkeKey, Nonce};
use cocoon_sealing::{KEY_CONFIG_PROBLEM, Kem};

use crate::stand::{BOTH, HOUR, Options, Stand};
use crate::vm::Vm;

const DAY: u64 = 24 * HOUR;

fn vm() -> Vm {
    Vm::new(BOTH, 7, u64::MAX)
}

async fn refused(stand: &Stand, reason: &str) {
    let got = stand.chat().await;
    assert_eq!((got.status, got.code().as_str()), (502, "backend_not_verified"), "{got:?}");
    assert!(got.body.contains(reason), "{reason}: {}", got.body);
    // What the policy refuses it refuses again; what the gateway did not give it may give in a moment.
    let may_pass = reason.contains("another backend's") || reason.contains("answered with status");
    assert_eq!(got.headers.contains_key("x-should-retry"), !may_pass, "{got:?}");
    let behaviour = stand.fake.behave();
    assert!(behaviour.seen.is_empty(), "nothing is sent to a backend that was refused");
}

#[tokio::test]
async fn another_backends_document_is_refused() {
    let stand = Stand::with(vec![vm(), vm()], Options::default()).await;
    let other = Arc::clone(&stand.fake.behave().vms[1]);
    {
        let mut behaviour = stand.fake.behave();
        behaviour.listed.truncate(1);
        behaviour.evidence = Arc::new(move |root, _, nonce| root.document(&other.keyset.to_bytes(), nonce));
    }
    refused(&stand, "another backend's").await;
}

#[tokio::test]
async fn a_recorded_document_is_refused() {
    let stand = Stand::new().await;
    stand.fake.behave().evidence =
        Arc::new(|root, vm, _| root.document(&vm.keyset.to_bytes(), Nonce([7; 32])));
    refused(&stand, "another nonce").await;
}

#[tokio::test]
async fn a_document_that_is_not_given_is_a_refusal_in_our_own_words() {
    let stand = Stand::new().await;
    stand.fake.behave().vms.clear();
    refused(&stand, "it answered with status 404").await;
    assert!(!stand.chat().await.body.contains("the gateway's words"));
}

#[tokio::test]
async fn a_root_that_the_policy_does_not_name_is_refused() {
    let stand = Stand::new().await;
    let stranger = cocoon_attestation::DevRoot::new(cocoon_receipts::SigningKey::generate().unwrap());
    stand.fake.behave().evidence =
        Arc::new(move |_, vm, nonce| stranger.document(&vm.keyset.to_bytes(), nonce));
    refused(&stand, "not signed by a trusted root").await;
}

#[tokio::test]
async fn a_backend_of_another_model_is_refused() {
    let mut other = vm();
    other.keyset.model.id = "cheaper".into();
    let stand = Stand::with(vec![other], Options::default()).await;
    refused(&stand, "another model").await;
}

#[tokio::test]
async fn without_x_wing_x25519_is_used_unless_the_policy_says_no() {
    let stand = Stand::with(vec![Vm::new(&[Kem::X25519], 7, u64::MAX)], Options::default()).await;
    assert_eq!(stand.chat().await.status, 200);
    assert_eq!(stand.fake.behave().seen[0].opened.as_ref().unwrap().kem, Kem::X25519);

    let strict = || Options { policy: "require_kem = \"x-wing\"", ..Options::default() };
    let stand = Stand::with(vec![Vm::new(&[Kem::X25519], 7, u64::MAX)], strict()).await;
    refused(&stand, "no 'x-wing' key").await;
    // A key that is called X-Wing and is none does not lead back to X25519.
    let mut broken = Vm::new(&[Kem::X25519], 7, u64::MAX);
    broken.keyset.hpke.push(HpkeKey::new(1, Kem::XWing.id(), &[1; 32]));
    let stand = Stand::with(vec![broken], strict()).await;
    refused(&stand, "no key that can be sealed to").await;
    let stand = Stand::with(vec![vm()], strict()).await;
    assert_eq!(stand.chat().await.status, 200);
}

#[tokio::test]
async fn a_release_below_the_policys_is_refused() {
    let policy = "[min_release]\ncocoon = 8";
    let stand = Stand::with(vec![vm()], Options { policy, ..Options::default() }).await;
    refused(&stand, "release 7 is older than 8").await;
}

#[tokio::test]
async fn a_release_rolled_back_after_a_week_is_refused_and_within_it_is_not() {
    let (new, old) = (Vm::new(BOTH, 9, u64::MAX), Vm::new(BOTH, 8, u64::MAX));
    let stand = Stand::with(vec![new, old], Options::default()).await;
    let digests = stand.fake.behave().listed.clone();
    stand.fake.behave().listed = vec![digests[0]];
    assert_eq!(stand.chat().await.status, 200);

    stand.fake.behave().listed = vec![digests[1]];
    stand.pass(6 * DAY);
    assert_eq!(stand.chat().await.status, 200, "a rolling upgrade passes");
    stand.pass(DAY + 1);
    stand.fake.behave().seen.clear();
    refused(&stand, "release 8 is older than 9").await;
    let text = std::fs::read_to_string(stand.state.join("releases.json")).unwrap();
    assert!(text.contains(r#""9":"#), "{text}");
}

#[tokio::test]
async fn a_refused_document_raises_no_floor() {
    let mut high = Vm::new(BOTH, 99, u64::MAX);
    high.keyset.model.id = "another".into();
    let stand = Stand::with(vec![high, vm()], Options::default()).await;
    assert_eq!(stand.chat().await.status, 200);
    stand.pass(8 * DAY);
    assert_eq!(stand.chat().await.status, 200, "99 was never verified in full");
    let text = std::fs::read_to_string(stand.state.join("releases.json")).unwrap();
    assert!(!text.contains("99"), "{text}");
}

#[tokio::test]
async fn a_verdict_is_kept_for_an_hour_and_the_list_for_a_minute() {
    let stand = Stand::new().await;
    let counts = || {
        let behaviour = stand.fake.behave();
        (behaviour.lists, behaviour.documents)
    };
    for (wait, expected) in
        [(0, (1, 1)), (0, (1, 1)), (59_999, (1, 1)), (1, (2, 1)), (HOUR - 60_000 - 1, (3, 1)), (1, (4, 2))]
    {
        stand.pass(wait);
        assert_eq!(stand.chat().await.status, 200);
        assert_eq!(counts(), expected, "after {wait} ms more");
    }
}

#[tokio::test]
async fn a_verdict_ends_with_its_keyset() {
    let end = crate::stand::START + 10_000;
    let stand = Stand::with(vec![Vm::new(BOTH, 7, end)], Options::default()).await;
    assert_eq!(stand.chat().await.status, 200);
    stand.fake.behave().seen.clear();
    stand.pass(10_000);
    refused(&stand, "keyset_validity").await;
}

#[tokio::test]
async fn many_at_once_verify_once() {
    let stand = Stand::new().await;
    let got = futures_util::future::join_all((0..20).map(|_| stand.chat())).await;
    assert!(got.iter().all(|got| got.status == 200));
    let behaviour = stand.fake.behave();
    assert_eq!((behaviour.lists, behaviour.documents), (1, 1));
}

#[tokio::test]
async fn a_backend_that_was_refused_is_no_reason_to_refuse_others() {
    let old = Vm::new(BOTH, 1, u64::MAX);
    let policy = "[min_release]\ncocoon = 2";
    let stand = Stand::with(vec![old, vm()], Options { policy, ..Options::default() }).await;
    let good = stand.fake.behave().vms[1].digest().to_string();
    for _ in 0..10 {
        assert_eq!(stand.chat().await.headers["cocoon-verified-keyset"], good);
    }
}

#[tokio::test]
async fn requests_are_spread_over_verified_backends_at_random() {
    let stand = Stand::with(vec![vm(), vm(), vm()], Options::default()).await;
    let mut used = HashSet::new();
    for _ in 0..60 {
        used.insert(stand.chat().await.headers["cocoon-verified-keyset"].clone());
    }
    assert_eq!(used.len(), 3);
}

#[tokio::test]
async fn when_only_one_backend_is_left_it_is_said() {
    let stand = Stand::with(vec![vm(), vm()], Options::default()).await;
    stand.chat().await;
    assert!(!stand.get("/verification", &[]).await.body.contains("only one verified backend"));
    let all = stand.fake.behave().listed.clone();
    stand.fake.behave().listed.truncate(1);
    stand.pass(60_000);
    stand.chat().await;
    assert!(stand.get("/verification", &[]).await.body.contains("only one verified backend"));
    stand.fake.behave().listed = all;
    stand.pass(60_000);
    stand.chat().await;
    assert!(!stand.get("/verification", &[]).await.body.contains("only one verified backend"));
}

#[tokio::test]
async fn stale_keys_are_verified_again_and_the_request_sealed_anew() {
    let stand = Stand::new().await;
    stand.chat().await;
    let problem = format!(r#"{{"type":"{KEY_CONFIG_PROBLEM}","title":"t"}}"#);
    stand.fake.next_plain(422, &[("content-type", "application/problem+json")], &problem);
    assert_eq!(stand.chat().await.status, 200);
    let behaviour = stand.fake.behave();
    assert_eq!((behaviour.lists, behaviour.documents, behaviour.seen.len()), (2, 2, 3));
    let (first, second) = (&behaviour.seen[1], &behaviour.seen[2]);
    assert_ne!(first.wire, second.wire);
    assert_ne!(first.headers["ehbp-encapsulated-key"], second.headers["ehbp-encapsulated-key"]);
}

/// A gateway lists a backend's old keyset until it has noticed that it restarted.
#[tokio::test]
async fn a_backend_that_restarted_is_waited_for() {
    let stand = Stand::with(vec![vm(), vm()], Options::default()).await;
    let (old, new) = {
        let behaviour = stand.fake.behave();
        (behaviour.listed[0], Arc::clone(&behaviour.vms[1]))
    };
    stand.fake.behave().listed = vec![old];
    assert_eq!(stand.chat().await.status, 200);
    let restarted = Arc::clone(&new);
    stand.fake.behave().evidence =
        Arc::new(move |root, _, nonce| root.document(&restarted.keyset.to_bytes(), nonce));
    stand.fake.next_plain(422, &[], &format!(r#"{{"type":"{KEY_CONFIG_PROBLEM}"}}"#));
    let noticing = async {
        // It has asked again after the 422, and was given the old one.
        while stand.fake.behave().lists < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stand.fake.behave().listed = vec![new.digest()];
    };
    let (got, ()) = tokio::join!(stand.chat(), noticing);
    assert_eq!(
        (got.status, &got.headers["cocoon-verified-keyset"]),
        (200, &new.digest().to_string().parse().unwrap())
    );
}

#[tokio::test]
async fn a_request_without_room_goes_to_another_backend_once() {
    let stand = Stand::with(vec![vm(), vm()], Options::default()).await;
    for _ in 0..10 {
        stand.fake.behave().seen.clear();
        stand.fake.next_plain(503, &[], "");
        assert_eq!(stand.chat().await.status, 200);
        let behaviour = stand.fake.behave();
        let [first, second] = [0, 1].map(|at| &behaviour.seen[at].headers["cocoon-key-digest"]);
        assert_ne!(first, second);
    }
}

#[tokio::test]
async fn nothing_is_sent_a_third_time() {
    let stand = Stand::new().await;
    let problem = format!(r#"{{"type":"{KEY_CONFIG_PROBLEM}"}}"#);
    let error = r#"{"error":{"message":"m","type":"server_error","param":null,"code":"overloaded"}}"#;
    for (status, body, code) in [(422, problem.as_str(), "backend_unavailable"), (503, error, "overloaded")] {
        stand.fake.behave().seen.clear();
        for _ in 0..3 {
            stand.fake.next_plain(status, &[], body);
        }
        let got = stand.chat().await;
        assert_eq!((got.status, got.code().as_str()), (503, code));
        let mut behaviour = stand.fake.behave();
        assert_eq!(behaviour.seen.len(), 2);
        behaviour.plain.clear();
    }
}

#[tokio::test]
async fn what_may_have_been_admitted_is_not_sent_again() {
    let stand = Stand::new().await;
    for status in [400, 401, 402, 404, 422, 429, 500, 502, 504] {
        stand.fake.behave().seen.clear();
        stand.fake.next_plain(status, &[], "");
        assert_eq!(stand.chat().await.status, status);
        assert_eq!(stand.fake.behave().seen.len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_nonce_stays_the_same_over_attempts() {
    let stand = Stand::new().await;
    let problem = format!(r#"{{"type":"{KEY_CONFIG_PROBLEM}"}}"#);
    stand.fake.next_plain(422, &[], &problem);
    let got = stand.chat().await;
    // The first attempt was not opened, so its nonce is seen in what the answer says.
    let sealed = stand.fake.behave().seen[1].opened.clone().unwrap().context.nonce;
    assert_eq!(got.headers["cocoon-client-nonce"], hex::encode(sealed.0));
}

#[tokio::test]
async fn what_was_verified_can_be_looked_at() {
    let old = Vm::new(&[Kem::X25519], 1, u64::MAX);
    let policy = "[min_release]\ncocoon = 2";
    let stand = Stand::with(vec![old, vm()], Options { policy, ..Options::default() }).await;
    assert!(stand.get("/verification", &[]).await.body.contains("Nothing is verified yet"));
    stand.chat().await;
    for headers in [&[][..], &[("accept", "*/*")], &[("accept", "text/html,*/*")]] {
        let got = stand.get("/verification", headers).await;
        assert!(got.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        for part in ["VERIFIED", "REFUSED", "DEVELOPMENT evidence", "oldest believed: 2", "X-Wing"] {
            assert!(got.body.contains(part), "{part}: {}", got.body);
        }
    }
    for (path, headers) in
        [("/verification?format=json", &[][..]), ("/verification", &[("accept", "application/json")])]
    {
        let json = stand.get(path, headers).await.json();
        let backends = json["models"][0]["backends"].as_array().unwrap().clone();
        let verdicts: HashSet<&str> =
            backends.iter().map(|backend| backend["verdict"].as_str().unwrap()).collect();
        assert_eq!(verdicts, HashSet::from(["verified", "refused"]));
        assert_eq!(json["policy"]["sha256"].as_str().unwrap().len(), 64);
    }
}

#[tokio::test]
async fn a_survey_is_good_only_where_every_listed_backend_is() {
    use cocoon_connect::report::Report;

    let old = Vm::new(BOTH, 1, u64::MAX);
    let policy = "[min_release]\ncocoon = 2";
    let stand = Stand::with(vec![vm(), old], Options { policy, ..Options::default() }).await;
    let fleet = &stand.sidecar.asker.fleet;
    let all = fleet.survey(None).await.unwrap();
    assert_eq!(all[0].backends.len(), 2);
    assert!(!Report::new(fleet, all).is_good());
    stand.fake.behave().listed.truncate(1);
    assert!(Report::new(fleet, fleet.survey(Some("m")).await.unwrap()).is_good());
    assert!(fleet.survey(Some("another")).await.is_err());
}
