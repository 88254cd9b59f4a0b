//! SEV-SNP evidence that AMD's hardware made: a report of a Milan chip with its certificate, which the source of the `sev`
//! crate has. It binds none of our keys, so that REPORT_DATA must fail, and nothing else may.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_attestation::{Check, Document, Nonce, Policy, Refusal, Section, Tee, Verdict};
use cocoon_synthetic_tee::keyset;
use cocoon_synthetic_tee::samples::of_crate;

/// 2026-11-24T12:00:00Z, when the certificates are in date: that of the chip is from 2023-04-03 to 2030-04-03.
const NOW: u64 = 1_795_521_600_000;
const NONCE: Nonce = Nonce([5; 32]);
/// 2023-04-03T19:23:43Z and 2030-04-03T19:23:43Z.
const BEGINS: u64 = 1_680_549_823_000;
const ENDS: u64 = 1_901_474_623_000;

const POLICY: &str = "[snp]
images = [{ name = 'milan', launch_digest = '7a1e5c266c0108dbc9bb94fa926951320940915d0aafb42464bd88b579ea158d3e1a0dc39b2c60bd95b9c480cd81841f' }]
min_tcb = { milan = { bootloader = 3, tee = 0, snp = 8, microcode = 115 } }
allow_smt = true
";

struct Sample {
    report: Vec<u8>,
    vcek: Vec<u8>,
}

fn sample() -> Sample {
    let read = |name: &str| of_crate("sev", &format!("tests/certs_data/{name}"));
    let report = String::from_utf8(read("report_milan.hex")).unwrap();
    Sample { report: hex::decode(report.trim()).unwrap(), vcek: read("vcek_milan.der") }
}

fn verify(report: &[u8], vcek: &[u8], policy: &str, now: u64) -> Result<Verdict, Refusal> {
    let collateral = serde_json::json!({ "vcek": STANDARD.encode(vcek) }).to_string();
    let document = Document {
        tee: Tee::SevSnp,
        keyset: Section(keyset().to_bytes()),
        devices: Section::default(),
        quote: Section(report.to_vec()),
        nonce_path: Section::default(),
        collateral: Section(collateral.into_bytes()),
        event_log: Section::default(),
        release_bundle: Section::default(),
    };
    Policy::from_toml(policy).unwrap().verify(&document, NONCE, now, false)
}

fn failed(report: &[u8], vcek: &[u8], policy: &str, now: u64) -> Vec<Check> {
    let refusal = verify(report, vcek, policy, now).unwrap_err();
    refusal.findings.failures().map(|finding| finding.check).collect()
}

#[test]
fn a_real_milan_report_passes_all_but_what_it_cannot_bind() {
    let Sample { report, vcek } = sample();
    assert_eq!(failed(&report, &vcek, POLICY, NOW), [Check::ReportData]);
    assert_eq!(failed(&report, &vcek, POLICY, BEGINS), [Check::ReportData]);
    assert_eq!(failed(&report, &vcek, POLICY, ENDS), [Check::ReportData]);
}

#[test]
fn a_real_milan_report_is_refused_where_something_else_is_asked() {
    let Sample { report, vcek } = sample();
    let with = |from: &str, to: &str| POLICY.replace(from, to);
    let zeros = "0".repeat(96);
    let cases = [
        ("image", with("7a1e", "7a1f"), NOW, Check::SnpLaunchDigest),
        ("bootloader", with("bootloader = 3", "bootloader = 4"), NOW, Check::SnpTcb),
        ("tee", with("tee = 0", "tee = 1"), NOW, Check::SnpTcb),
        ("snp", with("snp = 8", "snp = 9"), NOW, Check::SnpTcb),
        ("microcode", with("115", "116"), NOW, Check::SnpTcb),
        ("fmc", with("115 }", "115, fmc = 1 }"), NOW, Check::SnpTcb),
        ("product", with("milan = {", "genoa = {"), NOW, Check::SnpTcb),
        ("smt", with("allow_smt = true", ""), NOW, Check::SnpGuestPolicy),
        ("ID key", format!("{POLICY}id_key = '01{}'", &zeros[2..]), NOW, Check::SnpIdKey),
        ("author key", format!("{POLICY}author_key = '01{}'", &zeros[2..]), NOW, Check::SnpAuthorKey),
        ("host data", format!("{POLICY}host_data = '01{}'", &zeros[..62]), NOW, Check::SnpHostData),
        ("before", POLICY.to_owned(), BEGINS - 1, Check::Collateral),
        ("after", POLICY.to_owned(), ENDS + 1, Check::Collateral),
    ];
    for (what, policy, now, check) in cases {
        let mut failed = failed(&report, &vcek, &policy, now);
        failed.retain(|failed| *failed != Check::ReportData);
        assert_eq!(failed, [check], "{what}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_real_report_or_its_certificate_is_refused() {
    let Sample { report, vcek } = sample();
    for at in 0..report.len() {
        let mut changed = report.clone();
        changed[at] ^= 1 << (at % 8);
        assert_eq!(failed(&changed, &vcek, POLICY, NOW), [Check::Quote], "byte {at} of the report");
    }
    for at in 0..vcek.len() {
        let mut changed = vcek.clone();
        changed[at] ^= 1 << (at % 8);
        let failed = failed(&report, &changed, POLICY, NOW);
        assert!(
            matches!(failed[..], [Check::Quote | Check::Collateral]),
            "byte {at} of the VCEK: {failed:?}"
        );
    }
}

#[test]
fn a_real_certificate_of_another_product_is_refused() {
    let Sample { report, .. } = sample();
    let turin = of_crate("sev", "tests/certs_data/vcek_turin.der");
    let refusal = verify(&report, &turin, POLICY, NOW).unwrap_err();
    assert_eq!(refusal.check(), Check::Quote);
    // Its chain to AMD's root for Turin is good: only the chip is another.
    assert!(refusal.to_string().contains("of another chip"), "{refusal}");
}
