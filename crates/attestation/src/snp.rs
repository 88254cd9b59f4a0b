//! AMD SEV-SNP reports.

use crate::document::Document;
use crate::findings::{Check, Findings};
use crate::policy::SnpPolicy;
use crate::roots::Roots;
use crate::verify::Quoted;

/// Judges the document's report and collateral.
pub(crate) fn judge(
    _policy: &SnpPolicy,
    _document: &Document,
    _roots: &Roots,
    _now_ms: u64,
    findings: &mut Findings,
) -> Option<Quoted> {
    findings.failed(Check::Quote, "quotes of this kind cannot be verified yet");
    None
}
