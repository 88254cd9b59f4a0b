//! The one thread that signs: order, signature and disk are one step for every receipt.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::books::Kept;
use super::chain::{Chain, CheckpointDraft, Draft};
use super::delivery::Backlog;
use super::outbox::{Mark, Outbox};
use crate::Error;
use crate::clock::now_ms;

/// Receipts that wait for one fsync.
const LARGEST_BATCH: usize = 128;
/// Requests for a signature that wait for the thread; more wait for a place.
const QUEUE: usize = 1024;

/// There is no receipt: the answer must not end as if there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no receipt could be signed and kept")]
pub(crate) struct SignError;

enum Work {
    Receipt { draft: Box<Draft>, ticket: String, signed: oneshot::Sender<String> },
    Checkpoint { draft: CheckpointDraft, signed: oneshot::Sender<String> },
    Marks(Vec<Mark>),
    End,
}

/// A handle on the thread.
#[derive(Debug, Clone)]
pub(crate) struct Signer(mpsc::Sender<Work>);

impl Signer {
    /// Starts the thread. Receipts that it has kept go to `fresh`; a disk that fails goes to `fatal`.
    ///
    /// # Errors
    /// Where the system has no thread to give.
    pub(crate) fn start(
        chain: Chain,
        outbox: Outbox,
        backlog: Backlog,
        fresh: mpsc::UnboundedSender<Arc<Kept>>,
        fatal: mpsc::Sender<Error>,
    ) -> Result<(Self, JoinHandle<()>), Error> {
        let (sender, work) = mpsc::channel(QUEUE);
        let thread = Thread { chain, outbox, backlog, fresh, fatal };
        let builder = std::thread::Builder::new().name("receipts".to_owned());
        let thread = builder.spawn(move || thread.run(work)).map_err(Error::Outbox)?;
        Ok((Self(sender), thread))
    }

    /// Signs and keeps a receipt; once this returns, its signed form may leave.
    ///
    /// # Errors
    /// [`SignError`].
    pub(crate) async fn receipt(&self, draft: Draft, ticket: String) -> Result<String, SignError> {
        let (signed, token) = oneshot::channel();
        let work = Work::Receipt { draft: Box::new(draft), ticket, signed };
        self.0.send(work).await.map_err(|_| SignError)?;
        token.await.map_err(|_| SignError)
    }

    /// Signs a checkpoint, which is kept nowhere.
    ///
    /// # Errors
    /// [`SignError`].
    pub(crate) async fn checkpoint(&self, draft: CheckpointDraft) -> Result<String, SignError> {
        let (signed, token) = oneshot::channel();
        self.0.send(Work::Checkpoint { draft, signed }).await.map_err(|_| SignError)?;
        token.await.map_err(|_| SignError)
    }

    pub(super) async fn record(&self, marks: Vec<Mark>) {
        // A thread that is gone has said so; the marks are then made again after the next start.
        drop(self.0.send(Work::Marks(marks)).await);
    }

    /// Ends the thread, after everything that was asked of it before.
    pub(crate) async fn end(&self) {
        drop(self.0.send(Work::End).await);
    }
}

struct Thread {
    chain: Chain,
    outbox: Outbox,
    backlog: Backlog,
    fresh: mpsc::UnboundedSender<Arc<Kept>>,
    fatal: mpsc::Sender<Error>,
}

impl Thread {
    fn run(mut self, mut work: mpsc::Receiver<Work>) {
        while let Some(first) = work.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < LARGEST_BATCH
                && let Ok(more) = work.try_recv()
            {
                batch.push(more);
            }
            match self.do_batch(batch) {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => {
                    tracing::error!(%error, "the outbox cannot be written");
                    drop(self.fatal.try_send(Error::Outbox(error)));
                    return;
                }
            }
        }
    }

    /// True where it was the last.
    fn do_batch(&mut self, batch: Vec<Work>) -> std::io::Result<bool> {
        let before = self.chain.last();
        let (mut receipts, mut answers, mut marks, mut end) = (Vec::new(), Vec::new(), Vec::new(), false);
        for work in batch {
            match work {
                Work::Receipt { draft, ticket, signed } => {
                    let cost = draft.cost;
                    match self.chain.sign(*draft, now_ms()) {
                        Ok((id, receipt)) => {
                            receipts.push(Arc::new(Kept { id, receipt, ticket, cost }));
                            answers.push(signed);
                        }
                        Err(error) => tracing::error!(%error, "a receipt could not be signed"),
                    }
                }
                Work::Checkpoint { draft, signed } => {
                    if let Ok(token) = self.chain.checkpoint(draft, now_ms()) {
                        drop(signed.send(token));
                    }
                }
                Work::Marks(more) => marks.extend(more),
                Work::End => end = true,
            }
        }
        if !receipts.is_empty() {
            self.outbox.append(&receipts).inspect_err(|_| self.chain.go_back_to(before))?;
        }
        self.backlog.add(receipts.len());
        for (kept, signed) in receipts.into_iter().zip(answers) {
            // Handed to delivery first: a request that has its receipt may be the last before the end, and the last
            // delivery must know of it. It is delivered even where the request's task is gone.
            let receipt = kept.receipt.clone();
            drop(self.fresh.send(kept));
            drop(signed.send(receipt));
        }
        if !marks.is_empty() {
            self.outbox.record(marks)?;
        }
        Ok(end)
    }
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::{Checkpoint, Digest, NanoTon, Receipt, Usage};

    use super::super::chain::tests::{chain, draft};
    use super::*;

    #[tokio::test]
    async fn receipts_asked_for_at_once_form_one_chain_and_are_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = chain();
        let (fresh, mut delivered) = mpsc::unbounded_channel();
        let (fatal, _failed) = mpsc::channel(1);
        let outbox = Outbox::open(dir.path()).unwrap();
        let (signer, thread) = Signer::start(chain, outbox, Backlog::default(), fresh, fatal).unwrap();

        let mut asked = tokio::task::JoinSet::new();
        for n in 0..50 {
            let signer = signer.clone();
            asked.spawn(async move { signer.receipt(draft(), format!("t{n}")).await.unwrap() });
        }
        let tokens = asked.join_all().await;
        let mut receipts: Vec<_> =
            tokens.iter().map(|token| (Receipt::verify(token, &key).unwrap(), token)).collect();
        receipts.sort_by_key(|(receipt, _)| receipt.seq);
        let mut prev = Digest([0; 32]);
        for (n, (receipt, token)) in receipts.iter().enumerate() {
            assert_eq!((receipt.seq, receipt.prev), (n as u64 + 1, prev));
            prev = Digest::of(&[token.as_bytes()]);
        }
        signer.end().await;
        thread.join().unwrap();
        let mut count = 0;
        while delivered.recv().await.is_some() {
            count += 1;
        }
        assert_eq!((count, Outbox::open(dir.path()).unwrap().pending().count()), (50, 50));
    }

    #[tokio::test]
    async fn a_checkpoint_is_no_link_of_the_chain() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = chain();
        let (fresh, _delivered) = mpsc::unbounded_channel();
        let (fatal, _failed) = mpsc::channel(1);
        let outbox = Outbox::open(dir.path()).unwrap();
        let (signer, _thread) = Signer::start(chain, outbox, Backlog::default(), fresh, fatal).unwrap();
        let so_far = CheckpointDraft {
            keyset: Digest([9; 32]),
            ticket: Digest([1; 32]),
            usage: Usage::default(),
            cost: NanoTon(0),
        };
        let token = signer.checkpoint(so_far).await.unwrap();
        assert!(Checkpoint::verify(&token, &key).is_ok());
        let token = signer.receipt(draft(), "t".into()).await.unwrap();
        assert_eq!(Receipt::verify(&token, &key).unwrap().seq, 1);
    }
}
