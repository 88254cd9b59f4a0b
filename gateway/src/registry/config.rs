//! `[registry]`: which contract names the policy and the price table in force, and who tells of it.

use cocoon_ton::Address;
use cocoon_ton::chain::{self, ChainConfigError, ChainEndpoint, NetworkConfig};
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryConfig {
    /// Of the registry.
    pub address: String,
    pub network: NetworkConfig,
    /// Where there are two of different operators, both must say the same.
    pub endpoints: Vec<ChainEndpoint>,
    /// How often it is asked, seconds.
    #[serde(default = "default_every_s")]
    pub every_s: u64,
}

fn default_every_s() -> u64 {
    60
}

impl RegistryConfig {
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn check(&self) -> Result<(), ChainConfigError> {
        chain::check(&self.endpoints, self.network.network()?)?;
        if !(1..=3600).contains(&self.every_s) {
            let message = "is 1 to 3600".to_owned();
            return Err(ChainConfigError::Value { key: "every_s", message });
        }
        self.address().map(drop)
    }

    /// # Errors
    /// [`ChainConfigError::Value`] for what is no address of the network.
    pub fn address(&self) -> Result<Address, ChainConfigError> {
        Address::parse_for(&self.address, self.network.network()?)
            .map_err(|error| ChainConfigError::Value { key: "address", message: error.to_string() })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const REGISTRY: &str = "registry.address = '0:0707070707070707070707070707070707070707070707070707070707070707'\nregistry.network = { name = 'test', global_id = -3 }\nregistry.endpoints = [{ url = 'http://127.0.0.1:8100', operator = 'we' }]\n";

    #[derive(Deserialize)]
    struct File {
        registry: RegistryConfig,
    }

    pub(crate) fn config() -> RegistryConfig {
        toml::from_str::<File>(REGISTRY).unwrap().registry
    }

    #[test]
    fn an_error_names_its_key() {
        for (from, to, key) in [
            ("", "", None),
            ("0:07", "0:7", Some("address")),
            ("operator = 'we'", "operator = ''", Some("endpoints.operator")),
            ("-3", "-239", Some("network.global_id")),
            ("'test', global_id = -3", "'mainnet'", Some("endpoints")),
            ("[{ url = 'http://127.0.0.1:8100', operator = 'we' }]", "[]", Some("endpoints")),
            ("\nregistry.endpoints", "\nregistry.every_s = 0\nregistry.endpoints", Some("every_s")),
        ] {
            let file: File = toml::from_str(&REGISTRY.replacen(from, to, 1)).unwrap();
            let wrong = match file.registry.check() {
                Ok(()) => None,
                Err(ChainConfigError::Value { key, .. }) => Some(key),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(wrong, key, "{to}");
        }
    }
}
