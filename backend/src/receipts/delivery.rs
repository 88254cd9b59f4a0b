//! Delivers receipts until each is acknowledged twice.
//!
//! Twice, because the first acknowledgement may come from a gateway whose store then loses its last second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cocoon_openapi::{Delivery, MAX_DELIVERIES, Outcome};
use cocoon_receipts::{NanoTon, ReceiptId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::books::{Kept, Pending};
use super::gateways::Gateways;
use super::outbox::Mark;
use super::signer::Signer;
use crate::clock::now_ms;

/// A receipt older than this is for a hold that has long been given back.
const MAX_AGE_MS: u64 = 8 * 24 * 3_600_000;
const FIRST_PAUSE_MS: u64 = 200;
const LONGEST_PAUSE_MS: u64 = 10_000;
/// Least time between two attempts while no gateway answers, however many receipts come.
const LEAST_PAUSE: Duration = Duration::from_millis(200);
/// Time for the last attempt when the backend ends.
const LAST_ATTEMPT: Duration = Duration::from_secs(2);
/// Receipts that wait to be delivered; with more, no new request is admitted.
const MAX_BACKLOG: usize = 100_000;
/// Requests to deliver again that are remembered: each gateway makes one for each loss.
const MAX_FOLLOWED: usize = 64;

/// How many receipts wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    pub(crate) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= MAX_BACKLOG
    }

    pub(super) fn add(&self, receipts: usize) {
        self.0.fetch_add(receipts, Ordering::Relaxed);
    }

    fn remove(&self, receipts: usize) {
        self.0.fetch_sub(receipts, Ordering::Relaxed);
    }
}

struct Waiting {
    pending: Pending,
    /// Milliseconds since 1970.
    due: u64,
}

/// The delivery loop.
pub(crate) struct Delivering {
    gateways: Arc<Gateways>,
    signer: Signer,
    backlog: Backlog,
    fresh: mpsc::UnboundedReceiver<Arc<Kept>>,
    waiting: BTreeMap<ReceiptId, Waiting>,
    confirm_ms: u64,
    /// Requests to deliver again that were followed, the newest last.
    followed: VecDeque<String>,
}

impl Delivering {
    /// `left` is what an earlier process did not get delivered.
    pub(crate) fn new(
        gateways: Arc<Gateways>,
        signer: Signer,
        backlog: Backlog,
        fresh: mpsc::UnboundedReceiver<Arc<Kept>>,
        left: Vec<Pending>,
        confirm_ms: u64,
    ) -> Self {
        backlog.add(left.len());
        let due = |pending: &Pending| pending.acknowledged_at.map_or(0, |at| at.saturating_add(confirm_ms));
        let waiting = left
            .into_iter()
            .map(|pending| (pending.kept.id, Waiting { due: due(&pending), pending }))
            .collect();
        Self { gateways, signer, backlog, fresh, waiting, confirm_ms, followed: VecDeque::new() }
    }

    /// Delivers until `stop`, and then once more what no gateway has yet.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            // A post that is cut off here is made again: to acknowledge twice changes nothing.
            let attempt = tokio::select! {
                () = stop.cancelled() => break,
                attempt = self.attempt(now_ms()) => attempt,
            };
            let pause = match attempt {
                Attempt::Nothing(until_next) => until_next,
                Attempt::Delivered => {
                    failures = 0;
                    continue;
                }
                Attempt::Failed => {
                    failures += 1;
                    tokio::select! {
                        () = tokio::time::sleep(LEAST_PAUSE) => {}
                        () = stop.cancelled() => break,
                    }
                    Some(backoff(failures).saturating_sub(LEAST_PAUSE))
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                kept = self.fresh.recv() => match kept {
                    Some(kept) => self.take(kept),
                    None => break,
                },
                () = sleep(pause) => {}
            }
        }
        if tokio::time::timeout(LAST_ATTEMPT, self.flush()).await.is_err() {
            tracing::warn!(receipts = self.waiting.len(), "receipts stay for the next start");
        }
    }

    async fn flush(&mut self) {
        while let Ok(kept) = self.fresh.try_recv() {
            self.take(kept);
        }
        for waiting in self.waiting.values_mut() {
            waiting.due = if waiting.pending.acknowledged_at.is_none() { 0 } else { u64::MAX };
        }
        while let Attempt::Delivered = self.attempt(now_ms()).await {}
    }

    fn take(&mut self, kept: Arc<Kept>) {
        let waiting = Waiting { pending: Pending { kept, acknowledged_at: None, earned: None }, due: 0 };
        self.waiting.insert(waiting.pending.kept.id, waiting);
    }

    /// One post of what is due at `now`.
    async fn attempt(&mut self, now: u64) -> Attempt {
        while let Ok(kept) = self.fresh.try_recv() {
            self.take(kept);
        }
        self.expire().await;
        let due: Vec<Arc<Kept>> = self
            .waiting
            .values()
            .filter(|waiting| waiting.due <= now)
            .take(MAX_DELIVERIES)
            .map(|waiting| Arc::clone(&waiting.pending.kept))
            .collect();
        if due.is_empty() {
            let next = self.waiting.values().map(|waiting| waiting.due).min();
            return Attempt::Nothing(next.map(|at| Duration::from_millis(at.saturating_sub(now))));
        }
        let deliveries = due
            .iter()
            .map(|kept| Delivery { token: kept.receipt.clone(), ticket: kept.ticket.clone() })
            .collect();
        match self.gateways.post(deliveries).await {
            Ok(answer) => {
                self.apply(&due, answer.outcomes).await;
                if let Some(request) = answer.redeliver {
                    self.redeliver(request);
                }
                Attempt::Delivered
            }
            Err(error) => {
                tracing::warn!(%error, receipts = self.waiting.len(), "receipts could not be delivered");
                // Others go first next time, should one of these be what the gateway chokes on.
                for kept in &due {
                    self.delay(kept.id, FIRST_PAUSE_MS);
                }
                Attempt::Failed
            }
        }
    }

    async fn apply(&mut self, delivered: &[Arc<Kept>], outcomes: Vec<Outcome>) {
        let now = now_ms();
        let mut marks = Vec::new();
        for (kept, outcome) in delivered.iter().zip(outcomes) {
            match outcome {
                Outcome::Acknowledged { earned } => marks.extend(self.acknowledge(kept.id, earned, now)),
                Outcome::Refused { code } => {
                    tracing::error!(receipt = %kept.id, code, "a receipt was refused");
                    self.finish(kept.id);
                    marks.push(Mark::Refused(kept.id, code));
                }
                Outcome::Later => self.delay(kept.id, LONGEST_PAUSE_MS / 10),
            }
        }
        if !marks.is_empty() {
            self.signer.record(marks).await;
        }
    }

    fn acknowledge(&mut self, id: ReceiptId, earned: Option<NanoTon>, now: u64) -> Option<Mark> {
        let waiting = self.waiting.get_mut(&id)?;
        let Some(first) = waiting.pending.acknowledged_at else {
            waiting.pending.acknowledged_at = Some(now);
            waiting.due = now.saturating_add(self.confirm_ms);
            return Some(Mark::First(id, now, earned));
        };
        if now < first.saturating_add(self.confirm_ms) {
            return None;
        }
        self.finish(id);
        Some(Mark::Second(id, now, earned))
    }

    /// The ledger lost entries: all that is still here is new to it, whoever acknowledged it. Each request is followed
    /// once.
    fn redeliver(&mut self, request: String) {
        if self.followed.contains(&request) {
            return;
        }
        tracing::warn!(
            receipts = self.waiting.len(),
            "the ledger lost entries: all receipts are delivered again"
        );
        for waiting in self.waiting.values_mut() {
            waiting.pending.acknowledged_at = None;
            waiting.due = 0;
        }
        if self.followed.len() >= MAX_FOLLOWED {
            self.followed.pop_front();
        }
        self.followed.push_back(request);
    }

    async fn expire(&mut self) {
        let oldest = now_ms().saturating_sub(MAX_AGE_MS);
        let mut marks = Vec::new();
        while let Some((id, _)) = self.waiting.first_key_value().filter(|(id, _)| id.made_at_ms() < oldest) {
            let id = *id;
            tracing::error!(receipt = %id, "a receipt was not delivered in time and is dropped");
            self.finish(id);
            marks.push(Mark::Expired(id));
        }
        if !marks.is_empty() {
            self.signer.record(marks).await;
        }
    }

    fn finish(&mut self, id: ReceiptId) {
        if self.waiting.remove(&id).is_some() {
            self.backlog.remove(1);
        }
    }

    fn delay(&mut self, id: ReceiptId, by_ms: u64) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.due = now_ms().saturating_add(by_ms);
        }
    }
}

enum Attempt {
    /// Nothing is due; the next will be after this time, if there is one.
    Nothing(Option<Duration>),
    Delivered,
    Failed,
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// 200 ms doubling to 10 s, of which a random half: gateways that come back are not asked by all at once.
fn backoff(failures: u32) -> Duration {
    let full = FIRST_PAUSE_MS.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE_MS);
    Duration::from_millis(full / 2 + fastrand::u64(..=full / 2))
}

#[cfg(test)]
mod tests {
    use super::super::chain::tests::chain;
    use super::super::outbox::Outbox;
    use super::super::outbox::tests::kept;
    use super::*;

    /// A loop with one receipt, whose posts go nowhere.
    fn delivering(dir: &std::path::Path, confirm_ms: u64) -> (Delivering, ReceiptId) {
        let (fresh, delivered) = mpsc::unbounded_channel();
        let (fatal, _) = mpsc::channel(1);
        let backlog = Backlog::default();
        let outbox = Outbox::open(dir).unwrap();
        let (signer, _) = Signer::start(chain().0, outbox, backlog.clone(), fresh, fatal).unwrap();
        let gateways = Arc::new(Gateways::new(vec!["http://127.0.0.1:1/".parse().unwrap()]));
        let kept = kept("1");
        let id = kept.id;
        let left = vec![Pending { kept, acknowledged_at: None, earned: None }];
        (Delivering::new(gateways, signer, backlog, delivered, left, confirm_ms), id)
    }

    #[tokio::test]
    async fn two_acknowledgements_count_only_with_time_between_them() {
        let dir = tempfile::tempdir().unwrap();
        let (mut delivering, id) = delivering(dir.path(), 1000);
        assert_eq!(delivering.acknowledge(id, None, 5000), Some(Mark::First(id, 5000, None)));
        assert_eq!(delivering.acknowledge(id, None, 5999), None);
        assert_eq!(delivering.backlog.0.load(Ordering::Relaxed), 1);
        assert_eq!(delivering.acknowledge(id, None, 6000), Some(Mark::Second(id, 6000, None)));
        assert_eq!(delivering.backlog.0.load(Ordering::Relaxed), 0);
        assert!(delivering.waiting.is_empty());
    }

    #[tokio::test]
    async fn a_refused_receipt_is_not_sent_again_and_a_later_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let (mut delivering, id) = delivering(dir.path(), 1000);
        let kept = Arc::clone(&delivering.waiting[&id].pending.kept);
        delivering.apply(&[Arc::clone(&kept)], vec![Outcome::Later]).await;
        assert!(delivering.waiting[&id].due > now_ms());
        delivering.apply(&[kept], vec![Outcome::Refused { code: "x".into() }]).await;
        assert!(delivering.waiting.is_empty());
    }

    #[tokio::test]
    async fn a_request_to_deliver_again_is_followed_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut delivering, id) = delivering(dir.path(), 1000);
        delivering.acknowledge(id, None, 5000);
        delivering.redeliver("one".to_owned());
        assert_eq!((delivering.waiting[&id].pending.acknowledged_at, delivering.waiting[&id].due), (None, 0));
        assert_eq!(
            delivering.acknowledge(id, None, 9000),
            Some(Mark::First(id, 9000, None)),
            "it takes two again"
        );
        delivering.redeliver("one".to_owned());
        assert_eq!(delivering.waiting[&id].pending.acknowledged_at, Some(9000));
        delivering.redeliver("two".to_owned());
        assert_eq!(delivering.waiting[&id].pending.acknowledged_at, None);
        for other in 0..MAX_FOLLOWED {
            delivering.redeliver(other.to_string());
        }
        assert_eq!(delivering.followed.len(), MAX_FOLLOWED);
    }

    #[tokio::test]
    async fn a_receipt_stays_while_no_gateway_answers() {
        let dir = tempfile::tempdir().unwrap();
        let (mut delivering, id) = delivering(dir.path(), 1000);
        assert!(matches!(delivering.attempt(now_ms()).await, Attempt::Failed));
        assert!(delivering.waiting.contains_key(&id));
    }

    #[test]
    fn pauses_grow_to_ten_seconds() {
        for (failures, most) in [(1, 200), (2, 400), (6, 6400), (7, 10_000), (u32::MAX, 10_000)] {
            let pause = backoff(failures).as_millis();
            assert!((most / 2..=most).contains(&pause), "{failures}: {pause}");
        }
    }
}
