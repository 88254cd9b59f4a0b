//! Follows the policy's file, and the registry that must name it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::ensure;
use cocoon_attestation::{Named, Policy};
use cocoon_process::Reload;
use cocoon_receipts::Digest;
use tokio::sync::watch;

use crate::config::Config;
use crate::policy;
use crate::registry::Registry;

/// A policy that believes nothing.
const NOTHING: &str = "# The registry names no policy that is here.\n";

/// Puts a new policy in force for all who watch.
#[derive(Debug)]
pub struct PolicySource {
    config: Config,
    registry: Option<Arc<Registry>>,
    in_force: Arc<watch::Sender<Arc<Policy>>>,
    tried: Tried,
}

/// What the file said when it was last looked at.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    Policy(Digest),
    Bad(String),
}

impl PolicySource {
    #[must_use]
    pub fn new(
        config: Config,
        registry: Option<Arc<Registry>>,
        in_force: Arc<watch::Sender<Arc<Policy>>>,
    ) -> Self {
        let tried = Tried::Policy(in_force.borrow().digest());
        Self { config, registry, in_force, tried }
    }

    /// The policy that is named, or that the file has where no registry is asked.
    async fn load(&self, named: anyhow::Result<Option<Named>>) -> anyhow::Result<Policy> {
        let (config, named) = (self.config.clone(), named?);
        // What is in force and named stays, whatever became of its file.
        let in_force = Arc::clone(&self.in_force.borrow());
        if named.as_ref().is_some_and(|named| named.digest == in_force.digest()) {
            return Ok(Policy::clone(&in_force));
        }
        let loading = tokio::task::spawn_blocking(move || policy::reread(&config, named.as_ref())).await;
        loading.unwrap_or_else(|error| Err(error.into()))
    }

    /// Puts in force what is named, or what the file has where no registry is asked.
    async fn follow(&mut self, named: anyhow::Result<Option<Named>>) -> anyhow::Result<bool> {
        let is_asked = !matches!(named, Ok(None));
        match self.load(named).await {
            Err(error) if is_asked => self.believe_nothing(&error),
            loaded => self.take(loaded),
        }
    }

    /// What no registry names is not believed in.
    fn believe_nothing(&mut self, error: &anyhow::Error) -> anyhow::Result<bool> {
        self.tried = Tried::Bad(format!("{error:#}"));
        let nothing = Policy::from_toml(NOTHING)?;
        if nothing.digest() == self.in_force.borrow().digest() {
            return Ok(false);
        }
        tracing::error!("no backend is believed any more: {error:#}");
        self.in_force.send_replace(Arc::new(nothing));
        Ok(true)
    }

    fn take(&mut self, loaded: anyhow::Result<Policy>) -> anyhow::Result<bool> {
        let tried = match &loaded {
            Ok(policy) => Tried::Policy(policy.digest()),
            Err(error) => Tried::Bad(format!("{error:#}")),
        };
        if tried == self.tried {
            return Ok(false);
        }
        self.tried = tried;
        let policy = loaded?;
        // As it is for a moment while it is written. A policy that is meant to believe nothing can say so in a comment.
        ensure!(policy.digest() != Digest::of(&[]), "policy: the file is empty");
        if policy.digest() == self.in_force.borrow().digest() {
            return Ok(false);
        }
        tracing::info!(policy = policy.name(), version = policy.version(), digest = %policy.digest(), "new policy");
        self.in_force.send_replace(Arc::new(policy));
        Ok(true)
    }
}

/// With its causes.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub struct Unusable(anyhow::Error);

impl Reload for PolicySource {
    type Error = Unusable;

    async fn reload(&mut self) -> Result<bool, Unusable> {
        let Some(registry) = self.registry.clone() else {
            return self.follow(Ok(None)).await.map_err(Unusable);
        };
        let named = registry.named();
        let digest = named.as_ref().ok().map(|named| named.digest);
        let changed = self.follow(named.map(Some)).await;
        registry.policy_followed.store(digest == Some(self.in_force.borrow().digest()), Ordering::Relaxed);
        changed.map_err(Unusable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::good;

    #[tokio::test]
    async fn a_new_policy_is_put_in_force_and_a_bad_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { policy: folder.path().join("policy.toml"), ..good() };
        let write = |text: &str| std::fs::write(&config.policy, text).unwrap();
        write("version = 1");
        let in_force = Arc::new(watch::Sender::new(Arc::new(policy::load(&config, None).unwrap())));
        let mut watcher = in_force.subscribe();
        let mut source = PolicySource::new(config.clone(), None, Arc::clone(&in_force));
        assert!(!source.reload().await.unwrap(), "nothing has changed");

        write("version = 2");
        assert!(source.reload().await.unwrap());
        assert_eq!(watcher.borrow_and_update().version(), Some(2));

        for bad in ["no policy", ""] {
            write(bad);
            let error = source.reload().await.unwrap_err().to_string();
            assert!(error.starts_with("policy"), "{error}");
            assert!(!source.reload().await.unwrap(), "said once");
        }
        write("version = 2");
        assert!(!source.reload().await.unwrap(), "it is in force already");
        std::fs::remove_file(&config.policy).unwrap();
        assert!(source.reload().await.is_err());
        assert!(!watcher.has_changed().unwrap());
        assert_eq!(in_force.borrow().version(), Some(2));
    }

    #[tokio::test]
    async fn what_is_named_is_in_force_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { policy: folder.path().join("policy.toml"), ..good() };
        let (one, two) = ("version = 1", "version = 2");
        std::fs::write(&config.policy, one).unwrap();
        let in_force = Arc::new(watch::Sender::new(Arc::new(policy::load(&config, None).unwrap())));
        let mut source = PolicySource::new(config.clone(), None, Arc::clone(&in_force));
        let named = |text: &str| {
            let digest = Digest::of(&[text.as_bytes()]);
            Ok(Some(Named { registry: "0:07".to_owned(), digest }))
        };
        let version = || in_force.borrow().version();
        assert!(!source.follow(named(one)).await.unwrap(), "it is in force already");

        std::fs::remove_file(&config.policy).unwrap();
        assert!(!source.follow(named(one)).await.unwrap(), "it is in force, whatever became of its file");
        assert_eq!(version(), Some(1));

        assert!(source.follow(named(two)).await.unwrap());
        assert_eq!((version(), in_force.borrow().dev_roots().len()), (None, 0), "nothing is believed");
        assert!(!source.follow(named(two)).await.unwrap(), "said once");

        std::fs::write(&config.policy, one).unwrap();
        assert!(source.follow(named(one)).await.unwrap(), "it was in force before, and is named again");
        assert_eq!(version(), Some(1));
        assert!(source.follow(Err(anyhow::anyhow!("no word"))).await.unwrap());
        assert_eq!(version(), None);

        std::fs::write(cocoon_attestation::next_path(&config.policy), two).unwrap();
        assert!(source.follow(named(two)).await.unwrap());
        assert_eq!(version(), Some(2));
    }
}
