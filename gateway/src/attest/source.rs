//! Follows the policy's file.

use std::sync::Arc;

use anyhow::ensure;
use cocoon_attestation::Policy;
use cocoon_process::Reload;
use cocoon_receipts::Digest;
use tokio::sync::watch;

use crate::config::Config;
use crate::policy;

/// Puts a new policy in force for all who watch.
#[derive(Debug)]
pub struct PolicySource {
    config: Config,
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
    pub fn new(config: Config, in_force: Arc<watch::Sender<Arc<Policy>>>) -> Self {
        let tried = Tried::Policy(in_force.borrow().digest());
        Self { config, in_force, tried }
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
        let config = self.config.clone();
        let loading = tokio::task::spawn_blocking(move || policy::reread(&config)).await;
        let loaded = loading.unwrap_or_else(|error| Err(error.into()));
        self.take(loaded).map_err(Unusable)
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
        let in_force = Arc::new(watch::Sender::new(Arc::new(policy::load(&config).unwrap())));
        let mut watcher = in_force.subscribe();
        let mut source = PolicySource::new(config.clone(), Arc::clone(&in_force));
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
}
