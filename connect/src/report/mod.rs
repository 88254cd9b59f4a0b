//! What was verified, for people and for programs: `GET /verification` and `cocoon-connect verify`.

mod text;

pub(crate) use text::{is_obeyed, quoted};

use std::collections::BTreeMap;

use cocoon_attestation::{Findings, Policy, Tee};
use cocoon_receipts::{Digest, VerifyingKey};
use serde::Serialize;

use crate::fleet::{Fleet, Overview, Standing};
use crate::verify::Verified;

const DEVELOPMENT: &str = "DEVELOPMENT evidence: no hardware protects what is sent to it";
const RUN_OUT: &str = "this verdict has run out; the next request verifies the backend again";
const SHRUNK: &str = "only one verified backend is left, and there were more: a gateway can show one user one backend \
                      to know whose requests it gets";

/// All of it, as the JSON says it: `docs/schema/verification.json`. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub gateway: String,
    /// When this was written.
    pub at: u64,
    /// None where a registry that is followed has taken it away.
    pub policy: Option<PolicyInForce>,
    pub models: Vec<Model>,
}

/// Under which policy it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyInForce {
    /// Of the policy's text.
    pub sha256: Digest,
    pub name: Option<String>,
    pub version: Option<u64>,
    pub not_after: Option<u64>,
    /// Whose signature it was accepted by, base64url; none where it is a local file.
    pub signer: Option<String>,
    /// The oldest release that the policy itself believes, by the release's name.
    pub min_release: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model {
    pub model: String,
    pub backends: Vec<Backend>,
    pub warnings: Vec<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// Digest of its keyset.
    pub keyset: String,
    #[serde(flatten)]
    pub verdict: Verdict,
    /// What was looked at, in that order; empty where there was no document to look at, or another backend's.
    pub checks: Findings,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    Verified(Evidence),
    /// It is never sealed to.
    Refused {
        reason: String,
    },
}

/// What is known of a verified backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    pub tee: &'static str,
    /// IANA numbers of the keys it offers.
    pub kems: Vec<u16>,
    /// The one that is used.
    pub kem: u16,
    pub release: String,
    pub sequence: u64,
    /// The oldest sequence of this release name that is believed.
    pub floor: u64,
    pub verified_at: u64,
    pub valid_until: u64,
    pub not_after: u64,
    pub warnings: Vec<&'static str>,
}

impl PolicyInForce {
    fn of(policy: &Policy) -> Self {
        Self {
            sha256: policy.digest(),
            name: policy.name().map(str::to_owned),
            version: policy.version(),
            not_after: policy.not_after(),
            signer: policy.signer().map(VerifyingKey::to_base64url),
            min_release: policy.min_releases().clone(),
        }
    }
}

impl Report {
    /// Of everything that is known.
    #[must_use]
    pub fn new(fleet: &Fleet, overview: Vec<Overview>) -> Self {
        let verifier = &fleet.verifier;
        let model = |overview: Overview| Model {
            model: overview.model,
            backends: overview
                .backends
                .iter()
                .map(|(keyset, standing)| backend(fleet, *keyset, standing))
                .collect(),
            warnings: if overview.shrunk_to_one { vec![SHRUNK] } else { Vec::new() },
        };
        Self {
            gateway: verifier.gateway.url().to_string(),
            at: verifier.clock.now_ms(),
            policy: verifier.policy.get().ok().map(|policy| PolicyInForce::of(&policy)),
            models: overview.into_iter().map(model).collect(),
        }
    }

    /// Whether there is a backend that may be sealed to, and none that was refused.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let mut verdicts =
            self.models.iter().flat_map(|model| &model.backends).map(|backend| &backend.verdict).peekable();
        verdicts.peek().is_some() && verdicts.all(|verdict| matches!(verdict, Verdict::Verified(_)))
    }
}

fn backend(fleet: &Fleet, keyset: Digest, standing: &Standing) -> Backend {
    let (verdict, checks) = match standing {
        Standing::Refused(reason) => {
            let checks = reason.findings().cloned().unwrap_or_default();
            (Verdict::Refused { reason: reason.to_string() }, checks)
        }
        Standing::Verified(verified) => {
            (Verdict::Verified(evidence(fleet, verified)), verified.findings.clone())
        }
    };
    Backend { keyset: keyset.to_string(), verdict, checks }
}

fn evidence(fleet: &Fleet, verified: &Verified) -> Evidence {
    Evidence {
        tee: verified.tee.as_str(),
        kems: verified.kems.clone(),
        kem: verified.key.kem().id(),
        release: verified.release.name.clone(),
        sequence: verified.release.sequence,
        floor: fleet.verifier.floor_of(&verified.release.name),
        verified_at: verified.verified_at,
        valid_until: verified.valid_until,
        not_after: verified.not_after,
        warnings: [
            (verified.tee == Tee::Dev, DEVELOPMENT),
            (verified.valid_until <= fleet.verifier.clock.now_ms(), RUN_OUT),
        ]
        .into_iter()
        .filter_map(|(applies, warning)| applies.then_some(warning))
        .collect(),
    }
}

#[cfg(test)]
mod tests;
