//! Evidence of GPUs of our own making, right in all but one thing at a time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authenticity;

use std::collections::BTreeSet;

use cocoon_attestation::tree::Tree;
use cocoon_attestation::{Check, Finding, Nonce, Outcome, Policy, Refusal, Verdict};
use cocoon_receipts::Digest;
use cocoon_synthetic_tee::nvidia::Answer;
use cocoon_synthetic_tee::{SyntheticNvidia, SyntheticSnp, keyset};
use serde_json::{Value, json};

/// 2026-11-24T12:00:00Z.
const NOW: u64 = 1_795_521_600_000;
const NONCE: Nonce = Nonce([5; 32]);
const COUNT: usize = 2;

type Verified = Result<Verdict, Refusal>;

fn root() -> Digest {
    Tree::new(&[NONCE]).unwrap().root()
}

#[expect(clippy::disallowed_methods, reason = "this evidence is signed by no vendor")]
fn verify_at(devices: &[u8], gpu_policy: &str, now: u64) -> Verified {
    let (snp, nvidia) = (SyntheticSnp::new(), SyntheticNvidia::new());
    let mut roots = snp.roots();
    nvidia.roots_into(&mut roots);
    let policy = Policy::from_toml(&format!("{}{gpu_policy}", snp.policy_toml())).unwrap().with_roots(roots);
    let document = snp.document(&keyset().to_bytes(), devices, NONCE, NOW);
    policy.verify(&document, NONCE, now, false)
}

fn verify(devices: &[u8], gpu_policy: &str) -> Verified {
    verify_at(devices, gpu_policy, NOW)
}

fn policy() -> String {
    SyntheticNvidia::new().policy_toml(COUNT)
}

fn answer() -> Answer {
    SyntheticNvidia::new().answer(root(), COUNT, NOW)
}

fn signed(answer: &Answer) -> Value {
    SyntheticNvidia::new().sign(answer)
}

fn bytes(devices: &Value) -> Vec<u8> {
    devices.to_string().into_bytes()
}

fn findings(verified: &Verified) -> &[Finding] {
    match verified {
        Ok(verdict) => verdict.findings.as_slice(),
        Err(refusal) => refusal.findings.as_slice(),
    }
}

fn failed(verified: &Verified) -> Vec<Check> {
    let failed = findings(verified).iter().filter(|finding| finding.outcome == Outcome::Failed);
    failed.map(|finding| finding.check).collect()
}

fn detail(verified: &Verified, check: Check) -> String {
    let found: Vec<_> = findings(verified).iter().filter(|finding| finding.check == check).collect();
    assert_eq!(found.len(), 1, "{check} is found once: {found:?}");
    found[0].detail.clone()
}

#[test]
fn good_evidence_is_believed_and_every_check_is_named() {
    let verified = verify(&bytes(&signed(&answer())), &policy());
    assert_eq!(failed(&verified), []);
    for check in [
        Check::GpuEvidence,
        Check::GpuNonce,
        Check::GpuCount,
        Check::GpuModel,
        Check::GpuDriver,
        Check::GpuSecureBoot,
        Check::GpuDebug,
        Check::GpuMeasurements,
    ] {
        let found = findings(&verified).iter().filter(|finding| finding.check == check);
        assert_eq!(found.map(|finding| finding.outcome).collect::<Vec<_>>(), [Outcome::Passed], "{check}");
    }
}

#[test]
fn nvidia_did_not_sign_this() {
    let snp = SyntheticSnp::new();
    let text = format!("{}{}", snp.policy_toml(), policy());
    #[expect(
        clippy::disallowed_methods,
        reason = "the quote is signed by no vendor; the GPUs' keys are NVIDIA's"
    )]
    let policy = Policy::from_toml(&text).unwrap().with_roots(snp.roots());
    let devices = bytes(&signed(&answer()));
    let document = snp.document(&keyset().to_bytes(), &devices, NONCE, NOW);
    let verified = policy.verify(&document, NONCE, NOW, false);
    assert_eq!(failed(&verified), [Check::GpuEvidence]);
    assert!(detail(&verified, Check::GpuEvidence).contains("pinned"));
}

#[test]
fn devices_and_policy_go_together() {
    let devices = bytes(&signed(&answer()));
    assert_eq!(failed(&verify(&[], "")), []);
    assert_eq!(failed(&verify(&devices, "")), [Check::GpuEvidence]);
    let none = verify(&[], &policy());
    assert_eq!(failed(&none), [Check::GpuEvidence]);
    let unreached = findings(&none).iter().filter(|finding| finding.outcome == Outcome::Unreached).count();
    assert_eq!(unreached, 7, "all that is looked at in evidence");
}

#[test]
fn each_field_of_the_policy_refuses_what_it_should_and_nothing_else() {
    let devices = bytes(&signed(&answer()));
    let (old, last) = (NOW + 600_001, NOW + 600_000);
    let cases = [
        ("count", "count = 2", "count = 1", NOW, NOW, Check::GpuCount),
        ("count", "count = 2", "count = 3", NOW, NOW, Check::GpuCount),
        ("models", "['GH100']", "['GB100']", NOW, NOW, Check::GpuModel),
        ("drivers", "['595.71.05']", "['595.71.06', '595.71']", NOW, NOW, Check::GpuDriver),
        ("max_age_s", "= 600", "= 600", last, old, Check::GpuEvidence),
        ("max_age_s", "= 600", "= 0", NOW, NOW + 1, Check::GpuEvidence),
    ];
    for (field, from, to, good_now, bad_now, check) in cases {
        assert_eq!(failed(&verify_at(&devices, &policy(), good_now)), [], "{field}");
        let changed = policy().replace(from, to);
        assert_eq!(failed(&verify_at(&devices, &changed, bad_now)), [check], "{field} {to}");
    }
    let written: toml::Table = toml::from_str(&policy()).unwrap();
    let fields: BTreeSet<&str> = written["gpu"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(cases.iter().map(|(field, ..)| *field).collect::<BTreeSet<_>>(), fields);
    let any_driver = policy().replace("drivers = ['595.71.05']\n", "");
    let verified = verify(&devices, &any_driver);
    let driver = findings(&verified).iter().find(|finding| finding.check == Check::GpuDriver).unwrap();
    assert!(verified.is_ok() && driver.outcome == Outcome::Waived);
}

#[test]
fn one_bad_claim_of_one_gpu_is_enough_and_is_named() {
    let zeros = "0".repeat(64);
    let nonce_match = "x-nvidia-gpu-attestation-report-nonce-match";
    let cases = [
        ("secboot", json!(false), Check::GpuSecureBoot),
        ("secboot", json!("true"), Check::GpuSecureBoot),
        ("dbgstat", json!("enabled"), Check::GpuDebug),
        ("dbgstat", json!(null), Check::GpuDebug),
        ("measres", json!("fail"), Check::GpuMeasurements),
        ("measres", json!(true), Check::GpuMeasurements),
        (nonce_match, json!(false), Check::GpuMeasurements),
        (nonce_match, json!("true"), Check::GpuMeasurements),
        ("x-nvidia-gpu-vbios-index-no-conflict", json!(false), Check::GpuMeasurements),
        ("x-nvidia-gpu-driver-rim-fetched", json!(null), Check::GpuMeasurements),
        ("x-nvidia-gpu-something-new-verified", json!(1), Check::GpuMeasurements),
        ("hwmodel", json!("GB100"), Check::GpuModel),
        ("hwmodel", json!(["GH100"]), Check::GpuModel),
        ("x-nvidia-gpu-driver-version", json!("595.71.04"), Check::GpuDriver),
        ("ueid", json!(null), Check::GpuCount),
        ("eat_nonce", json!(zeros), Check::GpuNonce),
        ("eat_nonce", json!(root().to_string().to_uppercase()), Check::GpuNonce),
    ];
    for (claim, value, check) in cases {
        let mut answer = answer();
        answer.gpus[1].1[claim] = value.clone();
        assert_eq!(failed(&verify(&bytes(&signed(&answer)), &policy())), [check], "{claim} {value}");
    }
    for missing in ["secboot", "dbgstat", "measres", "hwmodel", nonce_match] {
        let mut answer = answer();
        answer.gpus[1].1.as_object_mut().unwrap().remove(missing).unwrap();
        assert_eq!(failed(&verify(&bytes(&signed(&answer)), &policy())).len(), 1, "{missing}");
    }
    let mut answer = answer();
    answer.gpus[1].1["secboot"] = false.into();
    let verified = verify(&bytes(&signed(&answer)), &policy());
    assert_eq!(detail(&verified, Check::GpuSecureBoot), "GPU-1: secure boot is not on");
}

#[test]
fn nvidias_result_over_all_must_be_good_and_for_the_same_nonce() {
    for value in [json!(false), json!("true"), json!(null)] {
        let mut answer = answer();
        answer.overall["x-nvidia-overall-att-result"] = value;
        assert_eq!(failed(&verify(&bytes(&signed(&answer)), &policy())), [Check::GpuMeasurements]);
    }
    let mut answer = answer();
    answer.overall["eat_nonce"] = "0".repeat(64).into();
    assert_eq!(failed(&verify(&bytes(&signed(&answer)), &policy())), [Check::GpuNonce]);
}

#[test]
fn one_gpu_twice_is_not_two() {
    let mut twice = answer();
    twice.gpus[1].1["ueid"] = twice.gpus[0].1["ueid"].clone();
    let verified = verify(&bytes(&signed(&twice)), &policy());
    assert_eq!(failed(&verified), [Check::GpuCount]);
    assert_eq!(detail(&verified, Check::GpuCount), "2 tokens are of 1 GPUs");
}

#[test]
fn devices_of_another_form_are_refused() {
    let good = signed(&answer());
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 9] = [
        ("a member more", |devices| devices["extra"] = json!(1)),
        ("no keys", |devices| drop(devices.as_object_mut().unwrap().remove("jwks"))),
        ("no tokens", |devices| drop(devices.as_object_mut().unwrap().remove("nras"))),
        ("another label", |devices| devices["nras"][0][0] = "JWS".into()),
        ("another answer", |devices| devices["nras"][1]["LOCAL_GPU_CLAIMS"] = json!([])),
        ("a part more", |devices| devices["nras"].as_array_mut().unwrap().push(json!({}))),
        ("a number", |devices| devices["nras"][1]["REMOTE_GPU_CLAIMS"][1]["GPU-0"] = json!(1)),
        ("many GPUs", |devices| {
            for at in 0..65 {
                devices["nras"][1]["REMOTE_GPU_CLAIMS"][1][format!("GPU-{at}")] = "x".into();
            }
        }),
        ("many keys", |devices| devices["jwks"]["keys"] = vec![json!({"kid": "", "kty": ""}); 1025].into()),
    ];
    for (what, change) in cases {
        let mut devices = good.clone();
        change(&mut devices);
        assert_eq!(failed(&verify(&bytes(&devices), &policy())), [Check::GpuEvidence], "{what}");
    }
    let long = [bytes(&good), vec![b' '; 768 << 10]].concat();
    for bad in [b"{".to_vec(), b"[]".to_vec(), vec![0xff; 9], long] {
        assert_eq!(failed(&verify(&bad, &policy())), [Check::GpuEvidence]);
    }
}
