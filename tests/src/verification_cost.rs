//! What a verification costs a gateway, as its own metrics say.

use std::time::Duration;

use anyhow::Context;

use crate::harness::{Settings, Stack, eventually};

const VERIFICATIONS: f64 = 20.0;

/// Development evidence, over a loopback connection that is kept: a hardware quote costs the backend about 50 ms more.
/// What a request pays once there is a verdict is `cargo bench --bench verdict`.
pub(crate) async fn of_development_evidence() -> anyhow::Result<()> {
    let settings = Settings {
        policy: "max_verdict_age_s = 1".to_owned(),
        // What is measured is not the wait for others who may ask.
        backend: "evidence.quote_interval_ms = 0".to_owned(),
        ..Settings::default()
    };
    let stack = Stack::start(settings).await?;
    let metrics = eventually("there are enough", Duration::from_secs(120), || async {
        let metrics = stack.metrics().await?;
        let count = value(&metrics, "cocoon_attestation_verify_seconds_count")?;
        Ok((count >= VERIFICATIONS).then_some(metrics))
    })
    .await?;
    for (name, what) in [
        ("cocoon_backend_verification_seconds", "fetched, verified and kept"),
        ("cocoon_attestation_verify_seconds", "verified alone"),
    ] {
        let (sum, count) =
            (value(&metrics, &format!("{name}_sum"))?, value(&metrics, &format!("{name}_count"))?);
        println!("development evidence, {what}: {:.3} ms (mean of {count})", sum / count * 1000.0);
    }
    Ok(())
}

/// The value of the metric, of which there is one.
fn value(metrics: &str, name: &str) -> anyhow::Result<f64> {
    let line = metrics.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    Ok(line.rsplit(' ').next().context("no value")?.parse()?)
}
