//! What a verification looked at, one finding for each check.

use std::fmt;

use serde::{Serialize, Serializer};

/// One thing that is checked. Its name is stable: programs read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The policy itself is in force.
    Policy,
    /// The policy trusts evidence of this kind, and the quote is of the kind that the document says.
    Kind,
    /// Development evidence comes from this machine.
    Loopback,
    /// No section that evidence of this kind must not have.
    Sections,
    /// The quote is signed, through the vendor's chain, by hardware.
    Quote,
    /// What the vendor says of that hardware is in date.
    Collateral,
    /// The verifier's nonce is under the root that was quoted.
    Nonce,
    /// The quote covers root, keyset and devices.
    ReportData,
    Keyset,
    KeysetValidity,
    KeysetAge,
    Kem,
    PrefixCache,
    Model,
    Release,
    TdxDebug,
    TdxAttributes,
    TdxXfam,
    TdxMrSeam,
    TdxMrTd,
    TdxRtmr0,
    TdxRtmr1,
    TdxRtmr2,
    TdxRtmr3,
    TdxMrConfigId,
    TdxMrOwner,
    TdxMrOwnerConfig,
    TdxTcbStatus,
    TdxAdvisories,
    TdxTcbEvaluation,
    SnpDebug,
    SnpGuestPolicy,
    SnpVmpl,
    SnpLaunchDigest,
    SnpIdKey,
    SnpAuthorKey,
    SnpHostData,
    SnpTcb,
    /// The devices' evidence is signed by its vendor's service.
    GpuEvidence,
    /// It was gathered with the same root.
    GpuNonce,
    GpuCount,
    GpuModel,
    GpuDriver,
    GpuSecureBoot,
    GpuDebug,
    GpuMeasurements,
}

impl Check {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Kind => "kind",
            Self::Loopback => "loopback",
            Self::Sections => "sections",
            Self::Quote => "quote",
            Self::Collateral => "collateral",
            Self::Nonce => "nonce",
            Self::ReportData => "report_data",
            Self::Keyset => "keyset",
            Self::KeysetValidity => "keyset_validity",
            Self::KeysetAge => "keyset_age",
            Self::Kem => "kem",
            Self::PrefixCache => "prefix_cache",
            Self::Model => "model",
            Self::Release => "release",
            Self::TdxDebug => "tdx_debug",
            Self::TdxAttributes => "tdx_attributes",
            Self::TdxXfam => "tdx_xfam",
            Self::TdxMrSeam => "tdx_mr_seam",
            Self::TdxMrTd => "tdx_mr_td",
            Self::TdxRtmr0 => "tdx_rtmr0",
            Self::TdxRtmr1 => "tdx_rtmr1",
            Self::TdxRtmr2 => "tdx_rtmr2",
            Self::TdxRtmr3 => "tdx_rtmr3",
            Self::TdxMrConfigId => "tdx_mr_config_id",
            Self::TdxMrOwner => "tdx_mr_owner",
            Self::TdxMrOwnerConfig => "tdx_mr_owner_config",
            Self::TdxTcbStatus => "tdx_tcb_status",
            Self::TdxAdvisories => "tdx_advisories",
            Self::TdxTcbEvaluation => "tdx_tcb_evaluation",
            Self::SnpDebug => "snp_debug",
            Self::SnpGuestPolicy => "snp_guest_policy",
            Self::SnpVmpl => "snp_vmpl",
            Self::SnpLaunchDigest => "snp_launch_digest",
            Self::SnpIdKey => "snp_id_key",
            Self::SnpAuthorKey => "snp_author_key",
            Self::SnpHostData => "snp_host_data",
            Self::SnpTcb => "snp_tcb",
            Self::GpuEvidence => "gpu_evidence",
            Self::GpuNonce => "gpu_nonce",
            Self::GpuCount => "gpu_count",
            Self::GpuModel => "gpu_model",
            Self::GpuDriver => "gpu_driver",
            Self::GpuSecureBoot => "gpu_secure_boot",
            Self::GpuDebug => "gpu_debug",
            Self::GpuMeasurements => "gpu_measurements",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    Failed,
    /// The policy does not ask for it.
    Waived,
    /// What it would look at was not to be had, or is not proven, because another check failed.
    Unreached,
}

impl Outcome {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Waived => "waived",
            Self::Unreached => "unreached",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: Check,
    pub outcome: Outcome,
    /// For people: what was found, and what would do. From an unproven document it may be anything, but it is printable
    /// and short.
    pub detail: String,
}

/// Longest detail, characters.
const MAX_DETAIL: usize = 300;

/// All findings of one verification, in the order they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Findings(Vec<Finding>);

impl Findings {
    pub fn passed(&mut self, check: Check, detail: impl Into<String>) {
        self.add(check, Outcome::Passed, detail.into());
    }

    pub fn failed(&mut self, check: Check, detail: impl Into<String>) {
        self.add(check, Outcome::Failed, detail.into());
    }

    pub fn waived(&mut self, check: Check, detail: impl Into<String>) {
        self.add(check, Outcome::Waived, detail.into());
    }

    /// For what could not be looked at after `cause` had failed.
    pub fn unreached(&mut self, checks: &[Check], cause: Check) {
        for check in checks {
            self.add(*check, Outcome::Unreached, format!("not looked at: '{cause}' failed"));
        }
    }

    /// Passed or failed; returns which.
    pub fn check(&mut self, check: Check, good: bool, detail: impl Into<String>) -> bool {
        self.add(check, if good { Outcome::Passed } else { Outcome::Failed }, detail.into());
        good
    }

    /// Whether the release is not below `floor`, the oldest sequence of that name that is believed.
    pub fn release(&mut self, name: &str, sequence: u64, floor: u64) -> bool {
        if sequence >= floor {
            self.passed(Check::Release, format!("{name} {sequence}, the oldest that is believed is {floor}"));
        } else {
            let detail =
                format!("release {sequence} is older than {floor}, the oldest of {name} that is believed");
            self.failed(Check::Release, detail);
        }
        sequence >= floor
    }

    fn add(&mut self, check: Check, outcome: Outcome, detail: String) {
        let detail = detail.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char });
        self.0.push(Finding { check, outcome, detail: detail.take(MAX_DETAIL).collect() });
    }

    #[must_use]
    pub fn as_slice(&self) -> &[Finding] {
        &self.0
    }

    /// What failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.outcome == Outcome::Failed)
    }

    /// Whether every check passed or was waived; false where nothing was checked.
    #[must_use]
    pub fn are_good(&self) -> bool {
        let good = |finding: &Finding| matches!(finding.outcome, Outcome::Passed | Outcome::Waived);
        !self.0.is_empty() && self.0.iter().all(good)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_or_one_thing_unreached_is_no_good_and_neither_is_nothing() {
        assert!(!Findings::default().are_good());
        let mut findings = Findings::default();
        findings.passed(Check::Kind, "");
        findings.waived(Check::Model, "");
        assert!(findings.are_good());
        let mut unreached = findings.clone();
        unreached.unreached(&[Check::Nonce], Check::Quote);
        assert!(!unreached.are_good());
        findings.failed(Check::Quote, "");
        assert!(!findings.are_good());
        assert_eq!(findings.failures().map(|finding| finding.check).collect::<Vec<_>>(), [Check::Quote]);
    }

    #[test]
    fn a_detail_is_printable_and_short() {
        let mut findings = Findings::default();
        findings.failed(Check::Model, format!("\u{1b}[2J{}", "x".repeat(1000)));
        let detail = &findings.as_slice()[0].detail;
        assert!(detail.starts_with("\u{fffd}[2J") && detail.chars().count() == MAX_DETAIL, "{detail}");
    }
}
