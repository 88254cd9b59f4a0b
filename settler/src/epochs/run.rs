//! Epochs beside payouts.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::step::{EpochStep, Epochs};
use crate::metrics::Metrics;
use crate::run::unix_now;

/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Decides and publishes epochs until `stop`, as long as this settler is `active`.
pub async fn run_epochs(
    epochs: &mut Epochs,
    poll: Duration,
    active: watch::Receiver<bool>,
    metrics: &Metrics,
    stop: &CancellationToken,
) {
    let mut failures = 0_u32;
    while !stop.is_cancelled() {
        let is_active = *active.borrow();
        let pause = match epochs.step(unix_now(), is_active).await {
            Ok(step) => {
                tracing::debug!(?step, "epochs");
                failures = 0;
                metrics.epochs().stepped(&step, epochs);
                match step {
                    EpochStep::Decided { .. } | EpochStep::Overtaken => Duration::ZERO,
                    _ => poll,
                }
            }
            Err(error) => {
                metrics.epochs().failed();
                tracing::warn!(%error, "epochs have to be tried again; payouts go on");
                failures = failures.saturating_add(1);
                (poll * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
            }
        };
        let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}
