//! The policy that the configuration names.

use anyhow::{Context, bail};
use cocoon_attestation::{Loaded, Named, Policy, PolicyStore};
use cocoon_receipts::VerifyingKey;

use crate::config::Config;
use crate::registry::RegistryConfig;

/// The policy to judge backends under: with a registry, the one that is `named` there. Where a signer is pinned, its
/// version is remembered.
///
/// # Errors
/// Where there is none that can be followed: it is not valid, not signed by the pinned signer, older than one before, or
/// not the one that is named.
pub fn load(config: &Config, named: Option<&Named>) -> anyhow::Result<Policy> {
    let loaded = follow(config, named)?;
    warn_of_ignored(config, &loaded);
    Ok(loaded.policy)
}

/// As [`load`], without saying again what was said then.
///
/// # Errors
/// As [`load`].
pub fn reread(config: &Config, named: Option<&Named>) -> anyhow::Result<Policy> {
    Ok(follow(config, named)?.policy)
}

/// Whether [`load`] would have a policy, and one that has not ended by `now_ms`, milliseconds since 1970. Nothing is
/// remembered, and no registry is asked.
///
/// # Errors
/// As [`load`].
pub fn check(config: &Config, now_ms: u64) -> anyhow::Result<()> {
    let signer = signer(config)?;
    let loaded = Policy::load(&config.policy, signer.as_ref(), None).context("policy")?;
    warn_of_ignored(config, &loaded);
    let policy = loaded.policy;
    if let Some(registry) = policy.registry() {
        let followed = config.registry.as_ref().map(RegistryConfig::address).transpose()?;
        if followed.is_none_or(|followed| followed.to_string() != registry) {
            bail!("policy: it is followed only with the registry {registry}");
        }
    }
    if let Some(store) = store(config) {
        store.check(&policy).context("policy")?;
    }
    if policy.not_after().is_some_and(|end| end <= now_ms) {
        bail!("policy: it has ended, so no backend would be believed");
    }
    Ok(())
}

fn follow(config: &Config, named: Option<&Named>) -> anyhow::Result<Loaded> {
    let (signer, store) = (signer(config)?, store(config));
    Policy::follow(&config.policy, signer.as_ref(), store.as_ref(), named).context("policy")
}

fn signer(config: &Config) -> anyhow::Result<Option<VerifyingKey>> {
    config.policy_signer.as_deref().map(VerifyingKey::from_base64url).transpose().context("policy_signer")
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
    use cocoon_receipts::{Digest, SigningKey};

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
        assert_eq!(load(&deployment.config, None).unwrap().version(), Some(2));
        deployment.write(1);
        for refused in [load(&deployment.config, None).map(drop), check(&deployment.config, 0)] {
            let message = format!("{:#}", refused.unwrap_err());
            assert!(message.contains("older than version 2"), "{message}");
        }
        deployment.write(3);
        fs::remove_file(signature_path(&deployment.config.policy)).unwrap();
        for refused in [load(&deployment.config, None).map(drop), check(&deployment.config, 0)] {
            let message = format!("{:#}", refused.unwrap_err());
            assert!(message.contains("policy.toml.sig: it is missing"), "{message}");
        }
        let unpinned = Config { policy_signer: None, policy_state: None, ..deployment.config.clone() };
        assert_eq!(load(&unpinned, None).unwrap().version(), Some(3), "a local file is the operator's word");
    }

    #[test]
    fn a_policy_that_wants_to_be_named_needs_its_registry() {
        let deployment = deployment();
        let address = "0:0707070707070707070707070707070707070707070707070707070707070707";
        let text =
            format!("registry = '{address}'\nname = 'n'\nversion = 1\nnot_after = 2030-01-01T00:00:00Z\n");
        fs::write(&deployment.config.policy, &text).unwrap();
        let signature = Policy::sign(&text, &deployment.key).unwrap();
        fs::write(signature_path(&deployment.config.policy), signature).unwrap();
        let followed = |registry: &str| Config {
            registry: Some(RegistryConfig {
                address: registry.to_owned(),
                ..crate::registry::tests::config()
            }),
            ..deployment.config.clone()
        };
        for refused in [
            load(&deployment.config, None).map(drop),
            check(&deployment.config, 0),
            check(&followed(&address.replace("07", "08")), 0),
        ] {
            assert!(refused.is_err());
        }
        check(&followed(address), 0).unwrap();
        let digest = Digest::of(&[text.as_bytes()]);
        let named = |registry: &str| Named { registry: registry.to_owned(), digest };
        load(&deployment.config, Some(&named(address))).unwrap();
        assert!(load(&deployment.config, Some(&named("0:08"))).is_err());
    }

    #[test]
    fn to_check_is_not_to_remember_and_a_policy_that_has_ended_is_found() {
        let deployment = deployment();
        deployment.write(2);
        check(&deployment.config, END - 1).unwrap();
        deployment.write(1);
        load(&deployment.config, None).unwrap();
        let message = check(&deployment.config, END).unwrap_err().to_string();
        assert!(message.contains("it has ended"), "{message}");
    }
}
