//! One backend and what is known of its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cocoon_attestation::Verdict;
use cocoon_receipts::{Digest, VerifyingKey};
use cocoon_sealing::{Kem, PublicKey};
use http::uri::Authority;
use tokio::sync::{Notify, watch};

use super::{Checked, Standing};
use crate::clock::now_ms;

/// Keysets of one boot that are remembered. A backend changes its keys every few hours and accepts one for a day more.
const MAX_EARLIER: usize = 16;
/// Longest that a verdict is counted as good for without being given again.
const LONGEST_LEFT: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A backend is asked for its evidence out of turn at most this often: anyone with an API key can name a keyset that
/// does not exist.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A backend whose evidence the policy accepted: only this can be sent to.
#[derive(Debug)]
pub struct Attested {
    pub verdict: Verdict,
    /// Digest of the policy that the verdict was given under.
    pub policy: Digest,
    /// The keys requests are sealed to, by their ids; X25519 is always there and first.
    pub keys: Vec<(u8, PublicKey)>,
    pub receipt_key: VerifyingKey,
}

impl Attested {
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.verdict.digest
    }

    #[must_use]
    pub fn model(&self) -> &str {
        &self.verdict.keyset.model.id
    }

    /// What the gateway itself seals to: a key that is safe from a later quantum computer, where there is one.
    #[must_use]
    pub fn strongest_key(&self) -> Option<&PublicKey> {
        let of = |kem| self.keys.iter().map(|(_, key)| key).find(|key| key.kem() == kem);
        of(Kem::XWing).or_else(|| of(Kem::X25519))
    }

    fn is_of_boot(&self, other: &Self) -> bool {
        self.receipt_key == other.receipt_key
    }
}

/// What the verifications of a backend came to.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The last verdict, unless it was taken back; it may have run out.
    current: Option<Arc<Attested>>,
    /// When it has, by a clock that nobody sets.
    until: Option<Instant>,
    /// Verified before, in the same boot and under the same policy, newest first: the backend may still accept their
    /// keys.
    pub earlier: Vec<Arc<Attested>>,
    /// The last verdict that there was, whatever came after it.
    pub last_verified: Option<Arc<Attested>>,
    /// How the last verification ended; none before the first has.
    pub standing: Option<Standing>,
    /// Verifications so far, whatever they came to.
    pub checks: u64,
}

impl Known {
    /// The verdict in force, if any: one that has run out is none, by either clock.
    #[must_use]
    pub fn current(&self) -> Option<&Arc<Attested>> {
        let in_time = self.until.is_some_and(|until| Instant::now() < until);
        self.current.as_ref().filter(|attested| in_time && now_ms() < attested.verdict.valid_until)
    }

    /// All keysets whose keys the backend may accept, newest first, whether or not it may be used.
    pub fn keysets(&self) -> impl Iterator<Item = &Arc<Attested>> {
        self.current.iter().chain(&self.earlier)
    }

    fn retire_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.earlier.insert(0, current);
            self.earlier.truncate(MAX_EARLIER);
        }
    }

    /// What went before is forgotten once the backend was started again, as its private keys are gone with the receipt
    /// key, and once the policy is another, which may not have accepted it.
    fn accept(&mut self, attested: Attested, now_ms: u64) {
        self.retire_current();
        self.earlier.retain(|earlier| {
            earlier.is_of_boot(&attested)
                && earlier.policy == attested.policy
                && earlier.digest() != attested.digest()
        });
        let left = Duration::from_millis(attested.verdict.valid_until.saturating_sub(now_ms));
        // A year stands for more than a clock can count.
        self.until = Some(Instant::now() + left.min(LONGEST_LEFT));
        let attested = Arc::new(attested);
        self.current = Some(Arc::clone(&attested));
        self.last_verified = Some(attested);
    }
}

/// One configured backend.
#[derive(Debug)]
pub struct Backend {
    pub authority: Authority,
    known: watch::Sender<Known>,
    in_flight: AtomicUsize,
    suspected: Notify,
    asked: Mutex<Option<Asked>>,
}

/// The last time the backend was asked out of turn.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// The number of checks once the answer is in.
    answered_at: u64,
}

impl Backend {
    #[must_use]
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            known: watch::Sender::default(),
            in_flight: AtomicUsize::new(0),
            suspected: Notify::new(),
            asked: Mutex::default(),
        }
    }

    /// The verdict in force, if any: one that has run out is none.
    #[must_use]
    pub fn attested(&self) -> Option<Arc<Attested>> {
        self.known.borrow().current().cloned()
    }

    /// What is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        self.known.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// Takes down what a verification came to. One that failed takes the verdict before it back, or leaves it to run out
    /// ([`AttestError::ends_verdict`](crate::attest::AttestError::ends_verdict)). Who was chosen before goes on.
    pub fn record(&self, checked: Checked) {
        let Checked { outcome, at, took, .. } = checked;
        self.known.send_modify(|known| {
            known.checks += 1;
            let outcome = match outcome {
                Ok(attested) => {
                    known.accept(attested, at);
                    Ok(())
                }
                Err(error) => {
                    if error.ends_verdict() {
                        known.retire_current();
                    }
                    Err(error)
                }
            };
            known.standing = Some(Standing::after(known.standing.as_ref(), outcome, at, took));
            known.earlier.retain(|earlier| earlier.verdict.keyset.not_after > at);
        });
    }

    /// Lets the verdict in force run out `within` that time at the latest, unless it is given again.
    pub fn renew_within(&self, within: Duration) {
        let latest = Instant::now() + within;
        // Nobody waits for a verdict to run out.
        self.known.send_if_modified(|known| {
            known.until = known.until.map(|until| until.min(latest));
            false
        });
    }

    /// When the verdict runs out, or has.
    #[cfg(test)]
    pub(crate) fn runs_out(&self) -> Option<Instant> {
        self.known.borrow().until
    }

    /// Whether the last verification refused the backend.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.known.borrow().standing.as_ref().is_some_and(|standing| standing.refused_by().is_some())
    }

    /// Whether `keyset` was verified here and is remembered.
    #[must_use]
    pub fn has_been(&self, keyset: Digest) -> bool {
        let known = self.known.borrow();
        known.keysets().chain(&known.last_verified).any(|attested| attested.digest() == keyset)
    }

    /// Takes the backend out of use until it was verified again, if `keyset` is still the one in force.
    pub fn suspect(&self, keyset: Digest) {
        let dropped = self.known.send_if_modified(|known| {
            let is_current = known.current.as_ref().is_some_and(|current| current.digest() == keyset);
            if is_current {
                known.retire_current();
            }
            is_current
        });
        if dropped {
            self.suspected.notify_one();
        }
    }

    /// Has the backend verified out of turn, unless that was done just now. Returns the number of checks after which
    /// the answer is in.
    pub fn ask_again(&self) -> u64 {
        let checks = self.known.borrow().checks;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = asked.filter(|last| last.at.elapsed() < ASK_AGAIN_AFTER) {
            return last.answered_at;
        }
        *asked = Some(Asked { at: Instant::now(), answered_at: checks + 1 });
        self.suspected.notify_one();
        checks + 1
    }

    /// Waits until there were that many checks, for `patience` at most.
    pub async fn checked(&self, checks: u64, patience: Duration) {
        let mut known = self.known.subscribe();
        // Either way whoever waited goes on with what is known then.
        let _ = tokio::time::timeout(patience, known.wait_for(|known| known.checks >= checks)).await;
    }

    /// Resolves once the backend is to be verified out of turn.
    pub async fn suspicion(&self) {
        self.suspected.notified().await;
    }

    /// Requests in flight.
    #[must_use]
    pub fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A backend chosen for one attempt; counts as one request in flight until dropped.
#[derive(Debug)]
pub struct Chosen {
    pub backend: Arc<Backend>,
    pub attested: Arc<Attested>,
}

impl Chosen {
    pub(super) fn new(backend: Arc<Backend>, attested: Arc<Attested>) -> Self {
        backend.in_flight.fetch_add(1, Ordering::Relaxed);
        Self { backend, attested }
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.backend.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
