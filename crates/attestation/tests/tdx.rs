//! Every field of `[tdx]`, and everything that is asked of a TD always: evidence that passes, and for each the smallest
//! change, which fails that check and no other. The evidence is synthetic: see the crate that makes it.

#![expect(clippy::unwrap_used, reason = "what a test needs is there, or the test fails")]

use std::sync::LazyLock;

use cocoon_attestation::{
    Check, Document, Nonce, Outcome, Policy, Refusal, Roots, Section, Tee, Verdict, tree,
};
use cocoon_receipts::Digest;
use cocoon_synthetic_tee::{Form, SyntheticTdx, TdxEvidence, keyset};

const NOW: u64 = 1_790_000_000_000;
const DAY: u64 = 24 * 3600 * 1000;
const NONCE: Nonce = Nonce([5; 32]);
const SEPT_VE_DISABLE: u64 = 1 << 28;

static INTEL: LazyLock<SyntheticTdx> = LazyLock::new(SyntheticTdx::new);
static KEYSET: LazyLock<Vec<u8>> = LazyLock::new(|| keyset().to_bytes());

type Change = fn(&mut TdxEvidence);

fn document(evidence: &TdxEvidence) -> Document {
    let root: Digest = tree::Tree::new(&[NONCE]).unwrap().root();
    INTEL.document_with(evidence, &KEYSET, b"", root, Vec::new())
}

fn changed(change: Change) -> Document {
    let mut evidence = INTEL.evidence(NOW);
    change(&mut evidence);
    document(&evidence)
}

#[expect(clippy::disallowed_methods, reason = "the evidence is of this test's own making")]
fn policy(text: &str, roots: Roots) -> Policy {
    Policy::from_toml(text).unwrap().with_roots(roots)
}

fn verify_at(text: &str, document: &Document, now: u64) -> Result<Verdict, Refusal> {
    policy(text, INTEL.roots()).verify(document, NONCE, now, false)
}

fn verify(text: &str, document: &Document) -> Result<Verdict, Refusal> {
    verify_at(text, document, NOW)
}

fn failed(result: &Result<Verdict, Refusal>) -> Vec<Check> {
    match result {
        Ok(_) => Vec::new(),
        Err(refusal) => refusal.findings.failures().map(|finding| finding.check).collect(),
    }
}

fn of(result: Result<Verdict, Refusal>, outcome: Outcome) -> Vec<Check> {
    let findings = match result {
        Ok(verdict) => verdict.findings,
        Err(refusal) => refusal.findings,
    };
    findings.as_slice().iter().filter(|found| found.outcome == outcome).map(|found| found.check).collect()
}

/// The policy's text with one thing in it for another, which must be there.
fn with(one: &str, other: &str) -> String {
    let text = INTEL.policy_toml();
    assert!(text.contains(one), "{one} is not in {text}");
    text.replace(one, other)
}

fn hex(byte: u8) -> String {
    hex::encode([byte; 48])
}

/// A policy whose image has register `number` of `value`.
fn with_register(number: usize, value: &str) -> String {
    let line = |text: &str| {
        let key = format!("rtmr{number} = ");
        text.lines().find(|line| line.starts_with(&key)).unwrap().to_owned()
    };
    with(&line(&INTEL.policy_toml()), &format!("rtmr{number} = {value}"))
}

#[test]
fn evidence_as_it_is_passes_in_either_form() {
    for form in [Form::V4, Form::V5] {
        let mut evidence = INTEL.evidence(NOW);
        evidence.form = form;
        let verdict = verify(&INTEL.policy_toml(), &document(&evidence)).unwrap();
        assert_eq!(verdict.tee, Tee::Tdx);
        let checks: Vec<&str> =
            verdict.findings.as_slice().iter().map(|finding| finding.check.as_str()).collect();
        let mut once = checks.clone();
        once.dedup();
        assert_eq!(checks, once, "each check is made once");
        assert_eq!(checks.iter().filter(|check| check.starts_with("tdx_")).count(), 15);
    }
}

/// For each field a policy, what passes it and what does not.
#[test]
fn each_field_refuses_what_it_should_and_nothing_else() {
    let plain = INTEL.policy_toml();
    let as_it_is: Change = |_| ();
    let section = |line: &str| with("[tdx]\n", &format!("[tdx]\n{line}\n"));
    let second = format!("{plain}\n[[tdx.images]]\nname = 'second'\nmr_td = '{}'\n", hex(0x7e))
        + &["0", "1", "2"].map(|at| format!("rtmr{at} = '{}'\n", hex(0xb0))).concat()
        + &format!("rtmr3 = '{}'\n", hex(0));
    let advisory: Change = |evidence| evidence.statements.advisories = vec!["INTEL-SA-00837".to_owned()];
    let out_of_date: Change = |evidence| evidence.statements.tcb_status = "OutOfDate".to_owned();
    let lenient = with("[\"UpToDate\"]", "[\"UpToDate\", \"OutOfDate\"]");
    let advised = section("advisories = ['INTEL-SA-00001', 'INTEL-SA-00837']");
    let advised_otherwise = section("advisories = ['INTEL-SA-00001']");
    let cases: Vec<(&str, &str, Change, &str, Change, Check)> = vec![
        ("mr_td", &plain, as_it_is, &plain, |evidence| evidence.td.mr_td[47] ^= 1, Check::TdxMrTd),
        ("rtmr0", &plain, as_it_is, &plain, |evidence| evidence.td.rtmr[0][0] ^= 1, Check::TdxRtmr0),
        ("rtmr1", &plain, as_it_is, &plain, |evidence| evidence.td.rtmr[1][0] ^= 1, Check::TdxRtmr1),
        ("rtmr2", &plain, as_it_is, &plain, |evidence| evidence.td.rtmr[2][0] ^= 1, Check::TdxRtmr2),
        ("rtmr3", &plain, as_it_is, &plain, |evidence| evidence.td.rtmr[3][0] ^= 1, Check::TdxRtmr3),
        (
            "images",
            &second,
            |evidence| {
                evidence.td.mr_td = [0x7e; 48];
                evidence.td.rtmr = [[0xb0; 48], [0xb0; 48], [0xb0; 48], [0; 48]];
            },
            &second,
            // Of the second in all but one: what is named is what that image lacks.
            |evidence| {
                evidence.td.mr_td = [0x7e; 48];
                evidence.td.rtmr = [[0xb0; 48], [0xa1; 48], [0xb0; 48], [0; 48]];
            },
            Check::TdxRtmr1,
        ),
        ("mr_seam", &plain, as_it_is, &plain, |evidence| evidence.td.mr_seam[0] ^= 1, Check::TdxMrSeam),
        (
            "xfam",
            &plain,
            |evidence| evidence.td.xfam[0] ^= 1,
            &plain,
            |evidence| evidence.td.xfam[0] |= 8,
            Check::TdxXfam,
        ),
        ("tcb_statuses", &lenient, out_of_date, &plain, out_of_date, Check::TdxTcbStatus),
        ("advisories", &advised, advisory, &advised_otherwise, advisory, Check::TdxAdvisories),
        (
            "min_tcb_evaluation_number",
            &plain,
            as_it_is,
            &plain,
            |evidence| evidence.statements.tcb_evaluation_number = 16,
            Check::TdxTcbEvaluation,
        ),
        (
            "max_collateral_age_days",
            &plain,
            |evidence| evidence.statements.issued = NOW - 30 * DAY,
            &plain,
            |evidence| evidence.statements.issued = NOW - 30 * DAY - 1000,
            Check::Collateral,
        ),
    ];
    for (field, good_policy, good, bad_policy, bad, check) in cases {
        assert_eq!(failed(&verify(good_policy, &changed(good))), [], "{field}");
        assert_eq!(failed(&verify(bad_policy, &changed(bad))), [check], "{field}");
    }
    let owned: [(&str, Change, Check); 3] = [
        ("mr_config_id", |evidence| evidence.td.mr_config_id = [7; 48], Check::TdxMrConfigId),
        ("mr_owner", |evidence| evidence.td.mr_owner = [7; 48], Check::TdxMrOwner),
        ("mr_owner_config", |evidence| evidence.td.mr_owner_config = [7; 48], Check::TdxMrOwnerConfig),
    ];
    for (field, change, check) in owned {
        let pinned = section(&format!("{field} = '{}'", hex(7)));
        assert_eq!(failed(&verify(&pinned, &changed(change))), [], "{field}");
        assert_eq!(failed(&verify(&pinned, &changed(as_it_is))), [check], "{field} is zeros");
        assert_eq!(failed(&verify(&plain, &changed(change))), [check], "{field} is not");
    }
}

#[test]
fn what_the_policy_does_not_ask_for_is_waived() {
    let text = INTEL.policy_toml();
    let less: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("mr_seam") && !line.starts_with("xfam")).collect();
    let any = changed(|evidence| {
        evidence.td.mr_seam = [9; 48];
        evidence.td.xfam = [0xff; 8];
    });
    let waived = of(verify(&less.join("\n"), &any), Outcome::Waived);
    assert!(waived.contains(&Check::TdxMrSeam) && waived.contains(&Check::TdxXfam), "{waived:?}");
}

#[test]
fn each_register_is_judged_by_events_too() {
    for (number, check) in
        [Check::TdxRtmr0, Check::TdxRtmr1, Check::TdxRtmr2, Check::TdxRtmr3].into_iter().enumerate()
    {
        let [one, two, three] = [1, 2, 3].map(hex);
        let text = with_register(number, &format!("{{ events = ['{one}', ['{two}', '{three}']] }}"));
        let measured = |digests: &[u8]| {
            let mut evidence = INTEL.evidence(NOW);
            evidence.td.rtmr[number] = [0; 48];
            evidence.events.retain(|event| usize::from(event.register) != number);
            for digest in digests {
                evidence.measure(u8::try_from(number).unwrap(), [*digest; 48], "event");
            }
            evidence
        };
        for digests in [[1, 2], [1, 3]] {
            assert_eq!(failed(&verify(&text, &document(&measured(&digests)))), [], "register {number}");
        }
        for digests in [&[1, 4][..], &[2, 1], &[1], &[1, 2, 3], &[]] {
            let refused = failed(&verify(&text, &document(&measured(digests))));
            assert_eq!(refused, [check], "register {number}: {digests:?}");
        }
        // The log says what is wanted, and something else was measured.
        let mut lie = measured(&[1, 2]);
        lie.td.rtmr[number][0] ^= 1;
        assert_eq!(failed(&verify(&text, &document(&lie))), [check], "register {number}");
        // What is wanted was measured, and the log does not say so.
        let mut silent = measured(&[1, 2]);
        silent.events.retain(|event| usize::from(event.register) != number);
        assert_eq!(failed(&verify(&text, &document(&silent))), [check], "register {number}");
    }
}

#[test]
fn a_td_that_its_host_could_look_into_is_refused() {
    for bit in 0..64_u32 {
        let check = match bit {
            0..8 => Some(Check::TdxDebug),
            // ICSSD, LASS, SEPT_VE_DISABLE, PKS and PERFMON.
            16 | 27 | 28 | 30 | 63 => None,
            _ => Some(Check::TdxAttributes),
        };
        for form in [Form::V4, Form::V5] {
            let mut evidence = INTEL.evidence(NOW);
            (evidence.form, evidence.td.attributes) = (form, SEPT_VE_DISABLE | 1 << bit);
            let refused = failed(&verify(&INTEL.policy_toml(), &document(&evidence)));
            assert_eq!(refused, Vec::from_iter(check), "bit {bit}, {form:?}");
        }
    }
    let off = changed(|evidence| evidence.td.attributes = 0);
    assert_eq!(failed(&verify(&INTEL.policy_toml(), &off)), [Check::TdxAttributes]);
    let service = changed(|evidence| {
        evidence.form = Form::V5;
        evidence.td.mr_service_td[0] = 1;
    });
    assert_eq!(failed(&verify(&INTEL.policy_toml(), &service)), [Check::TdxAttributes]);
}

#[test]
fn a_module_or_a_platform_that_its_vendor_does_not_vouch_for_is_refused() {
    let cases: [(&str, Change, Check); 7] = [
        ("signer of the module", |evidence| evidence.td.mr_signer_seam[0] = 1, Check::TdxMrSeam),
        ("attributes of the module", |evidence| evidence.td.seam_attributes[0] = 1, Check::TdxMrSeam),
        ("below every level", |evidence| evidence.statements.least_svn = 4, Check::TdxTcbStatus),
        (
            "revoked by level",
            |evidence| evidence.statements.tcb_status = "Revoked".into(),
            Check::TdxTcbStatus,
        ),
        ("revoked by certificate", |evidence| evidence.statements.revoked = true, Check::Quote),
        ("of another model", |evidence| evidence.statements.fmspc[0] ^= 1, Check::Collateral),
        ("an unknown status", |evidence| evidence.statements.tcb_status = "Fine".into(), Check::Collateral),
    ];
    for (what, change, check) in cases {
        assert_eq!(failed(&verify(&INTEL.policy_toml(), &changed(change))), [check], "{what}");
    }
}

/// That a report is proven when its platform is not good enough rests on the order of dcap-qvl's steps.
#[test]
fn a_quote_that_is_not_signed_proves_nothing_whatever_else_is_wrong() {
    for change in [
        (|evidence| evidence.statements.least_svn = 4) as Change,
        |evidence| evidence.statements.fmspc[0] ^= 1,
        |evidence| evidence.td.attributes = 1,
        |evidence| evidence.td.mr_signer_seam[0] = 1,
    ] {
        let mut document = changed(change);
        // The last byte of the report's measurements.
        document.quote.0[48 + 519] ^= 1;
        let result = verify(&INTEL.policy_toml(), &document);
        assert_eq!(failed(&result), [Check::Quote]);
        let unreached = of(result, Outcome::Unreached);
        assert!(
            unreached.contains(&Check::TdxMrTd) && unreached.contains(&Check::ReportData),
            "{unreached:?}"
        );
    }
}

#[test]
fn a_clock_that_is_early_or_late_does_not_hide_the_rest() {
    let text = INTEL.policy_toml();
    for now in [NOW - 2 * DAY, NOW + 30 * DAY] {
        let result = verify_at(&text, &changed(|_| ()), now);
        assert_eq!(failed(&result), [Check::Collateral]);
        assert_eq!(of(result, Outcome::Unreached), []);
        let debug = changed(|evidence| evidence.td.attributes |= 1);
        assert_eq!(failed(&verify_at(&text, &debug, now)), [Check::Collateral, Check::TdxDebug]);
    }
    let list = changed(|evidence| evidence.statements.crl_next_update = NOW - 1000);
    assert_eq!(failed(&verify(&text, &list)), [Check::Collateral]);
}

#[test]
fn a_verdict_ends_with_the_collateral() {
    for change in [(|evidence| evidence.statements.crl_next_update = NOW + 60_000) as Change, |evidence| {
        evidence.statements.next_update = NOW + 60_000
    }] {
        let verdict = verify(&INTEL.policy_toml(), &changed(change)).unwrap();
        assert_eq!(verdict.valid_until, NOW + 60_000);
    }
}

#[test]
fn a_document_that_was_put_together_from_others_is_refused() {
    let text = INTEL.policy_toml();
    let good = changed(|_| ());
    let with_root = |roots| failed(&policy(&text, roots).verify(&good, NONCE, NOW, false));
    assert_eq!(with_root(SyntheticTdx::new().roots()), [Check::Quote], "another root");
    assert_eq!(with_root(Roots::default()), [Check::Quote], "Intel's own root");

    let nonce = policy(&text, INTEL.roots()).verify(&good, Nonce([6; 32]), NOW, false);
    assert_eq!(failed(&nonce), [Check::ReportData], "another nonce");
    let keyset = Document { keyset: Section(keyset().to_bytes()), ..good.clone() };
    assert_eq!(failed(&verify(&text, &keyset)), [Check::ReportData], "another keyset");
    // The policy asks for no devices, which fails whatever they are.
    let devices = INTEL.document(&KEYSET, b"one", NONCE, NOW);
    assert_eq!(failed(&verify(&text, &devices)), [Check::GpuEvidence]);
    let swapped = Document { devices: Section(b"other".to_vec()), ..devices };
    assert_eq!(failed(&verify(&text, &swapped)), [Check::ReportData, Check::GpuEvidence]);

    let tee = Document { tee: Tee::SevSnp, ..good.clone() };
    assert_eq!(failed(&verify(&text, &tee)), [Check::Kind]);
    let bundle = Document { release_bundle: Section(b"{}".to_vec()), ..good.clone() };
    assert!(failed(&verify(&text, &bundle)).contains(&Check::Sections));
    let log = Document { event_log: Section(b"{}".to_vec()), ..good.clone() };
    assert!(failed(&verify(&text, &log)).contains(&Check::Sections));
    for collateral in [&b""[..], b"{}", b"[1]", &[0xff; 100]] {
        let bad = Document { collateral: Section(collateral.to_vec()), ..good.clone() };
        assert_eq!(failed(&verify(&text, &bad)), [Check::Collateral]);
    }
    for length in [0, 1, 47, 48, 700, good.quote.0.len() - 1] {
        let bad = Document { quote: Section(good.quote.0[..length].to_vec()), ..good.clone() };
        assert_eq!(failed(&verify(&text, &bad)), [Check::Quote], "{length} bytes");
    }
}
