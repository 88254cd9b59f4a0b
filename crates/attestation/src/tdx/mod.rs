//! Intel TDX quotes.

mod attributes;
mod event_log;
mod images;
mod proof;
mod refused;

use dcap_qvl::QuoteClaims;
use dcap_qvl::quote::{Quote, Report, TDReport10};

use crate::document::Document;
use crate::findings::{Check, Findings};
use crate::policy::{Hex, TcbStatus, TdxPolicy};
use crate::roots::Roots;
use crate::verify::{Quoted, shown};
use event_log::EventLog;
use proof::{Collateral, Proof};
use refused::Refused;

/// What is looked at in the report of a proven quote.
const OF_THE_REPORT: [Check; 12] = [
    Check::TdxDebug,
    Check::TdxAttributes,
    Check::TdxXfam,
    Check::TdxMrSeam,
    Check::TdxMrTd,
    Check::TdxRtmr0,
    Check::TdxRtmr1,
    Check::TdxRtmr2,
    Check::TdxRtmr3,
    Check::TdxMrConfigId,
    Check::TdxMrOwner,
    Check::TdxMrOwnerConfig,
];
/// What the vendor says of the platform.
const OF_THE_PLATFORM: [Check; 3] = [Check::TdxTcbStatus, Check::TdxAdvisories, Check::TdxTcbEvaluation];
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Whether the bytes are a quote of an SGX enclave, which is no VM.
pub(crate) fn is_sgx(quote: &[u8]) -> bool {
    Quote::parse(quote).is_ok_and(|quote| quote.header.is_sgx() || quote.report.is_sgx())
}

/// Judges the document's quote, collateral and event log. Where the quote itself is proven it gives what that says, whatever
/// else has failed.
pub(crate) fn judge(
    policy: &TdxPolicy,
    document: &Document,
    roots: &Roots,
    now_ms: u64,
    findings: &mut Findings,
) -> Option<Quoted> {
    let log = sections(document, findings);
    let collateral = match Collateral::read(&document.collateral.0) {
        Ok(collateral) => collateral,
        Err(problem) => {
            findings.failed(Check::Collateral, problem);
            findings.unreached(&[Check::Quote], Check::Collateral);
            unreached(findings, Check::Collateral);
            return None;
        }
    };
    let proof::Examined { in_date, proof } = proof::examine(&document.quote.0, &collateral, roots, now_ms);
    let dated = in_date.is_ok();
    if let Err(problem) = in_date {
        findings.failed(Check::Collateral, problem);
    }
    let (report, claims, refused) = match proof {
        Proof::None(refused) => {
            unproven(refused, dated, findings);
            return None;
        }
        Proof::Report(report, refused) => (report, None, Some(refused)),
        Proof::Claims(claims) => (Box::new(claims.report.clone()), Some(claims), None),
    };
    findings.passed(Check::Quote, "signed by hardware, through the vendor's chain");
    let refused_for = refused.as_ref().map(|refused| refused.check);
    if dated && refused_for != Some(Check::Collateral) {
        judge_age(policy, &collateral, now_ms, findings);
    }
    let report_data = judge_report(policy, &report, log.as_ref(), refused_for, findings)?;
    match (claims, refused) {
        (Some(claims), _) => {
            judge_platform(policy, &claims, findings);
            Some(Quoted { report_data, valid_until: claims.earliest_expiration_date.saturating_mul(1000) })
        }
        (None, refused) => {
            if let Some(refused) = refused {
                no_claims(refused, findings);
            }
            Some(Quoted { report_data, valid_until: 0 })
        }
    }
}

/// Nothing is proven. `dated`: nothing was found yet that the collateral fails by.
fn unproven(refused: Refused, dated: bool, findings: &mut Findings) {
    let cause = refused.check;
    let other = if cause == Check::Quote { Check::Collateral } else { Check::Quote };
    if cause == Check::Quote || dated {
        findings.failed(cause, refused.why);
    }
    if other == Check::Quote || dated {
        findings.unreached(&[other], cause);
    }
    unreached(findings, cause);
}

/// The report is proven, and has been judged, and there are no claims to judge beside it.
fn no_claims(refused: Refused, findings: &mut Findings) {
    let has_failed = |check: Check| findings.failures().any(|finding| finding.check == check);
    // The bits were judged one by one, and those of debugging have a check of their own.
    let cause = match refused.check {
        Check::TdxAttributes if has_failed(Check::TdxDebug) => Check::TdxDebug,
        check => check,
    };
    if !has_failed(cause) {
        findings.failed(cause, refused.why);
    }
    let rest: Vec<Check> = OF_THE_PLATFORM.into_iter().filter(|check| *check != cause).collect();
    findings.unreached(&rest, cause);
}

/// The event log, where there is one; and whether the sections are those that such evidence may have.
fn sections(document: &Document, findings: &mut Findings) -> Option<EventLog> {
    if !document.release_bundle.0.is_empty() {
        findings.failed(
            Check::Sections,
            "'release_bundle' is not empty, which evidence of this kind must not have",
        );
        return None;
    }
    if document.event_log.0.is_empty() {
        findings.passed(Check::Sections, "none but what may be there");
        return None;
    }
    match EventLog::read(&document.event_log.0) {
        Ok(log) => {
            findings.passed(Check::Sections, format!("an event log of {} events", log.len()));
            Some(log)
        }
        Err(problem) => {
            findings.failed(Check::Sections, format!("the event log {problem}"));
            None
        }
    }
}

fn unreached(findings: &mut Findings, cause: Check) {
    findings.unreached(&OF_THE_REPORT, cause);
    findings.unreached(&OF_THE_PLATFORM, cause);
}

/// Whether the collateral, which is in date, is young enough.
fn judge_age(policy: &TdxPolicy, collateral: &Collateral, now_ms: u64, findings: &mut Findings) {
    let Some(dates) = collateral.dates() else {
        findings.failed(Check::Collateral, "its dates cannot be read");
        return;
    };
    let issued = dates.issued;
    let dates = format!("issued {}, the next is due {}", shown(issued), shown(dates.due));
    match policy.max_collateral_age_days {
        Some(days) => {
            let good = now_ms.saturating_sub(issued) <= u64::from(days).saturating_mul(DAY_MS);
            findings.check(Check::Collateral, good, format!("{dates}, {days} days old at most"));
        }
        None => findings.passed(Check::Collateral, dates),
    }
}

/// Judges what a proven report says, and gives its report data. `refused`: what failed already, and is not looked at again.
fn judge_report(
    policy: &TdxPolicy,
    report: &Report,
    log: Option<&EventLog>,
    refused: Option<Check>,
    findings: &mut Findings,
) -> Option<[u8; 64]> {
    let Some(td) = report.as_td10() else {
        findings.failed(Check::Kind, "the quote is not of a TDX VM");
        unreached(findings, Check::Kind);
        return None;
    };
    let debug = attributes::debug(td.td_attributes);
    findings.check(Check::TdxDebug, debug.is_ok(), either(debug));
    let good = attributes::others(td.td_attributes).and_then(|found| {
        attributes::no_service_td(report)?;
        Ok(found)
    });
    findings.check(Check::TdxAttributes, good.is_ok(), either(good));
    match policy.xfam {
        None => findings.waived(Check::TdxXfam, format!("{}; the policy allows any", hex::encode(td.xfam))),
        Some(allowed) => {
            let good = td.xfam.iter().zip(allowed.0).all(|(found, allowed)| found & !allowed == 0);
            findings.check(Check::TdxXfam, good, format!("{}, allowed are {allowed}", hex::encode(td.xfam)));
        }
    }
    if refused != Some(Check::TdxMrSeam) {
        judge_module(policy, td, findings);
    }
    images::judge(&policy.images, td, log, findings);
    for (check, found, wanted) in [
        (Check::TdxMrConfigId, td.mr_config_id, policy.mr_config_id),
        (Check::TdxMrOwner, td.mr_owner, policy.mr_owner),
        (Check::TdxMrOwnerConfig, td.mr_owner_config, policy.mr_owner_config),
    ] {
        let detail = if found == wanted.0 {
            short(&found)
        } else {
            format!("{}, the policy wants {}", short(&found), short(&wanted.0))
        };
        findings.check(check, found == wanted.0, detail);
    }
    Some(td.report_data)
}

fn judge_module(policy: &TdxPolicy, td: &TDReport10, findings: &mut Findings) {
    let found = short(&td.mr_seam);
    if policy.mr_seam.is_empty() {
        findings.waived(Check::TdxMrSeam, format!("{found}; the policy allows any that its vendor signed"));
    } else {
        let good = policy.mr_seam.contains(&Hex(td.mr_seam));
        let detail = if good { found } else { format!("{found} is none that the policy lists") };
        findings.check(Check::TdxMrSeam, good, detail);
    }
}

/// Judges what the vendor says of the platform.
fn judge_platform(policy: &TdxPolicy, claims: &QuoteClaims, findings: &mut Findings) {
    let tcb = &claims.tcb;
    let good = known(tcb.status).is_some_and(|status| policy.tcb_statuses.contains(&status));
    findings.check(Check::TdxTcbStatus, good, tcb.status.to_string());
    let unlisted = tcb.advisory_ids.iter().find(|id| !policy.advisories.contains(id));
    match unlisted {
        Some(id) => {
            findings.failed(Check::TdxAdvisories, format!("{id} applies, and the policy does not list it"));
        }
        None if tcb.advisory_ids.is_empty() => findings.passed(Check::TdxAdvisories, "none"),
        None => findings.passed(Check::TdxAdvisories, tcb.advisory_ids.join(", ")),
    }
    let (number, least) = (tcb.eval_data_number, policy.min_tcb_evaluation_number);
    findings.check(Check::TdxTcbEvaluation, number >= least, format!("{number}, {least} at least"));
}

/// The vendor's word in ours; none for a revoked platform, which no policy can allow.
fn known(status: dcap_qvl::TcbStatus) -> Option<TcbStatus> {
    use dcap_qvl::TcbStatus as Theirs;
    Some(match status {
        Theirs::UpToDate => TcbStatus::UpToDate,
        Theirs::SWHardeningNeeded => TcbStatus::SWHardeningNeeded,
        Theirs::ConfigurationNeeded => TcbStatus::ConfigurationNeeded,
        Theirs::ConfigurationAndSWHardeningNeeded => TcbStatus::ConfigurationAndSWHardeningNeeded,
        Theirs::OutOfDate => TcbStatus::OutOfDate,
        Theirs::OutOfDateConfigurationNeeded => TcbStatus::OutOfDateConfigurationNeeded,
        Theirs::TDRelaunchAdvised => TcbStatus::TDRelaunchAdvised,
        Theirs::TDRelaunchAdvisedConfigurationNeeded => TcbStatus::TDRelaunchAdvisedConfigurationNeeded,
        Theirs::Revoked => return None,
    })
}

/// The first 16 digits of a measurement, for people.
fn short(bytes: &[u8; 48]) -> String {
    if bytes == &[0; 48] {
        return "zeros".to_owned();
    }
    let mut text = hex::encode(bytes);
    text.truncate(16);
    text + "…"
}

fn either<T: Into<String>>(result: Result<T, String>) -> String {
    result.map_or_else(|problem| problem, Into::into)
}
