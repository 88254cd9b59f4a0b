//! Which keys are published, which are still accepted, and when both end.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use cocoon_openapi::x_conf::MAX_SKEW_MS;
use cocoon_receipts::Digest;
use cocoon_sealing::Kem;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::clock::now_ms;
use crate::epoch::{Epoch, RequestKey};
use crate::identity::Identity;
use crate::replay::Admitted;

/// How long keys last, by the monotonic clock: a wall clock that is set back must not keep a key alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Periods {
    /// Published, but for a tenth more or less.
    pub(crate) published: Duration,
    /// Accepted after that: plain EHBP clients do not fetch keys by themselves.
    pub(crate) x25519_overlap: Duration,
    /// Accepted after that: whoever seals with X-Wing follows rotations.
    pub(crate) xwing_overlap: Duration,
}

impl Periods {
    fn overlap(&self, kem: Kem) -> Duration {
        match kem {
            Kem::X25519 => self.x25519_overlap,
            Kem::XWing => self.xwing_overlap,
        }
    }

    /// Random, so that the backends of a deployment do not rotate together.
    fn jittered(&self) -> Duration {
        self.published.mul_f64(fastrand::f64().mul_add(0.2, 0.9))
    }
}

/// The keys of this backend.
#[derive(Debug)]
pub(crate) struct Keyring {
    identity: Arc<Identity>,
    periods: Periods,
    /// Requests that one key admits.
    most: usize,
    held: RwLock<Held>,
    /// A key has admitted as many as it may.
    full: Notify,
}

#[derive(Debug)]
struct Held {
    published: Epoch,
    until: Instant,
    /// The newest first.
    earlier: Vec<Earlier>,
}

/// A key that is no longer published.
#[derive(Debug)]
struct Earlier {
    key: Arc<RequestKey>,
    until: Instant,
}

impl Keyring {
    /// Makes the first keys.
    ///
    /// # Errors
    /// [`Error::HpkeKey`].
    pub(crate) fn new(identity: Arc<Identity>, periods: Periods, most: usize) -> Result<Self, Error> {
        let published = make(&identity, &periods, most, now_ms())?;
        let until = Instant::now() + periods.jittered();
        let held = RwLock::new(Held { published, until, earlier: Vec::new() });
        Ok(Self { identity, periods, most, held, full: Notify::new() })
    }

    /// Name of the published keyset.
    pub(crate) fn published(&self) -> Digest {
        self.held().published.digest
    }

    /// The published keyset's exact bytes.
    pub(crate) fn keyset(&self) -> Vec<u8> {
        self.held().published.keyset.clone()
    }

    /// The published key configurations.
    pub(crate) fn key_configs(&self) -> Vec<u8> {
        self.held().published.key_configs.clone()
    }

    /// Whether any key of the keyset `epoch` is accepted.
    pub(crate) fn is_live(&self, epoch: Digest, now: Instant) -> bool {
        self.held().accepted(now).any(|key| key.epoch == epoch)
    }

    /// The keys for `kem` that are accepted, the newest first; only that of `epoch`, where one is named.
    pub(crate) fn keys(&self, kem: Kem, epoch: Option<Digest>, now: Instant) -> Vec<Arc<RequestKey>> {
        let held = self.held();
        let keys = held.accepted(now).filter(|key| key.kem() == kem);
        keys.filter(|key| epoch.is_none_or(|epoch| key.epoch == epoch)).cloned().collect()
    }

    /// Admits a request that `key` has opened. A key that is full makes way for the next at once.
    pub(crate) fn admit(&self, key: &RequestKey, encapsulated_key: &[u8]) -> Admitted {
        let admitted = key.admitted.admit(encapsulated_key);
        if key.admitted.is_full() {
            self.full.notify_one();
        }
        admitted
    }

    /// Publishes new keys when it is time, or when a published one is full, and drops those that are through. Says when
    /// to look again.
    fn turn(&self, now: Instant, now_ms: u64) -> Result<Instant, Error> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if now >= held.until || held.published.keys.iter().any(|key| key.admitted.is_full()) {
            let next = make(&self.identity, &self.periods, self.most, now_ms)?;
            tracing::info!(keyset = %next.digest, before = %held.published.digest, "new keys are published");
            let before = std::mem::replace(&mut held.published, next);
            held.until = now + self.periods.jittered();
            let earlier = before.keys.into_iter().map(|key| {
                let until = now + self.periods.overlap(key.kem());
                Earlier { key, until }
            });
            held.earlier.splice(..0, earlier);
        }
        // A full key admits nothing more: without it, clients are told to fetch the next.
        held.earlier.retain(|earlier| earlier.until > now && !earlier.key.admitted.is_full());
        let ends = held.earlier.iter().map(|earlier| earlier.until);
        Ok(ends.fold(held.until, Instant::min))
    }

    /// Rotates until `stop`. Where no key can be made, says so to `fatal`: without randomness no answer can be sealed
    /// either.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken, fatal: mpsc::Sender<Error>) {
        loop {
            let next = match self.turn(Instant::now(), now_ms()) {
                Ok(next) => next,
                Err(error) => {
                    drop(fatal.try_send(error));
                    return;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep_until(next) => {}
                () = self.full.notified() => {}
            }
        }
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// The newest first. Judged by the clock too, not only by what was dropped: a late task keeps no key alive.
    fn accepted(&self, now: Instant) -> impl Iterator<Item = &Arc<RequestKey>> {
        let earlier = self.earlier.iter().filter(move |earlier| earlier.until > now);
        self.published.keys.iter().chain(earlier.map(|earlier| &earlier.key))
    }
}

/// New keys. Their keyset covers all the time that any of them can be accepted, and the skew of a verifier's clock.
fn make(identity: &Identity, periods: &Periods, most: usize, now_ms: u64) -> Result<Epoch, Error> {
    let longest = periods.published.mul_f64(1.1) + periods.x25519_overlap.max(periods.xwing_overlap);
    let longest_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    let not_after = now_ms.saturating_add(longest_ms).saturating_add(MAX_SKEW_MS);
    Epoch::new(identity, now_ms.saturating_sub(MAX_SKEW_MS), not_after, most).map_err(Error::HpkeKey)
}

#[cfg(test)]
pub(crate) mod tests;
