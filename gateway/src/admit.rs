//! Step 4: may this request run, and how much is held for it. One ledger call; a refusal has moved nothing.

use std::sync::Arc;

use cocoon_ledger::{
    Estimate, Ledger, LedgerError, Refusal, Release, ReleaseReason, Reserve, Reserved, Work, is_channel,
};
use cocoon_openapi::estimate::Bound;
use cocoon_receipts::{NanoTon, RequestId};
use tokio_util::task::TaskTracker;

use crate::accept::{Gateway, InFlight};
use crate::authenticate::ApiKey;
use crate::error::Failure;
use crate::unheard;
use cocoon_openapi::Endpoint;

/// What a request to `path` is about.
#[must_use]
pub fn work(path: &str) -> Work {
    if path == Endpoint::Embeddings.path() { Work::Embeddings } else { Work::Completions }
}

/// A request that holds part of its account's balance. Dropped before it was sent, it gives the hold back.
#[derive(Debug)]
pub struct Admitted {
    pub request: RequestId,
    pub key: ApiKey,
    /// The hold: the ticket's `max_cost`.
    pub hold: NanoTon,
    ledger: Arc<dyn Ledger>,
    tracker: TaskTracker,
    armed: bool,
}

/// Who asks.
#[derive(Debug)]
pub struct Asker<'a> {
    pub request: RequestId,
    pub key: ApiKey,
    /// Learns what the key's limits leave.
    pub slot: &'a InFlight,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct What<'a> {
    pub endpoint: Endpoint,
    pub model: &'a str,
    /// What it may cost.
    pub bound: Bound,
}

/// Reserves.
///
/// # Errors
/// 401 for a revoked key, 402, 429, or 503 where the store does not answer.
pub async fn admit(gateway: &Gateway, asker: Asker<'_>, what: What<'_>) -> Result<Admitted, Failure> {
    let Asker { request, key, slot } = asker;
    let reserve = Reserve {
        request,
        account: key.sub.clone(),
        key: key.jti.clone(),
        project: key.project.clone(),
        model: what.model.to_owned(),
        work: work(what.endpoint.path()),
        estimate: Estimate {
            worst_case: what.bound.worst_case,
            useful_minimum: what.bound.useful_minimum,
            tokens: what.bound.tokens,
        },
        limits: key.limits,
        lease: gateway.config.lease(),
    };
    // From here on a hold may exist, whatever becomes of this call.
    let mut admitted = Admitted {
        request,
        key,
        hold: NanoTon::ZERO,
        ledger: Arc::clone(&gateway.ledger),
        tracker: gateway.tracker.clone(),
        armed: true,
    };
    match gateway.ledger.reserve(&reserve).await {
        Ok(Reserved::Held { amount, rates }) => {
            admitted.hold = amount;
            slot.rates.get_or_init(|| rates);
            refuse_closed_channel(gateway, &reserve).await?;
            Ok(admitted)
        }
        Ok(Reserved::Refused(refusal)) => {
            admitted.armed = false;
            if let Refusal::Limited { rates, .. } = refusal {
                slot.rates.get_or_init(|| rates);
            }
            let topup = gateway.config.billing.topup(&reserve.account, missing(&refusal));
            Err(Failure::refused(refusal).with_topup(topup))
        }
        Err(error) => Err(store_failure(&error, "reserve", request)),
    }
}

/// A channel that was closed after its voucher was taken, and before the hold: its contract may pay nothing any more. One
/// that is closed from now on waits for the hold.
async fn refuse_closed_channel(gateway: &Gateway, reserve: &Reserve) -> Result<(), Failure> {
    if !is_channel(&reserve.account) {
        return Ok(());
    }
    let channel = gateway.ledger.channel(&reserve.account).await;
    match channel.map_err(|error| store_failure(&error, "channel", reserve.request))? {
        Some(channel) if !channel.closed => Ok(()),
        _ => Err(Failure::channel_closed()),
    }
}

/// What would have to be paid in for the request; none where that is not what it was refused for.
fn missing(refusal: &Refusal) -> Option<NanoTon> {
    match refusal {
        Refusal::InsufficientBalance { needed, available } => {
            Some(NanoTon(needed.0.saturating_sub(available.0)))
        }
        _ => None,
    }
}

/// What a client sees of a ledger that failed; the rest is logged.
pub(crate) fn store_failure(error: &LedgerError, operation: &str, request: RequestId) -> Failure {
    match error {
        LedgerError::Unavailable(_) => {
            // The store itself logs when it goes and when it is back.
            tracing::debug!(%error, operation, %request, "refused while the ledger is down");
            Failure::store_down()
        }
        _ => {
            tracing::error!(%error, operation, %request, "ledger failed");
            Failure::internal()
        }
    }
}

impl Admitted {
    /// From here on the backend's receipt ends the hold, or its lease does.
    pub fn sent(&mut self) {
        self.armed = false;
    }

    /// It was not sent after all, or not whole: nothing runs for it.
    pub(crate) fn not_sent(&mut self) {
        self.armed = true;
    }

    /// Gives the hold back.
    pub async fn release(mut self, reason: ReleaseReason) {
        self.armed = false;
        release(self.ledger.as_ref(), &self.to_release(reason)).await;
    }

    fn to_release(&self, reason: ReleaseReason) -> Release {
        let ApiKey { sub, jti, project, .. } = &self.key;
        Release {
            account: sub.clone(),
            key: jti.clone(),
            project: project.clone(),
            request: self.request,
            reason,
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (ledger, gone) = (Arc::clone(&self.ledger), self.to_release(ReleaseReason::ClientGone));
        self.tracker.spawn(async move { release(ledger.as_ref(), &gone).await });
    }
}

async fn release(ledger: &dyn Ledger, hold: &Release) {
    if let Err(error) = ledger.release(hold).await {
        unheard::log(&error, "release; its lease will end the hold", Some(hold.request));
    }
}
