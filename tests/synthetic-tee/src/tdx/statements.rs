//! TCB info, QE identity and revocation lists (Intel PCS API version 4), in the form that dcap-qvl gives them.

use serde_json::{Value, json};

use super::authority::Authority;
use super::evidence::Statements;
use super::quote::{QE_ATTRIBUTES, QE_PRODUCT, QE_SIGNER};

/// The `collateral` section of a document.
pub(super) fn collateral(authority: &Authority, statements: &Statements) -> Vec<u8> {
    let (tcb_info, qe_identity) = (tcb_info(statements).to_string(), qe_identity(statements).to_string());
    let sign = |text: &str| hex::encode(authority.statements().sign(text.as_bytes()));
    json!({
        "pck_crl_issuer_chain": authority.platform_ca_chain(),
        "root_ca_crl": hex::encode(authority.root_crl(statements)),
        "pck_crl": hex::encode(authority.pck_crl(statements)),
        "tcb_info_issuer_chain": authority.statements_chain(),
        "tcb_info_signature": sign(&tcb_info),
        "tcb_info": tcb_info,
        "qe_identity_issuer_chain": authority.statements_chain(),
        "qe_identity_signature": sign(&qe_identity),
        "qe_identity": qe_identity,
    })
    .to_string()
    .into_bytes()
}

fn tcb_info(statements: &Statements) -> Value {
    let components = vec![json!({ "svn": statements.least_svn }); 16];
    // Of the TDX components, the first and third are in use.
    let mut tdx_components = vec![json!({ "svn": 0 }); 16];
    tdx_components[0] = json!({ "svn": statements.least_svn });
    tdx_components[2] = json!({ "svn": statements.least_svn });
    json!({
        "id": "TDX",
        "version": 3,
        "issueDate": date(statements.issued),
        "nextUpdate": date(statements.next_update),
        "fmspc": hex::encode_upper(statements.fmspc),
        "pceId": "0000",
        "tcbType": 0,
        "tcbEvaluationDataNumber": statements.tcb_evaluation_number,
        "tdxModule": {
            "mrsigner": "00".repeat(48),
            "attributes": "00".repeat(8),
            "attributesMask": "FF".repeat(8),
        },
        "tcbLevels": [{
            "tcb": {
                "sgxtcbcomponents": components,
                "pcesvn": statements.least_svn,
                "tdxtcbcomponents": tdx_components,
            },
            "tcbDate": date(0),
            "tcbStatus": statements.tcb_status,
            "advisoryIDs": statements.advisories,
        }],
    })
}

fn qe_identity(statements: &Statements) -> Value {
    json!({
        "id": "TD_QE",
        "version": 2,
        "issueDate": date(statements.issued),
        "nextUpdate": date(statements.next_update),
        "tcbEvaluationDataNumber": statements.tcb_evaluation_number,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": hex::encode_upper(QE_ATTRIBUTES),
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": hex::encode_upper(QE_SIGNER),
        "isvprodid": QE_PRODUCT,
        "tcbLevels": [{ "tcb": { "isvsvn": 1 }, "tcbDate": date(0), "tcbStatus": "UpToDate" }],
    })
}

/// `2026-11-24T10:00:00Z`.
fn date(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).expect("a time of this age");
    jiff::Timestamp::from_second(seconds).expect("a time of this age").to_string()
}
