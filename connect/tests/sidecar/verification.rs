//! What people and programs are shown of a verification: every text as checked in (`connect/tests/goldens/`), every JSON
//! by its schema. After a wanted change run with `COCOON_UPDATE_GOLDENS=1`, and read the difference.

use std::path::{Path, PathBuf};

use cocoon_attestation::{Check, Outcome};
use cocoon_connect::report::Report;
use serde_json::Value;

use crate::stand::{BOTH, HOUR, Options, Stand};
use crate::vm::Vm;

const DAY: u64 = 24 * HOUR;
const SCHEMA: &str = include_str!("../../../docs/schema/verification.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// Every violation.
fn violations(report: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    validator.iter_errors(report).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// What the sidecar says after it has looked at every backend: as `verify` prints it, and as its page shows it.
async fn report(stand: &Stand) -> (String, Value) {
    let fleet = &stand.sidecar.asker.fleet;
    let report = Report::new(fleet, fleet.survey(None).await.unwrap());
    assert_eq!(stand.get("/verification", &[]).await.body, report.text());
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(stand.get("/verification?format=json", &[]).await.json(), json);
    assert_eq!(violations(&json), Vec::<String>::new(), "{json:#}");
    (report.text(), json)
}

/// Without what is another at every run: digests, keys, the gateway's port.
fn steady(text: &str) -> String {
    let is_of =
        |word: &str, length: usize, fits: fn(char) -> bool| word.len() == length && word.chars().all(fits);
    let hex = |char: char| char.is_ascii_hexdigit();
    let key = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
    let steady_word = |word: &str| {
        let bare = word.trim_end_matches([',', ';']);
        let rest = &word[bare.len()..];
        match bare {
            _ if is_of(bare, 64, hex) => format!("<digest>{rest}"),
            _ if is_of(bare, 43, key) => format!("<key>{rest}"),
            _ if bare.starts_with("http://127.0.0.1:") => "<gateway>".to_owned(),
            _ => word.to_owned(),
        }
    };
    text.split('\n')
        .map(|line| line.split(' ').map(steady_word).collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join("\n")
}

fn golden(name: &str, text: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name);
    let text = steady(text);
    if std::env::var_os("COCOON_UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
    // A person reads it without scrolling.
    assert!(text.lines().count() <= 24 && text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

/// The one backend's checks that ended so.
fn with(json: &Value, outcome: &str) -> Vec<String> {
    let checks = json["models"][0]["backends"][0]["checks"].as_array().unwrap();
    let ended = checks.iter().filter(|check| check["outcome"] == outcome);
    ended.map(|check| check["check"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_backend_on_development_evidence_is_shown_as_one() {
    let stand = Stand::with(vec![Vm::new(BOTH, 7, crate::stand::START + DAY)], Options::default()).await;
    let (text, json) = report(&stand).await;
    golden("verification_dev.txt", &text);
    assert_eq!(json["models"][0]["backends"][0]["verdict"], "verified");
    assert_eq!(with(&json, "failed"), [""; 0]);
    assert!(with(&json, "passed").contains(&"report_data".to_owned()));
}

#[tokio::test]
async fn a_backend_whose_keyset_has_ended_is_shown_as_refused() {
    let stand = Stand::with(vec![Vm::new(BOTH, 7, crate::stand::START + HOUR / 2)], Options::default()).await;
    report(&stand).await;
    stand.pass(HOUR);
    let (text, json) = report(&stand).await;
    golden("verification_expired_keyset.txt", &text);
    assert_eq!(with(&json, "failed"), ["keyset_validity"]);
}

#[tokio::test]
async fn under_a_policy_that_has_ended_every_backend_is_shown_as_refused() {
    // An hour after the clock's start.
    let policy =
        "name = \"production\"\nversion = 3\nnot_after = 2027-01-15T09:00:00Z\n[min_release]\ncocoon = 5";
    let options = Options { policy, ..Options::default() };
    let stand = Stand::with(vec![Vm::new(BOTH, 7, u64::MAX)], options).await;
    let (_, json) = report(&stand).await;
    let backend = &json["models"][0]["backends"][0];
    assert_eq!((&backend["verdict"], &backend["floor"]), (&"verified".into(), &5.into()));
    assert_eq!(json["policy"]["min_release"], serde_json::json!({ "cocoon": 5 }));
    stand.pass(2 * HOUR);
    let (text, json) = report(&stand).await;
    golden("verification_expired_policy.txt", &text);
    assert_eq!(with(&json, "failed"), ["policy"]);
}

#[tokio::test]
async fn a_backend_that_was_rolled_back_is_shown_as_refused() {
    let (new, old) = (Vm::new(BOTH, 9, u64::MAX), Vm::new(BOTH, 8, u64::MAX));
    let stand = Stand::with(vec![new, old], Options::default()).await;
    let digests = stand.fake.behave().listed.clone();
    stand.fake.behave().listed = vec![digests[0]];
    report(&stand).await;
    stand.pass(7 * DAY + 1);
    stand.fake.behave().listed = vec![digests[1]];
    let (text, json) = report(&stand).await;
    golden("verification_rolled_back.txt", &text);
    assert_eq!(with(&json, "failed"), ["release"]);
    let checks = json["models"][0]["backends"][0]["checks"].as_array().unwrap();
    assert_eq!(
        checks.iter().filter(|check| check["check"] == "release").count(),
        1,
        "one word on the release"
    );
}

#[tokio::test]
async fn what_is_not_of_the_policys_kind_is_shown_with_what_was_not_reached() {
    let stand = Stand::new().await;
    stand.fake.behave().evidence = std::sync::Arc::new(|root, vm, nonce| {
        let document = root.document(&vm.keyset.to_bytes(), nonce);
        cocoon_attestation::Document { tee: cocoon_attestation::Tee::Tdx, ..document }
    });
    let (text, json) = report(&stand).await;
    golden("verification_other_kind.txt", &text);
    assert_eq!(with(&json, "failed"), ["kind"]);
    assert_eq!(with(&json, "unreached"), ["quote", "report_data"]);
}

#[tokio::test]
async fn a_document_that_cannot_be_had_is_shown_without_checks() {
    let stand = Stand::new().await;
    stand.fake.behave().vms.clear();
    let (text, json) = report(&stand).await;
    assert!(text.contains("its attestation document cannot be had"), "{text}");
    assert_eq!(json["models"][0]["backends"][0]["checks"], serde_json::json!([]));
}

#[test]
fn the_schema_knows_every_check_and_outcome_and_no_other() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    let names: Vec<&str> = Check::ALL.iter().map(|check| check.as_str()).collect();
    assert_eq!(schema["$defs"]["check"]["enum"], serde_json::json!(names));
    let outcomes = [Outcome::Passed, Outcome::Failed, Outcome::Waived, Outcome::Unreached];
    assert_eq!(schema["$defs"]["outcome"]["enum"], serde_json::to_value(outcomes).unwrap());
}

/// Guards against a schema that lets everything pass.
#[tokio::test]
async fn the_schema_finds_what_is_wrong() {
    let old = Vm::new(BOTH, 1, u64::MAX);
    let options = Options { policy: "[min_release]\ncocoon = 2", ..Options::default() };
    let stand = Stand::with(vec![Vm::new(BOTH, 7, u64::MAX), old], options).await;
    let (_, right) = report(&stand).await;
    let backends = right["models"][0]["backends"].as_array().unwrap();
    let place = |verdict: &str| backends.iter().position(|backend| backend["verdict"] == verdict).unwrap();
    let verified = format!("/models/0/backends/{}", place("verified"));
    let refused = format!("/models/0/backends/{}", place("refused"));
    for (at, wrong) in [
        ("/at".to_owned(), Value::from("now")),
        ("/policy".into(), "0".repeat(64).into()),
        ("/policy/sha256".into(), "x".into()),
        ("/policy/signer".into(), "x".into()),
        (format!("{verified}/verdict"), "good".into()),
        (format!("{verified}/verdict"), "refused".into()),
        (format!("{verified}/tee"), "sgx".into()),
        (format!("{verified}/kem"), 7.into()),
        (format!("{verified}/checks"), Value::Array(Vec::new())),
        (format!("{verified}/checks/0/outcome"), "failed".into()),
        (format!("{verified}/checks/0/check"), "astrology".into()),
        (format!("{refused}/checks/0/outcome"), "perhaps".into()),
        (format!("{refused}/verdict"), "verified".into()),
        (format!("{refused}/reason"), Value::Null),
    ] {
        let mut report = right.clone();
        *report.pointer_mut(&at).unwrap() = wrong.clone();
        assert!(!violations(&report).is_empty(), "{at}: {wrong}");
    }
    let mut more = right.clone();
    more["models"][0]["backends"][0]["more"] = 1.into();
    assert!(!violations(&more).is_empty(), "a member that is not known");
}
