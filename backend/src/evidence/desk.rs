//! One quote for everyone: nonces that wait together become the leaves of one tree.

use std::sync::Arc;
use std::time::Duration;

use cocoon_attestation::tree::{MAX_LEAVES, Tree};
use cocoon_attestation::{Document, Nonce, Section};
use cocoon_receipts::Digest;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::tsm::{StdFs, TsmFs};
use super::{Evidence, EvidenceError};
use crate::keyring::Keyring;

/// Longest time for one document: beyond what its parts may take, each with a limit of its own.
const GATHER_LIMIT: Duration = Duration::from_secs(60);

/// Why a caller gets no document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    #[error("as many callers as one quote can serve are waiting")]
    Busy,
    #[error("the evidence cannot be gathered")]
    Failed,
}

/// Signs the published keyset under a root.
pub(crate) trait Witness: Send + Sync + 'static {
    /// The document for `root`, without an inclusion proof.
    fn attest(&self, root: Digest) -> impl Future<Output = Result<Document, EvidenceError>> + Send;
}

/// The witness of a running backend.
#[derive(Debug)]
pub(crate) struct Published<F = StdFs> {
    pub(crate) evidence: Arc<Evidence<F>>,
    pub(crate) keyring: Arc<Keyring>,
}

impl<F: TsmFs> Witness for Published<F> {
    async fn attest(&self, root: Digest) -> Result<Document, EvidenceError> {
        let devices = self.evidence.devices(root).await?;
        // Not before: that may have taken seconds, and the keys may have been replaced meanwhile.
        let keyset = self.keyring.keyset();
        self.evidence.document(root, keyset, devices).await
    }
}

#[derive(Debug)]
struct Waiting {
    nonce: Nonce,
    document: oneshot::Sender<Document>,
}

/// Where callers wait for the next quote.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    waiting: mpsc::Sender<Waiting>,
}

impl Desk {
    /// A desk, and what serves it with at most one quote in `interval`.
    pub(crate) fn new<W: Witness>(witness: W, interval: Duration) -> (Self, Maker<W>) {
        // What waits is at most what one tree holds.
        let (waiting, queue) = mpsc::channel(MAX_LEAVES);
        (Self { waiting }, Maker { witness, interval, from: Instant::now(), queue })
    }

    /// The document for a nonce.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub(crate) async fn document(&self, nonce: Nonce) -> Result<Document, Unavailable> {
        let (document, made) = oneshot::channel();
        self.waiting.try_send(Waiting { nonce, document }).map_err(|refused| match refused {
            TrySendError::Full(_) => Unavailable::Busy,
            TrySendError::Closed(_) => Unavailable::Failed,
        })?;
        made.await.map_err(|_| Unavailable::Failed)
    }
}

/// Makes the quotes.
#[derive(Debug)]
pub(crate) struct Maker<W> {
    witness: W,
    interval: Duration,
    /// No quote is begun before.
    from: Instant,
    queue: mpsc::Receiver<Waiting>,
}

impl<W: Witness> Maker<W> {
    /// Serves until `stop`; who waits then gets nothing.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            while let Some(batch) = self.next().await {
                self.serve(batch).await;
            }
        })
        .await;
    }

    /// Those who are there once a quote may be made. They wait in the queue, so that its bound is theirs.
    async fn next(&mut self) -> Option<Vec<Waiting>> {
        tokio::time::sleep_until(self.from).await;
        let mut batch = Vec::new();
        let taken = self.queue.recv_many(&mut batch, MAX_LEAVES).await;
        (taken > 0).then_some(batch)
    }

    async fn serve(&mut self, mut batch: Vec<Waiting>) {
        batch.retain(|waiting| !waiting.document.is_closed());
        let nonces: Vec<Nonce> = batch.iter().map(|waiting| waiting.nonce).collect();
        // None where all have gone.
        let Some(tree) = Tree::new(&nonces) else { return };
        self.from = Instant::now() + self.interval;
        let made = tokio::time::timeout(GATHER_LIMIT, self.witness.attest(tree.root())).await;
        let document = match made.unwrap_or(Err(EvidenceError::TooLong(GATHER_LIMIT))) {
            Ok(document) => document,
            Err(error) => {
                tracing::error!(%error, callers = batch.len(), "no attestation document");
                return;
            }
        };
        for (index, waiting) in batch.into_iter().enumerate() {
            if let Some(path) = tree.path(index) {
                let document = Document { nonce_path: Section(path), ..document.clone() };
                // One who has gone needs none.
                drop(waiting.document.send(document));
            }
        }
    }
}

#[cfg(test)]
mod tests;
