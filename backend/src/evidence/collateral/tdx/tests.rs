use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use cocoon_synthetic_tee::samples::of_crate;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;

use super::*;
use crate::evidence::samples::serve;

/// When Intel's answers for the sample are in date, seconds since 1970; and when the first of them no longer is.
const IN_DATE: u64 = 1_751_000_000;
const OUT_OF_DATE: u64 = 1_753_000_000;

fn quote() -> Vec<u8> {
    of_crate("dcap-qvl", "sample/tdx_quote")
}

fn sample() -> QuoteCollateralV3 {
    serde_json::from_slice(&of_crate("dcap-qvl", "sample/tdx_quote_collateral.json")).unwrap()
}

/// A caching service that has the sample; a test may have it say something else.
struct Player {
    sample: QuoteCollateralV3,
    asked: AtomicUsize,
    down: AtomicBool,
    /// Bodies in place of the right ones, by the end of the path; an empty header where there is none.
    bodies: Mutex<HashMap<&'static str, Vec<u8>>>,
    headerless: AtomicBool,
}

impl Player {
    async fn start() -> (Arc<Self>, Pccs, JoinSet<()>) {
        let player = Arc::new(Self {
            sample: sample(),
            asked: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            bodies: Mutex::default(),
            headerless: AtomicBool::new(false),
        });
        let routes = Router::new()
            .route("/sgx/certification/v4/pckcrl", get(pck_crl))
            .route("/sgx/certification/v4/rootcacrl", get(root_crl))
            .route("/tdx/certification/v4/tcb", get(tcb))
            .route("/tdx/certification/v4/qe/identity", get(identity))
            .with_state(Arc::clone(&player));
        let (url, tasks) = serve(routes).await;
        // As Intel's tools are configured.
        let pccs = Pccs::new(&format!("{url}/sgx/certification/v4/")).unwrap();
        (player, pccs, tasks)
    }

    fn answer(&self, path: &'static str, header: &'static str, chain: &str, body: Vec<u8>) -> Response {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.down.load(Ordering::Relaxed) {
            return StatusCode::BAD_GATEWAY.into_response();
        }
        let body = self.bodies.lock().unwrap().get(path).cloned().unwrap_or(body);
        if self.headerless.load(Ordering::Relaxed) {
            return body.into_response();
        }
        ([(header, utf8_percent_encode(chain, NON_ALPHANUMERIC).to_string())], body).into_response()
    }
}

type Asked = Query<HashMap<String, String>>;

async fn pck_crl(State(player): State<Arc<Player>>, Query(asked): Asked) -> Response {
    assert_eq!((asked["ca"].as_str(), asked["encoding"].as_str()), ("platform", "der"));
    let QuoteCollateralV3 { pck_crl, pck_crl_issuer_chain, .. } = &player.sample;
    player.answer("pckcrl", "SGX-PCK-CRL-Issuer-Chain", pck_crl_issuer_chain, pck_crl.clone())
}

/// In hexadecimal, as Intel's own caching service gives it.
async fn root_crl(State(player): State<Arc<Player>>) -> Response {
    player.answer("rootcacrl", "x", "", hex::encode(&player.sample.root_ca_crl).into_bytes())
}

async fn tcb(State(player): State<Arc<Player>>, Query(asked): Asked) -> Response {
    assert_eq!(asked["fmspc"], "B0C06F000000");
    let QuoteCollateralV3 { tcb_info, tcb_info_signature, tcb_info_issuer_chain, .. } = &player.sample;
    let body = format!(r#"{{"tcbInfo":{tcb_info},"signature":"{}"}}"#, hex::encode(tcb_info_signature));
    player.answer("tcb", "TCB-Info-Issuer-Chain", tcb_info_issuer_chain, body.into_bytes())
}

async fn identity(State(player): State<Arc<Player>>) -> Response {
    let QuoteCollateralV3 { qe_identity, qe_identity_signature, qe_identity_issuer_chain, .. } =
        &player.sample;
    let signature = hex::encode(qe_identity_signature);
    let body = format!(r#"{{"enclaveIdentity":{qe_identity},"signature":"{signature}"}}"#);
    player.answer(
        "identity",
        "SGX-Enclave-Identity-Issuer-Chain",
        qe_identity_issuer_chain,
        body.into_bytes(),
    )
}

#[tokio::test]
async fn what_is_gathered_verifies_the_quote_it_is_for() {
    let (_player, pccs, _tasks) = Player::start().await;
    let section = pccs.section(&quote(), IN_DATE * 1000).await.unwrap();
    let collateral: QuoteCollateralV3 = serde_json::from_slice(&section).unwrap();
    dcap_qvl::verify::rustcrypto::verify(&quote(), &collateral, IN_DATE).unwrap();
    let expected = QuoteCollateralV3 { pck_certificate_chain: None, ..sample() };
    assert_eq!(QuoteCollateralV3 { pck_certificate_chain: None, ..collateral.clone() }, expected);
    assert!(collateral.pck_certificate_chain.unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[tokio::test]
async fn what_was_gathered_serves_while_it_is_in_date_whether_or_not_the_service_does() {
    let (player, pccs, _tasks) = Player::start().await;
    let first = pccs.section(&quote(), IN_DATE * 1000).await.unwrap();
    let asked = player.asked.load(Ordering::Relaxed);
    player.down.store(true, Ordering::Relaxed);
    assert_eq!(pccs.section(&quote(), (IN_DATE + 1) * 1000).await.unwrap(), first);
    assert_eq!(player.asked.load(Ordering::Relaxed), asked, "it is not even asked");
    assert!(matches!(pccs.refresh((IN_DATE + 2) * 1000).await, Err(CollateralError::Fetch(_))));
    assert_eq!(pccs.section(&quote(), (IN_DATE + 3) * 1000).await.unwrap(), first, "a failure loses nothing");

    let late = pccs.section(&quote(), OUT_OF_DATE * 1000).await;
    assert!(matches!(late, Err(CollateralError::Fetch(_))), "{late:?}");
    player.down.store(false, Ordering::Relaxed);
    let late = pccs.section(&quote(), OUT_OF_DATE * 1000).await;
    assert!(matches!(late, Err(CollateralError::OutOfDate(_))), "the service has nothing newer: {late:?}");
}

#[tokio::test]
async fn a_refresh_brings_what_is_new() {
    let (player, pccs, _tasks) = Player::start().await;
    pccs.refresh(IN_DATE * 1000).await.unwrap();
    assert_eq!(
        player.asked.load(Ordering::Relaxed),
        0,
        "before the first quote nobody knows of which platform"
    );
    pccs.section(&quote(), IN_DATE * 1000).await.unwrap();
    let newer = player.sample.tcb_info.replace("\"version\":3", "\"version\":4");
    let body = format!(r#"{{"tcbInfo":{newer},"signature":"00"}}"#).into_bytes();
    player.bodies.lock().unwrap().insert("tcb", body);
    pccs.refresh(IN_DATE * 1000).await.unwrap();
    let section = pccs.section(&quote(), IN_DATE * 1000).await.unwrap();
    let collateral: QuoteCollateralV3 = serde_json::from_slice(&section).unwrap();
    assert_eq!(collateral.tcb_info, newer, "byte by byte as it came");
}

#[tokio::test]
async fn answers_that_are_not_as_documented_are_refused() {
    let (player, pccs, _tasks) = Player::start().await;
    let refused = async |path, body: &[u8]| {
        *player.bodies.lock().unwrap() = HashMap::from([(path, body.to_vec())]);
        pccs.section(&quote(), IN_DATE * 1000).await.unwrap_err()
    };
    let large = vec![b'0'; LIMITS.size + 1];
    for (path, body) in [
        ("pckcrl", &b"-----BEGIN X509 CRL-----"[..]),
        ("pckcrl", b""),
        ("rootcacrl", b"3003"),
        ("tcb", b"{}"),
        ("tcb", br#"{"tcbInfo":{},"signature":"00"}"#),
        ("tcb", br#"{"tcbInfo":{"nextUpdate":"soon"},"signature":"00"}"#),
        ("tcb", br#"{"tcbInfo":{"nextUpdate":"2030-01-01T00:00:00Z"},"signature":"x"}"#),
        ("identity", b"<html>"),
    ] {
        let error = refused(path, body).await;
        assert!(matches!(error, CollateralError::Malformed { .. }), "{path}: {error}");
    }
    let error = refused("tcb", &large).await;
    assert!(matches!(error, CollateralError::Fetch(FetchError::TooLarge { .. })), "{error}");
    player.bodies.lock().unwrap().clear();
    player.headerless.store(true, Ordering::Relaxed);
    let error = pccs.section(&quote(), IN_DATE * 1000).await.unwrap_err();
    assert!(error.to_string().contains("issuer chain"), "{error}");
}

#[tokio::test]
async fn a_quote_that_does_not_name_its_platform_gets_none() {
    let (player, pccs, _tasks) = Player::start().await;
    let sgx = of_crate("dcap-qvl", "sample/sgx_quote");
    assert!(report_data(&sgx).is_none());
    let mut cut = quote();
    cut.truncate(1000);
    for quote in [&b""[..], &cut] {
        let error = pccs.section(quote, IN_DATE * 1000).await.unwrap_err();
        assert!(matches!(error, CollateralError::Platform(_)), "{error}");
    }
    assert_eq!(player.asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let pccs = Pccs::new("http://127.0.0.1:9").unwrap();
    let error = pccs.section(&quote(), IN_DATE * 1000).await.unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:9/"), "{error}");
}

#[test]
fn the_report_data_of_a_quote_is_where_the_format_says() {
    let quote = quote();
    // Header of 48 bytes; report data are the last 64 of the body's 584.
    assert_eq!(report_data(&quote).unwrap(), quote[48 + 520..48 + 584]);
}
