//! Evidence of NVIDIA GPUs: what NVIDIA's attestation service (NRAS) said of them, as signed tokens.
//!
//! NVIDIA checks the GPUs' own reports, certificates and reference values. Here is checked that NVIDIA said it, of how many
//! GPUs, when, and for which nonce.

mod anchors;
mod claims;
mod devices;
mod keys;
mod token;

use cocoon_receipts::Digest;

use crate::findings::{Check, Findings};
use crate::policy::GpuPolicy;
use crate::roots::Roots;
use anchors::anchors;
use claims::Claims;
use devices::{Devices, DevicesError};
use keys::Keys;
use token::{TokenError, Verified};

/// What is looked at in evidence that is authentic.
const CLAIMS: [Check; 7] = [
    Check::GpuNonce,
    Check::GpuCount,
    Check::GpuModel,
    Check::GpuDriver,
    Check::GpuSecureBoot,
    Check::GpuDebug,
    Check::GpuMeasurements,
];

/// Judges the document's devices, whose evidence must have been gathered for `root`. Says until when it stands,
/// milliseconds since 1970; none where it does not.
pub(crate) fn judge(
    policy: Option<&GpuPolicy>,
    devices: &[u8],
    root: Digest,
    roots: &Roots,
    now_ms: u64,
    findings: &mut Findings,
) -> Option<u64> {
    let policy = match (policy, devices.is_empty()) {
        (None, true) => {
            findings.waived(Check::GpuEvidence, "the policy asks for none, and there is none");
            return Some(u64::MAX);
        }
        (None, false) => {
            findings.failed(Check::GpuEvidence, "there are devices, and the policy knows of none");
            return None;
        }
        (Some(_), true) => {
            findings.failed(Check::GpuEvidence, "there is none, and the policy asks for it");
            findings.unreached(&CLAIMS, Check::GpuEvidence);
            return None;
        }
        (Some(policy), false) => policy,
    };
    let evidence = match Evidence::read(devices, roots, policy, now_ms) {
        Ok(evidence) => evidence,
        Err(problem) => {
            findings.failed(Check::GpuEvidence, problem.to_string());
            findings.unreached(&CLAIMS, Check::GpuEvidence);
            return None;
        }
    };
    findings.passed(Check::GpuEvidence, format!("signed by NVIDIA of {} GPUs", evidence.gpus.len()));
    claims::judge(policy, &evidence.overall, &evidence.gpus, root, findings);
    Some(evidence.until)
}

/// Why the evidence is not believed to be what NVIDIA said.
#[derive(Debug, thiserror::Error)]
enum EvidenceError {
    #[error(transparent)]
    Devices(#[from] DevicesError),
    #[error("{name}: {problem}")]
    Token { name: String, problem: TokenError },
    #[error("the token over all GPUs is not of the tokens that are there")]
    Digests,
}

/// What NVIDIA said.
struct Evidence {
    /// Of all GPUs together.
    overall: Claims,
    /// Of each, with its name.
    gpus: Vec<(String, Claims)>,
    /// Milliseconds since 1970.
    until: u64,
}

impl Evidence {
    fn read(section: &[u8], roots: &Roots, policy: &GpuPolicy, now_ms: u64) -> Result<Self, EvidenceError> {
        let devices = Devices::read(section)?;
        let mut keys = Keys::new(&devices.jwks, anchors(roots));
        let mut verified = |name: &str, token: &str| -> Result<Verified, EvidenceError> {
            token::verify(token, &mut keys, now_ms, policy.max_age_s)
                .map_err(|problem| EvidenceError::Token { name: name.to_owned(), problem })
        };
        let overall = verified("all GPUs", devices.overall())?;
        let mut until = overall.until;
        let mut gpus = Vec::new();
        for (name, token) in devices.gpus() {
            let gpu = verified(name, token)?;
            until = until.min(gpu.until);
            gpus.push((name.clone(), gpu.claims));
        }
        if !overall.claims.covers(devices.gpus()) {
            return Err(EvidenceError::Digests);
        }
        Ok(Self { overall: overall.claims, gpus, until })
    }
}

#[cfg(test)]
mod tests;
