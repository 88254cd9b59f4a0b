//! Evidence of NVIDIA GPUs.

use cocoon_receipts::Digest;

use crate::findings::{Check, Findings};
use crate::policy::GpuPolicy;
use crate::roots::Roots;

/// Judges the document's devices, whose evidence must have been gathered for `root`. Says until when it stands,
/// milliseconds since 1970; none where it does not.
pub(crate) fn judge(
    policy: Option<&GpuPolicy>,
    devices: &[u8],
    _root: Digest,
    _roots: &Roots,
    _now_ms: u64,
    findings: &mut Findings,
) -> Option<u64> {
    match (policy, devices.is_empty()) {
        (None, true) => {
            findings.waived(Check::GpuEvidence, "the policy asks for none, and there is none");
            Some(u64::MAX)
        }
        (None, false) => {
            findings.failed(Check::GpuEvidence, "there are devices, and the policy knows of none");
            None
        }
        (Some(_), true) => {
            findings.failed(Check::GpuEvidence, "there is none, and the policy asks for it");
            None
        }
        (Some(_), false) => {
            findings.failed(Check::GpuEvidence, "devices cannot be verified yet");
            None
        }
    }
}
