//! What a verification looked at, one finding for each check.

use std::fmt;

use serde::{Serialize, Serializer};

/// Declares every check once, with its name.
macro_rules! checks {
    ($($(#[$doc:meta])* $check:ident = $name:literal,)+) => {
        /// One thing that is checked. Its name is stable: programs read it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $($(#[$doc])* $check,)+
        }

        impl Check {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$check),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$check => $name,)+
                }
            }
        }
    };
}

checks! {
    /// The policy itself is in force.
    Policy = "policy",
    /// The policy trusts evidence of this kind, and the quote is of the kind that the document says.
    Kind = "kind",
    /// Development evidence comes from this machine.
    Loopback = "loopback",
    /// No section that evidence of this kind must not have.
    Sections = "sections",
    /// The quote is signed, through the vendor's chain, by hardware.
    Quote = "quote",
    /// What the vendor says of that hardware is in date.
    Collateral = "collateral",
    /// The verifier's nonce is under the root that was quoted.
    Nonce = "nonce",
    /// The quote covers root, keyset and devices.
    ReportData = "report_data",
    Keyset = "keyset",
    KeysetValidity = "keyset_validity",
    KeysetAge = "keyset_age",
    Kem = "kem",
    PrefixCache = "prefix_cache",
    Model = "model",
    Release = "release",
    TdxDebug = "tdx_debug",
    TdxAttributes = "tdx_attributes",
    TdxXfam = "tdx_xfam",
    TdxMrSeam = "tdx_mr_seam",
    TdxMrTd = "tdx_mr_td",
    TdxRtmr0 = "tdx_rtmr0",
    TdxRtmr1 = "tdx_rtmr1",
    TdxRtmr2 = "tdx_rtmr2",
    TdxRtmr3 = "tdx_rtmr3",
    TdxMrConfigId = "tdx_mr_config_id",
    TdxMrOwner = "tdx_mr_owner",
    TdxMrOwnerConfig = "tdx_mr_owner_config",
    TdxTcbStatus = "tdx_tcb_status",
    TdxAdvisories = "tdx_advisories",
    TdxTcbEvaluation = "tdx_tcb_evaluation",
    SnpDebug = "snp_debug",
    SnpGuestPolicy = "snp_guest_policy",
    SnpVmpl = "snp_vmpl",
    SnpLaunchDigest = "snp_launch_digest",
    SnpIdKey = "snp_id_key",
    SnpAuthorKey = "snp_author_key",
    SnpHostData = "snp_host_data",
    SnpTcb = "snp_tcb",
    /// The devices' evidence is signed by its vendor's service.
    GpuEvidence = "gpu_evidence",
    /// It was gathered with the same root.
    GpuNonce = "gpu_nonce",
    GpuCount = "gpu_count",
    GpuModel = "gpu_model",
    GpuDriver = "gpu_driver",
    GpuSecureBoot = "gpu_secure_boot",
    GpuDebug = "gpu_debug",
    GpuMeasurements = "gpu_measurements",
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

    /// Whether the release is not below `floor`, the oldest sequence of that name that is believed. A second call, with
    /// a floor that the policy does not know of, replaces what the first one found.
    pub fn release(&mut self, name: &str, sequence: u64, floor: u64) -> bool {
        self.0.retain(|finding| finding.check != Check::Release);
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
    fn the_word_on_a_release_is_the_last_one() {
        let mut findings = Findings::default();
        assert!(findings.release("r", 7, 5));
        assert!(!findings.release("r", 7, 8));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.check, finding.outcome), (Check::Release, Outcome::Failed));
    }

    #[test]
    fn a_detail_is_printable_and_short() {
        let mut findings = Findings::default();
        findings.failed(Check::Model, format!("\u{1b}[2J{}", "x".repeat(1000)));
        let detail = &findings.as_slice()[0].detail;
        assert!(detail.starts_with("\u{fffd}[2J") && detail.chars().count() == MAX_DETAIL, "{detail}");
    }
}
