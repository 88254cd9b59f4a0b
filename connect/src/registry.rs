//! A registry on the chain that must name the policy and the prices. It can only take away: a policy that it does not name
//! is not followed, and no other price is paid than its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use cocoon_attestation::{Named, Policy, PolicyStore};
use cocoon_openapi::PRICES_PATH;
use cocoon_openapi::prices::PriceTable;
use cocoon_receipts::{Digest, VerifyingKey};
use cocoon_ton::chain::{RegistryReader, RegistryWord};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::error::Failure;
use crate::fleet::Fleet;
use crate::gateway::Gateway;

/// Between two looks at the policy's files and the clock.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Largest price table that is read, bytes.
const MAX_TABLE: usize = 1 << 20;

/// The one registry that the sidecar follows.
#[derive(Debug)]
pub struct Registry {
    pub reader: RegistryReader,
    pub clock: Clock,
    /// How often it is asked.
    pub every: Duration,
}

impl Registry {
    fn now(&self) -> u64 {
        self.clock.now_ms() / 1000
    }

    /// Asks the chain.
    ///
    /// # Errors
    /// Where it does not say, or there is no registry.
    pub async fn read(&self) -> anyhow::Result<()> {
        self.reader.read(self.now()).await.context("--registry").map(drop)
    }

    /// The policy that it names.
    ///
    /// # Errors
    /// Where it names none, or what it said last may no longer be so.
    pub fn named(&self) -> anyhow::Result<Named> {
        let digest = self.word()?.policy_digest().context("the registry has no policy in force")?;
        Ok(Named { registry: self.reader.address().to_string(), digest: Digest(digest) })
    }

    /// The gateway's price table, if it is the one that the registry has; none where that has none.
    ///
    /// # Errors
    /// 502 for another table.
    pub async fn prices(&self, gateway: &Gateway) -> Result<Option<PriceTable>, Failure> {
        let word = self.word().map_err(|error| Failure::prices_not_published(&error.to_string()))?;
        let Some(published) = word.prices_digest() else { return Ok(None) };
        let table: PriceTable = gateway.get_json(PRICES_PATH, None, MAX_TABLE).await?;
        let digest = table.digest().map_err(|_| Failure::internal())?;
        if digest != Digest(published) {
            return Err(Failure::prices_not_published("the registry has another table"));
        }
        Ok(Some(table))
    }

    fn word(&self) -> anyhow::Result<Arc<RegistryWord>> {
        self.reader.word(self.now()).context("the registry could not be read for too long")
    }
}

/// The policy's files, of which the registry names one.
#[derive(Debug)]
pub struct PolicyFiles {
    pub path: PathBuf,
    pub signer: Option<VerifyingKey>,
    pub store: PolicyStore,
}

impl PolicyFiles {
    /// The policy to verify under.
    ///
    /// # Errors
    /// [`cocoon_attestation::LoadError`].
    pub fn follow(&self, named: Option<&Named>) -> Result<Policy, cocoon_attestation::LoadError> {
        let loaded = Policy::follow(&self.path, self.signer.as_ref(), Some(&self.store), named)?;
        if loaded.signature_ignored {
            tracing::warn!(
                policy = %self.path.display(),
                "the policy's signature is not looked at: give --policy-signer to follow only what its signer signed"
            );
        }
        Ok(loaded.policy)
    }
}

/// Asks the registry again and again, and puts in force what it names, until `shutdown`.
pub async fn keep_following(
    registry: Arc<Registry>,
    files: PolicyFiles,
    fleet: &Fleet,
    shutdown: CancellationToken,
) {
    // Also in the middle of a question: an endpoint may take long to answer.
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(&registry, &files, fleet) => {}
    }
}

async fn follow(registry: &Registry, files: &PolicyFiles, fleet: &Fleet) {
    // It was read a moment ago.
    let mut ask = interval_at(Instant::now() + registry.every, registry.every);
    let mut look = interval(LOOK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ask.tick() => {
                if let Err(error) = registry.read().await {
                    tracing::error!("the registry could not be read: {error:#}");
                }
            }
            _ = look.tick() => {}
        }
        put_in_force(registry.named(), files, fleet);
    }
}

fn put_in_force(named: anyhow::Result<Named>, files: &PolicyFiles, fleet: &Fleet) {
    let in_force = fleet.verifier.policy.get();
    let policy = named.and_then(|named| match &in_force {
        // It stays, whatever became of its file.
        Ok(policy) if policy.digest() == named.digest => Ok(Arc::clone(policy)),
        _ => Ok(Arc::new(files.follow(Some(&named))?)),
    });
    match (policy.map_err(|error| format!("{error:#}")), in_force) {
        (Ok(new), Ok(old)) if new.digest() == old.digest() => {}
        (Err(new), Err(old)) if new == *old.0 => {}
        (Ok(policy), _) => {
            tracing::info!(version = policy.version(), sha256 = %policy.digest(), "new policy");
            fleet.put_in_force(Ok(policy));
        }
        (Err(error), _) => {
            tracing::error!(%error, "no backend is believed any more");
            fleet.put_in_force(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::floor::Floor;
    use crate::in_force::InForce;
    use crate::state::StateDir;
    use crate::verify::Verifier;

    #[test]
    fn what_is_named_is_in_force_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = ("version = 1", "version = 2");
        let store = PolicyStore::new(dir.path().join("policies.json"));
        let files = PolicyFiles { path: dir.path().join("policy.toml"), signer: None, store };
        std::fs::write(&files.path, one).unwrap();
        let fleet = Fleet::new(Verifier {
            gateway: Gateway::new("http://127.0.0.1:1".parse().unwrap(), Duration::from_secs(1)).unwrap(),
            policy: InForce::new(files.follow(None).unwrap()),
            floor: Mutex::new(Floor::load(StateDir::open(&dir.path().join("state")).unwrap()).unwrap()),
            clock: Clock::system(),
        });
        let put = |text: &str| {
            let named = Named { registry: "0:07".to_owned(), digest: Digest::of(&[text.as_bytes()]) };
            put_in_force(Ok(named), &files, &fleet);
        };
        let version = || fleet.verifier.policy.get().map(|policy| policy.version());
        std::fs::remove_file(&files.path).unwrap();
        put(one);
        assert_eq!(version(), Ok(Some(1)), "it is in force, whatever became of its file");
        put(two);
        assert!(version().is_err_and(|why| why.to_string().contains("policy.toml.next")));
        std::fs::write(&files.path, one).unwrap();
        put(one);
        assert_eq!(version(), Ok(Some(1)), "it is named again");
        put_in_force(Err(anyhow::anyhow!("no word")), &files, &fleet);
        assert!(version().is_err_and(|why| why.to_string().contains("no word")));
        std::fs::write(cocoon_attestation::next_path(&files.path), two).unwrap();
        put(two);
        assert_eq!(version(), Ok(Some(2)));
    }
}
