//! Who signed the report, of which chip, at which TCB, and whether it still stands.

use cocoon_attestation::{Check, Outcome};
use cocoon_synthetic_tee::snp::{ASK_SERIAL, Crl, Forged, VEK_SERIAL};
use cocoon_synthetic_tee::{SyntheticSnp, keyset};

use super::{Change, NONCE, NOW, believing, detail, failed, verify, vlek};

const DAY: u64 = 86_400_000;

#[test]
fn a_report_that_is_not_authentic_is_refused_and_nothing_in_it_is_looked_at() {
    let cases: Vec<(&str, Change, &str)> = vec![
        ("report by a stranger", |e| e.forged = Some(Forged::Report), "not signed by the certificate's key"),
        ("VCEK by a stranger", |e| e.forged = Some(Forged::Key), "VCEK certificate is not signed"),
        ("another chip", |e| e.chip_id[0] ^= 1, "another chip"),
        ("another chip's certificate", |e| e.certificate.hardware_id[63] ^= 1, "another chip"),
        ("no chip's certificate", |e| e.certificate.hardware_id.clear(), "another chip"),
        ("hidden chip", |e| (e.chip_id, e.certificate.hardware_id) = ([0; 64], vec![0; 64]), "another chip"),
        ("bootloader", |e| e.certificate.tcb.bootloader += 1, "bootloader is 8, and the report's 7"),
        ("tee", |e| e.certificate.tcb.tee += 1, "tee is 2"),
        ("snp", |e| e.certificate.tcb.snp -= 1, "snp is 19"),
        ("microcode", |e| e.certificate.tcb.microcode = 200, "microcode is 200"),
        ("another product", |e| e.certificate.product_name = "Milan-B0".into(), "report is of a Genoa"),
        ("no product", |e| e.certificate.product_name = "Naples".into(), "no processor"),
        ("masked key", |e| e.key_info = 2, "does not sign"),
        ("signed by no key", |e| e.key_info = 7 << 2, "another kind of key"),
        ("signed by a VLEK", |e| e.key_info = 1 << 2, "another kind of key"),
        ("reserved key info", |e| e.key_info = 1 << 5, "another kind of key"),
        ("algorithm", |e| e.signature_algorithm = 2, "algorithm"),
        ("version", |e| e.version = 4, "version 4"),
        ("version", |e| e.version = 6, "version 6"),
        ("processor", |e| e.cpuid = (0x1a, 0x50), "processor is not known"),
        ("processor", |e| e.cpuid = (0x19, 0x7f), "not a SEV-SNP report"),
    ];
    for (what, change, says) in cases {
        let bad = SyntheticSnp::new().with(change);
        let verified = verify(&bad, &SyntheticSnp::new().policy_toml());
        assert_eq!(failed(&verified), [Check::Quote], "{what}");
        let text = detail(&verified, Check::Quote);
        assert!(text.contains(says), "{what}: {text}");
        for check in [Check::SnpDebug, Check::SnpLaunchDigest, Check::SnpTcb, Check::ReportData] {
            let refusal = verified.as_ref().unwrap_err();
            let mut found = refusal.findings.as_slice().iter().filter(|finding| finding.check == check);
            assert_eq!(
                found.next().map(|finding| finding.outcome),
                Some(Outcome::Unreached),
                "{what}: {check}"
            );
        }
    }
}

#[test]
fn a_report_of_turin_is_bound_to_a_shorter_id_and_to_one_number_more() {
    let cases: Vec<Change> = vec![
        |evidence| evidence.certificate.hardware_id[7] ^= 1,
        |evidence| evidence.certificate.hardware_id.push(0),
        |evidence| evidence.chip_id[8] = 1,
        |evidence| evidence.certificate.tcb.fmc += 1,
    ];
    for (at, change) in cases.into_iter().enumerate() {
        let bad = SyntheticSnp::turin().with(change);
        assert_eq!(failed(&verify(&bad, &bad.policy_toml())), [Check::Quote], "{at}");
    }
}

/// Where its numbers lie is told by the chip's id, and must be told by the certificate.
#[test]
fn a_report_of_version_2_is_read_as_its_certificate_says() {
    let version_2 = SyntheticSnp::new().with(|evidence| evidence.version = 2);
    assert_eq!(failed(&verify(&version_2, &version_2.policy_toml())), []);
    let as_turin = version_2.with(|evidence| {
        evidence.chip_id[8..].fill(0);
        evidence.certificate.hardware_id = evidence.chip_id.to_vec();
    });
    let verified = verify(&as_turin, &as_turin.policy_toml());
    assert_eq!(failed(&verified), [Check::Quote]);
    assert!(detail(&verified, Check::Quote).contains("no processor that is known"));
}

#[test]
fn a_providers_key_needs_amds_authority_for_such_keys() {
    let cases: Vec<(Change, &str)> = vec![
        (|evidence| evidence.forged = Some(Forged::Authority), "ASVK certificate is not signed"),
        (|evidence| evidence.forged = Some(Forged::Key), "VLEK certificate is not signed"),
        (|evidence| evidence.certificate.authority = false, "ASVK certificate may not sign"),
        (|evidence| evidence.certificate.provider = None, "names no provider"),
        (|evidence| evidence.key_info = 0, "another kind of key"),
        (|evidence| evidence.certificate.tcb.snp += 1, "snp is 21"),
    ];
    for (change, says) in cases {
        let verified = verify(&vlek().with(change), &vlek().policy_toml());
        assert_eq!(failed(&verified), [Check::Quote], "{says}");
        assert!(detail(&verified, Check::Quote).contains(says), "{says}");
    }
}

#[test]
fn the_chain_must_be_in_date_and_not_revoked() {
    let list = |serials: &[u8], days| Some(Crl { serials: serials.to_vec(), critical: false, days });
    let cases = [
        ("certificate ended", (-30, -1), None, Some("VCEK certificate is valid from")),
        ("certificate to begin", (1, 30), None, Some("VCEK certificate is valid from")),
        ("empty list", (-30, 300), list(&[], (-1, 1)), None),
        ("others revoked", (-30, 300), list(&[9, 10], (-1, 1)), None),
        ("ASK revoked", (-30, 300), list(&[9, ASK_SERIAL], (-1, 1)), Some("ASK certificate is revoked")),
        ("VCEK revoked", (-30, 300), list(&[VEK_SERIAL], (-1, 1)), Some("VCEK certificate is revoked")),
        ("list ended", (-30, 300), list(&[], (-3, -1)), Some("revocation list is valid from")),
        ("list to begin", (-30, 300), list(&[], (1, 2)), Some("revocation list is valid from")),
    ];
    for (what, days, crl, says) in cases {
        let mut snp = SyntheticSnp::new();
        (snp.evidence.certificate.days, snp.evidence.crl) = (days, crl);
        let verified = verify(&snp, &snp.policy_toml());
        let expected: &[Check] = if says.is_some() { &[Check::Collateral] } else { &[] };
        assert_eq!(failed(&verified), expected, "{what}");
        let text = detail(&verified, Check::Collateral);
        assert!(text.contains(says.unwrap_or("nothing is revoked")), "{what}: {text}");
    }
    let mut unknown = SyntheticSnp::new();
    unknown.evidence.crl = Some(Crl { serials: vec![], critical: true, days: (-1, 1) });
    let verified = verify(&unknown, &unknown.policy_toml());
    assert_eq!(failed(&verified), [Check::Collateral]);
    assert!(detail(&verified, Check::Collateral).contains("extension that is not known"));

    let mut forged = SyntheticSnp::new();
    (forged.evidence.crl, forged.evidence.forged) = (list(&[], (-1, 1)), Some(Forged::Crl));
    let verified = verify(&forged, &forged.policy_toml());
    assert_eq!(failed(&verified), [Check::Collateral]);
    assert!(detail(&verified, Check::Collateral).contains("not of the root"));
}

#[test]
fn a_verdict_ends_with_the_first_of_what_amd_says() {
    let mut keyset = keyset();
    keyset.not_after = NOW + 1000 * DAY;
    let until = |change: Change| {
        let snp = SyntheticSnp::new().with(change);
        let policy = believing(&snp.policy_toml(), snp.roots());
        // Evidence of this moment, looked at a quarter of an hour before its end.
        let late = NOW + DAY - 900_000;
        let document = snp.document(&keyset.to_bytes(), &[], NONCE, NOW);
        policy.verify(&document, NONCE, late, false).unwrap().valid_until
    };
    assert_eq!(until(|_| ()), NOW + DAY - 900_000 + 3_600_000, "the longest that a verdict is used");
    assert_eq!(until(|evidence| evidence.certificate.days = (-1, 1)), NOW + DAY);
    assert_eq!(
        until(|evidence| evidence.crl = Some(Crl { serials: vec![], critical: false, days: (-1, 1) })),
        NOW + DAY
    );
}
