//! Real quotes, signed by Intel, at the times when their collateral was in date. None of them binds keys of ours: each passes
//! every check but `report_data`, which is the most that can be shown without the hardware.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what a test needs is there, or the test fails")]

use std::path::Path;

use cocoon_attestation::{
    Check, Document, Findings, Nonce, Outcome, Policy, Refusal, Section, Tee, Verdict, report_data, tree,
};
use cocoon_synthetic_tee::keyset;
use cocoon_synthetic_tee::samples::{self, Sample, sample};

/// Seconds since 1970 at which a sample's collateral was in date.
const TDX_QUOTE_AT: u64 = 1_751_000_000;
const TD15EX_AT: u64 = 1_791_504_000;
const OUTDATED_AT: u64 = 1_771_500_000;
const H200_AT: u64 = 1_791_600_000;
const SGX_AT: u64 = 1_750_400_000;
const DAY: u64 = 24 * 3600;
const NONCE: Nonce = Nonce([5; 32]);
/// Where the report stands in a quote of version 4, and of version 5, whose body says its type and length first.
const REPORT_V4: usize = 48;
const REPORT_V5: usize = 54;

fn document(sample: &Sample) -> Document {
    let keyset = keyset();
    Document {
        tee: Tee::Tdx,
        keyset: Section(keyset.to_bytes()),
        devices: Section::default(),
        quote: Section(sample.quote.clone()),
        nonce_path: Section::default(),
        collateral: Section(sample.collateral.clone()),
        event_log: Section::default(),
        release_bundle: Section::default(),
    }
}

/// A policy of exactly what the report at `from` measures.
fn policy_of(quote: &[u8], from: usize) -> String {
    let field = |at: usize, length: usize| hex::encode(&quote[from + at..from + at + length]);
    format!(
        "[tdx]\nmr_seam = ['{}']\nxfam = '{}'\nmr_config_id = '{}'\nmr_owner = '{}'\nmr_owner_config = '{}'\n\
         [[tdx.images]]\nname = 'sample'\nmr_td = '{}'\nrtmr0 = '{}'\nrtmr1 = '{}'\nrtmr2 = '{}'\nrtmr3 = '{}'\n",
        field(16, 48),
        field(128, 8),
        field(184, 48),
        field(232, 48),
        field(280, 48),
        field(136, 48),
        field(328, 48),
        field(376, 48),
        field(424, 48),
        field(472, 48),
    )
}

fn verify(policy: &str, document: &Document, seconds: u64) -> Result<Verdict, Refusal> {
    Policy::from_toml(policy).unwrap().verify(document, NONCE, seconds * 1000, false)
}

fn findings(policy: &str, document: &Document, seconds: u64) -> Findings {
    match verify(policy, document, seconds) {
        Ok(_) => panic!("no real quote binds our keys"),
        Err(refusal) => refusal.findings,
    }
}

/// What failed, but for the report data.
fn failed(findings: &Findings) -> Vec<Check> {
    findings.failures().map(|finding| finding.check).filter(|check| *check != Check::ReportData).collect()
}

fn unreached(findings: &Findings) -> Vec<Check> {
    let of = |outcome| findings.as_slice().iter().filter(move |finding| finding.outcome == outcome);
    of(Outcome::Unreached).map(|finding| finding.check).collect()
}

fn detail(findings: &Findings, check: Check) -> &str {
    let mut of = findings.as_slice().iter().filter(|finding| finding.check == check);
    let found = of.next().unwrap_or_else(|| panic!("{check} is not there: {findings:?}"));
    assert!(of.next().is_none(), "{check} is there twice: {findings:?}");
    &found.detail
}

#[test]
fn all_is_good_but_the_keys() {
    for (name, at, from) in
        [("tdx_quote", TDX_QUOTE_AT, REPORT_V4), ("tdx_quote_td15ex", TD15EX_AT, REPORT_V5)]
    {
        let sample = sample(name);
        let findings = findings(&policy_of(&sample.quote, from), &document(&sample), at);
        let failures: Vec<Check> = findings.failures().map(|finding| finding.check).collect();
        assert_eq!(failures, [Check::ReportData], "{name}: {findings:#?}");
        assert_eq!(unreached(&findings), [], "{name}");
        let of_the_hardware =
            |finding: &&cocoon_attestation::Finding| finding.check.as_str().starts_with("tdx_");
        assert_eq!(findings.as_slice().iter().filter(of_the_hardware).count(), 15, "{name}: {findings:#?}");
        assert_eq!(detail(&findings, Check::TdxTcbStatus), "UpToDate");
    }
}

#[test]
fn a_clock_that_is_early_or_late_fails_the_collateral_and_nothing_else() {
    for (name, at, from) in
        [("tdx_quote", TDX_QUOTE_AT, REPORT_V4), ("tdx_quote_td15ex", TD15EX_AT, REPORT_V5)]
    {
        let sample = sample(name);
        let policy = policy_of(&sample.quote, from);
        // Years later the root's revocation list has ended too, and it is looked at first.
        for (seconds, why) in [
            (at - 60 * DAY, "not issued yet"),
            (at + 60 * DAY, "has expired"),
            (at + 3000 * DAY, "a revocation list has expired"),
        ] {
            let findings = findings(&policy, &document(&sample), seconds);
            assert_eq!(failed(&findings), [Check::Collateral], "{name} at {seconds}: {findings:#?}");
            assert_eq!(unreached(&findings), [], "{name} at {seconds}");
            let detail = detail(&findings, Check::Collateral);
            assert!(detail.contains(why), "{name} at {seconds}: {detail}");
        }
    }
}

#[test]
fn a_platform_below_every_level_is_refused_for_that() {
    let sample = sample("tdx_quote_outdated");
    let findings = findings(&policy_of(&sample.quote, REPORT_V5), &document(&sample), OUTDATED_AT);
    assert_eq!(failed(&findings), [Check::TdxTcbStatus], "{findings:#?}");
    assert_eq!(unreached(&findings), [Check::TdxAdvisories, Check::TdxTcbEvaluation]);
    let why = detail(&findings, Check::TdxTcbStatus);
    assert_eq!(why, "below every TCB level that the vendor knows");
}

#[test]
fn a_quote_of_an_enclave_is_none_of_a_vm() {
    let sample = sample("sgx_quote");
    let policy = policy_of(&sample.quote, REPORT_V4);
    for seconds in [0, TDX_QUOTE_AT, TD15EX_AT] {
        let findings = findings(&policy, &document(&sample), seconds);
        assert_eq!(failed(&findings), [Check::Kind], "{findings:#?}");
        assert!(detail(&findings, Check::Kind).contains("'sgx'"));
    }
    // It is a good one, on a platform that no policy for VMs would be asked about.
    let collateral: dcap_qvl::QuoteCollateralV3 = serde_json::from_slice(&sample.collateral).unwrap();
    let report = dcap_qvl::verify::rustcrypto::verify(&sample.quote, &collateral, SGX_AT).unwrap();
    assert_eq!(report.status, "ConfigurationAndSWHardeningNeeded");
    assert_eq!(report.advisory_ids, ["INTEL-SA-00289", "INTEL-SA-00615"]);
}

/// The beginning of the last certificate of a chain, which is the root's: the verifier has its own and does not read it.
fn last_certificate(text: &[u8]) -> usize {
    let begin = b"-----BEGIN CERTIFICATE-----";
    text.windows(begin.len()).rposition(|window| window == begin).unwrap()
}

/// Changes each of 200 bytes of `original` spread over what is `read`, one at a time: what fails is one of `allowed`.
fn each_changed_byte_is_refused(
    original: &[u8],
    read: impl Fn(usize) -> bool,
    allowed: &[Check],
    judge: impl Fn(Vec<u8>) -> Findings,
) {
    let bytes: Vec<usize> = (0..original.len()).filter(|at| read(*at)).collect();
    for number in 0..200 {
        let at = bytes[number * bytes.len() / 200];
        let mut changed = original.to_vec();
        changed[at] ^= 1;
        let findings = judge(changed);
        let failed = failed(&findings);
        let allowed = failed.iter().all(|check| allowed.contains(check));
        assert!(!failed.is_empty() && allowed, "byte {at}: {findings:#?}");
    }
}

#[test]
fn a_quote_with_one_changed_byte_is_refused_for_the_quote() {
    for (name, at, from) in
        [("tdx_quote", TDX_QUOTE_AT, REPORT_V4), ("tdx_quote_td15ex", TD15EX_AT, REPORT_V5)]
    {
        let mut sample = sample(name);
        let policy = policy_of(&sample.quote, from);
        // Where the collateral brings a chain of certificates, the quote's own is not read.
        let mut collateral: serde_json::Value = serde_json::from_slice(&sample.collateral).unwrap();
        collateral.as_object_mut().unwrap().remove("pck_certificate_chain");
        sample.collateral = serde_json::to_vec(&collateral).unwrap();
        // Nor is white space between a certificate's lines.
        let (quote, end) = (sample.quote.clone(), last_certificate(&sample.quote));
        let chain = quote.windows(5).position(|window| window == b"-----").unwrap();
        let judge = |quote| findings(&policy, &document(&Sample { quote, ..sample.clone() }), at);
        each_changed_byte_is_refused(&quote, |at| at < chain, &[Check::Quote], judge);
        // A certificate's dates are looked at before its signature.
        let read = |at: usize| (chain..end).contains(&at) && quote[at] != b'\n';
        each_changed_byte_is_refused(&quote, read, &[Check::Quote, Check::Collateral], judge);
    }
}

#[test]
fn collateral_with_one_changed_byte_is_refused_for_the_collateral_or_the_chain() {
    for (name, at, from) in
        [("tdx_quote", TDX_QUOTE_AT, REPORT_V4), ("tdx_quote_td15ex", TD15EX_AT, REPORT_V5)]
    {
        let sample = sample(name);
        let policy = policy_of(&sample.quote, from);
        let text = std::str::from_utf8(&sample.collateral).unwrap();
        let member = |name: &str| {
            let from = text.find(&format!("\"{name}\"")).unwrap();
            let value = from + name.len() + 2 + text[from + name.len() + 2..].find('"').unwrap() + 1;
            value..value + text[value..].find('"').unwrap()
        };
        // The revocation list is verified with the chain of the platform's certificate, and needs none of its own.
        let mut unread = vec![member("pck_crl_issuer_chain")];
        let chains = ["tcb_info_issuer_chain", "qe_identity_issuer_chain"];
        let own = text.contains("pck_certificate_chain").then_some("pck_certificate_chain");
        for chain in chains.into_iter().chain(own) {
            let value = member(chain);
            unread.push(value.start + last_certificate(text[value.clone()].as_bytes())..value.end);
        }
        let allowed = [Check::Collateral, Check::Quote];
        let read = |at| !unread.iter().any(|range| range.contains(&at));
        each_changed_byte_is_refused(&sample.collateral, read, &allowed, |collateral| {
            findings(&policy, &document(&Sample { collateral, ..sample.clone() }), at)
        });
    }
}

fn h200() -> (Sample, Vec<u8>) {
    let package = std::env::var_os("COCOON_TEST_VOLTAGE_VERIFY")
        .expect("COCOON_TEST_VOLTAGE_VERIFY is not set: run `cargo xtask test`");
    samples::h200(Path::new(&package))
}

#[test]
fn the_quote_of_a_vm_with_a_gpu_is_good_but_for_the_keys() {
    let (sample, put_in) = h200();
    let policy = policy_of(&sample.quote, REPORT_V4);
    let findings = findings(&policy, &document(&sample), H200_AT);
    let failures: Vec<Check> = findings.failures().map(|finding| finding.check).collect();
    assert_eq!(failures, [Check::ReportData], "{findings:#?}");
    assert_eq!(unreached(&findings), []);
    // It covers what its owner put in, and nothing of ours.
    let covered = &sample.quote[REPORT_V4 + 520..REPORT_V4 + 584];
    assert_eq!(covered, put_in);
    let ours = report_data(tree::Tree::new(&[NONCE]).unwrap().root(), &keyset().to_bytes(), b"");
    assert_ne!(covered, ours);
    // The same with one byte of that changed is a quote of nobody.
    let mut quote = sample.quote.clone();
    quote[REPORT_V4 + 520] ^= 1;
    let findings = self::findings(&policy, &document(&Sample { quote, ..sample }), H200_AT);
    assert_eq!(failed(&findings), [Check::Quote], "{findings:#?}");
}
