//! Whether a quote is from hardware, by the vendor's word.

use dcap_qvl::configs::RustCryptoConfig;
use dcap_qvl::quote::{AuthData, Quote, Report};
use dcap_qvl::verify::QuoteVerifier;
use dcap_qvl::{QuoteClaims, QuoteCollateralV3, QuotePolicy};
use serde::Deserialize;

use super::refused::{Refused, Stage};
use crate::findings::Check;
use crate::roots::Roots;

/// Certification data: the quoting enclave's report (Intel TDX DCAP quoting library API, appendix A.3).
const QE_REPORT: u16 = 6;

/// What the vendor publishes about a platform, as the document carries it.
pub(super) struct Collateral {
    parts: QuoteCollateralV3,
    /// Of TCB info and QE identity; not proven before the quote is.
    dates: Option<Dates>,
}

/// Milliseconds since 1970.
#[derive(Clone, Copy)]
pub(super) struct Dates {
    /// When the older of the two was issued.
    pub(super) issued: u64,
    /// When the younger of the two was issued.
    complete: u64,
    /// When the next of either is due.
    pub(super) due: u64,
}

/// The dates of TCB info and QE identity alike (Intel PCS API version 4).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    issue_date: String,
    next_update: String,
}

impl Collateral {
    /// Reads the document's section, JSON of the members that dcap-qvl gives [`QuoteCollateralV3`].
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read(section: &[u8]) -> Result<Self, String> {
        let parts: QuoteCollateralV3 =
            serde_json::from_slice(section).map_err(|error| format!("it cannot be read: {error}"))?;
        let dates = dates(&parts.tcb_info, &parts.qe_identity);
        Ok(Self { parts, dates })
    }

    /// None where they cannot be read.
    pub(super) fn dates(&self) -> Option<Dates> {
        self.dates
    }
}

fn dates(tcb_info: &str, qe_identity: &str) -> Option<Dates> {
    let tcb_info: Dated = serde_json::from_str(tcb_info).ok()?;
    let qe_identity: Dated = serde_json::from_str(qe_identity).ok()?;
    let (tcb, qe) = (millis(&tcb_info.issue_date)?, millis(&qe_identity.issue_date)?);
    let due = millis(&tcb_info.next_update)?.min(millis(&qe_identity.next_update)?);
    Some(Dates { issued: tcb.min(qe), complete: tcb.max(qe), due })
}

fn millis(date: &str) -> Option<u64> {
    let time: jiff::Timestamp = date.parse().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

/// What came of a quote.
pub(super) struct Examined {
    /// Whether the collateral is in date, as far as that was looked at.
    pub(super) in_date: Result<(), String>,
    pub(super) proof: Proof,
}

pub(super) enum Proof {
    /// The quote is from hardware, and the vendor knows the platform.
    Claims(Box<QuoteClaims>),
    /// The quote is from hardware, and refused for what it says.
    Report(Box<Report>, Refused),
    /// Nothing is proven.
    None(Refused),
}

/// Examines a quote at `now_ms`. Where the collateral is not in date then, what is proven is told as of the time when it
/// was: it is a failure nonetheless, and the only one that need be.
pub(super) fn examine(quote: &[u8], collateral: &Collateral, roots: &Roots, now_ms: u64) -> Examined {
    if let Err(why) = well_formed(quote) {
        let refused = Refused { check: Check::Quote, stage: Stage::Unproven, why };
        return Examined { in_date: Ok(()), proof: Proof::None(refused) };
    }
    let at = |ms: u64| prove(quote, &collateral.parts, roots, ms / 1000);
    match (at(now_ms), collateral.dates) {
        (Proof::None(refused), Some(dates)) if refused.stage == Stage::OutOfDate => {
            Examined { in_date: Err(refused.why), proof: at(dates.complete) }
        }
        (Proof::None(refused), None) if refused.stage == Stage::OutOfDate => {
            Examined { in_date: Err(refused.why.clone()), proof: Proof::None(refused) }
        }
        (proof, _) => Examined { in_date: Ok(()), proof },
    }
}

/// What dcap-qvl reads past and no signature covers: it takes any certification data for the quoting enclave's report.
fn well_formed(quote: &[u8]) -> Result<(), String> {
    let quote = Quote::parse(quote).map_err(|error| format!("it cannot be read: {error:#}"))?;
    match quote.auth_data {
        AuthData::V4(data) if data.certification_data.cert_type == QE_REPORT => Ok(()),
        AuthData::V3(_) | AuthData::V4(_) => Err("its certification data is of another kind".to_owned()),
    }
}

fn prove(quote: &[u8], collateral: &QuoteCollateralV3, roots: &Roots, now_secs: u64) -> Proof {
    let verifier = match &roots.intel {
        Some(root) => QuoteVerifier::new(root.clone()),
        None => QuoteVerifier::new_prod(),
    };
    // Not to let them pass: a debug TD or a service TD is found by this crate's own checks of the bits, under their names.
    let verifier = verifier.with_config::<RustCryptoConfig>().allow_debug(true).allow_service_td(true);
    let everything = QuotePolicy::claims_only(now_secs);
    match verifier.verify_with_policy(quote, collateral, now_secs, &everything) {
        Ok(claims) => Proof::Claims(Box::new(claims)),
        Err(error) => {
            let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
            let refused = Refused::from_texts(&texts);
            match (refused.stage, Quote::parse(quote)) {
                (Stage::Signed, Ok(quote)) => Proof::Report(Box::new(quote.report), refused),
                (Stage::Signed, Err(_)) => {
                    Proof::None(Refused { check: Check::Quote, stage: Stage::Unproven, ..refused })
                }
                (Stage::Unproven | Stage::OutOfDate, _) => Proof::None(refused),
            }
        }
    }
}
