use axum::Router;
use axum::routing::get;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use serde_json::{Value, json};

use super::*;
use crate::config::tests::evidence;
use crate::evidence::samples::{milan_report, milan_vcek, serve, table as made};
use crate::evidence::tsm::Provider;

const VCEK_KIND: u128 = 0x63da758d_e664_4564_adc5_f4b93be8accd;
const VLEK_KIND: u128 = 0xa8074bc2_a25a_483e_aae6_39c045a0b8a1;
const ASK_KIND: u128 = 0x4ab7b379_bbac_4fe4_a02f_05aef327c782;
const CRL_KIND: u128 = 0x92f81bc3_5811_4d3d_97ff_d19f88dc67ea;
/// 2026-06-01, milliseconds since 1970.
const NOW: u64 = 1_780_272_000_000;

fn certificates(vcek: Option<&str>, crl: Option<&str>) -> Certificates {
    let place = |place: Option<&str>| place.map(str::to_owned);
    Certificates::new(&EvidenceConfig { vcek: place(vcek), crl: place(crl), ..evidence() }).unwrap()
}

fn report(entries: &[(u128, &[u8])]) -> Report {
    let auxiliary = if entries.is_empty() { Vec::new() } else { made(entries) };
    Report { provider: Provider::SevSnp, quote: milan_report(), auxiliary }
}

/// As a report that a VLEK signed says so.
fn by_vlek(mut report: Report) -> Report {
    report.quote[KEY_INFO] = 1 << 2;
    report
}

async fn section(certificates: &Certificates, report: &Report) -> Result<Value, CollateralError> {
    Ok(serde_json::from_slice(&certificates.section(report, NOW).await?).unwrap())
}

/// A revocation list whose next one comes on that day of 2026-06.
fn list(next: u8) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::CrlSign];
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 5, 1),
        next_update: if next == 0 { date_time_ymd(2026, 5, 31) } else { date_time_ymd(2026, 6, next) },
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).unwrap().der().to_vec()
}

#[tokio::test]
async fn the_hosts_table_is_enough() {
    let (vcek, crl) = (milan_vcek(), list(20));
    let report = report(&[(VCEK_KIND, &vcek), (ASK_KIND, b"not asked for"), (CRL_KIND, &crl)]);
    let section = section(&certificates(None, None), &report).await.unwrap();
    assert_eq!(section, json!({ "vcek": STANDARD.encode(&vcek), "crl": STANDARD.encode(&crl) }));
}

#[tokio::test]
async fn a_list_of_the_hosts_that_is_out_of_date_is_left_out() {
    let (vcek, crl) = (milan_vcek(), list(0));
    let report = report(&[(VCEK_KIND, &vcek), (CRL_KIND, &crl)]);
    let section = section(&certificates(None, None), &report).await.unwrap();
    assert_eq!(section, json!({ "vcek": STANDARD.encode(&vcek) }));
}

#[tokio::test]
async fn a_report_that_a_vlek_signed_gets_that_and_its_authority() {
    let der = milan_vcek();
    let entries = [(VLEK_KIND, &der[..]), (ASK_KIND, &der), (VCEK_KIND, &der)];
    let none = certificates(None, None);
    let found = section(&none, &by_vlek(report(&entries))).await.unwrap();
    assert_eq!(found, json!({ "vlek": STANDARD.encode(&der), "asvk": STANDARD.encode(&der) }));
    for missing in [&entries[..1], &entries[1..], &[]] {
        let error = section(&none, &by_vlek(report(missing))).await.unwrap_err();
        assert!(matches!(error, CollateralError::NoCertificate(_)), "{error}");
    }
}

#[tokio::test]
async fn what_is_configured_serves_where_the_host_hands_nothing_over() {
    let dir = tempfile::tempdir().unwrap();
    let (file, vcek, crl) = (dir.path().join("vcek.der"), milan_vcek(), list(20));
    std::fs::write(&file, &vcek).unwrap();
    let served = crl.clone();
    let (url, server) = serve(Router::new().route("/crl", get(async move || served.clone()))).await;
    let configured = certificates(file.to_str(), Some(&format!("{url}/crl")));
    let expected = json!({ "vcek": STANDARD.encode(&vcek), "crl": STANDARD.encode(&crl) });
    assert_eq!(section(&configured, &report(&[])).await.unwrap(), expected);
    drop(server);
    assert_eq!(section(&configured, &report(&[])).await.unwrap(), expected, "it is kept");
    // Of an empty table, too.
    let empty = Report { auxiliary: vec![0; 4096], ..report(&[]) };
    assert_eq!(section(&configured, &empty).await.unwrap(), expected);

    let without = section(&certificates(None, None), &report(&[])).await.unwrap_err();
    assert!(without.to_string().contains("evidence.vcek"), "{without}");
}

#[tokio::test]
async fn what_is_configured_and_wrong_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (vcek, wrong) = (place("vcek", &milan_vcek()), place("wrong", b"no certificate"));
    let old = place("old", &list(0));
    for (vcek, crl, problem) in [
        (&wrong, None, "evidence.vcek: a certificate"),
        (&vcek, Some(&wrong), "evidence.crl: a revocation list"),
        (&vcek, Some(&old), "evidence.crl) is out of date"),
        (&"/no/such/file".to_owned(), None, "/no/such/file"),
    ] {
        let certificates = certificates(Some(vcek), crl.map(String::as_str));
        let error = section(&certificates, &report(&[])).await.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[tokio::test]
async fn a_report_that_nobody_known_signed_is_refused() {
    let mut unsigned = report(&[]);
    unsigned.quote[KEY_INFO] = 7 << 2;
    let error = section(&certificates(None, None), &unsigned).await.unwrap_err();
    assert!(matches!(error, CollateralError::Platform(_)), "{error}");
}

#[test]
fn a_table_never_leads_out_of_itself() {
    let good = made(&[(VCEK_KIND, b"abc")]);
    assert_eq!(table(&good).unwrap(), [(&VCEK, &b"abc"[..])]);
    // Every cut, every flipped bit of the head: an entry within the bytes, or an error.
    for end in 1..good.len() {
        assert!(table(&good[..end]).is_err(), "cut at {end}");
    }
    for (offset, length) in [(u32::MAX, 1), (1, u32::MAX), (0, good.len() as u32 + 1)] {
        let mut bad = good.clone();
        bad[16..20].copy_from_slice(&offset.to_le_bytes());
        bad[20..24].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(table(&bad), Err(CollateralError::Table)), "{offset} {length}");
    }
    let endless = [VCEK.as_slice(), &[0; 8]].concat().repeat(10);
    assert!(matches!(table(&endless), Err(CollateralError::Table)));
}

#[test]
fn the_report_data_of_a_report_is_where_the_format_says() {
    let report = milan_report();
    assert_eq!(report_data(&report).unwrap(), report[0x50..0x90]);
    assert!(report_data(&report[1..]).is_none());
}
