//! How every backend stands, for operators.

use cocoon_attestation::{Findings, Policy};
use cocoon_openapi::ops::{BackendView, Backends, FindingView, PolicyView, VerdictView};

use crate::route::{Attested, Backend, Fleet};

/// How the backends of `fleet` stand under `policy`.
#[must_use]
pub fn view(fleet: &Fleet, policy: &Policy) -> Backends {
    Backends {
        policy: PolicyView {
            name: policy.name().map(str::to_owned),
            version: policy.version(),
            digest: policy.digest().to_string(),
        },
        backends: fleet.backends().iter().map(|backend| one(backend)).collect(),
    }
}

fn one(backend: &Backend) -> BackendView {
    let known = backend.known();
    let in_use = known.current().is_some();
    let standing = known.standing.as_ref();
    let error = standing.and_then(|standing| standing.outcome.as_ref().err());
    let verdict = match (standing, error) {
        (Some(standing), Some(_)) => standing.outcome(),
        (Some(_), None) if in_use => "verified",
        // Not verified yet; or its verdict ran out, or was taken back when a connection failed.
        _ => "unchecked",
    };
    let findings = match error {
        Some(error) => error.findings(),
        None => known.last_verified.as_ref().map(|last| &last.verdict.findings),
    };
    BackendView {
        backend: backend.authority.to_string(),
        verdict: verdict.to_owned(),
        in_use,
        check: error.and_then(|error| error.check()).map(str::to_owned),
        reason: error.map(ToString::to_string),
        since: standing.map(|standing| standing.since),
        checked_at: standing.map(|standing| standing.checked_at),
        took_us: standing.map(|standing| u64::try_from(standing.took.as_micros()).unwrap_or(u64::MAX)),
        in_flight: backend.load() as u64,
        last_verified: known.last_verified.as_ref().map(|last| verdict_view(last)),
        findings: findings.map(finding_views).unwrap_or_default(),
    }
}

fn verdict_view(attested: &Attested) -> VerdictView {
    let verdict = &attested.verdict;
    VerdictView {
        keyset: verdict.digest.to_string(),
        model: verdict.keyset.model.id.clone(),
        tee: verdict.tee.as_str().to_owned(),
        release: format!("{} {}", verdict.keyset.release.name, verdict.keyset.release.sequence),
        policy: attested.policy.to_string(),
        verified_at: verdict.verified_at,
        valid_until: verdict.valid_until,
        not_after: verdict.keyset.not_after,
    }
}

fn finding_views(findings: &Findings) -> Vec<FindingView> {
    let finding = |finding: &cocoon_attestation::Finding| FindingView {
        check: finding.check.to_string(),
        outcome: finding.outcome.as_str().to_owned(),
        detail: finding.detail.clone(),
    };
    findings.as_slice().iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use cocoon_attestation::{Check, Refusal};

    use super::*;
    use crate::attest::AttestError;
    use crate::route::tests::{attested, checked, fleet};

    #[test]
    fn a_refusal_is_shown_with_its_findings_and_the_verdict_before_it() {
        let fleet = fleet(&[Some(("m", 1))]);
        let policy = Policy::from_toml("version = 2").unwrap();
        let backend = &fleet.backends()[0];
        let look = || view(&fleet, &policy).backends.remove(0);
        let good = look();
        assert_eq!((good.verdict.as_str(), good.in_use, good.check), ("verified", true, None));
        let before = good.last_verified.unwrap();

        let mut findings = Findings::default();
        findings.failed(Check::ReportData, "another nonce");
        backend.record(checked(Err(AttestError::Refused(Refusal { findings }))));
        let refused = look();
        assert_eq!((refused.verdict.as_str(), refused.in_use), ("refused", false));
        assert_eq!(refused.check.as_deref(), Some("report_data"));
        assert!(refused.reason.unwrap().contains("another nonce"));
        assert_eq!(refused.findings.len(), 1);
        assert_eq!((refused.findings[0].outcome.as_str(), refused.last_verified), ("failed", Some(before)));

        backend.record(checked(Ok(attested("m", 1))));
        backend.suspect(backend.attested().unwrap().digest());
        assert_eq!((look().verdict.as_str(), look().in_use), ("unchecked", false), "suspected");
        backend.record(checked(Ok(attested("m", 1))));
        backend.record(checked(Err(AttestError::Unanswered("status 503".into()))));
        assert_eq!((look().verdict.as_str(), look().in_use), ("unreachable", true), "until it runs out");
    }
}
