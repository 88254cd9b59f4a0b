//! What a registry says of the policy and the prices in force, for gateways and sidecars that follow one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Chain, ChainError, Disagreement, Failover, Status};
use crate::registry::{Policy, Published, RegistryStorage};
use crate::{Address, CellHash, REGISTRY_HASH};

/// A policy is in force no earlier than so long after it was proposed, seconds (`contracts/registry.tolk`).
pub const POLICY_DELAY_S: u64 = 48 * 60 * 60;
/// What a registry said stands for so long at least, seconds: a policy whose delay is over may be put in force by anybody
/// at any moment.
const LEAST_S: u64 = 10 * 60;

/// Why nothing is known of a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Disagreement(#[from] Disagreement),
    #[error("{registry} is no registry: {why}")]
    NotARegistry { registry: Address, why: String },
    #[error("an endpoint is behind: it has version {policy} of the policy and table {prices} of the prices")]
    Behind { policy: u32, prices: u32 },
}

/// What the registry at `address` stores, after its code was found to be the registry's; none where nothing is deployed
/// yet.
///
/// # Errors
/// [`RegistryError`].
pub async fn registry(
    chain: &dyn Chain,
    address: &Address,
) -> Result<Option<RegistryStorage>, RegistryError> {
    storage(chain.account(address).await?.status)
        .map_err(|why| RegistryError::NotARegistry { registry: *address, why })
}

fn storage(status: Status) -> Result<Option<RegistryStorage>, String> {
    match status {
        Status::Uninitialized => Ok(None),
        Status::Frozen => Err("it is frozen".to_owned()),
        Status::Active { code, .. } if CellHash::of(&code) != REGISTRY_HASH => {
            Err("its code is another".to_owned())
        }
        Status::Active { data, .. } => {
            RegistryStorage::parse(&data).map(Some).map_err(|error| error.to_string())
        }
    }
}

/// What a registry said, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistryWord {
    pub policy: Policy,
    pub published: Published,
}

impl RegistryWord {
    fn of(storage: RegistryStorage) -> Self {
        Self { policy: storage.policy, published: storage.published }
    }

    /// SHA-256 of the policy in force; none before the first one, and never again after it.
    #[must_use]
    pub fn policy_digest(&self) -> Option<[u8; 32]> {
        (self.policy.version > 0).then_some(self.policy.hash)
    }

    /// SHA-256 of the price table; none before the first one, and never again after it.
    #[must_use]
    pub fn prices_digest(&self) -> Option<[u8; 32]> {
        (self.published.prices_number > 0).then_some(self.published.prices_hash)
    }

    /// Of policy and price table: both only go up.
    fn numbers(&self) -> (u32, u32) {
        (self.policy.version, self.published.prices_number)
    }

    /// Until when no other policy can be in force if this was said at `read_at`, seconds since 1970: what was proposed
    /// since then waits for [`POLICY_DELAY_S`].
    #[must_use]
    pub fn stands_until(&self, read_at: u64) -> u64 {
        let undisturbed = read_at.saturating_add(POLICY_DELAY_S);
        let until = self.policy.pending.map_or(undisturbed, |next| u64::from(next.active_at));
        until.clamp(read_at.saturating_add(LEAST_S), undisturbed)
    }
}

/// Asks one registry again and again, and remembers its last word for as long as that stands.
#[derive(Debug)]
pub struct RegistryReader {
    chain: Failover,
    address: Address,
    /// Whether two endpoints of different operators must say the same.
    confirmed: bool,
    last: Mutex<Option<(Arc<RegistryWord>, u64)>>,
}

impl RegistryReader {
    #[must_use]
    pub fn new(chain: Failover, address: Address, confirmed: bool) -> Self {
        Self { chain, address, confirmed, last: Mutex::default() }
    }

    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What was read last, if that still stands at `now`, seconds since 1970.
    #[must_use]
    pub fn word(&self, now: u64) -> Option<Arc<RegistryWord>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(_, until)| now < *until).map(|(word, _)| Arc::clone(word))
    }

    /// Asks the chain. What it cannot say leaves what was read before, for as long as that stands. It stands from when the
    /// block was made that was read, which an endpoint that stands still does not know to be old.
    ///
    /// # Errors
    /// [`RegistryError`], also where there is no contract.
    pub async fn read(&self, now: u64) -> Result<Arc<RegistryWord>, RegistryError> {
        let (address, oldest) = (&self.address, AtomicU64::new(now));
        let said = async |chain: &dyn Chain| {
            let account = chain.account(address).await?;
            oldest.fetch_min(account.at, Ordering::Relaxed);
            Ok::<_, ChainError>(storage(account.status).map(|found| found.map(RegistryWord::of)))
        };
        let found = if self.confirmed {
            // The epochs in it grow while the endpoints are asked: what is compared is what is used.
            self.chain.agreed(|endpoint| said(endpoint)).await?
        } else {
            said(&self.chain).await?
        };
        let not_one = |why: String| RegistryError::NotARegistry { registry: self.address, why };
        let found = found.map_err(not_one)?.ok_or_else(|| not_one("nothing is deployed there".to_owned()))?;
        let (policy, prices) = found.numbers();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, _)) = last.as_ref() {
            let known = known.numbers();
            if policy < known.0 || prices < known.1 {
                return Err(RegistryError::Behind { policy, prices });
            }
        }
        let until = found.stands_until(oldest.into_inner());
        let word = Arc::new(found);
        *last = Some((Arc::clone(&word), until));
        Ok(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::PendingPolicy;

    const HOUR: u64 = 60 * 60;

    fn word(active_at: Option<u64>) -> RegistryWord {
        let pending = active_at.map(|at| PendingPolicy {
            version: 2,
            hash: [2; 32],
            active_at: at.try_into().unwrap(),
        });
        RegistryWord {
            policy: Policy { version: 1, hash: [1; 32], pending },
            published: Published {
                prices_number: 1,
                prices_hash: [3; 32],
                gateways_hash: [0; 32],
                channel_code_hash: CellHash([0; 32]),
            },
        }
    }

    #[test]
    fn what_was_said_stands_until_another_policy_can_be_in_force() {
        let now = 1_800_000_000;
        for (active_at, until, what) in [
            (None, now + 48 * HOUR, "nothing waits: what comes now waits for 48 hours"),
            (Some(now + HOUR), now + HOUR, "one waits for another hour"),
            (Some(now + 1), now + 600, "its delay is nearly over: it must be asked again soon"),
            (Some(now - 48 * HOUR), now + 600, "its delay is over, and nobody has put it in force"),
            (Some(now + 49 * HOUR), now + 48 * HOUR, "a clock that is ahead here"),
        ] {
            assert_eq!(word(active_at).stands_until(now), until, "{what}");
        }
    }
}
