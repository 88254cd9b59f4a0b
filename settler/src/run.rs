//! The process: one settler is active, others stand by.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::settler::{Settler, SettlerError, Step};

/// Longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Unix time, seconds.
#[must_use]
pub fn unix_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// How often a settler looks, and how long the lease lasts that the active one renews at every step.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub poll: Duration,
    pub lease: Duration,
}

/// Settles until `stop`, as long as nobody else does; `tell` hears whether it does.
///
/// The lease spares the others their work; it protects nothing: the log of decisions does. So one that has lost it
/// between two calls does no harm.
pub async fn run(
    settler: &mut Settler,
    holder: &str,
    pace: Pace,
    metrics: &Metrics,
    tell: &watch::Sender<bool>,
    stop: &CancellationToken,
) {
    let mut failures = 0_u32;
    let mut active = false;
    while !stop.is_cancelled() {
        let pause = match turn(settler, holder, pace.lease, metrics, &mut active).await {
            Ok(Some(step)) => {
                failures = 0;
                Settler::pause(&step, pace.poll)
            }
            Ok(None) => pace.poll,
            Err(error) => {
                metrics.failed();
                tracing::warn!(%error, "this step has to be tried again");
                failures = failures.saturating_add(1);
                (pace.poll * 2_u32.saturating_pow(failures.min(10))).min(LONGEST_PAUSE)
            }
        };
        tell.send_replace(active);
        let _ = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    if active && let Err(error) = settler.books().give_up_lease(holder).await {
        tracing::warn!(%error, "the lease was not given up: it runs out");
    }
}

/// One step, or none where another settler is active.
async fn turn(
    settler: &mut Settler,
    holder: &str,
    lasts: Duration,
    metrics: &Metrics,
    active: &mut bool,
) -> Result<Option<Step>, SettlerError> {
    let lease = settler.books().hold_lease(holder, lasts).await?;
    let is_active = lease.holder == holder;
    if is_active != *active {
        let state = if is_active { "active" } else { "standing by" };
        tracing::info!(state, holder = lease.holder, "the lease");
        *active = is_active;
    }
    metrics.active(is_active);
    if !is_active {
        // So that it knows most of the log when it is its turn.
        settler.catch_up().await?;
        return Ok(None);
    }
    let step = settler.step(unix_now()).await?;
    tracing::debug!(?step, "stepped");
    metrics.stepped(&step, settler.treasury());
    Ok(Some(step))
}
