//! The policy that the configuration names.

use anyhow::{Context, bail};
use cocoon_attestation::{Loaded, Policy, PolicyStore};
use cocoon_receipts::VerifyingKey;

use crate::config::Config;

/// The policy to judge backends under; where a signer is pinned, its version is remembered.
///
/// # Errors
/// Where the file cannot be followed: it is not valid, not signed by the pinned signer, or older than one before.
pub fn load(config: &Config) -> anyhow::Result<Policy> {
    let loaded = read(config, store(config).as_ref())?;
    warn_of_ignored(config, &loaded);
    Ok(loaded.policy)
}

/// As [`load`], without saying again what was said then.
///
/// # Errors
/// As [`load`].
pub fn reread(config: &Config) -> anyhow::Result<Policy> {
    Ok(read(config, store(config).as_ref())?.policy)
}

/// Whether [`load`] would have a policy, and one that has not ended by `now_ms`, milliseconds since 1970. Nothing is
/// remembered.
///
/// # Errors
/// As [`load`].
pub fn check(config: &Config, now_ms: u64) -> anyhow::Result<()> {
    let loaded = read(config, None)?;
    warn_of_ignored(config, &loaded);
    let policy = loaded.policy;
    if let Some(store) = store(config) {
        store.check(&policy).context("policy")?;
    }
    if policy.not_after().is_some_and(|end| end <= now_ms) {
        bail!("policy: it has ended, so no backend would be believed");
    }
    Ok(())
}

fn read(config: &Config, store: Option<&PolicyStore>) -> anyhow::Result<Loaded> {
    let signer = config.policy_signer.as_deref().map(VerifyingKey::from_base64url);
    let signer = signer.transpose().context("policy_signer")?;
    Policy::load(&config.policy, signer.as_ref(), store).context("policy")
}

fn warn_of_ignored(config: &Config, loaded: &Loaded) {
    if loaded.signature_ignored {
        tracing::warn!(
            policy = %config.policy.display(),
            "the policy's signature is not looked at: set policy_signer to follow only what its signer signed"
        );
    }
}

fn store(config: &Config) -> Option<PolicyStore> {
    config.policy_state.clone().map(PolicyStore::new)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use cocoon_attestation::signature_path;
    use cocoon_receipts::SigningKey;

    use super::*;

    /// 2030.
    const END: u64 = 1_893_456_000_000;

    struct Deployment {
        _dir: tempfile::TempDir,
        key: SigningKey,
        config: Config,
    }

    fn deployment() -> Deployment {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::generate().unwrap();
        let config = Config {
            policy: dir.path().join("policy.toml"),
            policy_signer: Some(key.public().to_base64url()),
            policy_state: Some(dir.path().join("policies.json")),
            ..crate::config::tests::good()
        };
        Deployment { _dir: dir, key, config }
    }

    impl Deployment {
        fn write(&self, version: u64) {
            let text = format!("name = 'n'\nversion = {version}\nnot_after = 2030-01-01T00:00:00Z\n");
            fs::write(&self.config.policy, &text).unwrap();
            let signature = Policy::sign(&text, &self.key).unwrap();
            fs::write(signature_path(&self.config.policy), signature).unwrap();
        }
    }

    #[test]
    fn with_a_pinned_signer_only_its_policies_are_followed_and_none_that_is_older() {
        let deployment = deployment();
        deployment.write(2);
        assert_eq!(load(&deployment.config).unwrap().version(), Some(2));
        deployment.write(1);
        for refused in [load(&deployment.config).map(drop), check(&deployment.config, 0)] {
            let message = format!("{:#}", refused.unwrap_err());
            assert!(message.contains("older than version 2"), "{message}");
        }
        deployment.write(3);
        fs::remove_file(signature_path(&deployment.config.policy)).unwrap();
        for refused in [load(&deployment.config).map(drop), check(&deployment.config, 0)] {
            let message = format!("{:#}", refused.unwrap_err());
            assert!(message.contains("policy.toml.sig: it is missing"), "{message}");
        }
        let unpinned = Config { policy_signer: None, policy_state: None, ..deployment.config.clone() };
        assert_eq!(load(&unpinned).unwrap().version(), Some(3), "a local file is the operator's word");
    }

    #[test]
    fn to_check_is_not_to_remember_and_a_policy_that_has_ended_is_found() {
        let deployment = deployment();
        deployment.write(2);
        check(&deployment.config, END - 1).unwrap();
        deployment.write(1);
        load(&deployment.config).unwrap();
        let message = check(&deployment.config, END).unwrap_err().to_string();
        assert!(message.contains("it has ended"), "{message}");
    }
}
