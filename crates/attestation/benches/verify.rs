//! What one verification costs when nothing of it is kept. `cargo xtask bench` runs it.

use std::hint::black_box;
use std::time::Duration;

use cocoon_attestation::{Check, Document, Finding, Nonce, Outcome, Policy, PolicyError, Roots, Section};
use cocoon_synthetic_tee::SyntheticTdx;
use cocoon_synthetic_tee::samples::sample;
use criterion::Criterion;

const NONCE: Nonce = Nonce([5; 32]);
const NOW_MS: u64 = 1_791_504_000_000;

fn main() -> Result<(), PolicyError> {
    let brief = Criterion::default()
        .sample_size(50)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    let mut criterion = brief.configure_from_args();
    tdx(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Whether the evidence is believed changes nothing here: every check is made, and what fails is the keyset, which is none.
fn tdx(criterion: &mut Criterion) -> Result<(), PolicyError> {
    let synthetic = SyntheticTdx::new();
    let document = synthetic.document(b"{}", b"", NONCE, NOW_MS);
    let policy = believing(&synthetic.policy_toml(), synthetic.roots())?;
    verification(criterion, "tdx/synthetic", &policy, &document);

    let real = sample("tdx_quote_td15ex");
    let document = Document { quote: Section(real.quote), collateral: Section(real.collateral), ..document };
    let policy = Policy::from_toml(&synthetic.policy_toml())?;
    verification(criterion, "tdx/signed by Intel", &policy, &document);
    Ok(())
}

fn verification(criterion: &mut Criterion, name: &str, policy: &Policy, document: &Document) {
    let found = policy.verify(document, NONCE, NOW_MS, false);
    let quoted = found.is_err_and(|refusal| refusal.findings.as_slice().iter().any(is_signed));
    assert!(quoted, "{name}: the quote is not verified");
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| policy.verify(black_box(document), NONCE, NOW_MS, false));
    });
}

fn is_signed(finding: &Finding) -> bool {
    finding.check == Check::Quote && finding.outcome == Outcome::Passed
}

#[expect(clippy::disallowed_methods, reason = "the evidence is of this measurement's own making")]
fn believing(policy: &str, roots: Roots) -> Result<Policy, PolicyError> {
    Policy::from_toml(policy).map(|policy| policy.with_roots(roots))
}
