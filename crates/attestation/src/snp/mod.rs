//! AMD SEV-SNP reports (SEV-SNP firmware ABI specification, 56860, "ATTESTATION_REPORT"; certificates: VCEK and VLEK
//! specification, 57230).

mod chain;
mod claims;
mod collateral;
mod report;

use crate::document::Document;
use crate::findings::{Check, Findings};
use crate::policy::SnpPolicy;
use crate::roots::Roots;
use crate::verify::Quoted;
use collateral::Collateral;
use report::Report;
pub(crate) use report::is_report;

/// What is looked at in a report that is authentic.
const CLAIMS: [Check; 8] = [
    Check::SnpDebug,
    Check::SnpGuestPolicy,
    Check::SnpVmpl,
    Check::SnpLaunchDigest,
    Check::SnpIdKey,
    Check::SnpAuthorKey,
    Check::SnpHostData,
    Check::SnpTcb,
];

/// Judges the document's report and collateral. The report data of an authentic report is returned whatever else is wrong
/// with it, so that it can be looked at too.
pub(crate) fn judge(
    policy: &SnpPolicy,
    document: &Document,
    roots: &Roots,
    now_ms: u64,
    findings: &mut Findings,
) -> Option<Quoted> {
    sections(document, findings);
    let report = match Report::read(&document.quote.0) {
        Ok(report) => report,
        Err(problem) => {
            findings.failed(Check::Quote, problem.to_string());
            findings.unreached(&[Check::Collateral], Check::Quote);
            findings.unreached(&CLAIMS, Check::Quote);
            return None;
        }
    };
    let collateral = match Collateral::read(&document.collateral.0) {
        Ok(collateral) => collateral,
        Err(problem) => {
            findings.failed(Check::Collateral, problem.to_string());
            findings.unreached(&[Check::Quote], Check::Collateral);
            findings.unreached(&CLAIMS, Check::Collateral);
            return None;
        }
    };
    let chain = match chain::verify(&report, &collateral, roots) {
        Ok(chain) => chain,
        Err(problem) => {
            findings.failed(Check::Quote, problem.to_string());
            findings.unreached(&[Check::Collateral], Check::Quote);
            findings.unreached(&CLAIMS, Check::Quote);
            return None;
        }
    };
    let product = chain.product();
    findings.passed(
        Check::Quote,
        format!("signed by the {} of a {} chip", collateral.key_name(), report::name(product)),
    );
    let valid_until = match chain.validity(now_ms) {
        Ok((until, detail)) => {
            findings.passed(Check::Collateral, detail);
            until
        }
        Err(problem) => {
            findings.failed(Check::Collateral, problem.to_string());
            now_ms
        }
    };
    claims::judge(policy, &report, product, findings);
    Some(Quoted { report_data: report.fields.report_data, valid_until })
}

fn sections(document: &Document, findings: &mut Findings) {
    let sections = [("event_log", &document.event_log), ("release_bundle", &document.release_bundle)];
    match sections.iter().find(|(_, section)| !section.0.is_empty()) {
        Some((name, _)) => findings.failed(
            Check::Sections,
            format!("'{name}' is not empty, which evidence of this kind must not have"),
        ),
        None => findings.passed(Check::Sections, "none but what must be there"),
    }
}
