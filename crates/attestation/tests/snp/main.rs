//! SEV-SNP evidence of our own making, right in all but one thing at a time.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod authenticity;

use std::collections::BTreeSet;

use cocoon_attestation::{Check, Document, Nonce, Outcome, Policy, Refusal, Roots, Section, Tee, Verdict};
use cocoon_synthetic_tee::snp::{Evidence, Tcb};
use cocoon_synthetic_tee::{SyntheticSnp, keyset};

/// 2026-11-24T12:00:00Z.
const NOW: u64 = 1_795_521_600_000;
const NONCE: Nonce = Nonce([5; 32]);

type Verified = Result<Verdict, Refusal>;

#[expect(clippy::disallowed_methods, reason = "this evidence is signed by no vendor")]
fn believing(policy: &str, roots: Roots) -> Policy {
    Policy::from_toml(policy).unwrap().with_roots(roots)
}

fn document(snp: &SyntheticSnp) -> Document {
    snp.document(&keyset().to_bytes(), &[], NONCE, NOW)
}

fn verify(snp: &SyntheticSnp, policy: &str) -> Verified {
    believing(policy, snp.roots()).verify(&document(snp), NONCE, NOW, false)
}

fn failed(verified: &Verified) -> Vec<Check> {
    verified
        .as_ref()
        .err()
        .into_iter()
        .flat_map(|refusal| refusal.findings.failures())
        .map(|f| f.check)
        .collect()
}

fn detail(verified: &Verified, check: Check) -> String {
    let findings = match verified {
        Ok(verdict) => &verdict.findings,
        Err(refusal) => &refusal.findings,
    };
    let found: Vec<_> = findings.as_slice().iter().filter(|finding| finding.check == check).collect();
    assert_eq!(found.len(), 1, "{check} is found once: {found:?}");
    found[0].detail.clone()
}

#[test]
fn good_evidence_is_believed_and_every_check_is_named() {
    for snp in [SyntheticSnp::new(), SyntheticSnp::turin(), vlek()] {
        let verdict = verify(&snp, &snp.policy_toml()).unwrap();
        assert_eq!(verdict.tee, Tee::SevSnp);
        for check in [
            Check::Kind,
            Check::Sections,
            Check::Quote,
            Check::Collateral,
            Check::ReportData,
            Check::SnpDebug,
            Check::SnpGuestPolicy,
            Check::SnpVmpl,
            Check::SnpLaunchDigest,
            Check::SnpIdKey,
            Check::SnpAuthorKey,
            Check::SnpHostData,
            Check::SnpTcb,
        ] {
            let findings = verdict.findings.as_slice().iter().filter(|finding| finding.check == check);
            let outcomes: Vec<Outcome> = findings.map(|finding| finding.outcome).collect();
            assert_eq!(outcomes, [Outcome::Passed], "{check}");
        }
        assert!(detail(&Ok(verdict), Check::SnpLaunchDigest).starts_with("synthetic: "));
    }
}

fn vlek() -> SyntheticSnp {
    SyntheticSnp::new().with(|evidence| {
        (evidence.vlek, evidence.key_info) = (true, 1 << 2);
        // Hosts whose keys AMD gave to a provider often hide the chip.
        evidence.chip_id = [0; 64];
    })
}

#[test]
fn no_vendor_signed_this() {
    let snp = SyntheticSnp::new();
    let verified = Policy::from_toml(&snp.policy_toml()).unwrap().verify(&document(&snp), NONCE, NOW, false);
    assert_eq!(failed(&verified), [Check::Quote]);
}

type Change = fn(&mut Evidence);

/// Changes `reported` TCB and the certificate with it.
fn at(evidence: &mut Evidence, change: fn(&mut Tcb)) {
    change(&mut evidence.reported);
    evidence.certificate.tcb = evidence.reported;
}

#[test]
fn each_field_of_the_policy_refuses_what_it_should_and_nothing_else() {
    let cases: Vec<(&str, Change, Check)> = vec![
        ("images", |evidence| evidence.measurement[47] ^= 1, Check::SnpLaunchDigest),
        ("min_tcb", |evidence| at(evidence, |tcb| tcb.bootloader -= 1), Check::SnpTcb),
        ("min_tcb", |evidence| at(evidence, |tcb| tcb.tee -= 1), Check::SnpTcb),
        ("min_tcb", |evidence| at(evidence, |tcb| tcb.snp -= 1), Check::SnpTcb),
        ("min_tcb", |evidence| at(evidence, |tcb| tcb.microcode -= 1), Check::SnpTcb),
        ("min_tcb", |evidence| at(evidence, |tcb| tcb.fmc -= 1), Check::SnpTcb),
        ("min_tcb", |evidence| evidence.committed.bootloader -= 1, Check::SnpTcb),
        ("min_tcb", |evidence| evidence.committed.tee -= 1, Check::SnpTcb),
        ("min_tcb", |evidence| evidence.committed.snp -= 1, Check::SnpTcb),
        ("min_tcb", |evidence| evidence.committed.microcode -= 1, Check::SnpTcb),
        ("min_tcb", |evidence| evidence.committed.fmc -= 1, Check::SnpTcb),
        ("id_key", |evidence| evidence.id_key[0] = 1, Check::SnpIdKey),
        ("author_key", |evidence| (evidence.author_key[0], evidence.key_info) = (1, 1), Check::SnpAuthorKey),
        ("host_data", |evidence| evidence.host_data[31] = 1, Check::SnpHostData),
        ("allow_smt", |evidence| evidence.guest_policy |= 1 << 16, Check::SnpGuestPolicy),
    ];
    let good = SyntheticSnp::turin();
    let policy = good.policy_toml();
    for (field, change, check) in &cases {
        assert_eq!(failed(&verify(&good, &policy)), []);
        let bad = good.clone().with(change);
        assert_eq!(failed(&verify(&bad, &policy)), [*check], "{field}");
        // A policy that wants just that believes it, so it was the field and nothing beside it.
        assert_eq!(failed(&verify(&bad, &bad.policy_toml())), [], "{field}");
    }
    let written: toml::Table = toml::from_str(&policy).unwrap();
    let fields: BTreeSet<&str> = written["snp"].as_table().unwrap().keys().map(String::as_str).collect();
    assert_eq!(cases.iter().map(|(field, ..)| *field).collect::<BTreeSet<_>>(), fields);
}

#[test]
fn a_product_without_a_lowest_tcb_is_refused() {
    let snp = SyntheticSnp::new();
    let policy = snp.policy_toml().replace("genoa", "milan");
    assert_eq!(failed(&verify(&snp, &policy)), [Check::SnpTcb]);
}

#[test]
fn what_is_asked_of_every_vm_is_asked_under_every_policy() {
    let cases: Vec<(&str, Change, Check)> = vec![
        ("debug", |evidence| evidence.guest_policy |= 1 << 19, Check::SnpDebug),
        ("migration", |evidence| evidence.guest_policy |= 1 << 18, Check::SnpGuestPolicy),
        ("reserved one", |evidence| evidence.guest_policy &= !(1 << 17), Check::SnpGuestPolicy),
        ("reserved zero", |evidence| evidence.guest_policy |= 1 << 26, Check::SnpGuestPolicy),
        ("reserved zero", |evidence| evidence.guest_policy |= 1 << 63, Check::SnpGuestPolicy),
        ("vmpl", |evidence| evidence.vmpl = 1, Check::SnpVmpl),
        ("author key without flag", |evidence| evidence.author_key[0] = 1, Check::SnpAuthorKey),
        ("flag without author key", |evidence| evidence.key_info = 1, Check::SnpAuthorKey),
    ];
    for (what, change, check) in cases {
        let bad = SyntheticSnp::new().with(change);
        assert_eq!(failed(&verify(&bad, &bad.policy_toml())), [check], "{what}");
    }
}

#[test]
fn sections_that_such_evidence_does_not_have_must_be_empty() {
    let snp = SyntheticSnp::new();
    let policy = believing(&snp.policy_toml(), snp.roots());
    let good = document(&snp);
    for changed in [
        Document { event_log: Section(vec![1]), ..good.clone() },
        Document { release_bundle: Section(vec![1]), ..good.clone() },
    ] {
        assert_eq!(failed(&policy.verify(&changed, NONCE, NOW, false)), [Check::Sections]);
    }
}

#[test]
fn collateral_of_another_form_is_refused() {
    let snp = SyntheticSnp::new();
    let policy = believing(&snp.policy_toml(), snp.roots());
    let good = document(&snp);
    let text = String::from_utf8(good.collateral.0.clone()).unwrap();
    let long = format!("{text}{}", " ".repeat(256 << 10));
    for bad in [
        "",
        "{}",
        "[]",
        r#"{"vcek":""}"#,
        r#"{"vcek":"%"}"#,
        r#"{"vcek":"MAA="}"#,
        r#"{"vlek":"MAA="}"#,
        &text.replacen('{', r#"{"ark":"MAA=","#, 1),
        &text.replacen('{', r#"{"asvk":"MAA=","#, 1),
        &text.replacen('{', r#"{"crl":"MAA=","#, 1),
        &long,
    ] {
        let changed = Document { collateral: Section(bad.as_bytes().to_vec()), ..good.clone() };
        assert_eq!(failed(&policy.verify(&changed, NONCE, NOW, false)), [Check::Collateral], "{bad:.60}");
    }
}

#[test]
fn a_quote_of_another_length_is_of_another_kind() {
    let snp = SyntheticSnp::new();
    let policy = believing(&snp.policy_toml(), snp.roots());
    let good = document(&snp);
    for quote in [vec![], good.quote.0[1..].to_vec(), [good.quote.0.as_slice(), &[0]].concat()] {
        let changed = Document { quote: Section(quote), ..good.clone() };
        assert_eq!(failed(&policy.verify(&changed, NONCE, NOW, false)), [Check::Kind]);
    }
}

#[test]
fn keyset_devices_and_nonce_are_bound() {
    let snp = SyntheticSnp::new();
    let policy = believing(&snp.policy_toml(), snp.roots());
    let good = document(&snp);
    assert_eq!(failed(&policy.verify(&good, Nonce([6; 32]), NOW, false)), [Check::ReportData]);
    let mut other = keyset();
    other.release.sequence += 1;
    let swapped = Document { keyset: Section(other.to_bytes()), ..good.clone() };
    assert_eq!(failed(&policy.verify(&swapped, NONCE, NOW, false)), [Check::ReportData]);
    let more = Document { devices: Section(vec![1]), ..good };
    assert_eq!(failed(&policy.verify(&more, NONCE, NOW, false)), [Check::ReportData, Check::GpuEvidence]);
}
