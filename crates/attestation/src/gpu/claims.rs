//! What NVIDIA says of the GPUs, against the policy.

use std::collections::{BTreeMap, BTreeSet};

use cocoon_receipts::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::findings::{Check, Findings};
use crate::policy::GpuPolicy;

/// Claims whose names begin so are what NVIDIA looked at, each true where it was good.
const LOOKED_AT: &str = "x-nvidia-gpu-";
/// How the names of those end that must be true; the others are versions and the like.
const GOOD: [&str; 7] = ["-validated", "-verified", "-fetched", "-parsed", "-match", "-available", "-check"];
/// Without these a token says nothing.
const MUST: [&str; 3] = [
    "x-nvidia-gpu-attestation-report-nonce-match",
    "x-nvidia-gpu-attestation-report-cert-chain-validated",
    "x-nvidia-gpu-attestation-report-signature-verified",
];

/// The claims of a token: those of one over all GPUs, or those of one GPU's.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    /// Seconds since 1970, as are the next two.
    pub(super) iat: u64,
    pub(super) nbf: u64,
    pub(super) exp: u64,
    eat_nonce: String,
    /// All others.
    #[serde(flatten)]
    more: BTreeMap<String, Value>,
}

impl Claims {
    /// Whether these claims, over all GPUs, are of exactly these tokens.
    pub(super) fn covers(&self, gpus: &BTreeMap<String, String>) -> bool {
        /// `["DIGEST", ["SHA-256", hex]]`.
        type Submodule = (String, (String, Digest));
        let Some(Ok(submodules)) = self.more.get("submods").map(BTreeMap::<String, Submodule>::deserialize)
        else {
            return false;
        };
        let same = |name: &String, token: &String| {
            submodules.get(name).is_some_and(|(kind, (hash, digest))| {
                kind == "DIGEST" && hash == "SHA-256" && *digest == Digest::of(&[token.as_bytes()])
            })
        };
        submodules.len() == gpus.len() && gpus.iter().all(|(name, token)| same(name, token))
    }

    fn text(&self, claim: &str) -> Option<&str> {
        self.more.get(claim)?.as_str()
    }

    fn is_true(&self, claim: &str) -> bool {
        self.more.get(claim) == Some(&Value::Bool(true))
    }

    /// The first thing that NVIDIA looked at and did not find good.
    fn not_good(&self) -> Option<&str> {
        if let Some(missing) = MUST.into_iter().find(|claim| !self.more.contains_key(*claim)) {
            return Some(missing);
        }
        let looked_at = self.more.iter().filter(|(name, _)| name.starts_with(LOOKED_AT));
        let bad = |(name, value): &(&String, &Value)| match value {
            Value::Bool(good) => !good,
            _ => GOOD.iter().any(|end| name.ends_with(end)),
        };
        looked_at.filter(bad).map(|(name, _)| name.as_str()).next()
    }
}

type Gpus = [(String, Claims)];

/// Judges what an authentic set of tokens says.
pub(super) fn judge(
    policy: &GpuPolicy,
    overall: &Claims,
    gpus: &Gpus,
    root: Digest,
    findings: &mut Findings,
) {
    let nonce = root.to_string();
    let fresh = overall.eat_nonce == nonce && gpus.iter().all(|(_, claims)| claims.eat_nonce == nonce);
    findings.check(
        Check::GpuNonce,
        fresh,
        if fresh { "gathered for the quote's root" } else { "gathered for another nonce" },
    );
    count(policy.count, gpus, findings);
    one_of(Check::GpuModel, gpus, "hwmodel", &policy.models, findings);
    if policy.drivers.is_empty() {
        findings.waived(Check::GpuDriver, "the policy names none");
    } else {
        one_of(Check::GpuDriver, gpus, "x-nvidia-gpu-driver-version", &policy.drivers, findings);
    }
    each(Check::GpuSecureBoot, gpus, "secure boot is on", findings, |claims| {
        (!claims.is_true("secboot")).then(|| "secure boot is not on".to_owned())
    });
    each(Check::GpuDebug, gpus, "debugging is off", findings, |claims| {
        (claims.text("dbgstat") != Some("disabled")).then(|| "debugging is not off".to_owned())
    });
    measurements(overall, gpus, findings);
}

fn count(wanted: usize, gpus: &Gpus, findings: &mut Findings) {
    let chips: BTreeSet<&str> = gpus.iter().filter_map(|(_, claims)| claims.text("ueid")).collect();
    let detail = if chips.len() == gpus.len() {
        format!("{} GPUs, where {wanted} are asked", gpus.len())
    } else {
        format!("{} tokens are of {} GPUs", gpus.len(), chips.len())
    };
    findings.check(Check::GpuCount, gpus.len() == wanted && chips.len() == wanted, detail);
}

fn one_of(check: Check, gpus: &Gpus, claim: &str, wanted: &[String], findings: &mut Findings) {
    let all: BTreeSet<&str> = gpus.iter().filter_map(|(_, claims)| claims.text(claim)).collect();
    let all = all.into_iter().collect::<Vec<_>>().join(", ");
    each(check, gpus, &all, findings, |claims| {
        let found = claims.text(claim);
        let good = found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found));
        (!good).then(|| format!("{}, where {} will do", found.unwrap_or("not said"), wanted.join(", ")))
    });
}

fn measurements(overall: &Claims, gpus: &Gpus, findings: &mut Findings) {
    if !overall.is_true("x-nvidia-overall-att-result") {
        findings.failed(Check::GpuMeasurements, "NVIDIA's result over all GPUs is not good");
        return;
    }
    each(Check::GpuMeasurements, gpus, "as NVIDIA's references", findings, |claims| {
        if claims.text("measres") != Some("success") {
            return Some("its measurements are not NVIDIA's references".to_owned());
        }
        claims.not_good().map(|claim| format!("'{claim}' is not true"))
    });
}

/// Fails with the first GPU of which `problem` says one.
fn each(
    check: Check,
    gpus: &Gpus,
    good: &str,
    findings: &mut Findings,
    problem: impl Fn(&Claims) -> Option<String>,
) {
    match gpus.iter().find_map(|(name, claims)| Some((name, problem(claims)?))) {
        Some((name, problem)) => findings.failed(check, format!("{name}: {problem}")),
        None => findings.passed(check, good),
    }
}
