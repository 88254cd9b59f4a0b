//! What one verification costs when nothing of it is kept. `cargo xtask bench` runs it.

use std::hint::black_box;
use std::time::Duration;

use cocoon_attestation::tree::Tree;
use cocoon_attestation::{Check, Document, Finding, Nonce, Outcome, Policy, PolicyError, Roots, Section};
use cocoon_synthetic_tee::samples::sample;
use cocoon_synthetic_tee::{SyntheticNvidia, SyntheticSnp, SyntheticTdx, keyset};
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
    snp(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Whether the evidence is believed changes nothing here: every check is made, and what fails is the keyset, which is none.
fn tdx(criterion: &mut Criterion) -> Result<(), PolicyError> {
    let synthetic = SyntheticTdx::new();
    let document = synthetic.document(b"{}", b"", NONCE, NOW_MS);
    let policy = believing(&synthetic.policy_toml(), synthetic.roots())?;
    verification(criterion, "tdx/synthetic", &policy, &document, Check::Quote);

    let real = sample("tdx_quote_td15ex");
    let document = Document { quote: Section(real.quote), collateral: Section(real.collateral), ..document };
    let policy = Policy::from_toml(&synthetic.policy_toml())?;
    verification(criterion, "tdx/signed by Intel", &policy, &document, Check::Quote);
    Ok(())
}

fn snp(criterion: &mut Criterion) -> Result<(), PolicyError> {
    let (synthetic, gpus) = (SyntheticSnp::new(), SyntheticNvidia::new());
    let keyset = keyset().to_bytes();
    let document = synthetic.document(&keyset, b"", NONCE, NOW_MS);
    let policy = believing(&synthetic.policy_toml(), synthetic.roots())?;
    verification(criterion, "snp/synthetic", &policy, &document, Check::Quote);

    #[expect(clippy::expect_used, reason = "a measurement that cannot go on fails")]
    let tree = Tree::new(&[NONCE]).expect("one nonce makes a tree");
    let mut roots = synthetic.roots();
    gpus.roots_into(&mut roots);
    for count in [1, 8] {
        let devices = gpus.devices(tree.root(), count, NOW_MS);
        let document = synthetic.document(&keyset, &devices, NONCE, NOW_MS);
        let text = format!("{}{}", synthetic.policy_toml(), gpus.policy_toml(count));
        let policy = believing(&text, roots.clone())?;
        let name = format!("snp/synthetic, GPUs: {count}");
        verification(criterion, &name, &policy, &document, Check::GpuMeasurements);
    }
    Ok(())
}

/// Measures only what gets as far as passing `check`.
fn verification(criterion: &mut Criterion, name: &str, policy: &Policy, document: &Document, check: Check) {
    let passed = |finding: &Finding| finding.check == check && finding.outcome == Outcome::Passed;
    let found = match policy.verify(document, NONCE, NOW_MS, false) {
        Ok(verdict) => verdict.findings,
        Err(refusal) => refusal.findings,
    };
    assert!(found.as_slice().iter().any(passed), "{name}: {check} does not pass");
    criterion.bench_function(name, |bencher| {
        bencher.iter(|| policy.verify(black_box(document), NONCE, NOW_MS, false));
    });
}

#[expect(clippy::disallowed_methods, reason = "the evidence is of this measurement's own making")]
fn believing(policy: &str, roots: Roots) -> Result<Policy, PolicyError> {
    Policy::from_toml(policy).map(|policy| policy.with_roots(roots))
}
