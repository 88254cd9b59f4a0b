//! Checkpoints on their way: the newest of each running request, and nothing on disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_openapi::{Delivery, MAX_DELIVERIES};
use cocoon_receipts::RequestId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::gateways::Gateways;

/// What waits to be posted. One that is not taken is not sent again: a newer one follows soon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checkpoints(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    newest: Mutex<HashMap<RequestId, Delivery>>,
    changed: Notify,
}

impl Checkpoints {
    pub(crate) fn put(&self, request: RequestId, checkpoint: Delivery) {
        self.newest().insert(request, checkpoint);
        self.0.changed.notify_one();
    }

    /// The request has ended: its receipt says more.
    pub(crate) fn forget(&self, request: RequestId) {
        self.newest().remove(&request);
    }

    /// Posts until `stop`.
    pub(crate) async fn run(self, gateways: Arc<Gateways>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.changed.notified() => {}
            }
            loop {
                let batch = self.take();
                if batch.is_empty() {
                    break;
                }
                let posted = tokio::select! {
                    () = stop.cancelled() => return,
                    posted = gateways.post(batch) => posted,
                };
                if let Err(error) = posted {
                    tracing::warn!(%error, "checkpoints could not be delivered");
                }
            }
        }
    }

    fn take(&self) -> Vec<Delivery> {
        let mut newest = self.newest();
        let requests: Vec<RequestId> = newest.keys().take(MAX_DELIVERIES).copied().collect();
        requests.iter().filter_map(|request| newest.remove(request)).collect()
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, Delivery>> {
        self.0.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(token: &str) -> Delivery {
        Delivery { token: token.into(), ticket: "t".into() }
    }

    #[test]
    fn only_the_newest_of_a_running_request_is_sent() {
        let checkpoints = Checkpoints::default();
        let (one, two) = (RequestId::generate(), RequestId::generate());
        checkpoints.put(one, checkpoint("1"));
        checkpoints.put(one, checkpoint("2"));
        checkpoints.put(two, checkpoint("3"));
        checkpoints.forget(two);
        assert_eq!(checkpoints.take(), [checkpoint("2")]);
        assert!(checkpoints.take().is_empty());
    }
}
